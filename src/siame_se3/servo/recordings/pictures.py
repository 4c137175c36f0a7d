"""A few pictures of each run, for its report, whatever its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from siame_se3.images.decode import as_pixels
from siame_se3.laws.types import View
from siame_se3.plants.types import Plant, WrappedPlant
from siame_se3.servo.loop import servo
from siame_se3.servo.recordings.few import Few
from siame_se3.servo.recordings.like_servo import like_servo
from siame_se3.servo.trajectory import Trajectory


class Pictures:
    """Keeps views of one camera, evenly spread over its run, and the goal image; `servo` makes the runs.

    Args:
        run: makes them; `siame_se3.servo.loop.servo`, or what records too.
        most: views that are kept, about.
    """

    def __init__(self, run: Callable[..., Trajectory] = servo, most: int = 5) -> None:
        self._make, self._most = run, most
        self._begin()

    def _begin(self) -> None:
        self._goal: np.ndarray | None = None
        self._few: Few[np.ndarray] = Few(self._most)
        self._last: Tensor | None = None

    @like_servo
    def servo(self, given: dict[str, Any]) -> Trajectory:
        """As `siame_se3.servo.loop.servo`."""
        self._begin()
        target: View = given["target"]
        if target.image is not None:
            self._goal = as_pixels(target.flat().image[0])  # type: ignore[index]  # it has one
        return self._make(**{**given, "plant": _Watched(given["plant"], self.see)})

    def see(self, view: View) -> None:
        """Keep a view, if it is its turn."""
        if view.image is None:
            return
        self._last = last = view.image[0]
        self._few.add(lambda: as_pixels(last))

    def strip(self) -> list[tuple[str, np.ndarray]]:
        """The pictures of the last run, with what they show."""
        if self._last is None:
            return []
        last = self._few.count - 1
        views = [(k, pixels) for k, pixels in self._few.spread() if k != last] + [(last, as_pixels(self._last))]
        found = [(f"iteration {k}" if k else "start", pixels) for k, pixels in views]
        if self._goal is not None:
            found.append(("goal image", self._goal))
            if self._goal.shape == views[-1][1].shape:
                apart = (views[-1][1].astype(np.int16) - self._goal) // 2 + 128
                found.append(("end - goal (grey: equal)", apart.clip(0, 255).astype(np.uint8)))
        return found


class _Watched(WrappedPlant):
    """A plant whose views are shown to somebody."""

    def __init__(self, plant: Plant, see: Callable[[View], None]) -> None:
        super().__init__(plant)
        self._see = see

    def reset(self, start: Tensor | None) -> View:
        """See `Plant`."""
        view = self.plant.reset(start)
        self._see(view)
        return view

    def step(self, v: Tensor) -> tuple[View, Tensor]:
        """See `Plant`."""
        view, applied = self.plant.step(v)
        self._see(view)
        return view, applied
