"""What a page draws of a run: samples over time, few enough to be sent again and again however long the run is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

NAMES = ("t", "r", "difference", "vx", "vy", "vz", "wx", "wy", "wz", "x", "y", "z")


@dataclass(frozen=True)
class Sample:
    """One moment of a run.

    Attributes:
        seconds: since its start.
        error_t, error_r: distance [mm] and angle [deg] between current and desired camera; NaN where they are not known.
        difference: of the current image from the goal image, root mean square, in grey levels of 0 to 255.
        twist: commanded (v, omega) [cm/s, deg/s].
        position: of the camera [m]; NaN where it is not known.
    """

    seconds: float
    error_t: float = math.nan
    error_r: float = math.nan
    difference: float = math.nan
    twist: tuple[float, ...] = (0.0,) * 6
    position: tuple[float, ...] = (math.nan,) * 3


class Trace:
    """Samples of one run. When they are too many every second one is dropped, and from then on only every second one is kept.

    Args:
        most: samples that are kept.
    """

    def __init__(self, most: int = 400) -> None:
        self._rows: Float[np.ndarray, "most k"] = np.empty((most, 1 + len(NAMES)))
        self.clear()

    def clear(self) -> None:
        """A new run."""
        self._count, self._stride, self._seen = 0, 1, 0
        self.version = getattr(self, "version", 0) + 1  # changes with the samples

    def __len__(self) -> int:
        return self._count

    def add(self, sample: Sample) -> None:
        """One more moment."""
        self._seen += 1
        if (self._seen - 1) % self._stride:
            return
        if self._count == len(self._rows):
            half = self._rows[::2].copy()
            self._rows[: len(half)] = half
            self._count, self._stride = len(half), 2 * self._stride
        values = (sample.error_t, sample.error_r, sample.difference, *sample.twist, *sample.position)
        self._rows[self._count] = (sample.seconds, *values)
        self._count += 1
        self.version += 1

    @property
    def seconds(self) -> Float[np.ndarray, "n"]:
        """Of each sample, since the start."""
        return self._rows[: self._count, 0].copy()

    def column(self, name: str) -> Float[np.ndarray, "n"]:
        """Values of one of NAMES."""
        return self._rows[: self._count, 1 + NAMES.index(name)].copy()

    @property
    def path(self) -> Float[np.ndarray, "n 3"]:
        """Positions [m], those that are known."""
        positions = self._rows[: self._count, -3:].copy()
        return positions[np.isfinite(positions).all(1)]
