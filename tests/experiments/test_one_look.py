from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from siame_se3.experiments.one_look import errors
from siame_se3.geometry.camera import default_camera
from siame_se3.geometry.plane import homography
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.registry import coffee


class Sees:
    """A law that knows the homographies, and puts all that the image shows so many pixels aside."""

    def __init__(self, H: Tensor, aside: float) -> None:
        shift = torch.eye(3, dtype=torch.float64)
        shift[0, 2] = aside
        self.H = shift @ H

    def aim(self, target: Any) -> tuple[Any, None]:
        return self, None

    def homographies(self, images: Tensor, state: None) -> Tensor:
        assert images.shape[-1] == 48
        return self.H


@pytest.mark.parametrize("aside", [0.0, 2.4])
def test_errors_are_shares_of_the_width(aside: float) -> None:
    camera, scene = default_camera(48), coffee()
    T_wd, T_wc = draw_starts("table1", 3, scene, camera, Workspace(), 1)
    plant = FlyingCameras(scene, camera)
    law: Any = Sees(homography(camera, T_wc, T_wd), aside)
    assert errors(law, plant, plant, T_wd, T_wc) == pytest.approx([aside / 48] * 3, abs=1e-9)
