"""Reports: pages that stand alone, in which nothing of a user's is code, and that say what the trajectory says."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from html_helpers import ATTACK, Parsed, stands_alone
from loop_helpers import SpyPlant
from recordings_helpers import poses
from siame_se3.analysis import frames, html, html_bench, html_data, html_run, metrics
from siame_se3.analysis.report import write_report
from siame_se3.files import bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.mismatch import Mismatch
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.simulation import Task, simulate
from siame_se3.servo.trajectory import Trajectory


@pytest.fixture(scope="module")
def task(scene: Scene, camera: Camera) -> Task:
    return Task(scene, camera, runs=5, seed=5)


@pytest.fixture(scope="module")
def runs(task: Task) -> Trajectory:
    settings = {"command": f"siame servo {ATTACK}", "law": "pbvs", "scene": ATTACK, ATTACK: {ATTACK: [1.5, ATTACK]}}
    return simulate(PBVS(), task, ServoConfig(gain=8.0, max_iterations=30), settings, quiet=True)[0]


@pytest.fixture(scope="module")
def page(runs: Trajectory, task: Task) -> str:
    return html_run.run_page(runs, frames.strip_of(task, runs, 2), task.scene, task.camera, 2, ATTACK)


def test_a_page_stands_alone_and_nothing_in_it_is_a_user_s_code(page: str) -> None:
    parsed = stands_alone(page)
    assert len(parsed.all("script")) == 2  # the data and ours
    assert parsed.script.strip() == bundled("report.js").read_text(encoding="utf-8").strip()
    assert (
        sum("<script>alert(1)</script>" in word for word in parsed.words) >= 3
    )  # shown as text: title, command, settings
    assert len(parsed.all("img")) == 8
    page.encode()


def test_numbers_are_the_trajectory_s(page: str, runs: Trajectory) -> None:
    parsed = Parsed(page)
    data = json.loads(parsed.data)
    assert [run["run"] for run in data["runs"]] == [0, 1, 2, 3, 4]
    assert data["shown"] == 2
    t, r = runs.error_norms
    for run in data["runs"]:
        k = run["run"]
        assert run["k"] == list(range(int(runs.iterations[k]) + 1))
        last = run["k"][-1]
        assert run["t"] == pytest.approx((1000 * t[: last + 1, k]).tolist(), rel=1e-3)
        assert run["r"] == pytest.approx(torch.rad2deg(r[: last + 1, k]).tolist(), rel=1e-3)
        assert np.asarray(run["path"]) == pytest.approx(runs.T_wc[: last + 1, k, :3, 3].numpy(), rel=1e-3, abs=1e-6)
        assert np.asarray(run["v"][:-1]) == pytest.approx(100 * runs.twist[:last, k, :3].numpy(), rel=1e-3, abs=1e-9)
        assert run["v"][-1] == [None, None, None]
    assert data["bands"]["t"]["middle"] == pytest.approx((1000 * t).quantile(0.5, dim=1).tolist(), rel=1e-3)
    rows = [attributes["data-run"] for attributes in parsed.all("tr") if "data-run" in attributes]
    assert rows == ["0", "1", "2", "3", "4"]
    summary = metrics.summary(metrics.rows(runs))
    assert f"{summary.converged_percent:.1f} %" in parsed.words
    assert f"{1000 * summary.median_end_t_m:.3g} mm" in parsed.words


def test_cameras_are_turned_as_their_poses(page: str, runs: Trajectory) -> None:
    """By the quaternion, as the script turns them."""
    run = json.loads(Parsed(page).data)["runs"][1]
    ray = np.array([0.2, -0.4, 1.0])
    for (w, *v), k in zip(run["turned"], run["k"], strict=True):
        t = 2 * np.cross(v, ray)
        assert ray + w * t + np.cross(v, t) == pytest.approx(runs.T_wc[k, 1, :3, :3].numpy() @ ray, abs=5e-3)


def test_large_batches_make_small_pages(task: Task) -> None:
    n, T = 500, 200
    T_wc = task.draw(1)[1].expand(T + 1, n, 4, 4).clone()
    T_wc[:, :, 0, 3] += torch.linspace(0.1, 0, T + 1, dtype=torch.float64)[:, None]
    many = Trajectory(
        *(T_wc, T_wc[-1], torch.rand(T, n, 6, dtype=torch.float64), torch.rand(T, n, 6, dtype=torch.float64)),
        *(torch.ones(T, n, dtype=torch.bool), torch.zeros(T, n, dtype=torch.long), torch.full((n,), T)),
        *(["settled"] * n, torch.rand(T, dtype=torch.float64), 0.04),
    )
    table = [metrics.Row(k, 0.1, 10.0, 1e-4, 0.01, 0.01, 1.0, T, 1, 1.0, "settled") for k in range(n)]
    page = html_run.run_page(many, (), task.scene, task.camera, table=table)
    assert 100_000 < len(page) < 3_000_000
    data = json.loads(stands_alone(page).data)
    assert len(data["runs"]) <= 60
    assert len(data["others"]) <= 300
    assert len(data["runs"][0]["k"]) == 160
    assert data["runs"][0]["k"][-1] == T


def test_runs_that_failed_have_curves(task: Task, runs: Trajectory) -> None:
    chosen = html_data._chosen([True] * 500 + [False] * 3 + [True] * 500, 7, 60)
    assert {7, 500, 501, 502} <= set(chosen)
    assert len(chosen) <= 60
    assert html_data._chosen([False] * 200, 3, 60)[:31] == [*range(30), 30]


def test_a_robot_without_poses_has_the_path_of_its_twists(camera: Camera) -> None:
    """And no errors, which nobody knows."""
    plant = SpyPlant()
    T_wd, T_wc = poses()
    made = servo(plant, PBVS(), View(T_wc=T_wd), T_wc, ServoConfig(max_iterations=7))
    blind = replace(made, T_wc=torch.full_like(made.T_wc, torch.nan), T_wd=torch.full_like(made.T_wd, torch.nan))
    parsed = stands_alone(html_run.run_page(blind, (), None, camera))
    data = json.loads(parsed.data)
    assert [chart["title"] for chart in data["charts"]] == ["v commanded [cm/s]", "w commanded [deg/s]"]
    relative = lie.inverse(made.T_wc[:1]) @ made.T_wc
    assert np.asarray(data["runs"][0]["path"]) == pytest.approx(relative[:, 0, :3, 3].numpy(), rel=1e-3, abs=1e-6)
    assert data["frame"] == "by the applied twists, from the start"
    still = replace(blind, applied=torch.zeros_like(blind.applied))
    assert json.loads(Parsed(html_run.run_page(still)).data)["frame"] == "nothing was sent: it has not moved"
    in_base = replace(made, settings={"poses": "base"})
    data = json.loads(Parsed(html_run.run_page(in_base)).data)
    assert data["runs"][0]["path"][0] == pytest.approx(
        (made.T_wc[0, 0, :3, 3] * torch.tensor([1, -1, -1])).tolist(), rel=1e-3
    )
    assert data["frame"] == "in the robot's base"


@pytest.mark.parametrize("mismatch", [None, Mismatch(size=1.1)])
def test_pictures_of_a_run_are_what_its_camera_saw(scene: Scene, camera: Camera, mismatch: Mismatch | None) -> None:
    """Made again from the trajectory: light, patch and noise of its number."""
    task = Task(scene, camera, runs=3, seed=5, disturbance=Augmentation(occlusion_rate=1.0), mismatch=mismatch)
    seen: list[torch.Tensor] = []

    class Watched(FlyingCameras):
        def _view(self, images: torch.Tensor, T_wc: torch.Tensor, depths: torch.Tensor | None) -> View:
            seen.append(images)
            return super()._view(images, T_wc, depths)

    plant = Watched(scene, camera, conditions=task.disturbance, seed=5, mismatch=mismatch)
    T_wd, T_wc = task.draw()
    goal = plant.look(T_wd)
    seen.clear()
    made = servo(plant, PBVS(), goal, T_wc, ServoConfig(gain=8.0, max_iterations=5))
    again = list(frames.images_of(task, made, 1))
    assert len(again) == len(seen) == 6
    for image, images in zip(again, seen, strict=True):
        torch.testing.assert_close(image, images[1], rtol=0, atol=1e-6)
    assert goal.image is not None
    torch.testing.assert_close(frames.goal_of(task, made, 1), goal.image[1])


def test_the_strip_begins_at_the_start_and_ends_at_the_end() -> None:
    assert frames.moments(1, 5) == [0]
    assert frames.moments(3, 5) == [0, 1, 2]
    found = frames.moments(101, 5)
    assert (found[0], found[-1], len(found)) == (0, 100, 5)
    assert found[1] < 25


# -- parts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        html.paragraph(ATTACK),
        html.section(ATTACK),
        html.tiles({ATTACK: ATTACK}),
        html.table([{ATTACK: ATTACK}]),
        html.command(ATTACK),
        html.settings({ATTACK: ATTACK, "b": {ATTACK: [ATTACK]}}),
        html.strip([(ATTACK, np.zeros((4, 4, 3), np.uint8))]),
        html.figure(b"x", "image/png", ATTACK),
        html.paths_canvas({ATTACK: "blue"}),
        html.chart_canvas(0, ATTACK),
    ],
    ids=lambda part: re.findall(r"<(\w+)", part.code)[0],
)
def test_every_part_escapes(part: html.Html) -> None:
    assert "<script" not in part.code
    assert "onerror" not in re.sub(r"&quot;|onerror=alert\(2\)&gt;", "", part.code)
    stands_alone(html.page(ATTACK, ATTACK, [part], {"text": ATTACK, "more": [ATTACK]}))


def test_data_of_a_page_are_read_back() -> None:
    data = {"a": [1.5, None], "b": ATTACK.replace("\ud800", "")}
    assert json.loads(Parsed(html.page("", "", [], data)).data) == data


def test_long_values_are_cut() -> None:
    assert len(html.text("x" * 100_000).code) < 2100


def test_numbers_are_rounded_and_what_is_none_is_null() -> None:
    assert html.rounded([1.23456, [float("nan"), float("-inf")], 0.0]) == [1.235, [None, None], 0.0]


def test_columns_of_words_stand_left() -> None:
    cells = re.findall(
        r'<td class="([^"]*)">', html.table([{"law": "dvs", "t": "1.5 ± 2"}, {"law": "x", "t": "-"}]).code
    )
    assert cells == ["text", "", "text", ""]


# -- experiments --------------------------------------------------------------------------------------------------------


def bench_folder(tmp_path: Path, name: str, *pieces: str) -> Path:
    folder = tmp_path / name
    write_report(folder / "report.md", f"Title of {name}", pieces)
    return folder


def test_a_page_of_experiments(tmp_path: Path) -> None:
    from siame_se3.images.encode import write_picture

    table = "| law | t [cm] | t [cm] |\n|---|---|---|\n| dvs | 1.5 | 2 |\n| a<b> | 3 | 4 |"
    first = bench_folder(
        *(tmp_path, "table1", "`siame bench table1`; a [link](other.md).", table, "![the figure](fig.png)"),
        *("## Second", "- one\n- two <b>", "![gone](gone.png)"),
    )
    write_picture(first / "fig.png", np.zeros((6, 8, 3), np.uint8))
    second = bench_folder(tmp_path, "wide", ATTACK.replace("\ud800", ""))
    parsed = stands_alone(html_bench.bench_page([first, second], f"siame bench {ATTACK}"))
    assert parsed.words[0] == "Experiments: table1, wide"
    assert [x for x in parsed.words if x.startswith(("Title", "Second"))] == [
        "Title of table1",
        "Second",
        "Title of wide",
    ]
    assert len(parsed.all("table")) == 1
    assert [word for word in parsed.words if word in ("1.5", "2", "a<b>", "3", "4")] == ["1.5", "2", "a<b>", "3", "4"]
    assert len(parsed.all("img")) == 1
    kind, _, content = (parsed.all("img")[0]["src"] or "").partition(";base64,")
    assert kind in ("data:image/png", "data:image/webp")
    with Image.open(io.BytesIO(base64.b64decode(content))) as found:
        assert found.size == (8, 6)
    assert {"one", "two <b>"} <= set(parsed.words)
    assert not parsed.all("a")
    assert "siame bench table1" in parsed.words


def test_robot_runs_of_experiments_are_drawn(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    """From the CSV that fig4 and fig5 write: both stages, in the desired camera's frame."""
    from siame_se3.experiments import robot

    plant, (T_wd, T_wc) = FlyingCameras(scene, camera), poses()
    first = servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig(gain=4.0, max_iterations=9))
    second = servo(plant, PBVS(), plant.look(T_wd), first.T_wc[-1], ServoConfig(gain=8.0, max_iterations=5))
    folder = bench_folder(tmp_path, "fig5-arm", "- a line")
    stages = [robot._errors(run) for run in (first, second)]
    robot._write(stages, [run.twist[:, 0] for run in (first, second)], folder / "fig5.csv")
    parsed = stands_alone(html_bench.bench_page([bench_folder(tmp_path, "wide", "x"), folder], "siame bench all"))
    (run,) = json.loads(parsed.data)["runs"]
    whole = torch.cat((first.T_wc, second.T_wc[1:]))[:, 0]
    relative = lie.inverse(T_wd[0]) @ whole
    assert np.asarray(run["path"]) == pytest.approx(relative[:, :3, 3].numpy(), rel=2e-3, abs=1e-6)
    assert run["t"] == pytest.approx((1000 * lie.error_norms(relative)[0]).tolist(), rel=2e-3)
    assert run["handoff"] == 9
    assert len(run["v"]) == 15
    assert "fig5-arm" in parsed.words
    assert [attributes["id"] for attributes in parsed.all("canvas") if "id" in attributes] == ["paths"]
