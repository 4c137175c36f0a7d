"""Meshes for `Relief`: a table, height maps, views of depth cameras, boxes, cylinders and steps. A photo lies over all of them as over a table; it goes
on down the walls of solids."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import read_bytes
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.planar import Scene

Walls = Literal["onwards", "edge", "colour"]

_MOST_BYTES = 200_000_000  # of a height map's file
_TABLE = 3.0  # size of the table, in that of the photo
_STEEPEST = 4.0  # tan of the angle between a surface and its view from which on a depth camera's neighbours are taken for two surfaces


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

    @cached_property
    def projective(self) -> bool:
        """Whether q varies: the picture is a view, and not laid over the mesh in parallel."""
        return bool((self.texels[:, 2] != 1).any())

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


def _texels(photo: Scene, xy: Float[Tensor, "v 2"]) -> Float[Tensor, "v 3"]:
    """Where the photo is at places of the table [m]."""
    return torch.cat((xy, torch.ones_like(xy[:, :1])), 1) @ photo.texels_from_plane().T


def _grid_faces(rows: int, columns: int) -> Tensor:
    """Two triangles a cell of a grid of vertices, counted row by row, y down."""
    corner = (torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)).reshape(-1)
    right, below = corner + 1, corner + columns
    return torch.cat((torch.stack((corner, right, below), 1), torch.stack((right, below + 1, below), 1)))


def table(photo: Scene) -> Mesh:
    """The plane z = 0, under the photo and around it."""
    x, y = _TABLE * photo.width / 2, _TABLE * photo.height / 2
    xy = torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]], dtype=torch.float64)
    vertices = torch.cat((xy, torch.zeros(4, 1, dtype=torch.float64)), 1)
    return Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), _texels(photo, xy))


def heights(photo: Scene, levels: Float[Tensor, "H W"], cells: int) -> Mesh:
    """A height map [m] over the whole photo, which slopes down to the table around it.

    Args:
        levels: heights above the table at the middles of H x W equal parts of the photo.
        cells: of the mesh along the longer side, at most; a finer map is averaged.
    """
    H, W = levels.shape
    shrink = min(1.0, cells / max(H, W))
    rows, columns = max(2, round(H * shrink)), max(2, round(W * shrink))
    values = levels.double()[None, None]
    if shrink < 1:
        values = F.interpolate(values, size=(rows, columns), mode="area")
    # vertices: the middles of the parts, and a ring on the photo's border
    x = torch.cat((torch.tensor([0.0]), (torch.arange(columns) + 0.5) / columns, torch.tensor([1.0]))).double() - 0.5
    y = torch.cat((torch.tensor([0.0]), (torch.arange(rows) + 0.5) / rows, torch.tensor([1.0]))).double() - 0.5
    z = -F.pad(values, (1, 1, 1, 1), mode="replicate")[0, 0]
    # and a ring on the table's border
    x = torch.cat((x.new_tensor([-_TABLE / 2]), x, x.new_tensor([_TABLE / 2]))) * photo.width
    y = torch.cat((y.new_tensor([-_TABLE / 2]), y, y.new_tensor([_TABLE / 2]))) * photo.height
    z = F.pad(z, (1, 1, 1, 1))
    Y, X = torch.meshgrid(y, x, indexing="ij")
    xy = torch.stack((X, Y), -1).reshape(-1, 2)
    return Mesh(torch.cat((xy, z.reshape(-1, 1)), 1), _grid_faces(len(y), len(x)), _texels(photo, xy))


def solid(
    photo: Scene, outline: Float[Tensor, "k 2"], top: float, bottom: float = 0.0, walls: Walls = "onwards"
) -> Mesh:
    """A prism: a convex outline [m], clockwise as seen from above, from a height to another [m].

    Args:
        walls: what they show: the photo goes 'onwards' from the top down the walls, so what lies around the solid is seen twice; its 'edge' is
            stretched down them; or they are of one 'colour', that of the photo in the outline's middle.
    """
    k = len(outline)
    after = outline.roll(-1, 0)
    along = after - outline
    outwards = F.normalize(torch.stack((along[:, 1], -along[:, 0]), 1), dim=1)
    lid = torch.cat((outline, torch.full((k, 1), -top, dtype=outline.dtype)), 1)
    fan = torch.stack((torch.zeros(k - 2, dtype=torch.long), torch.arange(1, k - 1), torch.arange(2, k)), 1)
    # each wall has vertices of its own, as the photo has other places there
    upper, lower = torch.stack((outline, after), 1), torch.stack((outline, after), 1)
    z = outline.new_tensor([-top, -top, -bottom, -bottom]).expand(k, 4)
    sides = torch.cat((torch.cat((upper, lower), 1), z[..., None]), 2).reshape(-1, 3)
    shift = (top - bottom) * outwards[:, None] * (walls == "onwards")
    places = torch.cat((upper, lower + shift), 1).reshape(-1, 2)
    if walls == "colour":
        places = outline.mean(0).expand_as(places)
    first = torch.arange(k)[:, None] * 4
    quads = torch.cat((first + torch.tensor([0, 2, 1]), first + torch.tensor([1, 2, 3])))
    mesh = Mesh(sides, quads, _texels(photo, places))
    return Mesh.joined([Mesh(lid, fan, _texels(photo, outline)), mesh])


def box_outline(x: float, y: float, width: float, height: float, angle: float) -> Float[Tensor, "4 2"]:
    """Corners of a rectangle around (x, y) [m], turned by an angle [rad], clockwise as seen from above (y down)."""
    corners = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return (corners * corners.new_tensor([width / 2, height / 2])) @ turn.T + corners.new_tensor([x, y])


def round_outline(x: float, y: float, radius: float, corners: int = 32) -> Float[Tensor, "k 2"]:
    """A circle around (x, y) [m] by its corners, clockwise as seen from above (y down)."""
    angle = torch.arange(corners, dtype=torch.float64) * (math.tau / corners)
    return torch.stack((x + radius * angle.cos(), y + radius * angle.sin()), 1)


def seen_surface(camera: Camera, depth: Float[Tensor, "h w"], T_wc: Float[Tensor, "4 4"], cells: int) -> Mesh:
    """What a camera saw with its depth: a triangle between neighbours of known depth that lie on one surface, and nothing elsewhere.

    Args:
        camera: of the depth map, and of the photo over it.
        depth: along z [m]; NaN where it is not known.
        T_wc: where it was taken.
        cells: of the mesh along the longer side, at most.
    """
    h, w = depth.shape
    step = max(1, math.ceil((max(h, w) - 1) / cells))
    v, u = (torch.unique(torch.cat((torch.arange(0, n, step), torch.tensor([n - 1])))) for n in (h, w))
    Z = depth.double()[v][:, u]
    V, U = torch.meshgrid(v.double(), u.double(), indexing="ij")
    X = camera.rays(torch.stack((U, V), -1)) * Z[..., None]
    faces = _grid_faces(len(v), len(u))
    faces = faces[_one_surface(Z.reshape(-1)[faces], 1 + _STEEPEST * step / min(camera.fx, camera.fy))]
    used = torch.unique(faces)
    number = torch.full((Z.numel(),), -1).index_put((used,), torch.arange(len(used)))
    points = X.reshape(-1, 3)[used] @ T_wc[:3, :3].T + T_wc[:3, 3]
    texels = (torch.stack((U, V, torch.ones_like(U)), -1) * Z[..., None]).reshape(-1, 3)[used]
    return Mesh(points, number[faces], texels)


def _one_surface(Z: Float[Tensor, "f 3"], ratio: float) -> Bool[Tensor, "f"]:
    """Triangles whose corners are known and differ by less than a factor."""
    return Z.isfinite().all(1) & (Z.amin(1) > 0) & (Z.amax(1) < ratio * Z.amin(1))


def read_heights(path: Path) -> tuple[Float[Tensor, "H W"], bool]:
    """A height map, and whether it is in metres: an NPY is, of any number type; a grey picture goes from 0 to 1.

    Raises:
        InputError: no such file, or not a map.
    """
    if path.suffix.lower() != ".npy":
        from siame_se3.images.decode import as_image, read_picture

        return as_image(read_picture(path)).mean(0).double(), False
    content = read_bytes(path, _MOST_BYTES, "give a height map")
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError):
        raise InputError(f"{path}: not a NumPy array that can be read; give an NPY of (height, width)") from None
    if (
        not isinstance(values, np.ndarray)
        or values.ndim != 2
        or min(values.shape) < 2
        or values.dtype.kind not in "fiu"
    ):
        raise InputError(f"{path}: not an array of numbers (height, width); give a height map in metres")
    return torch.from_numpy(values.astype(np.float64)), True
