"""A robot whose goal is searched for beside the loop: it goes on by what it follows, and stands where it follows nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.auto import Auto
from siame_se3.laws.goals import Estimate
from siame_se3.laws.guesses import Answer, Guesses
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.looks import AFTER, Look
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene

LAW = Auto(None)
DT = 0.04


@pytest.fixture(scope="module")
def plant() -> FlyingCameras:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    return FlyingCameras(Scene.from_photo(photo, 1.0), Camera.from_focal(300, 224))


def away(share: float = 1.0) -> Tensor:
    """A camera at this share of the way from the goal to a start."""
    T = torch.eye(4, dtype=torch.float64)[None].repeat(1, 1, 1)
    T[0, 2, 3] = -0.6
    xi = torch.tensor([0.05, -0.04, 0.03, 0.05, 0.04, 0.3], dtype=torch.float64)
    return T @ lie.pose_from_vector(share * xi)


def view_at(plant: FlyingCameras, share: float, time: float | None) -> View:
    return replace(plant.look(away(share)), T_wc=None, time=time)


def T_cd_at(share: float) -> np.ndarray:
    return (lie.inverse(away(share)) @ away(0.0))[0].numpy()


class Searches:
    """In the place of `Guesses.best`: counts, waits until it may go on, and finds what it is told."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.found = Estimate(None, -1.0, "points")

    def __call__(self, guesses: Any, runs: list[int], *args: Any) -> dict[int, Answer]:
        self.threads.append(threading.current_thread().name)
        assert self.go.wait(10)
        return dict.fromkeys(runs, Answer(self.found, 0.0))


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Searches]:
    found = Searches()
    monkeypatch.setattr(Guesses, "best", lambda *args: found(*args))
    yield found
    found.go.set()


def begun(plant: FlyingCameras, searches: Searches, time: float | None = 10.0) -> tuple[Any, Any]:
    """A law after its first view, at which the goal was found."""
    law, state = LAW.aim(plant.look(away(0.0)))
    searches.found = Estimate(T_cd_at(1.0), 0.9, "points", support=20.0)
    output, state = law(view_at(plant, 1.0, time), state)
    assert output.faults == ("",)
    assert searches.threads == [threading.current_thread().name]  # a robot that has not begun stands: at once
    searches.threads.clear()
    return law, state


def due(state: Any) -> Any:
    return replace(state, since=(LAW.again,))


def test_a_robot_goes_on_while_its_goal_is_searched_for(plant: FlyingCameras, searches: Searches) -> None:
    law, state = begun(plant, searches)
    searches.go.clear()  # the search does not end
    state = due(state)
    for k in range(1, round(AFTER / DT)):
        output, state = law(view_at(plant, 1 - 0.01 * k, 10 + DT * k), state)
        assert output.faults == ("",)
        assert np.abs(state.last[0] - T_cd_at(1 - 0.01 * k)).max() < 0.006
    assert [name.rpartition("_")[0] for name in searches.threads] == ["siame look"]  # once, beside the loop
    assert state.looks[0] is not None


def test_what_was_found_in_an_earlier_image_leads_in_the_later_one(plant: FlyingCameras, searches: Searches) -> None:
    """The law follows a wrong place; the search finds the right one, where it was; meanwhile the robot has moved."""
    law, state = begun(plant, searches)
    wrong = lie.pose_from_vector(torch.tensor([0.01, 0.01, 0, 0, 0, 0.02], dtype=torch.float64)).numpy()
    first = Estimate(wrong @ T_cd_at(1.0), 0.5, "tracked", support=20.0)
    searches.found = Estimate(T_cd_at(1.0), 0.9, "points", support=20.0)
    asked = due(replace(state, held=(first,), began=(None,)))

    def follows(share: float) -> Any:
        place = Estimate(wrong @ T_cd_at(share), 0.5, "tracked", support=20.0)
        return lambda self, *args: place

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(law), "_tracked", follows(1.0))
        _, state = law(view_at(plant, 1.0, 10.0), asked)
        patch.setattr(type(law), "_tracked", follows(0.8))
        _, early = law(view_at(plant, 0.8, 9.99 + AFTER), state)
        assert early.looks[0] is not None  # not heard yet
        output, late = law(view_at(plant, 0.8, 10.01 + AFTER), early)
    assert late.looks[0] is None
    assert output.faults == ("",)
    assert late.held[0].source == "points"
    assert np.abs(late.last[0] - T_cd_at(0.8)).max() < 0.006  # T_cd of then is ten times as far


def test_a_robot_that_follows_nothing_any_more_stands_and_is_looked_for(
    plant: FlyingCameras, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    law, state = begun(plant, searches)
    slipped = Estimate(T_cd_at(1.0), 0.3, "tracked", support=20.0)
    monkeypatch.setattr(type(law), "_tracked", lambda self, *args: slipped)
    output, state = law(view_at(plant, 0.9, 10.04), state)
    assert output.faults == ("not sure where the goal is (it is looked for again)",)
    assert not output.v.any()
    assert searches.threads == []
    searches.found = Estimate(T_cd_at(0.9), 0.9, "points", support=20.0)
    output, state = law(view_at(plant, 0.9, 10.08), state)
    assert searches.threads == [threading.current_thread().name]  # it stands: at once, in this image
    assert output.faults == ("",)
    assert np.array_equal(state.last[0], T_cd_at(0.9))


def test_a_search_of_a_robot_that_has_stopped_since_does_not_count(
    plant: FlyingCameras, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    law, state = begun(plant, searches)
    _, state = law(view_at(plant, 1.0, 10.04), due(state))
    assert state.looks[0] is not None
    monkeypatch.setattr(type(law), "_tracked", lambda self, *args: Estimate(T_cd_at(1.0), 0.1, "tracked"))
    output, state = law(view_at(plant, 0.9, 10.0 + 2 * AFTER), state)
    assert output.faults != ("",)
    assert state.looks[0] is None


def test_a_search_that_fails_is_the_laws_error(plant: FlyingCameras, searches: Searches) -> None:
    law, state = begun(plant, searches)
    look = Look.begin(lambda: 1 / 0, 10.0, T_cd_at(1.0))  # type: ignore[arg-type,return-value]  # fails before it gives anything
    with pytest.raises(ZeroDivisionError):
        law(view_at(plant, 1.0, 10.01 + AFTER), replace(state, looks=(look,)))


def test_cameras_in_simulation_are_never_looked_for_in_a_thread(plant: FlyingCameras, searches: Searches) -> None:
    law, state = begun(plant, searches, None)
    searches.found = Estimate(T_cd_at(0.9), 0.9, "points", support=20.0)
    output, state = law(view_at(plant, 0.9, None), due(state))
    assert searches.threads == [threading.current_thread().name]
    assert output.faults == ("",)
    assert state.looks == (None,)


def test_a_robot_at_a_loss_is_looked_for_at_each_view(plant: FlyingCameras, searches: Searches) -> None:
    law, state = LAW.aim(plant.look(away(0.0)))
    for k in range(4):
        output, state = law(view_at(plant, 1.0, 10 + DT * k), state)
        assert output.faults == ("not sure where the goal is (0.00 of 0.3)",)
        assert len(searches.threads) == k + 1
    black = replace(view_at(plant, 1.0, 10.2), image=torch.zeros(1, 3, 224, 224))
    output, state = law(black, state)
    assert "no contrast" in output.faults[0]
    searches.found = Estimate(T_cd_at(1.0), 0.9, "points", support=20.0)
    output, state = law(view_at(plant, 1.0, 10.24), state)
    assert output.faults == ("",)
    assert set(searches.threads) == {threading.current_thread().name}


def test_a_view_that_waits_keeps_where_the_guess_began(
    plant: FlyingCameras, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What repeats itself explains an image often, and two views of it seldom: also of a robot that is less sure for one view."""
    law, state = begun(plant, searches)
    assert state.began[0] is not None
    state = replace(state, held=(replace(state.held[0], score=0.35),))
    unsure = Estimate(T_cd_at(1.0), 0.3, "tracked")
    assert unsure.confidence < LAW.threshold
    monkeypatch.setattr(type(law), "_tracked", lambda self, *args: unsure)
    output, after = law(view_at(plant, 1.0, 10.04), state)
    assert "looked for again" in output.faults[0]
    assert after.began[0] is state.began[0]


def test_a_handoffs_robot_is_never_searched_for_in_the_loop_while_the_fine_law_moves_it(
    plant: FlyingCameras, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = Handoff(LAW, LightDVS())
    law, state = controller.aim(plant.look(away(0.0)))
    searches.found = Estimate(T_cd_at(0.02), 0.9, "points", support=20.0)
    time = 10.0
    while int(state.stage[0]) == 0:
        _, state = law(view_at(plant, 0.02, time), state)
        time += DT
        assert time < 11
    searches.threads.clear()
    lost = Estimate(T_cd_at(0.02), 0.1, "tracked")
    monkeypatch.setattr(type(law.laws[0]), "_tracked", lambda self, *args: lost)
    for k in range(20):  # it is asked at each eighth
        output, state = law(view_at(plant, 0.02, time + DT * k), state)
        assert int(output.stage[0]) == 1
        assert output.faults == ("",)
    assert searches.threads == []


def test_the_same_images_give_the_same_velocities_however_long_a_search_takes(
    plant: FlyingCameras, searches: Searches
) -> None:
    """A recording is replayed on another machine; here the law follows a wrong place until it hears of the right one."""
    wrong = lie.pose_from_vector(torch.tensor([0.03, 0.02, 0, 0, 0, 0.02], dtype=torch.float64)).numpy()

    def outputs(seconds: float) -> list[tuple[str, Tensor]]:
        searches.threads.clear()
        law, state = begun(plant, searches)
        held = Estimate(wrong @ T_cd_at(1.0), 0.5, "tracked", support=20.0)
        state = due(replace(state, held=(held,), began=(None,)))
        found = []
        searches.go.clear()
        threading.Timer(seconds, searches.go.set).start()
        with pytest.MonkeyPatch.context() as patch:
            for k in range(20):
                patch.setattr(
                    type(law), "_tracked", lambda self, goal, now, held, before: replace(held, source="tracked")
                )
                output, state = law(view_at(plant, 1.0, 10 + DT * k), state)
                assert output.faults == ("",)
                found.append((state.held[0].source, output.v))
        return found

    fast, slow = outputs(0.0), outputs(0.5)
    heard = [source for source, _ in fast].index("points")
    assert heard == pytest.approx(AFTER / DT, abs=1)
    assert float((fast[heard][1] - fast[heard - 1][1]).norm()) > 0.02
    for (source, v), (again, w) in zip(fast, slow, strict=True):
        assert source == again
        torch.testing.assert_close(v, w, rtol=0, atol=0)
