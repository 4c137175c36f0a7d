"""Views of a plane by its homography: render(scene, camera, T_wc) -> images, mask.

One call renders a batch, on the CPU or a GPU. A view is bilinear in the texture when the camera is close, and
trilinear in the texture's pyramid when a pixel in its middle covers more than one texel; the print's border is blended
over one pixel. With `antialias=False` it is plain bilinear with a hard border, as OpenCV's warp and ViSP's simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.scenes.types import Scene as AnyScene

if TYPE_CHECKING:
    from siame_se3.scenes.planar import Scene

_CHUNK_PIXELS = 4_000_000  # rendered at once, to bound the memory


def _atlas(scene: Scene, device: torch.device) -> tuple[Tensor, Tensor]:
    """All pyramid levels in one image, and (x, y, width, height) of each: level 0 left, the others stacked beside it."""
    if device not in scene.atlases:
        levels = scene.pyramid(device)
        h0, w0 = levels[0].shape[-2:]
        side = max((level.shape[-1] for level in levels[1:]), default=0)
        rows = max(h0, sum(level.shape[-2] for level in levels[1:]))
        atlas = torch.zeros(1, 3, rows, w0 + side, device=device)
        places, y = [], 0
        for k, level in enumerate(levels):
            h, w = level.shape[-2:]
            x0, y0 = (0, 0) if k == 0 else (w0, y)
            atlas[0, :, y0 : y0 + h, x0 : x0 + w] = level
            places.append((x0, y0, w, h))
            y += h if k else 0
        scene.atlases[device] = (atlas, torch.tensor(places, device=device, dtype=torch.float32))
    return scene.atlases[device]


def _sample(atlas: Tensor, places: Tensor, size: tuple[int, int], u: Tensor, v: Tensor, level: Tensor) -> Tensor:
    """Bilinear in one pyramid level per view; u, v in texels of level 0, clamped to the level."""
    (h0, w0), (rows, columns) = size, atlas.shape[-2:]
    x, y, w, h = places[level][..., None, None].unbind(1)
    one, zero = torch.ones_like(w), torch.zeros_like(w)
    # level texel = clamp((u + 1/2) w/w0 - 1/2, 0, w - 1) + x; then grid_sample's [-1, 1] of the outer edges
    grid = torch.empty(*u.shape, 2, device=u.device)
    ul = torch.addcmul((w / w0 - one) / 2, u, w / w0).clamp_(min=zero, max=w - 1)
    vl = torch.addcmul((h / h0 - one) / 2, v, h / h0).clamp_(min=zero, max=h - 1)
    torch.add((2 * x + 1) / columns - 1, ul.mul_(2 / columns), out=grid[..., 0])
    torch.add((2 * y + 1) / rows - 1, vl.mul_(2 / rows), out=grid[..., 1])
    return F.grid_sample(
        atlas.expand(len(u), -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _render(scenes: Sequence[Scene], camera: Camera, T_wc: Tensor, antialias: bool) -> tuple[Tensor, Tensor]:
    """Of scenes of one size, which share the poses out evenly, in their order."""
    scene = scenes[0]
    n, (h, w), device = len(T_wc), camera.size, T_wc.device
    H = scene.texels_from_plane().to(T_wc) @ plane_from_pixel(camera, T_wc)
    # Scale so that the third row gives 1 in the middle of the image: float32 is then exact to 1e-4 texel.
    middle = T_wc.new_tensor([(w - 1) / 2, (h - 1) / 2, 1.0])
    H = H / (H[:, 2] @ middle).abs().clamp(min=1e-12)[:, None, None]
    pixels = camera.pixel_grid(torch.float32).to(device).reshape(-1, 2)
    H32 = H.float()
    u, v, z = torch.baddbmm(H32[:, :, 2:], H32[:, :, :2], pixels.T.expand(n, -1, -1)).reshape(n, 3, h, w).unbind(1)
    seen = (z > 1e-6) & (T_wc[:, 2, 3] < 0)[:, None, None]
    inverse_z = torch.where(seen, z, 1.0).reciprocal_()
    u, v = u * inverse_z, v * inverse_z
    texels_per_pixel = None
    if antialias:
        # In the middle a pixel covers |det J| = |det H| / z^3 = |det H| texels.
        texels_per_pixel = torch.linalg.det(H).abs().sqrt().float()
    return shade(scenes, u, v, seen, texels_per_pixel)


def shade(
    scenes: Sequence[Scene],
    u: Float[Tensor, "n h w"],
    v: Float[Tensor, "n h w"],
    seen: Bool[Tensor, "n h w"],
    texels_per_pixel: Float[Tensor, "n"] | None,
) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
    """Colours of pixels that see places of a print, and which of them see it.

    Args:
        scenes: prints of one size, which share the views out evenly, in their order.
        u, v: where each pixel looks [texels].
        seen: which pixels look at the print's surface.
        texels_per_pixel: of each view, along a side, in its middle; None for plain bilinear with a hard border.
    """
    scene, n, device = scenes[0], len(u), u.device
    size = (scene.texture.shape[-2], scene.texture.shape[-1])
    atlases = [_atlas(one, device) for one in scenes]
    places = atlases[0][1]
    # texels from the border, positive inside
    x_middle, y_middle = (size[1] - 1) / 2, (size[0] - 1) / 2
    edge = 0.5 if scene.extent == "edges" else 0.0
    margin = torch.minimum(x_middle - (u - x_middle).abs_(), y_middle - (v - y_middle).abs_()).add_(edge)
    mask = seen & (margin >= 0)

    def sampled(level: Tensor) -> Tensor:
        shares = (x.split(n // len(scenes)) for x in (u, v, level))
        parts = [_sample(atlas, places, size, *some) for (atlas, _), *some in zip(atlases, *shares, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    if texels_per_pixel is not None:
        lod = texels_per_pixel.clamp(min=1.0).log2().clamp(max=len(places) - 1)
        low = lod.floor()
        blend = (lod - low)[:, None, None, None]
        images = sampled(low.long())
        if bool((blend > 0).any()):
            images = images.lerp_(sampled((low.long() + 1).clamp(max=len(places) - 1)), blend)
        cover = margin.div_(texels_per_pixel.clamp(min=1e-6)[:, None, None]).add_(0.5).clamp_(0, 1).mul_(seen)
    else:
        images = sampled(torch.zeros(n, dtype=torch.long, device=device))
        cover = mask.float()
    every = n // len(scenes)
    for k, one in enumerate(scenes):
        if one.fill == "edge":
            cover[k * every : (k + 1) * every] = seen[k * every : (k + 1) * every].float()
    fill = torch.stack([one.fill_colour for one in scenes]).to(images).repeat_interleave(every, 0)
    return torch.lerp(fill[:, :, None, None], images, cover[:, None]), mask


def render(
    scene: AnyScene, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
    """Images that cameras at T_wc see, and the mask of pixels that see the scene.

    Args:
        scene: of any kind; each renders itself.
        camera: pinhole; its distortion is not simulated.
        T_wc: camera poses, camera to world [m].
        antialias: False for plain bilinear with a hard border (ViSP's, OpenCV's).

    Returns:
        RGB in [0, 1] float32 on T_wc's device, and the mask.
    """
    return scene.render(camera, T_wc, antialias)


def render_print(
    scene: Scene, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
    """See `render`, of a textured plane z = 0; a camera that sees the print's front has z < 0."""
    batch, (h, w) = T_wc.shape[:-2], camera.size
    poses = T_wc.reshape(-1, 4, 4)
    chunk = max(1, _CHUNK_PIXELS // (h * w))
    parts = [_render([scene], camera, part, antialias) for part in poses.split(chunk)] if len(poses) else []
    images = torch.cat([p[0] for p in parts]) if parts else torch.zeros(0, 3, h, w)
    mask = torch.cat([p[1] for p in parts]) if parts else torch.zeros(0, h, w, dtype=torch.bool)
    return images.reshape(*batch, 3, h, w), mask.reshape(*batch, h, w)


def render_prints(scenes: Sequence[Scene], camera: Camera, T_wc: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n 3 h w"]:
    """What cameras at T_wc see of several prints of one size (texels, metres, extent): the first of the poses belong to the first print, and so on,
    as many to each; on a GPU much faster than one after the other.

    Raises:
        SceneError: prints that differ in size, or poses that cannot be shared out.
    """
    kinds = {(*scene.texture.shape, scene.width, scene.height, scene.extent) for scene in scenes}
    if len(kinds) != 1 or len(T_wc) % len(scenes):
        raise SceneError(
            "prints that are rendered together have to be of one size, with as many poses each; give them so"
        )
    every = len(T_wc) // len(scenes)
    group = max(1, _CHUNK_PIXELS * (16 if T_wc.is_cuda else 1) // (camera.width * camera.height * max(1, every)))
    parts = [
        _render(scenes[k : k + group], camera, T_wc[k * every : (k + group) * every], True)[0]
        for k in range(0, len(scenes), group)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
