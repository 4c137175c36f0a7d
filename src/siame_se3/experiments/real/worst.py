"""Pictures of the worst cases of `siame bench real`: the goal, the camera's view, and both over each other.

In the third, the goal is red and the other view, as the law's answer would have it in the goal's place, is cyan: what fits is grey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.style import new_figure, save, show_image
from siame_se3.experiments.real import one_step, two_photos
from siame_se3.experiments.real.pictures import Folder, Picture
from siame_se3.experiments.real.rows import Settings
from siame_se3.experiments.real.worlds import drawn
from siame_se3.geometry import lie
from siame_se3.geometry.plane import depth as plane_depth
from siame_se3.laws.types import View

MOST = 8  # rows of a figure
_Row = dict[str, str]
_Image = Float[Tensor, "3 h w"]


@dataclass(frozen=True, eq=False)
class Case:
    """A row of the figure: the goal image, the other view, and that view in the goal's place (NaN where it shows nothing); a title above each."""

    titles: tuple[str, str, str]
    goal: _Image
    view: _Image
    warped: _Image


def figure(cases: Sequence[Case], path: Path) -> None:
    """Write a figure, a row a case."""
    made = new_figure(9.0, 3.2 * len(cases))
    axes = made.subplots(len(cases), 3, squeeze=False)
    for row, case in zip(axes, cases, strict=True):
        images = (case.goal, case.view, overlay(case.goal, case.warped))
        for cell, image, title in zip(row, images, case.titles, strict=True):
            show_image(cell, image, title)
            cell.title.set_fontsize(8)
    save(made, path)


def overlay(goal: _Image, other: _Image) -> _Image:
    """The goal in red and the other in cyan, as grey levels; where the other shows nothing, the goal, dark."""
    a, b = goal.mean(0), other.mean(0)
    known = b.isfinite()
    return torch.stack((torch.where(known, a, 0.3 * a), *2 * [torch.where(known, b.nan_to_num(0.0), 0.3 * a)]))


def worst_steps(rows: Sequence[_Row]) -> list[_Row]:
    """Of each law, with a map and with a plane, the answer that leads farthest from the goal beside its start; the worst law first."""
    answered = [row for row in rows if row["answered"] == "1"]
    return _worst_of_each(
        answered, ("law", "depth"), lambda row: float(row["error_align"]) / max(1e-9, float(row["start_align"]))
    )


def worst_runs(rows: Sequence[_Row]) -> list[_Row]:
    """Of each law, the run that ends farthest from being aligned, of two photos; the worst law first."""
    return _worst_of_each(
        [row for row in rows if row["goal"] != row["world"]], ("law",), lambda row: float(row["end_align"])
    )


def _worst_of_each(rows: Sequence[_Row], key: tuple[str, ...], badness: Callable[[_Row], float]) -> list[_Row]:
    found: dict[tuple[str, ...], _Row] = {}
    for row in sorted(rows, key=badness):
        found[tuple(row[name] for name in key)] = row
    return sorted(found.values(), key=badness, reverse=True)[:MOST]


def step_case(row: _Row, folder: Folder) -> Case:
    """Of a row of one_step.csv."""
    goal, current = _picture(folder, row["goal"]), _picture(folder, row["current"])
    target = one_step.view_of(goal)
    assert target.image is not None
    seen = one_step.view_of(current, side=target.image.shape[-1])
    assert seen.image is not None
    v = torch.tensor([float(row[name]) for name in one_step.TWIST], dtype=torch.float64)
    titles = (
        f"{row['law']}, depth {row['depth']}\ngoal {_short(row['goal'])}",
        f"{_cm(row['start_t_m'])} cm, {float(row['start_r_deg']):.1f} deg away\ncurrent {_short(row['current'])}",
        f"moved by the law: {_cm(row['error_t_m'])} cm, {float(row['error_r_deg']):.1f} deg away\n"
        f"{float(row['start_align']):.1f} to {float(row['error_align']):.1f} % of the image",
    )
    T_cd = lie.pose(lie.so3_exp(v[3:]), v[:3])
    return Case(titles, target.image[0], seen.image[0], _moved(target, seen.image[0], T_cd))


def _moved(target: View, image: _Image, T_cd: Float[Tensor, "4 4"]) -> _Image:
    """An image as it is at the goal's pixels, by their depth and a pose of the goal in its frame; NaN where it shows nothing of them."""
    camera = target.camera
    assert camera is not None
    assert target.T_wc is not None
    Z = plane_depth(camera, target.T_wc[0]) if target.depth_map is None else target.depth_map[0].double()
    X = (camera.rays(camera.pixel_grid()) * Z[..., None]) @ T_cd[:3, :3].T + T_cd[:3, 3]
    pixels = (
        torch.where(X[..., 2:] > 1e-6, camera.project(X), torch.nan)
        .float()
        .nan_to_num(-1e4, -1e4, -1e4)
        .clamp(-1e4, 1e4)
    )
    nothing = (float("nan"),) * 3
    found = cv2.remap(
        *(image.permute(1, 2, 0).numpy(), pixels[..., 0].numpy(), pixels[..., 1].numpy(), cv2.INTER_LINEAR),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=nothing,
    )
    return torch.from_numpy(np.ascontiguousarray(found)).permute(2, 0, 1)


def run_case(row: _Row, folder: Folder, settings: Settings) -> Case:
    """Of a row of two_photos.csv: the view is where the run ended."""
    goal, world = _picture(folder, row["goal"]), _picture(folder, row["world"])
    run = int(row["run"])
    d = drawn(goal, world, settings.runs, settings.seed)
    T_dc = lie.pose_from_vector(torch.tensor([float(row[name]) for name in two_photos.END], dtype=torch.float64))
    wanted, end = d.target.image, d.there.look((d.T_wd[run] @ T_dc)[None]).image
    assert wanted is not None
    assert end is not None
    titles = (
        f"{row['law']}, run {row['run']}\ngoal {_short(row['goal'])}",
        f"from {_cm(row['start_t_m'])} cm, {float(row['start_r_deg']):.1f} deg away\nend, in {_short(row['world'])}",
        f"{_cm(row['end_t_m'])} cm, {float(row['end_align']):.2f} % of the image away\n{row['reason'][:60]}",
    )
    return Case(titles, wanted[run], end[0], end[0])


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"...{name[-23:]}"


def _picture(folder: Folder, name: str) -> Picture:
    return next(picture for picture in folder.pictures if picture.name == name)


def _cm(metres: str) -> str:
    return f"{100 * float(metres):.1f}"


def write(settings: Settings, folders: Sequence[Folder]) -> list[str]:
    """Write the figures of the worst cases of these folders; pieces of the report that show them."""
    by_name = {folder.name: folder for folder in folders}
    shown = {(folder.name, picture.name) for folder in folders for picture in folder.pictures}
    place, pieces = settings.out / "real", []
    steps = worst_steps(
        [row for row in one_step.table(settings).rows if {_of(row, "goal"), _of(row, "current")} <= shown]
    )
    if steps:
        cases = [step_case(row, by_name[row["folder"]]) for row in steps]
        figure(cases, place / "worst_one_step.png")
        pieces += ["Of each law the worst of its steps:", "![the worst steps](worst_one_step.png)"]
    runs = worst_runs(
        [row for row in two_photos.table(settings).rows if {_of(row, "goal"), _of(row, "world")} <= shown]
    )
    if runs:
        cases = [run_case(row, by_name[row["folder"]], settings) for row in runs]
        figure(cases, place / "worst_two_photos.png")
        pieces += ["Of each law the run that ended farthest from the goal:", "![the worst runs](worst_two_photos.png)"]
    return pieces


def _of(row: _Row, which: str) -> tuple[str, str]:
    return row["folder"], row[which]
