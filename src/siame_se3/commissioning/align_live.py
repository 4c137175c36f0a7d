"""The same at a camera's rate: each frame is tracked from the last one on small copies; the whole of `align` looks at a frame now and then, beside it.

What the tracking says is where the camera is now. How sure that is, and whether it is the right place at all, is what the last whole look says; where
that finds another place in the frame than the tracking did, the tracking goes on from there.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from siame_se3.commissioning.align import AGREE, LEAST, Alignment, Reference, agreement
from siame_se3.commissioning.align_blocks import found_blocks, resizing
from siame_se3.commissioning.align_fit import Solution, fitted
from siame_se3.commissioning.align_picture import Picture
from siame_se3.commissioning.align_views import TwoViews
from siame_se3.commissioning.align_words import Judge, Verdict
from siame_se3.laws.alignment import verified
from siame_se3.laws.hypotheses import different
from siame_se3.laws.templates import Pyramid

SIDE = 320  # of pictures that are tracked [px]
_BLOCK = 27  # [px]
_LEVELS, _ROUNDS, _STEPS = (1, 1, 0), 1, 4
_RATED = 30  # frames of which the rate is that shown
_REST = 10  # frames between two whole looks, at least
_EVERY = 45  # frames from one whole look to the next, at least


@dataclass
class Summary:
    """Of all frames of a live alignment.

    Attributes:
        judge: what alignments mean.
    """

    judge: Judge
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATED))
    _began: float = math.nan
    _counts: Counter[Verdict] = field(default_factory=Counter)
    _last: Alignment | None = None

    def add(self, found: Alignment, when: float) -> None:
        """A frame's alignment, and when it was there [s]."""
        if not self._times:
            self._began = when
        self._times.append(when)
        self._counts[self.judge.verdict(found)[0]] += 1
        self._last = found

    def end(self, found: Alignment) -> None:
        """The last frame's alignment, looked at again."""
        if self._last is not None:
            self._counts[self.judge.verdict(self._last)[0]] -= 1
            self._counts[self.judge.verdict(found)[0]] += 1
        self._last = found

    @property
    def rate(self) -> float:
        """Frames a second, of the last ones."""
        some = self._times
        return (len(some) - 1) / max(some[-1] - some[0], 1e-9) if len(some) > 1 else 0.0

    def text(self) -> str:
        """In lines."""
        n = self._counts.total()
        if self._last is None:
            return "no frames"
        took = self._times[-1] - self._began
        rate = f" in {took:.1f} s ({(n - 1) / took:.0f} a second)" if took > 0 else ""
        shares = ", ".join(f"{verdict.value} in {100 * self._counts[verdict] / n:.0f} %" for verdict in Verdict)
        return f"{n} frame{'s' * (n > 1)}{rate}: {shares}\nat the end: {self.judge.sentence(self._last)}"


class Tracker:
    """Follows the reference through the frames of a camera.

    Args:
        reference: what is looked for.
        waits: where the reference is lost, or the last whole look says too little, the next one is waited for: for a video, whose frames do not run away.
            Else frames pass meanwhile.
        every: frames from one whole look to the next.
        pool: where whole looks are made, beside the tracking; default: a thread.
    """

    def __init__(
        self, reference: Reference, waits: bool = False, every: int = _EVERY, pool: Executor | None = None
    ) -> None:
        self.reference = reference
        self._small = reference.reduced(SIDE)
        self._pool = pool or ThreadPoolExecutor(1, "siame align")
        self._waits, self._every = waits, every
        self._looking: Future[Alignment] | None = None
        self._looked_from: np.ndarray | None = (
            None  # where the frame that is looked at was tracked to, as `Alignment.H`
        )
        self._looked = Alignment.unknown("not looked yet", reference.unit)
        self._last: Solution | None = None
        self._frame, self._due = 0, 0

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def step(self, now: Picture) -> Alignment:
        """Where the reference's camera is beside this frame's."""
        small = now.reduced(SIDE)
        views = self._small.beside(small)
        self._hear(wait=False)
        found = self._tracked(small, views)
        for _ in range(2 if self._waits and found is None else 0):  # a look that is under way was at an earlier frame
            self._look(now, small, views)
            self._hear(wait=True)
            found = self._tracked(small, views)
            if found is not None:
                break
        nearer = found is not None and self._nearer(found)
        if found is None or self._frame >= self._due or nearer:
            self._look(now, small, views)
            if self._hear(wait=self._waits and nearer):
                found = self._tracked(small, views)
        self._frame += 1
        if found is not None:
            return replace(found, covariance=self._looked.covariance, doubt=self._looked.doubt)
        return self._looked if self._looked.doubt else Alignment.unknown("looking for it", self.reference.unit)

    def last(self, now: Picture) -> Alignment:
        """Of a video's last frame, which does not run away, looked at whole: what it says does not depend on how fast looks are."""
        small = now.reduced(SIDE)
        views = self._small.beside(small)
        for _ in range(2):  # one that is under way was at an earlier frame
            self._look(now, small, views)
            self._hear(wait=True)
        return self._looked

    def _nearer(self, found: Alignment) -> bool:
        """Whether the motion that is left is half of what it was at the last whole look, which says too little of it now."""
        then, now = self._looked.motion, found.motion
        rested = self._frame >= self._due - self._every + _REST
        return rested and now[0] + now[1] < 0.5 * (then[0] + then[1])

    def _hear(self, wait: bool) -> bool:
        """What the whole look under way has found, if it is done. Where the reference is lost, or was tracked to another place than a look without
        doubt finds in the same frame, it goes on from there: whether it does."""
        if self._looking is None or not (wait or self._looking.done()):
            return False
        found, self._looking = self._looking.result(), None
        self._looked = found
        if found.T_cd is None or found.doubt or (self._last is not None and not self._elsewhere(found)):
            return False
        t = found.T_cd[:3, 3] / (self.reference.depth or 1.0)
        self._last = Solution(found.T_cd[:3, :3], t, found.rest, 0.0, np.zeros(0), np.zeros((6, 6)))
        return True

    def _elsewhere(self, found: Alignment) -> bool:
        """Whether a look has found another place than where its frame was tracked to: what repeats itself is tracked to the wrong one."""
        if self._looked_from is None or found.H is None:
            return False
        return len(different(np.array([self._looked_from, found.H]), self.reference.picture.grey.shape, 2)) > 1

    def _look(self, now: Picture, small: Picture, views: TwoViews) -> None:
        """Begin a whole look where none is under way."""
        if self._looking:
            return
        H = None
        if self._last is not None:
            H = views.homography(self._last.R, self._last.t, self._last.rest)
            goal, own = self.reference.picture.grey.shape, self._small.picture.grey.shape
            H = resizing(small.grey.shape, now.grey.shape) @ H @ resizing(goal, own)
        self._looked_from = H
        self._looking = self._pool.submit(self.reference.locate, now, H)
        self._due = self._frame + self._every

    def _tracked(self, now: Picture, views: TwoViews) -> Alignment | None:
        """From the last frame's pose; None where that leads nowhere."""
        last, self._last = self._last, None
        if last is None:
            return None
        small, H = self._small, views.homography(last.R, last.t, last.rest)
        blocks = found_blocks(small.picture.grey, small.sought.counts, now.grey, H, _BLOCK, _LEVELS, _ROUNDS)
        if len(blocks.pixels) < 6:
            return None
        found = fitted(views, *blocks.mapped(H), (last.R, last.t, last.rest), _STEPS)
        H = views.homography(found.R, found.t, found.rest)
        score = verified(small.sought.template, Pyramid.of(now.grey), H).score
        if score < LEAST or agreement(found, blocks) < AGREE:
            return None
        self._last = found
        size = self.reference.depth or 1.0
        T_cd = found.T_cd
        T_cd[:3, 3] *= size
        overlap, unit = small.overlap(H, now), self.reference.unit
        return Alignment(
            T_cd, self._looked.covariance, score, overlap, unit, self._looked.doubt, H, found.rest, self._looked.guessed
        )
