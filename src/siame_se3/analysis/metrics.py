"""Trajectory -> table rows. Pure.

Converged: translation error < 10 % of its start or < 1 cm, and rotation error < 10 % of its start or < 1 deg.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import from_dict, read_csv_rows, write_csv_rows
from siame_se3.geometry import lie
from siame_se3.laws.certainty import sigmas
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.limits import Limit, adaptive_gain, limited
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory


@dataclass(frozen=True)
class Row:
    """One run: a line of runs.csv."""

    run: int
    start_t_m: float
    start_r_deg: float
    end_t_m: float
    end_r_deg: float
    path_t_m: float
    path_r_deg: float
    iterations: int
    converged: int
    step_ms: float
    reason: str = ""
    switch: int = -1  # iteration at which the second part of a hand-off took over for good, -1 for never
    # of laws that say so, NaN else (nothing in the file)
    confidence_start: float = math.nan
    confidence_least: float = math.nan
    pose_sigma_t_m: float = math.nan  # standard deviations of the pose at the end, by the law
    pose_sigma_r_deg: float = math.nan


_CERTAINTY = ("confidence_start", "confidence_least", "pose_sigma_t_m", "pose_sigma_r_deg")  # may be missing


def converged(start_t: Tensor, start_r: Tensor, end_t: Tensor, end_r: Tensor) -> Bool[Tensor, "*B"]:
    """The criterion above; lengths [m], angles [rad]."""
    t = (end_t < 0.1 * start_t) | (end_t < 0.01)
    r = (end_r < 0.1 * start_r) | (end_r < math.radians(1))
    return t & r


def _followed(settings: dict[str, Any]) -> tuple[ServoConfig, tuple[Limit, ...]]:
    """How the commands of a trajectory were made: its servo settings, and all limits that they were under."""
    config = ServoConfig(**settings.get("servo", {}))
    if not (kept := settings.get("safety")):
        return config, config.limits
    T_tc = settings.get("T_tc")
    safety = from_dict(Safety, kept, "the trajectory's settings")
    return config, (*config.limits, *safety.limits(None if T_tc is None else torch.tensor(T_tc, dtype=torch.float64)))


def path_errors(trajectory: Trajectory) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Mean distance [m] and angle [rad] over a run between the camera and PBVS's, started alike, at the same gain and limits.

    The paper's 'trajectory absolute error': the reference follows Eq. 3 from the same start, iteration by iteration.
    """
    config, limits = _followed(trajectory.settings)
    T = trajectory.T_wc[0].clone()
    T_dw = lie.inverse(trajectory.T_wd)
    sum_t = torch.zeros(len(T), dtype=T.dtype)
    sum_r = torch.zeros_like(sum_t)
    previous = torch.zeros(len(T), 6, dtype=T.dtype)
    for k in range(len(trajectory.twist)):
        v = pbvs_velocity(T_dw @ T)
        gain = adaptive_gain(v, config.gain, config.gain_at_rest, config.gain_slope)
        previous = limited(limits, gain * v, previous, trajectory.dt)
        T = T @ lie.exp(previous * trajectory.dt)
        actual = trajectory.T_wc[k + 1]
        t = (actual[..., :3, 3] - T[..., :3, 3]).norm(dim=-1)
        r = lie.so3_log(T[..., :3, :3].mT @ actual[..., :3, :3]).norm(dim=-1)
        on = trajectory.active[k]
        sum_t, sum_r = sum_t + t * on, sum_r + r * on
    count = trajectory.iterations.clamp(min=1)
    return sum_t / count, sum_r / count


def rows(trajectory: Trajectory) -> list[Row]:
    """One row a run, in order."""
    t, r = trajectory.error_norms
    path_t, path_r = path_errors(trajectory)
    done = converged(t[0], r[0], t[-1], r[-1])
    switches = switch_iterations(trajectory.stage)
    step = statistics.median(trajectory.step_seconds.tolist()) * 1e3 if len(trajectory.step_seconds) else 0.0
    certainty = certainties(trajectory)
    return [
        Row(
            k,
            float(t[0, k]),
            math.degrees(float(r[0, k])),
            float(t[-1, k]),
            math.degrees(float(r[-1, k])),
            float(path_t[k]),
            math.degrees(float(path_r[k])),
            int(trajectory.iterations[k]),
            int(done[k]),
            step,
            trajectory.reason[k],
            int(switches[k]),
            *certainty[k],
        )
        for k in range(t.shape[1])
    ]


def certainties(trajectory: Trajectory) -> list[tuple[float, float, float, float]]:
    """Of each run the last four of a row: the law's confidence at the start and at its least, and standard deviations of the end pose [m, deg]; NaN
    where the law says nothing."""
    confidence, (t, r) = trajectory.confidences, sigmas(trajectory.covariances)
    first = confidence[0] if len(confidence) else torch.full_like(t, torch.nan)
    least = torch.where(confidence.isnan(), torch.inf, confidence).amin(0) if len(confidence) else first
    columns = (first.double(), torch.where(least.isinf(), torch.nan, least).double(), t, torch.rad2deg(r))
    values = torch.stack(columns, 1).tolist()
    return [(a, b, c, d) for a, b, c, d in ((math.nan if math.isnan(x) else x for x in row) for row in values)]


def switch_iterations(stage: Int[Tensor, "T n"]) -> Int[Tensor, "n"]:
    """Iteration from which on each run was in a later stage than its first until its end; -1 if it ended in its first."""
    T, n = stage.shape
    if T == 0:
        return torch.full((n,), -1)
    coarse = stage == 0
    after = torch.where(coarse, torch.arange(1, T + 1)[:, None], 0).amax(0)  # the iteration after the last coarse one
    ended = (stage >= 0).sum(0)
    return torch.where((stage > 0).any(0) & (after < ended), after, -1)


@dataclass(frozen=True)
class Summary:
    """A line of a table: means +- standard deviations; end errors over all runs, and over the converged."""

    runs: int
    converged_percent: float
    start_t_m: tuple[float, float]
    start_r_deg: tuple[float, float]
    end_t_m: tuple[float, float]
    end_r_deg: tuple[float, float]
    end_t_converged_m: tuple[float, float]
    end_r_converged_deg: tuple[float, float]
    median_end_t_m: float
    median_end_r_deg: float
    path_t_m: float
    path_r_deg: float
    iterations: float
    step_ms: float
    switched: int = 0  # runs that a hand-off gave to its second law
    switch: float = math.nan  # median iteration of that, and the latest
    switch_last: int = -1


def summary(table: Sequence[Row]) -> Summary:
    """Means and spreads of the rows."""

    def stats(values: list[float]) -> tuple[float, float]:
        if not values:
            return math.nan, math.nan
        x = torch.tensor(values, dtype=torch.float64)
        return float(x.mean()), float(x.std(unbiased=False))

    def middle(values: list[float]) -> float:
        return statistics.median(values) if values else math.nan

    good = [r for r in table if r.converged]
    switches = [r.switch for r in table if r.switch >= 0]
    return Summary(
        len(table),
        100 * len(good) / max(1, len(table)),
        stats([r.start_t_m for r in table]),
        stats([r.start_r_deg for r in table]),
        stats([r.end_t_m for r in table]),
        stats([r.end_r_deg for r in table]),
        stats([r.end_t_m for r in good]),
        stats([r.end_r_deg for r in good]),
        middle([r.end_t_m for r in table]),
        middle([r.end_r_deg for r in table]),
        stats([r.path_t_m for r in good])[0],
        stats([r.path_r_deg for r in good])[0],
        middle([float(r.iterations) for r in table]),
        table[0].step_ms if table else math.nan,
        len(switches),
        middle([float(k) for k in switches]),
        max(switches, default=-1),
    )


def format_summary(s: Summary, title: str = "") -> str:
    """The table that commands print; ends in mm where they are below one on average, else in cm."""
    small = s.end_t_m[0] < 1e-3
    unit, factor, digits = ("mm", 1e3, 4) if small else ("cm", 100.0, 3)

    def text(value: tuple[float, float], unit: str, digits: int, runs: int = s.runs) -> str:
        return f"{_spread(value, digits, alone=runs == 1)} {unit}"

    def pair(t: tuple[float, float], r: tuple[float, float], runs: int = s.runs) -> str:
        scaled = (factor * t[0], factor * t[1])
        return f"{text(scaled, unit, 3, runs):<22}{text(r, 'deg', digits, runs)}"

    def one(value: float) -> tuple[float, float]:
        return value, math.nan

    start = (100 * s.start_t_m[0], 100 * s.start_t_m[1])
    paths = f"{text(one(100 * s.path_t_m), 'cm', 2):<22}{text(one(s.path_r_deg), 'deg', 2)}"
    good = round(s.converged_percent * s.runs / 100)
    line = [
        f"{title or 'servo'}: {s.runs} run{'s' * (s.runs != 1)}",
        f"  start       {text(start, 'cm', 2):<22}{text(s.start_r_deg, 'deg', 2)}",
        f"  end, all    {pair(s.end_t_m, s.end_r_deg)}",
        f"  end, conv.  {pair(s.end_t_converged_m, s.end_r_converged_deg, good) if good else 'no run converged'}",
        f"  end, median {pair(one(s.median_end_t_m), one(s.median_end_r_deg))}",
        f"  path error  {paths + '   (against PBVS, converged runs)' if good else 'no run converged'}",
        f"  converged   {s.converged_percent:6.1f} %     iterations {s.iterations:g} (median)     law {s.step_ms:.3g} ms a run and step",
    ]
    if s.switched:
        runs = f"{s.switched:6d} run{'s' * (s.switched != 1)}"
        line.append(f"  handed over {runs}, at iteration {s.switch:g} (median), {s.switch_last} at the latest")
    return "\n".join(line)


def _spread(value: tuple[float, float], digits: int, alone: bool) -> str:
    """'12.50 +- 7.50'; without what is not there, and 'below 0.001' where all of it would print as zero."""
    mean, deviation = value
    least = 10.0**-digits
    more = not (alone or math.isnan(deviation))
    if abs(mean) < least / 2 and not (more and deviation >= least / 2):
        return f"below {least:.{digits}f}"
    return f"{mean:6.{digits}f}" + (f" +- {deviation:5.{digits}f}" if more else "")


def write_csv(table: Sequence[Row], path: str | Path) -> None:
    """runs.csv, one line a run, written whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    names = [f.name for f in fields(Row)]

    def text(name: str, value: Any) -> Any:
        if name in _CERTAINTY and math.isnan(value):
            return ""
        return f"{value:.9g}" if isinstance(value, float) else value

    write_csv_rows(path, names, ([text(name, v) for name, v in zip(names, astuple(row), strict=True)] for row in table))


def read_csv(path: str | Path) -> list[Row]:
    """Read what `write_csv` wrote; columns that it does not know are passed over.

    Raises:
        InputError: no such file, another kind of file, or a bad line, named by its number.
    """
    hint = "give a runs.csv that a servo run wrote"
    kinds: dict[str, Any] = {f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(Row)}
    kinds |= dict.fromkeys(_CERTAINTY, lambda text: float(text) if text else math.nan)
    lines = read_csv_rows(path, hint=hint)
    names = next(lines, (1, []))[1]
    needed = set(kinds) - {"reason", "switch", *_CERTAINTY}
    if missing := needed - set(names):
        raise InputError(f"{path}: no column '{sorted(missing)[0]}'; {hint}")
    table = []
    for number, values in lines:
        line = dict(zip(names, values, strict=False))
        try:
            if absent := needed - set(line):
                raise ValueError(f"no {sorted(absent)[0]}")
            table.append(Row(**{k: kind(line[k]) for k, kind in kinds.items() if k in line}))  # type: ignore[arg-type]  # a Row's fields take what `kinds` says
            if max(abs(table[-1].iterations), abs(table[-1].switch), abs(table[-1].run)) > 2**53:
                raise ValueError("a count of too many digits")
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {str(error)[:80]}; run the servo again") from None
    return table
