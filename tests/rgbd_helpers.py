"""What the tests of real pictures with depth share: a room whose views and depths are known, in the public formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxes_helpers import poses, save, write_seven_scenes, write_tum
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera

CAMERA = Camera(131.0, 132.0, 79.0, 61.0, 160, 120)


Views = list[tuple[np.ndarray, np.ndarray]]


def tum(folder: Path, views: Views, camera: Camera | None = CAMERA, **options: Any) -> Path:
    write_tum(folder, views, poses(len(views)), **options)
    if camera is not None:
        camera.to_yaml(folder / "camera.yaml")
    return folder


def seven(folder: Path, views: Views) -> Path:
    write_seven_scenes(folder, [rgb for rgb, _ in views], [Z for _, Z in views], poses(len(views)))
    CAMERA.to_yaml(folder / "camera.yaml")
    return folder


def edited(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("\n".join(change(lines)) + "\n", encoding="utf-8")

    return edit


def line(name: str, number: int, text: str) -> Callable[[Path], None]:
    return edited(name, lambda lines: [*lines[: number - 1], text, *lines[number:]])


def without(pattern: str) -> Callable[[Path], None]:
    return lambda folder: next(iter(sorted(folder.glob(pattern)))).unlink()


def all_like(pattern: str, pixels: np.ndarray) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for path in folder.glob(pattern):
            save(path, pixels)

    return write


@contextmanager
def one_line(message: str) -> Iterator[None]:
    with pytest.raises(InputError, match=message) as error:
        yield
    assert len(str(error.value).splitlines()) == 1
