"""Folders of experiments -> one report: their pages, with tables that sort and figures inside."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from siame_se3.analysis import html, html_run, metrics
from siame_se3.analysis.html import Html
from siame_se3.files import hardware, read_bytes, read_csv_table, read_text
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.servo.trajectory import Trajectory

_POSE = ("tx_cm", "ty_cm", "tz_cm", "tux_deg", "tuy_deg", "tuz_deg")
_TWIST = ("vx", "vy", "vz", "wx", "wy", "wz")
_MOST_PICTURE = 20_000_000  # bytes
_KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def bench_page(folders: Sequence[Path], command: str) -> str:
    """The report of experiments.

    Args:
        folders: of each experiment, with the report.md that it wrote and its figures.
        command: the command line.

    Raises:
        InputError: a page cannot be read.
    """
    parts, data = _robot_runs(folders)
    parts += [part for folder in folders for part in experiment(folder)]
    parts.append(html.section("Command", html.command(command)))
    names = ", ".join(folder.name for folder in folders)
    return html.page(f"Experiments: {names}", f"{hardware()}, {time.strftime('%Y-%m-%d')}", parts, data)


def _robot_runs(folders: Sequence[Path]) -> tuple[list[Html], dict[str, Any] | None]:
    """The paths and curves of the experiments that are one run of a robot (fig4, fig5), and their data; nothing where there is none."""
    found = {folder.name: run for folder in folders if (run := _robot_run(folder)) is not None}
    if not found:
        return [], None
    runs = Trajectory.joined(list(found.values()))
    table = metrics.rows(runs)
    drawn, data = html_run.drawing(runs, table, None, default_camera(), 0, alike=False)
    data["frame"] = "in the desired camera's frame"
    lines = [
        {
            "run": str(row.run),
            "experiment": name,
            "start [cm]": f"{100 * row.start_t_m:.2f}",
            "start [deg]": f"{row.start_r_deg:.2f}",
            "end [mm]": f"{1000 * row.end_t_m:.4g}",
            "end [deg]": f"{row.end_r_deg:.4g}",
        }
        for name, row in zip(found, table, strict=True)
    ]
    return [drawn, html.section("Robot runs", html.table(lines, [row.run for row in table]))], data


def _robot_run(folder: Path) -> Trajectory | None:
    """The run that an experiment wrote, its stages one after the other; None of another experiment."""
    path = folder / f"{folder.name.removesuffix('-arm')}.csv"
    if not path.is_file() or "tux_deg" not in read_text(path, _MOST_PICTURE)[:200]:
        return None
    rows = read_csv_table(path, ("stage", "iteration", *_POSE, *_TWIST), "run the experiment again")
    values = torch.tensor([[float(row[name]) for name in (*_POSE, *_TWIST)] for row in rows], dtype=torch.float64)
    stage = torch.tensor([int(row["stage"]) for row in rows])
    moves = values[:, 6:].isfinite().all(1)  # the last line of a stage is where it ended
    keep = moves | (torch.arange(len(rows)) == len(rows) - 1)
    p = torch.cat((values[:, :3] / 100, torch.deg2rad(values[:, 3:6])), 1)[keep]
    T, twist = len(p) - 1, values[moves, 6:]
    return Trajectory(
        T_wc=lie.pose_from_vector(p)[:, None],
        T_wd=torch.eye(4, dtype=torch.float64)[None],
        twist=twist[:, None],
        applied=twist[:, None],
        active=torch.ones(T, 1, dtype=torch.bool),
        stage=stage[moves][:, None],
        iterations=torch.tensor([T]),
        reason=["iterations"],
        step_seconds=torch.zeros(T, dtype=torch.float64),
        dt=0.04,
    )


def experiment(folder: Path) -> list[Html]:
    """A section for each heading of an experiment's page."""
    found: list[Html] = []
    pieces = re.split(r"^(#{1,2} .*)$", read_text(folder / "report.md"), flags=re.MULTILINE)
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        found.append(html.section(title.lstrip("# "), *markdown(text, folder)))
    return found


def markdown(text: str, folder: Path) -> list[Html]:
    """What the pages of experiments are made of: paragraphs, lists, tables, code, links, and pictures of the folder."""
    parts: list[Html] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        picture = re.fullmatch(r"!\[(.*)\]\(([\w.-]+)\)", block.strip())
        if picture and (folder / picture[2]).suffix in _KINDS and (folder / picture[2]).is_file():
            parts.append(html.figure(*_picture(folder / picture[2]), picture[1]))
        elif all(line.startswith("|") for line in lines) and len(lines) > 1:
            parts.append(_table(lines))
        elif all(line.startswith("- ") for line in lines) and lines:
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            parts.append(Html(f"<ul>{items}</ul>"))
        elif block.strip():
            parts.append(Html(f"<p>{_inline(block)}</p>"))
    return parts


def _picture(path: Path) -> tuple[bytes, str]:
    """A figure and its media type; one of photos is a third of its size as WebP."""
    content, kind = read_bytes(path, _MOST_PICTURE), _KINDS[path.suffix]
    if kind == "image/png":
        from PIL import Image

        stream = io.BytesIO()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            picture.convert("RGB").save(stream, "WEBP", quality=90)
        if len(stream.getvalue()) < len(content):
            return stream.getvalue(), "image/webp"
    return content, kind


def _table(lines: Sequence[str]) -> Html:
    head, _, *body = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    names = [name + "\u200b" * head[:k].count(name) for k, name in enumerate(head)]  # columns of one name are two
    return html.table([dict(zip(names, row, strict=False)) | dict.fromkeys(names[len(row) :], "") for row in body])


def _inline(text: str) -> str:
    """Code and links of one block; all else is text."""
    found = html.text(" ".join(text.split())).code
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", found)
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", found)  # a report stands alone: what it links to is elsewhere
