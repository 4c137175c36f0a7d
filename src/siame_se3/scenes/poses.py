"""Where the cameras are: desired poses, start poses, training views; with an overlap filter. float64, on the CPU.

A sampler takes an explicit generator and returns camera-to-world poses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SceneError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import pixel_from_plane, plane_from_pixel
from siame_se3.scenes.types import Scene

_GRID = 16  # overlap and visibility are counted on a grid of 16 x 16 pixels
_TRIES = 200


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
        if not 0 < self.distance < math.inf:
            raise SiameError(f"distance {self.distance} m; give the camera's distance to the scene, above 0")

    def at(self, distance: float) -> Workspace:
        """The same views at another distance [m]: all lengths scaled with it."""
        names = ("distance", "desired_sideways", "desired_height", "offset_t", "min_height")
        return replace(self, **{name: getattr(self, name) * (distance / self.distance) for name in names})


def reference_pose(distance: float) -> Float[Tensor, "4 4"]:
    """Camera `distance` metres in front of the print's middle, square to it."""
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -distance
    return T


def _points(camera: Camera) -> Tensor:
    """Homogeneous pixels of a coarse grid over the whole image, (_GRID^2, 3)."""
    u = (torch.arange(_GRID, dtype=torch.float64) + 0.5) / _GRID
    v, u = torch.meshgrid(u * camera.height - 0.5, u * camera.width - 0.5, indexing="ij")
    return torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3)


def _plane_points(camera: Camera, T_wc: Tensor) -> tuple[Tensor, Tensor]:
    """Plane points (X, Y) [m] seen at the coarse grid, and which rays reach the plane from its front."""
    mapped = _points(camera).to(T_wc) @ plane_from_pixel(camera, T_wc).mT
    hit = (mapped[..., 2] > 1e-9) & (T_wc[..., 2, 3] < 0)[..., None]
    return mapped[..., :2] / torch.where(hit, mapped[..., 2], torch.ones_like(mapped[..., 2]))[..., None], hit


def visible(scene: Scene, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
    """Share of each image that shows the print, 0 to 1."""
    xy, hit = _plane_points(camera, T_wc)
    inside = (xy[..., 0].abs() <= scene.width / 2) & (xy[..., 1].abs() <= scene.height / 2)
    return (inside & hit).double().mean(-1)


def overlap(
    camera: Camera, T_wd: Float[Tensor, "*B 4 4"], T_wc: Float[Tensor, "*B 4 4"], scene: Scene | None = None
) -> Float[Tensor, "*B"]:
    """Share of the desired view that the current camera sees too, 0 to 1; with a scene, only what shows the print counts."""
    xy, hit = _plane_points(camera, T_wd)
    if scene is not None:
        hit = hit & (xy[..., 0].abs() <= scene.width / 2) & (xy[..., 1].abs() <= scene.height / 2)
    points = torch.cat((xy, torch.ones_like(xy[..., :1])), -1)
    mapped = points @ pixel_from_plane(camera, T_wc).mT
    z = mapped[..., 2]
    u, v = mapped[..., 0] / z, mapped[..., 1] / z
    seen = (z > 0) & (u >= -0.5) & (u <= camera.width - 0.5) & (v >= -0.5) & (v <= camera.height - 0.5)
    return (seen & hit).double().mean(-1)


def _uniform(n: int, bounds: list[float], generator: torch.Generator) -> Tensor:
    half = torch.tensor(bounds, dtype=torch.float64)
    return (2 * torch.rand(n, len(bounds), generator=generator, dtype=torch.float64) - 1) * half


def _normal(n: int, sigmas: list[float], generator: torch.Generator) -> Tensor:
    return torch.randn(n, len(sigmas), generator=generator, dtype=torch.float64) * torch.tensor(
        sigmas, dtype=torch.float64
    )


def _fill(
    n: int, draw: Callable[[int], tuple[Tensor, ...]], accept: Callable[..., Tensor], what: str
) -> tuple[Tensor, ...]:
    """n accepted samples, drawn in rounds; the same ones for the same generator state."""
    kept: list[tuple[Tensor, ...]] = []
    count = 0
    for _ in range(_TRIES):
        if count >= n:
            break
        sample = draw(max(n, 16))
        ok = accept(*sample)
        kept.append(tuple(part[ok] for part in sample))
        count += int(ok.sum())
    if count < n:
        raise SiameError(
            f"{what}: only {count} of {n} poses see enough of the scene; check --width, --distance and the camera"
        )
    return tuple(torch.cat(parts)[:n] for parts in zip(*kept, strict=True))


def desired_poses(n: int, workspace: Workspace, generator: torch.Generator) -> Float[Tensor, "n 4 4"]:
    """Desired poses T_wd around the reference pose, uniform."""
    w = workspace
    p = _uniform(
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
    p = _normal(n, [w.offset_t] * 3 + [w.offset_tilt] * 2 + [w.offset_roll], generator)
    low, high = spread
    factor = low + (high - low) * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return lie.pose_from_vector(p * factor)


def training_views(
    n: int,
    scene: Scene,
    camera: Camera,
    workspace: Workspace,
    generator: torch.Generator,
    spread: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, "n 4 4"]:
    """Views T_wc of one scene, as the starts of `desired_poses` + `offsets` are spread; each sees enough of the print."""

    def draw(k: int) -> tuple[Tensor]:
        return (desired_poses(k, workspace, generator) @ offsets(k, workspace, generator, spread),)

    def accept(T_wc: Tensor) -> Tensor:
        return (visible(scene, camera, T_wc) >= workspace.min_overlap) & (T_wc[:, 2, 3] <= -workspace.min_height)

    return _fill(n, draw, accept, f"training views of {scene.name}")[0]


def near_views(
    T_wc: Float[Tensor, "n 4 4"],
    workspace: Workspace,
    generator: torch.Generator,
    smallest: float = 0.003,
    largest: float = 0.5,
    orbit: float = 0.5,
) -> Float[Tensor, "n 4 4"]:
    """A neighbour of each view, at a log-uniform share (smallest to largest) of the offsets' spread.

    A share `orbit` of them is moved mostly around the point that it looks at: sideways and tilted so that the image's
    middle stays. It is the motion that changes an image least, so it is what is left when a servo run nears its goal.
    """
    n = len(T_wc)
    w = workspace
    share = torch.exp(_uniform(n, [0.5], generator) * math.log(largest / smallest)) * math.sqrt(largest * smallest)
    p = _normal(n, [w.offset_t] * 3 + [w.offset_tilt] * 2 + [w.offset_roll], generator) * share
    around = torch.rand(n, 1, generator=generator, dtype=torch.float64) < orbit
    # T = [R, P - R P] turns about P, the point on the optical axis; what else moves is a fifth of an isotropic neighbour's.
    P = torch.zeros(n, 3, 1, dtype=torch.float64)
    P[:, 2, 0] = (-T_wc[:, 2, 3] / T_wc[:, 2, 2]).clamp(0.5 * w.distance, 2 * w.distance)
    R = lie.so3_exp(
        torch.cat((_normal(n, [w.offset_tilt] * 2, generator) * share, torch.zeros(n, 1, dtype=torch.float64)), 1)
    )
    turned = lie.pose(R, (P - R @ P).squeeze(-1)) @ lie.pose_from_vector(0.2 * p)
    return T_wc @ torch.where(around[..., None], turned, lie.pose_from_vector(p))


def _gamma(n: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Gamma variates of a mean and a standard deviation (positive, one hump, a tail)."""
    shape = torch.full((n,), (mean / std) ** 2, dtype=torch.float64)
    return torch._standard_gamma(shape, generator=generator) * std**2 / mean


def table1_starts(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) whose error norms are 12.5 +- 7.5 cm and 17.5 +- 12 deg, as in the paper's Table I.

    The norms are drawn first (gamma distributions of that mean and spread); desired pose and directions (rotation axes
    10 : 10 : 16 as in the set-up) are drawn again until the overlap filter passes, so that the filter leaves the norms
    as they are. A pair of norms that finds no direction in 100 draws is drawn anew.
    """
    length = _gamma(n, 0.125, 0.075, generator)
    angle = _gamma(n, math.radians(17.5), math.radians(12), generator)
    T_wd = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    T_wc = T_wd.clone()
    todo = torch.arange(n)
    for attempt in range(1, 2001):
        if not len(todo):
            return T_wd, T_wc
        k = len(todo)
        if attempt % 100 == 0:
            length[todo] = _gamma(k, 0.125, 0.075, generator)
            angle[todo] = _gamma(k, math.radians(17.5), math.radians(12), generator)
        d = desired_poses(k, workspace, generator)
        t = _normal(k, [1.0, 1.0, 1.0], generator)
        u = _normal(k, [workspace.offset_tilt, workspace.offset_tilt, workspace.offset_roll], generator)
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
    raise SiameError(
        f"starts on {scene.name}: {len(todo)} of {n} see too little of the scene; check --width, --distance and the camera"
    )


def wide_starts(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) far away: position uniform in a box of +-0.6 x +-0.6 x +-0.15 m around the desired camera
    (scaled with its distance, 0.6 m), looking at a point 0.08 to 0.32 m from the scene's middle, roll in +-120 deg.

    No overlap filter: it is the distribution of the public poster results (design notes).
    """
    s = workspace.distance / 0.6
    T_wd = reference_pose(workspace.distance).repeat(n, 1, 1)
    position = T_wd[:, :3, 3] + _uniform(n, [0.6 * s, 0.6 * s, 0.15 * s], generator)
    ring = (torch.randint(1, 5, (n,), generator=generator).double() * 0.08 * s)[:, None]
    return T_wd, _looking(position, ring, 120, generator)


def wide_views(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> Float[Tensor, "n 4 4"]:
    """Training views T_wc for `wide_starts`: a box and rolls a sixth larger, looking at any point up to 0.35 m from the middle (scaled
    likewise); each sees enough of the print."""
    s = workspace.distance / 0.6

    def draw(k: int) -> tuple[Tensor]:
        position = reference_pose(workspace.distance)[:3, 3] + _uniform(k, [0.7 * s, 0.7 * s, 0.2 * s], generator)
        ring = 0.35 * s * torch.rand(k, 1, generator=generator, dtype=torch.float64)
        return (_looking(position, ring, 140, generator),)

    def accept(T_wc: Tensor) -> Tensor:
        return (visible(scene, camera, T_wc) >= workspace.min_overlap) & (T_wc[:, 2, 3] <= -workspace.min_height)

    return _fill(n, draw, accept, f"training views of {scene.name}")[0]


def _looking(
    position: Float[Tensor, "n 3"], ring: Float[Tensor, "n 1"], roll_deg: float, generator: torch.Generator
) -> Float[Tensor, "n 4 4"]:
    """Cameras that look at points `ring` metres from the scene's middle in random directions, rolled by up to +-roll_deg."""
    n = len(position)
    bearing = _uniform(n, [math.pi], generator)
    target = torch.cat((ring * bearing.cos(), ring * bearing.sin(), torch.zeros_like(ring)), 1)
    z = torch.nn.functional.normalize(target - position, dim=1)
    x = torch.nn.functional.normalize(
        torch.cross(torch.tensor([[0.0, 1.0, 0.0]], dtype=z.dtype).expand_as(z), z, dim=1), dim=1
    )
    R = torch.stack((x, torch.cross(z, x, dim=1), z), -1)
    roll = _uniform(n, [math.radians(roll_deg)], generator)
    R = R @ lie.so3_exp(torch.cat((torch.zeros(n, 2, dtype=z.dtype), roll), 1))
    return lie.pose(R, position)


def starts_from_csv(path: str | Path, workspace: Workspace) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """Starts (T_wd, T_wc) of a file with one start a line: tx,ty,tz,tux,tuy,tuz of c*Tc [m, rad].

    The desired camera is at the reference pose. Separators: comma, semicolon or blanks; empty lines, lines that begin
    with '#' and one header line of names are passed over.

    Raises:
        SiameError: no such file, no start in it, or a bad line, named by its number.
    """
    path = Path(path)
    if not path.is_file():
        raise SiameError(f"{path}: no such file; give 'table1', 'wide' or a CSV of starts (tx,ty,tz,tux,tuy,tuz)")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError):
        raise SiameError(f"{path}: not a text file; give a CSV of starts (tx,ty,tz,tux,tuy,tuz)") from None
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
            raise SiameError(
                f"{path}, line {number}: {error!s}; each line is tx,ty,tz,tux,tuy,tuz in m and rad"
            ) from None
        if len(values) != 6:
            raise SiameError(
                f"{path}, line {number}: {len(values)} values, not 6; each line is tx,ty,tz,tux,tuy,tuz in m and rad"
            )
        if not all(abs(x) < 1e6 for x in values):
            raise SiameError(f"{path}, line {number}: a value is not finite; give metres and radians")
        rows.append(values)
    if not rows:
        raise SiameError(f"{path}: no start in this file; each line is tx,ty,tz,tux,tuy,tuz in m and rad")
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
    """Starts by name: 'table1', 'wide', or a CSV file (all its lines, or its first n)."""
    generator = torch.Generator().manual_seed(seed)
    if source == "table1":
        require_desired_views(scene, camera, workspace)
        return table1_starts(n, scene, camera, workspace, generator)
    if source == "wide":
        return wide_starts(n, scene, camera, workspace, generator)
    T_wd, T_wc = starts_from_csv(source, workspace)
    return T_wd[:n], T_wc[:n]
