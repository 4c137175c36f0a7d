"""Arrays of .npz files: what a file claims is checked before it is allocated."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from siame_se3.errors import InputError
from siame_se3.files import read_npz


def header(shape: tuple[int, ...], descr: str) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def written(path: Path, content: bytes, size: int | None = None) -> Path:
    """A .npz of one array, whose size may be claimed otherwise in the archive's directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
        if size is not None:
            archive.getinfo("a.npy").file_size = size
    return path


def assert_refused(path: Path, words: str | None = None) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_npz(path, hint="give another")
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("; give another")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path: Path, save: object) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array("text"),
        "c": np.zeros((0, 4)),
        "d": np.asfortranarray(np.eye(3, 2)),
    }
    save(tmp_path / "x.npz", **arrays)  # type: ignore[operator]  # one of two functions
    again = read_npz(tmp_path / "x.npz")
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)


def test_a_long_run_that_stands_still_may_compress_well(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(7_000_000))
    assert read_npz(tmp_path / "x.npz")["a"].nbytes == 56_000_000


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A thousand times what it takes on the disk."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(header((100_000_000,), "|u1"))
        for _ in range(100):
            stream.write(bytes(1_000_000))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    assert_refused(path, "100 MB, too much")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("shape", "descr"),
    [((500_000_000,), "<f8"), ((2**40, 2**40), "<f8"), ((2,), "|S2000000000"), ((-1, 8), "|u1"), ((9,), "|u1"), ((7,), "|u1"), ((1,), "|O")],
    ids=str,
)  # fmt: skip
def test_a_header_that_does_not_fit_its_array_is_refused(tmp_path: Path, shape: tuple[int, ...], descr: str) -> None:
    tracemalloc.start()
    assert_refused(written(tmp_path / "x.npz", header(shape, descr) + bytes(8)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_directory_that_claims_other_sizes_is_refused(tmp_path: Path) -> None:
    head = header((8,), "|u1")
    assert_refused(written(tmp_path / "x.npz", head + bytes(8), size=2**40), "too much")
    assert_refused(written(tmp_path / "x.npz", header((16,), "|u1") + bytes(8), size=len(head) + 16))


def test_many_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for k in range(1000):
            archive.writestr(f"{k}.npy", header((0,), "|u1"))
    assert_refused(tmp_path / "x.npz", "claims 1000 arrays")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"text", header((1,), "|u1"), header((1,), "|u1")[:-1] + b"\xff"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    assert_refused(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "text", [b"{'descr': " + b"(" * 3000, b"{'descr': '<f8', 'shape': " + b"[" * 90, b"1", b"{}", b"\xff" * 9]
)
def test_headers_that_are_none_are_refused(tmp_path: Path, text: bytes) -> None:
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    assert_refused(written(tmp_path / "x.npz", head))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.npz", "no such file")
    assert_refused(tmp_path, "a folder")
