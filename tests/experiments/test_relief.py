"""Scenes with depth: what is drawn, the rows, and that a stopped benchmark goes on."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from siame_se3 import cli
from siame_se3.errors import InputError, SceneError
from siame_se3.experiments import relief, relief_page, relief_runs
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief

CAMERA = relief.CAMERA.resized(80, 60)


@pytest.fixture(scope="module")
def boxes(photo: Scene) -> Relief:
    """As large as a pile of objects."""
    return Relief.drawn(replace(photo, width=0.5, height=0.4), 0.12, 3, ("box", "cylinder"))


@pytest.fixture(scope="module")
def trials(boxes: Relief) -> list[relief.Trial]:
    return [relief.trial(boxes, seed) for seed in range(12)]


def test_goals_and_starts_are_as_the_protocol_says(trials: list[relief.Trial]) -> None:
    for one in trials:
        assert 0.5 <= one.distance <= 0.9
        tilt = math.degrees(math.acos(float(one.T_wd[2, 2])))
        assert tilt <= 30 + 1e-9
        X = relief.seen_points(one.scene, one.T_wd)
        X_c = (X - one.T_wc[:3, 3]) @ one.T_wc[:3, :3]
        u, v = relief.CAMERA.project(X_c[X_c[:, 2] > 0]).unbind(1)
        seen = ((u > -0.5) & (u < 639.5) & (v > -0.5) & (v < 479.5)).sum()
        assert float(seen) >= 0.3 * len(X)
        assert float(one.T_wc[2, 3]) <= -0.2
    starts = torch.stack([lie.inverse(one.T_wd) @ one.T_wc for one in trials])
    t, r = lie.error_norms(starts)
    assert 0.12 < float(t.mean()) < 0.35
    assert 40 < float(r.rad2deg().mean()) < 110


def test_trials_depend_on_their_seed_alone(boxes: Relief, trials: list[relief.Trial]) -> None:
    again = relief.trial(boxes, 4)
    assert torch.equal(again.T_wc, trials[4].T_wc)
    assert torch.equal(again.T_wd, trials[4].T_wd)
    assert not torch.equal(again.T_wd, trials[5].T_wd)


def test_a_scene_where_nothing_stands_out_is_refused(photo: Scene) -> None:
    with pytest.raises(SceneError, match="nothing stands out"):
        relief.trial(Relief.over(photo, torch.zeros(4, 4)), 0)


@pytest.mark.parametrize("depth", ["map", "camera", "plane"])
def test_goals_know_what_they_should(trials: list[relief.Trial], depth: relief.Depth) -> None:
    one = trials[0]
    goal, truth = relief.goal_view(one, depth, CAMERA, 5), one.scene.depth(CAMERA, one.T_wd)[None]
    assert goal.image is not None
    assert goal.image.shape == (1, 3, 60, 80)
    if depth == "plane":
        assert goal.depth_map is None
        assert float(goal.depth) == pytest.approx(one.distance, rel=0.2)  # type: ignore[arg-type]
        return
    assert goal.depth_map is not None
    error = (goal.depth_map / truth - 1).abs()
    known = float(goal.depth_map.isfinite().float().mean())
    if depth == "map":
        assert torch.equal(goal.depth_map.nan_to_num(0), truth.nan_to_num(0))
    else:
        assert 0 < float(error.nanmedian()) < 3e-3
        assert 0.5 < known < 0.99


@pytest.mark.slow
def test_a_scan_finds_depths_of_strong_textures(trials: list[relief.Trial]) -> None:
    one = trials[0]
    camera = relief.CAMERA.resized(320, 240)
    goal, truth = relief.goal_view(one, "scan", camera, 5), one.scene.depth(camera, one.T_wd)[None]
    assert goal.depth_map is not None
    error = (goal.depth_map / truth - 1).abs()
    assert float(error.nanmedian()) < 5e-3
    on_photo = one.scene.render(camera, one.T_wd)[1]
    assert float(goal.depth_map[0][on_photo].isfinite().float().mean()) > 0.5


def test_a_smaller_map_is_that_of_the_pixels_in_it() -> None:
    Z = torch.arange(480 * 640, dtype=torch.float32).reshape(1, 480, 640)
    half = relief.reduced(Z, relief.CAMERA.resized(320, 240))
    assert half.shape == (1, 240, 320)
    assert float(half[0, 0, 0]) == 641  # of the four, the one after the centre
    same = relief.reduced(Z, relief.CAMERA)
    assert torch.equal(same, Z)


# -- the sweep --------------------------------------------------------------------------------------------------------


def test_all_heights_of_a_seed_are_of_the_same_shapes(photo: Scene) -> None:
    flat, T_wd, T_wc = relief_runs.sweep_scene(photo, 0, 7)
    high, *poses = relief_runs.sweep_scene(photo, 30, 7)
    assert torch.equal(T_wd, poses[0])
    assert torch.equal(T_wc, poses[1])
    assert len(T_wd) == relief_runs.SWEEP_RUNS
    assert float(flat.mesh.vertices[:, 2].abs().max()) == 0
    assert float(high.mesh.vertices[:, 2].min()) == pytest.approx(-0.18)
    assert float(T_wc[:, 2, 3].max()) < -0.18


@pytest.fixture
def settings(photo: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., relief_runs.Settings]:
    """A sweep of two heights, with a law that knows the pose."""
    monkeypatch.setattr(relief_runs, "PERCENT", (0, 20))
    monkeypatch.setattr(relief_page, "PERCENT", (0, 20))
    monkeypatch.setattr(relief_runs, "SWEEP_RUNS", 2)
    monkeypatch.setattr(relief_runs, "default_camera", lambda side: Camera.from_focal(300, 224).resized(32))
    monkeypatch.setattr(relief_runs, "_coarse", lambda name: PBVS())

    def make(**changes: object) -> relief_runs.Settings:
        lines: list[str] = []
        return relief_runs.Settings(tmp_path, 1, 2, 42, photo, **({"laws": ("pbvs",), "say": lines.append} | changes))  # type: ignore[arg-type]

    return make


@pytest.mark.slow
def test_a_sweep_goes_on_and_its_shares_make_one_table(
    settings: Callable[..., relief_runs.Settings], tmp_path: Path
) -> None:
    relief_runs.run_sweep(settings(shard=(0, 2)))
    part = tmp_path / "relief" / "sweep" / "relief-00-00.csv"
    before = part.stat().st_mtime_ns
    relief_runs.run_sweep(settings(shard=(1, 2)))
    relief_runs.run_sweep(settings())
    assert part.stat().st_mtime_ns == before  # what is there is not run again
    text = relief_page.page(settings(), "siame bench relief")
    with (tmp_path / "relief" / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 2 * 2  # heights, reliefs, starts, depths
    assert {row["converged"] for row in rows} == {"1"}
    assert tuple(rows[0]) == relief_runs.SWEEP_COLUMNS
    assert "| pbvs | a plane's |" in text
    assert (tmp_path / "relief" / "sweep.png").stat().st_size > 10_000
    assert "siame bench relief" in (tmp_path / "relief" / "report.md").read_text()
    with pytest.raises(InputError, match="made with other options"):
        relief_runs.run_sweep(replace(settings(), seed=42, photo=replace(settings().photo, name="other")))


def test_what_another_share_is_writing_is_not_read(
    settings: Callable[..., relief_runs.Settings], tmp_path: Path
) -> None:
    values = {**dict.fromkeys(relief_runs.SWEEP_COLUMNS, "0"), "law": "pbvs", "depth": "map"}
    whole = ",".join(relief_runs.SWEEP_COLUMNS) + "\n" + ",".join(values.values()) + "\n"
    folder = tmp_path / "relief" / "sweep"
    folder.mkdir(parents=True)
    (folder / "relief-00-00.csv").write_text(whole, encoding="utf-8")
    (folder / ".relief-00-01.csv.host-7-0.part.csv").write_text(whole[:-9], encoding="utf-8")
    assert len(relief_runs.gathered(settings(), "sweep", relief_runs.SWEEP_COLUMNS)) == 1


def test_one_step_of_a_law_that_knows_the_pose_leaves_nothing(photo: Scene) -> None:
    scene, T_wd, T_wc = relief_runs.sweep_scene(photo, 10, 3)
    plant = FlyingCameras(scene, CAMERA)
    assert max(relief_runs.one_step(PBVS(), plant.look(T_wd), plant.reset(T_wc))) < 1e-9


def test_rows_of_laws_that_are_none_are_refused(settings: Callable[..., relief_runs.Settings]) -> None:
    with pytest.raises(InputError, match="NAME\\+light"):
        settings().controller("pbvs+dark")


# -- objects ----------------------------------------------------------------------------------------------------------

ROW = {
    **{
        "law": "a",
        "depth": "map",
        "scene": "0",
        "run": "0",
        "start_t_m": "0.25",
        "start_r_deg": "76",
        "goal_distance_m": "0.7",
    },
    **{"end_t_m": "0.0005", "end_r_deg": "0.05", "converged": "1", "ms": "12", "iterations": "40", "reason": "settled"},
}


def test_the_table_counts_by_all_three_criteria() -> None:
    rows = [
        ROW,
        ROW | {"end_t_m": "0.0015", "end_r_deg": "0.15"},
        ROW | {"end_t_m": "0.05", "end_r_deg": "5"},
        ROW | {"end_t_m": "0.2", "end_r_deg": "5", "converged": "0", "ms": "nan"},
    ]
    (line,) = relief_page.objects_table(rows)
    assert (line["CNS's criterion [%]"], line["2 mm, 0.2 deg [%]"], line["1 mm, 0.1 deg [%]"]) == (
        "75.0",
        "50.0",
        "25.0",
    )
    assert line["median [mm]"] == "25.750"
    assert line["step [ms]"] == "12.0"


def test_runs_that_end_are_judged_by_the_goals_distance(
    trials: list[relief.Trial], settings: Callable[..., relief_runs.Settings]
) -> None:
    one = trials[1]
    chosen = settings(width=80)
    goal = relief.goal_view(one, "map", chosen.camera, 0)
    good = relief_runs._one_run(chosen, "pbvs", one, goal)
    assert good[5] == 1
    assert good[3] < 1e-4
    no_goal = relief_runs._one_run(chosen, "pbvs", one, "scan: no depth")
    assert no_goal[3:6] == (no_goal[0], no_goal[1], 0)
    assert no_goal[-1] == "scan: no depth"


def test_a_scan_that_finds_nothing_is_a_result(trials: list[relief.Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> Tensor:
        raise InputError("scan: no texture")

    monkeypatch.setattr(relief, "depth_from_views", fails)
    assert relief_runs._goal(trials[0], "scan", CAMERA, 0) == "scan: no texture"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed")
def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["siame", "bench", "relief", "--quick", "--runs", "1", "--depths", "map", "plane", "--only", "objects"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    if "cannot render" in err:
        pytest.skip(err)
    assert ended.value.code == 0, err
    assert "| pbvs-sift+light | true | 1 |" in out
    with (tmp_path / "siame-bench" / "relief" / "relief.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["law"], row["depth"]) for row in rows] == [("pbvs-sift+light", "map"), ("pbvs-sift+light", "plane")]
    assert rows[0]["converged"] == "1"
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "scene 0: there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "things"], "no such part of relief"),
        (["--reliefs", "0"], "give 1 or more"),
        (["--objects", "no-such"], "no such folder"),
        (["--laws", "pbvs+dark"], "no such row"),
        (["a-folder"], "takes folders"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["siame", "bench", "relief", "--quick", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code != 0
    err = capsys.readouterr().err
    assert words in err
    assert len(err.strip().splitlines()) == 1
