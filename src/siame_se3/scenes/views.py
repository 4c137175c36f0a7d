"""Training views: where a network's cameras are. float64, on the CPU.

A sampler takes an explicit generator and returns camera-to-world poses.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.overlap import overlap, visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import (
    Workspace,
    desired_poses,
    gaussian,
    looking_near_middle,
    offsets,
    reference_pose,
    uniform,
)

_ROUNDS = 200  # of draws, at most


def _fill(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, draw: Callable[[int], Tensor]
) -> Float[Tensor, "n 4 4"]:
    """n of the drawn poses that see enough of the scene and keep the least height; drawn in rounds."""
    kept: list[Tensor] = []
    count = 0
    for _ in range(_ROUNDS):
        if count >= n:
            break
        T_wc = draw(max(n, 16))
        ok = (visible(scene, camera, T_wc) >= workspace.min_overlap) & (T_wc[:, 2, 3] <= -workspace.min_height)
        kept.append(T_wc[ok])
        count += int(ok.sum())
    if count < n:
        raise SceneError(
            f"training views of {scene.name}: only {count} of {n} poses see enough of the scene; "
            "check its width, the camera's distance and its field of view",
            *("width", "distance"),
        )
    return torch.cat(kept)[:n]


def training_views(
    n: int,
    scene: Scene,
    camera: Camera,
    workspace: Workspace,
    generator: torch.Generator,
    spread: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, "n 4 4"]:
    """Views T_wc of one scene, as the starts of `desired_poses` + `offsets` are spread; each sees enough of the print.

    Raises:
        SceneError: too few poses see enough of it.
    """

    def draw(k: int) -> Tensor:
        return desired_poses(k, workspace, generator) @ offsets(k, workspace, generator, spread)

    return _fill(n, scene, camera, workspace, draw)


def paired_views(
    n: int,
    scene: Scene,
    camera: Camera,
    workspace: Workspace,
    generator: torch.Generator,
    spread: tuple[float, float] = (1.0, 1.0),
) -> tuple[Float[Tensor, "n 4 4"], Float[Tensor, "n 4 4"]]:
    """The paper's: desired views T_wd, and a start T_wc of each that sees enough of what it sees.

    Raises:
        SceneError: starts see too little of the scene.
    """
    T_wd = desired_poses(n, workspace, generator)
    T_wc = torch.empty_like(T_wd)
    todo = torch.arange(n)
    for _ in range(500):
        if not len(todo):
            break
        start = T_wd[todo] @ offsets(len(todo), workspace, generator, spread)
        ok = (overlap(camera, T_wd[todo], start, scene) >= workspace.min_overlap) & (
            start[:, 2, 3] <= -workspace.min_height
        )
        T_wc[todo[ok]] = start[ok]
        todo = todo[~ok]
    if len(todo):
        raise SceneError(
            f"{scene.name}: starts see too little of the scene; check its width, the camera's distance and its field of view",
            *("width", "distance"),
        )
    return T_wd, T_wc


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
    share = torch.exp(uniform(n, [0.5], generator) * math.log(largest / smallest)) * math.sqrt(largest * smallest)
    p = gaussian(n, [w.offset_t] * 3 + [w.offset_tilt] * 2 + [w.offset_roll], generator) * share
    around = torch.rand(n, 1, generator=generator, dtype=torch.float64) < orbit
    # T = [R, P - R P] turns about P, the point on the optical axis; what else moves is a fifth of an isotropic neighbour's.
    P = torch.zeros(n, 3, 1, dtype=torch.float64)
    P[:, 2, 0] = (-T_wc[:, 2, 3] / T_wc[:, 2, 2]).clamp(0.5 * w.distance, 2 * w.distance)
    R = lie.so3_exp(
        torch.cat((gaussian(n, [w.offset_tilt] * 2, generator) * share, torch.zeros(n, 1, dtype=torch.float64)), 1)
    )
    turned = lie.pose(R, (P - R @ P).squeeze(-1)) @ lie.pose_from_vector(0.2 * p)
    return T_wc @ torch.where(around[..., None], turned, lie.pose_from_vector(p))


def wide_views(
    n: int, scene: Scene, camera: Camera, workspace: Workspace, generator: torch.Generator
) -> Float[Tensor, "n 4 4"]:
    """Training views T_wc for `wide_starts`: a box and rolls a sixth larger, looking at any point up to 0.35 m from the middle (scaled
    likewise); each sees enough of the print.

    Raises:
        SceneError: too few poses see enough of it.
    """
    s = workspace.distance / 0.6

    def draw(k: int) -> Tensor:
        position = reference_pose(workspace.distance)[:3, 3] + uniform(k, [0.7 * s, 0.7 * s, 0.2 * s], generator)
        ring = 0.35 * s * torch.rand(k, 1, generator=generator, dtype=torch.float64)
        return looking_near_middle(position, ring, 140, generator)

    return _fill(n, scene, camera, workspace, draw)
