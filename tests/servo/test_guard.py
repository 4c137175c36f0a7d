"""What keeps a robot safe: each reason to stand still."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from guard_helpers import CAMERA, CONFIG, PHOTO, START, Broken, guard_of, pose, run
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.plants.faults import FaultyCamera, FaultyLaw
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.guard import Guard
from siame_se3.servo.limits import limited
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.watch import ImageWatch


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


def test_limits_keep_the_direction() -> None:
    limits = Safety().limits(None)
    v = torch.tensor([[3.0, -1.0, 0.5, 0.2, 0.1, -0.4]], dtype=torch.float64)
    zero = torch.zeros(1, 6, dtype=torch.float64)
    out = limited(limits, v, zero, 0.04)
    torch.testing.assert_close(out / out.norm(), v / v.norm())
    assert torch.equal(limited(limits, zero, zero, 0.04), zero)


@pytest.mark.parametrize(
    ("kind", "words", "within"),
    [
        ("stops", "stale image", Safety().max_age),
        ("late", "stale image", 0.0),
        ("freezes", "frozen image", Safety().frozen + 0.04),
        ("black", "the view changed", 0.0),
        ("occluded", "the view changed", 0.0),
        ("flickers", "the same pixels", 0.3),
    ],
)
@pytest.mark.parametrize("frames", [9, 14, 21])
def test_faulty_cameras_stop_the_robot(plant: FlyingCameras, kind: Any, words: str, within: float, frames: int) -> None:
    trajectory = run(FaultyCamera(plant, kind, frames * plant.dt))
    assert words in trajectory.reason[0]
    still = (trajectory.applied == 0).all(-1)
    last = 0 if bool(still.all()) else int((~still).nonzero().max()) + 1
    assert frames <= last <= frames + round(within / plant.dt) + 1
    assert not bool(trajectory.active[last:].any())


def test_a_law_of_nan_stops_at_once(plant: FlyingCameras, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trajectory = run(plant, FaultyLaw(PBVS(), 10))
    assert trajectory.reason == ["law not finite"]
    assert len(trajectory.twist) == 10, "nothing was commanded after it"
    assert "law not finite" in caplog.text


@dataclass(frozen=True, eq=False)
class SaysState(State):
    k: Tensor


@dataclass(frozen=True)
class Says:
    """A law that gives the k-th of given velocities and faults."""

    v: Callable[[int], tuple[float, ...]]
    fault: Callable[[int], str] = lambda k: ""
    needs = frozenset({"image"})

    def aim(self, target: View) -> tuple[Law, SaysState]:
        return self.law, SaysState(torch.zeros(*target.batch, dtype=torch.long))

    def law(self, view: View, state: SaysState) -> tuple[Output, SaysState]:
        k = int(state.k[0])
        v = torch.tensor([self.v(k)], dtype=torch.float64)
        return Output.of(v, (self.fault(k),)), SaysState(state.k + 1)


def test_an_exploding_law_stops_at_once(plant: FlyingCameras) -> None:
    trajectory = run(plant, Says(lambda k: (0.0, 0.0, 0.0, 0.0, 0.0, 0.1 * 2.0**k)))
    assert "exploded" in trajectory.reason[0]
    assert bool((trajectory.twist[-1] != 0).any()), "no ramp"


def test_reach_ends_with_a_smooth_stop(plant: FlyingCameras) -> None:
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(reach=0.05))
    assert "0.05 m from its start" in trajectory.reason[0]
    speeds = trajectory.twist[:, 0, 0]
    assert 0 < float(speeds[-2]) < float(speeds[-3])
    assert float(speeds[-1]) == 0
    assert len(trajectory.step_seconds) == len(trajectory.twist)


def test_the_box_is_in_the_frame_of_the_poses(plant: FlyingCameras) -> None:
    x, y, z = START[:3, 3].tolist()
    box = (x - 1, y - 1, z - 1, x + 0.02, y + 1, z + 1)
    trajectory = run(plant, Says(lambda k: (0.3, 0, 0, 0, 0, 0)), Safety(box=box))
    assert trajectory.reason == ["the camera left its workspace box"]
    assert float(trajectory.T_wc[-1, 0, 0, 3]) < x + 0.04


def test_no_progress_ends_a_run(plant: FlyingCameras) -> None:
    around = Says(lambda k: (0.05 * math.cos(k / 6), 0.05 * math.sin(k / 6), 0, 0, 0, 0))
    trajectory = run(plant, around, Safety(no_progress=2.0))
    assert "no progress for 2 s" in trajectory.reason[0]
    assert 2.0 <= len(trajectory.twist) * plant.dt < 2.5


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


@pytest.mark.slow
def test_dry_runs_and_faults_are_no_lack_of_progress(plant: FlyingCameras) -> None:
    guard = guard_of(plant, Safety(no_progress=1.0))
    v = torch.tensor([[0.1, 0, 0, 0, 0, 0]], dtype=torch.float64)
    still = torch.zeros(1, 6, dtype=torch.float64)
    for _ in range(40):  # nothing is applied, for longer than the limit
        assert guard.seen(plant.look(pose()[None]), still, still) is None
        assert guard.judged(v) is None
    lost = Says(lambda k: (0.1 * 0.93**k, 0, 0, 0, 0, 0), lambda k: "too few matches" if k == 3 else "")
    assert "no progress" not in run(plant, lost, Safety(no_progress=1.0)).reason[0]


def test_the_tools_twist_has_the_limits_too() -> None:
    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))
    v = torch.tensor([[0.0, 0, 0, 0.35, 0, 0]], dtype=torch.float64)
    out = torch.zeros(1, 6, dtype=torch.float64)
    for _ in range(20):
        out = limited(Safety().limits(T_tc), v, out, 0.04)
    assert float((lie.adjoint(T_tc) @ out[0])[:3].abs().max()) == pytest.approx(0.1)


class WithTool(WrappedPlant):
    """A tool half a metre behind the camera."""

    T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0, 0, 0], dtype=torch.float64))  # type: ignore[assignment]  # fixed here


@pytest.mark.parametrize("wrapped", [WithTool, lambda plant: FaultyCamera(WithTool(plant), "black", 1e9)])
def test_a_wrapped_plant_keeps_the_limits_of_its_tool(plant: FlyingCameras, wrapped: Any) -> None:
    """The tool's speed is what is limited, also where the plant is wrapped."""
    turn = Says(lambda k: (0.0, 0, 0, 0.35, 0, 0))
    trajectory = servo(wrapped(plant), turn, plant.look(pose()[None]), START, CONFIG, safety=Safety(reach=0.1))
    tool = trajectory.twist[:, 0] @ lie.adjoint(WithTool.T_tc).mT
    assert float(tool[:, :3].abs().max()) == pytest.approx(0.1, abs=1e-9)


def test_images_from_the_future_are_refused(plant: FlyingCameras) -> None:
    view = plant.look(pose()[None])
    halt = Guard(Safety(), plant, view).seen(replace(view, age=-0.5))
    assert halt is not None
    assert "future" in halt.reason


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


ALONG = Says(lambda k: (0.05, 0, 0, 0, 0, 0))


FREEZES_AT = 8


class Stuck(WrappedPlant):
    """The image stays as it was, but for what a function makes of it; the camera moves on."""

    def __init__(self, plant: FlyingCameras, change: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__(plant)
        self.change, self.steps, self.kept = change, 0, torch.zeros(0)

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        self.steps += 1
        assert view.image is not None
        if self.steps < FREEZES_AT:
            self.kept = view.image
            return view, applied
        return replace(view, image=self.change(self.kept.clone(), self.steps)), applied


def one_pixel(image: Tensor, step: int) -> Tensor:
    image[..., 0, 0] = 0.5 * (step % 2)
    return image


def noise(image: Tensor, step: int) -> Tensor:
    return image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("change", [one_pixel, noise])
@pytest.mark.parametrize(
    ("law", "most"),
    [
        (ALONG, 0.25),
        (Says(lambda k: (0.015, 0, 0, 0, 0, 0)), 0.4),
        (Says(lambda k: (0.004, 0, 0, 0, 0, 0)), 0.7),
        (Says(lambda k: (0, 0, 0, 0, 0, 0.17)), 0.4),
        (Says(lambda k: (0, 0, 0.04, 0, 0.1, 0)), 0.3),
    ],
    ids=["along x", "slowly", "very slowly", "about the axis", "mixed"],
)
def test_an_image_that_does_not_move_is_frozen_whatever_flickers_in_it(
    plant: FlyingCameras, change: Any, law: Says, most: float
) -> None:
    trajectory = run(Stuck(plant, change), law)
    # all other pixels are equal to the bit: that is seen as soon as it may be
    words, most = ("", 0.3) if change is one_pixel else ("it has not moved", most)
    assert f"frozen image: {words}" in trajectory.reason[0]
    assert FREEZES_AT + 0.2 / plant.dt <= len(trajectory.twist) <= FREEZES_AT + most / plant.dt + 2


@pytest.mark.parametrize("sigma", [0.0, 0.01], ids=["equal pixels", "noise"])
@pytest.mark.parametrize("late", [3, 100], ids=["a camera three frames late", "a frozen one"])
def test_a_robot_that_stood_is_not_frozen_when_it_begins_to_move(plant: FlyingCameras, sigma: float, late: int) -> None:
    """A robot stood while its law looked for the goal; the frames of its first motion, not yet in the image, were 'frozen for 0.26 s of motion'."""
    watch, noise, began, found = ImageWatch(Safety()), torch.Generator().manual_seed(1), 25, []
    for k in range(50):
        T = [pose(0.004 * max(0, j - began), 0, 0, 0, 0, 0) for j in (k, k - late)]
        image = plant.look(T[1][None]).image
        assert image is not None
        seen = image[0] + sigma * torch.randn(image[0].shape, generator=noise)
        if watch.look(seen, CAMERA, 0.04 * k, T[0]) is not None:
            found.append(k)
            break
    if late == 3:
        assert not found
    else:  # 0.25 s of motion, and not before
        assert 0.25 <= (found[0] - began) * 0.04 <= 0.45


@pytest.mark.parametrize("nearer", [0.7, 1.0, 1.4])
def test_a_shift_and_a_turn_that_cancel_each_other_are_no_frozen_image(nearer: float) -> None:
    """Of a robot that goes around what it looks at, which is not quite as far away as assumed."""
    scene, camera = Scene.from_photo(PHOTO, 1.0), CAMERA.resized(112)
    plant = FlyingCameras(scene, camera)
    true, assumed = pose(0, 0, 0.6 - 0.6 * nearer, 0, 0, 0), pose()
    watch = ImageWatch(Safety())
    v = torch.tensor([0.02, 0, 0, 0, -0.02 / (0.6 * nearer), 0], dtype=torch.float64)
    noise = torch.Generator().manual_seed(1)
    for k in range(50):
        step = lie.exp(v * 0.04 * k)
        view = plant.look((true @ step)[None])
        assert view.image is not None
        image = view.image[0] + 0.01 * torch.randn(view.image[0].shape, generator=noise)
        assert watch.look(image, camera, 0.04 * k, assumed @ step) is None


class Drifting(WrappedPlant):
    """A camera that is carried away, whatever is commanded, from a step on; it may measure its pose."""

    def __init__(self, plant: FlyingCameras, drift: tuple[float, ...], measures: bool) -> None:
        super().__init__(plant)
        self.drift, self.measures, self.steps = torch.tensor([drift], dtype=torch.float64), measures, 0

    def _told(self, view: View) -> View:
        return view if self.measures else replace(view, T_wc=None)

    def reset(self, start: Tensor | None) -> View:
        return self._told(self.plant.reset(start))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.steps += 1
        view, _ = self.plant.step(v + self.drift if self.steps > 10 else v)
        return self._told(view), v


@pytest.mark.parametrize("measures", [True, False])
@pytest.mark.parametrize("law", [Says(lambda k: (0.004, 0, 0, 0, 0, 0)), ALONG], ids=["next to still", "moving"])
def test_a_motion_that_nobody_commanded_ends_the_run(plant: FlyingCameras, measures: bool, law: Says) -> None:
    drifting = Drifting(plant, (0.0, 0.2, 0.0, 0.0, 0.0, 0.0), measures)
    trajectory = run(drifting, law, config=replace(CONFIG, settle_v=1e-9))
    words = "does not move as commanded" if measures else "moves otherwise than commanded"
    assert words in trajectory.reason[0] or "changed otherwise" in trajectory.reason[0]
    assert len(trajectory.twist) <= 10 + 0.5 / plant.dt


def test_a_robot_that_stays_behind_its_commands_ends_the_run(plant: FlyingCameras) -> None:
    class Blocked(WrappedPlant):
        def step(self, v: Tensor) -> tuple[View, Tensor]:
            return self.plant.step(torch.zeros_like(v))[0], v

    trajectory = run(Blocked(plant), Says(lambda k: (0.5, 0, 0, 0, 0, 0)))
    assert "frozen" in trajectory.reason[0] or "does not move as commanded" in trajectory.reason[0]


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


class Counting(WrappedPlant):
    """Counts which of its images somebody still holds."""

    def __init__(self, plant: FlyingCameras) -> None:
        super().__init__(plant)
        self.images: list[weakref.ref[Tensor]] = []
        self.held: list[int] = []

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, applied = self.plant.step(v)
        assert view.image is not None
        self.images.append(weakref.ref(view.image))
        self.held.append(sum(image() is not None for image in self.images))
        return view, applied


def test_a_long_run_keeps_no_images(plant: FlyingCameras) -> None:
    counting = Counting(plant)
    trajectory = run(counting, config=replace(CONFIG, max_iterations=40, settle_v=1e-12, settle_w=1e-12))
    assert trajectory.reason == ["iterations"]
    assert len(counting.held) >= 40
    assert max(counting.held) <= 4, "the one that is seen, the last one and the first of equal ones"


def test_iterations_without_a_velocity_do_not_begin_the_time_without_progress_again(plant: FlyingCameras) -> None:
    """One in ten has none, as of a law with half of its overlap: the limit was never reached."""
    around = Says(
        lambda k: (0.05 * math.cos(k / 6), 0.05 * math.sin(k / 6), 0, 0, 0, 0),
        lambda k: "too few matches" if k % 10 == 9 else "",
    )
    trajectory = run(plant, around, Safety(no_progress=2.0))
    assert "no progress for 2 s" in trajectory.reason[0]
    assert 2.0 <= len(trajectory.twist) * plant.dt < 3.0
