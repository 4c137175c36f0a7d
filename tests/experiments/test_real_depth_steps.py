"""Steps and runs on real pictures with depth, and their tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from boxes_helpers import poses
from rgbd_helpers import CAMERA, Views, tum
from siame_se3.errors import LawError, SceneError
from siame_se3.experiments.real import one_step, report, two_photos, worlds, worst
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import Folder, Picture
from siame_se3.experiments.real.rows import Settings
from siame_se3.geometry import lie
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import Law, Output, View


@dataclass(frozen=True)
class Knowing:
    """A law that goes a share of the way, whose goals are noted."""

    T_wd: Tensor
    T_wc: Tensor
    share: float = 1.0
    needs: frozenset[str] = frozenset({"image"})
    goals: list[View] = field(default_factory=list)
    seen: list[View] = field(default_factory=list)

    def aim(self, target: View) -> tuple[Law, Any]:
        self.goals.append(target)

        def act(view: View, state: Any) -> tuple[Output, Any]:
            self.seen.append(view)
            return Output.of(self.share * lie.vector_from_pose(lie.inverse(self.T_wc) @ self.T_wd)[None], ("",)), state

        return act, None


@pytest.fixture
def pair(room: Views) -> tuple[Picture, Picture]:
    return pictures(room)


def columns(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(one_step.COLUMNS[4:], row, strict=True))


def test_laws_get_the_goals_depth_and_no_pose(pair: tuple[Picture, Picture]) -> None:
    law = Knowing(pair[0].T_wc, pair[1].T_wc)
    one_step.step(law, *pair, depth="map")
    one_step.step(law, *pair, depth="plane")
    with_map, with_plane = law.goals
    assert with_map.T_wc is None is with_plane.T_wc
    assert with_map.depth_map is not None
    expected = pair[0].depth
    assert expected is not None
    np.testing.assert_array_equal(with_map.depth_map[0].numpy(), expected[:, 20:140])
    assert with_plane.depth_map is None
    assert with_plane.distance is not None
    assert float(with_plane.distance[0]) == pytest.approx(float(np.median(expected[40:80, 60:100])), abs=0.01)
    for view in law.seen:
        assert view.T_wc is None is view.depth


def test_errors_of_a_perfect_step_and_of_half_of_it(pair: tuple[Picture, Picture]) -> None:
    whole, half, none = (
        columns(one_step.step(Knowing(pair[0].T_wc, pair[1].T_wc, share), *pair, depth="map")) for share in (1, 0.5, 0)
    )
    assert (whole["error_t_m"], whole["error_r_deg"], whole["error_align"]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert none["error_share"] == pytest.approx(1)
    assert none["error_align"] == pytest.approx(none["start_align"])
    assert 0.4 < half["error_share"] < 0.6
    assert 0.3 * none["start_align"] < half["error_align"] < 0.7 * none["start_align"]
    assert [whole[name] for name in one_step.TWIST] == pytest.approx(
        lie.vector_from_pose(lie.inverse(pair[1].T_wc) @ pair[0].T_wc).tolist()
    )


def test_alignment_of_a_shift_is_its_pixels_at_each_depth() -> None:
    depth = torch.full((120, 160), 0.5)
    depth[:, 80:] = 2.0
    depth[:60] = torch.nan
    T_wd, T_wc = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    T_wc[0, 3] = 0.03
    found = one_step.alignment_of_points(CAMERA, depth, T_wd, T_wc)
    columns = torch.linspace(0, 159, 33).round()
    near = float((columns < 80).double().mean())
    assert found == pytest.approx(100 * 131 * 0.03 * (near / 0.5 + (1 - near) / 2) / 160)
    T_wc[2, 3] = 0.6
    assert math.isinf(one_step.alignment_of_points(CAMERA, depth, T_wd, T_wc))
    assert math.isnan(one_step.alignment_of_points(CAMERA, depth * torch.nan, T_wd, T_wc))


def test_rows_with_the_map_and_with_a_plane(tmp_path: Path, room: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = read_folder(tum(tmp_path / "office", room))
    law = Knowing(folder.pictures[0].T_wc, folder.pictures[1].T_wc)
    monkeypatch.setattr(one_step, "controller", lambda *args: law)
    settings = Settings(tmp_path, 2, 5, ("some",), say=lambda text: None)
    rows = one_step.run(folder, settings).rows
    assert {(row["goal"], row["current"], row["depth"]) for row in rows} == {
        (folder.pictures[i].name, folder.pictures[j].name, depth) for i, j in folder.pairs for depth in ("map", "plane")
    }
    assert len(rows) == 2 * len(folder.pairs)
    law.goals.clear()
    assert len(one_step.run(folder, settings).rows) == len(rows)
    assert law.goals == []


def test_a_goal_without_a_map_has_no_rows_with_it(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plane is the scene's."""
    flat = tuple(replace(p, depth=None, from_plane=np.eye(3)) for p in pair)
    law = Knowing(pair[0].T_wc, pair[1].T_wc)
    monkeypatch.setattr(one_step, "controller", lambda *args: law)
    monkeypatch.setattr(one_step, "alignment", lambda *args: torch.tensor(1.0))
    settings = Settings(tmp_path, 2, 5, ("some",), say=lambda text: None)
    rows = one_step.run(Folder("wall", flat, True, ((0, 1),)), settings).rows
    assert [row["depth"] for row in rows] == ["plane"]
    assert law.goals[0].T_wc is not None


def test_a_law_that_refuses_a_goal_is_counted(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Knowing):
        def aim(self, target: View) -> tuple[Law, Any]:
            raise LawError("trained for another lens")

    laws = {"no": Refusing(pair[0].T_wc, pair[1].T_wc), "yes": Knowing(pair[0].T_wc, pair[1].T_wc)}
    monkeypatch.setattr(one_step, "controller", lambda law, *args: laws[law])
    said: list[str] = []
    settings = Settings(tmp_path, 2, 5, ("no", "yes"), say=said.append)
    rows = one_step.run(Folder("office", pair, True, ((0, 1),)), settings).rows
    assert {(row["law"], row["depth"], row["answered"]) for row in rows} == {
        *(("no", "map", "0"), ("no", "plane", "0"), ("yes", "map", "1"), ("yes", "plane", "1"))
    }
    assert {row["error_share"] for row in rows if row["law"] == "no"} == {"1"}
    assert "one step, no, depth map: office, a from 1 others; 1 refused: trained for another lens" in said


def test_runs_of_a_law_that_refuses_are_counted(
    tmp_path: Path, room: Views, relief: worlds.Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_plane(*args: Any) -> Any:
        raise SceneError("a: it shows no plane; give pictures of one")

    monkeypatch.setattr(two_photos, "controller", no_plane)
    monkeypatch.setattr(two_photos, "drawn", lambda *args: relief)
    settings = Settings(tmp_path, 3, 5, ("trained",), say=lambda text: None)
    rows = two_photos.run(Folder("office", pictures(room), True, (), ((0, 1),)), settings).rows
    assert [(row["refused"], row["reason"]) for row in rows] == [
        ("1", "a: it shows no plane; give pictures of one")
    ] * 3
    assert all(row["end_t_m"] == row["start_t_m"] for row in rows)


@pytest.fixture(scope="session")
def relief(room: Views) -> worlds.Drawn:
    """Three runs of the first two pictures, the goal from one and the world from the other."""
    a, b = pictures(room)
    return worlds.drawn(a, b, 3, 5)


def pictures(room: Views) -> tuple[Picture, Picture]:
    a, b = (
        Picture(name, rgb, CAMERA, T, None, Z.astype(np.float32))
        for name, (rgb, Z), T in zip("ab", room, poses(2), strict=False)
    )
    return a, b


def test_a_picture_with_depth_is_a_world(room: Views, relief: worlds.Drawn) -> None:
    """From the goal's place it shows what the goal's picture does, where the world's picture has seen it."""
    target, seen = relief.target, relief.there.look(relief.T_wd[:1])
    assert target.image is not None
    assert seen.image is not None
    assert target.T_wc is None
    assert target.depth_map is not None
    mask = relief.there.scene.render(relief.there.camera, relief.T_wd[:1])[1][0]
    assert 0.5 < mask.float().mean() < 1

    def apart(image: Tensor) -> float:
        return float((image - target.image[0])[:, mask].abs().mean())  # type: ignore[index]  # it is there

    assert apart(seen.image[0]) < 0.5 * apart(seen.image[0].roll(3, -1))
    Z = relief.there.scene.depth(relief.there.camera, relief.T_wd[:1])[0]
    known = mask & target.depth_map[0].isfinite()
    assert float((Z - target.depth_map[0])[known].abs().median()) < 5e-3


def test_alignment_and_starts_of_a_relief(relief: worlds.Drawn) -> None:
    assert float(relief.alignment(relief.T_wd).max()) < 1e-6
    assert float(relief.alignment(relief.T_wc).min()) > 2
    t, _ = lie.error_norms(lie.inverse(relief.T_wd) @ relief.T_wc)
    assert 0.02 < float(t.min()) <= float(t.max()) < 0.5
    seen = relief.there.scene.render(relief.there.camera, relief.T_wc)[1]
    assert float(seen.flatten(1).float().mean(1).min()) > 0.5


@pytest.mark.slow
def test_closed_loops_over_a_relief(
    tmp_path: Path, room: Views, relief: worlds.Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Homing:
        """To the goal's place, or half a centimetre beside it."""

        beside: float = 0.0
        needs: frozenset[str] = frozenset({"pose"})

        def aim(self, target: View) -> tuple[Law, Any]:
            T_wd = relief.T_wd.clone()
            T_wd[:, 0, 3] += self.beside
            return PBVS().aim(View(T_wc=T_wd))

    a, b = pictures(room)
    monkeypatch.setattr(two_photos, "drawn", lambda *args: relief)
    monkeypatch.setattr(two_photos, "ITERATIONS", 20)
    settings = Settings(tmp_path, 3, 5, ("homing",), say=lambda text: None)
    at, beside = (two_photos.runs(Homing(x), a, b, settings) for x in (0.0, 0.05))
    for rows, low, high in ((at, 0.0, 0.002), (beside, 0.049, 0.051)):
        for row in rows:
            named = dict(zip(two_photos.COLUMNS[4:], row, strict=True))
            assert low <= named["end_t_m"] <= high
            assert (named["end_align"] <= 1) == (low == 0) == bool(named["converged"])


def test_pairs_that_show_too_little_in_common_are_passed_over(
    tmp_path: Path, room: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pictures(room)
    away = replace(b, T_wc=b.T_wc @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0, 3.0, 0], dtype=torch.float64)))
    monkeypatch.setattr(two_photos, "controller", lambda *args: PBVS())
    said: list[str] = []
    settings = Settings(tmp_path, 2, 5, ("some",), say=said.append)
    rows = two_photos.run(Folder("office", (a, away), True, (), ((0, 1),)), settings).rows
    assert rows == []
    assert "office, passed over: a and b show too little in common" in said[0]
    with pytest.raises(SceneError, match="one of them has no depth"):
        worlds.drawn(a, replace(b, depth=None), 2, 5)


def test_the_table_with_depth_counts_what_it_says(tmp_path: Path) -> None:
    def row(share: float, align: float, answered: int = 1, depth: str = "map", law: str = "auto") -> dict[str, str]:
        return {
            **{"folder": "office", "law": law, "depth": depth, "answered": str(answered), "error_share": str(share)},
            **{"start_align": "10", "error_align": str(align), "error_t_m": str(share / 10), "ms": "20"},
        }

    rows = [
        *(row(0.05, 0.5), row(0.15, 1), row(0.5, 3), row(1.5, 12), row(0.01, 0.1, answered=0)),
        *(row(0.9, 1, depth="plane"), row(2, 1, depth="plane")),
        row(0.2, 2, law="other"),
    ]
    with_map, with_plane, other = report.depth_table(rows, ["auto", "absent", "other"])
    assert with_map == {
        **{"law": "auto", "goal's depth": "map", "pairs": "5", "within 10 %": "20", "within 20 %": "40"},
        **{"worse than standing still": "20", "within 20 % in the image": "40", "worse in the image": "20"},
        **{"says it does not know": "20", "median error [mm]": "15.00", "median [ms]": "20.00"},
    }
    assert (with_plane["goal's depth"], with_plane["pairs"], with_plane["worse than standing still"]) == (
        "plane",
        "2",
        "50",
    )
    assert (other["law"], other["goal's depth"], other["within 20 %"]) == ("other", "map", "100")


def test_the_report_has_a_table_and_pictures_of_steps_with_depth(
    tmp_path: Path, pair: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    law = Knowing(pair[0].T_wc, pair[1].T_wc, 0.9)
    monkeypatch.setattr(one_step, "controller", lambda *args: law)
    folder = Folder("office", pair, True, ((0, 1),))
    drawn: list[worst.Case] = []
    monkeypatch.setattr(worst, "figure", lambda cases, path: drawn.extend(cases))
    report.run(Settings(tmp_path, 2, 5, ("some",), say=lambda text: None), [folder], "siame bench real office")
    page = (tmp_path / "real" / "report.md").read_text(encoding="utf-8")
    assert "ordered pairs 2 to 25 cm and up to 35 deg apart" in page
    assert "| some | map | 1 | 0 | 100 |" in page or "| some | map | 1 | 100 | 100 |" in page
    # by the depth of each pixel the current picture comes to lie on the goal, up to the last tenth
    case = next(case for case in drawn if "depth map" in case.titles[0])
    known = case.warped.isfinite()
    assert 0.5 < known.float().mean() < 1
    assert float((case.warped - case.goal)[known].abs().mean()) < 0.5 * float(
        (case.view - case.goal)[known].abs().mean()
    )
