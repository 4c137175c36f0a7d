"""Benchmarks on several scenes: the list of photos, a user's folder, Fig. 3."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import smooth_scene
from experiments_helpers import TINY_RECIPE
from siame_se3.analysis import metrics
from siame_se3.cli.bench import Bench
from siame_se3.cli.output import Output
from siame_se3.errors import InputError, SiameError
from siame_se3.experiments import fig3, kept_cells, networks, perturb, photos, quick, robot, runner, training
from siame_se3.experiments.runner import Cell, Setup
from siame_se3.networks.config import NetworkConfig
from siame_se3.scenes.planar import Scene
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe, TrainConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven photos of several shapes."""
    place = tmp_path / "photos"
    place.mkdir()
    for k in range(11):
        texture = (255 * smooth_scene(k).texture).byte().permute(1, 2, 0).numpy()
        Image.fromarray(texture).resize((90 + 10 * k, 100)).save(place / f"photo{k:02d}.png")
    return place


@pytest.fixture
def setup(tmp_path: Path, folder: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> Setup:
    real = networks.recipe_of

    def recipe_of(name: str) -> Recipe:
        return replace(TINY_RECIPE, scenes=real(name).scenes, width=real(name).width)

    monkeypatch.setattr(networks, "recipe_of", recipe_of)
    monkeypatch.setattr(photos, "TEXELS", 80)
    return Setup(tmp_path / "out", smooth_scene(), 0.1, 3, lambda text: None, folder)


def test_the_list_has_its_split() -> None:
    train, unseen = photos.listed("train"), photos.listed("unseen")
    assert (len(train), len(unseen)) == (100, 40)
    assert len({photo.path for photo in train + unseen}) == 140
    assert {photo.split for photo in train} == {"train"}
    assert [photo.name for photo in unseen[:4]] == ["Cluster", "logo", "astronaut", "TwoWings"]
    assert photos.names("unseen") == [photo.name for photo in unseen]
    assert len(set(photos.names("train"))) == 100


def test_listed_photos_are_prints_of_one_size() -> None:
    pytest.importorskip("skimage")
    photo = next(p for p in photos.listed("unseen") if p.path.endswith("astronaut.png"))
    print_ = photos.as_print(Scene.from_photo(photo.file(Path("/nowhere"))))
    assert (print_.width, print_.height, tuple(print_.texture.shape)) == (0.8, 0.6, (3, 600, 800))
    # the middle of the picture, as it was
    middle = Scene.from_photo(photo.file(Path("/"))).texture[:, 64:448]
    small = torch.nn.functional.interpolate(print_.texture[None], (384, 512), mode="area")[0]
    assert float((small - middle).abs().mean()) < 0.02


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    debian = next(p for p in photos.listed("train") if p.package == "mate-backgrounds")
    with pytest.raises(SiameError, match="apt install mate-backgrounds"):
        debian.file(tmp_path)
    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: None)
    python = next(p for p in photos.listed("train") if p.package == "mvtb-data")
    with pytest.raises(SiameError, match="pip install mvtb-data"):
        python.file(tmp_path)


def test_a_users_folder_has_a_split_too(folder: Path) -> None:
    train, unseen = photos.scenes("train", 9, folder), photos.scenes("unseen", 2, folder)
    assert [s.name for s in train + unseen] == [f"photo{k:02d}" for k in range(11)]
    assert all((s.width, s.height) == (0.8, 0.6) for s in train)
    with pytest.raises(SiameError, match="9 'train' photos in it, 10 wanted"):
        photos.scenes("train", 10, folder)
    with pytest.raises(SiameError, match="the list has 100"):
        photos.scenes("train", 101)


def test_runs_are_shared_out_to_the_scenes(setup: Setup) -> None:
    several = Cell("dvs", "", "table1", 7, 1, split="train", scenes=3)
    runner.run(setup, "x", [several])
    rows = runner.results(setup, "x", [several])[several]
    assert [row.run for row in rows] == list(range(7))
    alone = [Cell("dvs", f"{k}", "table1", n, 1 + k) for k, n in enumerate((2, 2, 3))]
    for cell, scene in zip(alone, photos.scenes("train", 3, setup.photos), strict=True):
        runner.run(replace(setup, scene=scene), "y", [cell])
    singly = [row for cell in alone for row in runner.results(setup, "y", [cell])[cell]]
    assert [row.end_t_m for row in rows] == [row.end_t_m for row in singly]


@pytest.mark.slow
def test_fig3_has_a_line_a_number_of_scenes(setup: Setup) -> None:
    wanted = [
        *fig3.cells(4, 5, ("colour", "dvs"), (2, 3), 2),
        *fig3.cells(4, 5, ("handoff",), (3,), 2),
        *fig3.cells(4, 5, ("grey",), (2,), 2),
    ]
    runner.run(setup, "fig3", wanted)
    assert {p.stem for p in (setup.folder / "networks").glob("*.safetensors")} == {
        f"many-{n}" for n in ("2-colour", "3-colour", "2-grey")
    }
    text = fig3.page(setup, wanted, "siame bench fig3")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert [line[0] for line in lines] == ["scenes", "---", "2", "3"]
    given = {row: [cell != "-" for cell in lines[row][1:]] for row in (2, 3)}
    assert given[2] == [True, True, True, True, False, False, True, True]
    assert given[3] == [True, True, False, False, True, True, True, True]
    assert lines[2][-1] == lines[3][-1]  # DVS on unseen scenes does not depend on the number
    assert (setup.folder / "fig3" / "fig3.png").is_file()
    page = (setup.folder / "fig3" / "report.md").read_text(encoding="utf-8")
    assert text in page
    # each of the two unseen scenes has two runs, of the networks for 3
    assert "| scene | colour, unseen scenes | hand-off, unseen scenes |" in page
    assert [line.split("|")[1].strip() for line in page.splitlines() if " of 2 |" in line] == ["photo09", "photo10"]


def test_fig3_counts_the_runs_of_each_unseen_scene(setup: Setup) -> None:
    wanted = [cell for cell in fig3.cells(5, 5, ("colour",), (2,), 2) if cell.split == "unseen"]
    row = metrics.Row(0, 0.1, 10, 0.001, 0.1, 0.01, 1, 20, 1, 1.0)
    rows = [replace(row, run=k, converged=int(k in (0, 1, 3))) for k in range(5)]
    metrics.write_csv(rows, runner.csv_of(setup, "fig3", wanted[0]))
    runner.csv_of(setup, "fig3", wanted[0]).with_suffix(".json").write_text(
        json.dumps({"what": kept_cells.what_of(wanted[0], setup), "seconds": 1.0}), encoding="utf-8"
    )
    fig3.page(setup, wanted, "x")
    page = (setup.folder / "fig3" / "report.md").read_text(encoding="utf-8")
    assert "| photo09 | 2 of 2 |\n| photo10 | 1 of 3 |" in page


def test_the_command_runs_the_unseen_scenes_that_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the list has 40 of them the command took all, and asked for their packages."""
    wanted: list[Cell] = []
    asked: list[str] = []
    monkeypatch.setattr(runner, "run", lambda setup, name, cells, shard: wanted.extend(cells))
    monkeypatch.setattr(photos.Photo, "file", lambda photo, root: asked.append(photo.name))
    Bench("fig3", out=tmp_path, counts=(2, 5))()
    assert {cell.scenes for cell in wanted if cell.split == "unseen"} == {12}
    assert wanted == fig3.cells(200, 42, fig3.ROWS, (2, 5))
    assert asked == [photo.name for photo in (*photos.listed("train")[:5], *photos.listed("unseen")[:12])]


@pytest.mark.parametrize(("budgets", "said"), [((40.0, 40.0), "40 min of"), ((5.0, 40.0), "5 to 40 min of")])
def test_fig3_says_what_its_networks_were_trained_for(setup: Setup, budgets: tuple[float, ...], said: str) -> None:
    """And not what is asked for now."""
    wanted = [cell for cell in fig3.cells(2, 5, ("colour", "grey"), (2,), 2) if cell.split == "unseen"]
    row = metrics.Row(0, 0.1, 10, 0.001, 0.1, 0.01, 1, 20, 1, 1.0)
    for cell, minutes in zip(wanted, budgets, strict=True):
        metrics.write_csv([row, row], place := runner.csv_of(setup, "fig3", cell))
        by = {"name": cell.network, "weights": "", "minutes": minutes}
        facts = {"what": kept_cells.what_of(cell, setup), "network": by, "seconds": 1.0}
        place.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    fig3.page(setup, wanted, "x")
    page = (setup.folder / "fig3" / "report.md").read_text(encoding="utf-8")
    assert f"The networks: {said} training each." in page
    assert "0.1 min" not in page


def test_a_small_folder_has_no_unseen_scenes(setup: Setup, folder: Path) -> None:
    for path in sorted(folder.iterdir())[4:]:
        path.unlink()
    assert len(photos.names("train", folder)) == 4
    wanted = fig3.cells(2, 5, ("dvs",), (2,), len(photos.names("unseen", folder)))
    assert [cell.split for cell in wanted] == ["train"]
    runner.run(setup, "fig3", wanted)
    assert "one by one" not in fig3.page(setup, wanted, "x")
    assert (setup.folder / "fig3" / "fig3.png").is_file()


def test_too_many_scenes_are_refused_before_any_training(folder: Path, tmp_path: Path) -> None:
    said = "a network for 10 scenes: --scenes .* has 9 photos to train on; .* smaller --counts"
    for experiment in ("fig3", "all"):
        with pytest.raises(SiameError, match=said):
            Bench(experiment, out=tmp_path / "out", scenes=folder, counts=(2, 10))()
    with pytest.raises(SiameError, match="no such file; apt install"):
        Bench("fig3", out=tmp_path / "out", photos_root=tmp_path, counts=(2,))()
    with pytest.raises(SiameError, match="nowhere: no such folder"):
        Bench("fig3", out=tmp_path / "out", scenes=tmp_path / "nowhere", counts=(2,))()
    assert not (tmp_path / "out" / "networks").exists()


def test_results_of_other_photos_are_refused(setup: Setup, folder: Path) -> None:
    wanted = fig3.cells(2, 5, ("colour",), (2,), 2)[:1]
    runner.run(setup, "fig3", wanted)
    sorted(folder.iterdir())[0].rename(folder / "photo99.png")
    with pytest.raises(SiameError, match="made with another scenes"):
        runner.run(setup, "fig3", wanted)
    runner.csv_of(setup, "fig3", wanted[0]).unlink()
    photos.scenes.cache_clear()
    with pytest.raises(SiameError, match=r"many-2-colour\.safetensors: trained on other scenes"):
        runner.run(setup, "fig3", wanted)


def test_fig3_of_some_rows_has_their_columns_only(setup: Setup) -> None:
    """The quick one had six columns of dashes."""
    assert "nothing has been run" in fig3.page(setup, fig3.cells(4, 5, ("dvs",), (2,), 2), "x")
    wanted = fig3.cells(4, 5, ("dvs",), (2,), 2)
    runner.run(setup, "fig3", wanted)
    head, _, line = fig3.page(setup, wanted, "x").splitlines()
    assert head == "| scenes | DVS, the same scenes | DVS, unseen scenes |"
    assert "-" not in [x.strip() for x in line.split("|")]


@pytest.mark.parametrize("name", ["fig4", "fig5"])
def test_robot_runs_are_driven_and_reported(setup: Setup, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(robot.RUNS, name, replace(robot.RUNS[name], iterations=5))
    monkeypatch.setitem(robot.FINE, "flying", 10)
    many = [photos.scenes("train", 3, setup.photos)[0]] * 10
    monkeypatch.setattr(photos, "scenes", lambda split, count, folder, root: many[:count])
    text = robot.run(setup, name, f"siame bench {name}")
    folder = setup.folder / name
    assert text in (folder / "report.md").read_text(encoding="utf-8")
    assert "after 5 iterations of the network" in text
    assert ("after photometric" in text) == (name == "fig5")
    assert (folder / f"{name}.png").stat().st_size > 10_000
    with (folder / f"{name}.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    first = [float(lines[0][key]) for key in ("tx_cm", "ty_cm", "tz_cm", "tux_deg", "tuy_deg", "tuz_deg")]
    assert first == pytest.approx(robot.RUNS[name].start, abs=1e-3)
    assert {line["stage"] for line in lines} == ({"0", "1"} if name == "fig5" else {"0"})


def test_correlation_is_pearsons() -> None:
    assert robot.correlation([1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx(1)
    assert robot.correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)


def test_training_costs_are_measured_once(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def rates(scene: Scene, network: NetworkConfig, *rest: object) -> dict[str, float]:
        measured.append(network.backbone)
        return {"rendering": 1000.0, "training": 100.0, "share": 10.0}

    good = metrics.summary([metrics.Row(0, 0.1, 10, 0.001, 0.1, 0.01, 1, 20, 1, 1.0)])
    monkeypatch.setattr(training, "rates", rates)
    monkeypatch.setattr(training, "reach", lambda *rest: training.Reach(True, 60.0, 6000, good))
    first = training.run(setup, 1, 1, "siame bench training")
    assert measured == ["resnet10t", "efficientnet_b3"] * (1 + torch.cuda.is_available())
    assert "60 s, 6000 images (100.0 %, 0.10 cm 0.10 deg)" in first
    assert "would take 28 h" in first  # 10 million at 100 a second
    count = len(measured)
    assert training.run(setup, 1, 1, "siame bench training") == first
    assert len(measured) == count
    assert first in (setup.folder / "training" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"cpu-resnet10t\.json: made with other options"):
        training.run(setup, 2, 1, "siame bench training --runs 2")


def test_no_end_error_is_a_dash(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was 'nan cm nan deg'."""
    lost = metrics.summary([metrics.Row(0, 0.1, 10, 0.1, 10, 0.01, 1, 20, 0, 1.0)])
    monkeypatch.setattr(training, "rates", lambda *rest: {"rendering": 1000.0, "training": 100.0, "share": 10.0})
    monkeypatch.setattr(training, "reach", lambda *rest: training.Reach(False, 60.0, 6000, lost))
    text = training.run(setup, 1, 1, "siame bench training")
    assert "not in 60 s (0.0 %, -)" in text
    assert "nan" not in text


def test_rates_are_those_of_a_training(scene: Scene) -> None:
    tiny = NetworkConfig("test_resnet", 32, head=(16,))
    found = training.rates(scene, tiny, DataConfig(views=4, near=0.25), TrainConfig(), "cpu", 2)
    assert all(value > 0 for value in found.values())
    assert found["share"] < 100


@pytest.mark.parametrize(("end_t", "end_r", "reached"), [(0.009, 0.7, True), (0.011, 0.7, False), (0.009, 0.8, False)])
def test_the_papers_accuracy(end_t: float, end_r: float, reached: bool) -> None:
    row = metrics.Row(0, 0.2, 20, end_t, end_r, 0.01, 1, 20, 1, 1.0)
    assert training.paper_reached(metrics.summary([row])) is reached
    lost = replace(row, converged=0)
    assert not training.paper_reached(metrics.summary([row] * 98 + [lost] * 2))


@pytest.mark.parametrize(("name", "scenes"), [("many-50-grey", 50), ("many-2-colour", 2), ("siame-se(3)", 0)])
def test_names_of_networks_say_what_they_are(name: str, scenes: int) -> None:
    recipe = networks.recipe_of(name)
    assert recipe.scenes == scenes
    assert recipe.network.colour == (not name.endswith("grey"))
    assert (recipe.data.groups > 1) == (scenes > 0)


def test_quick_needs_no_download_and_no_training(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """fig3 showed 0 % and all lines at zero, fig5 asked for a package of Debian's, perturb took minutes."""
    monkeypatch.setattr(networks, "fit", lambda *arguments: pytest.fail("trained"))
    cells: list[runner.Cell] = []
    monkeypatch.setattr(runner, "run", lambda setup, name, wanted, shard: cells.extend(wanted))
    for name in ("fig3", "perturb"):
        Bench(name, out=tmp_path, quick=True, photos_root=tmp_path)()  # type: ignore[arg-type]  # one of its names
    assert {cell.network for cell in cells} == {"", "any-scene"}
    assert len([cell for cell in cells if cell.condition in perturb.CONDITIONS]) == 12
    assert [cell.runs for cell in cells] == [12] * 16
    shown = quick.pictures(tmp_path / "quick-pictures")
    assert len(photos.names("train", shown)) == 8
    assert len(photos.names("unseen", shown)) == 2
    setup = Bench("fig5", out=tmp_path, quick=True)._setup(Output())
    spec = robot.RUNS["fig5"].quick
    assert runner.obtain(setup, spec.network).network.config.pooling == "context"
    scene = robot._print_of(setup, spec)
    assert (scene.name, scene.width) == ("coffee", 0.42)
    assert scene.height == pytest.approx(0.42 * setup.scene.height / setup.scene.width)
    for path in shown.iterdir():
        assert float(Scene.from_photo(path).texture.std()) > 0.02


def test_any_scene_is_a_row_of_fig3_on_demand(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = fig3.cells(2, 5, ("any-scene",), (2, 3), 2)
    assert [cell.name for cell in wanted] == [f"siame-se3.any-scene-{k}" for k in ("2-train", "unseen", "3-train")]
    assert all(kept_cells.what_of(cell, setup)["recipe"] is None for cell in wanted)
    row = metrics.Row(0, 0.1, 10, 1e-7, 1e-7, 0.01, 1, 20, 1, 1.0)
    for cell in wanted:
        metrics.write_csv([row, row], place := runner.csv_of(setup, "fig3", cell))
        place.with_suffix(".json").write_text(json.dumps({"what": kept_cells.what_of(cell, setup), "seconds": 1.0}))
    text = fig3.page(setup, wanted, "x")
    assert "any-scene, unseen scenes" in text.splitlines()[0]
    assert text.count("100.0 (< 0.0001/< 0.0001)") == 4
