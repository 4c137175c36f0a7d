"""The arm in MuJoCo. Skipped where MuJoCo or mink are missing, or where nothing can be rendered."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.analysis import metrics
from siame_se3.errors import InputError, RobotError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.arm_model import JOINT_ACCELERATION, TICK
from siame_se3.plants.types import check_plant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import reference_pose
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.simulation import Task, simulate_on_arm
from siame_se3.servo.trajectory import Trajectory

if not all(importlib.util.find_spec(name) for name in ("mujoco", "mink", "daqp")):
    pytest.skip("MuJoCo, mink or daqp are not installed", allow_module_level=True)

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
CAMERA = Camera.from_focal(300, 224).resized(48)
PLAIN = {"gloss": 0.0, "lamps": ((0.0, 0.0, 1.5),)}
Arm = Callable[..., ArmPlant]


@pytest.fixture(scope="session")
def print_() -> Scene:
    return Scene.from_photo(PHOTO)


def new_arm(print_: Scene, **changes: Any) -> ArmPlant:
    """An arm with one small camera; skips where nothing can be rendered."""
    try:
        return ArmPlant(print_, CAMERA, ArmConfig(**(PLAIN | changes)))
    except SiameError as error:
        if "cannot render" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def arm(print_: Scene) -> Iterator[Arm]:
    """Arms of some set-up, each made once: a test begins with `reset` or `look`."""
    made: dict[str, ArmPlant] = {}

    def get(**changes: Any) -> ArmPlant:
        key = repr(sorted(changes.items()))
        made[key] = made.get(key) or new_arm(print_, **changes)
        return made[key]

    yield get
    for plant in made.values():
        plant.close()


def pose(*vector: float) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return (T @ lie.pose_from_vector(torch.tensor(vector or (0.0,) * 6, dtype=torch.float64)))[None]


TURNED = (0.05, -0.08, 0.03, 0.1, -0.05, 0.3)


def test_arm_keeps_the_promises(arm: Arm) -> None:
    check_plant(arm(), pose(*TURNED), 1e-6)


@pytest.mark.parametrize("vector", [(0.0,) * 6, TURNED], ids=["above", "turned"])
def test_arm_sees_what_the_homography_says(arm: Arm, print_: Scene, vector: tuple[float, ...]) -> None:
    view = arm().look(pose(*vector))
    assert view.image is not None
    assert view.T_wc is not None
    torch.testing.assert_close(view.T_wc, pose(*vector), rtol=0, atol=1e-8)
    expected, _ = render(print_, CAMERA, pose(*vector))
    both = torch.stack((view.image.flatten(), expected.flatten()))
    assert float(torch.corrcoef(both)[0, 1]) > 0.98
    wrong = torch.stack((view.image.flip(-1).flatten(), expected.flatten()))
    assert float(torch.corrcoef(wrong)[0, 1]) < 0.9


def test_true_poses_bring_it_home_within_its_limits(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = arm()
    start, goal = pose(0.15, -0.1, 0.05, 0.2, -0.1, 0.5), pose()
    precise = ServoConfig(gain=3.0, max_iterations=150, settle_v=1e-6, settle_w=1e-6)
    speeds = []
    real = plant.step

    def step(v: Tensor) -> Any:
        before = plant.joints
        result = real(v)
        speeds.append((plant.joints - before).abs().max() / plant.dt)
        return result

    monkeypatch.setattr(plant, "step", step)  # watched
    trajectory = servo(plant, PBVS(), plant.look(goal), start, precise)
    t, r = trajectory.error_norms
    assert float(t[-1]) < 1e-4
    assert math.degrees(float(r[-1])) < 0.02
    assert float(max(speeds)) <= math.pi * 1.01
    straight = (trajectory.T_wc[-1, 0, :3, 3] - trajectory.T_wc[0, 0, :3, 3]).norm()
    length = trajectory.T_wc[:, 0, :3, 3].diff(dim=0).norm(dim=1).sum()
    assert float(length / straight) < 1.05


def test_camera_obeys_twists_in_its_own_frame(arm: Arm) -> None:
    plant = arm()
    for axis in range(6):
        plant.reset(pose(*TURNED))
        v = torch.zeros(1, 6, dtype=torch.float64)
        v[0, axis] = 0.05
        for _ in range(10):  # the servos settle
            _, applied = plant.step(v)
        torch.testing.assert_close(applied, v, rtol=0, atol=5e-4)


def test_joints_never_outrun_their_limits(arm: Arm) -> None:
    plant = arm()
    plant.reset(pose())
    for _ in range(10):
        before = plant.joints
        plant.step(torch.tensor([[5.0, 3.0, -2.0, 6.0, -6.0, 20.0]], dtype=torch.float64))
        assert float((plant.joints - before).abs().max()) / plant.dt <= math.pi * 1.05


@pytest.mark.parametrize("servo", [0.015, 0.03])
def test_a_stop_brakes_as_hard_as_the_joints_may(arm: Arm, servo: float) -> None:
    plant = arm(servo=servo)
    plant.reset(reference_pose(0.6)[None])
    v = torch.tensor([0.1, -0.05, 0.05, 0.1, 0.1, -0.3], dtype=torch.float64)
    _, applied = plant.step(v[None])
    assert float(applied.abs().max()) > 0.1
    before, made = plant.joints, list[Tensor]()

    def stopped() -> Tensor:
        nonlocal before
        made.append((plant.joints - before) / TICK)
        before = plant.joints
        return torch.zeros(6, dtype=torch.float64)

    plant.follow(stopped)
    speeds = torch.stack(made[1:])  # the first is that of no tick
    needed = math.ceil(float(speeds[0].abs().max()) / (JOINT_ACCELERATION * TICK)) + 1
    assert needed < len(speeds)
    assert float(speeds[needed:].abs().max()) < 1e-2
    assert float(speeds.diff(dim=0).abs().max()) <= 1.02 * JOINT_ACCELERATION * TICK


def test_views_come_late_by_the_latency(arm: Arm) -> None:
    v = torch.tensor([[0.2, 0.0, 0.0, 0.0, 0.0, 0.5]], dtype=torch.float64)
    seen = {}
    for frames in (0, 1, 2):
        plant = arm(latency=0.04 * frames)
        plant.reset(pose())
        seen[frames] = [plant.step(v)[0].image for _ in range(6)]
    for frames in (1, 2):
        for k in range(frames, 6):
            assert torch.equal(seen[frames][k], seen[0][k - frames])
    assert not torch.equal(seen[0][1], seen[0][2])


def test_a_wrong_hand_eye_rotation_turns_the_motion(arm: Arm) -> None:
    angle = math.radians(30)
    plant = arm(hand_eye_error=(0.0, 0.0, 0.0, 0.0, 0.0, angle))
    plant.reset(pose())
    v = torch.tensor([[0.05, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for _ in range(5):
        _, applied = plant.step(v)
    expected = torch.tensor([[0.05 * math.cos(angle), 0.05 * math.sin(angle), 0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(applied, expected, rtol=0, atol=0.002)


def test_focal_exposure_noise_and_gloss_change_the_image(arm: Arm, print_: Scene) -> None:
    plain = arm().look(pose()).image
    assert plain is not None
    long = arm(focal=1.2).look(pose()).image
    assert long is not None
    expected, _ = render(print_, replace(CAMERA, fx=1.2 * CAMERA.fx, fy=1.2 * CAMERA.fy), pose())
    assert float(torch.corrcoef(torch.stack((long.flatten(), expected.flatten())))[0, 1]) > 0.98
    half = arm(exposure=0.5).look(pose()).image
    torch.testing.assert_close(half, plain / 2)
    noisy = arm(noise=0.05).look(pose()).image
    assert noisy is not None
    inside = (plain > 0.2) & (plain < 0.8)
    assert float((noisy - plain)[inside].std()) == pytest.approx(0.05, rel=0.1)
    shining = arm(gloss=0.5).look(pose()).image
    assert shining is not None
    assert float((shining - plain).min()) >= -1e-6
    assert float((shining - plain).max()) > 0.2


def test_a_new_start_makes_the_same_run(arm: Arm) -> None:
    plant, v = arm(noise=0.02), torch.tensor([[0.1, 0.0, 0.05, 0.0, 0.2, 0.0]], dtype=torch.float64)
    runs = []
    for _ in range(2):
        plant.reset(pose(*TURNED))
        runs.append([plant.step(v)[0] for _ in range(3)])
    for a, b in zip(*runs, strict=True):
        assert a.T_wc is not None
        assert b.T_wc is not None
        assert a.image is not None
        assert b.image is not None
        assert torch.equal(a.T_wc, b.T_wc)
        assert torch.equal(a.image, b.image)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, print_: Scene) -> None:
    with contextlib.closing(new_arm(print_)) as plant:
        with pytest.raises(InputError, match="step before reset"):
            plant.step(torch.zeros(1, 6))
        with pytest.raises(InputError, match="no start pose"):
            plant.reset(None)
        with pytest.raises(RobotError, match="out of reach") as caught:
            plant.reset(pose(3.0, 0, 0, 0, 0, 0))
        assert caught.value.settings == ("arm.base",)
        with pytest.raises(InputError, match="one arm takes one"):
            plant.reset(pose().expand(2, 4, 4))
    with pytest.raises(InputError, match="whole ticks"):
        ArmConfig(frame_rate=30.0)
    with pytest.raises(InputError, match="exposure is"):
        ArmConfig(exposure=0.0)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(InputError, match=r"siame-se3\[mujoco\]"):
        ArmPlant(print_, CAMERA)


def test_runs_of_the_arm_are_one_batch(arm: Arm, print_: Scene) -> None:
    arm()  # skips where nothing can be rendered
    config = ServoConfig(gain=8.0, max_iterations=60)
    trajectory, desired, last = simulate_on_arm(
        PBVS(), Task(print_, CAMERA, runs=3, seed=5), config, ArmConfig(**PLAIN), quiet=True
    )  # type: ignore[arg-type]
    table = metrics.rows(trajectory)
    assert [row.converged for row in table] == [1, 1, 1]
    assert trajectory.T_wd.shape == (3, 4, 4)
    assert len(trajectory.twist) == max(row.iterations for row in table)
    assert desired.image is not None
    assert last.image is not None
    assert float((desired.image - last.image).abs().mean()) < 0.01
    for k, row in enumerate(table):
        assert bool((trajectory.active[row.iterations :, k] == 0).all())
        assert row.end_t_m < 1e-3


def test_starts_out_of_reach_are_passed_over_or_refused(arm: Arm, print_: Scene, tmp_path: Path) -> None:
    arm()
    config = ServoConfig(max_iterations=2)
    (tmp_path / "a.csv").write_text("3,0,0,0,0,0\n0.05,0,0,0,0,0\n")
    trajectory, _, _ = simulate_on_arm(PBVS(), Task(print_, CAMERA, str(tmp_path / "a.csv"), 5), config, quiet=True)
    assert (len(trajectory.reason), trajectory.settings["out_of_reach"]) == (1, 1)
    (tmp_path / "b.csv").write_text("3,0,0,0,0,0\n")
    with pytest.raises(SiameError, match="1 of 1 starts are out of reach"):
        simulate_on_arm(PBVS(), Task(print_, CAMERA, str(tmp_path / "b.csv"), 5), config, quiet=True)


@pytest.mark.slow
def test_command_servos_the_arm(
    arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arm()
    monkeypatch.chdir(tmp_path)
    CAMERA.to_yaml("camera.yaml")
    command = ["siame", "servo", "--plant", "arm", "--law", "pbvs", "--scene", str(PHOTO), "--camera", "camera.yaml"]
    files = ["--out", "runs.csv", "--save", "runs.npz", "--figure", "runs.png"]
    monkeypatch.setattr(sys, "argv", [*command, "--runs", "2", "--gain", "8", *files])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "100.0 %" in capsys.readouterr().out
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    assert Trajectory.load(tmp_path / "runs.npz").settings["plant"] == "arm"
    assert (tmp_path / "runs.png").is_file()
    monkeypatch.setattr(sys, "argv", [*command, "--perturb"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "for flying cameras; the arm has its own" in capsys.readouterr().err


@pytest.mark.slow
def test_torchvision_may_come_after_the_renderer() -> None:
    """Two LLVMs in one process: see ArmPlant."""
    code = (
        "import torch; from siame_se3.plants.arm import ArmPlant; from siame_se3.scenes.planar import Scene; from siame_se3.geometry.camera import Camera\n"
        "try: ArmPlant(Scene(torch.rand(3, 30, 40), 0.8, 0.6), Camera.from_focal(60, 48))\n"
        "except Exception as error: assert 'cannot render' in str(error), error\n"
        "import torchvision"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("latency", [0.008, 0.04, 0.104])
def test_views_are_as_old_as_they_say_between_frames(arm: Arm, latency: float) -> None:
    """A latency that is no whole number of frames: they were one frame older."""
    plant = arm(latency=latency)
    plant.reset(pose())
    queue = len(plant._frames)
    late, per_frame = plant._late, plant._per_frame
    # one is shot (late mod a frame) before a step's end, and one is taken: the oldest was shot (queue - 1) frames before that
    shot = late % per_frame + (queue - 1) * per_frame
    assert shot * TICK == pytest.approx(latency)
