"""Two processes over loopback DDS: one serves the arm, one runs the node, and the arm gets there."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from siame_se3.errors import SiameError
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.plants.robots.interfaces import WATCHDOG

if not all(importlib.util.find_spec(name) for name in ("mujoco", "mink", "daqp", "cyclonedds")):
    pytest.skip("MuJoCo, mink, daqp or CycloneDDS are not installed", allow_module_level=True)

from robot_bus import FakeBus
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.twist import FRAMES, twist_in
from siame_se3.images.depth import depth_of
from siame_se3.laws.types import View
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.ros2_poses import pose_of
from siame_se3.plants.robots.served import IMAGE, POSE, TWIST, ArmServer, base_in_world
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose
from siame_se3.scenes.relief import Relief

DOMAIN = 10 + os.getpid() % 80
SIAME = [sys.executable, "-m", "siame_se3.cli"]


@pytest.fixture
def arm() -> ArmPlant:
    try:
        arm = ArmPlant(Scene(torch.rand(3, 30, 40), 0.8, 0.6), Camera.from_focal(60, 48), ArmConfig(gloss=0.0))
    except SiameError as error:
        if "cannot render" in str(error):
            pytest.skip(str(error))
        raise
    arm.reset(reference_pose(0.6)[None])
    return arm


def test_the_served_arm_sends_and_obeys_while_twists_come(arm: ArmPlant) -> None:
    bus, other = DdsBus(DOMAIN), DdsBus(DOMAIN)
    images: list[m.Image] = []
    poses: list[m.PoseStamped] = []
    other.subscribe(IMAGE, m.Image, images.append)
    other.subscribe(POSE, m.PoseStamped, poses.append)
    send = other.publisher(TWIST, m.TwistStamped)
    moved: list[tuple[float, float]] = []
    sent = 0.0

    def running() -> bool:
        nonlocal sent
        now = time.monotonic()
        if len(moved) < 25 and len(images) > 1:
            send(m.TwistStamped(m.Header(m.Time(), "camera"), m.Twist(m.Vector3(0.05, 0.0, 0.0), m.Vector3())))
            sent = now
        return len(moved) < 25 or now < sent + 0.6

    def note(at: float, applied: torch.Tensor) -> None:
        if images:
            moved.append((at, float(applied[..., 0].mean())))

    ArmServer(bus, arm).run(running, note)
    bus.close()
    other.close()
    arm.close()
    assert max(v for _, v in moved) == pytest.approx(0.05, abs=0.005)
    late = [v for at, v in moved if at > sent + WATCHDOG + 0.3]
    assert late
    assert max(map(abs, late)) < 1e-4, "it stands still when no twist comes"
    assert images[-1].encoding == "rgb8"
    assert len(images[-1].data) == 48 * 48 * 3
    assert poses


def test_the_base_is_not_the_world() -> None:
    """A robot's poses are in its base; a law that took them for the scene's would see the print elsewhere."""
    T_wb = base_in_world((-0.55, 0.2, 0.3))
    assert T_wb[:3, 3].tolist() == [-0.55, -0.2, -0.3], "over the print is at negative z"
    assert T_wb[:3, 2].tolist() == [0, 0, -1], "its z axis points up"
    server, arm, bus = served_double()
    server.run(arm.runs(1))
    pose, _, _ = bus.sent
    torch.testing.assert_close(base_in_world(arm.config.base) @ pose_of(pose), arm.T_wt)
    assert not torch.allclose(pose_of(pose), arm.T_wt)


@pytest.mark.parametrize("frame", FRAMES)
def test_twists_in_the_bases_frame_are_of_the_base(frame: str) -> None:
    server, arm, bus = served_double()
    v = torch.tensor([0.05, -0.03, 0.02, 0.1, 0.2, -0.3], dtype=torch.float64)
    bus.heard[TWIST](stamped(twist_in(frame, v, arm.T_tc, server.T_bt), frame))
    server.run(arm.runs(1))
    torch.testing.assert_close(arm.obeyed[0], v[None])


@pytest.mark.parametrize(
    ("v", "obeyed"),
    [
        ((30.0, 0, 0, 0, 0, 0), (0.5, 0, 0, 0, 0, 0)),
        ((0.1, 0, 0, 0, 0, 31.4159265), (0.005, 0, 0, 0, 0, 1.570796325)),
        ((1e308, 1e308, 0, 0, 0, 0), (0,) * 6),
        ((math.nan, 0, 0, 0, 0, 0), (0,) * 6),
        ((math.inf, 0, 0, 0, 0, 0), (0,) * 6),
    ],
)
def test_the_served_arm_clamps_what_it_obeys(v: tuple[float, ...], obeyed: tuple[float, ...]) -> None:
    server, arm, bus = served_double()
    bus.heard[TWIST](stamped(torch.tensor(v, dtype=torch.float64), "camera"))
    server.run(arm.runs(1))
    torch.testing.assert_close(arm.obeyed[0], torch.tensor([obeyed], dtype=torch.float64))


class ArmDouble:
    """An arm that stays where it is, and keeps the twists that it is given."""

    config, camera, dt = ArmConfig(), Camera.from_focal(60, 48), 0.001
    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0.01, 0.05, 0.0, 0.1, 0.2], dtype=torch.float64))
    T_wt = lie.pose_from_vector(torch.tensor([0.1, 0.2, -0.6, 0.3, -0.1, 0.2], dtype=torch.float64))

    def __init__(self) -> None:
        self.obeyed: list[torch.Tensor] = []

    def follow(self, twist: Callable[[], torch.Tensor]) -> tuple[View, torch.Tensor]:
        v = twist()[None]
        self.obeyed.append(v)
        return View(torch.rand(1, 3, 48, 48)), v

    def runs(self, steps: int) -> Callable[[], bool]:
        return lambda: len(self.obeyed) < steps


def served_double() -> tuple[Any, ArmDouble, FakeBus]:
    arm, bus = ArmDouble(), FakeBus()
    return ArmServer(bus, arm), arm, bus


def stamped(v: torch.Tensor, frame: str) -> m.TwistStamped:
    a = v.tolist()
    return m.TwistStamped(m.Header(m.Time(), frame), m.Twist(m.Vector3(*a[:3]), m.Vector3(*a[3:])))


@pytest.mark.slow
def test_two_processes_converge(arm: ArmPlant, tmp_path: Path) -> None:
    arm.close()  # it was here to skip where nothing can be rendered
    options = ["--bus", "dds", "--domain", str(DOMAIN)]
    serving = subprocess.Popen(
        [*SIAME, "arm", *options, "--seconds", "900", "--image-size", "112", "--target", "target.png"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert serving.stdout is not None
        lines = [serving.stdout.readline()]
        while "serving" not in lines[-1]:
            assert serving.poll() is None, lines
            lines.append(serving.stdout.readline())
        live = [*SIAME, "live", "--model", str(bundled(BUNDLED_MODEL)), "--target", "target.png", "--start"]
        topics = ["--ros2.bus", "dds", "--ros2.domain", str(DOMAIN), "--save", "run.npz"]
        frame = ["--ros2.frame", "base", "--ros2.pose", POSE, "--hand-eye", "hand-eye.yaml"]
        (tmp_path / "hand-eye.yaml").write_text(
            "camera_in_tool: {translation: [0, 0, 0.05], rotation_vector: [0, 0, 0]}\n"
        )
        # A busy machine makes images late: that is not what is tested here.
        patient = ["--gain", "2", "--max-iterations", "400", "--safety.max-age", "3", "--safety.frozen", "3"]
        done = subprocess.run(
            [*live, *topics, *frame, *patient], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "settled" in done.stdout
        assert "stands still" in done.stdout
        serving.send_signal(signal.SIGINT)  # Ctrl-C
        out, _ = serving.communicate(timeout=60)
    finally:
        serving.kill()
        serving.wait()
    left = out.splitlines()[-1].split()
    assert left[0] == "left", out
    assert float(left[1]) < 2.0, f"mm left; {done.stdout}"
    assert (tmp_path / "run.npz").is_file()


def test_the_served_arm_sends_the_depth_of_its_images() -> None:
    relief = Relief.drawn(Scene(torch.rand(3, 60, 80), 0.8, 0.6), 0.1, 1, ("box", "cylinder"))
    camera = Camera.from_focal(60, 48)
    try:
        arm = ArmPlant(relief, camera, ArmConfig(), depth_camera=replace(DepthCamera.ideal(), nearest=0.55))
    except SiameError as error:
        if "cannot render" in str(error):
            pytest.skip(str(error))
        raise
    goal = reference_pose(0.6)
    arm.reset(goal[None])
    bus = FakeBus()
    ArmServer(bus, arm).run(lambda: not bus.sent)
    arm.close()
    depth, image = (message for message in bus.sent if isinstance(message, m.Image))
    assert depth.encoding == "16UC1"
    assert image.encoding == "rgb8"
    assert depth.header == image.header
    seen = torch.from_numpy(depth_of(depth))
    true = relief.depth(camera, goal[None])[0]
    near = true < 0.55  # the box's top: nearer than the depth camera sees
    assert 0.02 < float(near.double().mean()) < 0.5
    assert bool(seen[near].isnan().all())
    torch.testing.assert_close(seen[~near], true[~near].float(), rtol=0, atol=6e-4)
