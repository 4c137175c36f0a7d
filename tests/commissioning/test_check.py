"""Test motions on the arm in MuJoCo, with one thing wrong each."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.commissioning import check, diagnosis
from siame_se3.errors import LawError, RobotError, SiameError
from siame_se3.files import BUNDLED_PHOTO, bundled, progress
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.images.decode import as_pixels
from siame_se3.images.encode import write_picture
from siame_se3.laws.auto import Auto
from siame_se3.laws.light import LightDVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.arm import ArmConfig, ArmPlant
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.servo.safety import Safety

if not all(importlib.util.find_spec(name) for name in ("mujoco", "mink", "daqp")):
    pytest.skip("MuJoCo, mink or daqp are not installed", allow_module_level=True)

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
COLOURED = bundled(BUNDLED_PHOTO)
CAMERA = Camera.from_focal(300, 224)
SMALL = Camera.from_focal(200, 150)  # of the arm
HAND_EYE = (0.04, -0.02, 0.06, 0.05, -0.1, 0.6)
QUICK = check.Motions(seconds=0.28, wait=0.08)
LONGER = check.Motions(seconds=0.24, wait=0.12)
SAFETY = Safety(max_twist=(0.2,) * 3 + (1.0,) * 3, max_change=(5.0,) * 6)


def pose(*vector: float) -> Tensor:
    return lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64))


class Altered(WrappedPlant):
    """The arm as a robot whose images and twists may be changed on their way, and which does not measure its pose."""

    provides = frozenset({"image"})

    def __init__(self, arm: ArmPlant, image: Callable[[Tensor], Tensor], twist: Callable[[Tensor], Tensor]) -> None:
        super().__init__(arm)
        self.image, self.twist = image, twist

    def seen(self, view: View) -> View:
        assert view.image is not None
        return replace(view, image=self.image(view.image), T_wc=None)

    def reset(self, start: Tensor | None) -> View:
        return self.seen(self.plant.reset(start))

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        view, _ = self.plant.step(self.twist(v))
        return self.seen(view), v


def same(x: Tensor) -> Tensor:
    return x


def findings(
    config: dict[str, Any] | None = None,
    image: Callable[[Tensor], Tensor] = same,
    twist: Callable[[Tensor], Tensor] = same,
) -> list[diagnosis.Finding]:
    if config is None:
        return seen_by(sound_arm(), image, twist)
    with contextlib.closing(new_arm(**config)) as arm:
        return seen_by(arm, image, twist)


def new_arm(**config: Any) -> ArmPlant:
    try:
        return ArmPlant(Scene.from_photo(PHOTO), SMALL, ArmConfig(hand_eye=HAND_EYE, gloss=0.2, **config))
    except SiameError as error:
        if "cannot render" in str(error):
            pytest.skip(str(error))
        raise


@functools.cache
def sound_arm() -> ArmPlant:
    """One for all tests that alter nothing about it: it is slow to make."""
    return new_arm()


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    """MuJoCo's imports and the arm are no part of any test's time."""
    sound_arm()


def seen_by(
    arm: ArmPlant, image: Callable[[Tensor], Tensor], twist: Callable[[Tensor], Tensor]
) -> list[diagnosis.Finding]:
    arm.reset(pose(0.02, -0.01, -0.6, 0.05, 0.03, 0.2)[None])
    plant = Altered(arm, image, twist)
    return diagnosis.diagnose(check.move(plant, QUICK, SAFETY), SMALL, 0.6, arm.T_tc)


def wrong(found: list[diagnosis.Finding]) -> str:
    return "; ".join(finding.text for finding in found if finding.wrong)


@pytest.mark.slow
def test_a_sound_robot_is_found_sound() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(image: Tensor) -> Tensor:
        return (image + 0.01 * torch.randn(image.shape, generator=generator)).clamp(0, 1)

    found = findings(image=noisy)
    assert wrong(found) == ""
    assert len(found) == 4


@pytest.mark.slow
def test_swapped_axes_are_found() -> None:
    def swap(v: Tensor) -> Tensor:
        return v[..., [1, 0, 2, 4, 3, 5]]

    assert "axes are swapped: x, y, z of the twist come out as +y, +x, +z" in wrong(findings(twist=swap))


@pytest.mark.slow
def test_an_inverted_axis_is_found() -> None:
    def invert(v: Tensor) -> Tensor:
        return v * v.new_tensor([1.0, 1.0, -1.0, 1.0, 1.0, -1.0])

    assert "axes are inverted: x, y, z of the twist come out as +x, +y, -z" in wrong(findings(twist=invert))


@pytest.mark.parametrize(("axis", "words"), [(-1, "mirrored, left to right"), (-2, "mirrored, upside down")])
@pytest.mark.slow
def test_a_mirrored_image_is_found(axis: int, words: str) -> None:
    assert words in wrong(findings(image=lambda image: image.flip(axis)))


@pytest.mark.slow
def test_a_turned_image_is_found() -> None:
    assert "the camera's axes are turned" in wrong(findings(image=lambda image: image.rot90(1, (-2, -1))))


@pytest.mark.slow
def test_an_inverted_hand_eye_transform_is_found() -> None:
    T_tc = pose(*HAND_EYE)
    error = lie.vector_from_pose(lie.inverse(T_tc) @ lie.inverse(T_tc)).tolist()
    assert "the hand-eye transform is inverted" in wrong(findings({"hand_eye_error": tuple(error)}))


@pytest.mark.slow
@pytest.mark.parametrize("focal", [0.9, 1.1])
def test_a_focal_length_wrong_by_a_tenth_is_found(focal: float) -> None:
    found = wrong(findings({"focal": focal}))
    assert found.startswith("focal length")
    told = float(found.split("about ")[1].split(" px")[0])
    assert told == pytest.approx(200 * focal, rel=0.03)


@pytest.mark.slow
def test_wrong_units_are_found() -> None:
    assert "size of motions: +" in wrong(findings(twist=lambda v: 1.5 * v))


@pytest.mark.slow
def test_another_motion_is_distinguished_from_known_faults() -> None:
    turned = lie.adjoint(pose(0, 0, 0, 0.3, 0.4, 0.3))

    def twist(v: Tensor) -> Tensor:
        return (turned @ v.reshape(6)).reshape(v.shape)

    assert "does not move as commanded" in wrong(findings(twist=twist))


def look(plant_image: Callable[[Tensor], Tensor] = same) -> View:
    from siame_se3.scenes.render import render

    T = pose(0.03, 0.02, -0.5, 0.1, 0.05, 0.4)
    image, _ = render(Scene.from_photo(COLOURED), CAMERA, T[None])
    return View(plant_image(image[0])[None], None, None, CAMERA)


def test_colours(tmp_path: Path) -> None:
    assert not check.colours(look(lambda image: (1.2 * image).clamp(0, 1)), COLOURED).wrong
    swapped = check.colours(look(lambda image: image.flip(0)), COLOURED)
    assert swapped.wrong
    assert "BGR" in swapped.text
    assert "another order: GBR" in check.colours(look(lambda image: image[[1, 2, 0]]), COLOURED).text
    assert "mirrored" in check.colours(look(lambda image: image.flip(-1)), COLOURED).text
    assert (
        "too little colour to compare"
        in check.colours(look(lambda image: image.mean(0, keepdim=True).expand(3, -1, -1)), COLOURED).text
    )
    noise = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert "does not match the photo" in check.colours(View(noise[None], camera=CAMERA), COLOURED).text
    with pytest.raises(SiameError, match="no such photo"):
        check.colours(look(), tmp_path / "no.png")


class Fake:
    """A plant that gives one view, whatever is commanded."""

    provides, dt, camera, T_tc = frozenset({"image"}), 0.04, CAMERA, None

    def __init__(self, view: View, at: int = 0) -> None:
        self.view, self.fault, self.at = view, "", at
        self.moved: list[Tensor] = []

    def reset(self, start: Tensor | None) -> View:
        return self.view

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        self.moved.append(v)
        if len(self.moved) == self.at:
            raise KeyboardInterrupt
        return replace(self.view, fault=self.fault), v

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_stops_and_bare_scenes_are_reported() -> None:
    plant = Fake(View(torch.full((1, 3, 224, 224), 0.5), None, None, CAMERA))
    with pytest.raises(SiameError, match="stopped while moving x: frozen image"):
        check.move(plant, LONGER, SAFETY)
    with pytest.raises(SiameError, match="do not match; is the scene textured"):
        check.move(plant, LONGER, replace(SAFETY, frozen=9.0))
    plant.fault = "protective stop"
    with pytest.raises(SiameError, match="stopped while moving x: protective stop"):
        check.move(plant, LONGER, SAFETY)


def test_nothing_goes_back_by_itself_after_a_stop() -> None:
    plant = Fake(look(), at=5)
    with pytest.raises(SiameError, match="stopped while moving x: Ctrl-C"):
        check.move(plant, QUICK, SAFETY)
    assert all(float(v[0, 0]) >= 0 for v in plant.moved)
    assert float(plant.moved[-1].abs().max()) == 0


def test_the_law_is_asked_for_the_way_and_how_sure_it_is() -> None:
    plant = FlyingCameras(Scene.from_photo(PHOTO), CAMERA)
    goal = pose(0, 0, -0.6, 0, 0, 0)[None]
    seen = replace(plant.look(goal @ pose(0.05, 0, 0, 0, 0, 0.2)), T_wc=None)
    target = replace(plant.look(goal), T_wc=None)
    found = check.law_at(Auto(), target, seen)
    assert not found.wrong
    assert re.match(
        r"the law sees the target [45]\.\d cm and 1[12]\.\d deg away, confidence (0\.9\d|1\.00)", found.text
    )
    other = replace(seen, image=torch.rand(seen.image.shape, generator=torch.Generator().manual_seed(0)))  # type: ignore[union-attr]  # it has one
    lost = check.law_at(Auto(), target, other)
    assert lost.wrong
    assert "not sure where the goal is" in lost.text
    grainy = FlyingCameras(Scene.from_photo(PHOTO), CAMERA, conditions=replace(NONE, noise=0.01)).reset(goal)
    fine = check.law_at(LightDVS(), target, grainy).text
    assert "confidence" not in fine
    assert "pose known to" in fine
    with pytest.raises(LawError, match="needs pose"):
        check.law_at(PBVS(), target, seen)


def test_pictures_are_read_with_their_colours(tmp_path: Path) -> None:
    """The photo is RGB to `colours`, whatever OpenCV makes of the file."""
    cv2.imwrite(str(tmp_path / "swapped.png"), cv2.imread(str(COLOURED))[..., ::-1])
    assert "BGR" in check.colours(look(), tmp_path / "swapped.png").text


def synthetic(focal: float) -> list[diagnosis.Seen]:
    """The motions of a camera with another focal length, without a robot."""
    told = torch.eye(6, dtype=torch.float64) * torch.tensor([0.03] * 3 + [0.07] * 3)[:, None]
    grid = torch.cartesian_prod(torch.arange(20.0, 210, 30), torch.arange(20.0, 210, 30)).numpy().astype(float)
    true = replace(CAMERA, fx=focal * CAMERA.fx, fy=focal * CAMERA.fy)
    start = pose(0, 0, -0.6, 0, 0, 0)
    seen = []
    for v in told:
        H = homography(true, start @ lie.exp(v), start).numpy()
        after = np.concatenate((grid, np.ones((len(grid), 1))), 1) @ H.T
        seen.append(diagnosis.Seen(v, grid, after[:, :2] / after[:, 2:]))
    return seen


@pytest.mark.parametrize(("focal", "status"), [(1.0, 0), (1.1, 1)])
def test_command(
    focal: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = types.SimpleNamespace(
        reset=lambda start: look(),
        stop=lambda: None,
        ask_to_stop=lambda reason: None,
        watch=lambda fault: None,
        camera=CAMERA,
        T_tc=None,
    )
    monkeypatch.setattr("siame_se3.cli.robot.Robot.open", lambda self, closing, depth, safety: (plant, None))
    monkeypatch.setattr("siame_se3.commissioning.check.move", lambda plant, motions, safety, say: synthetic(focal))
    monkeypatch.setattr("builtins.input", lambda question: question)
    monkeypatch.setattr(sys, "argv", ["siame", "check", "--photo", str(COLOURED)])
    with pytest.raises(SystemExit, match=str(status)):
        cli.main()
    out = capsys.readouterr().out
    assert "ok     colours are right" in out
    assert ("WRONG  focal length: +10.0 % of what is assumed; it is about 330 px" in out) == bool(status)
    monkeypatch.setattr(sys, "argv", ["siame", "check", "--rotation", "40"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "--rotation from 1 to 15 deg" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--photo", "--target"])
def test_a_picture_that_is_not_there_is_refused_before_the_robot_is_opened(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 1e6)
    monkeypatch.setattr(
        "siame_se3.cli.robot.Robot.open", lambda self, closing, depth, safety: pytest.fail("it was opened")
    )
    monkeypatch.setattr(sys, "argv", ["siame", "check", option, "none.png"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err == f"siame: none.png: no such file; give a picture ({option})\n"


def test_a_motion_that_is_stopped_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: Any) -> list[diagnosis.Seen]:
        raise RobotError("check: stopped while moving x: stop was asked for")

    monkeypatch.setattr(progress, "PATIENCE", 1e6)
    plant = types.SimpleNamespace(
        stop=lambda: None, ask_to_stop=lambda reason: None, watch=lambda fault: None, camera=CAMERA, T_tc=None
    )
    monkeypatch.setattr("siame_se3.cli.robot.Robot.open", lambda self, closing, depth, safety: (plant, None))
    monkeypatch.setattr("siame_se3.commissioning.check.move", stopped)
    monkeypatch.setattr(sys, "argv", ["siame", "check", "--yes"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == "siame: check: stopped while moving x: stop was asked for\n"


def test_command_asks_the_law_before_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = look()
    assert seen.image is not None
    write_picture(tmp_path / "target.png", as_pixels(seen.image[0]))
    plant = types.SimpleNamespace(
        reset=lambda start: seen,
        stop=lambda: None,
        ask_to_stop=lambda reason: None,
        watch=lambda fault: None,
        camera=CAMERA,
        camera_source=types.SimpleNamespace(sensor=CAMERA),
        T_tc=None,
    )
    monkeypatch.setattr("siame_se3.cli.robot.Robot.open", lambda self, closing, depth, safety: (plant, None))
    monkeypatch.setattr("siame_se3.commissioning.check.move", lambda plant, motions, safety, say: synthetic(1.0))
    arguments = ["siame", "check", "--yes", "--target", str(tmp_path / "target.png"), "--law"]
    monkeypatch.setattr(sys, "argv", [*arguments, "dvs-light"])
    with contextlib.suppress(SystemExit):
        cli.main()
    assert "ok     the law sees the target 0.0 cm and 0.0 deg away; pose known to" in capsys.readouterr().out
    for law, words in (("pbvs", "needs the simulator's poses"), ("neural", "give --model FILE")):
        monkeypatch.setattr(sys, "argv", [*arguments, law])
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        assert words in capsys.readouterr().err
