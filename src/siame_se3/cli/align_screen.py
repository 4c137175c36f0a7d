"""What siame align shows while it runs: arrows and bars in a terminal; elsewhere a line now and then, or a line of JSON a frame."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from siame_se3.commissioning.align import Alignment
from siame_se3.commissioning.align_words import Judge, Verdict, angle, length, values

_REDRAWN = 0.05  # seconds between two drawings, at least
_SAID = 1.0  # seconds between two plain lines, where nothing else has changed
_NARROW = 55  # columns; in fewer there is no bar
_FULL = 100.0  # tolerances that a bar is long
_HELD = 3  # frames in a row that are right before it is said aloud
_COLOURS = {Verdict.RIGHT: "32", Verdict.MOVE: "33", Verdict.NOT_SURE: "31"}
_ROWS = (
    ("left", "right", "←", "→"),
    ("up", "down", "↑", "↓"),
    ("back", "forward", "⊖", "⊕"),
    ("turn left", "turn right", "↩", "↪"),
    ("turn down", "turn up", "⤵", "⤴"),
    ("counterclockwise", "clockwise", "↺", "↻"),
)


class Display(Protocol):
    """What frames are shown on."""

    def show(self, found: Alignment, rate: float) -> None:
        """A frame's alignment, and how many frames a second there are."""

    def correct(self, found: Alignment) -> None:
        """The last frame's alignment, looked at again."""

    def end(self) -> None:
        """No more will come."""


@dataclass
class Lines:
    """A plain line where the verdict changes, and one a second; or JSON, a line a frame.

    Attributes:
        judge: what alignments mean.
        as_json: one object a line.
        more: what each object has besides.
        corrected: the last one may be corrected: each object waits for the next frame.
    """

    judge: Judge
    as_json: bool = False
    more: dict[str, Any] | None = None
    corrected: bool = False
    clock: Callable[[], float] = time.monotonic
    _verdict: Verdict | None = None
    _due: float = -math.inf
    _held: Alignment | None = None

    def show(self, found: Alignment, rate: float) -> None:
        """See `Display`."""
        if self.as_json:
            self._write(self._held)
            self._held = found if self.corrected else None
            self._write(None if self.corrected else found)
            return
        verdict, now = self.judge.verdict(found)[0], self.clock()
        if verdict is not self._verdict or now >= self._due:
            self._verdict, self._due = verdict, now + _SAID
            print(self.judge.sentence(found), flush=True)

    def _write(self, found: Alignment | None) -> None:
        if found is not None:
            print(json.dumps(self.judge.data(found) | (self.more or {})), flush=True)

    def correct(self, found: Alignment) -> None:
        """See `Display`."""
        if self.as_json:
            self._held = found

    def end(self) -> None:
        """See `Display`."""
        self._write(self._held)
        self._held = None


class Screen:
    """Arrows and bars, drawn over each other.

    Args:
        judge: what alignments mean.
        title: the first line.
        tone: ring the terminal's bell when it becomes right.
        out: the terminal.
    """

    def __init__(
        self,
        judge: Judge,
        title: str,
        tone: bool = True,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge, self._title, self._tone = judge, title, tone
        self._out: TextIO = out or sys.stdout
        self._clock, self._due, self._lines = clock, -math.inf, 0
        self._right = 0
        self._colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._glyphs = "utf" in (getattr(self._out, "encoding", None) or "utf-8").lower()

    def show(self, found: Alignment, rate: float) -> None:
        """See `Display`."""
        verdict = self._judge.verdict(found)[0]
        self._right = self._right + 1 if verdict is Verdict.RIGHT else 0
        if self._right == _HELD and self._tone:
            self._out.write("\a")
        if self._clock() < self._due:
            return
        self._due = self._clock() + _REDRAWN
        width = max(20, min(shutil.get_terminal_size().columns, 100) - 1)
        lines = self.lines(found, rate, width)
        self._out.write(f"\x1b[{self._lines}A\r" if self._lines else "\x1b[?25l")
        self._out.write("".join(f"\x1b[2K{line}\n" for line in lines))
        self._out.flush()
        self._lines = len(lines)

    def lines(self, found: Alignment, rate: float, width: int) -> list[str]:
        """What is drawn for an alignment."""
        verdict = self._judge.verdict(found)[0]
        speed = f"   {rate:.0f} frames/s   Ctrl-C ends" if math.isfinite(rate) else ""
        head = f"{self._title}{speed}"[:width]
        said = [*textwrap.wrap(self._judge.sentence(found), width), "", ""][:2]
        return [head, *(self._painted(line, _COLOURS[verdict]) for line in said), "", *self._bars(found, width)]

    def _bars(self, found: Alignment, width: int) -> list[str]:
        """A row for each direction: both names, a bar about its middle, an arrow and the value."""
        if found.T_cd is None:
            ways: list[float] = [math.nan] * 6
        else:
            ways = values(found)
        within = self._judge.within
        rows = []
        for k, (low, high, lower, higher) in enumerate(_ROWS):
            x, limit = ways[k], (within.distance if k < 3 else within.angle)
            half = max(4, (width - 46) // 2)
            full = round(half * min(1.0, math.log1p(abs(x) / limit) / math.log1p(_FULL))) if math.isfinite(x) else 0
            dot, dash, middle = ("·", "━", "┃") if self._glyphs else (".", "=", "|")
            left, right = (dash * full, "") if x < 0 else ("", dash * full)
            bar = f"{left.rjust(half, dot)}{middle}{right.ljust(half, dot)}"
            arrow = (lower if x < 0 else higher) if self._glyphs else "<" if x < 0 else ">"
            said = "" if not math.isfinite(x) else length(abs(x), found.unit) if k < 3 else angle(abs(x))
            value = f"{arrow} {said.removesuffix(' of the distance')}" if said else "-"
            colour = "2" if not said else "32" if abs(x) <= limit else "33"
            if width < _NARROW:
                name = (high if x > 0 else low) if said else f"{low}, {high}"
                rows.append(self._painted(f"{name:<17}{value}"[:width], colour))
                continue
            rows.append(f"{low:>16} {self._painted(bar, colour)} {high:<10} {value}")
        return rows

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def correct(self, found: Alignment) -> None:
        """See `Display`."""
        if self._lines:
            self._due = -math.inf
            self.show(found, math.nan)

    def end(self) -> None:
        """See `Display`."""
        if self._lines:
            self._out.write("\x1b[?25h")
            self._out.flush()
