"""Where, about, a reference picture is in another one, and whether it could as well be elsewhere.

Guesses come from an earlier place, from matched keypoints and from a search over turns and scales, and are verified as in the law `auto`
(`laws.hypotheses`, `laws.alignment`), but as homographies: nobody has said how the reference's plane is turned. What repeats itself (tiles, a
grid) explains a picture at several places: those by which the reference looks like itself are tried beside the best one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from siame_se3.commissioning.align_picture import Picture
from siame_se3.laws import hypotheses
from siame_se3.laws.alignment import Found, aligned, verified
from siame_se3.laws.goals import FAR, GOOD, NEAR, SURE
from siame_se3.laws.templates import Pyramid, Template, facing

_PROMISING = 6  # guesses that are aligned
_REPEATED = 0.4  # correlation of the reference with itself, moved, that is worth trying
_REPEATS = 8  # such motions
_LOBE = 4  # pixels of the template's finest copy within which everything looks like itself
_LIKE = 0.3  # share of the reference by which a place is compared with another one
_RIVAL = 0.1  # mean correlation of small windows by which another place has to be less alike


@dataclass(frozen=True, eq=False)
class Sought:
    """A reference picture, ready to be looked for.

    Attributes:
        picture: itself.
        counts: 1 where it counts, 0 where it is left out (h, w).
        template, views: what guesses are verified and matched with.
        repeats: motions (3, 3) of its pixels by which it looks like itself.
    """

    picture: Picture
    counts: np.ndarray
    template: Template
    views: list[hypotheses.Keypoints]
    repeats: list[np.ndarray]

    @staticmethod
    def of(picture: Picture, counts: np.ndarray) -> Sought:
        """Of a picture."""
        template = Template.of(picture.grey, counts)
        views = [_kept(view, counts) for view in hypotheses.tilted(picture.grey)]
        return Sought(picture, counts, template, views, _repeats(template))

    def reduced(self, side: int) -> Sought:
        """The same with a longer side of `side` px at most, for tracking: it is verified there, not looked for."""
        picture = self.picture.reduced(side)
        size = picture.grey.shape[::-1]
        counts = (cv2.resize(self.counts, size, interpolation=cv2.INTER_AREA) > 0.99).astype(np.float32)
        return Sought(picture, counts, Template.of(picture.grey, counts), [], [])

    def place(self, now: Picture, still: np.ndarray, last: np.ndarray | None = None) -> tuple[Found | None, bool]:
        """The best of all guesses, aligned, and whether what the picture shows of the reference is as much alike at another place.

        Args:
            now: where it is looked for.
            still: homography from reference pixels to current ones of a camera that has not moved.
            last: an earlier one.
        """
        pyramid = Pyramid.of(now.grey)
        size = self.picture.grey.shape
        stages: tuple[tuple[Callable[[], list[np.ndarray]], float], ...] = (
            (lambda: [still] if last is None else [last, still], SURE if last is None else GOOD),
            (lambda: _matched(self.views, hypotheses.Keypoints.of(now.grey), size), GOOD),
            (lambda: self._matched_back(now), GOOD),
            (lambda: hypotheses.by_search(self.template, pyramid), GOOD),
        )
        places: list[Found] = []
        for guesses, enough in stages:
            places += self._aligned(guesses(), pyramid)
            places.sort(key=lambda found: -found.score)
            if places and places[0].score > enough:
                break
        if not places:
            return None, False
        places += self._aligned([places[0].H @ S for S in self.repeats], pyramid)
        apart = hypotheses.different(np.array([f.H for f in places]), size, len(places))
        return places[0], any(_alike(places[k]) > _alike(places[0]) - _RIVAL for k in apart if k > 0)

    def _matched_back(self, now: Picture) -> list[np.ndarray]:
        """Guesses from keypoints of the current picture, seen from the side, in the reference: for one that was itself taken from the side."""
        found = _matched(hypotheses.tilted(now.grey), self.views[0], now.grey.shape)
        return [np.linalg.inv(H) for H in found if abs(np.linalg.det(H)) > 1e-9]

    def _aligned(self, guesses: list[np.ndarray], pyramid: Pyramid) -> list[Found]:
        """Those that explain the picture best as they are, aligned to it."""
        found = [verified(self.template, pyramid, facing(H), 1) for H in guesses]
        found.sort(key=lambda f: -f.score)
        homographies = np.array([f.H for f in found]).reshape(-1, 3, 3)
        done = []
        for k in hypotheses.different(homographies, self.picture.grey.shape, _PROMISING):
            H = found[k].H
            best = verified(self.template, pyramid, facing(aligned(self.template, pyramid, H, NEAR)))
            if best.score < GOOD:  # from far only coarse copies lead; from near they lead astray
                far = verified(self.template, pyramid, facing(aligned(self.template, pyramid, H, FAR)))
                best = max(best, far, key=lambda f: f.score)
            done.append(best)
            if best.score > SURE:
                break
        return done


def _alike(found: Found) -> float:
    """How well a place explains what the picture shows of it, however little; -1 of next to nothing, which chance explains as well."""
    return found.score / np.sqrt(found.known) if found.known > _LIKE else -1.0


def _matched(views: list[hypotheses.Keypoints], seen: hypotheses.Keypoints, size: tuple[int, ...]) -> list[np.ndarray]:
    """Guesses from keypoints of one picture, of `size` (h, w), in another one: homographies to that."""
    found = hypotheses.matches(views, seen)
    distinct = found.distinct()
    return [
        *hypotheses.from_matches(distinct.desired, distinct.seen, (size[0], size[1])),
        *hypotheses.by_votes(found, (size[0], size[1])),
    ]


def _kept(view: hypotheses.Keypoints, counts: np.ndarray) -> hypotheses.Keypoints:
    """Keypoints where the reference counts."""
    if counts.all() or not len(view.pixels):
        return view
    h, w = counts.shape
    x, y = np.clip(view.of_image().round().astype(int), 0, (w - 1, h - 1)).T
    keep = counts[y, x] > 0
    return replace(view, pixels=view.pixels[keep], descriptors=view.descriptors[keep], frames=view.frames[keep])


def _repeats(template: Template) -> list[np.ndarray]:
    """Shifts of the reference's pixels by which its local contrast correlates with itself: the peaks beside the one at zero."""
    mine = template.contrast[0] * template.weight[0]
    h, w = mine.shape
    shape = cv2.getOptimalDFTSize(2 * h), cv2.getOptimalDFTSize(2 * w)

    def correlated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.fft.irfft2(np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape), shape)
        return found

    square, one = mine * mine, np.ones_like(mine)
    energy, other = correlated(square, one), correlated(one, square)
    share = np.sqrt(np.maximum(energy, 0) * np.maximum(other, 0))
    value = np.where(share > _LIKE * float(square.sum()), correlated(mine, mine) / np.maximum(share, 1e-9), -1.0)
    peak = (value >= cv2.dilate(value, np.ones((5, 5), np.uint8))) & (value > _REPEATED)
    found = []
    for y, x in np.argwhere(peak):
        dy, dx = (int(p) - n if p > n // 2 else int(p) for p, n in zip((y, x), shape, strict=True))
        if max(abs(dx), abs(dy)) > _LOBE:
            found.append((float(value[y, x]), dx, dy))
    found.sort(reverse=True)
    to_level = template.pyramid.to_level[0]
    back = np.linalg.inv(to_level)
    return [back @ np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]) @ to_level for _, dx, dy in found[:_REPEATS]]
