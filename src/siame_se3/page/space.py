"""The page's scene in 3-D: the print, the goal's and the current frusta with their images, the paths behind, and what a camera is dragged by."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.page import style
from siame_se3.page.images import small
from siame_se3.page.track import Now, Track
from siame_se3.scenes import planar
from siame_se3.scenes.types import Scene

Pose = Float[Tensor, "4 4"]
_PRINT = 640  # pixels of the print's longer side, as it is drawn
_STILL = 1e-6  # [m or of a rotation]: poses that differ by less are one


def wxyz_of(T: Pose) -> tuple[float, float, float, float]:
    """The rotation of a pose as a unit quaternion, w first (Shepperd's method, by the largest component)."""
    R = T[:3, :3].double().numpy()
    squares = np.array(
        [
            1 + R[0, 0] + R[1, 1] + R[2, 2],
            1 + R[0, 0] - R[1, 1] - R[2, 2],
            1 - R[0, 0] + R[1, 1] - R[2, 2],
            1 - R[0, 0] - R[1, 1] + R[2, 2],
        ]
    )
    k = int(squares.argmax())
    a, b, c = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    d, e, f = R[0, 1] + R[1, 0], R[0, 2] + R[2, 0], R[1, 2] + R[2, 1]
    q = np.array([(squares[0], a, b, c), (a, squares[1], d, e), (b, d, squares[2], f), (c, e, f, squares[3])][k])
    w, x, y, z = (float(value) for value in q / np.linalg.norm(q))
    return w, x, y, z


def pose_of(wxyz: Any, position: Any) -> Pose:
    """A pose from a quaternion (w first, of any length) and a position [m]."""
    w, x, y, z = (float(v) for v in np.asarray(wxyz, float) / np.linalg.norm(wxyz))
    R = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = torch.tensor(R, dtype=torch.float64)
    T[:3, 3] = torch.tensor([float(v) for v in position], dtype=torch.float64)
    return T


class SpaceView:
    """See the file.

    Args:
        server: viser's.
        camera: of the tracks.
        size: of what is drawn: the distance of the goal from the scene [m].
    """

    def __init__(self, server: Any, camera: Camera, size: float) -> None:
        self._scene, self._camera, self._size = server.scene, camera, size
        self._print: tuple[Scene | None, Any] = (None, None)
        self._goal: Any = None
        self._goal_of: Any = None  # the target that is drawn
        self._frusta: list[Any] = []
        self._paths: list[Any] = []
        self._poses: list[Pose | None] = []
        self._versions: list[int] = []
        self._stamps: list[float] = []
        self.grip: Any = None
        self.grip_length = 0.3 * size  # of its arrows [m]
        self.dragging: int | None = None  # the visitor that holds it
        server.scene.set_up_direction("-z")
        server.initial_camera.position = (1.1 * size, 1.5 * size, -1.6 * size)
        server.initial_camera.look_at = (0.0, 0.0, -0.35 * size)

    def let_drag(self, moved: Callable[[str, Pose], None]) -> None:
        """Give the first camera handles to be dragged by.

        Args:
            moved: called on viser's event loop with 'start', 'update' or 'end', and the pose that was dragged to; it must not wait.
        """
        self.grip = self._scene.add_transform_controls("/grip", scale=self.grip_length, depth_test=False, opacity=0.9)

        async def dragged(event: Any) -> None:
            if self.dragging not in (None, event.client_id):
                return
            self.dragging = None if event.phase == "end" else event.client_id
            moved(event.phase, pose_of(event.target.wxyz, event.target.position))

        self.grip.on_update(dragged)

    def show(self, scene: Scene) -> None:
        """The print that lies in the world; other scenes are shown by their cameras' images alone."""
        if self._print[0] is scene:
            return
        if self._print[1] is not None:
            self._print[1].remove()
        drawn = None
        if isinstance(scene, planar.Scene):
            step = max(1, max(scene.texture.shape[-2:]) // _PRINT)
            pixels = as_pixels(torch.nn.functional.avg_pool2d(scene.texture[None], step)[0])
            drawn = self._scene.add_image("/print", pixels, scene.width, scene.height, jpeg_quality=85)
        self._print = scene, drawn

    def update(self, tracks: tuple[Track, ...], nows: list[Now], images: bool) -> None:
        """Poses, and images where they are due."""
        self._update_goal(tracks[0], nows[0])
        for k, now in enumerate(nows):
            if k >= len(self._frusta):
                self._add(k)
            if now.T is not None and not _same(self._poses[k], now.T):
                self._put(self._frusta[k], now.T)
                self._poses[k] = now.T
                if k == 0 and self.grip is not None and self.dragging is None:
                    self._put(self.grip, now.T)
            if images and now.image is not None and now.stamp != self._stamps[k]:
                self._frusta[k].image, self._stamps[k] = small(now.image), now.stamp
        while len(self._frusta) > len(tracks):
            for handle in (self._frusta.pop(), self._paths.pop()):
                handle.remove()
            for known in (self._poses, self._versions, self._stamps):
                known.pop()

    def draw_paths(self, tracks: tuple[Track, ...]) -> None:
        """The lines behind the cameras."""
        for k, track in enumerate(tracks[: len(self._paths)]):
            if self._versions[k] != track.trace.version:
                self._versions[k] = track.trace.version
                path = track.trace.path
                self._paths[k].points = (
                    np.stack((path[:-1], path[1:]), 1).astype(np.float32) if len(path) > 1 else _NONE
                )

    def _update_goal(self, track: Track, now: Now) -> None:
        target = track.session.target
        if target is self._goal_of:
            return
        self._goal_of = target
        if self._goal is None:
            self._goal = self._frustum("/goal", style.GOAL, 0.004)
        self._goal.visible = now.T_d is not None
        if now.T_d is not None:
            self._put(self._goal, now.T_d)
        if target is not None and target.image is not None:
            self._goal.image = small(target.image[0])

    def _add(self, k: int) -> None:
        colour = style.rgb(style.TRACKS[k])
        self._frusta.append(self._frustum(f"/camera{k}", style.TRACKS[k], 0.006))
        self._paths.append(
            self._scene.add_line_segments(f"/path{k}", _NONE, colour, thickness=2.5, thickness_units="screen")
        )
        self._poses.append(None)
        self._versions.append(-1)
        self._stamps.append(math.nan)

    def _frustum(self, name: str, colour: str, thickness: float) -> Any:
        c = self._camera
        fov = 2 * math.atan(0.5 * c.height / c.fy)
        return self._scene.add_camera_frustum(
            name,
            fov,
            c.width / c.height,
            scale=0.25 * self._size,
            thickness=thickness * self._size / 0.6,
            color=style.rgb(colour),
        )

    @staticmethod
    def _put(handle: Any, T: Pose) -> None:
        handle.wxyz, handle.position = wxyz_of(T), tuple(T[:3, 3].tolist())


_NONE = np.zeros((1, 2, 3), np.float32)  # a line of no length


def _same(a: Pose | None, b: Pose) -> bool:
    return a is not None and float((a - b).abs().max()) < _STILL
