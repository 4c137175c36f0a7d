"""Which types and values a trajectory's file may hold."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siame_se3.geometry.camera import Camera
from siame_se3.servo.trajectory import Trajectory
from trajectory_helpers import SETTINGS, arrays_of, refusal


def saved(path: Path, good: Path, **changes: Any) -> Path:
    """The good file with other arrays, or with other values in its JSON."""
    arrays = arrays_of(good)
    meta = json.loads(str(arrays["json"]))
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            meta[name] = value
    with path.open("wb") as stream:
        np.savez(stream, **arrays | {"json": np.array(json.dumps(meta))})
    return path


CAMERA = dataclasses.asdict(Camera.from_focal(150, 56))
SETTING: list[tuple[dict[str, Any], str]] = [
    ({"camera": 3}, "camera"),
    ({"camera": {**CAMERA, "fx": "150"}}, "fx"),
    ({"camera": {**CAMERA, "fx": math.nan}}, "fx"),
    ({"camera": {**CAMERA, "width": 1e3}}, "width"),
    ({"camera": {**CAMERA, "width": 12_000, "height": 12_000}}, "67 million pixels"),
    ({"camera": {**CAMERA, "lens": 1}}, "lens"),
    ({"scene": 7}, "scene is 7"),
    ({"scene": ["photo.png"]}, "scene"),
    ({"width": "0.8"}, "width is '0.8'"),
    ({"width": math.inf}, "width is inf"),
    ({"width": True}, "width is True"),
    ({"fill": 0}, "fill is 0"),
    ({"servo": []}, "servo"),
    ({"servo": {"gain": "5"}}, "gain is '5'"),
    ({"servo": {"gain": math.nan}}, "gain"),
    ({"servo": {"gain": 5.0, "speed": 1}}, "speed"),
    ({"law": 3}, "law is 3"),
    ({"command": ["siame"]}, "command"),
    ({"seconds": "long"}, "seconds is 'long'"),
]


@pytest.mark.parametrize(("change", "words"), SETTING, ids=[str(change)[:40] for change, _ in SETTING])
def test_settings_of_other_types_are_refused(good: Path, bad: Path, change: dict[str, Any], words: str) -> None:
    assert words in refusal(saved(bad, good, settings={**SETTINGS, **change}))


def test_settings_may_lack_and_may_have_more(good: Path, bad: Path) -> None:
    """A live run knows no scene; what a later version notes is kept."""
    full = {"camera": {**CAMERA, "distortion": []}, "scene": "photo.png", "fill": "mean", "more": {"a": [math.nan]}}
    for kept in ({}, full):
        assert repr(Trajectory.load(saved(bad, good, settings=kept)).settings) == repr(kept)


@pytest.mark.parametrize("dt", [0, -0.04, math.nan, math.inf, "0.04", None, True, [0.04], 1e30])
def test_time_steps_that_are_none_are_refused(good: Path, bad: Path, dt: Any) -> None:
    assert "time step" in refusal(saved(bad, good, dt=dt))


@pytest.mark.parametrize("reason", ["abc", ["settled"], ["settled", "settled", 3], None, {"0": "settled"}])
def test_reasons_that_do_not_fit_are_refused(good: Path, bad: Path, reason: Any) -> None:
    assert "reason" in refusal(saved(bad, good, reason=reason))


@pytest.mark.parametrize("name", ["T_wc", "T_wd"])
@pytest.mark.parametrize("entry", [(0, 0), (1, 3), (3, 3), (3, 0)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -7e7])
def test_poses_that_are_none_are_refused(
    good: Path, bad: Path, name: str, entry: tuple[int, int], value: float
) -> None:
    T = arrays_of(good)[name]
    T[(-1, *entry) if name == "T_wd" else (2, 1, *entry)] = value
    assert f"{name} has what is no pose" in refusal(saved(bad, good, **{name: T}))


def test_reflections_are_refused(good: Path, bad: Path) -> None:
    T = arrays_of(good)["T_wd"]
    T[0, :3, :3] *= -1
    assert "no pose" in refusal(saved(bad, good, T_wd=T))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("T_wc", "c16"), ("T_wc", "i8"), ("twist", "U8"), ("active", "u1"), ("active", "f8"), ("stage", "f8"), ("stage", "M8[s]"), ("iterations", "?"), ("step_seconds", "m8[s]")],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(good: Path, bad: Path, name: str, dtype: str) -> None:
    array = arrays_of(good)[name]
    other = array.astype("i8").astype(dtype) if dtype[0] in "Mm" else array.astype(dtype)
    assert f"{name} of type" in refusal(saved(bad, good, **{name: other}))


def test_other_sizes_and_byte_orders_of_a_kind_are_read(good: Path, bad: Path) -> None:
    arrays = arrays_of(good)
    changes = {
        "T_wc": arrays["T_wc"].astype(">f8"),
        "twist": arrays["twist"].astype("f4"),
        "stage": arrays["stage"].astype("<i2"),
    }
    trajectory = Trajectory.load(saved(bad, good, **changes))
    assert (trajectory.T_wc.dtype, trajectory.twist.dtype, trajectory.stage.dtype) == (
        torch.float64,
        torch.float64,
        torch.int64,
    )
    assert np.array_equal(trajectory.T_wc.numpy(), arrays["T_wc"])


@pytest.mark.parametrize(("name", "value"), [("iterations", -1), ("stage", -2), ("stage", 2**40)])
def test_counts_that_cannot_be_are_refused(good: Path, bad: Path, name: str, value: int) -> None:
    array = arrays_of(good)[name]
    array.reshape(-1)[0] = value
    assert name in refusal(saved(bad, good, **{name: array}))


def test_twists_that_are_not_known_are_read_and_infinite_ones_refused(good: Path, bad: Path) -> None:
    applied = arrays_of(good)["applied"]
    applied[1, 0] = math.nan
    assert bool(Trajectory.load(saved(bad, good, applied=applied)).applied[1, 0].isnan().all())
    applied[1, 0, 2] = math.inf
    assert "applied beyond" in refusal(saved(bad, good, applied=applied))


def test_versions(good: Path, bad: Path) -> None:
    """The first files had none; a later one is read if it has what this one needs, else its version is named."""
    arrays = arrays_of(good)
    meta = json.loads(str(arrays["json"]))
    assert meta.pop("version") == 1
    with bad.open("wb") as stream:
        np.savez(stream, **arrays | {"json": np.array(json.dumps(meta))})
    assert Trajectory.load(bad).reason == ["settled"] * 3
    assert Trajectory.load(saved(bad, good, version=2, more=[1])).reason == ["settled"] * 3
    assert "newer siame-se3 (version 2)" in refusal(saved(bad, good, version=2, dt="0.04 s"))
    assert "damaged" in refusal(saved(bad, good, dt="0.04 s"))


def test_text_that_cannot_be_written_is_refused(good: Path, bad: Path) -> None:
    refusal(saved(bad, good, settings={"command": "\ud800"}))
