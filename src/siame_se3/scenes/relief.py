"""Scene: a photo on a surface that is not flat: a mesh of triangles with the photo's texels at its vertices.

Frame and picture are those of a print (`planar`): the world's plane z = 0 is the table, heights go to negative z, towards the cameras. A mesh without
heights gives a print's images and depths.

Scenes are made from a photo and a height map (`over`, `read`), from one view of a depth camera (`from_view`), or drawn (`drawn`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.scenes import planar
from siame_se3.scenes.relief_mesh import Mesh, heights, read_heights, seen_surface
from siame_se3.scenes.relief_random import KINDS, Kind, drawn_parts, varied_parts
from siame_se3.scenes.relief_raster import Seen, homogeneous_pixels, raster
from siame_se3.scenes.render import shade

CELLS = 96  # of a height map's mesh along the longer side
VIEW_CELLS = 160  # of a view's
_CHUNK_PIXELS = 100_000  # rendered at once on a CPU, whose cache they should fit
_CHUNK_PIXELS_GPU = 4_000_000
_EDGE = 0.004  # bend of the inverse depth from pixel to pixel, over itself, that is taken for an edge


@dataclass(frozen=True)
class _Sight:
    """What pixels see: texels, inverse depth [1/m] (0 where it is nothing), and whether it is anything."""

    u: Float[Tensor, "n h w"]
    v: Float[Tensor, "n h w"]
    q: Float[Tensor, "n h w"]
    hit: Bool[Tensor, "n h w"]


@dataclass(frozen=True, eq=False)
class Relief:
    """A photo on a mesh.

    Attributes:
        print: the photo, its size and what lies beyond it.
        mesh: its surface, and what it stands on.
        name: for reports.
    """

    print: planar.Scene
    mesh: Mesh
    name: str = "relief"
    # Of each device, the mesh there.
    meshes: dict[torch.device, Mesh] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        require_types(self, "relief", SceneError)
        if not len(self.mesh.faces):
            raise SceneError(f"{self.name}: a relief without a surface; give depths that are known somewhere")
        if not bool(self.mesh.vertices.isfinite().all()):
            raise SceneError(f"{self.name}: a place of its surface is not finite; give metres")

    @staticmethod
    def over(photo: planar.Scene, levels: Float[Tensor, "H W"], cells: int = CELLS) -> Relief:
        """A photo over a height map.

        Args:
            photo: its size is that of the map.
            levels: heights above the table at the middles of H x W equal parts of the photo [m].
            cells: of the mesh along the longer side, at most; a finer map is averaged.

        Raises:
            SceneError: a height that is not known, or below the table.
        """
        if not bool((levels >= 0).all() & levels.isfinite().all()):
            raise SceneError(f"{photo.name}: its height map has a height below 0 or none; give metres above the table")
        return Relief(photo, heights(photo, levels, cells), f"{photo.name}, {1000 * float(levels.max()):.0f} mm high")

    @staticmethod
    def read(photo: planar.Scene, path: str | Path, tallest: float | None = None, cells: int = CELLS) -> Relief:
        """A photo over a height map in a file.

        Args:
            path: NPY with heights above the table [m] or any scale, or a grey picture (PNG of 8 or 16 bits), the highest white.
            tallest: what the highest place of the map is [m]; None for an NPY in metres.

        Raises:
            SceneError: heights below 0, or a picture without `tallest`.
            InputError: a file that cannot be read.
        """
        levels, metres = read_heights(Path(path))
        if tallest is None and not metres:
            raise SceneError(f"{path}: a picture has no metres; give the height of its highest place", "tallest")
        if tallest is not None:
            if not 0 < tallest < math.inf:
                raise SceneError(f"{path}: a highest place of {tallest} m; give metres above 0", "tallest")
            levels = levels * (tallest / max(float(levels.max()), 1e-30))
        return Relief.over(photo, levels, cells)

    @staticmethod
    def from_view(
        image: Float[Tensor, "3 h w"],
        depth: Float[Tensor, "h w"],
        camera: Camera,
        name: str = "view",
        cells: int = VIEW_CELLS,
        fill: planar.Fill = 0.0,
    ) -> tuple[Relief, Float[Tensor, "4 4"]]:
        """What one view of a depth camera shows, and the pose T_wc of that view: in front of the plane z = 0 in the middle of its depths.

        Nothing is known of what is hidden in that view: cameras elsewhere see `fill` there, and the mask says so.

        Args:
            image, depth: of one camera; depth along z [m], NaN where it is not known.
            cells: of the mesh along the longer side, at most.

        Raises:
            SceneError: images of another size than the camera's, or too few depths.
        """
        if image.shape[-2:] != camera.size or depth.shape != camera.size:
            sizes = f"{tuple(image.shape[-2:])} and {tuple(depth.shape)}, the camera's {camera.size}"
            raise SceneError(f"{name}: image and depth of (height, width) {sizes}; give those of one camera")
        known = depth[depth > 0]
        if not len(known):
            raise SceneError(f"{name}: no depth is known; give a depth map in metres")
        Z = float(known.median())
        T_wc = torch.eye(4, dtype=torch.float64)
        T_wc[2, 3] = -Z
        photo = planar.Scene(image, camera.width * Z / camera.fx, camera.height * Z / camera.fy, name, fill)
        return Relief(photo, seen_surface(camera, depth, T_wc, cells), name), T_wc

    @staticmethod
    def drawn(photo: planar.Scene, tallest: float, seed: int, kinds: Sequence[Kind] = KINDS) -> Relief:
        """Boxes, cylinders, steps and hills under a photo, the highest of them `tallest` [m].

        Args:
            seed: of all that is drawn.
            kinds: which may be.
        """
        if not 0 <= tallest < math.inf:
            raise SceneError(f"{photo.name}: a relief of {tallest} m; give metres from 0 upwards", "tallest")
        parts = drawn_parts(photo, tallest, torch.Generator().manual_seed(seed), kinds)
        return Relief(photo, Mesh.joined(parts), f"{photo.name}, relief {seed}")

    @staticmethod
    def varied(photo: planar.Scene, tallest: float, seed: int) -> Relief:
        """A relief for training, `tallest` [m] high: the same kinds as `drawn`, and rough ground; see `varied_parts`."""
        if not 0 <= tallest < math.inf:
            raise SceneError(f"{photo.name}: a relief of {tallest} m; give metres from 0 upwards", "tallest")
        parts = varied_parts(photo, tallest, torch.Generator().manual_seed(seed))
        return Relief(photo, Mesh.joined(parts), f"{photo.name}, relief {seed}")

    @property
    def width(self) -> float:
        """Of the photo [m]."""
        return self.print.width

    @property
    def height(self) -> float:
        """Of the photo [m]."""
        return self.print.height

    def render(
        self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
    ) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
        """What cameras at T_wc see, and which pixels see the photo; edges that hide what is behind them are smoothed by 4 samples a pixel."""
        batch, (h, w) = T_wc.shape[:-2], camera.size
        parts = [self._render(camera, some, antialias) for some in self._chunks(camera, T_wc)]
        images = torch.cat([p[0] for p in parts]) if parts else torch.zeros(0, 3, h, w)
        mask = torch.cat([p[1] for p in parts]) if parts else torch.zeros(0, h, w, dtype=torch.bool)
        return images.reshape(*batch, 3, h, w), mask.reshape(*batch, h, w)

    def with_depth(
        self, camera: Camera, T_wc: Float[Tensor, "n 4 4"]
    ) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"], Float[Tensor, "n h w"]]:
        """`render` without smoothed edges, which are most of its time, and from the same triangles 1/Z at each pixel's centre [1/m], 0 where there is
        nothing: what training takes."""
        vertices, parts = self._mesh_on(T_wc.device).vertices, []
        for some in self._chunks(camera, T_wc):
            sight = self._all(camera, homogeneous_pixels(vertices, some, camera))
            spacing = self._texels_per_pixel(camera, some)
            parts.append((*shade([self.print], sight.u, sight.v, sight.hit, spacing), sight.q))
        images, mask, inverse = (torch.cat(values) for values in zip(*parts, strict=True))
        return images, mask, inverse

    def distance(self, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
        """From each camera along its optical axis to the plane z = 0 [m]."""
        return self.print.distance(T_wc)

    def depth(self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
        """Along z of the surface at each pixel's centre [m]; NaN where there is none."""
        vertices = self._mesh_on(T_wc.device).vertices
        parts = [self._all(camera, homogeneous_pixels(vertices, some, camera)) for some in self._chunks(camera, T_wc)]
        Z = [torch.where(part.hit, part.q.reciprocal(), torch.nan) for part in parts]
        return (torch.cat(Z) if Z else torch.zeros(0)).reshape(*T_wc.shape[:-2], *camera.size)

    def _chunks(self, camera: Camera, T_wc: Tensor) -> Sequence[Tensor]:
        poses = T_wc.reshape(-1, 4, 4)
        pixels = _CHUNK_PIXELS_GPU if poses.is_cuda else _CHUNK_PIXELS
        return poses.split(max(1, pixels // (camera.width * camera.height))) if len(poses) else ()

    def _mesh_on(self, device: torch.device) -> Mesh:
        if device not in self.meshes:
            self.meshes[device] = self.mesh.to(device)
        return self.meshes[device]

    def _render(self, camera: Camera, T_wc: Tensor, antialias: bool) -> tuple[Tensor, Tensor]:
        pixels = homogeneous_pixels(self._mesh_on(T_wc.device).vertices, T_wc, camera)
        sight = self._all(camera, pixels)
        if not antialias:
            return shade([self.print], sight.u, sight.v, sight.hit, None)
        spacing = self._texels_per_pixel(camera, T_wc)
        images, mask = shade([self.print], sight.u, sight.v, sight.hit, spacing)
        edges = _edges(sight)
        if bool(edges.any()):
            images.permute(0, 2, 3, 1)[edges] = self._quarters(camera, pixels, spacing, edges)
        return images, mask

    def _quarters(
        self, camera: Camera, pixels: Float[Tensor, "3 n v"], spacing: Float[Tensor, "n"], some: Bool[Tensor, "n h w"]
    ) -> Float[Tensor, "k 3"]:
        """Mean colours of the four quarters of some pixels, in their order: pixels of an image twice as large."""
        view, y, x = some.nonzero().unbind(1)
        (h, w), device = camera.size, pixels.device
        v, u = torch.meshgrid(torch.arange(2, device=device), torch.arange(2, device=device), indexing="ij")
        u = u + (2 * x - (w - 0.5))[:, None, None]
        v = v + (2 * y - (h - 0.5))[:, None, None]
        if len(some) == 1:  # as rows of one view, which is faster than many small ones
            u, v, view = u.reshape(1, -1, 2), v.reshape(1, -1, 2), view[:1]
        twice = torch.cat((2 * pixels[:2], pixels[2:]))
        fine = self._sight(twice, (2 * h, 2 * w), u, v, some)
        return (
            shade([self.print], fine.u, fine.v, fine.hit, spacing[view])[0].transpose(0, 1).reshape(3, -1, 4).mean(2).T
        )

    def _texels_per_pixel(self, camera: Camera, T_wc: Tensor) -> Float[Tensor, "n"]:
        """Of the plane z = 0 in the image's middle, as a print has it."""
        H = self.print.texels_from_plane().to(T_wc) @ plane_from_pixel(camera, T_wc)
        middle = T_wc.new_tensor([(camera.width - 1) / 2, (camera.height - 1) / 2, 1.0])
        H = H / (H[:, 2] @ middle).abs().clamp(min=1e-12)[:, None, None]
        return torch.linalg.det(H).abs().sqrt().float()

    def _all(self, camera: Camera, pixels: Float[Tensor, "3 n v"]) -> _Sight:
        """What all pixels of views with the vertices at these homogeneous pixels see."""
        u = torch.arange(camera.width, device=pixels.device) - (camera.width - 1) / 2
        v = torch.arange(camera.height, device=pixels.device) - (camera.height - 1) / 2
        return self._sight(pixels, camera.size, u.expand(pixels.shape[1], camera.height, -1), v[:, None], None)

    def _sight(
        self, pixels: Float[Tensor, "3 n v"], size: tuple[int, int], u: Tensor, v: Tensor, squares: Tensor | None
    ) -> _Sight:
        """What pixels (u, v), counted from the image's middle, see; `size` and `squares` as for `raster`."""
        mesh = self._mesh_on(pixels.device)
        seen = raster(pixels, mesh.faces, size, squares)
        at = _planes(seen, mesh).index_select(1, seen.row + 1)
        at = at.reshape(3, len(at) // 3, *u.shape)
        *texels, inverse = (level.addcmul_(across, u).addcmul_(down, v) for across, down, level in at.unbind(1))
        share = (texels.pop() if mesh.projective else inverse).reciprocal()
        hit = inverse > 0
        return _Sight(texels[0] * share, texels[1] * share, inverse.clamp_(min=0), hit)


def _planes(seen: Seen, mesh: Mesh) -> Float[Tensor, "c k"]:
    """Of each triangle the coefficients of u, then those of v and of 1, of: u q, v q, q (of a projective mesh) and 1, all over depth. The first entry is
    of nothing: 0, 0, 1 and -1."""
    corners = mesh.texels.index_select(0, mesh.faces.index_select(0, seen.triangle).reshape(-1)).reshape(-1, 9).T
    weights = seen.weights.reshape(3, 3, -1)
    kinds = 3 if mesh.projective else 2
    parts = [
        weights[:, 0] * corners[k] + weights[:, 1] * corners[3 + k] + weights[:, 2] * corners[6 + k]
        for k in range(kinds)
    ]
    planes = torch.stack((*parts, weights[:, 0] + weights[:, 1] + weights[:, 2]), 1).reshape(3 * (kinds + 1), -1)
    level = [0.0, 0.0, 1.0, -1.0] if mesh.projective else [0.0, 0.0, -1.0]
    nothing = planes.new_tensor([0.0] * (2 * kinds + 2) + level)[:, None]
    return torch.cat((nothing, planes), 1).float()


def _edges(sight: _Sight) -> Bool[Tensor, "n h w"]:
    """Pixels where the surface breaks off: the inverse depth is affine on a plane, and bends there."""
    q = sight.q
    edge = torch.zeros_like(sight.hit)
    for axis in (1, 2):
        before, middle, after = (q.narrow(axis, k, q.shape[axis] - 2) for k in range(3))
        bend = (before + after).sub_(2 * middle).abs_()
        edge.narrow(axis, 1, q.shape[axis] - 2).logical_or_(bend > _EDGE * torch.maximum(before, after))
    return edge
