"""Where the cameras are: desired poses and start poses, drawn with an overlap filter or read from a file. float64, on the CPU.

A sampler takes an explicit generator and returns camera-to-world poses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, SceneError, require_number
from siame_se3.files import read_text, require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.overlap import overlap, visible
from siame_se3.scenes.types import Scene

_ROUNDS = 2000  # of draws, at most
_MOST_STARTS = 20_000_000  # [bytes] of a file of starts


@dataclass(frozen=True)
class Workspace:
    """Where cameras may be.

    Attributes:
        distance: reference camera's distance to the plane [m], in front of its middle.
        desired_sideways: desired pose within +- this of the reference, x and y [m].
        desired_height: within +- this of it along z [m].
        desired_tilt: within +- this of it about x, y [rad].
        offset_t: standard deviation of a start's offset from its desired pose, each axis [m].
        offset_tilt: standard deviation of its rotation about x, y [rad].
        offset_roll: standard deviation of its rotation about z [rad].
        min_overlap: share of the desired view that a start must see, and of a training view that must see the print.
        min_height: cameras keep at least this distance to the plane [m].

    Raises:
        SceneError: no distance above 0.
    """

    distance: float = 0.6
    desired_sideways: float = 0.1
    desired_height: float = 0.075
    desired_tilt: float = math.radians(5)
    offset_t: float = 0.1
    offset_tilt: float = math.radians(10)
    offset_roll: float = math.radians(16)
    min_overlap: float = 0.2
    min_height: float = 0.05

    def __post_init__(self) -> None:
        require_types(self, error=SceneError)
        for name in (
            "desired_sideways",
            "desired_height",
            "desired_tilt",
            "offset_t",
            "offset_tilt",
            "offset_roll",
            "min_height",
        ):
            require_number(self, name, 0)
        require_number(self, "min_overlap", 0, 1)
        if not 0 < self.distance < math.inf:
            raise SceneError(
                f"distance {self.distance} m; give the camera's distance to the scene, above 0", "distance"
            )

    def at(self, distance: float) -> Workspace:
        """The same views at another distance [m]: all lengths scaled with it."""
        names = ("distance", "desired_sideways", "desired_height", "offset_t", "min_height")
        return replace(self, **{name: getattr(self, name) * (distance / self.distance) for name in names})


def reference_pose(distance: float) -> Float[Tensor, "4 4"]:
    """Camera `distance` metres in front of the print's middle, square to it."""
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -distance
    return T


def uniform(n: int, bounds: list[float], generator: torch.Generator) -> Float[Tensor, "n k"]:
    """n vectors, each axis uniform within +- its bound."""
    half = torch.tensor(bounds, dtype=torch.float64)
    return (2 * torch.rand(n, len(bounds), generator=generator, dtype=torch.float64) - 1) * half


def gaussian(n: int, sigmas: list[float], generator: torch.Generator) -> Float[Tensor, "n k"]:
    """n vectors, each axis normal with its standard deviation."""
    return torch.randn(n, len(sigmas), generator=generator, dtype=torch.float64) * torch.tensor(
        sigmas, dtype=torch.float64
    )


def desired_poses(n: int, workspace: Workspace, generator: torch.Generator) -> Float[Tensor, "n 4 4"]:
    """Desired poses T_wd around the reference pose, uniform."""
    w = workspace
    p = uniform(
        n, [w.desired_sideways, w.desired_sideways, w.desired_height, w.desired_tilt, w.desired_tilt, 0.0], generator
    )
    return reference_pose(w.distance) @ lie.pose_from_vector(p)


def offsets(
    n: int, workspace: Workspace, generator: torch.Generator, spread: tuple[float, float] = (1.0, 1.0)
) -> Float[Tensor, "n 4 4"]:
    """Gaussian offsets T_dc of a start from its desired pose, each scaled by a factor uniform in `spread`.

    A wide `spread` gives both more views near the middle and a heavier tail than the plain Gaussian (1, 1).
    """
    w = workspace
    p = gaussian(n, [w.offset_t] * 3 + [w.offset_tilt] * 2 + [w.offset_roll], generator)
    low, high = spread
    factor = low + (high - low) * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return lie.pose_from_vector(p * factor)


def gamma(n: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Gamma variates of a mean and a standard deviation (positive, one hump, a tail)."""
    shape = torch.full((n,), (mean / std) ** 2, dtype=torch.float64)
    return torch._standard_gamma(shape, generator=generator) * std**2 / mean


def table1_starts(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) whose error norms are 12.5 +- 7.5 cm and 17.5 +- 12 deg, as in the paper's Table I.

    The norms are drawn first (gamma distributions of that mean and spread); desired pose and directions (rotation axes
    10 : 10 : 16 as in the set-up) are drawn again until the overlap filter passes, so that the filter leaves the norms
    as they are. A pair of norms that finds no direction in 100 draws is drawn again.

    Raises:
        SceneError: some starts see too little of the scene, however often they are drawn.
    """
    length = gamma(n, 0.125, 0.075, generator)
    angle = gamma(n, math.radians(17.5), math.radians(12), generator)
    T_wd = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    T_wc = T_wd.clone()
    todo = torch.arange(n)
    for attempt in range(1, _ROUNDS + 1):
        if not len(todo):
            return T_wd, T_wc
        k = len(todo)
        if attempt % 100 == 0:
            length[todo] = gamma(k, 0.125, 0.075, generator)
            angle[todo] = gamma(k, math.radians(17.5), math.radians(12), generator)
        d = desired_poses(k, workspace, generator)
        t = gaussian(k, [1.0, 1.0, 1.0], generator)
        u = gaussian(k, [workspace.offset_tilt, workspace.offset_tilt, workspace.offset_roll], generator)
        p = torch.cat(
            (t / t.norm(dim=1, keepdim=True) * length[todo, None], u / u.norm(dim=1, keepdim=True) * angle[todo, None]),
            1,
        )
        c = d @ lie.pose_from_vector(p)
        ok = (
            (overlap(camera, d, c, scene) >= workspace.min_overlap)
            & (visible(scene, camera, d) >= 0.5)
            & (c[:, 2, 3] <= -workspace.min_height)
            & (angle[todo] < math.pi)
        )
        T_wd[todo[ok]], T_wc[todo[ok]] = d[ok], c[ok]
        todo = todo[~ok]
    raise SceneError(
        f"starts on {scene.name}: {len(todo)} of {n} see too little of the scene; "
        "check its width, the camera's distance and its field of view",
        *("width", "distance"),
    )


def wide_starts(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) far away: position uniform in a box of +-0.6 x +-0.6 x +-0.15 m around the desired camera
    (scaled with its distance, 0.6 m), looking at a point 0.08 to 0.32 m from the scene's middle, roll in +-120 deg.

    No overlap filter: it is the distribution of the public poster results.
    """
    s = workspace.distance / 0.6
    T_wd = reference_pose(workspace.distance).repeat(n, 1, 1)
    position = T_wd[:, :3, 3] + uniform(n, [0.6 * s, 0.6 * s, 0.15 * s], generator)
    ring = (torch.randint(1, 5, (n,), generator=generator).double() * 0.08 * s)[:, None]
    return T_wd, looking_near_middle(position, ring, 120, generator)


def looking_near_middle(
    position: Float[Tensor, "n 3"], ring: Float[Tensor, "n 1"], roll_deg: float, generator: torch.Generator
) -> Float[Tensor, "n 4 4"]:
    """Cameras that look at points `ring` metres from the scene's middle in random directions, rolled by up to +-roll_deg."""
    n = len(position)
    bearing = uniform(n, [math.pi], generator)
    target = torch.cat((ring * bearing.cos(), ring * bearing.sin(), torch.zeros_like(ring)), 1)
    z = torch.nn.functional.normalize(target - position, dim=1)
    x = torch.nn.functional.normalize(
        torch.cross(torch.tensor([[0.0, 1.0, 0.0]], dtype=z.dtype).expand_as(z), z, dim=1), dim=1
    )
    R = torch.stack((x, torch.cross(z, x, dim=1), z), -1)
    roll = uniform(n, [math.radians(roll_deg)], generator)
    R = R @ lie.so3_exp(torch.cat((torch.zeros(n, 2, dtype=z.dtype), roll), 1))
    return lie.pose(R, position)


def starts_from_csv(path: str | Path, workspace: Workspace) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) of a file with one start a line: tx,ty,tz,tux,tuy,tuz of c*Tc [m, rad].

    The desired camera is at the reference pose. Separators: comma, semicolon or blanks; empty lines, lines that begin
    with '#' and one header line of names are passed over.

    Raises:
        InputError: no such file, a larger one than 20 MB, no start in it, or a bad line, named by its number.
    """
    lines = read_text(
        path, _MOST_STARTS, "give 'table1', 'wide' or a CSV of starts (tx,ty,tz,tux,tuy,tuz)"
    ).splitlines()
    rows: list[list[float]] = []
    first = True
    for number, line in enumerate(lines, 1):
        mark = next((m for m in ",;" if m in line), None)
        text = [x.strip() for x in line.split(mark)] if line.strip() else []
        if not text or text[0].startswith("#"):
            continue
        header, first = first and text[0][:1].isalpha() and text[0].lower() not in ("nan", "inf", "infinity"), False
        if header:
            continue
        try:
            values = [float(x) for x in text]
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: {str(error)[:80]}; each line is tx,ty,tz,tux,tuy,tuz in m and rad"
            ) from None
        if len(values) != 6:
            raise InputError(
                f"{path}, line {number}: {len(values)} values, not 6; each line is tx,ty,tz,tux,tuy,tuz in m and rad"
            )
        if not all(abs(x) < 1e6 for x in values):
            raise InputError(f"{path}, line {number}: a value is not finite; give metres and radians")
        rows.append(values)
    if not rows:
        raise InputError(f"{path}: no start in this file; each line is tx,ty,tz,tux,tuy,tuz in m and rad")
    T_wd = reference_pose(workspace.distance).repeat(len(rows), 1, 1)
    return T_wd, T_wd @ lie.pose_from_vector(torch.tensor(rows, dtype=torch.float64))


def require_desired_views(scene: Scene, camera: Camera, workspace: Workspace) -> None:
    """Refuse at once a set-up whose desired cameras never see half of an image of the scene, as `table1_starts` wants.

    Raises:
        SceneError: the scene is too small or too far for this camera.
    """
    drawn = desired_poses(4096, workspace, torch.Generator().manual_seed(0))
    if float(visible(scene, camera, drawn).max()) < 0.5:
        raise SceneError(
            f"starts on {scene.name}: no desired camera sees the scene in half of its image; "
            "check its width, the camera's distance and its field of view",
            *("width", "distance"),
        )


def draw_starts(
    source: str, n: int, scene: Scene, camera: Camera, workspace: Workspace, seed: int
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) by name: 'table1', 'wide', or a CSV file (all its lines, or its first n).

    Raises:
        SceneError: starts that see too little of the scene.
        InputError: a file that cannot be read as starts.
    """
    generator = torch.Generator().manual_seed(seed)
    if source == "table1":
        require_desired_views(scene, camera, workspace)
        return table1_starts(n, scene, camera, workspace, generator)
    if source == "wide":
        return wide_starts(n, scene, camera, workspace, generator)
    T_wd, T_wc = starts_from_csv(source, workspace)
    return T_wd[:n], T_wc[:n]
