"""A 6-DOF arm that carries the camera at its tool, in MuJoCo (extra `mujoco`): UR5e's kinematics and limits over a table with a print, or any scene.

Twists become joint velocities by mink (a quadratic program a control tick: limits of joints and their speeds, damped near singularities).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError, RobotError
from siame_se3.files.optional import needs
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.arm_model import (
    CAMERA_NAME,
    HOME,
    JOINT_ACCELERATION,
    JOINT_LIMITS,
    JOINT_SPEED,
    PHYSICS_STEP,
    TICK,
    ArmConfig,
    braking,
    model_xml,
    print_png,
)
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.mismatch import highlights
from siame_se3.plants.robots.checks import joint_fault
from siame_se3.scenes import planar
from siame_se3.scenes.mujoco_render import FLIP, load_mujoco, no_renderer
from siame_se3.scenes.types import Scene

__all__ = ["ArmConfig", "ArmPlant"]

_Frame = tuple[Tensor, Tensor | None]  # an image (3, h, w), and the depths of its pixels (1, h, w) [m]


class ArmPlant:
    """One camera at the tool of an arm over a scene: a plant with n = 1.

    Views have the image, the true pose (for reports and laws that ask for it) and the true distance to the table in the middle, or a depth camera's map;
    the applied twists are those that the camera made, from pose to pose.

    Args:
        scene: a print on the table, in MuJoCo's light; or a scene of any other kind, which renders itself: gloss and lamps are then its own. Nothing
            is touched.
        camera: the assumed intrinsics.
        config: the set-up.
        on_tick: callback with the camera's true pose at each tick of the joint controller (8 ms).
        depth_camera: measures the depth of each pixel, beside the image; None for the distance alone.

    Raises:
        InputError: MuJoCo, mink or daqp is not installed.
        RobotError: MuJoCo cannot render here.
    """

    provides = frozenset({"image", "pose", "depth"})

    def __init__(
        self,
        scene: Scene,
        camera: Camera,
        config: ArmConfig | None = None,
        on_tick: Callable[[Tensor], None] = lambda T_wc: None,
        depth_camera: DepthCamera | None = None,
    ) -> None:
        mujoco = load_mujoco()
        _, mink = (needs(module, "mujoco") for module in ("daqp", "mink"))
        self.scene, self.camera, self.config = scene, camera, config or ArmConfig()
        self.dt = 1 / self.config.frame_rate
        self._on_tick = on_tick
        self._mujoco, self._mink = mujoco, mink
        on_table = scene if isinstance(scene, planar.Scene) else None
        files = {} if on_table is None else {"photo.png": print_png(on_table)}
        self._model = mujoco.MjModel.from_xml_string(model_xml(on_table, camera, self.config), files)
        self._data = mujoco.MjData(self._model)
        self._renderer = None if on_table is None else self._new_renderer()
        self._depth_camera = depth_camera
        self._true_camera = replace(camera, fx=camera.fx * self.config.focal, fy=camera.fy * self.config.focal)
        self._ik = mink.Configuration(self._model)
        self._task = mink.FrameTask("tool", "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)
        speeds = {f"j{k}": np.array([JOINT_SPEED]) for k in range(6)}
        self._limits = [mink.ConfigurationLimit(self._model), mink.VelocityLimit(self._model, speeds)]
        T_tc = lie.pose_from_vector(torch.tensor(self.config.hand_eye, dtype=torch.float64))
        assumed = T_tc @ lie.pose_from_vector(torch.tensor(self.config.hand_eye_error, dtype=torch.float64))
        self._T_tc, self._T_tc_assumed = T_tc.numpy(), assumed.numpy()
        self._noise = torch.Generator().manual_seed(self.config.seed)
        self._frames: deque[_Frame] = deque()
        self._ticks = 0
        self._placed = False

    def _new_renderer(self) -> Any:
        try:
            return self._mujoco.Renderer(self._model, self.camera.height, self.camera.width)
        except Exception as error:  # of the OpenGL library, of many kinds
            raise RobotError(f"arm: {no_renderer(error)}") from None

    @property
    def joints(self) -> Float[Tensor, "6"]:
        """Angles [rad]."""
        return torch.from_numpy(self._data.qpos.copy())

    @property
    def T_tc(self) -> Float[Tensor, "4 4"]:
        """The camera in the tool's frame, as the controller assumes it."""
        return torch.from_numpy(self._T_tc_assumed.copy())

    @property
    def T_wc(self) -> Float[Tensor, "4 4"]:
        """The camera's true pose."""
        return self._T_wc()

    @property
    def T_wt(self) -> Float[Tensor, "4 4"]:
        """The tool in the world, as the robot measures it."""
        return self._T_wc() @ torch.from_numpy(np.linalg.inv(self._T_tc))

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()

    def _T_wc(self) -> Float[Tensor, "4 4"]:
        T = np.eye(4)
        T[:3, 3] = self._data.cam(CAMERA_NAME).xpos
        T[:3, :3] = self._data.cam(CAMERA_NAME).xmat.reshape(3, 3)
        return torch.from_numpy(FLIP @ T @ FLIP)

    def _reach(self, T_wc: Float[Tensor, "4 4"]) -> None:
        """Put the arm where the camera is at T_wc, from its home.

        Raises:
            RobotError: it cannot get there.
        """
        tool = FLIP @ T_wc.numpy() @ np.linalg.inv(self._T_tc)
        self._ik.update(np.array(HOME))
        target = self._mink.SE3.from_matrix(tool)
        self._task.set_target(target)
        for _ in range(300):
            v = self._mink.solve_ik(self._ik, [self._task], 0.1, "daqp", damping=1e-8, limits=self._limits[:1])
            self._ik.integrate_inplace(v, 0.1)
            if float(np.abs(self._task.compute_error(self._ik)).max()) < 1e-9:
                break
        if float(np.abs(self._task.compute_error(self._ik)).max()) > 1e-5:
            t = ", ".join(f"{x:.2f}" for x in T_wc[:3, 3].tolist())
            raise RobotError(
                f"arm: a camera at ({t}) m is out of reach; start nearer, or move the arm's base", "arm.base"
            )
        self._mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = self._ik.q
        self._mujoco.mj_forward(self._model, self._data)

    def look(self, T_wc: Float[Tensor, "1 4 4"]) -> View:
        """What the camera sees at T_wc, at rest; the arm goes back to where it was."""
        qpos, qvel, ctrl = self._data.qpos.copy(), self._data.qvel.copy(), self._data.ctrl.copy()
        self._reach(T_wc[0].double())
        view = self._view(self._shoot())
        self._data.qpos[:], self._data.qvel[:], self._data.ctrl[:] = qpos, qvel, ctrl
        self._mujoco.mj_forward(self._model, self._data)
        return view

    def _shoot(self) -> _Frame:
        """What the camera sees now, and its depths."""
        c, T = self.config, self._T_wc()[None]
        if self._renderer is None:
            image = self.scene.render(self._true_camera, T)[0][0]
        else:
            self._renderer.update_scene(self._data, CAMERA_NAME)
            image = torch.from_numpy(self._renderer.render().copy()).permute(2, 0, 1).float() / 255
            if c.gloss > 0 and c.lamps:
                lamps = torch.tensor(c.lamps, dtype=torch.float64) * torch.tensor(
                    [1.0, -1.0, -1.0], dtype=torch.float64
                )
                image = image + c.gloss * highlights(self._true_camera, T, lamps[None])[0]
        image = image * c.exposure
        if c.noise > 0:
            image = image + c.noise * torch.randn(image.shape, generator=self._noise)
        if self._depth_camera is None:
            return image.clamp_(0, 1), None
        depth = self.scene.depth(self._true_camera, T)
        return image.clamp_(0, 1), self._depth_camera.measure(depth, self._true_camera, [self._noise])

    def _view(self, frame: _Frame) -> View:
        T, (image, depth) = self._T_wc(), frame
        Z = (-T[2, 3] / T[2, 2])[None] if depth is None else depth
        fault = joint_fault(self._data.qpos[:6].tolist(), JOINT_LIMITS)
        late = self._late * TICK
        return View(image[None], T[None].clone(), Z, self.camera, late, fault)

    def reset(self, start: Float[Tensor, "1 4 4"] | None) -> View:
        """Put the camera at its start (None: where it is), at rest, and look.

        Raises:
            InputError: several starts, or none for an arm that was never put anywhere.
            RobotError: a start out of reach.
        """
        if start is not None:
            if len(start) != 1:
                raise InputError(f"arm: {len(start)} starts; one arm takes one")
            self._reach(start[0].double())
        elif not self._placed:
            raise InputError("arm: no start pose; give a camera pose T_wc")
        self._placed = True
        self._data.qvel[:], self._data.ctrl[:] = 0, 0
        self._noise.manual_seed(self.config.seed)
        self._ticks = 0
        frame = self._shoot()
        self._frames = deque([frame] * (1 + self._late // self._per_frame))
        return self._view(frame)

    @property
    def _late(self) -> int:
        return round(self.config.latency / TICK)

    @property
    def _per_frame(self) -> int:
        return round(self.dt / TICK)

    def step(self, v: Float[Tensor, "1 6"]) -> tuple[View, Float[Tensor, "1 6"]]:
        """Follow a camera-frame twist [m/s, rad/s] for one frame; the latest image that has arrived, and the motion that was made.

        Raises:
            InputError: before the first reset.
        """
        twist = v.double().cpu().reshape(6)
        return self.follow(lambda: twist)

    def follow(self, twist: Callable[[], Float[Tensor, "6"]]) -> tuple[View, Float[Tensor, "1 6"]]:
        """As `step`, with the twist that is due at each tick of the joint controller.

        Raises:
            InputError: before the first reset.
        """
        if not self._placed:
            raise InputError("arm: step before reset; call reset(start) first")
        before = self._T_wc()
        for _ in range(self._per_frame):
            now = twist()
            moves = bool((now != 0).any())
            if moves:
                self._data.ctrl[:] = self._joint_velocities(now)
            for _ in range(round(TICK / PHYSICS_STEP)):
                if not moves:
                    self._data.ctrl[:] = braking(self._data.qvel[:6], self.config.servo)
                self._mujoco.mj_step(self._model, self._data)
            self._mujoco.mj_forward(self._model, self._data)
            self._ticks += 1
            self._on_tick(self._T_wc())
            if (self._ticks + self._late) % self._per_frame == 0:
                self._frames.append(self._shoot())
        if len(self._frames) > 1:
            self._frames.popleft()
        applied = lie.log(lie.inverse(before) @ self._T_wc()) / self.dt
        return self._view(self._frames[0]), applied[None]

    def _joint_velocities(self, twist: Tensor) -> np.ndarray:
        """Joint velocities for a twist of the assumed camera [rad/s]: a step of the tool towards where that would bring it, within the limits."""
        self._ik.update(self._data.qpos.copy())
        tool = self._ik.get_transform_frame_to_world("tool", "site").as_matrix()
        step = lie.exp(twist * TICK).numpy()
        assumed = self._T_tc_assumed
        self._task.set_target(self._mink.SE3.from_matrix(tool @ assumed @ step @ np.linalg.inv(assumed)))
        velocities = self._mink.solve_ik(self._ik, [self._task], TICK, "daqp", damping=1e-8, limits=self._limits)
        change = velocities - self._data.ctrl
        return self._data.ctrl + change * min(1.0, JOINT_ACCELERATION * TICK / max(1e-12, float(np.abs(change).max())))

    def stop(self) -> None:
        """Command all joints to stand still, at once."""
        self._data.ctrl[:] = 0
