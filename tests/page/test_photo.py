from __future__ import annotations

import cv2
import numpy as np
import pytest

from siame_se3.errors import SiameError
from siame_se3.page import photo
from siame_se3.page.photo import scene_of


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


NOISE = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)


def test_a_photo_is_a_scene_of_its_name_and_width() -> None:
    scene = scene_of("My wall (2).png", png(NOISE), 1.2)
    assert scene.name == "My wall (2)"
    assert (scene.width, scene.height) == (1.2, pytest.approx(0.9))
    rgb = np.rint(255 * scene.texture.permute(1, 2, 0).numpy()).astype(np.uint8)
    assert np.array_equal(rgb, NOISE[..., ::-1])


def test_a_large_photo_is_kept_small() -> None:
    scene = scene_of("large.jpg", png(cv2.resize(NOISE, (2000, 1500))), 0.8)
    assert tuple(scene.texture.shape) == (3, 1200, 1600)
    assert scene.height == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/wall.png", "wall"),
        ("C:\\photos\\wall.png", "wall"),
        ("a\nb\x00.png", "a_b_"),
        ("..", "photo"),
        ("", "photo"),
        ("x" * 300 + ".png", "x" * 76),
    ],
)
def test_a_name_is_no_path(name: str, shown: str) -> None:
    assert scene_of(name, png(NOISE), 0.8).name == shown


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "letter.jpg: not an image that can be read"),
        (b"Dear camera,", "letter.jpg: not an image that can be read"),
        (png(NOISE)[:500], "letter.jpg: not an image that can be read"),
        (png(np.zeros((50, 50, 3), np.uint8)), "letter.jpg: the photo is all black"),
        (png(np.full((50, 50, 3), 99, np.uint8)), "letter.jpg: the photo is one constant colour"),
        (png(NOISE[:4, :4]), "letter.jpg: a photo of 4 x 4 px is too small"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_file(data: bytes, line: str) -> None:
    with pytest.raises(SiameError) as caught:
        scene_of("letter.jpg", data, 0.8)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "MOST_BYTES", 1000)
    with pytest.raises(SiameError, match=r"wall\.png: 0 MB; drop a photo of at most"):
        scene_of("wall.png", png(NOISE), 0.8)
