from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auto_helpers import LAW, apart, dots, offset, square_on, starts
from poses_helpers import ask
from siame_se3.errors import InputError, LawError
from siame_se3.files import BUNDLED_MODELS, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography
from siame_se3.images.blur import gaussian_blur
from siame_se3.laws.auto import Auto
from siame_se3.laws.guesses import Guesses
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.neural import Neural
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import View, check_law
from siame_se3.networks.checkpoint import load
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo


@pytest.mark.slow
def test_law_keeps_the_houses_promises(plant: FlyingCameras) -> None:
    """At the goal the leading guess may be one of matched points, whose alignment ends at a step below 1e-4: near zero, not at it."""
    T_wd, T_wc = starts(2, plant)
    check_law(LAW, plant.look(T_wd), plant.look(T_wc), zero_at_goal=1e-5)


@pytest.mark.slow
def test_one_step_leads_to_the_goal(plant: FlyingCameras) -> None:
    """In the image to 2 % of the way and a pixel; in space to 2 % of the distance and 1.2 deg, as a shift and a tilt look much alike."""
    T_wd, T_wc = starts(12, plant)
    half = overlap(plant.camera, T_wd, T_wc) > 0.5
    T_wd, T_wc = T_wd[half], T_wc[half]
    assert len(T_wd) >= 6
    output = ask(LAW, plant.look(T_wd), plant.look(T_wc))
    assert output.faults == ("",) * len(T_wd)
    expected = pbvs_velocity(lie.inverse(T_wd) @ T_wc)
    led = T_wc @ lie.pose_from_vector(output.v)
    before, after = apart(plant.camera, T_wd, T_wc), apart(plant.camera, T_wd, led, T_wc)
    assert float(before.mean()) > 30
    assert float((after / before).max()) < 0.02
    assert float(after.max()) < 0.7
    wrong = output.v - expected
    assert float(wrong[:, :3].norm(dim=1).max()) < 0.02 * 0.6
    assert float(wrong[:, 3:].norm(dim=1).max()) < 0.02
    assert output.confidence is not None
    assert float(output.confidence.min()) > LAW.threshold


def test_without_the_desired_pose_the_plane_is_taken_square_on(plant: FlyingCameras) -> None:
    goal, T_wc = plant.look(square_on(1)), square_on(1) @ offset(0.05, -0.04, 0.05, 0.1, 0.1, 0.3)
    view = plant.look(T_wc)
    expected = pbvs_velocity(lie.inverse(square_on(1)) @ T_wc)
    for factor, blind in ((1.0, replace(goal, T_wc=None)), (0.5, replace(goal, T_wc=None, depth=torch.tensor([0.3])))):
        v = ask(LAW, blind, view).v
        torch.testing.assert_close(v[:, :3], factor * expected[:, :3], rtol=0, atol=0.01)
        torch.testing.assert_close(v[:, 3:], expected[:, 3:], rtol=0, atol=0.01)


def test_another_scene_is_a_fault_that_names_the_confidence(goal: View, scene: Scene, plant: FlyingCameras) -> None:
    output = ask(LAW, goal, FlyingCameras(scene, plant.camera).look(square_on(1)))
    assert output.confidence is not None
    score = float(output.confidence[0])
    assert score < LAW.threshold
    assert output.faults == (f"not sure where the goal is ({score:.2f} of 0.3)",)
    assert bool((output.v == 0).all())


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.0, "no contrast"), (0.5, "no contrast"), (math.nan, "not finite"), (math.inf, "not finite")],
)
def test_an_image_of_nothing_is_a_fault(goal: View, here: View, value: float, message: str) -> None:
    """The other run goes on."""
    assert goal.image is not None
    assert here.image is not None
    two = View(goal.image.repeat(2, 1, 1, 1), camera=goal.camera, depth=torch.tensor([0.6, 0.6]))
    images = here.image.repeat(2, 1, 1, 1)
    images[0] = value
    output = ask(LAW, two, View(images, camera=goal.camera))
    assert message in output.faults[0]
    assert output.faults[1] == ""
    assert bool((output.v[0] == 0).all())
    assert float(output.v[1].norm()) > 0.05


def test_a_goal_image_of_nothing_is_a_fault(here: View) -> None:
    assert here.image is not None
    output = ask(LAW, replace(here, image=torch.zeros_like(here.image)), here)
    assert output.faults[0]
    assert bool((output.v == 0).all())


def test_what_a_law_cannot_use_is_refused(goal: View, plant: FlyingCameras) -> None:
    law, state = LAW.aim(goal)
    with pytest.raises(LawError, match=r"auto: an image of 112 x 112 px, the goal image's camera has 224 x 224"):
        law(FlyingCameras(plant.scene, plant.camera.resized(112)).look(square_on(1)), state)
    with pytest.raises(LawError, match=r"auto: 2 views for 1 goals"):
        law(plant.look(square_on(2)), state)
    with pytest.raises(LawError, match=r"auto: the view has no image"):
        law(View(T_wc=square_on(1)), state)
    with pytest.raises(LawError, match="camera") as error:
        LAW.aim(replace(goal, camera=None))
    assert error.value.settings == ("camera",)
    with pytest.raises(LawError, match="no image"):
        LAW.aim(replace(goal, image=None))


@pytest.mark.parametrize("options", [{"threshold": math.nan}, {"threshold": 1.5}, {"again": 0}, {"Z": 0.0}], ids=str)
def test_settings_that_are_no_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Auto(**options)


@pytest.mark.slow
def test_law_converges(plant: FlyingCameras) -> None:
    T_wd, T_wc = starts(2, plant, seed=5)
    trajectory = servo(plant, LAW, plant.look(T_wd), T_wc, ServoConfig(gain=10, max_iterations=60))
    distance, angle = trajectory.error_norms
    assert float(distance[0].min()) > 0.02
    assert set(trajectory.reason) == {"settled"}
    assert float(distance[-1].max()) < 1e-4
    assert float(angle[-1].max()) < math.radians(0.02)


# scenes that repeat themselves


@pytest.mark.parametrize("mark", [True, False], ids=["border", "no-border"])
def test_a_grid_upside_down_is_not_the_goal_where_its_border_shows_it(mark: bool, plant: FlyingCameras) -> None:
    camera = FlyingCameras(dots(mark), plant.camera)
    turn = offset(0, 0, 0, 0, 0, math.pi)
    output = ask(LAW, camera.look(square_on(1)), camera.look(square_on(1) @ turn))
    assert output.faults == ("",)
    angle = float(output.v[0, 3:].norm())
    assert angle == pytest.approx(math.pi if mark else 0.0, abs=0.02)


# the network


class Turner:
    """A network that knows how the goal lies, when it has the image upright: it gives the rest of the motion."""

    name = "turner"
    image_size = 224

    def __init__(self, v: Tensor) -> None:
        self.v, self.asked = v, 0

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :4]

    def step(self, images: Tensor, s_desired: Tensor) -> Tensor:
        self.asked += 1
        return self.v.expand(len(images), 6).float()

    def between(self, images: Tensor, s_desired: Tensor) -> Tensor | None:
        return None


def test_a_networks_guesses_of_turned_images_are_turned_back(plant: FlyingCameras, goal: View) -> None:
    """What the network says of the image turned by k quarter turns is what a camera turned so would see."""
    T_cd = offset(0.03, -0.02, 0.04, 0.05, -0.1, 0.2)
    engine = Turner(lie.vector_from_pose(T_cd)[None])
    law, state = Auto(Neural(engine)).aim(goal)
    assert goal.image is not None
    guesses = Guesses(law.controller.network, plant.camera, state.goals, state.network)  # type: ignore[attr-defined]  # of this law
    asked = guesses._asked_of_network([0], goal.image, (0, 1, 2, 3))[0]
    assert engine.asked == len(asked) == 4
    for k, H in enumerate(asked):
        # torch.rot90 turns the image counterclockwise: so does a camera that turns clockwise
        T_wc = square_on() @ lie.inverse(T_cd) @ offset(0, 0, 0, 0, 0, -k * math.pi / 2)
        rolled = torch.rot90(plant.look(T_wc[None]).image[0], k, (-2, -1))  # type: ignore[index]
        upright = plant.look((square_on() @ lie.inverse(T_cd))[None]).image[0]  # type: ignore[index]
        assert float((rolled - upright).abs().mean()) < 0.01
        expected = homography(plant.camera, T_wc, square_on()).numpy()
        np.testing.assert_allclose(H / H[2, 2], expected / expected[2, 2], atol=1e-4)


def test_a_networks_guess_leads_where_it_is_the_only_one(
    plant: FlyingCameras, goal: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.laws import hypotheses

    T_wc = square_on(1) @ offset(0.1, -0.05, 0.03, 0.05, -0.05, 1.9)
    monkeypatch.setattr(hypotheses, "by_search", lambda *args: [])
    monkeypatch.setattr(hypotheses, "from_matches", lambda *args: iter(()))
    monkeypatch.setattr(hypotheses, "by_votes", lambda *args: [])
    view = plant.look(T_wc)
    alone = ask(LAW, goal, view)
    assert "not sure" in alone.faults[0]
    expected = pbvs_velocity(lie.inverse(square_on(1)) @ T_wc)
    engine = Turner(expected + 0.03)
    output = ask(Auto(Neural(engine)), goal, view)
    assert engine.asked
    places = [T_wc @ lie.pose_from_vector(v) for v in (engine.v, output.v)]
    before, after = (float(apart(plant.camera, square_on(1), T, T_wc)) for T in places)
    assert after < 1 < 3 < before


@pytest.mark.parametrize("name", ["auto", "handoff"])
def test_by_name_it_has_the_bundled_network_for_any_scene(name: str) -> None:
    made = controller_for(name, None, "torch")
    if name == "handoff":
        assert isinstance(made, Handoff)
        made = made.coarse
    assert isinstance(made, Auto)
    assert isinstance(made.network, Neural)
    assert made.network.unit_distance > 0


def test_a_goal_of_plain_surfaces_is_said_before_anything_moves(plant: FlyingCameras) -> None:
    """An edge agrees with itself wherever the camera is along it: such a run used to wander off, sure of its place."""
    texture = torch.full((3, 300, 400), 0.2)
    texture[:, :, 200:] = 0.8
    camera = FlyingCameras(Scene(texture, 4.0, 3.0, "edge"), plant.camera)
    output = ask(LAW, camera.look(square_on(1)), camera.look(square_on(1) @ offset(0.02, 0.05, 0, 0, 0, 0.1)))
    assert "does not determine the pose" in output.faults[0]
    assert not output.v.any()


def test_a_blurred_image_is_compared_with_a_goal_as_blurred(plant: FlyingCameras, goal: View) -> None:
    """An autofocus that is off by 3 px used to cost a fifth of the score and more."""
    sharp = plant.look(square_on(1) @ offset(0.05, 0.02, 0.03, 0.02, 0.05, 0.2))
    assert sharp.image is not None
    soft = replace(sharp, image=gaussian_blur(sharp.image, torch.tensor([3.0])))
    law, state = LAW.aim(goal)
    (clear, known), (blurred, unsure) = law(sharp, state), law(soft, state)
    assert unsure.held[0].score > 0.9 * known.held[0].score
    torch.testing.assert_close(blurred.v, clear.v, atol=1e-2, rtol=0)


def test_a_network_for_another_field_of_view_gives_no_guesses(plant: FlyingCameras) -> None:
    """The other guesses lead, as without any network."""
    network = Neural.from_model(load(bundled(BUNDLED_MODELS["any-scene"])), "torch")
    tele = FlyingCameras(plant.scene, Camera.from_focal(480, 224))  # type: ignore[arg-type]  # a print
    T_wd, T_wc = square_on(1), square_on(1) @ offset(0.03, -0.02, 0.04, 0.02, -0.03, 0.2)
    target, view = tele.look(T_wd), tele.reset(T_wc)
    with pytest.raises(LawError, match="the model was trained for"):
        network.aim(target)
    with_it, without = (ask(Auto(x), target, replace(view, T_wc=None)) for x in (network, None))
    assert with_it.faults == ("",)
    torch.testing.assert_close(with_it.v, without.v, rtol=0, atol=0)
