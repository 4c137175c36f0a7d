"""A 6-DOF arm with the camera in its hand, in MuJoCo (extra `mujoco`): UR5e's kinematics and limits, velocity servos, a print on a table.

Twists become joint velocities by mink (a quadratic program a control tick: limits of joints and their speeds, damped near singularities).
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import math
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.laws.types import View
from siame_se3.plants.mismatch import highlights
from siame_se3.scenes.planar import Scene

# Denavit-Hartenberg parameters of Universal Robots' UR5e [m, rad].
_A = (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0)
_D = (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996)
_ALPHA = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)
_LIMITS = tuple(math.radians(x) for x in (360, 360, 180, 360, 360, 360))  # +- [rad]
_SPEED = math.pi  # of each joint [rad/s]
_ACCELERATION = 20.0  # [rad/s^2]
_NEAR = math.radians(2)  # of a joint's limit
_HOME = tuple(math.radians(x) for x in (180, -90, 90, -90, -90, -90))  # elbow up, the camera square to the table
_TICK = 0.008  # of the joint controller [s]
_PHYSICS = 0.002  # [s]
_SERVO, _INERTIA = (
    0.015,
    6.0,
)  # time constant of the joints' velocity servos [s], and their inertia [kg m^2]: links hardly count beside it


@dataclass(frozen=True)
class ArmConfig:
    """The set-up, as it is and as the controller is told.

    Attributes:
        base: of the arm, in the print's frame as seen from above: x right, y away from the print's lower edge, height [m].
        hand_eye: tool to camera, (t, theta u) [m, rad]: the camera looks along the tool.
        hand_eye_error: what the told one differs by, (t, theta u) in the camera's frame; the controller turns twists by the told one.
        focal: true focal length over the told one.
        frame_rate: of the camera [1/s].
        latency: from the shutter to the view [s], in whole ticks of 8 ms.
        exposure: gain of the image.
        noise: standard deviation of the sensor's noise, of the range.
        gloss: brightness of the middle of the highlight that the print mirrors of each lamp, added (MuJoCo's own would be coloured by
            the print).
        lamps: places of the lamps (x, y, height) [m] over the print.
        seed: of the noise.
    """

    base: tuple[float, float, float] = (-0.55, 0.0, 0.3)
    hand_eye: tuple[float, ...] = (0.0, 0.0, 0.05, 0.0, 0.0, 0.0)
    hand_eye_error: tuple[float, ...] = (0.0,) * 6
    focal: float = 1.0
    frame_rate: float = 25.0
    latency: float = 0.0
    exposure: float = 1.0
    noise: float = 0.0
    gloss: float = 0.3
    lamps: tuple[tuple[float, float, float], ...] = ((0.5, 0.4, 1.8), (-0.4, -0.5, 1.6))
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.focal > 0 and self.frame_rate > 0 and self.latency >= 0 and self.exposure > 0 and self.noise >= 0):
            raise SiameError("arm: focal, frame_rate and exposure are above 0, latency and noise not below it")
        ticks = 1 / self.frame_rate / _TICK
        if abs(ticks - round(ticks)) > 1e-6:
            raise SiameError(f"arm: {self.frame_rate:g} frames a second; give one whose frames are whole ticks of 8 ms")


def _fixed(x: float, z: float, roll: float) -> str:
    return f'pos="{x} 0 {z}" quat="{math.cos(roll / 2)} {math.sin(roll / 2)} 0 0"'


def _arm_xml(camera: Camera, config: ArmConfig) -> str:
    """The arm's bodies, each in the frame of the joint before it; light links, whose servos' inertia is what counts."""
    bodies, ends = "", ""
    place = 'pos="{} {} {}"'.format(*config.base)
    for k in range(6):
        limit = _LIMITS[k]
        bodies += (
            f'<body name="link{k}" {place} gravcomp="1"><inertial pos="0 0 0" mass="1" diaginertia=".01 .01 .01"/>'
            f'<joint name="j{k}" type="hinge" axis="0 0 1" range="{-limit} {limit}" armature="{_INERTIA}"/>'
        )
        place, ends = _fixed(_A[k], _D[k], _ALPHA[k]), ends + "</body>"
    T = lie.pose_from_vector(torch.tensor(config.hand_eye, dtype=torch.float64)).numpy()
    x, y = T[:3, 0], -T[:3, 1]  # MuJoCo's cameras look along -z, y up
    fovy = math.degrees(2 * math.atan(camera.height / 2 / (camera.fy * config.focal)))
    axes = " ".join(f"{value:.12g}" for value in (*x, *y))
    at = " ".join(f"{value:.12g}" for value in T[:3, 3])
    eye = f'<camera name="eye" pos="{at}" xyaxes="{axes}" fovy="{fovy:.12g}"/>'
    tool = f'<body name="tool" {place} gravcomp="1"><inertial pos="0 0 0" mass=".3" diaginertia=".001 .001 .001"/><site name="tool"/>{eye}</body>'
    return bodies + tool + ends


def _xml(scene: Scene, camera: Camera, config: ArmConfig) -> str:
    lamps = "".join(
        f'<light pos="{x} {y} {z}" dir="{-x} {-y} {-z}" diffuse=".4 .4 .4" specular="0 0 0" castshadow="false"/>'
        for x, y, z in config.lamps
    )
    servos = "".join(f'<velocity joint="j{k}" kv="{_INERTIA / _SERVO}"/>' for k in range(6))
    return f"""<mujoco model="arm">
<option timestep="{_PHYSICS}" integrator="implicitfast"/><compiler angle="radian"/>
<visual><global offwidth="{camera.width}" offheight="{camera.height}"/><headlight ambient=".3 .3 .3" diffuse="0 0 0" specular="0 0 0"/>
<map znear="0.02"/></visual>
<asset><texture name="photo" type="2d" file="photo.png"/><material name="photo" texture="photo" specular="0"/>
<material name="table" rgba=".05 .05 .05 1" specular="0"/>
{_print_mesh(scene)}</asset>
<worldbody>{lamps}<geom type="plane" size="3 3 .1" pos="0 0 -.002" material="table" contype="0" conaffinity="0"/>
<geom type="mesh" mesh="print" material="photo" contype="0" conaffinity="0"/>{_arm_xml(camera, config)}</worldbody>
<actuator>{servos}</actuator></mujoco>"""


_FACETS = (48, 36)  # of the print: OpenGL lights vertices, and a highlight is smaller than the print


def _print_mesh(scene: Scene) -> str:
    """The print as a grid of triangles, its picture's first row away from the lower edge; below it one point, as meshes need a volume."""
    columns, rows = _FACETS
    grid = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    u, v = (axis.ravel() for axis in grid)
    points = np.stack(((u - 0.5) * scene.width, (0.5 - v) * scene.height, 0 * u), 1)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    below = corner + columns + 1
    faces = np.concatenate((np.stack((corner, below, below + 1), 1), np.stack((corner, below + 1, corner + 1), 1)))
    last = len(u)
    ends = (0, columns, last - 1, last - 1 - columns)
    sides = np.array([(a, b, last) for a, b in zip(ends, (*ends[1:], ends[0]), strict=True)])

    def text(values: np.ndarray) -> str:
        return " ".join(f"{x:.6g}" for x in values.ravel())

    vertices = np.concatenate((points, [[0, 0, -0.005]]))
    normals = np.tile([0.0, 0.0, 1.0], (last + 1, 1))
    places = np.concatenate((np.stack((u, v), 1), [[0.5, 0.5]]))
    return (
        f'<mesh name="print" vertex="{text(vertices)}" normal="{text(normals)}" texcoord="{text(places)}" '
        f'face="{text(np.concatenate((faces, sides)))}"/>'
    )


_FLIP = np.diag(
    [1.0, -1.0, -1.0, 1.0]
)  # our world (z into the table, y down) to MuJoCo's (z up), and our camera to MuJoCo's


class ArmPlant:
    """One camera in the hand of an arm over a print; batch axes () or (1,).

    Views have the image, the true pose (for reports and laws that ask for it) and the true depth in the middle; twists that are told as
    applied are those that the camera made, from pose to pose.

    Args:
        scene: the print, on the table.
        camera: as told.
        config: the set-up.
        ticked: told of the camera's true pose at each tick of the joint controller (8 ms).

    Raises:
        SiameError: MuJoCo or mink is not installed, or cannot render here.
    """

    provides = frozenset({"image", "pose", "depth"})

    def __init__(
        self,
        scene: Scene,
        camera: Camera,
        config: ArmConfig | None = None,
        ticked: Callable[[Tensor], None] = lambda T_wc: None,
    ) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            import mink
            import mujoco
        except ImportError as error:
            raise SiameError(f"arm: {error.name} is not installed; pip install 'siame-se3[mujoco]'") from None
        self.scene, self.camera, self.config = scene, camera, config or ArmConfig()
        self.dt = 1 / self.config.frame_rate
        self._ticked = ticked
        self._mujoco, self._mink = mujoco, mink
        self._model = mujoco.MjModel.from_xml_string(_xml(scene, camera, self.config), {"photo.png": _png(scene)})
        self._data = mujoco.MjData(self._model)
        if importlib.util.find_spec("triton"):
            # Mesa's renderer and PyTorch's Triton both bring LLVM; Python crashes when Triton's is loaded second (torchvision does).
            importlib.import_module("triton")
        try:
            self._renderer = mujoco.Renderer(self._model, camera.height, camera.width)
        except Exception as error:  # of the OpenGL library, of many kinds
            raise SiameError(
                f"arm: MuJoCo cannot render here ({error}); install Mesa's EGL (apt install libegl-mesa0), and set MUJOCO_GL=egl before Python starts"
            ) from None
        self._ik = mink.Configuration(self._model)
        self._task = mink.FrameTask("tool", "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)
        speeds = {f"j{k}": np.array([_SPEED]) for k in range(6)}
        self._limits = [mink.ConfigurationLimit(self._model), mink.VelocityLimit(self._model, speeds)]
        T_ec = lie.pose_from_vector(torch.tensor(self.config.hand_eye, dtype=torch.float64))
        told = T_ec @ lie.pose_from_vector(torch.tensor(self.config.hand_eye_error, dtype=torch.float64))
        self._T_ec, self._T_ec_told = T_ec.numpy(), told.numpy()
        self._noise = torch.Generator().manual_seed(self.config.seed)
        self._frames: deque[Tensor] = deque()
        self._ticks = 0
        self._batch: torch.Size | None = None

    @property
    def joints(self) -> Float[Tensor, "6"]:
        """Angles [rad]."""
        return torch.from_numpy(self._data.qpos.copy())

    @property
    def T_tc(self) -> Float[Tensor, "4 4"]:
        """The camera in the tool's frame, as told."""
        return torch.from_numpy(self._T_ec_told.copy())

    @property
    def T_wc(self) -> Float[Tensor, "4 4"]:
        """The camera's true pose."""
        return self._T_wc()

    @property
    def T_wt(self) -> Float[Tensor, "4 4"]:
        """The tool in the world, as the robot measures it."""
        return self._T_wc() @ torch.from_numpy(np.linalg.inv(self._T_ec))

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _T_wc(self) -> Float[Tensor, "4 4"]:
        T = np.eye(4)
        T[:3, 3] = self._data.cam("eye").xpos
        T[:3, :3] = self._data.cam("eye").xmat.reshape(3, 3)
        return torch.from_numpy(_FLIP @ T @ _FLIP)

    def _reach(self, T_wc: Float[Tensor, "4 4"]) -> None:
        """Put the arm where the camera is at T_wc, from its home.

        Raises:
            SiameError: it cannot get there.
        """
        tool = _FLIP @ T_wc.numpy() @ np.linalg.inv(self._T_ec)
        self._ik.update(np.array(_HOME))
        target = self._mink.SE3.from_matrix(tool)
        self._task.set_target(target)
        for _ in range(300):
            v = self._mink.solve_ik(self._ik, [self._task], 0.1, "daqp", damping=1e-8, limits=self._limits[:1])
            self._ik.integrate_inplace(v, 0.1)
            if float(np.abs(self._task.compute_error(self._ik)).max()) < 1e-9:
                break
        if float(np.abs(self._task.compute_error(self._ik)).max()) > 1e-5:
            t = ", ".join(f"{x:.2f}" for x in T_wc[:3, 3].tolist())
            raise SiameError(
                f"arm: a camera at ({t}) m is out of reach; start nearer, or move the base (ArmConfig.base)"
            )
        self._mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:] = self._ik.q
        self._mujoco.mj_forward(self._model, self._data)

    def look(self, T_wc: Float[Tensor, "*B 4 4"]) -> View:
        """What the camera sees at T_wc, at rest; the arm goes back to where it was."""
        qpos, qvel, ctrl = self._data.qpos.copy(), self._data.qvel.copy(), self._data.ctrl.copy()
        self._reach(T_wc.reshape(-1, 4, 4)[0].double())
        view = self._view(self._shoot(), T_wc.shape[:-2])
        self._data.qpos[:], self._data.qvel[:], self._data.ctrl[:] = qpos, qvel, ctrl
        self._mujoco.mj_forward(self._model, self._data)
        return view

    def _shoot(self) -> Float[Tensor, "3 h w"]:
        self._renderer.update_scene(self._data, "eye")
        image = torch.from_numpy(self._renderer.render().copy()).permute(2, 0, 1).float() / 255
        c = self.config
        if c.gloss > 0 and c.lamps:
            lamps = torch.tensor(c.lamps, dtype=torch.float64) * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
            true = replace(self.camera, fx=self.camera.fx * c.focal, fy=self.camera.fy * c.focal)
            image = image + c.gloss * highlights(true, self._T_wc()[None], lamps[None])[0]
        image = image * c.exposure
        if c.noise > 0:
            image = image + c.noise * torch.randn(image.shape, generator=self._noise)
        return image.clamp_(0, 1)

    def _view(self, image: Tensor, batch: torch.Size) -> View:
        T = self._T_wc()
        Z = -T[2, 3] / T[2, 2]
        near = [k for k in range(6) if abs(float(self._data.qpos[k])) > _LIMITS[k] - _NEAR]
        fault = f"joint {near[0]} is within 2 deg of its limit" if near else ""
        late = self._late * _TICK
        return View(
            image.expand(*batch, *image.shape),
            T.expand(*batch, 4, 4).clone(),
            Z.expand(batch),
            self.camera,
            late,
            fault,
        )

    def reset(self, start: Float[Tensor, "*B 4 4"] | None) -> View:
        """Put the camera at its start (None: where it is), at rest, and look."""
        if start is not None:
            if start.shape[:-2] not in ((), (1,)):
                raise SiameError(f"arm: {tuple(start.shape[:-2])} starts; one arm takes one")
            self._reach(start.reshape(4, 4).double())
        elif self._batch is None:
            raise SiameError("arm: no start pose; give a camera pose T_wc")
        self._batch = start.shape[:-2] if start is not None else self._batch
        assert self._batch is not None
        self._data.qvel[:], self._data.ctrl[:] = 0, 0
        self._noise.manual_seed(self.config.seed)
        self._ticks = 0
        image = self._shoot()
        self._frames = deque([image] * (1 + -(-self._late // self._per_frame)))
        return self._view(image, self._batch)

    @property
    def _late(self) -> int:
        return round(self.config.latency / _TICK)

    @property
    def _per_frame(self) -> int:
        return round(self.dt / _TICK)

    def step(self, v: Float[Tensor, "*B 6"]) -> tuple[View, Float[Tensor, "*B 6"]]:
        """Obey a camera-frame twist for one frame; the latest image that has arrived, and the motion that was made."""
        if self._batch is None:
            raise SiameError("arm: step before reset; call reset(start) first")
        before = self._T_wc()
        twist = v.double().cpu().reshape(6)
        moving = bool((twist != 0).any())
        for _ in range(self._per_frame):
            self._data.ctrl[:] = self._joint_velocities(twist) if moving else 0.0
            for _ in range(round(_TICK / _PHYSICS)):
                self._mujoco.mj_step(self._model, self._data)
            self._mujoco.mj_forward(self._model, self._data)
            self._ticks += 1
            self._ticked(self._T_wc())
            if (self._ticks + self._late) % self._per_frame == 0:
                self._frames.append(self._shoot())
        if len(self._frames) > 1:
            self._frames.popleft()
        applied = lie.log(lie.inverse(before) @ self._T_wc()) / self.dt
        return self._view(self._frames[0], self._batch), applied.reshape(v.shape)

    def _joint_velocities(self, twist: Tensor) -> np.ndarray:
        """Of a twist of the camera as told: a step of the tool towards where that would bring it, within the limits."""
        self._ik.update(self._data.qpos.copy())
        tool = self._ik.get_transform_frame_to_world("tool", "site").as_matrix()
        step = lie.exp(twist * _TICK).numpy()
        told = self._T_ec_told
        self._task.set_target(self._mink.SE3.from_matrix(tool @ told @ step @ np.linalg.inv(told)))
        velocities = self._mink.solve_ik(self._ik, [self._task], _TICK, "daqp", damping=1e-8, limits=self._limits)
        change = velocities - self._data.ctrl
        return self._data.ctrl + change * min(1.0, _ACCELERATION * _TICK / max(1e-12, float(np.abs(change).max())))

    def stop(self) -> None:
        """No joint is to move, at once."""
        self._data.ctrl[:] = 0


def _png(scene: Scene) -> bytes:
    """The print's picture, as a file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(as_pixels(scene.texture)).save(stream, "png")
    return stream.getvalue()
