"""Pictures written to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siame_se3.errors import InputError
from siame_se3.images.decode import read_grey, read_picture
from siame_se3.images.encode import write_picture

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def test_a_picture_reads_back_as_written(tmp_path: Path) -> None:
    write_picture(tmp_path / "colour.png", PIXELS)
    assert np.array_equal(read_picture(tmp_path / "colour.png"), PIXELS)
    write_picture(tmp_path / "grey.png", PIXELS[..., 0])
    assert np.array_equal(read_grey(tmp_path / "grey.png"), PIXELS[..., 0])


@pytest.mark.parametrize("name", ["picture", "picture.doc", "picture.txt"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no format of pictures; give a name that ends in \.png"):
        write_picture(tmp_path / name, PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        write_picture(tmp_path / "file" / "picture.png", PIXELS)


def test_a_picture_that_says_how_large_it_is_printed(tmp_path: Path) -> None:
    write_picture(tmp_path / "board.png", PIXELS, dpi=76.2)
    assert np.array_equal(read_picture(tmp_path / "board.png"), PIXELS)
    with Image.open(tmp_path / "board.png") as picture:
        assert picture.info["dpi"] == pytest.approx((76.2, 76.2))
        picture.verify()
