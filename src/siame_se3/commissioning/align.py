"""Where is the camera beside a reference photo? From two pictures alone: how the camera has to move, and how sure that is.

    reference = Reference.of(Picture.read(path, optics), depth=0.8)
    found = reference.locate(Picture.read(other, optics))       # an Alignment

Where the reference is in the current picture, about, `align_place` says; that is refined on blocks of the full pictures (`align_blocks`), and the pose, with its
covariance, is that which the blocks agree on (`align_fit`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from siame_se3.commissioning.align_blocks import LEVELS, SIDE, Blocks, found_blocks
from siame_se3.commissioning.align_fit import USED, Solution, certain, fitted
from siame_se3.commissioning.align_picture import Picture
from siame_se3.commissioning.align_place import Sought
from siame_se3.commissioning.align_views import SLOPE, TwoViews
from siame_se3.errors import InputError
from siame_se3.laws.alignment import Found, verified
from siame_se3.laws.templates import Pyramid

LEAST = 0.4  # confidence below which the current picture may show another place
_FLAT = 0.004  # standard deviation of grey levels below which a picture shows nothing
_REFINED = (LEVELS, (1, 0), (0,))  # rounds of blocks and pose, and the copies that they are found on
_FEWEST = 6  # blocks that a pose is looked for with
AGREE = 0.35  # share of the blocks that are in both pictures which have to agree on a pose
_GRID = 24  # points a side that the overlap is measured at


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the reference's camera is beside the current one.

    Attributes:
        T_cd: pose of the reference's camera in the current one's frame, the motion that is left; lengths in `unit`. None where it is not known.
        covariance: of (t, omega) of that motion, omega in R_cd exp(omega) (6, 6); NaN where it is not known.
        confidence: how well the reference, seen from there, explains the current picture: 1 for fully, about 0 for another place.
        overlap: share of the reference that the current picture shows.
        unit: 'm', or 'distance' for shares of the distance that the reference was taken at.
        doubt: why the place may be a wrong one; '' where it is not in doubt.
        H: homography from the reference's pixels to the current ones, both at the size they are compared at; None where it is not known.
        rest: what was fitted beside the motion (see `align_views`).
        guessed: a field of view is a guess.
        quarters: clockwise quarter turns by which the current picture is turned to be upright; T_cd and covariance are those of the rasters.
    """

    T_cd: np.ndarray | None
    covariance: np.ndarray
    confidence: float
    overlap: float
    unit: str
    doubt: str = ""
    H: np.ndarray | None = None
    rest: np.ndarray = field(default_factory=lambda: np.zeros(6))
    guessed: bool = False
    quarters: int = 0

    @staticmethod
    def unknown(doubt: str, unit: str, confidence: float = 0.0) -> Alignment:
        """Where nothing was found."""
        return Alignment(None, np.full((6, 6), np.nan), confidence, 0.0, unit, doubt)

    @property
    def motion(self) -> tuple[float, float]:
        """Length [unit] and angle [rad] of the motion that is left; NaN where it is not known."""
        if self.T_cd is None:
            return math.nan, math.nan
        return float(np.linalg.norm(self.T_cd[:3, 3])), float(np.linalg.norm(cv2.Rodrigues(self.T_cd[:3, :3])[0]))

    @property
    def sigmas(self) -> tuple[float, float]:
        """Standard deviations of the distance [unit] and of the angle [rad]: roots of the sums of the variances along, and about, the axes."""
        variances = np.diag(self.covariance)
        return math.sqrt(variances[:3].sum()), math.sqrt(variances[3:].sum())


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference picture, ready to be looked for.

    Attributes:
        sought: the picture, prepared.
        depth: distance along the optical axis at its middle [m]; None where it is not known.
        slope: standard deviation of the tangents by which its plane is turned: small where it is known to be square to the view.
    """

    sought: Sought
    depth: float | None
    slope: float = SLOPE

    @staticmethod
    def of(
        picture: Picture, depth: float | None = None, counts: np.ndarray | None = None, slope: float = SLOPE
    ) -> Reference:
        """Of a picture.

        Args:
            picture: itself.
            depth, slope: see the class.
            counts: as `align_regions.Regions.counting` gives it; None where all of it counts.

        Raises:
            InputError: a picture without contrast, or a distance that is none.
        """
        if depth is not None and not (math.isfinite(depth) and depth > 0):
            raise InputError(f"distance {depth:g} m: give metres above 0", "goal_depth")
        counts = np.ones(picture.grey.shape, np.float32) if counts is None else counts
        if float(picture.grey[counts > 0].std()) < _FLAT:
            raise InputError("reference: it shows one plain surface; give a photo of the scene")
        return Reference(Sought.of(picture, counts), depth, slope)

    def reduced(self, side: int) -> Reference:
        """The same with a longer side of `side` px at most, for tracking (see `Sought.reduced`)."""
        return Reference(self.sought.reduced(side), self.depth, self.slope)

    @property
    def picture(self) -> Picture:
        """The reference itself."""
        return self.sought.picture

    @property
    def unit(self) -> str:
        """Of lengths."""
        return "distance" if self.depth is None else "m"

    def beside(self, now: Picture) -> TwoViews:
        """The reference's camera and that of another picture."""
        return TwoViews(self.picture.lens, now.lens, now.lens.like(self.picture.lens), self.slope)

    def locate(self, now: Picture, last: np.ndarray | None = None) -> Alignment:
        """Where the reference's camera is beside that of the current picture.

        Args:
            now: the current picture.
            last: a homography from reference pixels to current ones to try first, as an earlier `Alignment` has it.
        """
        if float(now.grey.std()) < _FLAT:
            return Alignment.unknown("the current picture shows one plain surface", self.unit)
        views = self.beside(now)
        found, rival = self.sought.place(now, views.now.K @ np.linalg.inv(views.goal.K), last)
        if found is None:
            return Alignment.unknown("the current picture shows nothing of the reference", self.unit)
        return self._refined(now, views, found, rival)

    def _refined(self, now: Picture, views: TwoViews, found: Found, rival: bool) -> Alignment:
        """The pose by blocks of the full pictures."""
        H, blocks, solutions = found.H, None, []
        for levels in _REFINED:
            blocks = self._blocks(now, H, levels)
            if len(blocks.pixels) < _FEWEST:
                return Alignment.unknown(
                    "the current picture shows too little of the reference", self.unit, found.score
                )
            solutions = _solutions(views, blocks, H)
            if not solutions:
                return Alignment.unknown("what both pictures show fits no motion of the camera", self.unit, found.score)
            at, H = H, views.homography(solutions[0].R, solutions[0].t, solutions[0].rest)
        assert blocks is not None
        score = verified(self.sought.template, Pyramid.of(now.grey), H).score
        sure = certain(views, *blocks.mapped(at), solutions[0])
        agree = agreement(solutions[0], blocks)
        doubt = ""
        if score < LEAST:
            doubt = f"it may be another place: confidence {max(0.0, score):.2f} of at least {LEAST:g}"
        elif rival:
            doubt = "the scene looks alike at two places"
        elif agree < AGREE:
            doubt = f"only {100 * agree:.0f} % of what both pictures show agree on a motion"
        elif sure is None:
            doubt = "too little agrees to say how sure the motion is"
        shown = sure or solutions[0]
        covariance = np.full((6, 6), np.nan) if sure is None else sure.covariance + _between(solutions)
        size = np.diag([self.depth or 1.0] * 3 + [1.0] * 3)
        T_cd, guessed = shown.T_cd, self.picture.guessed or now.guessed
        T_cd[:3, 3] *= self.depth or 1.0
        covariance, overlap = size @ covariance @ size, self.overlap(H, now)
        return Alignment(T_cd, covariance, score, overlap, self.unit, doubt, H, shown.rest, guessed, now.quarters)

    def _blocks(self, now: Picture, H: np.ndarray, levels: tuple[int, ...]) -> Blocks:
        side = min(SIDE, max(16, min(self.picture.grey.shape) // 7))
        return found_blocks(self.picture.grey, self.sought.counts, now.grey, H, side, levels)

    def overlap(self, H: np.ndarray, now: Picture) -> float:
        """Share of what counts of the reference that the current picture shows."""
        h, w = self.sought.counts.shape
        x, y = np.meshgrid(np.linspace(0, w - 1, _GRID).round(), np.linspace(0, h - 1, _GRID).round())
        counts = self.sought.counts[y.astype(int), x.astype(int)].ravel() > 0
        X = np.stack((x.ravel(), y.ravel(), np.ones(x.size)), 1) @ H.T
        at = X[:, :2] / np.where(X[:, 2:] > 1e-9, X[:, 2:], 1e-9)
        inside = (X[:, 2] > 1e-9) & (at >= -0.5).all(1) & (at <= np.array(now.grey.shape[::-1]) - 0.5).all(1)
        return float(inside[counts].mean()) if counts.any() else 0.0


def agreement(found: Solution, blocks: Blocks) -> float:
    """Share of the blocks that the current picture shows, alike, which agree on a pose."""
    return float((found.weight > USED).sum()) / max(1, len(blocks.pixels))


def _solutions(views: TwoViews, blocks: Blocks, H: np.ndarray) -> list[Solution]:
    """Poses that the blocks agree on, the best first: a homography has two of a plane's normal, as often as not."""
    begin: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(np.eye(3), np.zeros(3), np.zeros(6))]
    ray = np.append(views.middle, 1.0)
    moved = np.linalg.inv(views.now.K) @ H @ views.goal.K
    count, turns, moves, normals = cv2.decomposeHomographyMat(moved, np.eye(3))
    for k in range(count):
        n, t = normals[k][:, 0], moves[k][:, 0]
        depth = float(n @ ray)  # 1/Z at the middle, in distances of the plane
        if depth < 0:
            n, t, depth = -n, -t, -depth
        if depth > 0.2:
            begin.append((np.asarray(turns[k]), t * depth, np.r_[n[:2] / depth, np.zeros(4)]))
    found = [fitted(views, *blocks.mapped(H), guess) for guess in begin]
    found = [s for s in found if np.isfinite(s.cost) and (s.weight > USED).sum() >= 4]
    return sorted(found, key=lambda s: s.cost)


def _between(solutions: list[Solution]) -> np.ndarray:
    """What it adds to the covariance that another pose explains the blocks too: that of a mixture of both."""
    best, added = solutions[0], np.zeros((6, 6))
    for other in solutions[1:]:
        odds = math.exp(best.cost - other.cost)
        if odds < 1e-3:
            continue
        turn = cv2.Rodrigues(best.R.T @ other.R)[0][:, 0]
        d = np.r_[other.t - best.t, turn]
        added += odds / (1 + odds) ** 2 * np.outer(d, d)
    return added
