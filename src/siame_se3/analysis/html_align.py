"""Alignments -> a report: how the camera has to be moved, both pictures and their difference, the way of a live one, settings, the command."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from siame_se3.analysis import html
from siame_se3.analysis.html import Html, rounded
from siame_se3.analysis.html_data import quaternions
from siame_se3.commissioning.align import Alignment, Reference
from siame_se3.commissioning.align_picture import Picture
from siame_se3.commissioning.align_words import WAYS, Judge, Verdict, angle, length, spreads, upright, values
from siame_se3.geometry import lie
from siame_se3.servo.recordings.few import Few

_MOST, _PICTURES = 400, 3  # alignments and pictures of a live one that are kept, about
_STEPS = 24  # of the way that is left after one picture, as it is drawn


@dataclass(frozen=True)
class _Seen:
    """A frame's alignment, when it was there [s], and what it says."""

    found: Alignment
    when: float
    verdict: Verdict


class Followed:
    """What a report keeps of an alignment of any length.

    Args:
        judge: what alignments mean.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.frames: Few[_Seen] = Few(_MOST)
        self.pictures: Few[np.ndarray] = Few(_PICTURES)
        self.verdicts: Counter[Verdict] = Counter()
        self.last: tuple[_Seen, Picture] | None = None

    def add(self, found: Alignment, when: float, seen: Picture) -> None:
        """A frame's alignment, when it was there [s], and its picture."""
        one = _Seen(found, when, self.judge.verdict(found)[0])
        self.frames.add(lambda: one)
        self.pictures.add(lambda: seen.upright(seen.pixels))
        self.verdicts[one.verdict] += 1
        self.last = one, seen

    def correct(self, found: Alignment) -> None:
        """The last frame's alignment, looked at again."""
        assert self.last is not None
        before, seen = self.last
        one = _Seen(found, before.when, self.judge.verdict(found)[0])
        self.verdicts[before.verdict] -= 1
        self.verdicts[one.verdict] += 1
        if self.frames.kept[-1][1] is before:
            self.frames.kept[-1] = self.frames.kept[-1][0], one
        self.last = one, seen


def align_page(title: str, reference: Reference, followed: Followed, settings: Mapping[str, Any], command: str) -> str:
    """The report.

    Args:
        title: of page and window.
        reference: what was looked for.
        followed: the frames; one, or those of a live alignment.
        settings, command: as it was called.
    """
    if followed.last is None:
        return html.page(title, "no frames", [html.section("Command", html.command(command))])
    last, seen = followed.last
    drawn, data = _drawing(reference, followed)
    parts = [
        _numbers(followed, last),
        html.section("Pictures", html.strip(_pictures(reference, followed, last.found, seen), large=True)),
        html.section("How the camera has to be moved", *_motion(last.found)),
        drawn,
        html.section("Command", html.command(command)),
        html.section("Settings", html.settings(settings)),
    ]
    return html.page(title, followed.judge.sentence(last.found), parts, data)


def _numbers(followed: Followed, last: _Seen) -> Html:
    t, r = last.found.motion
    known = last.found.T_cd is not None
    tiles = {
        "at the end" if followed.frames.count > 1 else "verdict": last.verdict.value,
        "to be moved": length(t, last.found.unit) if known else "-",
        "to be turned": angle(r) if known else "-",
        "confidence": f"{max(0.0, last.found.confidence):.2f}",
        "overlap": f"{100 * last.found.overlap:.0f} %",
    }
    if (n := followed.frames.count) > 1:
        took = last.when - followed.frames.kept[0][1].when
        tiles["frames"] = str(n)
        if took > 0:
            tiles["frames a second"] = f"{(n - 1) / took:.0f}"
        tiles["frames that were right"] = f"{100 * followed.verdicts[Verdict.RIGHT] / n:.0f} %"
    return html.tiles(tiles)


def _pictures(
    reference: Reference, followed: Followed, found: Alignment, seen: Picture
) -> list[tuple[str, np.ndarray]]:
    """The reference, what the camera saw, and the difference: as it is, and once the motion that was found is made."""
    goal, last = reference.picture, followed.frames.count - 1
    strip = [("reference", goal.upright(goal.pixels))]
    if last:
        strip += [(f"frame {k}", pixels) for k, pixels in followed.pictures.spread() if k < last]
    strip.append((f"frame {last}, the last" if last else "now", seen.upright(seen.pixels)))
    h, w = seen.grey.shape
    beside = cv2.resize(goal.grey, (w, h), interpolation=cv2.INTER_AREA)
    strip.append(("now - reference (grey: equal)", seen.upright(_difference(seen.grey, beside))))
    if found.T_cd is not None:
        views, size = reference.beside(seen), reference.depth or 1.0
        H = views.homography(found.T_cd[:3, :3], found.T_cd[:3, 3] / size, found.rest)
        moved = cv2.warpPerspective(goal.grey, H, (w, h))
        there = cv2.warpPerspective(np.ones_like(goal.grey), H, (w, h)) > 0.99
        left = _difference(seen.grey, np.where(there, moved, seen.grey))
        strip.append(("now - reference as seen from there", seen.upright(left)))
    return strip


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of grey levels (h, w) in [0, 1], as (h, w, 3) uint8: middle grey where they are equal."""
    grey = np.rint(255 * ((a - b) / 2 + 0.5)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def _motion(found: Alignment) -> Sequence[Html]:
    """A line a direction, with how well it is known."""
    if found.T_cd is None:
        return [html.paragraph(f"Not known: {found.doubt or 'the reference was not found'}.")]
    lines = []
    for k, (value, sigma) in enumerate(zip(values(found), spreads(found), strict=True)):
        name = WAYS[k][value < 0]

        def said(x: float, k: int = k) -> str:
            return "-" if not math.isfinite(x) else length(x, found.unit) if k < 3 else angle(x)

        lines.append(
            {
                "motion": "move" if k < 3 else "turn",
                "to": name,
                "by": said(abs(value)),
                "known to (2 sigma)": said(2 * sigma),
            }
        )
    order = "Turns are made in this order; right, up and clockwise as the person behind the camera sees them."
    return [html.paragraph(order, "note"), html.table(lines)]


def _drawing(reference: Reference, followed: Followed) -> tuple[Html, dict[str, Any] | None]:
    """The camera's way beside the reference's, and the curves of a live alignment; with their data."""
    frames = [(k, one.found) for k, one in followed.frames.kept if one.found.T_cd is not None]
    if not frames:
        return html.section("Way", html.paragraph("The reference was not found in any frame.", "note")), None
    live, unit = followed.frames.count > 1, reference.unit
    T_rc = torch.stack([torch.from_numpy(np.linalg.inv(upright(found))) for _, found in frames])
    if not live:
        shares = torch.linspace(1, 0, _STEPS, dtype=torch.float64)
        T_rc = lie.exp(shares[:, None] * lie.log(T_rc[0]))
    lens, factor = reference.picture.lens, 1e3 if unit == "m" else 100.0
    half = [lens.width / 2 / lens.fx, lens.height / 2 / lens.fy][:: -1 if frames[-1][1].quarters % 2 else 1]
    run: dict[str, Any] = {
        "run": 0,
        "good": followed.last is not None and followed.last[0].verdict is Verdict.RIGHT,
        "k": [k for k, _ in frames] if live else list(range(_STEPS)),
        "path": rounded(T_rc[:, :3, 3].tolist()),
        "turned": rounded(quaternions(T_rc[:, :3, :3]).tolist(), 3),
        "handoff": -1,
        "goal": {"p": [0.0, 0.0, 0.0], "q": [1.0, 0.0, 0.0, 0.0]},
    }
    charts: list[dict[str, Any]] = []
    if live:
        motions = [found.motion for _, found in frames]
        run["t"] = rounded([factor * t for t, _ in motions])
        run["r"] = rounded([math.degrees(r) for _, r in motions])
        run["confidence"] = rounded([max(0.0, found.confidence) for _, found in frames], 3)
        titles = {
            "t": ("to be moved [mm]" if unit == "m" else "to be moved [% of the distance]", "orange"),
            "r": ("to be turned [deg]", "blue"),
            "confidence": ("confidence", "purple"),
        }
        for name, (title, colour) in titles.items():
            charts.append({"title": title, "zero": True, "lines": [{"of": name, "name": "", "colour": colour}]})
    times = [one.when for _, one in followed.frames.kept]
    step = (times[-1] - times[0]) / max(1, followed.frames.count - 1)
    data = {
        **({} if unit == "m" else {"unit": "of the distance"}),
        **{"dt": step or 0.1, "shown": 0, "runs": [run], "others": [], "goals": [[0.0, 0.0, 0.0]], "bands": {}},
        **{"print": None, "camera": rounded(half), "charts": charts},
        "frame": "in the reference's camera, which looks down here"
        + (", in shares of the distance" if unit == "distance" else ""),
    }
    keys = {"camera": "orange", "reference": "green"}
    way = html.section("Way" if live else "The motion that is left", html.paths_canvas(keys, "along the way"))
    if not live:
        return way, {**data, "at": 0}
    canvases = [html.chart_canvas(k, chart["title"]) for k, chart in enumerate(charts)]
    return html.side_by_side(way, html.section("Frame by frame", *canvases)), data
