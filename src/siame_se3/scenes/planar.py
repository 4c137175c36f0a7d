"""Scene: a photo printed on the plane z = 0 of the world, with a metric size.

The world's origin is the middle of the print, x right, y down, z away from a camera that looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import depth as plane_depth
from siame_se3.images.luma import LUMA
from siame_se3.scenes.render import render_print

Fill = float | tuple[float, float, float] | Literal["mean", "edge"]
Extent = Literal["edges", "centres"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A textured plane.

    Attributes:
        texture: RGB in [0, 1], (3, H, W).
        width: of the print [m].
        height: of the print [m].
        name: for reports.
        fill: what lies beyond the print: a grey level, an RGB colour, 'mean' (the photo's mean colour) or 'edge'
            (the border's pixels go on).
        extent: what the size measures: outer 'edges' of the border pixels (a print), or their 'centres' (ViSP's simulator).
    """

    texture: Float[Tensor, "3 H W"]
    width: float
    height: float
    name: str = "scene"
    fill: Fill = 0.0
    extent: Extent = "edges"
    # Caches a device: the texture's pyramid, and the renderer's packing of it.
    pyramids: dict[torch.device, list[Tensor]] = field(default_factory=dict, init=False, repr=False)
    atlases: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.fill, str) and self.fill not in ("mean", "edge"):
            raise SceneError(
                f"{self.name}: unknown fill '{self.fill}'; give a grey level, an RGB colour, 'mean' or 'edge'"
            )
        require_types(self, "scene", SceneError)
        for name in ("width", "height"):
            size = getattr(self, name)
            if not 0 < size < float("inf"):
                raise SceneError(f"{self.name}: a scene {name} of {size} m; give metres above 0")

    @staticmethod
    def from_photo(
        path: str | Path, width: float = 0.8, height: float | None = None, fill: Fill = 0.0, extent: Extent = "edges"
    ) -> Scene:
        """Load a photo; its height [m] follows the picture's aspect unless given.

        Raises:
            InputError: no such file, not an image, or nothing on it to see.
        """
        from siame_se3.images.decode import as_image, read_picture

        path = Path(path)
        if not path.is_file():
            raise SceneError(f"{path}: no such file; give a photo of the scene")
        texture = as_image(read_picture(path, upright=True))
        _, h, w = texture.shape
        if min(h, w) < 8:
            raise SceneError(f"{path}: a photo of {w} x {h} px is too small; give at least 8 x 8")
        if float(texture.amax((1, 2)).max()) < 0.02:
            raise SceneError(f"{path}: the photo is all black; take one with light")
        if float((texture.amax((1, 2)) - texture.amin((1, 2))).max()) < 0.02:
            raise SceneError(
                f"{path}: the photo is one constant colour, nothing to servo on; take one of a textured scene"
            )
        return Scene(texture, width, height if height is not None else width * h / w, path.stem, fill, extent)

    @cached_property
    def fill_colour(self) -> Float[Tensor, "3"]:
        """Colour beyond the print (the mean one for 'edge', which needs none)."""
        if isinstance(self.fill, str):
            return self.texture.mean((1, 2))
        return torch.as_tensor(self.fill, dtype=self.texture.dtype, device=self.texture.device).expand(3)

    @property
    def corners(self) -> Float[Tensor, "4 3"]:
        """The print's corners in the world [m]: top left, top right, bottom right, bottom left."""
        x, y = self.width / 2, self.height / 2
        return torch.tensor([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]], dtype=torch.float64)

    def texels_from_plane(self, level_size: tuple[int, int] | None = None) -> Float[Tensor, "3 3"]:
        """Homography from plane points (X, Y, 1) [m] to texture pixels (u, v, 1), pixel centres at whole numbers.

        `level_size` (h, w): for a reduced copy of the texture that covers the same outer edges.
        """
        h, w = self.texture.shape[-2:]
        lw, lh = (level_size[1], level_size[0]) if level_size else (w, h)
        if self.extent == "edges":
            sx, sy, ox, oy = w / self.width, h / self.height, w / 2 - 0.5, h / 2 - 0.5
        else:
            sx, sy, ox, oy = (w - 1) / self.width, (h - 1) / self.height, (w - 1) / 2, (h - 1) / 2
        rx, ry = lw / w, lh / h
        return torch.tensor(
            [[sx * rx, 0, (ox + 0.5) * rx - 0.5], [0, sy * ry, (oy + 0.5) * ry - 0.5], [0, 0, 1]], dtype=torch.float64
        )

    def pyramid(self, device: torch.device) -> list[Tensor]:
        """Texture and its halved copies (3, H / 2^k, W / 2^k), box-filtered, cached per device."""
        if device not in self.pyramids:
            levels = [self.texture.to(device)]
            while min(levels[-1].shape[-2:]) >= 8:
                previous = levels[-1][None]
                h, w = previous.shape[-2:]
                levels.append(F.interpolate(previous, size=((h + 1) // 2, (w + 1) // 2), mode="area")[0])
            self.pyramids[device] = levels
        return self.pyramids[device]

    def render(
        self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
    ) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
        """What cameras at T_wc see, and which pixels see the print: see `render`."""
        return render_print(self, camera, T_wc, antialias)

    def distance(self, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
        """From each camera along its optical axis to the plane z = 0 [m]: t_z + Z R_zz = 0."""
        return -T_wc[..., 2, 3] / T_wc[..., 2, 2]

    def depth(self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
        """Along z of the plane z = 0 at each pixel's centre [m], also beyond the print; NaN where a pixel looks past it."""
        Z = plane_depth(camera, T_wc).float()
        return torch.where(Z.isinf(), torch.nan, Z)

    def grey(self) -> Scene:
        """The same scene without colour (ITU-R 601 luma in all three channels)."""
        luma = (self.texture * self.texture.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
        return Scene(luma.expand(3, -1, -1).contiguous(), self.width, self.height, self.name, self.fill, self.extent)


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, in name order; hidden files, such as macOS puts beside each on other file systems (._NAME), are left out.

    Raises:
        SceneError: there are none, or no such folder.
    """
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder; give one of photos")
    kinds = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in kinds and not p.name.startswith("."))
    if not found:
        raise SceneError(f"{folder}: no photo in this folder; give JPEG or PNG files")
    return found


def load_scenes(paths: list[str | Path], width: float = 0.8, fill: Fill = 0.0) -> list[Scene]:
    """A set of scenes, each `width` metres wide; folders are read in name order."""
    files: list[Path] = []
    for entry in map(Path, paths):
        files += photos_in(entry) if entry.is_dir() else [entry]
    return [Scene.from_photo(path, width, fill=fill) for path in files]
