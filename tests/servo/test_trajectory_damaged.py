"""Files that are no trajectories, or lack parts, are refused in one line."""

from __future__ import annotations

import dataclasses
import io
import json
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siame_se3.errors import SiameError
from siame_se3.servo.trajectory import Trajectory
from trajectory_helpers import arrays_of, assert_refused, refusal

FUZZ = settings(derandomize=True, deadline=None, max_examples=200)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.npz")
    assert_refused(tmp_path)


@given(st.binary(max_size=300))
@FUZZ
def test_random_bytes_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(content)
    assert_refused(bad)


@given(st.binary(max_size=100))
@FUZZ
def test_bytes_that_begin_as_a_zip_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(b"PK\x03\x04" + content)
    assert_refused(bad)


@given(st.binary(max_size=100))
@FUZZ
def test_bytes_that_begin_as_an_array_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(b"\x93NUMPY\x01\x00" + content)
    assert_refused(bad)


@given(st.data())
@FUZZ
def test_damaged_files_never_give_another_error(good: Path, bad: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    bad.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        Trajectory.load(bad)
    except SiameError as error:
        assert str(error).startswith(f"{bad}: ")
        assert len(str(error).splitlines()) == 1


PARTS = [f.name for f in dataclasses.fields(Trajectory) if "Tensor" in str(f.type) and "None" not in str(f.type)]


@pytest.mark.parametrize("key", ["json", *PARTS])
def test_file_without_a_part_is_refused(good: Path, bad: Path, key: str) -> None:
    arrays = arrays_of(good)
    del arrays[key]
    with bad.open("wb") as stream:
        np.savez(stream, **arrays)
    assert_refused(bad)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"settings": {}, "reason": [], "dt": 1, "more": 2}']
)
def test_file_with_other_json_is_refused(good: Path, bad: Path, text: str) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | {"json": np.array(text)})
    assert_refused(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"T_wc": np.zeros((5, 3, 4))},
        {"T_wc": np.zeros((4, 3, 4, 4))},
        {"T_wd": np.zeros((2, 4, 4))},
        {"twist": np.zeros((4, 3, 5))},
        {"active": np.zeros((4, 2), dtype=bool)},
        {"iterations": np.zeros(4, dtype=np.int64)},
        {"T_wc": np.array(["text"])},
    ],
    ids=lambda change: next(f"{k} {v.shape}" for k, v in change.items()),
)
def test_parts_that_do_not_fit_are_refused(good: Path, bad: Path, change: dict[str, np.ndarray]) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | change)
    assert_refused(bad)


def test_pickles_are_refused(good: Path, bad: Path) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | {"twist": np.array([json], dtype=object)[:0]})
    assert_refused(bad)


def test_a_file_that_unpacks_to_gigabytes_is_refused_unread(bad: Path) -> None:
    """9 kB that once took 4 GB: here each array's header is all there is of it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (31_000_000, 1, 4, 4)}
    )
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("T_wc.npy", stream.getvalue())
        archive.getinfo("T_wc.npy").file_size = 31_000_000 * 128
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "3968 MB" in refusal(bad)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 50_000  # kB
