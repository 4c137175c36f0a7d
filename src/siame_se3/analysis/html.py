"""The template of reports: one self-contained page of HTML that opens without a network. All text is escaped here.

A page is a title, tiles of numbers, sections, and the data that its script draws (`assets/report.js`): paths that can be turned, curves, a
table that chooses a run. Light and dark and narrow windows are in `assets/report.css`.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siame_se3.files import bundled, write_text

_MOST_TEXT = 2000  # characters of one value


@dataclass(frozen=True)
class Html:
    """HTML that needs no escaping, as it was made here."""

    code: str


def text(value: Any) -> Html:
    """Any value as text."""
    shown = str(value).encode("utf-8", "replace").decode()  # half characters cannot be written
    return Html(html.escape(shown if len(shown) <= _MOST_TEXT else shown[:_MOST_TEXT] + " ..."))


def joined(parts: Sequence[Html]) -> Html:
    """One after the other."""
    return Html("\n".join(part.code for part in parts))


def paragraph(value: Any, kind: str = "") -> Html:
    """A paragraph of text."""
    named = f' class="{kind}"' if kind else ""
    return Html(f"<p{named}>{_code(value)}</p>")


def section(title: str | Html, *parts: Html) -> Html:
    """A card with a title."""
    heading = f"<h2>{_code(title)}</h2>" if title else ""
    return Html(f"<section>{heading}{joined(parts).code}</section>")


def side_by_side(*sections: Html) -> Html:
    """Two sections; one below the other in narrow windows."""
    return Html(f'<div class="two">{joined(sections).code}</div>')


def tiles(values: Mapping[str, str]) -> Html:
    """Numbers in large, by what they are."""
    each = "".join(f'<div class="tile"><b>{_code(v)}</b><span>{_code(k)}</span></div>' for k, v in values.items())
    return Html(f'<div class="tiles">{each}</div>')


def table(
    rows: Sequence[Mapping[str, Any]], runs: Sequence[int] | None = None, bad: Sequence[bool] | None = None
) -> Html:
    """Rows with equal keys; columns sort.

    Args:
        runs: number of the run that a row is of, for the script.
        bad: which rows are marked.
    """
    if not rows:
        return paragraph("Nothing has been run.", "note")
    names = list(rows[0])
    words = {name for name in names if not any(_is_number(row[name]) for row in rows)}
    lines = []
    for k, row in enumerate(rows):
        of = "" if runs is None else f' data-run="{int(runs[k])}"'
        mark = " bad" if bad is not None and bad[k] else ""
        cells = "".join(f'<td class="{"text" if n in words else ""}{mark}">{_code(row[n])}</td>' for n in names)
        lines.append(f"<tr{of}>{cells}</tr>")
    head = "".join(f'<th class="{"text" if name in words else ""}">{_code(name)}</th>' for name in names)
    body = "\n".join(lines)
    return Html(
        f'<div class="scroll"><table class="sorts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _is_number(value: Any) -> bool:
    try:
        float(str(value).split()[0])
    except (ValueError, IndexError):
        return False
    return True


def data_uri(content: bytes, kind: str) -> str:
    """A file inside the page; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def jpeg_uri(pixels: np.ndarray, side: int = 0) -> str:
    """RGB (h, w, 3) uint8 as a JPEG inside the page, at most `side` px wide and high (0: as it is)."""
    import cv2

    scale = side / max(pixels.shape[:2]) if side else 1.0
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, 88))
    assert done, "OpenCV makes a JPEG of any 8-bit image"
    return data_uri(encoded.tobytes(), "image/jpeg")


def strip(pictures: Sequence[tuple[str, np.ndarray]], large: bool = False) -> Html:
    """Pictures (h, w, 3) uint8 beside each other, with what they show."""
    each = "".join(
        f'<figure><img src="{jpeg_uri(pixels, 480 if large else 320)}" alt="{_code(caption)}"><figcaption>{_code(caption)}</figcaption></figure>'
        for caption, pixels in pictures
    )
    return Html(f'<div class="strip{" large" * large}">{each}</div>')


def figure(content: bytes, kind: str, caption: str) -> Html:
    """One wide picture."""
    return Html(f'<figure class="wide"><img src="{data_uri(content, kind)}" alt="{_code(caption)}"></figure>')


def command(line: str) -> Html:
    """A command line."""
    return Html(f"<pre><code>{_code(line)}</code></pre>")


def settings(values: Mapping[str, Any]) -> Html:
    """Names and values; groups can be opened."""
    plain = {k: v for k, v in values.items() if not isinstance(v, Mapping)}
    groups = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    rows = "".join(f"<dt>{_code(k)}</dt><dd>{_code(_value(v))}</dd>" for k, v in plain.items())
    opened = "".join(f"<details><summary>{_code(k)}</summary>{settings(v).code}</details>" for k, v in groups.items())
    return Html(f"<dl>{rows}</dl>{opened}")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list | tuple):
        return ", ".join(_value(x) for x in value)
    return "-" if value is None else str(value)


def chart_canvas(number: int, title: str) -> Html:
    """Where the script draws chart `number` of the page's data."""
    return Html(f'<canvas class="chart" data-chart="{int(number)}" role="img" aria-label="{_code(title)}"></canvas>')


def paths_canvas(keys: Mapping[str, str], one: str = "") -> Html:
    """Where the script draws the paths, with their colours' names, and a slider through the run shown; `one` is its name where there is only one."""
    name = _code(one) if one else 'run <span class="which"></span>'
    legend = "".join(
        f'<span class="key" style="color:var(--{colour})"><i></i>{_code(name)}</span>' for name, colour in keys.items()
    )
    return Html(
        '<div class="space"><canvas id="paths" tabindex="0" role="img" '
        'aria-label="paths of the cameras; drag or use the arrow keys to turn them"></canvas></div>'
        f'<div class="bar">{legend}</div><div class="bar"><button id="play" type="button">Play</button>'
        '<input id="at" type="range" min="0" max="1" step="0.001" value="1" aria-label="along the run">'
        f"<span>{name}; drag to turn; click, then wheel to zoom</span></div>"
    )


def page(title: str, lead: str, parts: Sequence[Html], data: Mapping[str, Any] | None = None) -> str:
    """The whole page.

    Args:
        title: of page and window.
        lead: the line below it.
        parts: of the body.
        data: what the script draws; numbers that are not finite become null.
    """
    style, script = (bundled(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    given = "" if data is None else f'<script type="application/json" id="data">{_json(data)}</script>\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_code(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{_code(title)}</h1>\n<p class="lead">{_code(lead)}</p>\n{joined(parts).code}\n'
        f"<footer>Made by siame-se3.</footer>\n</main>\n{given}<script>\n{script}</script>\n</body>\n</html>\n"
    )


def write_page(path: str | Path, content: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    write_text(path, content)


def rounded(values: Any, digits: int = 4) -> Any:
    """Nested lists of numbers with so many significant digits; None for those that are not finite."""
    if isinstance(values, list | tuple):
        return [rounded(x, digits) for x in values]
    return float(f"{values:.{digits}g}") if math.isfinite(values) else None


def _json(data: Mapping[str, Any]) -> str:
    """JSON that no text in it can end early."""
    found = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _code(value: Any) -> str:
    """HTML as it is, anything else escaped."""
    return value.code if isinstance(value, Html) else text(value).code
