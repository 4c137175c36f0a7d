from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from siame_se3.analysis import metrics
from siame_se3.analysis.metrics import Summary
from siame_se3.cli.bench import Bench
from siame_se3.errors import InputError, ModelError, SiameError
from siame_se3.experiments import imagenet, ladder, paper, paper_page
from siame_se3.experiments.evaluation import closed_loop
from siame_se3.experiments.ladder import BACKBONES, SMALL, VGGS, Row
from siame_se3.experiments.paper_setup import Deadline, Setup
from siame_se3.files import write_text
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.planar import Scene
from siame_se3.servo.simulation import Task
from siame_se3.training import driver, recipe, state
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe, TrainConfig, difference

ROWS = {row.name: row for row in ladder.rows(pretrained=True)}


@dataclass
class Loop:
    """Instead of the closed loop: counts what it is asked, and of two iterations takes `seconds` of a clock that nothing else moves."""

    seconds: float = 0.0
    now: float = 0.0
    asked: list[Task] = field(default_factory=list)
    networks: list[SiameseNetwork] = field(default_factory=list)

    def __call__(self, network: SiameseNetwork, task: Task, iterations: int) -> Summary:
        self.asked.append(task)
        self.networks.append(network)
        self.now += self.seconds * iterations / 2
        k = float(len(self.asked))
        return replace(metrics.summary([]), converged_percent=10 * k, median_end_t_m=0.1 / k, median_end_r_deg=1 / k)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(paper, "closed_loop", made)
    monkeypatch.setattr(paper_page, "draw", lambda *rest: None)  # a second a time; `test_pages_of_what_is_there` draws
    return made


@pytest.fixture
def small(tiny: NetworkConfig, few_views: DataConfig) -> list[Row]:
    """Two rows of 10 steps of 8 images, a step some 20 ms."""
    train = TrainConfig(steps=10, precision="f32", log_every=1, evaluations=0)
    first = Row("ours", SMALL, Recipe(tiny, data=few_views, train=train, seed=3))
    return [first, replace(first, rung="losses")]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def setup(tmp_path: Path, scene: Scene, said: list[str]) -> Setup:
    return Setup(tmp_path, scene, runs=5, iterations=2, seed=3, say=said.append)


def run(setup: Setup, rows: list[Row], shard: tuple[int, int] = (0, 1)) -> str:
    return paper.run(setup, rows, shard, "siame bench paper")


def curves(setup: Setup) -> list[dict[str, str]]:
    with (setup.folder / "paper" / "curves.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# -- The rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_a_network_that_can_be_built(name: str) -> None:
    network = replace(ROWS[name].recipe.network, pretrained=False)
    with torch.device("meta"):
        built = SiameseNetwork(network)
    assert all(p.is_meta for p in built.parameters())
    assert ROWS[name].recipe.loss.where == 0 or network.pooling == "homography"


def test_names_are_not_shared_and_the_budget_is_kept() -> None:
    rows = ladder.rows(1000, seed=5)
    assert len({row.name for row in rows}) == len(rows) == 4 * len(BACKBONES) + len(VGGS)
    for row in rows:
        wanted = 5000 if row.backbone == SMALL else 1000
        assert wanted <= row.images(row.steps) < wanted + 64
        assert row.recipe.seed == 5
    assert not any(row.recipe.network.pretrained for row in rows)
    assert {row.name for row in ladder.rows(pretrained=True)} - {row.name for row in rows} == {
        f"{rung}-b3-imagenet" for rung in ("paper", "all-pairs", "losses", "ours")
    }


def test_the_papers_row_is_the_papers() -> None:
    recipe = ROWS["paper-b3"].recipe
    assert recipe.network == replace(NetworkConfig.paper(), pretrained=False)
    assert recipe.loss == LossConfig("eq6", norm="l2", near=0.0, where=0.0)
    assert (recipe.data.pairs, recipe.data.views, recipe.data.near) == ("paper", 50, 0.0)
    train = recipe.train
    assert (train.optimiser, train.lr, train.lr * train.lr_loss) == ("adamw", 1e-4, pytest.approx(5e-4))
    assert ROWS["pose-vgg16"].recipe.network == replace(NetworkConfig.vgg_pose(), pretrained=False)
    assert ROWS["pose-vgg11"].recipe.loss.kind == "eq5"


def test_a_step_changes_what_it_says_and_no_more() -> None:
    cards = {name: row.recipe.in_card() for name, row in ROWS.items()}
    assert difference(cards["paper-b3"], cards["all-pairs-b3"]) == "data.pairs paper, now all"
    cards["all-pairs-b3"]["data"]["pairs"] = "paper"
    assert difference(cards["paper-b3"], cards["all-pairs-b3"]) == ""
    layers = ("pooling", "fusion", "head", "image_size", "backbone")
    paper_b3, losses_b3 = ROWS["paper-b3"].recipe.network, ROWS["losses-b3"].recipe.network
    assert all(getattr(paper_b3, name) == getattr(losses_b3, name) for name in layers)
    assert difference(Recipe().in_card(), cards["ours-resnet10t"]) == ""


def test_rows_are_chosen_by_name() -> None:
    rows = list(ROWS.values())
    assert [row.name for row in ladder.chosen(rows, ("ours-b3", "paper-b3"))] == ["ours-b3", "paper-b3"]
    assert ladder.chosen(rows, ()) == rows
    with pytest.raises(InputError, match="ours-b4: no such row; use some of paper-b3, ours-b3"):
        ladder.chosen(rows, ("ours-b4",))


# -- Marks and pages --------------------------------------------------------------------------------------------------


def test_marks_are_kept_as_they_are_made(setup: Setup, small: list[Row], loop: Loop, said: list[str]) -> None:
    text = run(setup, small)
    found = curves(setup)
    assert tuple(found[0]) == paper_page.COLUMNS
    assert [(line["row"], line["images"]) for line in found] == [
        (name, images) for name in ("losses-resnet10t", "ours-resnet10t") for images in ("8", "16", "40", "80")
    ]
    ours = found[4:]
    assert [line["converged"] for line in ours] == ["10.0", "20.0", "30.0", "40.0"]
    assert [line["median_end_t_mm"] for line in ours] == ["100.0000", "50.0000", "33.3333", "25.0000"]
    assert {line["precision"] for line in found} == {"f32"}
    seconds = [float(line["train_seconds"]) for line in ours]
    assert seconds == sorted(seconds)
    assert float(ours[-1]["hours"]) == pytest.approx(seconds[-1] / 3600, abs=1e-5)
    assert {(task.runs, task.seed) for task in loop.asked} == {(5, 1003)}
    names = sorted(p.name for p in (setup.folder / "paper").iterdir())
    assert names == ["curves.csv", "report.md", "rows", "table.csv"]
    table = [line for line in text.splitlines() if line.startswith("| ours-resnet10t")]
    assert len(table) == 1
    assert "| 40.0 | 25.00 mm 0.250 deg | - | 3 |" in table[0]
    assert "siame bench paper" in (setup.folder / "paper" / "report.md").read_text(encoding="utf-8")
    assert any("ours-resnet10t: 16 images" in line for line in said)


def test_pages_of_what_is_there(tmp_path: Path, small: list[Row]) -> None:
    mark = paper_page.Mark(5, 40, 36.0, "a GPU", "2026-11-26", 1_500_000, 75.0, 1.5, 0.25, None, None, 2.0)
    found = {
        small[0]: [mark],
        small[1]: [mark, replace(mark, step=10, images=80, mean_end_t_mm=2.0, mean_end_r_deg=0.1)],
    }
    text = paper_page.write(tmp_path, found, "coffee", "siame bench paper")
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| losses-resnet10t", "| ours-resnet10t"]
    assert "| 1.50 | 80 | 80 | 0.010 | 2 | 75.0 | 1.50 mm 0.250 deg | 0.200 cm 0.100 deg | 3 | a GPU |" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.csv", "paper.png", "report.md", "table.csv"]
    assert "coffee; a GPU, 2026-11-26." in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_models_are_kept_in_half_precision_with_their_curve(setup: Setup, small: list[Row], loop: Loop) -> None:
    run(setup, small[:1])
    path = setup.model(small[0])
    model = checkpoint.load(path)
    assert path.stat().st_size < 2.6 * sum(p.numel() for p in model.network.parameters())
    assert [mark["images"] for mark in model.card["curve"]] == [8, 16, 40, 80]
    assert model.card["first weights"] == "random"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_network_that_commands_nothing_ends_where_it_started(setup: Setup, small: list[Row]) -> None:
    network = SiameseNetwork(small[0].recipe.network).eval().requires_grad_(False)
    for p in network.parameters():
        p.zero_()
    mark = paper._measured(setup, small[0], network, 5, 12.0, "f32")
    task = Task(setup.scene, small[0].recipe.seen_by, runs=5, seed=1003)
    T_wd, T_wc = task.draw()
    moved = (T_wd[:, :3, 3] - T_wc[:, :3, 3]).norm(dim=1).median()
    assert mark.median_end_t_mm == pytest.approx(1e3 * float(moved))
    assert (mark.converged, mark.mean_end_t_mm, mark.images, mark.train_seconds) == (0.0, None, 40, 12.0)
    assert json.dumps(vars(mark), allow_nan=False)


def test_a_closed_loop_is_rendered_where_the_network_is(
    scene: Scene, tiny: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.experiments import evaluation

    seen: list[Any] = []

    def simulate(law: Any, task: Task, config: Any, quiet: bool, plant: Any) -> Any:
        seen.append((plant._device, law.engine.network))
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "simulate", simulate)
    monkeypatch.setattr(evaluation, "engine_on", lambda network: type("E", (), {"network": network, "image_size": 32}))
    with torch.device("meta"):
        network = SiameseNetwork(tiny)
    with pytest.raises(KeyboardInterrupt):
        closed_loop(network, Task(scene, Recipe(tiny).seen_by))
    assert seen == [(torch.device("meta"), network)]


# -- Going on ---------------------------------------------------------------------------------------------------------


def test_a_row_that_is_done_is_not_made_again(
    setup: Setup, small: list[Row], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(setup, small)
    monkeypatch.setattr(paper, "fit", None)
    assert run(setup, small) == text
    assert len(loop.asked) == 8


def test_two_shards_are_one_run(setup: Setup, small: list[Row], loop: Loop) -> None:
    run(replace(setup, processes=2), small, (0, 2))
    assert {line["row"] for line in curves(setup)} == {"ours-resnet10t"}
    run(replace(setup, processes=2), small, (1, 2))
    assert {line["row"] for line in curves(setup)} == {"ours-resnet10t", "losses-resnet10t"}
    assert all(line["device"].endswith("1 of 2 processes") for line in curves(setup))


def test_a_limit_of_time_keeps_the_state_and_the_same_command_goes_on(
    setup: Setup, small: list[Row], loop: Loop, tmp_path: Path, said: list[str]
) -> None:
    whole = replace(setup, folder=tmp_path / "whole")
    run(whole, small[:1])
    loop.seconds = 5.0
    limited = replace(setup, deadline=Deadline(paper.MARGIN + 25.0, loop.clock))
    run(limited, small)  # the time is over after the second mark, in the first row
    assert [line["images"] for line in curves(setup)] == ["8", "16"]
    assert "its state is kept; the same command goes on" in said[-1]
    begun = state.begun(state.path_of(setup.model(small[0])))
    assert begun is not None
    assert (begun.done, begun.steps) == (2, 10)
    assert not setup.model(small[0]).is_file()
    run(setup, small)
    assert [line["images"] for line in curves(setup) if line["row"] == "ours-resnet10t"] == ["8", "16", "40", "80"]
    one, two = (checkpoint.load(s.model(small[0])).network.state_dict() for s in (whole, setup))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_no_row_is_begun_without_time(setup: Setup, small: list[Row], loop: Loop, said: list[str]) -> None:
    late = replace(setup, deadline=Deadline(paper.MARGIN / 2, loop.clock))
    assert run(late, small) == "(nothing has been run)"
    assert said == ["ours-resnet10t: no time left; the same command goes on"]


def test_a_last_mark_that_a_kill_took_is_made_from_the_model(setup: Setup, small: list[Row], loop: Loop) -> None:
    run(setup, small[:1])
    path = setup.path(small[0])
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["marks"].pop()
    write_text(path, json.dumps(kept))
    run(setup, small[:1])
    assert [line["images"] for line in curves(setup)] == ["8", "16", "40", "80"]
    assert len(loop.asked) == 5
    path.unlink()
    other = replace(small[0], recipe=replace(small[0].recipe, width=0.5))
    with pytest.raises(InputError, match=r"trained by another recipe \(width 0.8, now 0.5\)"):
        run(setup, [other])


@pytest.mark.parametrize(("changes", "name"), [({"runs": 6}, "runs"), ({"seed": 4}, "seed")])
def test_rows_made_otherwise_are_refused(
    setup: Setup, small: list[Row], loop: Loop, changes: dict[str, Any], name: str
) -> None:
    run(setup, small[:1])
    with pytest.raises(InputError, match=f"made with another {name}; give the same options"):
        run(replace(setup, **changes), small[:1])
    other = replace(small[0], recipe=replace(small[0].recipe, width=0.5))
    with pytest.raises(InputError, match="another recipe"):
        run(setup, [other])
    faster = replace(small[0], recipe=replace(small[0].recipe, train=replace(small[0].recipe.train, fast=True)))
    assert run(setup, [faster]).count("| ours-resnet10t") == 1  # how a row runs makes no difference


def test_the_first_mark_is_made_before_the_time_is_over(
    setup: Setup, small: list[Row], loop: Loop, said: list[str]
) -> None:
    """Nothing was known of how long it takes, and it was begun in any case."""
    loop.seconds = 5.0
    limit = paper.MARGIN + 15.0
    run(replace(setup, deadline=Deadline(limit, loop.clock)), small[:1])
    assert loop.now <= limit
    assert [network.training for network in loop.networks] == [False, False]  # the two by which it is estimated
    assert "a mark takes about 5 s" in said[-2]
    assert "its state is kept" in said[-1]
    begun = state.begun(state.path_of(setup.model(small[0])))
    assert begun is not None
    assert begun.done == 0


def test_a_mark_from_the_model_is_not_begun_without_time(
    setup: Setup, small: list[Row], loop: Loop, said: list[str]
) -> None:
    loop.seconds = 5.0
    run(replace(setup, deadline=Deadline(1e6, loop.clock)), small[:1])
    path = setup.path(small[0])
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["marks"].pop()
    write_text(path, json.dumps(kept))
    asked = len(loop.asked)
    run(replace(setup, deadline=Deadline(paper.MARGIN + 6.0, loop.clock)), small[:1])
    assert len(loop.asked) == asked
    assert "the same command goes on" in said[-1]


def test_rows_made_otherwise_are_refused_before_any_is_trained(
    setup: Setup, small: list[Row], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first row was trained for minutes, and then the second one was in the way."""
    run(setup, small[1:])
    monkeypatch.setattr(paper, "fit", lambda *rest: pytest.fail("trained"))
    with pytest.raises(InputError, match=r"losses-resnet10t\.json: made with another runs"):
        run(replace(setup, runs=6), small)
    setup.path(small[1]).unlink()
    longer = [replace(row, recipe=row.recipe.of_steps(20)) for row in small]
    with pytest.raises(
        InputError, match=r"losses-resnet10t\.safetensors: trained by another recipe \(steps 10, now 20\)"
    ):
        run(setup, longer)


def test_rows_of_the_version_before_are_kept(
    setup: Setup, small: list[Row], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were in bfloat16, and said so where now 'auto' is asked for."""
    run(setup, small[:1])
    path = setup.path(small[0])
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["what"]["recipe"]["train"]["precision"] = "bf16"
    for name in ("fast", "checkpoint_seconds", "log_every", "evaluations", "workers"):
        del kept["what"]["recipe"]["train"][name]
    for mark in kept["marks"]:
        del mark["precision"]
    write_text(path, json.dumps(kept))
    monkeypatch.setattr(paper, "fit", lambda *rest: pytest.fail("trained"))
    now = replace(small[0], recipe=replace(small[0].recipe, train=replace(small[0].recipe.train, precision="auto")))
    assert "| bf16 |" in run(setup, [now])
    for other, named in ((now.recipe.of_steps(20), "steps 10, now 20"), (replace(now.recipe, seed=4), "seed 3, now 4")):
        with pytest.raises(InputError, match=rf"made with another recipe \({named}\)"):
            run(setup, [replace(now, recipe=other)])


def test_the_precision_is_the_one_that_a_machine_trains_in(
    setup: Setup, small: list[Row], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "precision_for", lambda device: "f32")
    train = replace(small[0].recipe.train, precision="auto")
    run(setup, [replace(small[0], recipe=replace(small[0].recipe, train=train))])
    assert {line["precision"] for line in curves(setup)} == {"f32"}


@pytest.mark.parametrize("text", ["", "[1]", '{"what": {}}', '{"what": {}, "marks": [{"step": 1}]}'])
def test_damaged_marks_are_one_line(setup: Setup, small: list[Row], loop: Loop, text: str) -> None:
    setup.path(small[0]).parent.mkdir(parents=True)
    setup.path(small[0]).write_text(text, encoding="utf-8")
    with pytest.raises(SiameError, match=r"ours-resnet10t\.json.*; remove it to make the row again"):
        run(setup, small[:1])


def test_a_row_that_cannot_be_had_is_left_out(
    setup: Setup, small: list[Row], loop: Loop, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(imagenet, "lite0_file", lambda: None)
    packaged = replace(small[0], backbone=ladder.Backbone("lite0-imagenet", imagenet.LITE0, "package"))
    real = driver.fit

    def fails(recipe: Recipe, *rest: Any) -> Any:
        raise OSError("no hub")

    monkeypatch.setattr(paper, "fit", fails)
    hub = replace(small[0], backbone=ladder.HUB[0])
    run(setup, [packaged, hub])
    assert "lite0-imagenet: left out: ImageNet weights of tf_efficientnet_lite0: not installed" in said[1]
    assert "b3-imagenet: left out: its ImageNet weights cannot be had (OSError)" in said[-1]
    with pytest.raises(OSError, match="no hub"):  # of another row it is a fault
        run(setup, small[:1])
    monkeypatch.setattr(paper, "fit", real)
    run(setup, [packaged, *small])
    assert len(curves(setup)) == 8


# -- ImageNet weights -------------------------------------------------------------------------------------------------


def test_the_packages_weights_have_timms_names() -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        wanted = timm.create_model(imagenet.LITE0).state_dict()
    stored = {f"_layer.{k}": w for k, w in enumerate(wanted.values())}
    found = imagenet.lite0_names(stored)
    assert list(found) == list(wanted)
    assert found["conv_stem.weight"] is stored["_layer.0"]
    stored.popitem()
    with pytest.raises(ModelError, match="its weights are not those of tf_efficientnet_lite0"):
        imagenet.lite0_names(stored)


def test_a_network_starts_from_them_with_its_own_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    weights = timm.create_model(imagenet.LITE0).state_dict()
    torch.save(weights, tmp_path / "lite0.pth")
    monkeypatch.setattr(imagenet, "lite0_file", lambda: tmp_path / "lite0.pth")
    config = replace(ROWS["ours-lite0-imagenet"].recipe.network, image_size=32)
    start = imagenet.start_from_lite0(config, 7)
    torch.manual_seed(7)
    own = SiameseNetwork(config).state_dict()
    assert start.keys() == own.keys()
    for name, w in start.items():
        expected = weights[name.removeprefix("backbone.")] if name.startswith("backbone.") else own[name]
        assert torch.equal(w, expected), name


# -- The command ------------------------------------------------------------------------------------------------------


def bench(tmp_path: Path, **options: Any) -> Bench:
    return Bench("paper", out=tmp_path, device="cpu", **options)


def test_the_command_names_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(tmp_path, only=("list",))()
    assert capsys.readouterr().out.startswith("paper-b3: the paper's: its pairs, Eq. 6\nours-b3: ")


@pytest.mark.parametrize("options", [{"images": 0}, {"wall_seconds": 0.0}, {"only": ("b3",)}, {"runs": 0}], ids=str)
def test_the_command_refuses_what_it_cannot_do(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        bench(tmp_path, **options)()


def test_the_quick_version_is_small(
    tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ladder, "QUICK_IMAGES", 16)
    bench(tmp_path, quick=True, only=("ours-resnet10t",))()
    assert {(task.camera.width, task.runs) for task in loop.asked} == {(64, 24)}
    assert f"written: {tmp_path / 'paper' / 'report.md'}" in capsys.readouterr().out
