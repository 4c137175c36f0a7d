from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments_helpers import TINY_RECIPE
from siame_se3.analysis import metrics
from siame_se3.analysis.metrics import Row
from siame_se3.cli.bench import Bench
from siame_se3.cli.output import Output
from siame_se3.errors import InputError, SiameError
from siame_se3.experiments import networks, pages, perturb, runner, table1, wide
from siame_se3.experiments.laws import LAWS, BenchLaw
from siame_se3.experiments.runner import Cell, Setup
from siame_se3.files import BUNDLED_MODEL, bundled, exclusive
from siame_se3.networks import checkpoint
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.training import driver, state
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe

PHOTO = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
FAST = ("dvs", "dct20")


@pytest.fixture
def setup(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setattr(networks, "RECIPES", {"siame-se(3)": TINY_RECIPE})
    return Setup(tmp_path, Scene.from_photo(PHOTO), 0.1, 3, lambda text: None)


def files(setup: Setup, pattern: str) -> dict[str, str]:
    return {str(p.relative_to(setup.folder)): p.read_text(encoding="utf-8") for p in setup.folder.rglob(pattern)}


def without_times(rows: list[Row]) -> list[Row]:
    return [replace(row, step_ms=0.0) for row in rows]


def test_what_is_there_is_not_run_again(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = table1.cells(3, 1, FAST)
    runner.run(setup, "table1", wanted)
    before = files(setup, "*.csv")
    assert len(before) == 2
    monkeypatch.setattr(runner, "simulate", None)
    runner.run(setup, "table1", wanted)
    assert files(setup, "*.csv") == before


def test_a_killed_benchmark_goes_on_where_it_was(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, real, calls = table1.cells(3, 1, FAST), runner.simulate, []

    def dies(*args: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(runner, "simulate", dies)
    with pytest.raises(KeyboardInterrupt, match=r"row dct20 of table1; 1 of 2 rows kept in .*table1"):
        runner.run(setup, "table1", wanted)
    first = files(setup, "*.csv")
    assert list(first) == ["table1/dvs.csv"]
    runner.run(setup, "table1", wanted)
    assert len(calls) == 3
    assert files(setup, "*.csv")["table1/dvs.csv"] == first["table1/dvs.csv"]
    assert set(runner.results(setup, "table1", wanted)) == set(wanted)


def test_two_shards_are_one_run(setup: Setup, tmp_path: Path) -> None:
    wanted = perturb.cells(2, 5, FAST)[:4] + table1.cells(2, 5, ("dct20",))
    whole = replace(setup, folder=tmp_path / "whole")
    parts = replace(setup, folder=tmp_path / "parts")
    runner.run(whole, "x", wanted)
    runner.run(parts, "x", wanted, (0, 2))
    assert 0 < len(runner.results(parts, "x", wanted)) < len(wanted)
    runner.run(parts, "x", wanted, (1, 2))
    one, two = runner.results(whole, "x", wanted), runner.results(parts, "x", wanted)
    assert one.keys() == two.keys() == set(wanted)
    assert all(without_times(one[cell]) == without_times(two[cell]) for cell in wanted)


def test_laws_that_share_a_network_share_a_shard(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(runner, "_run", lambda setup, experiment, cell: ran.append(cell.law))
    wanted = table1.cells(2, 5, ("siame-se(3)", "dvs", "handoff"))
    runner.run(setup, "x", wanted, (1, 2))
    assert ran == ["dvs"]
    runner.run(setup, "x", wanted, (0, 2))
    assert ran == ["dvs", "siame-se(3)", "handoff"]


def test_networks_that_start_from_one_share_a_shard(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes trained the one that both start from."""
    networks.RECIPES["siame-se(3)-robust"] = replace(TINY_RECIPE, init="siame-se(3)")
    ran: list[str] = []
    monkeypatch.setattr(runner, "_run", lambda setup, experiment, cell: ran.append(cell.law))
    wanted = table1.cells(2, 5, ("siame-se(3)", "siame-se(3)-robust", "dvs", "handoff-robust"))
    runner.run(setup, "x", wanted, (1, 2))
    assert ran == ["dvs"]


@pytest.mark.parametrize("change", [{"runs": 4}, {"seed": 2}, {"disturbance": replace(NONE, noise=0.1)}], ids=str)
def test_results_of_another_benchmark_are_refused(setup: Setup, change: dict[str, object]) -> None:
    cell = Cell("dvs", "", "table1", 3, 1)
    runner.run(setup, "table1", [cell])
    with pytest.raises(SiameError, match=f"another {next(iter(change))}"):
        runner.run(setup, "table1", [replace(cell, **change)])  # type: ignore[arg-type]  # its own fields
    (setup.folder / "table1" / "dvs.json").unlink()
    with pytest.raises(SiameError, match=r"\.json is missing"):
        runner.run(setup, "table1", [cell])


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"what": null}', '{"what": {"recipe": 3}}', '{"what": NaN}', "[" * 100_000]
)
def test_a_damaged_json_is_one_line(setup: Setup, text: str) -> None:
    wanted = table1.cells(12, 1, ("dvs",))
    runner.run(setup, "table1", wanted)
    (setup.folder / "table1" / "dvs.json").write_text(text, encoding="utf-8")
    with pytest.raises(SiameError, match=r"\.json is missing or damaged"):
        runner.run(setup, "table1", wanted)


def test_networks_are_trained_once_and_go_on(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(*args: object, **options: object) -> object:
        raise KeyboardInterrupt

    real = driver.run
    monkeypatch.setattr(driver, "run", torn)
    with pytest.raises(KeyboardInterrupt):
        networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    monkeypatch.setattr(driver, "run", real)
    monkeypatch.setattr(driver, "steps_in", None)  # the budget of the first try holds
    with pytest.raises(SiameError, match=r"of 2 steps \(0\.1 min\), 0 of them made; now 0\.2 min"):
        networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.2, 3)
    model = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    assert model.card["steps"] == 2
    monkeypatch.setattr(driver, "run", torn)
    again = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    weights = [m.network.state_dict().values() for m in (model, again)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert [p.name for p in (setup.folder / "networks").iterdir()] == ["siame-se3.safetensors"]


def test_a_network_of_a_quick_run_is_not_that_of_a_whole_one(setup: Setup) -> None:
    model = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    place = networks.path_of(setup.folder, "siame-se(3)")
    with pytest.raises(InputError, match=r"trained for 0\.1 minutes, and 5 are asked for; remove it") as error:
        networks.obtain("siame-se(3)", [setup.scene], setup.folder, 5.0, 3)
    assert str(error.value).startswith(f"{place}: ")
    assert networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.05, 3).card == model.card


def test_the_bundled_model_is_taken_only_where_it_is_asked_for(setup: Setup) -> None:
    """Also where a trained one lies; and its rows are not taken for those of a trained one."""
    networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    taking = replace(setup, instead={"siame-se(3)": "coffee"})
    coffee = networks.digest(checkpoint.load("coffee"))
    assert networks.digest(runner.obtain(taking, "siame-se(3)")) == coffee
    wanted = table1.cells(2, 1, ("siame-se(3)",))
    runner.run(taking, "table1", wanted)
    assert facts_of(setup, "siame-se3")["network"] == {"name": "coffee", "weights": coffee, "minutes": None}
    assert "siame-se(3) is the bundled coffee" in pages.origin(taking, "table1", wanted, "x")
    runner.run(taking, "table1", wanted)
    with pytest.raises(InputError, match=r"siame-se3\.csv: made with the network coffee, now siame-se\(3\)"):
        runner.run(setup, "table1", wanted)
    networks.path_of(setup.folder, "siame-se(3)").unlink()
    with pytest.raises(InputError, match="made with the network coffee"):
        runner.run(setup, "table1", wanted)


@pytest.mark.parametrize(("options", "taken"), [({}, {}), ({"quick": True}, {"siame-se(3)": "coffee"})], ids=str)
def test_the_command_says_which_network_is_the_bundled_one(
    tmp_path: Path, options: dict[str, Any], taken: dict[str, str]
) -> None:
    assert Bench("table1", out=tmp_path, scenes=tmp_path, **options)._setup(Output()).instead == taken
    if taken:
        assert Bench("table1", out=tmp_path, scenes=tmp_path, bundled_model=True)._setup(Output()).instead == taken


def test_a_copy_of_the_bundled_model_is_not_a_trained_network(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier versions put one where the trained one is sought."""
    monkeypatch.setattr(networks, "RECIPES", {"siame-se(3)": Recipe()})
    place = networks.path_of(setup.folder, "siame-se(3)")
    place.parent.mkdir()
    place.write_bytes(bundled(BUNDLED_MODEL).read_bytes())
    with pytest.raises(InputError, match=r"siame-se3\.safetensors: the bundled model, put there by"):
        runner.run(setup, "table1", table1.cells(2, 1, ("siame-se(3)",)))


def facts_of(setup: Setup, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((setup.folder / "table1" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_cells_know_what_their_network_was_trained_for(setup: Setup) -> None:
    wanted = table1.cells(2, 1, ("siame-se(3)",))
    runner.run(setup, "table1", wanted)
    place = networks.path_of(setup.folder, "siame-se(3)")
    assert facts_of(setup, "siame-se3")["network"]["minutes"] == 0.1
    runner.run(replace(setup, minutes=0.05), "table1", wanted)
    assert "(0.1 min of training each)" in pages.origin(replace(setup, minutes=0.05), "table1", wanted, "x")
    place.unlink()
    runner.run(setup, "table1", wanted)  # nothing is to be trained, so nothing is missing
    with pytest.raises(InputError, match=r"siame-se3\.csv: made with a network trained for 0\.1 minutes, and 5 are"):
        runner.run(replace(setup, minutes=5.0), "table1", wanted)
    facts = facts_of(setup, "siame-se3")
    del facts["network"]  # of a version that did not write it
    (setup.folder / "table1" / "siame-se3.json").write_text(json.dumps(facts), encoding="utf-8")
    runner.run(replace(setup, minutes=5.0), "table1", wanted)


def test_cells_of_another_network_are_refused(setup: Setup) -> None:
    wanted = table1.cells(2, 1, ("siame-se(3)",))
    runner.run(setup, "table1", wanted)
    networks.path_of(setup.folder, "siame-se(3)").unlink()
    both = table1.cells(2, 1, ("siame-se(3)", "handoff"))
    with pytest.raises(InputError, match=r"its network is not in .*networks any more, and handoff needs it"):
        runner.run(setup, "table1", both)
    networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 4)
    with pytest.raises(InputError, match=r"siame-se3\.csv: made with another network 'siame-se\(3\)'"):
        runner.run(setup, "table1", both)


def test_networks_are_looked_at_before_the_first_row(setup: Setup) -> None:
    """Rows without a network were run first."""
    networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    networks.RECIPES["siame-se(3)-robust"] = replace(TINY_RECIPE, init="siame-se(3)")
    for law in ("siame-se(3)", "siame-se(3)-robust"):
        with pytest.raises(InputError, match=r"siame-se3\.safetensors: trained for 0\.1 minutes, and 5 are asked for"):
            runner.run(replace(setup, minutes=5.0), "x", table1.cells(2, 1, ("dvs", law)))
    assert not (setup.folder / "x").exists()


def test_a_network_knows_what_it_was_trained_from(setup: Setup) -> None:
    networks.RECIPES["tuned"] = replace(TINY_RECIPE, init="siame-se(3)")

    def obtained(name: str, seed: int) -> None:
        networks.obtain(name, [setup.scene], setup.folder, 0.1, seed)

    obtained("tuned", 3)
    obtained("tuned", 3)
    networks.path_of(setup.folder, "siame-se(3)").unlink()
    obtained("siame-se(3)", 4)
    with pytest.raises(InputError, match=r"tuned\.safetensors: trained from another siame-se\(3\) than"):
        obtained("tuned", 3)


def test_a_network_of_another_process_is_waited_for(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = networks.obtain("siame-se(3)", [setup.scene], setup.folder / "theirs", 0.1, 3)
    place, said, held = networks.path_of(setup.folder, "siame-se(3)"), [], contextlib.ExitStack()
    held.enter_context(exclusive(place))

    def ends(seconds: float) -> None:
        checkpoint.save(theirs, place)
        held.close()

    monkeypatch.setattr(networks, "time", SimpleNamespace(sleep=ends))
    model = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 4, said.append)
    assert networks.digest(model) == networks.digest(theirs)
    assert said == [f"  {place}: another process trains it; waiting for that"]


@pytest.mark.parametrize("content", [b"", b"{", bytes(1000)], ids=["empty", "cut", "zeros"])
def test_a_damaged_training_state_is_one_line(setup: Setup, content: bytes) -> None:
    path = state.path_of(networks.path_of(setup.folder, "siame-se(3)"))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(SiameError, match="a damaged training state; remove it to start again") as error:
        networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    assert str(error.value).startswith(f"{path}: ")
    assert path.read_bytes() == content


def test_a_network_that_starts_from_another_learns_at_a_third_of_the_rate(setup: Setup) -> None:
    recipe = networks.recipe_of("siame-se(3)")
    networks.RECIPES["tuned"] = replace(recipe, init="siame-se(3)").tuned()
    first = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    tuned = networks.obtain("tuned", [setup.scene], setup.folder, 0.1, 3)
    assert tuned.card["recipe"]["train"]["lr"] == pytest.approx(1e-3)
    assert tuned.card["recipe"]["init"] == "siame-se(3)"
    own = replace(recipe, seed=3, train=replace(recipe.train, evaluations=0)).tuned()
    expected = driver.fit(own, [setup.scene], initial=first.network.weights_for(recipe.network)).model
    weights = [m.network.state_dict().values() for m in (tuned, expected)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_pages_have_what_was_run(setup: Setup) -> None:
    wanted = table1.cells(12, 1, (*FAST, "siame-se(3)"))
    runner.run(setup, "table1", wanted)
    text = table1.page(setup, wanted, "siame bench table1")
    lines = text.splitlines()
    assert len(lines) == 5
    assert "| 34.8 |" in lines[2]  # the paper's DVS
    page = (setup.folder / "table1" / "report.md").read_text(encoding="utf-8")
    assert text in page
    assert "siame bench table1" in page
    assert {p.name for p in (setup.folder / "table1").glob("*.png")} == {"success.png", "fig2.png"}
    rows = metrics.read_csv(setup.folder / "table1" / "dvs.csv")
    assert f"{100 * sum(r.converged for r in rows) / 12:.1f}" in lines[2]


def test_pages_of_nothing_say_so(setup: Setup) -> None:
    for room in (table1, wide, perturb):
        assert "nothing has been run" in room.page(setup, room.cells(2, 1, FAST), "x")


def test_wide_and_perturb_have_a_line_a_law(setup: Setup) -> None:
    for room in (wide, perturb):
        wanted = [c for c in room.cells(2, 1, FAST) if c.condition in ("", "none", "lamps")]
        runner.run(setup, room.NAME, wanted)
        assert len(room.page(setup, wanted, "x").splitlines()) == 4
    assert (setup.folder / "perturb" / "perturb.png").is_file()


def test_medians_of_an_even_count_are_the_mean_of_both() -> None:
    """They were the upper one: the progress said 4.27 mm, the report 6.02 mm of the same runs."""
    rows = [
        metrics.Row(k, 0.1, 10.0, 0.001 * end, 0.1, 0.0, 0.0, iterations, 1, 1.0)
        for k, (end, iterations) in enumerate(((1.0, 10), (6.0, 40), (2.0, 21), (9.0, 50)))
    ]
    assert metrics.summary(rows).median_end_t_m == pytest.approx(0.004)
    cells = perturb.cells(4, 5, FAST[:1])[:1]
    line = perturb.advice({cells[0]: rows})[0]
    assert line["median end"] == "4.00 mm"
    assert table1.line(table1.cells(4, 5, FAST[:1])[0], rows)["iterations"] == "30.5"


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (1000, "in 10 batches of 100 runs"),
        (24, "in 8 batches of 3 runs"),
        (23, "in 10 batches of 2 or 3 runs"),
        (9, "in 9 batches of 1 run"),
        (1, "in 1 batch of 1 run"),
    ],
)
def test_fig2s_batches_are_of_the_size_that_is_said(runs: int, said: str) -> None:
    """Those of 24 runs were of 2 and 3, and the figure called them equal."""
    order = list(range(runs))[::-1]
    parts = table1.batches(order)
    assert table1.in_batches(parts) == said
    assert [i for part in parts for i in part] == order


def test_fig2s_batches_are_of_rising_overlap(setup: Setup) -> None:
    found = table1.overlaps(setup, 40, 3)
    assert len(found) == 40
    assert 0.2 <= min(found) < max(found) <= 1


def test_every_law_has_a_recipe_and_a_controller() -> None:
    from siame_se3.experiments.networks import RECIPES

    for name, law in LAWS.items():
        assert isinstance(law, BenchLaw)
        assert not law.network or law.network in RECIPES, name
        assert law.camera.width == law.size
        if not law.network:
            assert law.make(None).needs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"laws": ("dvx",)}, "no such row"),
        ({"runs": 0}, "--runs 0"),
        ({"shard": "2/2"}, "shard 2/2"),
        ({"shard": "a/b"}, "shard a/b"),
        ({"minutes": 0.0}, "--minutes"),
    ],
    ids=str,
)
def test_bad_options_are_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(SiameError, match=message):
        Bench("table1", out=tmp_path, **options)()  # type: ignore[arg-type]  # its own fields


@pytest.mark.parametrize("law", ["handoff", "dct20"])
def test_quick_benchmark_runs_whole(tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str], law: str) -> None:
    """With the bundled model, on small images."""
    Bench("table1", out=tmp_path, quick=True, runs=2, laws=(law,))()
    out = capsys.readouterr().out
    assert {"handoff": "Siame-se(3), then photometric", "dct20": "DCT-VS, k = 20"}[law] in out
    facts = json.loads((tmp_path / "table1" / f"{law}.json").read_text(encoding="utf-8"))
    assert facts["what"]["runs"] == 2
    assert (tmp_path / "table1" / "report.md").is_file()


@pytest.mark.parametrize("starts", ["table1", "wide"])
def test_laws_of_every_image_size_have_the_same_starts(starts: str) -> None:
    drawn = [draw_starts(starts, 30, Scene.from_photo(PHOTO), law.camera, Workspace(), 42) for law in LAWS.values()]
    assert len({law.size for law in LAWS.values()}) > 1
    assert all(torch.equal(a, b) for other in drawn for a, b in zip(drawn[0], other, strict=True))


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, ""),
        ({"data": {"most_pairs": None}}, ""),  # None: the card is from before this option
        ({"data": None, "scenes": None}, ""),
        ({"data": {"views": 5}}, "data.views 5, now 4"),
        ({"data": {"views": None}}, "data.views 64, now 4"),  # 4 here, and not the default
        ({"network": {"gone": 1}}, "network.gone 1, now None"),
    ],
)
def test_networks_of_another_recipe_are_refused(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], refused: str
) -> None:
    if change.get("data", {}) is None:
        monkeypatch.setattr(
            networks, "RECIPES", {"siame-se(3)": replace(networks.RECIPES["siame-se(3)"], data=DataConfig())}
        )
    model = networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)

    def changed(kept: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
        mixed = {k: changed(kept[k], v) if isinstance(v, dict) else v for k, v in by.items()}
        return {k: v for k, v in (kept | mixed).items() if v is not None}

    card = {**model.card, "recipe": changed(model.card["recipe"], change)}
    checkpoint.save(replace(model, card=card), networks.path_of(setup.folder, "siame-se(3)"))
    if not refused:
        assert networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3).card == card
    else:
        with pytest.raises(SiameError, match=rf"by another recipe \({refused}\)"):
            networks.obtain("siame-se(3)", [setup.scene], setup.folder, 0.1, 3)
    # and so are the runs that were made with it
    networks.path_of(setup.folder, "siame-se(3)").unlink()
    monkeypatch.setattr(runner, "obtain", lambda setup, name: model)
    wanted = table1.cells(2, 1, ("siame-se(3)",))
    runner.run(setup, "table1", wanted)
    place = runner.csv_of(setup, "table1", wanted[0]).with_suffix(".json")
    facts = json.loads(place.read_text(encoding="utf-8"))
    facts["what"]["recipe"] = card["recipe"]
    place.write_text(json.dumps(facts), encoding="utf-8")
    if not refused:
        runner.run(setup, "table1", wanted)
    else:
        with pytest.raises(SiameError, match=rf"of another recipe \({refused}\)"):
            runner.run(setup, "table1", wanted)
