"""Scenes of objects on a table, by the protocol of CNS (ICRA 2024): what is drawn, and what the goal knows of its depth.

A scene is 8 to 12 objects that were dropped on a table. The goal camera looks from 0.5 to 0.9 m at the middle of the objects, within 5 cm, tilted by up
to 30 deg from straight above towards any side, with any roll. A start is 25 +- 10 cm and 76 +- 50 deg from its goal (gamma distributions of that mean
and spread, below 175 deg), in a direction and about an axis (tilts 0.3 : 0.3 : roll 1) that are drawn until the camera has 30 % of what the goal sees
of the objects in its image, stands 0.2 m or more above the table, and is nowhere nearer than 0.2 m to what the goal sees; norms that find none in 100
draws are drawn again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_depth import depth_from_views
from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.poses import gamma, gaussian, uniform
from siame_se3.scenes.types import Scene

Depth = Literal["map", "camera", "scan", "plane"]
DEPTHS: tuple[Depth, ...] = ("map", "camera", "scan", "plane")
DEPTH_TITLES = {"map": "true", "camera": "a depth camera's", "scan": "a scan's", "plane": "a plane's"}

CAMERA = Camera.from_focal(540, 640, 480)
CNS_T, CNS_R = 0.1, 10.0  # success: of the goal's distance, and [deg]
ROUNDS = 3000  # of draws of a start, at most

_DISTANCE, _AIM, _TILT = (0.5, 0.9), 0.05, 30.0  # of goals [m, m, deg]
_LENGTH, _ANGLE, _MOST = (
    (0.248, 0.099),
    (76.0, 50.0),
    175.0,
)  # of starts: mean and standard deviation [m, deg], and the largest angle
_LEAST_SEEN, _LEAST_HEIGHT, _LEAST_GAP = 0.3, 0.2, 0.2  # of a start: share, and [m]
_POINTS = 1500  # of what the goal sees, by which starts are judged
_STANDS_OUT = 0.01  # above the table: an object [m]


@dataclass(frozen=True)
class Trial:
    """One goal and one start over a scene.

    Attributes:
        scene: the objects.
        T_wd, T_wc: goal and start.
        distance: of the goal from the middle of the objects [m].
    """

    scene: Scene
    T_wd: Float[Tensor, "4 4"]
    T_wc: Float[Tensor, "4 4"]
    distance: float


def trial(scene: Scene, seed: int) -> Trial:
    """A goal and a start, drawn.

    Raises:
        SceneError: no start sees enough of the scene.
    """
    generator = torch.Generator().manual_seed(seed)
    T_wd, distance = goal_pose(scene, generator)
    return Trial(scene, T_wd, start_pose(scene, T_wd, generator), distance)


def goal_pose(scene: Scene, generator: torch.Generator) -> tuple[Float[Tensor, "4 4"], float]:
    """Where the goal camera is, and how far from the objects' middle."""
    low, high = _DISTANCE
    distance = low + (high - low) * float(torch.rand(1, generator=generator, dtype=torch.float64))
    bearing, roll = uniform(2, [math.pi], generator)[:, 0].tolist()
    tilt = math.radians(_TILT) * float(torch.rand(1, generator=generator, dtype=torch.float64))
    above = lie.pose(torch.eye(3, dtype=torch.float64), torch.tensor([0.0, 0.0, -1.2], dtype=torch.float64))
    middle = seen_points(scene, above).median(0).values + torch.cat(
        (uniform(1, [_AIM, _AIM], generator)[0], torch.zeros(1, dtype=torch.float64))
    )
    turn = torch.tensor([tilt * math.cos(bearing), tilt * math.sin(bearing), 0.0], dtype=torch.float64)
    R = lie.so3_exp(turn) @ lie.so3_exp(torch.tensor([0.0, 0.0, roll], dtype=torch.float64))
    return lie.pose(R, middle - distance * R[:, 2]), distance


def seen_points(scene: Scene, T_wc: Float[Tensor, "4 4"]) -> Float[Tensor, "p 3"]:
    """Some points of the objects that a camera sees [m].

    Raises:
        SceneError: it sees none.
    """
    camera = CAMERA.resized(160, 120)
    Z = scene.depth(camera, T_wc).double()
    X = (camera.rays(camera.pixel_grid()) * Z[..., None]).reshape(-1, 3) @ T_wc[:3, :3].T + T_wc[:3, 3]
    X = X[X[:, 2] < -_STANDS_OUT]
    if not len(X):
        raise SceneError(f"{scene.name}: nothing stands out of the table; give objects")
    return X[:: max(1, len(X) // _POINTS)]


def start_pose(scene: Scene, T_wd: Float[Tensor, "4 4"], generator: torch.Generator) -> Float[Tensor, "4 4"]:
    """Where a start of this goal is.

    Raises:
        SceneError: none sees enough of the scene.
    """
    X = seen_points(scene, T_wd)
    length = angle = torch.zeros(1, dtype=torch.float64)
    for attempt in range(ROUNDS):
        if attempt % 100 == 0:
            length, angle = gamma(1, *_LENGTH, generator), gamma(1, *_ANGLE, generator)
        t, u = gaussian(1, [1.0] * 3, generator)[0], gaussian(1, [0.3, 0.3, 1.0], generator)[0]
        p = torch.cat((t / t.norm() * length, u / u.norm() * angle.deg2rad()))
        T_wc = T_wd @ lie.pose_from_vector(p)
        if float(angle) < _MOST and _fits(X, T_wc):
            return T_wc
    raise SceneError(f"{scene.name}: no start sees enough of the objects; give fewer or lower ones")


def _fits(X: Float[Tensor, "p 3"], T_wc: Float[Tensor, "4 4"]) -> bool:
    """Whether a start sees enough of some points, from far enough."""
    X_c = (X - T_wc[:3, 3]) @ T_wc[:3, :3]
    front = X_c[:, 2] > 0
    u, v = CAMERA.project(torch.where(front[:, None], X_c, 1.0)).unbind(1)
    seen = front & (u > -0.5) & (u < CAMERA.width - 0.5) & (v > -0.5) & (v < CAMERA.height - 0.5)
    far = float(X_c.norm(dim=1).min()) >= _LEAST_GAP and float(T_wc[2, 3]) <= -_LEAST_HEIGHT
    return far and float(seen.double().mean()) >= _LEAST_SEEN


def goal_view(one: Trial, depth: Depth, camera: Camera, seed: int) -> View:
    """The goal image, and what is known of its depth: 'map', the truth; 'camera', what a depth camera of 640 x 480 px measures; 'scan', what a scan
    around the goal finds; 'plane', one number, the distance of what is in the image's middle."""
    T_wd = one.T_wd[None]
    if depth == "camera":
        full = FlyingCameras(one.scene, CAMERA, seed=seed, depth_camera=DepthCamera()).look(T_wd)
        assert full.depth_map is not None
        return replace(FlyingCameras(one.scene, camera).look(T_wd), depth=reduced(full.depth_map, camera))
    goal = FlyingCameras(one.scene, camera, depth_camera=DepthCamera.ideal()).look(T_wd)
    if depth == "map":
        return goal
    assert goal.distance is not None
    if depth == "plane":
        return replace(goal, depth=goal.distance)
    assert goal.image is not None
    T_gk = ScanPattern().places(float(goal.distance))
    images = FlyingCameras(one.scene, camera).look(T_wd @ T_gk).image
    assert images is not None
    found = depth_from_views(goal.image[0], images, T_gk, camera, float(goal.distance))
    return replace(goal, depth=found.depth[None])


def reduced(Z: Float[Tensor, "n H W"], camera: Camera) -> Float[Tensor, "n h w"]:
    """A depth map at the pixels of a smaller image of the same view: of the pixel nearest to the centre of each."""
    (H, W), (h, w) = Z.shape[1:], camera.size
    y = ((torch.arange(h) + 0.5) * H / h).long()
    x = ((torch.arange(w) + 0.5) * W / w).long()
    return Z[:, y][:, :, x]
