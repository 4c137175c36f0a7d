"""The page's curves: errors of all tracks, and the twist of the first, over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from siame_se3.page import style
from siame_se3.page.trace import NAMES, Trace
from siame_se3.page.track import Track

_LEAST = 0.01  # on a logarithmic axis [mm, deg, grey levels]
_ERRORS = {"t": "distance [mm]", "r": "angle [deg]", "difference": "image difference [grey levels]"}
_TWISTS = {"v": ("v commanded [cm/s]", NAMES[3:6]), "w": ("w commanded [deg/s]", NAMES[6:9])}
_POINTS = 200  # of a curve
_HINT = "The curves of a run come here: press Start."

Lines = tuple[np.ndarray, ...]  # times, and the values of each line at them


class CurveView:
    """The panel of curves.

    Args:
        server: viser's.
        errors: the tab of errors. twists: the tab of twists.
    """

    def __init__(self, server: Any, errors: Any, twists: Any) -> None:
        self._gui, self._errors, self._twists = server.gui, errors, twists
        self._plots: dict[str, Any] = {}
        self._built: tuple[tuple[str, ...], frozenset[str]] = ((), frozenset())  # laws and curves that there are
        self._versions: tuple[int, ...] = ()
        with errors:
            self._hint: Any = server.gui.add_html(style.block(_HINT))

    def update(self, tracks: tuple[Track, ...]) -> None:
        """Send what is new. A chart that was once without a span of time does not find one again: the last run stays until there is one."""
        traces = [track.trace for track in tracks]
        versions = tuple(trace.version for trace in traces)
        if versions == self._versions or min(map(len, traces)) < 2:
            return
        self._versions = versions
        ends = [float(track.trace.seconds[-1]) for track in tracks if track.moving]
        lines = {name: found for name in _ERRORS if (found := _joined(traces, name, ends)) is not None}
        lines |= {name: _of(traces[0], columns) for name, (_, columns) in _TWISTS.items()}
        built = tuple(track.law for track in tracks), frozenset(lines)
        if built != self._built:
            self._built = built
            self._build(built[0], lines)
        else:
            for name, data in lines.items():
                self._plots[name].data = data

    def _build(self, laws: tuple[str, ...], lines: dict[str, Lines]) -> None:
        """All charts, with other lines than before, which none of them can change."""
        for old in (self._hint, *self._plots.values()):
            if old is not None:
                old.remove()
        self._hint, self._plots = None, {}
        twice = len(set(laws)) < len(laws)
        named = [f"{law} ({k + 1})" if twice else law for k, law in enumerate(laws)]
        for name, data in lines.items():
            if name in _ERRORS:
                series = [_series(*pair) for pair in zip(named, style.TRACKS, strict=False)]
                with self._errors:
                    self._plots[name] = self._plot(_ERRORS[name], series, data, {"distr": 3})
            else:
                title, columns = _TWISTS[name]
                colours = style.TWISTS[:3] if name == "v" else style.TWISTS[3:]
                series = [_series(*pair) for pair in zip(columns, colours, strict=True)]
                with self._twists:
                    whose = f", {named[0]}" if len(named) > 1 else ""
                    self._plots[name] = self._plot(title + whose, series, data, {})

    def _plot(self, title: str, series: list[dict[str, Any]], data: Lines, y: dict[str, Any]) -> Any:
        return self._gui.add_uplot(
            data,
            ({"label": "time [s]"}, *series),
            title=title,
            scales={"x": {"time": False}, "y": y},
            axes=(_axis(30), _axis(52)),
            height=190,
            padding=(12, 16, 0, 0),
        )


def _axis(size: int) -> dict[str, Any]:
    return {"stroke": style.GREY, "size": size, "grid": {"stroke": style.FAINT, "width": 1}, "ticks": {"show": False}}


def _series(label: str, colour: str) -> dict[str, Any]:
    return {"label": label, "stroke": colour, "width": 2, "points": {"show": False}}


def _thinned(trace: Trace) -> np.ndarray:
    """Rows that are drawn, the last among them."""
    n = len(trace)
    return np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int))


def _of(trace: Trace, columns: tuple[str, ...]) -> Lines:
    rows = _thinned(trace)
    return (trace.seconds[rows], *(trace.column(column)[rows] for column in columns))


def _joined(traces: list[Trace], name: str, ends: list[float]) -> Lines | None:
    """The values of all traces at one row of times, those of one that has ended as they were then; None where they are not known.

    Args:
        ends: the last times of those that go on [s]: no farther, or the slower one would seem to stand still.
    """
    longest = max(traces, key=lambda trace: float(trace.seconds[-1]))
    x = longest.seconds[_thinned(longest)]
    x = x[: max(2, int((x <= min(ends, default=np.inf)).sum()))]
    values = [np.interp(x, trace.seconds, trace.column(name)) for trace in traces]
    return (x, *(np.maximum(y, _LEAST) for y in values)) if np.isfinite(values).all() else None
