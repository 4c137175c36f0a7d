"""The MuJoCo model of the arm: UR5e's kinematics, velocity servos, a camera that looks along the tool, and a print on a table where there is one."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch

from siame_se3.errors import InputError, require_number, require_numbers
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.scenes.planar import Scene

TICK = 0.008  # period of the joint controller [s]
PHYSICS_STEP = 0.002  # [s]
JOINT_LIMITS = tuple(math.radians(x) for x in (360, 360, 180, 360, 360, 360))  # +- [rad]
JOINT_SPEED = math.pi  # limit, of each joint [rad/s]
JOINT_ACCELERATION = 20.0  # limit, of each joint, also when it brakes to stand still [rad/s^2]
HOME = tuple(math.radians(x) for x in (180, -90, 90, -90, -90, -90))  # elbow up, the camera square to the table
CAMERA_NAME = "camera"  # in the model

# Denavit-Hartenberg parameters of Universal Robots' UR5e [m, rad].
_A = (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0)
_D = (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996)
_ALPHA = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)
_INERTIA = 6.0  # of each servo [kg m^2]: the links hardly count beside it
_FACETS = (48, 36)  # of the print: OpenGL lights vertices, and a highlight is smaller than the print


@dataclass(frozen=True)
class ArmConfig:
    """The set-up, as it is in truth and as the controller assumes it.

    Attributes:
        base: position of the arm's base in the print's frame as seen from above: x right, y away from the print's lower edge, height [m].
        hand_eye: tool to camera, (t, theta u) [m, rad]: the camera looks along the tool.
        hand_eye_error: difference of the assumed one from it, (t, theta u) in the camera's frame [m, rad]; the controller turns twists
            by the assumed one.
        focal: true focal length over the assumed one.
        frame_rate: of the camera [1/s].
        latency: from the shutter to the view [s], in whole ticks of 8 ms.
        servo: time constant of the joints' velocity servos [s].
        exposure: gain of the image.
        noise: standard deviation of the sensor's noise, as a share of the range.
        gloss: brightness of the middle of the highlight that the print mirrors of each lamp, added (MuJoCo's own would be coloured by
            the print).
        lamps: places of the lamps (x, y, height) [m] over the print.
        seed: of the noise.

    Raises:
        InputError: a value that no arm or camera has.
    """

    base: tuple[float, float, float] = (-0.55, 0.0, 0.3)
    hand_eye: tuple[float, ...] = (0.0, 0.0, 0.05, 0.0, 0.0, 0.0)
    hand_eye_error: tuple[float, ...] = (0.0,) * 6
    focal: float = 1.0
    frame_rate: float = 25.0
    latency: float = 0.0
    servo: float = 0.03
    exposure: float = 1.0
    noise: float = 0.0
    gloss: float = 0.3
    lamps: tuple[tuple[float, float, float], ...] = ((0.5, 0.4, 1.8), (-0.4, -0.5, 1.6))
    seed: int = 0

    def __post_init__(self) -> None:
        require_types(self, "arm")
        for name in ("focal", "frame_rate", "servo", "exposure"):
            require_number(self, name, 0, open_low=True)
        for name in ("latency", "noise", "gloss"):
            require_number(self, name, 0)
        for name, count in (("base", 3), ("hand_eye", 6), ("hand_eye_error", 6)):
            require_numbers(self, name, count)
        if not all(
            isinstance(lamp, tuple | list) and len(lamp) == 3 and all(map(math.isfinite, lamp)) for lamp in self.lamps
        ):
            raise InputError(f"arm: lamps {self.lamps}; give places (x, y, height) in metres", "arm.lamps")
        ticks = 1 / self.frame_rate / TICK
        if abs(ticks - round(ticks)) > 1e-6:
            raise InputError(f"arm: {self.frame_rate:g} frames a second; give one whose frames are whole ticks of 8 ms")


def braking(velocities: np.ndarray, servo: float) -> np.ndarray:
    """Commands of the velocity servos with which each joint stops at its limit of acceleration, as an arm's controller does for a stop: within a
    physics step where that is enough.

    Args:
        velocities: of the joints, (6,) [rad/s].
        servo: the servos' time constant T [s]: the acceleration is (command - velocity) / T.

    Returns:
        Commands, (6,) [rad/s].
    """
    return velocities - servo * np.clip(velocities / PHYSICS_STEP, -JOINT_ACCELERATION, JOINT_ACCELERATION)


def model_xml(scene: Scene | None, camera: Camera, config: ArmConfig) -> str:
    """The model in MuJoCo's XML; its texture is the file 'photo.png' (`print_png`).

    Args:
        scene: the print, on the table; None for nothing there, of an arm over a scene that renders itself.
        camera: the assumed intrinsics.
        config: the set-up.
    """
    lamps = "".join(
        f'<light pos="{x} {y} {z}" dir="{-x} {-y} {-z}" diffuse=".4 .4 .4" specular="0 0 0" castshadow="false"/>'
        for x, y, z in config.lamps
    )
    things = "" if scene is None else '<geom type="mesh" mesh="print" material="photo" contype="0" conaffinity="0"/>'
    assets = (
        ""
        if scene is None
        else f"""<texture name="photo" type="2d" file="photo.png"/><material name="photo" texture="photo" specular="0"/>
<material name="table" rgba=".05 .05 .05 1" specular="0"/>
{_print_mesh(scene)}"""
    )
    table = (
        ""
        if scene is None
        else '<geom type="plane" size="3 3 .1" pos="0 0 -.002" material="table" contype="0" conaffinity="0"/>'
    )
    servos = "".join(f'<velocity joint="j{k}" kv="{_INERTIA / config.servo}"/>' for k in range(6))
    return f"""<mujoco model="arm">
<option timestep="{PHYSICS_STEP}" integrator="implicitfast"/><compiler angle="radian"/>
<visual><global offwidth="{camera.width}" offheight="{camera.height}"/><headlight ambient=".3 .3 .3" diffuse="0 0 0" specular="0 0 0"/>
<map znear="0.02"/></visual>
<asset>{assets}</asset>
<worldbody>{lamps}{table}
{things}{_arm_xml(camera, config)}</worldbody>
<actuator>{servos}</actuator></mujoco>"""


def _joint_place(x: float, z: float, roll: float) -> str:
    """Place of a joint in the frame of the one before it: a step of Denavit-Hartenberg [m, rad]."""
    return f'pos="{x} 0 {z}" quat="{math.cos(roll / 2)} {math.sin(roll / 2)} 0 0"'


def _arm_xml(camera: Camera, config: ArmConfig) -> str:
    """The arm's bodies, each in the frame of the joint before it; light links, whose servos' inertia is what counts."""
    bodies, ends = "", ""
    place = 'pos="{} {} {}"'.format(*config.base)
    for k in range(6):
        limit = JOINT_LIMITS[k]
        bodies += (
            f'<body name="link{k}" {place} gravcomp="1"><inertial pos="0 0 0" mass="1" diaginertia=".01 .01 .01"/>'
            f'<joint name="j{k}" type="hinge" axis="0 0 1" range="{-limit} {limit}" armature="{_INERTIA}"/>'
        )
        place, ends = _joint_place(_A[k], _D[k], _ALPHA[k]), ends + "</body>"
    T = lie.pose_from_vector(torch.tensor(config.hand_eye, dtype=torch.float64)).numpy()
    x, y = T[:3, 0], -T[:3, 1]  # MuJoCo's cameras look along -z, y up
    fovy = math.degrees(2 * math.atan(camera.height / 2 / (camera.fy * config.focal)))
    axes = " ".join(f"{value:.12g}" for value in (*x, *y))
    at = " ".join(f"{value:.12g}" for value in T[:3, 3])
    lens = f'<camera name="{CAMERA_NAME}" pos="{at}" xyaxes="{axes}" fovy="{fovy:.12g}"/>'
    tool = f'<body name="tool" {place} gravcomp="1"><inertial pos="0 0 0" mass=".3" diaginertia=".001 .001 .001"/><site name="tool"/>{lens}</body>'
    return bodies + tool + ends


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


def print_png(scene: Scene) -> bytes:
    """The print's picture, as a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(as_pixels(scene.texture)).save(stream, "png")
    return stream.getvalue()
