from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siame_se3.analysis.metrics import Row, converged, format_summary, path_errors, read_csv, rows, summary, write_csv
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS, PointIBVS
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

FUZZ = settings(derandomize=True, deadline=None, max_examples=100)
NUMBERS = [f.name for f in dataclasses.fields(Row) if str(f.type) == "float"]
COLUMNS = [
    "run",
    "start_t_m",
    "start_r_deg",
    "end_t_m",
    "end_r_deg",
    "path_t_m",
    "path_r_deg",
    "iterations",
    "converged",
    "step_ms",
]

floats = st.floats(allow_nan=False, width=64)
table_rows = st.builds(
    Row,
    run=st.integers(0, 10**9),
    **dict.fromkeys(NUMBERS, floats),
    iterations=st.integers(0, 10**6),
    converged=st.integers(0, 1),
    reason=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics") / "runs.csv"


def poses(n: int, spread: float = 0.1, seed: int = 0) -> Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return T @ lie.pose_from_vector(spread * p)


def served(controller: Any, n: int, scene: Scene, **config: Any) -> Trajectory:
    plant = FlyingCameras(scene, Camera.from_focal(8, 8))
    T_wd = poses(n, 0.02, seed=1)
    return servo(plant, controller, plant.look(T_wd), poses(n), ServoConfig(**config))


def row(**changes: Any) -> Row:
    values = {"run": 0, **dict.fromkeys(NUMBERS, 0.1), "iterations": 9, "converged": 1} | changes
    return Row(**values)


DEG = math.radians(1)


@pytest.mark.parametrize(
    ("start_t", "start_r", "end_t", "end_r", "expected"),
    [
        (0.5, 40 * DEG, 0.049, 3.9 * DEG, True),  # below 10 % of both
        (0.5, 40 * DEG, 0.051, 3.9 * DEG, False),
        (0.5, 40 * DEG, 0.049, 4.1 * DEG, False),
        (0.05, 2 * DEG, 0.0099, 0.99 * DEG, True),  # below 1 cm and 1 deg
        (0.05, 2 * DEG, 0.0101, 0.99 * DEG, False),
        (0.05, 2 * DEG, 0.0099, 1.01 * DEG, False),
        (0.5, 2 * DEG, 0.049, 0.99 * DEG, True),  # one of each
        (0.0, 0.0, 0.0, 0.0, True),
        (0.5, 40 * DEG, math.nan, 0.0, False),
        (0.5, 40 * DEG, 0.0, math.nan, False),
    ],
)
def test_converged(start_t: float, start_r: float, end_t: float, end_r: float, expected: bool) -> None:
    values = (torch.tensor([x], dtype=torch.float64) for x in (start_t, start_r, end_t, end_r))
    assert converged(*values).tolist() == [expected]


@pytest.mark.parametrize(
    "config",
    [{}, {"gain": 10.0, "max_v": 0.1, "max_w": 0.3}, {"gain_at_rest": 9.0}, {"max_acceleration_v": 0.5, "max_iterations": 30}],
    ids=str,
)  # fmt: skip
def test_pbvs_leaves_its_own_path_by_nothing(scene: Scene, config: dict[str, float]) -> None:
    trajectory = served(PBVS(), 8, scene, **config)
    assert len(set(trajectory.iterations.tolist())) > 1 or "max_iterations" in config
    for errors in path_errors(trajectory):
        assert errors.shape == (8,)
        assert float(errors.max()) < 1e-9


def test_pbvs_within_a_tools_limits_leaves_its_own_path_by_nothing(scene: Scene) -> None:
    """The reference obeys all that the run obeyed: the guard's limits of axes, also those of a tool half a metre away."""

    class WithTool(WrappedPlant):
        T_tc = lie.pose_from_vector(torch.tensor([0.0, 0, 0.5, 0.1, 0, 0], dtype=torch.float64))  # type: ignore[assignment]  # fixed here

    cameras = FlyingCameras(scene, Camera.from_focal(32, 32))
    plant, target, start = WithTool(cameras), cameras.look(poses(1, 0.02, seed=1)), poses(1)
    slow = Safety(max_twist=(0.02,) * 3 + (0.05,) * 3, max_change=(0.1,) * 6, jump=1.0, drift=0.0)
    trajectory = servo(plant, PBVS(), target, start, ServoConfig(gain=5.0, max_iterations=80), safety=slow)
    free = servo(plant, PBVS(), target, start, ServoConfig(gain=5.0, max_iterations=80))
    assert len(trajectory.twist) > 20
    assert float((trajectory.T_wc[20] - free.T_wc[20]).abs().max()) > 1e-3  # the limits matter
    for errors in path_errors(trajectory):
        assert float(errors.max()) < 1e-9


def test_path_error_is_the_mean_distance_to_pbvs(scene: Scene) -> None:
    """Against runs of PBVS at the same gain, one by one."""
    trajectory = served(PointIBVS(), 4, scene, max_iterations=40, settle_v=1e-3, settle_w=5e-3)
    reference = served(PBVS(), 4, scene, max_iterations=40, settle_v=1e-300, settle_w=1e-300)
    path_t, path_r = path_errors(trajectory)
    for k in range(4):
        count = int(trajectory.iterations[k])
        off = lie.inverse(reference.T_wc[1 : count + 1, k]) @ trajectory.T_wc[1 : count + 1, k]
        t, r = lie.error_norms(off)
        assert float(path_t[k]) == pytest.approx(float(t.mean()), rel=1e-9)
        assert float(path_r[k]) == pytest.approx(float(r.mean()), rel=1e-6)
        assert float(path_t[k]) > 1e-3


def test_rows_are_the_runs(scene: Scene) -> None:
    trajectory = served(PBVS(), 5, scene)
    seconds = torch.full_like(trajectory.step_seconds, 0.002)
    seconds[0] = 0.1  # the median counts
    trajectory = dataclasses.replace(trajectory, step_seconds=seconds)
    table = rows(trajectory)
    T_dc = lie.inverse(trajectory.T_wd) @ trajectory.T_wc
    for k, r in enumerate(table):
        for line, t_m, r_deg in ((0, r.start_t_m, r.start_r_deg), (-1, r.end_t_m, r.end_r_deg)):
            t, angle = lie.error_norms(T_dc[line, k])
            assert t_m == pytest.approx(float(t), rel=1e-12)
            assert r_deg == pytest.approx(math.degrees(float(angle)), rel=1e-12)
        assert (r.run, r.converged, r.reason) == (k, 1, "settled")
        assert r.iterations == int(trajectory.iterations[k])
        assert r.step_ms == pytest.approx(2)


def test_rows_of_more_batch_axes_are_in_order(scene: Scene) -> None:
    plant = FlyingCameras(scene, Camera.from_focal(8, 8))
    T_wd, T_wc = poses(6, 0.02, seed=1), poses(6)
    flat = servo(plant, PBVS(), plant.look(T_wd), T_wc)
    nested = servo(plant, PBVS(), plant.look(T_wd.reshape(3, 2, 4, 4)), T_wc.reshape(3, 2, 4, 4))
    for a, b in zip(rows(flat), rows(nested), strict=True):
        assert dataclasses.replace(a, step_ms=0.0) == dataclasses.replace(b, step_ms=0.0)


def test_rows_of_runs_that_never_moved(scene: Scene) -> None:
    trajectory = served(PBVS(), 3, scene, timeout=1e-9)
    for r in rows(trajectory):
        assert (r.iterations, r.path_t_m, r.step_ms, r.reason) == (0, 0, 0, "timeout")
        assert (r.end_t_m, r.end_r_deg) == (r.start_t_m, r.start_r_deg)


@pytest.mark.parametrize("n", [1, 4, 5])
def test_summary_is_means_spreads_and_medians(n: int) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.random(n) for name in NUMBERS}
    good = np.array([1, 0, 1, 1, 0])[:n]
    iterations = np.array([100, 7, 30, 20, 50])[:n]
    table = [
        row(run=k, iterations=int(iterations[k]), converged=int(good[k]), **{name: float(x[k]) for name, x in values.items()})
        for k in range(n)
    ]  # fmt: skip
    s = summary(table)
    assert s.runs == n
    assert s.converged_percent == pytest.approx(100 * good.mean())
    kept = good > 0
    for name, x in (
        ("start_t_m", values["start_t_m"]),
        ("start_r_deg", values["start_r_deg"]),
        ("end_t_m", values["end_t_m"]),
        ("end_r_deg", values["end_r_deg"]),
        ("end_t_converged_m", values["end_t_m"][kept]),
        ("end_r_converged_deg", values["end_r_deg"][kept]),
    ):
        assert getattr(s, name) == pytest.approx((x.mean(), x.std()), rel=1e-12)
    assert s.path_t_m == pytest.approx(values["path_t_m"][kept].mean(), rel=1e-12)
    assert s.path_r_deg == pytest.approx(values["path_r_deg"][kept].mean(), rel=1e-12)
    assert s.median_end_t_m == pytest.approx(np.median(values["end_t_m"]), rel=1e-6)
    assert s.median_end_r_deg == pytest.approx(np.median(values["end_r_deg"]), rel=1e-6)
    assert s.iterations == pytest.approx(np.median(iterations))


def test_summary_of_runs_that_all_failed_says_so() -> None:
    s = summary([row(converged=0), row(converged=0)])
    assert s.converged_percent == 0
    assert math.isnan(s.end_t_converged_m[0])
    assert math.isnan(s.path_t_m)
    text = format_summary(s)
    assert "0.0 %" in text
    assert "no run converged" in text
    assert "nan" not in text


def test_format_of_one_run_has_no_spread_and_no_plural() -> None:
    """It said '1 runs' and '0.000 +- 0.000 mm'."""
    one = format_summary(summary([row(end_t_m=0.00012, end_r_deg=0.00456, switch=5)]))
    assert "servo: 1 run\n" in one
    assert " 1 run, at iteration 5" in one
    assert "+-" not in one
    assert "0.120 mm" in one
    two = format_summary(summary([row(end_t_m=0.00012, converged=k) for k in range(2)]))
    assert [("+-" in line) for line in two.splitlines()[1:4]] == [True, True, False]


def test_format_of_ends_below_the_last_digit_says_below() -> None:
    for table in ([row(end_t_m=1e-8, end_r_deg=1e-7)] * 2, [row(end_t_m=0.0, end_r_deg=0.0)]):
        text = format_summary(summary(table))
        assert "end, all    below 0.001 mm        below 0.0001 deg" in text
        assert "0.000 +-" not in text
    assert "law 0.004 ms" in format_summary(summary([row(step_ms=0.004)]))


def test_format_is_in_centimetres_and_degrees() -> None:
    table = [row(start_t_m=0.125, start_r_deg=17.5, end_t_m=0.00321, end_r_deg=0.456)] * 2
    text = format_summary(summary(table), "pbvs on coffee")
    for words in ("pbvs on coffee", "2 runs", "12.50", "17.50", "0.321", "0.456", "100.0 %"):
        assert words in text


def test_format_of_exact_ends_is_in_millimetres_and_tells_of_the_switch() -> None:
    table = [row(end_t_m=0.00012, end_r_deg=0.00456, switch=k) for k in (-1, 17, 23, 40)]
    text = format_summary(summary(table))
    for words in ("0.120 +- 0.000 mm", "0.0046 +-", "3 runs, at iteration 23 (median), 40 at the latest"):
        assert words in text
    assert "handed over" not in format_summary(summary(table[:1]))


@given(st.lists(table_rows, max_size=4))
@settings(FUZZ, max_examples=50)
@pytest.mark.slow
def test_csv_round_trip(file: Path, table: list[Row]) -> None:
    write_csv(table, file)
    again = read_csv(file)
    assert len(again) == len(table)
    for a, b in zip(table, again, strict=True):
        for name, value in dataclasses.asdict(a).items():
            other = getattr(b, name)
            assert type(other) is type(value)
            assert other == (pytest.approx(value, rel=1e-8) if isinstance(value, float) else value)


def test_csv_has_the_columns(file: Path) -> None:
    write_csv([row()], file)
    with file.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    assert lines[0][: len(COLUMNS)] == COLUMNS
    assert len(lines) == 2


def test_csv_is_written_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv([row()], file)
    before = file.read_bytes()
    with pytest.raises(TypeError):
        write_csv([row(), None], file)  # type: ignore[list-item]  # what breaks the writing
    assert file.read_bytes() == before


def assert_refused(file: Path, words: str | None = None) -> None:
    with pytest.raises(SiameError, match=words) as caught:
        read_csv(file)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("bad", ["0,x,1,1,1,1,1,5,1,2,", "0,1,1", "0,1,1,1,1,1,1,5.5,1,2,", "one,1,1,1,1,1,1,5,1,2,"])
@pytest.mark.parametrize("blank", [0, 2])
def test_bad_line_is_named(file: Path, bad: str, blank: int) -> None:
    write_csv([row(), row(run=1)], file)
    text = file.read_text(encoding="utf-8") + "\n" * blank + bad + "\n"
    file.write_text(text, encoding="utf-8")
    assert_refused(file, rf"line {4 + blank}\b")


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column_is_named(file: Path, column: str) -> None:
    names = [name for name in COLUMNS if name != column]
    file.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert_refused(file, f"'{column}'")


def test_csv_without_reasons_can_be_read(file: Path) -> None:
    file.write_text(",".join(COLUMNS) + "\n" + ",".join("1" for _ in COLUMNS) + "\n")
    assert read_csv(file)[0].reason == ""


def test_missing_csv_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.csv", "no such file")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda x: (",".join(COLUMNS) + "\n" + x).encode("utf-8", "replace"))))  # fmt: skip
@FUZZ
def test_any_bytes_are_rows_or_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        assert all(isinstance(r, Row) for r in read_csv(file))
    except SiameError as error:
        assert str(error).startswith(str(file))
        assert len(str(error).splitlines()) == 1


def test_how_sure_the_law_was_is_in_the_rows(scene: Scene, file: Path) -> None:
    trajectory = served(PBVS(), 3, scene)
    assert all(math.isnan(x) for r in rows(trajectory) for x in dataclasses.astuple(r)[-4:])
    confidence = torch.full(trajectory.active.shape, torch.nan)
    confidence[0] = torch.tensor([0.75, 0.5, torch.nan])
    confidence[2, :2] = torch.tensor([0.25, 1.0])
    covariance = torch.full((3, 6, 6), torch.nan, dtype=torch.float64)
    covariance[1] = torch.diag(torch.tensor([4e-6, 1e-6, 4e-6, 0, 0, math.radians(0.1) ** 2], dtype=torch.float64))
    table = rows(dataclasses.replace(trajectory, confidence=confidence, covariance=covariance))
    assert [(r.confidence_start, r.confidence_least) for r in table[:2]] == [(0.75, 0.25), (0.5, 0.5)]
    assert math.isnan(table[2].confidence_least)
    assert table[1].pose_sigma_t_m == pytest.approx(0.003)
    assert table[1].pose_sigma_r_deg == pytest.approx(0.1)
    assert math.isnan(table[0].pose_sigma_t_m)
    write_csv(table, file)
    assert file.read_text(encoding="utf-8").splitlines()[3].endswith(",,,,")
    again = read_csv(file)
    assert again[1].pose_sigma_t_m == pytest.approx(0.003)
    assert math.isnan(again[2].confidence_start)


def test_a_table_of_an_older_version_is_read(file: Path) -> None:
    write_csv([row()], file)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(line.rsplit(",", 4)[0] for line in lines) + "\n", encoding="utf-8")
    (old,) = read_csv(file)
    assert dataclasses.astuple(old)[:-4] == dataclasses.astuple(row())[:-4]
    assert math.isnan(old.pose_sigma_t_m)
