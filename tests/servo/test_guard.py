"""What keeps a robot safe: which faults of its law and its plant end a run."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import CAMERA, CONFIG, PHOTO, START, Broken, Says, guard_of, pose, run
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.faults import FaultyLaw
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety


@pytest.mark.slow
def test_a_sound_run_converges_within_the_limits(plant: FlyingCameras) -> None:
    trajectory = run(plant)
    assert trajectory.reason == ["settled"]
    t, r = trajectory.error_norms
    assert float(t[-1]) < 1e-3
    most = torch.tensor(Safety().max_twist)
    assert bool((trajectory.twist.abs() <= most + 1e-6).all())
    assert bool((trajectory.twist.abs() > 0.99 * most).any()), "a limit was met"
    change = torch.cat((trajectory.twist[:1], trajectory.twist.diff(dim=0)))[:-2]
    assert bool((change.abs() <= torch.tensor(Safety().max_change) * plant.dt + 1e-6).all())
    assert math.degrees(float(r[-1])) < 0.1


def test_a_law_of_nan_stops_at_once(plant: FlyingCameras, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trajectory = run(plant, FaultyLaw(PBVS(), 10))
    assert trajectory.reason == ["law not finite"]
    assert len(trajectory.twist) == 10, "nothing was commanded after it"
    assert "law not finite" in caplog.text


def test_an_exploding_law_stops_at_once(plant: FlyingCameras) -> None:
    trajectory = run(plant, Says(lambda k: (0.0, 0.0, 0.0, 0.0, 0.0, 0.1 * 2.0**k)))
    assert "exploded" in trajectory.reason[0]
    assert bool((trajectory.twist[-1] != 0).any()), "no ramp"


def test_a_law_without_a_velocity_stands_still_then_ends(plant: FlyingCameras) -> None:
    law = Says(lambda k: (0.1, 0, 0, 0, 0, 0), lambda k: "too few matches" if k >= 6 else "")
    trajectory = run(plant, law)
    assert trajectory.reason == ["too few matches"]
    assert bool((trajectory.twist[6:] == 0).all())
    assert bool((trajectory.twist[:6, 0, 0] > 0).all())


def fault(words: str) -> Any:
    return lambda view, applied: (replace(view, fault=words), applied)


@pytest.mark.parametrize(
    ("what", "reason", "length"),
    [
        (fault("joint 3 is within 2 deg of its limit"), "joint 3 is within 2 deg of its limit", 5),
        (ConnectionResetError("gone"), "plant lost: gone", 4),
        (SiameError("UR: protective stop"), "UR: protective stop", 4),
        (KeyboardInterrupt(), "Ctrl-C", 6),  # with two steps of the ramp
    ],
)
def test_a_lost_plant_or_ctrl_c_keeps_the_trajectory(plant: FlyingCameras, what: Any, reason: str, length: int) -> None:
    broken = Broken(plant, 5, what)
    trajectory = run(broken)
    assert trajectory.reason == [reason]
    assert len(trajectory.twist) == length
    assert broken.stops == 1


def test_errors_of_the_program_are_not_hidden_and_stop_the_plant(plant: FlyingCameras) -> None:
    broken = Broken(plant, 5, RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        run(broken)
    assert broken.stops == 1
    assert broken.at == 0, "nothing was sent after it"


@pytest.mark.slow
def test_slow_errors_of_set_up_and_light_are_no_faults() -> None:
    """A hand-eye error of 5 deg, a distance wrong by a fifth, a brighter lamp: it goes on."""
    scene = Scene.from_photo(PHOTO)
    sound = FlyingCameras(scene, CAMERA)

    class Wrong(FlyingCameras):
        count = 0

        def step(self, v: Tensor) -> tuple[View, Tensor]:
            self.count += 1
            turn = lie.pose_from_vector(torch.tensor([0, 0, 0, 0.05, 0.05, 0.05], dtype=torch.float64))
            view, _ = super().step((lie.adjoint(turn) @ v.mT).mT)
            assert view.image is not None
            assert view.depth is not None
            return replace(
                view, depth=1.2 * view.depth, image=(view.image * (1.0 if self.count < 9 else 1.15)).clamp(0, 1)
            ), v

    trajectory = servo(Wrong(scene, CAMERA), PBVS(), sound.look(pose()[None]), START, CONFIG, safety=Safety())
    assert trajectory.reason == ["settled"]


def test_several_cameras_and_bad_limits_are_refused(plant: FlyingCameras) -> None:
    two = pose().expand(2, 4, 4).clone()
    with pytest.raises(SiameError, match="one robot with one camera"):
        servo(plant, PBVS(), plant.look(two), two, safety=Safety())
    for changes, words in (
        ({"max_twist": (0.1,) * 5}, "six numbers"),
        ({"max_twist": (1e300,) * 6}, "six numbers"),
        ({"max_change": (0.0,) * 6}, "six numbers"),
        ({"max_change": (math.nan,) * 6}, "six numbers"),
        ({"max_age": 0.0}, "above 0"),
        ({"max_age": 1e300}, "at most"),
        ({"jump": math.nan}, "jump is nan"),
        ({"reach": -1.0}, "at least 0"),
        ({"reach": math.nan}, "reach is nan"),
        ({"box": (0, 0, 0, 1, 1)}, "low corner"),
        ({"box": (0, 0, 0, 1, 1, -1)}, "low corner"),
        ({"box": (-math.inf,) * 3 + (math.inf,) * 3}, "low corner"),
        ({"box": (math.nan,) * 6}, "low corner"),
    ):
        with pytest.raises(SiameError, match=words):
            Safety(**changes)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(SiameError, match="does not know its pose"):
        guard_of(plant, Safety(box=(0, 0, 0, 1, 1, 1)), T_wc=None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda view, v: (replace(view, age=math.nan), v), "age is not finite"),
        (lambda view, v: (replace(view, T_wc=view.T_wc * math.nan), v), "pose has values that are not finite"),
        (lambda view, v: (view, v * math.nan), "reports is not finite"),
        (lambda view, v: (replace(view, image=view.image * math.nan), v), "image has values that are not finite"),
        (lambda view, v: (replace(view, image=view.image[..., :50]), v), "image is not as it was"),
        (lambda view, v: (replace(view, image=None), v), "image is not as it was"),
        (lambda view, v: (replace(view, T_wc=None), v), "pose is not as it was"),
    ],
    ids=["age", "pose", "applied", "image", "size", "no image", "no pose"],
)
def test_what_is_not_finite_or_of_another_kind_is_a_fault(plant: FlyingCameras, change: Any, words: str) -> None:
    broken = Broken(plant, 5, change)
    trajectory = run(broken)
    assert words in trajectory.reason[0]
    assert broken.stops == 1
    assert len(trajectory.twist) == 5, "nothing was sent after it"
    assert bool(torch.isfinite(trajectory.twist).all())
