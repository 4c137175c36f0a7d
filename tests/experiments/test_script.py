"""Experiments that are scripts: rows that are kept, shared out, and made."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import smooth_scene
from experiments_helpers import TINY_RECIPE
from siame_se3.analysis import metrics
from siame_se3.errors import InputError
from siame_se3.experiments import (
    ablation,
    any_scene,
    baselines,
    certainty,
    certainty_photos,
    light_at_goal,
    script,
    time_to_paper,
)
from siame_se3.experiments import scan as scans
from siame_se3.experiments.evaluation import closed_loop
from siame_se3.experiments.training import Reach
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.servo.simulation import Task

MADE: list[str] = []


def made(name: str) -> dict[str, Any]:
    MADE.append(name)
    return {"law": name, "value": len(name)}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, names: str = "a bb ccc") -> list[dict[str, Any]]:
    """Rows of a script with one option that matters and one that only chooses."""
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    options = script.parser("A script.")
    options.add_argument("--runs", type=int, default=1)
    options.add_argument("--only", default="")
    MADE.clear()
    rows: dict[str, Callable[[], dict[str, Any]]] = {name: partial(made, name) for name in names.split()}
    return script.table(options.parse_args(), rows, ("only",))


def test_ctrl_c_is_one_line_that_says_where_rows_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a traceback."""

    def stopped(name: str) -> dict[str, Any]:
        if name == "bb":
            raise KeyboardInterrupt
        return {"law": name}

    monkeypatch.setitem(globals(), "made", stopped)
    for keep, words in ((("--keep", str(tmp_path / "rows")), f"goes on from {tmp_path / 'rows'}"), ((), "--keep FILE")):
        with pytest.raises(SystemExit) as stop:
            script.run_script(lambda: run(monkeypatch, *keep) and None)  # noqa: B023  # called at once
        assert stop.value.code == 130
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("stopped at row bb; ")
        assert words in line


def test_kept_rows_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = str(tmp_path / "rows.jsonl")
    first = run(monkeypatch, "--keep", keep, names="a bb")
    assert MADE == ["a", "bb"]
    assert run(monkeypatch, "--keep", keep, "--only", "x") == [*first, {"law": "ccc", "value": 3}]
    assert MADE == ["ccc"]
    assert capsys.readouterr().out.endswith("| law | value |\n|---|---|\n| a | 1 |\n| bb | 2 |\n| ccc | 3 |\n")
    run(monkeypatch)
    assert MADE == ["a", "bb", "ccc"]


def test_two_shards_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = str(tmp_path / "rows.jsonl")
    for shard, mine in (("0/2", ["a", "ccc"]), ("1/2", ["bb"])):
        run(monkeypatch, "--keep", keep, "--shard", shard)
        assert mine == MADE
    assert [row["law"] for row in run(monkeypatch, "--keep", keep)] == ["a", "bb", "ccc"]
    assert MADE == []


def test_rows_of_other_options_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = str(tmp_path / "rows.jsonl")
    run(monkeypatch, "--keep", keep)
    with pytest.raises(InputError, match="'a' was made with runs 1, now 2"):
        run(monkeypatch, "--keep", keep, "--runs", "2")


def test_a_line_that_is_half_written_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tmp_path / "rows.jsonl"
    run(monkeypatch, "--keep", str(keep))
    whole = keep.read_bytes()
    keep.write_bytes(whole[:-20])
    run(monkeypatch, "--keep", str(keep))
    assert MADE == ["ccc"]
    assert len(run(monkeypatch, "--keep", str(keep))) == 3
    assert MADE == []


def test_ablations_of_before_are_read(tmp_path: Path) -> None:
    """Their lines have a variant as first column, and no options."""
    (tmp_path / "ablation.jsonl").write_text(json.dumps({"variant": "default", "images": 5}) + "\n", encoding="utf-8")
    assert script.kept(tmp_path / "ablation.jsonl", {"steps": "300"}) == {
        "default": {"variant": "default", "images": 5}
    }


def test_the_ablation_has_a_line_a_variant(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(Path(__file__).parents[1] / "data" / "visp" / "coffee.png")
    monkeypatch.setattr(ablation, "VARIANTS", {"default": TINY_RECIPE})
    monkeypatch.setattr(ablation, "closed_loop", partial(closed_loop, iterations=4))
    monkeypatch.setattr(
        sys, "argv", ["ablation", photo, "--steps", "2", "--runs", "2", "--out", str(tmp_path / "a.jsonl")]
    )
    ablation.main()
    row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert (row["variant"], row["images"]) == ("default", 8)
    assert row["end mean [cm]"] > 0
    assert "| default | 8 |" in capsys.readouterr().out


def test_every_variant_of_the_ablation_is_another_recipe() -> None:
    cards = [json.dumps(recipe.in_card()) for recipe in ablation.VARIANTS.values()]
    assert len(set(cards)) == len(cards) == 18


def test_time_to_paper_takes_the_first_budget_that_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    s = metrics.summary([metrics.Row(0, 0.1, 10, 0.001, 0.1, 0.01, 1, 20, 1, 1.0)])
    asked: list[float] = []

    def reach(scene: object, minutes: float, *rest: object) -> Reach:
        asked.append(minutes)
        return Reach(minutes > 3, 60 * minutes, 100, s)

    monkeypatch.setattr(time_to_paper, "reach", reach)
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    row = time_to_paper.row(photo, [2, 4, 8], 5, 0)
    assert asked == [2, 4]
    assert (row["photo"], row["budget [min]"], row["reached"], row["time [s]"]) == ("coffee", 4, "yes", 240)


def test_rows_of_laws_have_what_ended_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """PBVS knows the simulator's poses, so it converges from everywhere, along the straight line."""
    monkeypatch.setattr(baselines, "bundled_print", smooth_scene)
    row = baselines.line("pbvs", PBVS(), 32, 10.0, 60, 3)
    assert row["converged"] == "100.0 %"
    assert float(row["from the straight line"].split()[0]) < 0.05  # [cm]; steps are not infinitely small
    monkeypatch.setattr(any_scene, "LAWS", {"pbvs": PBVS})
    monkeypatch.setattr(any_scene, "default_camera", lambda: default_camera(32))
    scenes = [smooth_scene(0), smooth_scene(1)]
    for condition in any_scene.CONDITIONS:
        row = any_scene.row(any_scene.Line("pbvs", condition, runs=2, iterations=150), scenes, seed=3)
        assert (row["runs"], row["converged"]) == (4, "100.0 %")
        assert row["photos with less than 2 of 2"] == "none"
    row = any_scene.row(any_scene.Line("pbvs", "table1", runs=2, iterations=2), scenes, seed=3)
    assert row["photos with less than 2 of 2"].startswith("print-0 0")


def test_no_end_error_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was 'nan cm nan deg'."""
    monkeypatch.setattr(baselines, "bundled_print", smooth_scene)
    row = baselines.line("pbvs", PBVS(), 32, 10.0, 1, 3)
    assert [row[name] for name in ("converged", "end error", "path error")] == ["0.0 %", "-", "-"]
    lost = metrics.summary([metrics.Row(0, 0.1, 10, 0.1, 10, 0.01, 1, 20, 0, 1.0)])
    monkeypatch.setattr(time_to_paper, "reach", lambda *rest: Reach(False, 60.0, 100, lost))
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    assert time_to_paper.row(photo, [2], 5, 0)["end, converged"] == "-"


def test_without_a_change_of_light_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    none, lamps = light_at_goal.NONE, light_at_goal.KINDS["lamps"]
    monkeypatch.setattr(light_at_goal, "KINDS", {"none": none, "lamps": lamps})
    row = light_at_goal.row("dvs-light", Task(smooth_scene(), default_camera(48), runs=2, seed=3))
    assert row["none"].startswith("0.000 mm")
    assert not row["lamps"].startswith("0.000 mm")


def test_a_wider_lens_knows_the_pose_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certainty, "bundled_print", smooth_scene)
    narrow, wide = (certainty.row("x", certainty.Place(fov=fov), 3, 3, 64, 0.3) for fov in (25.0, 70.0))
    for kind in ("noise", "two photos"):
        assert float(wide[f"{kind}: sigma [mm]"]) < 0.7 * float(narrow[f"{kind}: sigma [mm]"])
    assert float(narrow["two photos: true [mm]"]) > 3 * float(narrow["noise: true [mm]"])
    assert narrow["noise: within three [%]"] == "100"


def test_where_the_pose_is_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """'Within three' is of those alone, and did not say of how many."""
    monkeypatch.setattr(certainty, "bundled_print", smooth_scene)

    law = type(LightDVS().aim(certainty.views(certainty.Place(), 1, 3, 64)[0])[0])
    real = law.covariance

    def knows(count: int) -> dict[str, Any]:
        some = torch.full((3, 1, 1), torch.nan).index_fill(0, torch.arange(count), 1.0)
        monkeypatch.setattr(law, "covariance", lambda *rest: some * real(*rest))
        return certainty.row("x", certainty.Place(), 3, 3, 64, 0.3)

    assert (two := knows(2))["noise: known"] == "2 of 3"
    assert two["noise: within three [%]"] == "100"
    assert (none := knows(0))["noise: known"] == "0 of 3"
    assert none["noise: sigma [mm]"] == none["noise: within three [%]"] == none["noise: least along"] == "-"


def test_medians_of_an_even_count_are_the_mean_of_both() -> None:
    """PyTorch's is the lower one."""
    assert script.median(torch.tensor([4.0, 1.0, 3.0, 2.0])) == 2.5
    assert script.median(torch.tensor([3, 1, 2])) == 2
    assert math.isnan(script.median(torch.zeros(0)))


def test_a_scans_seconds_are_a_median(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = torch.full((2, 2), 0.5)
    found = SimpleNamespace(depth=depth, std=depth, relative_std=0.1)
    seconds = iter((1.0, 2.0, 3.0, 6.0))
    monkeypatch.setattr(scans, "scenes_of", lambda case, count, objects: [None] * count)
    monkeypatch.setattr(scans, "scanned", lambda scene, case, seed: (found, depth, next(seconds)))
    assert scans.row("x", scans.CASES["a plane"], 4)["seconds"] == "2.5"


def test_photos_have_goals_and_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All had the same goals, and their cameras the same noise, whatever the seed."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(certainty_photos, "photo", lambda name: np.zeros((75, 100, 3), np.uint8))
    monkeypatch.setattr(certainty_photos, "pictures", lambda rgb, kind, rng: (smooth_scene(), smooth_scene()))

    def ends(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(given)
        return torch.zeros(2, 6), torch.eye(6).expand(2, 6, 6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certainty_photos, "ends", ends)
        for seed in (2, 3):
            certainty_photos.row("noise 0.01", ("a", "b"), 2, seed, 48)
    goals = [given[2] for given in asked]
    assert not any(torch.equal(a, b) for k, a in enumerate(goals) for b in goals[:k])
    noise = [(given[5], given[6]) for given in asked]
    assert noise == [(2, 0), (2, 2), (3, 0), (3, 2)]
    # which makes other images
    seen: list[torch.Tensor] = []

    def stays(plant: FlyingCameras, law: Any, target: View, T_wc: torch.Tensor, config: Any) -> Any:
        assert target.image is not None
        seen.append(target.image)
        return SimpleNamespace(T_wc=[T_wc])

    monkeypatch.setattr(certainty_photos, "servo", stays)
    for of_noise in noise:
        certainty_photos.ends(smooth_scene(), smooth_scene(), goals[0], 0.01, 48, *of_noise)
    images = torch.cat(seen)
    assert all(not torch.equal(images[a], images[b]) for a in range(8) for b in range(a) if (a - b) % 2 == 0)


def test_displaced_images_are_displaced_by_as_much_as_is_said() -> None:
    x = torch.arange(40.0).expand(20, 3, 40, 40) / 40  # a ramp shows the displacement along x
    apart = 40 * (certainty.displaced(x, 0.3, 1) - x)[:, 0, 4:-4, 4:-4]
    assert 0.15 < float(apart.std()) < 0.4
    assert float((apart[:, 1:] - apart[:, :-1]).std()) < 0.2 * float(apart.std())


def test_two_pictures_of_a_photo_differ_by_their_kind_alone() -> None:
    rgb = certainty_photos.photo("coins.png")
    assert rgb.shape == (750, 1000, 3)
    X, Y = np.meshgrid(np.linspace(-0.4, 0.4, 9), np.linspace(-0.3, 0.3, 7))
    for name, most in {"lens": 0.04, "relief": 0.0024, "pose": 0.02}.items():
        one, half = (
            np.stack(certainty_photos.WARPS[name](X, Y, np.random.default_rng(4), share)) for share in (1.0, 0.5)
        )
        assert 1e-5 < np.abs(one).max() < most
        np.testing.assert_allclose(half, one / 2, rtol=0.05, atol=1e-5)
    made = [certainty_photos.warped(rgb, ("pose",), np.random.default_rng(1), share) for share in (0.0, 1.0)]
    assert np.abs(made[0].astype(int) - rgb)[5:-5, 5:-5].max() <= 1
    assert np.abs(made[1].astype(int) - rgb).mean() > 0.5
    seen = certainty_photos.taken(rgb, np.random.default_rng(2), 0.0, 0.3)
    inner = (slice(100, -100), slice(100, -100), 0)
    assert np.corrcoef(seen[inner].ravel(), rgb[inner].ravel())[0, 1] > 0.95
    assert np.abs(seen.astype(int) - rgb).mean() > 5


def test_a_kind_gives_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(certainty_photos, "KINDS", {"noise": certainty_photos.Kind(blur=None)})
    monkeypatch.setattr(sys, "argv", ["x", "--poses", "2", "--size", "64", "--photos", "coins.png"])
    certainty_photos.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("| noise | 2 | 2 | 100 |")
    monkeypatch.setattr(sys, "argv", ["x", "--photos", "none.png"])
    with pytest.raises(InputError, match=r"none\.png"):
        certainty_photos.main()


def test_bad_input_of_a_script_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise InputError("rows.jsonl: damaged")

    with pytest.raises(SystemExit) as caught:
        script.run_script(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "rows.jsonl: damaged\n"
    with pytest.raises(SystemExit):
        run(monkeypatch, "--shard", "2/2")
    assert "shard 2/2: give k/n" in capsys.readouterr().err
