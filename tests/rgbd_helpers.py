"""What the tests of real pictures with depth share: a room whose views and depths are known, in the public formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from boxes_helpers import poses, write_tum
from siame_se3.geometry.camera import Camera

CAMERA = Camera(131.0, 132.0, 79.0, 61.0, 160, 120)


Views = list[tuple[np.ndarray, np.ndarray]]


def tum(folder: Path, views: Views, camera: Camera | None = CAMERA, **options: Any) -> Path:
    write_tum(folder, views, poses(len(views)), **options)
    if camera is not None:
        camera.to_yaml(folder / "camera.yaml")
    return folder
