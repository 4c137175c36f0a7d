"""Scene: a photo on a surface that is not flat: a mesh of triangles with the photo's texels at its vertices.

Frame and picture are those of a print (`planar`): the world's plane z = 0 is the table, heights go to negative z, towards the cameras. A mesh without
heights gives a print's images and depths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.scenes import planar
from siame_se3.scenes.relief_raster import Seen, homogeneous_pixels, raster
from siame_se3.scenes.render import shade

_CHUNK_PIXELS = 100_000  # rendered at once on a CPU, whose cache they should fit
_CHUNK_PIXELS_GPU = 4_000_000
_EDGE = 0.004  # bend of the inverse depth from pixel to pixel, over itself, that is taken for an edge


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles.

    Attributes:
        vertices: in the world [m], float64.
        faces: the vertices of each triangle, clockwise as seen from its front.
        texels: at each vertex where the picture is, (u q, v q, q), u and v in texels; q = 1, or the depth in the view of a camera that took it.
    """

    vertices: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    texels: Float[Tensor, "v 3"]

    @staticmethod
    def joined(parts: Sequence[Mesh]) -> Mesh:
        """Several as one."""
        ends = torch.tensor([0, *(len(part.vertices) for part in parts)]).cumsum(0).tolist()
        return Mesh(
            torch.cat([part.vertices for part in parts]),
            torch.cat([part.faces + end for part, end in zip(parts, ends[:-1], strict=True)]),
            torch.cat([part.texels for part in parts]),
        )

    def to(self, device: torch.device) -> Mesh:
        """The same on another device."""
        return Mesh(self.vertices.to(device), self.faces.to(device), self.texels.to(device))


@dataclass(frozen=True)
class _Sight:
    """What each pixel sees: texels, inverse depth [1/m] (0 where it sees nothing), and whether it sees anything."""

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

    def distance(self, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
        """From each camera along its optical axis to the plane z = 0 [m]."""
        return self.print.distance(T_wc)

    def depth(self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
        """Along z of the surface at each pixel's centre [m]; NaN where there is none."""
        parts = [self._sight(camera, some) for some in self._chunks(camera, T_wc)]
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
        sight = self._sight(camera, T_wc)
        if not antialias:
            return shade([self.print], sight.u, sight.v, sight.hit, None)
        spacing = self._texels_per_pixel(camera, T_wc)
        images, mask = shade([self.print], sight.u, sight.v, sight.hit, spacing)
        view, y, x = _edges(sight).nonzero().unbind(1)
        if len(view):
            images[view, :, y, x] = self._several(camera, T_wc, spacing, (view, y, x)).to(images)
        return images, mask

    def _several(
        self, camera: Camera, T_wc: Tensor, spacing: Tensor, pixels: tuple[Tensor, Tensor, Tensor]
    ) -> Float[Tensor, "k 3"]:
        """Mean colours of some pixels' four quarters."""
        view, y, x = pixels
        h, w = camera.size
        only = torch.zeros(len(T_wc), h, 2, w, 2, dtype=torch.bool, device=T_wc.device)
        only[view, y, :, x] = True
        fine = self._sight(camera.resized(2 * w, 2 * h), T_wc, only.reshape(-1, 2 * h, 2 * w))
        u, v, hit = (part.reshape(-1, h, 2, w, 2)[view, y, :, x] for part in (fine.u, fine.v, fine.hit))
        return shade([self.print], u, v, hit, spacing[view])[0].mean((2, 3))

    def _texels_per_pixel(self, camera: Camera, T_wc: Tensor) -> Float[Tensor, "n"]:
        """Of the plane z = 0 in the image's middle, as a print has it."""
        H = self.print.texels_from_plane().to(T_wc) @ plane_from_pixel(camera, T_wc)
        middle = T_wc.new_tensor([(camera.width - 1) / 2, (camera.height - 1) / 2, 1.0])
        H = H / (H[:, 2] @ middle).abs().clamp(min=1e-12)[:, None, None]
        return torch.linalg.det(H).abs().sqrt().float()

    def _sight(self, camera: Camera, T_wc: Tensor, only: Tensor | None = None) -> _Sight:
        mesh, (h, w) = self._mesh_on(T_wc.device), camera.size
        seen = raster(homogeneous_pixels(mesh.vertices, T_wc, camera), mesh.faces, (h, w), only)
        planes = _planes(seen, mesh)
        hit = seen.row >= 0
        if not len(planes):
            zero = torch.zeros(hit.shape, device=T_wc.device)
            return _Sight(zero, zero, zero, hit)
        at = planes.index_select(0, seen.row.clamp(min=0).reshape(-1)).reshape(*hit.shape, 3, 4)
        u = torch.arange(w, device=T_wc.device) - (w - 1) / 2
        v = (torch.arange(h, device=T_wc.device) - (h - 1) / 2)[:, None]
        uq, vq, q, inverse = ((at[..., 0, k] * u).addcmul_(at[..., 1, k], v).add_(at[..., 2, k]) for k in range(4))
        return _Sight(uq / q, vq / q, inverse.masked_fill_(~hit, 0), hit)


def _planes(seen: Seen, mesh: Mesh) -> Float[Tensor, "t 12"]:
    """Of each triangle the coefficients (u, v, 1) of its texels and of 1, over depth: (3, 4) row by row."""
    corners = mesh.texels.index_select(0, mesh.faces.index_select(0, seen.triangle).reshape(-1)).reshape(-1, 3, 3)
    weights = seen.weights.reshape(-1, 3, 3)
    texels = sum(weights[:, :, k, None] * corners[:, k, None, :] for k in range(3))
    return torch.cat((texels, weights.sum(2, keepdim=True)), 2).float().reshape(-1, 12)


def _edges(sight: _Sight) -> Bool[Tensor, "n h w"]:
    """Pixels where the surface breaks off: the inverse depth is affine on a plane, and bends there."""
    q = sight.q
    edge = torch.zeros_like(sight.hit)
    for axis in (1, 2):
        before, middle, after = (q.narrow(axis, k, q.shape[axis] - 2) for k in range(3))
        bend = (before + after).sub_(2 * middle).abs_()
        edge.narrow(axis, 1, q.shape[axis] - 2).logical_or_(bend > _EDGE * torch.maximum(before, after))
    return edge

