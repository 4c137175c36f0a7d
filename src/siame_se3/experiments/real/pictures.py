"""What a folder of real pictures is once it is read: pictures whose views are known, of a plane or with depth."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera

NEAR = 0.35, 45.0  # pairs of pictures of a plane within this are asked for one step [m, deg]
NEAR_WITH_DEPTH = 0.25, 35.0  # the same where the depth is known
LEAST_WITH_DEPTH = 0.02  # pairs with depth are that far apart at least [m]


@dataclass(frozen=True, eq=False)
class Picture:
    """One.

    Attributes:
        name: of its file.
        rgb: pixels (h, w, 3) uint8, rectified.
        camera: intrinsics.
        T_wc: camera in the scene's frame; where there is a plane, it is z = 0 [m].
        from_plane: homography from points (X, Y, 1) of that plane [m] to pixels; None where the scene is no plane.
        depth: of each pixel (h, w) [m], NaN where it is not known; None for a picture that was taken without.
        digest: of what it was read from, see `digest_of`; '' for a picture of no files.
    """

    name: str
    rgb: np.ndarray
    camera: Camera
    T_wc: Float[Tensor, "4 4"]
    from_plane: np.ndarray | None
    depth: np.ndarray | None = None
    digest: str = ""


@dataclass(frozen=True, eq=False)
class Folder:
    """Pictures of one place.

    Attributes:
        name: of the folder.
        pictures: in its order.
        metric: lengths are true ones, and not by an assumed width and field of view.
        pairs: (goal, current), as places in `pictures`, that are asked for one step.
        worlds: (goal, world) that are asked for closed loops.
        notes: what was left out of it, a line each.
    """

    name: str
    pictures: tuple[Picture, ...]
    metric: bool
    pairs: tuple[tuple[int, int], ...]
    worlds: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    def of_goals(self, names: tuple[str, ...]) -> Folder:
        """Only the pairs whose goal is one of these pictures, named with or without their ending; all where none is named.

        Raises:
            InputError: no picture has such a name, or one that has is no goal of any pair.
        """
        if not names:
            return self
        goals: set[int] = set()
        for name in names:
            named = {k for k, p in enumerate(self.pictures) if name in (Path(p.name).stem, p.name)}
            if not named:
                raise InputError(
                    f"{name}: no picture of folder {self.name}; it has {self._names(self.pictures)}", "goals"
                )
            if not named & set(self.goals):
                there = self._names(self.pictures[k] for k in self.goals)
                raise InputError(
                    f"{name}: a picture of folder {self.name} that is no goal, only seen from others; its goals are {there}",
                    "goals",
                )
            goals |= named
        return self._only(goals)

    @property
    def goals(self) -> list[int]:
        """The pictures that are a goal of any pair, as places in `pictures`."""
        return sorted({goal for goal, _ in (*self.pairs, *self.worlds)})

    def share(self, mine: int, shares: int, first: int = 0) -> Folder:
        """Only the pairs of every `shares`-th goal, those of number `mine`, where the folder's goals are numbered from `first`."""
        return self._only({goal for k, goal in enumerate(self.goals, first) if k % shares == mine})

    def _only(self, goals: set[int]) -> Folder:
        pairs, worlds = (tuple(pair for pair in some if pair[0] in goals) for some in (self.pairs, self.worlds))
        return replace(self, pairs=pairs, worlds=worlds)

    @staticmethod
    def _names(pictures: Iterable[Picture]) -> str:
        return ", ".join(picture.name for picture in pictures)


def name_of(path: Path) -> str:
    """Of a folder as it was given: a link's own name, and not that of what it leads to."""
    return Path(os.path.abspath(path)).name


def digest_of(*parts: Path | str) -> str:
    """A sum of what is in some files, and of texts; wherever the files are.

    Raises:
        InputError: a file that cannot be read.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            own = hashlib.sha256(part.encode(errors="surrogateescape"))
        else:
            try:
                with part.open("rb") as stream:
                    own = hashlib.file_digest(stream, hashlib.sha256)
            except OSError as error:
                raise InputError(f"{part}: cannot be read ({(error.strerror or str(error)).lower()})") from None
        total.update(own.digest())
    return total.hexdigest()[:32]


def between(a: Picture, b: Picture) -> tuple[float, float]:
    """How far two pictures' cameras are apart [m, deg]."""
    return apart(a.T_wc, b.T_wc)


def within(a: Picture, b: Picture) -> bool:
    """Whether two pictures of a plane are near each other."""
    t, r = between(a, b)
    return t <= NEAR[0] and r <= NEAR[1]


def apart(T_wa: Float[Tensor, "4 4"], T_wb: Float[Tensor, "4 4"]) -> tuple[float, float]:
    """How far two cameras are apart [m, deg]."""
    t, r = lie.error_norms(lie.inverse(T_wa) @ T_wb)
    return float(t), math.degrees(float(r))
