"""Alignment at a camera's rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
import torch

from align_helpers import DEPTH, OPTICS, errors, motion, noisy, reference, seen
from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_live import Summary, Tracker
from siame_se3.commissioning.align_picture import Picture
from siame_se3.commissioning.align_words import Judge, Tolerance
from siame_se3.images.decode import as_image
from siame_se3.scenes.planar import Scene

JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(5e-3, math.radians(0.5)))


class Later(Executor):
    """Does its work when it is told."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.work: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.work.append((future, lambda: function(*args)))
        if self.at_once:
            self.run()
        return future

    def run(self) -> None:
        for future, function in self.work:
            future.set_result(function())
        self.work.clear()


def frames(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Motions that go home, and what is seen."""
    way = [motion(0.03 * s, -0.01 * s, 0, 0, 0.02 * s, 0.1 * s) for s in [*np.linspace(1, 0, count), 0, 0, 0]]
    return [(T, noisy(seen(T), 0.01, seed=k)) for k, T in enumerate(way)]


def test_a_film_is_followed_home() -> None:
    with Tracker(reference(), waits=True, every=1000, pool=Later(at_once=True)) as tracker:
        for T_dc, pixels in frames(12):
            found = tracker.step(Picture.of(pixels, OPTICS))
            assert not found.doubt
            t, r = errors(found, T_dc)
            assert t < 4
            assert r < 0.4
    assert t < 0.5, "at home it is exact"


def test_lost_and_found_again() -> None:
    """A film waits for the whole look; what shows nothing of the reference is said at once."""
    (_, first), *_, (T_dc, last) = frames(5)
    with Tracker(reference(), waits=True) as tracker:
        assert tracker.step(Picture.of(first, OPTICS)).T_cd is not None
        assert tracker.step(Picture.of(np.full_like(first, 9), OPTICS)).doubt
        assert errors(tracker.step(Picture.of(last, OPTICS)), T_dc)[0] < 2


def test_a_camera_does_not_wait() -> None:
    """Frames pass while a whole look is under way, and are followed once it is done."""
    now, pool = Picture.of(seen(), OPTICS), Later()
    with Tracker(reference(), pool=pool) as tracker:
        assert [tracker.step(now).T_cd for _ in range(3)] == [None] * 3
        assert len(pool.work) == 1, "one look at a time"
        pool.run()
        assert tracker.step(now).T_cd is not None


def test_how_sure_it_is_comes_from_the_whole_look() -> None:
    (_, far), *_, (_, near) = frames(3)
    pool = Later(at_once=True)
    with Tracker(reference(), waits=True, every=1, pool=pool) as tracker:
        first = tracker.step(Picture.of(far, OPTICS)).sigmas[0]
        found = [tracker.step(Picture.of(near, OPTICS)) for _ in range(2)][-1]
    assert 0 < found.sigmas[0] < first


def test_an_error_in_the_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Alignment:
        raise ArithmeticError("in the thread")

    monkeypatch.setattr(type(reference()), "locate", fails)
    with Tracker(reference(), waits=True) as tracker, pytest.raises(ArithmeticError, match="in the thread"):
        tracker.step(Picture.of(seen(), OPTICS))


def test_summary() -> None:
    summary = Summary(JUDGE)
    assert summary.text() == "no frames"
    assert summary.rate == 0
    home = Alignment(np.eye(4), 1e-9 * np.eye(6), 0.9, 1.0, "m")
    for k in range(11):
        summary.add(home if k > 4 else Alignment.unknown("lost", "m"), 0.04 * k)
    assert summary.rate == pytest.approx(25)
    lines = summary.text().splitlines()
    assert lines[0] == "11 frames in 0.4 s (25 a second): right in 55 %, move in 0 %, not sure in 45 %"
    assert lines[1].startswith("at the end: right: within 2 mm")


def test_a_films_end_does_not_depend_on_how_fast_looks_are() -> None:
    """The last frame is looked at whole: what an earlier look knew of it was too little to call it right."""
    pool = Later()
    with Tracker(reference(), pool=pool) as tracker:
        for k, (_, pixels) in enumerate(frames(6)):
            last = Picture.of(pixels, OPTICS)
            tracker.step(last)
            if k == 1:
                pool.run()  # the only look that ends in time
        pool.at_once = True
        pool.run()
        found, summary = tracker.last(last), Summary(JUDGE)
    summary.add(found, 0.0)
    summary.end(found)
    assert JUDGE.verdict(found)[0].value == "right"
    assert "at the end: right" in summary.text()


def tiles(period: int) -> Scene:
    """A print that nearly looks like itself, moved by `period` mm: tiles, each of which has marks of its own."""
    y, x = np.mgrid[0:880, 0:1120]
    dot = (y % period - period // 2) ** 2 + (x % period - period // 2) ** 2 < period**2 / 13
    own = torch.rand(1, 1, 44, 56, generator=torch.Generator().manual_seed(1))
    own = torch.nn.functional.interpolate(own, (880, 1120), mode="bicubic").clamp(0, 1)[0, 0]
    grey = 0.4 * np.where(dot, 40, 230) + 0.6 * 255 * own.numpy()
    return Scene(as_image(np.repeat(grey.astype(np.uint8)[..., None], 3, 2)), 1.12, 0.88, "tiles")


@pytest.mark.parametrize("at_once", [True, False], ids=["in the same frame", "in a later frame"])
def test_a_camera_that_is_knocked_by_a_period_of_what_it_sees(at_once: bool) -> None:
    """It is tracked to the wrong tile; the whole look, which knows better, corrects that."""
    T_dc, scene, pool = motion(0.048, 0, 0, 0, 0, 0), tiles(48), Later(at_once=True)
    before, after = (Picture.of(noisy(seen(T, scene), 0.01), OPTICS) for T in (None, T_dc))
    with Tracker(Reference.of(before, DEPTH), every=3, pool=pool) as tracker:
        for _ in range(2):
            tracker.step(before)
        pool.at_once = at_once
        wrong = tracker.step(after)
        assert errors(wrong, T_dc)[0] > 40
        found = tracker.step(after)
        if not at_once:
            assert errors(found, T_dc)[0] > 40, "nothing has said so yet"
            pool.run()
            found = tracker.step(after)
    assert not found.doubt
    assert found.confidence > 0.9
    assert errors(found, T_dc)[0] < 1
