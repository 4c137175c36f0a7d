from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from siame_se3.analysis import plots
from siame_se3.analysis.curves import levels
from siame_se3.analysis.relief import against_relief
from siame_se3.analysis.robot_run import happens
from siame_se3.analysis.style import new_figure
from siame_se3.errors import InputError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def served(scene: Scene, camera: Camera, n: int, **config: Any) -> tuple[Trajectory, View, View]:
    T_wd = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    T_wd[:, 2, 3] = -0.6
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plant = FlyingCameras(scene, camera)
    desired = plant.look(T_wd)
    trajectory = servo(plant, PBVS(), desired, T_wd @ lie.pose_from_vector(0.1 * p), ServoConfig(**config))
    return trajectory, desired, plant.look(trajectory.T_wc[-1])


@pytest.fixture(scope="module")
def five(scene: Scene, camera: Camera) -> tuple[Trajectory, View, View]:
    return served(scene, camera, 5)


@pytest.fixture(scope="module")
def page(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> Figure:
    return plots.overview(five[0], scene, camera, *five[1:])


def texts(figure: Figure) -> str:
    return " ".join(x.get_text() for x in figure.findobj(mpl.text.Text))  # type: ignore[attr-defined]  # findobj is typed as Artist


def test_overview_is_a_picture(page: Figure, tmp_path: Path) -> None:
    plots.save(page, tmp_path / "folder" / "servo.png")
    with Image.open(tmp_path / "folder" / "servo.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    colours = pixels.astype(int) @ (65536, 256, 1)
    assert len(np.unique(colours)) > 1000
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["servo.png"]


def test_overview_says_what_happened(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> None:
    trajectory = dataclasses.replace(five[0], settings={**five[0].settings, "law": "pbvs", "command": "siame servo"})
    said = texts(plots.overview(trajectory, scene, camera, *five[1:]))
    for words in (
        "5 cameras",
        "pbvs",
        scene.name,
        "5 of 5 converged (100.0 %)",
        "siame servo",
        "iteration",
        "time [s]",
    ):
        assert words in said


def test_run_shown_is_the_one_asked_for(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> None:
    t, r = five[0].error_norms
    worst = int((t[0] / 0.125 + r[0].rad2deg() / 17.5).argmax())
    for run, shown in ((None, worst), (0, 0), (4, 4)):
        said = texts(plots.overview(five[0], scene, camera, *five[1:], run=run))
        assert f"start: {100 * float(t[0, shown]):.1f} cm, {float(r[0, shown].rad2deg()):.1f} deg away" in said


@pytest.mark.parametrize("config", [{"max_iterations": 1}, {"timeout": 1e-9}], ids=["one step", "none"])
@pytest.mark.parametrize("n", [1, 2])
def test_overview_of_runs_that_hardly_moved(
    scene: Scene, camera: Camera, tmp_path: Path, n: int, config: dict[str, Any]
) -> None:
    trajectory, desired, last = served(scene, camera, n, **config)
    plots.save(plots.overview(trajectory, scene, camera, desired, last), tmp_path / "servo.png")
    assert (tmp_path / "servo.png").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_format_follows_the_name(tmp_path: Path, suffix: str) -> None:
    plots.save(Figure(), tmp_path / f"figure{suffix}")
    assert (tmp_path / f"figure{suffix}").read_bytes().startswith(SIGNATURES[suffix])


@pytest.mark.parametrize("name", ["figure.bmp", "figure", "figure.txt", "figure.png.old"])
def test_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SiameError, match=r"\.png, \.pdf or \.svg") as caught:
        plots.save(Figure(), tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_nothing_global_is_changed(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> None:
    from matplotlib import _pylab_helpers

    before = dict(mpl.rcParams)
    plots.overview(five[0], scene, camera, *five[1:])
    assert dict(mpl.rcParams) == before
    assert not _pylab_helpers.Gcf.figs


def test_basins_has_a_curve_a_law_and_units() -> None:
    figure = plots.basins((1, 4, 16), {"dvs": [100, 60, 5], "neural": [100, 100, 98]}, 1.4)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["dvs", "neural"]
    assert list(np.asarray(axes.lines[0].get_ydata())) == [100, 60, 5]
    assert "[cm]" in axes.get_xlabel()
    assert "[%]" in axes.get_ylabel()
    assert len({line.get_color() for line in axes.lines}) == 2


def test_curves_have_a_legend_in_order_of_merit_and_looks_of_their_own() -> None:
    curves = {f"law {k}": [float(k), 10.0 * k] for k in range(12)}
    for figure in (plots.success([0.1, 10.0], curves), plots.overlap([0.2, 0.9], curves)):
        axes = figure.axes[0]
        looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
        assert len(looks) == 12
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"law {k}" for k in range(11, -1, -1)]
        assert "[" in axes.get_xlabel()
        assert "[%]" in axes.get_ylabel()


def test_the_title_is_within_the_figure(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> None:
    long = dataclasses.replace(scene, name="a-photo-with-a-rather-long-name-2026-11-23")
    figure = plots.overview(five[0], long, camera, *five[1:])
    (title,) = [text for text in figure.findobj(mpl.text.Text) if "5 cameras" in text.get_text()]
    box = title.get_window_extent(figure.canvas.get_renderer())
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_robot_run_has_a_panel_an_image_and_curves_of_all_stages(
    five: tuple[Trajectory, View, View], scene: Scene, camera: Camera
) -> None:
    first, second, reference = (served(scene, camera, 1, max_iterations=n)[0] for n in (5, 7, 9))
    assert five[1].image is not None
    images = list(five[1].image[:4])
    figure = plots.robot_run([first, second, reference], images, [4.0, 2.0], [9.0, 3.0], 0.98)
    said = texts(figure)
    for words in ("photometric end - goal", "hand-off", "correlation 0.980", "time [s]"):
        assert words in said
    twists = next(a for a in figure.findobj(mpl.axes.Axes) if a.get_ylabel() == "v commanded [cm/s]")  # type: ignore[attr-defined]  # findobj is typed as Artist
    x = np.concatenate([line.get_xdata() for line in (twists.lines[0], twists.lines[4])])
    np.testing.assert_allclose(x, 0.04 * np.arange(12))  # seven iterations after five, without a gap


def test_views_that_are_not_given_are_rendered_for_the_run_shown(
    five: tuple[Trajectory, View, View], scene: Scene, camera: Camera
) -> None:
    def images(figure: Figure) -> list[np.ndarray]:
        return [np.asarray(x.get_array()) for x in figure.findobj(mpl.image.AxesImage)]  # type: ignore[attr-defined]  # findobj is typed as Artist

    given = images(plots.overview(five[0], scene, camera, *five[1:], run=3))
    rendered = images(plots.overview(five[0], scene, camera, run=3))
    assert len(given) == len(rendered) == 5
    for a, b in zip(given, rendered, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(x.get_array()) for x in figure.findobj(mpl.image.AxesImage)]  # type: ignore[attr-defined]  # findobj is typed as Artist


def test_images_have_more_pixels_than_the_camera(
    five: tuple[Trajectory, View, View], page: Figure, scene: Scene, camera: Camera
) -> None:
    """Start, goal and end were drawn at the network's 112 px."""
    assert {picture.shape for picture in pictures(page)} == {(384, 384, 3)}
    disturbed = dataclasses.replace(five[0], settings={**five[0].settings, "conditions": {"noise": 0.1}})
    shown = pictures(plots.overview(disturbed, scene, camera, *five[1:]))
    assert {picture.shape for picture in shown} == {(32, 32, 3)}  # what the law saw, which only the views have
    goal = five[1].image
    assert goal is not None
    assert any(np.allclose(shown[1], image.permute(1, 2, 0).numpy()) for image in goal)


def failed(five: tuple[Trajectory, View, View], which: tuple[int, ...]) -> Trajectory:
    """Some of the runs end elsewhere."""
    T_wc = five[0].T_wc.clone()
    for k in which:
        T_wc[1:, k, 0, 3] += 0.1 * (k + 1)
    return dataclasses.replace(five[0], T_wc=T_wc)


def test_a_run_that_failed_is_shown_too(five: tuple[Trajectory, View, View], scene: Scene, camera: Camera) -> None:
    figure = plots.overview(failed(five, (0, 2, 3)), scene, camera)
    said = texts(figure)
    assert "2 of 5 converged (40.0 %)" in said
    assert "run 2: not converged" in said  # the middle one
    assert re.search("run [14]: converged", said)
    assert len(pictures(figure)) == 10
    alone = texts(plots.overview(failed(five, (0, 1, 2, 3, 4)), scene, camera))
    assert "0 of 5 converged (0.0 %)" in alone
    assert "run 2: not converged" in alone
    assert ": converged" not in alone
    assert ": not converged" not in texts(plots.overview(five[0], scene, camera))


def test_time_is_the_axis_and_the_hand_off_is_marked(
    five: tuple[Trajectory, View, View], scene: Scene, camera: Camera
) -> None:
    stage = five[0].stage.clone()
    stage[7:][stage[7:] >= 0] = 1
    figure = plots.overview(dataclasses.replace(five[0], stage=stage), scene, camera, run=1)
    panels = [a for a in figure.findobj(mpl.axes.Axes) if "[cm" in a.get_ylabel() or "[deg" in a.get_ylabel()]  # type: ignore[attr-defined]  # findobj is typed as Artist
    assert len(panels) == 4
    for axes in panels:
        assert axes.get_xlim()[1] == pytest.approx(five[0].dt * len(five[0].twist))
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [pytest.approx(7 * 0.04)]
    assert "hand-off of run 1" in texts(figure)


def test_legends_are_off_the_curves(
    page: Figure, five: tuple[Trajectory, View, View], scene: Scene, camera: Camera
) -> None:
    runs = [served(scene, camera, 1, max_iterations=n)[0] for n in (5, 7, 9)]
    image = five[1].image
    assert image is not None
    for figure in (page, plots.robot_run(runs, list(image[:4]), [4.0, 2.0], [9.0, 3.0], 0.98)):
        figure.canvas.draw()
        for axes in figure.findobj(mpl.axes.Axes):  # type: ignore[attr-defined]  # findobj is typed as Artist
            if axes.get_legend() and axes.name != "3d":
                assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_lines_of_the_same_values_are_kept_apart() -> None:
    """At 100 % one line hid all others."""
    same, lower = [100.0, 100.0, 99.5], [20.0, 40.0, 60.0]
    assert levels([same, lower, same, lower, same]) == [0, 0, 1, 1, 2]
    assert levels([[100.0, 50.0], [50.0, 100.0]]) == [0, 0]
    figure = plots.overlap([0.2, 0.5, 0.9], {"a": same, "b": same, "c": lower}, "24 starts")
    figure.canvas.draw()
    a, b, c = (line.get_transform().transform([90.0, 99.5])[1] for line in figure.axes[0].lines)
    assert a - b > 4
    assert a == c
    assert list(np.asarray(figure.axes[0].lines[1].get_ydata())) == same
    assert "lines with the same values are drawn beside each other" in texts(figure)
    assert "beside" not in texts(plots.overlap([0.2, 0.5, 0.9], {"a": same, "c": lower}, "24 starts"))


def test_a_heat_map_has_a_number_and_a_line_in_each_cell() -> None:
    shares = [[100.0, 12.5], [float("nan"), 60.0]]
    figure = plots.heat_map(["none", "noise"], ["DVS", "PBVS"], shares, [["0.1 mm", "9 mm"], ["", "2 mm"]], "24 runs")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["100.0\n0.1 mm", "12.5\n9 mm", "60.0\n2 mm"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "noise"]
    assert "24 runs" in texts(figure)


@pytest.mark.parametrize(("settled", "until"), [(50, 60), (100, 120), (450, 499)])
def test_the_time_axis_ends_a_little_after_something_happens(settled: int, until: int) -> None:
    values = np.zeros((500, 3))
    values[:settled, 1] = np.linspace(5, 1, settled)
    values += 0.01 * np.sin(np.arange(500))[:, None]  # trembling is nothing
    assert happens(values) == until
    assert happens(np.zeros((10, 3))) == 9


def test_characters_of_any_path_are_drawn_or_replaced(tmp_path: Path) -> None:
    """They were boxes, with a warning for each."""
    nowhere = chr(0x10FFFD)  # for private use: no font has it
    figure = new_figure(4, 2)
    figure.supxlabel(f"siame servo --scene {chr(0x684C)}{chr(0x5B50)}/{nowhere}{chr(0xDC80)}.png, häfen {chr(0x3B8)}")
    for suffix in SIGNATURES:
        plots.save(figure, tmp_path / f"x{suffix}")  # warnings are errors here
    said = texts(figure)
    assert nowhere not in said
    assert f"/??.png, häfen {chr(0x3B8)}" in said


@pytest.mark.slow
def test_text_of_a_command_is_drawn_as_it_is(
    five: tuple[Trajectory, View, View], scene: Scene, camera: Camera, tmp_path: Path
) -> None:
    """Two dollars are no formula."""
    words = r"siame servo --scene $PHOTOS/$\frac{x.png"
    trajectory = dataclasses.replace(five[0], settings={"command": words, "law": r"$\bad$"})
    figure = plots.overview(trajectory, scene, camera, *five[1:])
    plots.save(figure, tmp_path / "x.svg")
    assert words in texts(figure)


def test_poses_that_are_not_known_are_one_line(
    five: tuple[Trajectory, View, View], scene: Scene, camera: Camera
) -> None:
    trajectory = dataclasses.replace(five[0], T_wd=torch.full_like(five[0].T_wd, torch.nan))
    with pytest.raises(InputError, match="poses of this run are not known"):
        plots.overview(trajectory, scene, camera, *five[1:])


def test_lines_against_the_relief_are_told_apart_too() -> None:
    """Both lay on each other at 100 %, and only one was seen."""
    points = [(float(h), 100.0, 0.01, 2.0) for h in (0, 10, 20)]
    titles = {"map": "true", "plane": "a plane's"}
    figure = against_relief({("dvs", "map"): points, ("dvs", "plane"): points}, titles, "3 starts")
    lines = figure.axes[0].get_lines()
    figure.canvas.draw()
    first, second = (line.get_transform().transform((10.0, 100.0)) for line in lines)
    assert first[0] == second[0]
    assert abs(first[1] - second[1]) > 2
    suptitle = figure.get_suptitle()
    assert suptitle.startswith("3 starts; lines with the same values")
