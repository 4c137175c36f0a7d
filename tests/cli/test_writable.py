"""Places of results are checked before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from siame_se3.cli.options import check_writable
from siame_se3.errors import SiameError


def test_devices_and_fifos_are_places(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (Path(os.devnull), tmp_path / "fifo"):
        check_writable(path, "--out")


def test_a_links_own_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "new" / "model")
    check_writable(tmp_path / "link", "--out")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "bad").symlink_to(tmp_path / "file" / "model")
    with pytest.raises(SiameError, match="bad"):
        check_writable(tmp_path / "bad", "--out")


@pytest.mark.parametrize("name", ["", "file/below"])
def test_folders_and_files_for_folders_are_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SiameError) as caught:
        check_writable(tmp_path / name, "--out")
    assert len(str(caught.value).splitlines()) == 1
    if name:
        assert "file is a file, not a folder" in str(caught.value), "it said 'File exists'"
