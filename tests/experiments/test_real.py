"""Steps and runs on real pictures of a plane, their tables and their report."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from real_helpers import CAMERA, beside, picture, pixels_at, poses, write_ours
from siame_se3.analysis.style import new_figure
from siame_se3.errors import InputError, LawError, SceneError
from siame_se3.experiments.real import one_step, report, rows, two_photos, worlds, worst
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import Folder, Picture, between
from siame_se3.experiments.real.planes import alignment
from siame_se3.experiments.real.rows import Settings, Table
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, View
from siame_se3.laws.validity import images_of
from siame_se3.scenes.planar import Scene


@dataclass(frozen=True)
class Perfect:
    """A law that knows the way; `gain` 1 for all of it. It has a fault after some iterations, and notes what poses it is given."""

    gain: float = 1.0
    fault: str = ""
    good: int = 0
    needs: frozenset[str] = frozenset({"pose"})
    T_wc: Tensor | None = None
    given: list[Tensor | None] = field(default_factory=list)

    def aim(self, target: View) -> tuple[Law, Any]:
        assert target.T_wc is not None
        T_wd = target.T_wc

        def act(view: View, state: Any) -> tuple[Output, Any]:
            self.given.append(view.T_wc)
            T_wc = T_wd if self.T_wc is None else self.T_wc[None]
            v = self.gain * lie.vector_from_pose(lie.inverse(T_wc if view.T_wc is None else view.T_wc) @ T_wd)
            fault = "" if len(self.given) <= self.good else self.fault
            return Output.of(0 * v if fault else v, (fault,) * len(v)), state

        return act, None


@pytest.fixture
def pair(photo: Scene) -> tuple[Picture, Picture]:
    T_wc = poses(2)
    a, b = (picture(T, rgb, name) for T, rgb, name in zip(T_wc, pixels_at(photo, T_wc), "ab", strict=True))
    return a, b


def columns(step: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(one_step.COLUMNS[4:], step, strict=True))


def test_a_perfect_step_has_no_error(pair: tuple[Picture, Picture]) -> None:
    a, b = pair
    found = columns(one_step.step(Perfect(), a, b))
    assert (found["start_t_m"], found["start_r_deg"]) == between(a, b)
    assert found["start_align"] > 5
    assert (found["error_t_m"], found["error_r_deg"], found["error_align"]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert (found["answered"], found["confidence"]) == (1, "")
    assert found["ms"] >= 0


def test_a_law_that_stands_still_ends_where_it_began(pair: tuple[Picture, Picture]) -> None:
    found = columns(one_step.step(Perfect(fault="lost"), *pair))
    start = [found[name] for name in ("start_t_m", "start_r_deg", "start_align")]
    assert [found[name] for name in ("error_t_m", "error_r_deg", "error_align")] == pytest.approx(start, rel=1e-6)
    assert found["answered"] == 0


def test_a_law_that_needs_no_pose_gets_none(pair: tuple[Picture, Picture]) -> None:
    law = Perfect(needs=frozenset({"image"}), T_wc=pair[1].T_wc)
    assert columns(one_step.step(law, *pair))["error_t_m"] == pytest.approx(0, abs=1e-6)
    assert law.given == [None, None]


def test_views_are_the_pictures_middle_square(pair: tuple[Picture, Picture]) -> None:
    view = one_step.view_of(pair[1])
    assert view.image is not None
    assert view.camera is not None
    assert view.depth is not None
    assert np.array_equal(as_pixels(view.image[0]), pair[1].rgb[:, 40:280])
    # the same point of the plane: where the optical axis meets it, at its depth
    X = pair[1].T_wc @ torch.tensor([0, 0, float(view.depth[0]), 1], dtype=torch.float64)
    assert float(X[2]) == pytest.approx(0, abs=1e-9)
    assert (view.camera.cx, view.camera.cy) == (CAMERA.cx - 40, CAMERA.cy)
    large = replace(pair[0], rgb=np.zeros((1000, 1200, 3), np.uint8), camera=Camera.from_focal(1300, 1200, 1000))
    view = one_step.view_of(large)
    assert view.camera == Camera.from_focal(1300 * 0.48, 480)
    assert view.image is not None
    assert view.image.shape == (1, 3, 480, 480)


def settings_of(out: Path, **options: Any) -> Settings:
    return Settings(out, **({"runs": 2, "seed": 5, "laws": ("perfect",), "say": lambda text: None} | options))


def test_goals_are_chosen_by_name(tmp_path: Path, photo: Scene) -> None:
    write_ours(tmp_path / "desk", photo)
    folder = read_folder(tmp_path / "desk")
    assert folder.of_goals(()) is folder
    names = [picture.name for picture in folder.pictures]
    chosen = folder.of_goals((Path(names[1]).stem, names[2]))
    for some, all_of_them in ((chosen.pairs, folder.pairs), (chosen.worlds, folder.worlds)):
        assert some == tuple(pair for pair in all_of_them if pair[0] in (1, 2))
        assert 0 < len(some) < len(all_of_them)
    with pytest.raises(InputError, match=rf"nowhere.png: no picture of folder desk; it has {names[0]}"):
        folder.of_goals(("nowhere.png",))


def test_a_picture_that_is_no_goal_is_not_chosen_as_one(pair: tuple[Picture, Picture]) -> None:
    folder = Folder("desk", pair, True, ((0, 1),), ((0, 1),))
    with pytest.raises(InputError, match=r"b: a picture of folder desk that is no goal, .*; its goals are a$"):
        folder.of_goals(("a", "b"))
    assert folder.of_goals(("a",)).pairs == ((0, 1),)


def test_goals_of_one_stem_are_all_chosen(pair: tuple[Picture, Picture]) -> None:
    twins = tuple(replace(one, name=name) for one, name in zip(pair, ("left/0.png", "right/0.png"), strict=True))
    folder = Folder("desk", twins, True, ((0, 1), (1, 0)))
    assert folder.of_goals(("0",)).pairs == folder.pairs
    assert folder.of_goals(("right/0.png",)).pairs == ((1, 0),)


def refused(*args: object) -> Any:
    raise AssertionError("a law was asked for")


def test_one_step_goes_on_where_it_was(tmp_path: Path, photo: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ours(tmp_path / "desk", photo)
    folder = read_folder(tmp_path / "desk")
    law = Perfect()
    monkeypatch.setattr(one_step, "controller", lambda *args: law)
    first = one_step.run(folder, settings_of(tmp_path, laws=("perfect", "perfect+light")))
    assert {(row["goal"], row["current"]) for row in first.rows} == {
        (a.name, b.name) for a in folder.pictures for b in folder.pictures if a is not b
    }
    assert {row["law"] for row in first.rows} == {"perfect"}  # a hand-off's first step is its first law's
    assert max(float(row["error_t_m"]) for row in first.rows) < 1e-6
    monkeypatch.setattr(one_step, "controller", refused)
    assert one_step.run(folder, settings_of(tmp_path)).rows == first.rows
    path = tmp_path / "real" / "one_step.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    monkeypatch.setattr(one_step, "controller", lambda *args: law)
    law.given.clear()
    again = one_step.run(folder, settings_of(tmp_path))
    assert len(again.rows) == 6
    assert len(law.given) == 2  # an image to begin with, and one


def test_pairs_that_are_far_apart_are_no_rows(tmp_path: Path, photo: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    T_wc = poses(2)
    T_wc[1] = T_wc[1] @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0, 0, 1.2], dtype=torch.float64))
    write_ours(tmp_path / "desk", photo, T_wc=T_wc)
    monkeypatch.setattr(one_step, "controller", refused)
    assert one_step.run(read_folder(tmp_path / "desk"), settings_of(tmp_path)).rows == []


def test_two_photos_goes_on_where_it_was(tmp_path: Path, photo: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ours(tmp_path / "desk", photo, T_wc=poses(2))
    folder = read_folder(tmp_path / "desk")
    monkeypatch.setattr(two_photos, "controller", lambda *args: PBVS())
    found = two_photos.run(folder, settings_of(tmp_path)).rows
    assert len(found) == 2 * 4
    assert {row["run"] for row in found} == {"0", "1"}
    for row in found:
        assert (row["converged"], row["refused"], row["reason"]) == ("1", "0", "settled")
        assert float(row["end_align"]) < 0.5
        assert float(row["end_t_m"]) < 0.002 < float(row["start_t_m"])
    monkeypatch.setattr(two_photos, "controller", refused)
    assert two_photos.run(folder, settings_of(tmp_path)).rows == found
    with pytest.raises(InputError, match=r"two_photos\.csv: made with other options \(two_photos\.json"):
        two_photos.run(folder, settings_of(tmp_path, seed=6))


def test_a_law_that_refuses_is_no_aligned_run(pair: tuple[Picture, Picture], tmp_path: Path) -> None:
    found = two_photos.runs(Perfect(fault="not sure"), *pair, settings_of(tmp_path))
    assert len(found) == 2
    for row in found:
        named = dict(zip(two_photos.COLUMNS[4:], row, strict=True))
        assert (named["converged"], named["refused"]) == (0, 1)
        assert "not sure" in named["reason"]
        assert (named["end_t_m"], named["end_r_deg"]) == pytest.approx((named["start_t_m"], named["start_r_deg"]))


def test_a_run_that_moved_before_its_fault_did_not_stand_still(pair: tuple[Picture, Picture], tmp_path: Path) -> None:
    for row in two_photos.runs(Perfect(0.1, "not sure", good=2), *pair, settings_of(tmp_path)):
        named = dict(zip(two_photos.COLUMNS[4:], row, strict=True))
        assert (named["converged"], named["refused"]) == (0, 0)
        assert 0 < named["end_t_m"] < named["start_t_m"]


@pytest.mark.parametrize("metric", [True, False])
def test_measured_poses_are_compared_at_the_planes_origin(
    photo: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: bool
) -> None:
    """It is beside the scene's middle where the pictures are beside it."""
    asked = []

    def noted(camera: Camera, T_wd: Tensor, T_wc: Tensor, middle: tuple[float, float] | None) -> Tensor:
        asked.append(middle)
        return alignment(camera, T_wd, T_wc, middle)

    monkeypatch.setattr(worlds, "alignment", noted)
    wide = Scene(photo.texture, 3.0, 2.0)
    T_wc = torch.stack([beside(0.5, 0.1), beside(0.6, 0.2)])
    a, b = (picture(T, rgb) for T, rgb in zip(T_wc, pixels_at(wide, T_wc), strict=True))
    two_photos.runs(Perfect(fault="not sure"), a, b, settings_of(tmp_path), metric)
    # the middle of what both show is at (0.55, 0.15) of the plane
    assert asked == [pytest.approx((-0.55, -0.15), abs=1e-6) if metric else None]


def test_a_tables_rows_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "rows.csv"
    table = Table(path, ("folder", "law", "value"), ("folder", "law"), {"near": (1, 2)})
    table.add([("f", "x", 0.123456789), ("f", "y, z", "")])
    table.add([("g", "x", 3)])
    again = Table(path, ("folder", "law", "value"), ("folder", "law"), {"near": (1, 2)})
    assert again.rows == table.rows
    assert [row["value"] for row in again.of("x")] == ["0.123457", "3"]
    assert again.has("f", "y, z")
    assert not again.has("g", "y, z")


def test_a_table_of_other_options_or_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    Table(path, ("law", "value"), ("law",), {"runs": 3}).add([("x", 1)])
    with pytest.raises(InputError, match=r"rows\.csv: made with other options"):
        Table(path, ("law", "value"), ("law",), {"runs": 4})
    with pytest.raises(InputError, match=r"rows\.csv: has other columns than law, values"):
        Table(path, ("law", "values"), ("law",), {"runs": 3})
    for damage in ("", "law,value\nx\n"):
        path.write_text(damage, encoding="utf-8")
        with pytest.raises(InputError, match=r"rows\.csv: has other columns"):
            Table(path, ("law", "value"), ("law",), {"runs": 3})
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"rows\.csv: made with other options"):
        Table(path, ("law", "value"), ("law",), {"runs": 3})


def test_laws_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[Picture, Picture]) -> None:
    asked: list[tuple[Any, ...]] = []

    def controller_for(*args: Any) -> MatchedPoints:
        asked.append(args)
        return MatchedPoints()

    monkeypatch.setattr(rows, "controller_for", controller_for)
    monkeypatch.setattr(rows.checkpoint, "load", lambda path: path.name)
    settings = settings_of(tmp_path, engine="torch", model_of=lambda folder, goal: f"{folder}:{goal.name}")
    made = {law: rows.controller(law, settings, "desk", pair[0]) for law in (*rows.LAWS, *rows.TRAINED)}
    assert [args[0] for args in asked] == ["auto"] * 2 + ["neural"] * 2 + ["pbvs-sift"] * 2 + ["pbvs-orb"] + [
        "neural"
    ] * 2
    assert {args[2] for args in asked} == {"torch"}
    assert asked[2][1] == "any-scene.safetensors"
    assert asked[-1][1] == "desk:a"
    assert {law for law, controller in made.items() if isinstance(controller, Handoff)} == {
        law for law in made if law.endswith("+light")
    }


def test_other_laws_are_there_by_their_names(tmp_path: Path, pair: tuple[Picture, Picture]) -> None:
    """Each answers, or says why not."""
    for law in rows.OTHERS:
        found = columns(one_step.step(rows.controller(law, settings_of(tmp_path), "desk", pair[0]), *pair))
        assert found["answered"] == 1, law
        assert math.isfinite(found["error_align"]), law


def strict(sizes: list[int]) -> Any:
    """A law that takes images of the goal's size only, as matched points and photometric ones do."""

    @dataclass(frozen=True)
    class Strict:
        needs: frozenset[str] = frozenset({"image"})

        def aim(self, target: View) -> tuple[Law, Any]:
            def act(view: View, state: Any) -> tuple[Output, Any]:
                sizes.append(images_of(view, "strict", target.camera).shape[-1])
                return Output.of(torch.zeros(1, 6), ("",)), state

            return act, None

    return Strict()


def test_pictures_of_other_sizes_are_seen_as_large_as_the_goal(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homographies are between pictures of any sizes."""
    small = cv2.resize(pair[1].rgb, (280, 210), interpolation=cv2.INTER_AREA)
    two = (pair[0], replace(pair[1], rgb=small, camera=CAMERA.resized(280, 210)))
    sizes: list[int] = []
    monkeypatch.setattr(one_step, "controller", lambda *args: strict(sizes))
    found = one_step.run(Folder("desk", two, False, ((0, 1), (1, 0))), settings_of(tmp_path)).rows
    assert [row["answered"] for row in found] == ["1", "1"]
    assert sizes == [240, 240, 210, 210]
    # it shows the same part of the plane, at the goal's resolution
    seen = one_step.view_of(two[1], side=240).image
    whole = one_step.view_of(pair[1]).image
    assert seen is not None
    assert whole is not None
    assert float((seen - whole).abs().mean()) < 0.02
    assert (
        worst.step_case({"goal": "a", "current": "b"} | found[0], Folder("desk", two, False, ())).view.shape[-1] == 240
    )


def test_a_refusal_of_one_law_is_counted_and_the_others_go_on(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no network can be trained on a goal, where a law does not take the goal, and where it does not take a view."""

    @dataclass(frozen=True)
    class Picky:
        at_once: bool
        needs: frozenset[str] = frozenset({"pose"})

        def aim(self, target: View) -> tuple[Law, Any]:
            if self.at_once:
                raise LawError("another lens")

            def act(view: View, state: Any) -> tuple[Output, Any]:
                assert view.T_wc is not None
                if not torch.allclose(view.T_wc, target.T_wc.expand_as(view.T_wc)):  # type: ignore[union-attr]  # it is there
                    raise InputError("a strange view")
                return Output.of(torch.zeros(len(view.T_wc), 6), ("",) * len(view.T_wc)), state

            return act, None

    laws = {"lens": Picky(True), "view": Picky(False), "good": PBVS()}

    def made(law: str, *args: Any) -> Any:
        if law == "trained":
            raise SceneError("a: it shows no plane; give pictures of one")
        return laws[law]

    for module in (one_step, two_photos):
        monkeypatch.setattr(module, "controller", made)
    folder = Folder("desk", pair, True, ((0, 1),), ((0, 1),))
    said: list[str] = []
    settings = settings_of(tmp_path, laws=("trained", "lens", "view", "good"), say=said.append)
    steps, runs = one_step.run(folder, settings).rows, two_photos.run(folder, settings).rows
    assert [(row["law"], row["answered"]) for row in steps] == [
        *(("trained", "0"), ("lens", "0"), ("view", "0"), ("good", "1"))
    ]
    for row in steps[:3]:
        assert (row["error_t_m"], row["error_align"]) == (row["start_t_m"], row["start_align"])
    assert any("1 refused: a: it shows no plane" in line for line in said)
    table = {row["law"]: row for row in report.one_step_table(steps, ["trained", "good"])}
    assert (table["trained"]["says it does not know"], table["good"]["says it does not know"]) == ("100", "0")
    assert len(runs) == 4 * 2
    for row in runs:
        good = row["law"] == "good"
        assert (row["converged"], row["refused"]) == (("1", "0") if good else ("0", "1"))
        assert good or row["end_t_m"] == row["start_t_m"]
    assert {row["reason"] for row in runs} == {
        *("a: it shows no plane; give pictures of one", "another lens", "a strange view", "settled")
    }
    report.two_photos_table(runs, ["trained"])  # and it can be read


def test_what_an_option_would_put_right_is_no_result(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*args: Any) -> Any:
        raise InputError("trained for 5 minutes, and 10 are asked for", "minutes")

    folder = Folder("desk", pair, True, ((0, 1),), ((0, 1),))
    for module in (one_step, two_photos):
        monkeypatch.setattr(module, "controller", made)
        with pytest.raises(InputError, match="trained for 5 minutes"):
            module.run(folder, settings_of(tmp_path))
        assert module.table(settings_of(tmp_path)).rows == []


def test_pictures_that_show_nothing_in_common_do_not_end_the_others_runs(
    tmp_path: Path, photo: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    T_wc = torch.stack([beside(0), beside(3.0)])
    a, b = (picture(T, rgb, n) for T, rgb, n in zip(T_wc, pixels_at(photo, T_wc), "ab", strict=True))
    monkeypatch.setattr(two_photos, "controller", lambda *args: PBVS())
    said: list[str] = []
    folder = Folder("desk", (a, b), True, (), ((0, 1), (0, 0)))
    found = two_photos.run(folder, settings_of(tmp_path, runs=1, say=said.append)).rows
    assert [(row["goal"], row["world"]) for row in found] == [("a", "a")]
    assert said[0] == (
        "two photos, perfect: desk, passed over: a and b show nothing of the plane in common; leave one of them out"
    )


def test_the_table_of_one_step_counts_what_it_says() -> None:
    def row(start: float, error: float, answered: int = 1, law: str = "auto", ms: float = 10) -> dict[str, str]:
        return {
            **{"law": law, "start_align": str(start), "error_align": str(error)},
            **{"answered": str(answered), "ms": str(ms)},
        }

    steps = [
        *(row(40, 1), row(10, 1.9, ms=30), row(10, 5), row(10, 11), row(10, 0.1, 0, ms=20)),
        row(8, 8, law="other"),
    ]
    auto, other = report.one_step_table(steps, ["auto", "absent", "other"])
    assert auto == {
        **{"law": "auto", "pairs": "5", "within 2 % of the image": "40", "within 6 %": "60"},
        **{"within a tenth of the way": "20", "within a fifth": "40", "worse than standing still": "20"},
        **{"says it does not know": "20", "median [ms]": "10.00"},
    }
    assert (other["law"], other["pairs"], other["worse than standing still"]) == ("other", "1", "0")


RUN = {
    **{"folder": "desk", "law": "auto", "goal": "a", "world": "b", "run": "0", "start_t_m": "0.1", "start_r_deg": "10"},
    **{"end_t_m": "0.002", "end_r_deg": "1", "end_align": "0.4", "converged": "1", "refused": "0", "reason": "settled"},
    **{"confidence_start": "0.7", "confidence_least": "0.6", "pose_sigma_t_m": "0.001", "pose_sigma_r_deg": "0.5"},
    **dict.fromkeys(two_photos.END, "0"),
}


LOST = RUN | {"end_t_m": "0.5", "end_align": "60", "converged": "0", "reason": "max_iterations"}


STILL = RUN | {"end_t_m": "0.1", "end_align": "20", "converged": "0", "refused": "1", "reason": "not sure"}


STILL |= {"pose_sigma_t_m": "", "pose_sigma_r_deg": ""}  # the law does not know


def test_the_table_of_two_photos_counts_what_it_says() -> None:
    runs = [
        *(RUN, RUN | {"end_t_m": "0.004"}, LOST, STILL),  # half of them
        *(RUN | {"goal": "b", "world": "a"}, LOST | {"goal": "b", "world": "a", "end_t_m": "0.05"}),  # half
        *(STILL | {"folder": "wall"}, STILL | {"folder": "wall"}),  # none
        *(RUN | {"world": "a"}, RUN | {"world": "a"}, RUN | {"world": "a"}, LOST | {"world": "a"}),
        LOST | {"law": "other", "goal": "b"},
    ]
    auto, other = report.two_photos_table(runs, ["auto", "absent", "other"])
    assert auto == {
        **{"law": "auto", "runs": "8", "aligned within 1 %": "38", "worst pair": "0", "median alignment [%]": "20.00"},
        **{"median pose error of the aligned [mm]": "2.00", "stood still": "38", "farther than at the start": "12"},
        **{
            "pose within 3 sigma": "40 (of 5)",
            "median sigma [mm]": "1.00",
        },  # two of five: 4 mm is beyond 3, and so are the lost
        "one photo on both sides": "75",
    }
    assert (other["runs"], other["worst pair"], other["one photo on both sides"]) == ("0", "-", "0")


def test_the_page_has_both_tables_and_the_worst_runs(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    text = report.page(settings, [], "siame bench real")
    page = (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    assert page.count("nothing has been run") == 3
    add_runs(settings, RUN, STILL, LOST)
    text = report.page(settings, [], "siame bench real desk")
    page = (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    assert text in page
    assert "siame bench real desk" in page
    worst = page.split("The worst runs:")[1].splitlines()
    assert [line.split("|")[9].strip() for line in worst[4:6]] == ["max_iterations", "not sure"]
    assert "settled" not in page.split("The worst runs:")[1]
    with (tmp_path / "real" / "two_photos.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


def add_runs(settings: Settings, *runs: dict[str, str]) -> None:
    two_photos.table(settings).add([tuple(row[c] for c in two_photos.COLUMNS) for row in runs])


def test_where_all_runs_are_aligned_the_worst_of_them_are_shown(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    one_photo = RUN | {"goal": "b", "end_align": "0.9"}  # on both sides: beside the point
    add_runs(settings, RUN, RUN | {"run": "1", "end_align": "0.8"}, one_photo)
    report.page(settings, [], "siame bench real")
    page = (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    worst = page.split("The worst runs, all aligned within 1 %:")[1].splitlines()
    assert [line.split("|")[7].strip() for line in worst[4:6]] == ["0.8", "0.4"]
    assert len(worst) == 6


def test_the_worst_of_each_law() -> None:
    def row(law: str, start: float, error: float, answered: int = 1, depth: str = "map") -> dict[str, str]:
        return {
            **{"law": law, "depth": depth, "answered": str(answered)},
            **{"start_align": str(start), "error_align": str(error)},
        }

    steps = [
        *(row("a", 10, 5), row("a", 40, 6), row("a", 10, 99, 0), row("a", 10, 7, depth="plane")),
        *(row("b", 10, float("inf")), row("b", 1, 90)),
    ]
    assert worst.worst_steps(steps) == [steps[4], steps[3], steps[0]]
    runs = [RUN, LOST, RUN | {"law": "b"}, LOST | {"law": "b", "world": "a"}]
    assert worst.worst_runs(runs) == [LOST, RUN | {"law": "b"}]


def test_what_fits_is_grey() -> None:
    goal = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    other = goal.clone()
    other[:, 0] = torch.nan
    other[:, 1] = 0
    found = worst.overlay(goal, other)
    grey = goal.mean(0)
    torch.testing.assert_close(found[:, 2:], grey[2:].expand(3, 3, 6))
    torch.testing.assert_close(found[:, 1], torch.stack((grey[1], 0 * grey[1], 0 * grey[1])))
    torch.testing.assert_close(found[:, 0], 0.3 * grey[0].expand(3, 6))


def step_row(pair: tuple[Picture, Picture], share: float) -> dict[str, str]:
    named = dict(zip(one_step.COLUMNS[4:], one_step.step(Perfect(share), *pair), strict=True))
    return {"law": "perfect", "goal": "a", "current": "b"} | {name: str(value) for name, value in named.items()}


def test_a_right_steps_picture_fits(pair: tuple[Picture, Picture]) -> None:
    folder = Folder("desk", pair, True, ())
    right, still = (worst.step_case(step_row(pair, share), folder) for share in (1.0, 0.0))

    def apart(case: worst.Case) -> float:
        return float((case.warped - case.goal).abs().nanmean())

    assert apart(right) < 0.3 * apart(still)
    assert bool(right.warped.isnan().any())
    assert "perfect" in right.titles[0]
    assert "moved by the law: 0.0 cm" in right.titles[2]
    inner = (slice(None), slice(1, -1), slice(1, -1))  # the outer pixels are where rounding has them
    torch.testing.assert_close(still.warped[inner], still.view[inner], rtol=0, atol=1e-4)


def test_the_report_shows_the_worst_cases(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder("desk", pair, True, ((0, 1), (1, 0)), ((0, 0), (0, 1)))
    settings = settings_of(tmp_path, laws=("pbvs",), runs=1)
    monkeypatch.setattr(worst, "new_figure", lambda width, height: new_figure(width / 4, height / 4))
    for module in (one_step, two_photos):
        monkeypatch.setattr(module, "controller", lambda *args: PBVS())
    report.run(settings, [folder], "siame bench real desk")
    page = (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    for name in ("worst_one_step.png", "worst_two_photos.png"):
        assert f"({name})" in page
        picture = cv2.imread(str(tmp_path / "real" / name))
        assert picture is not None
        assert picture.shape[0] > 80
    # a run's picture is where it ended, also after its rows were read from the file
    runs = two_photos.table(settings).of("pbvs")
    case = worst.run_case(next(row for row in runs if row["goal"] == row["world"]), folder, settings)
    assert float((case.goal - case.warped).abs().mean()) < 5e-3
    assert float((case.goal - case.goal.roll(5, -1)).abs().mean()) > 2e-2
    # pictures of another folder are not here
    before = (tmp_path / "real" / "worst_one_step.png").read_bytes()
    report.page(settings, [Folder("other", pair, True, ())], "siame bench real other")
    assert "worst_one_step" not in (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "real" / "worst_one_step.png").read_bytes() == before
