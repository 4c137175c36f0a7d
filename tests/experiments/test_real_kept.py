"""Whose results real pictures have: other folders of a name, several processes, large tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxes_helpers import save as save_any
from real_helpers import CAMERA, poses, write_ours
from rgbd_helpers import Views, tum
from siame_se3.cli.bench import Bench
from siame_se3.cli.output import Output
from siame_se3.errors import InputError
from siame_se3.experiments import networks
from siame_se3.experiments.real import kept, one_step, report, rows, two_photos
from siame_se3.experiments.real.folders import read_folder
from siame_se3.experiments.real.pictures import Folder
from siame_se3.experiments.real.rows import Settings, Table
from siame_se3.experiments.runner import Setup
from siame_se3.laws.pose import PBVS
from siame_se3.scenes.planar import Scene


def settings_of(out: Path, **options: Any) -> Settings:
    return Settings(out, **({"runs": 1, "seed": 5, "laws": ("some",), "say": lambda text: None} | options))


def give_results(settings: Settings, folder: Folder) -> None:
    """As if something had been run of it."""
    kept.check(settings, [folder])
    row = {"folder": folder.name, "goal": folder.pictures[0].name, "law": "some"}
    two_photos.table(settings).add([tuple(row.get(name, "0") for name in two_photos.COLUMNS)])


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edited("poses.csv", "0.05", "0.06"), r"another picture, calibration, pose or depth of 1\.png"),
        (edited("camera.yaml", "image_width", "camera_name: other\nimage_width"), r"another .* of 0\.png"),
        (lambda folder: os.replace(folder / "0.png", folder / "images" / "1.png") or None, "no picture '0.png'"),
    ],
    ids=["pose", "camera", "missing"],
)
def test_a_folder_that_was_corrected_does_not_get_its_old_numbers(
    tmp_path: Path, scene: Scene, change: Callable[[Path], None], why: str
) -> None:
    settings, place = settings_of(tmp_path / "out"), tmp_path / "cell" / "photos"
    write_ours(place, scene)
    give_results(settings, read_folder(place))
    kept.check(settings, [read_folder(place)])  # as it is, it goes on
    change(place)
    with pytest.raises(InputError, match=why):
        kept.check(settings, [read_folder(place)])


def test_another_folder_of_the_name_is_refused_and_one_of_another_name_is_not(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    settings = settings_of(tmp_path / "out")
    for cell, scene in zip("ab", scenes, strict=False):
        write_ours(tmp_path / cell / "photos", scene)
    give_results(settings, read_folder(tmp_path / "a" / "photos"))
    other = read_folder(tmp_path / "b" / "photos")
    with pytest.raises(InputError, match=r"photos: .*real has results of another folder of this name") as error:
        report.run(settings, [other], "siame bench real b/photos")
    assert len(str(error.value).splitlines()) == 1
    renamed = tuple(replace(picture, name=f"x{picture.name}") for picture in other.pictures)
    with pytest.raises(InputError, match=r"other pictures, such as 0\.png"):
        kept.check(settings, [replace(other, pictures=renamed)])
    (tmp_path / "b-photos").symlink_to(tmp_path / "b" / "photos", target_is_directory=True)
    kept.check(settings, [read_folder(tmp_path / "b-photos")])


def test_depth_maps_and_their_scale_count(tmp_path: Path, room: Views) -> None:
    place, settings = tum(tmp_path / "office", room), settings_of(tmp_path / "out")
    give_results(settings, read_folder(place))
    calibration = place / "camera.yaml"
    before = calibration.read_text(encoding="utf-8")
    calibration.write_text(before + "depth_scale: 0.001\n", encoding="utf-8")
    with pytest.raises(InputError, match="another picture, calibration, pose or depth"):
        kept.check(settings, [read_folder(place)])
    calibration.write_text(before, encoding="utf-8")
    kept.check(settings, [read_folder(place)])
    first = sorted((place / "depth").iterdir())[0]
    save_any(first, np.full((120, 160), 9000, np.uint16))
    with pytest.raises(InputError, match="another picture, calibration, pose or depth"):
        kept.check(settings, [read_folder(place)])


def test_pictures_may_be_added_and_taken_away(tmp_path: Path, scene: Scene) -> None:
    settings, place = settings_of(tmp_path / "out"), tmp_path / "photos"
    write_ours(place, scene)
    whole = read_folder(place)
    text = (place / "poses.csv").read_text(encoding="utf-8")
    (place / "poses.csv").write_text("".join(text.splitlines(keepends=True)[:3]), encoding="utf-8")
    give_results(settings, read_folder(place))
    kept.check(settings, [whole])
    kept.check(settings, [read_folder(place)])
    noted = json.loads((settings.out / "real" / "folders.json").read_text(encoding="utf-8"))
    assert noted == {"photos": {picture.name: picture.digest for picture in whole.pictures}}


def test_where_nothing_has_been_run_a_folder_may_be_another(tmp_path: Path, scenes: list[Scene]) -> None:
    settings = settings_of(tmp_path / "out")
    for cell, scene in zip("ab", scenes, strict=False):
        write_ours(tmp_path / cell / "photos", scene)
        kept.check(settings, [read_folder(tmp_path / cell / "photos")])
    (settings.out / "real" / "trained" / "photos").mkdir(parents=True)  # a network is a result
    with pytest.raises(InputError, match="another folder of this name"):
        kept.check(settings, [read_folder(tmp_path / "a" / "photos")])


def test_results_of_an_earlier_version_go_on_and_that_is_said(tmp_path: Path, scene: Scene) -> None:
    said: list[str] = []
    settings = settings_of(tmp_path / "out", say=said.append)
    write_ours(tmp_path / "photos", scene)
    folder = read_folder(tmp_path / "photos")
    give_results(settings, folder)
    (settings.out / "real" / "folders.json").unlink()
    kept.check(settings, [folder])
    assert len(said) == 1
    assert said[0].startswith("photos: the results in ")
    kept.check(settings, [folder])
    assert len(said) == 1
    for damage in ("[]", '{"photos": 3}', "x"):
        (settings.out / "real" / "folders.json").write_text(damage, encoding="utf-8")
        with pytest.raises(InputError, match=r"folders\.json: (damaged|not JSON)"):
            kept.check(settings, [folder])


def test_networks_of_two_pictures_of_one_stem_are_two(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ours(tmp_path / "desk", scene)
    goal = read_folder(tmp_path / "desk").pictures[0]
    places: dict[str, Path] = {}

    class Trained:
        card: dict[str, Any]

        def __init__(self, of: str) -> None:
            self.card = {"scenes": [of]}

    def obtain(recipe: str, scenes: list[Scene], place: Path, *args: Any) -> Trained:
        places[scenes[0].name] = place
        return Trained("0.jpg" if scenes[0].name == "0.bmp" else scenes[0].name)

    monkeypatch.setattr(networks, "obtain", obtain)
    model_of = rows.trained(Setup(tmp_path, scene, 1.0, 0, lambda text: None))
    for name in ("0.png", "left/0.png", "right/0.png", "../0.png", "/top/0.png"):
        model_of("desk", replace(goal, name=name))
    base = tmp_path / "real" / "trained" / "desk"
    assert places == {
        **{"0.png": base / "0", "left/0.png": base / "left-0", "right/0.png": base / "right-0"},
        **{"../0.png": base / "0", "/top/0.png": base / "top-0"},
    }
    with pytest.raises(InputError, match=r"0: a network of \['0\.jpg'\], not of '0\.bmp'; write to another place"):
        model_of("desk", replace(goal, name="0.bmp"))


NAMES = ("law", "value")


def test_processes_that_share_a_table_lose_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    mine, other = (Table(path, NAMES, NAMES[:1], {"runs": 3}) for _ in range(2))
    mine.add([("a", 1)])
    other.add([("b", 2), ("a", 9)])  # what was there first counts
    mine.add([("c", 3)])
    assert [tuple(row.values()) for row in Table(path, NAMES, NAMES[:1], {"runs": 3}).rows] == [
        *(("a", "1"), ("b", "2"), ("c", "3"))
    ]
    assert mine.has("b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv", "rows.json"]


def test_rows_of_other_options_do_not_come_into_a_table_later(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    mine, other = (Table(path, NAMES, NAMES[:1], {"seed": seed}) for seed in (1, 2))
    mine.add([("a", 1)])
    with pytest.raises(InputError, match=r"rows\.csv: made with other options"):
        other.add([("b", 2)])
    assert Table(path, NAMES, NAMES[:1], {"seed": 1}).rows == mine.rows


def test_a_table_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tmp_path / "rows.csv", NAMES, NAMES[:1], {})
    monkeypatch.setattr(rows, "_WAIT", 0.05)
    with rows.turn(table.path), pytest.raises(InputError, match=r"rows\.csv: process \d+ on .* is writing it"):
        table.add([("a", 1)])
    table.add([("b", 2)])
    assert [row["law"] for row in table.rows] == ["b"]


def test_our_own_tables_are_read_whatever_their_size(tmp_path: Path) -> None:
    place = tmp_path / "real"
    long = "x" * 100_000
    Table(place / "one_step.csv", NAMES, NAMES[:1], {}).add((f"law {k}", long) for k in range(210))
    assert (place / "one_step.csv").stat().st_size > 21_000_000
    assert len(Table(place / "one_step.csv", NAMES, NAMES[:1], {}).rows) == 210
    bench = Bench("real", out=tmp_path)
    assert len(bench._report(Output(True), "real", "one_step.csv")) == 210


def test_shares_of_the_goals_are_all_of_them_together(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goals are numbered through all folders, and a goal is in one share, with its network."""
    folders = []
    for name, count in (("a", 2), ("b", 3)):
        write_ours(tmp_path / name, scene, T_wc=poses(count))
        folders.append(read_folder(tmp_path / name))
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        one_step, "controller", lambda law, settings, name, goal: asked.append((name, goal.name)) or PBVS()
    )
    monkeypatch.setattr(two_photos, "run", lambda folder, settings: None)
    monkeypatch.setattr(report, "page", lambda *_: "")
    parts = []
    for k in range(3):
        report.run(settings_of(tmp_path / "out", shard=(k, 3)), folders, "siame bench real a b")
        parts.append(set(asked))
        asked.clear()
    assert parts == [{("a", "0.png"), ("b", "1.png")}, {("a", "1.png"), ("b", "2.png")}, {("b", "0.png")}]
    report.run(settings_of(tmp_path / "whole"), folders, "siame bench real a b")

    def keys(out: str) -> set[tuple[str, ...]]:
        return {tuple(row[name] for name in one_step.KEY) for row in one_step.table(settings_of(tmp_path / out)).rows}

    assert keys("out") == keys("whole")
    report.run(settings_of(tmp_path / "out"), folders, "siame bench real a b")
    assert len(asked) == 5  # of the whole; of the shares nothing is left


def test_a_share_that_is_none_is_refused(tmp_path: Path, scene: Scene) -> None:
    write_ours(tmp_path / "desk", scene)
    with pytest.raises(InputError, match="shard nonsense: give k/n"):
        Bench("real", (tmp_path / "desk",), out=tmp_path / "out", shard="nonsense")()


def test_cameras_are_not_compared_by_the_folders_place(tmp_path: Path, scene: Scene) -> None:
    for place in ("a", "b"):
        write_ours(tmp_path / place / "photos", scene)
    first, second = (read_folder(tmp_path / place / "photos") for place in ("a", "b"))
    assert [p.digest for p in first.pictures] == [p.digest for p in second.pictures]
    assert len({p.digest for p in first.pictures}) == 3
    assert torch.equal(first.pictures[0].T_wc, second.pictures[0].T_wc)
    assert first.pictures[0].camera == CAMERA
