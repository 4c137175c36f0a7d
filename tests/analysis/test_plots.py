from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from siame_se3.analysis import plots
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
    for words in ("5 cameras", "pbvs", scene.name, "100.0 % converged", "siame servo", "iteration"):
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
    (title,) = [text for text in figure.findobj(mpl.text.Text) if "driven to" in text.get_text()]
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
    for words in ("end of the photometric run - desired", "dotted: photometric takes over", "correlation 0.980"):
        assert words in said
    twists = next(a for a in figure.findobj(mpl.axes.Axes) if a.get_ylabel() == "v commanded [cm/s]")  # type: ignore[attr-defined]  # findobj is typed as Artist
    x = np.concatenate([line.get_xdata() for line in (twists.lines[0], twists.lines[4])])
    assert x.tolist() == list(range(12))  # seven iterations after five, without a gap


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
