"""A pair of real photos with a measured depth: scikit-image's motorcycle (Scharstein et al. 2014), from its left photo and disparities to its right one."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.images.decode import as_image, read_picture
from siame_se3.laws.auto import Auto
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.types import Controller, View

DATA = Path(skimage.__file__).parent / "data"
F, LEFT, RIGHT, CY, BASELINE, OFFSET = (
    994.978,
    311.193,
    342.279,
    254.877,
    0.193001,
    31.086,
)  # [px], [m], of its calibration
CAMERA = default_camera(224)


def photo(name: str, cx: float, R: np.ndarray) -> Tensor:
    """As a camera of ours in its place sees it, turned by R (from there to ours)."""
    pixels = as_image(read_picture(DATA / f"motorcycle_{name}.png")).permute(1, 2, 0).numpy()
    H = CAMERA.K.numpy() @ R @ np.linalg.inv(np.array([[F, 0, cx], [0, F, CY], [0, 0, 1]]))
    found = cv2.warpPerspective(cv2.GaussianBlur(pixels, (0, 0), 1.2), H, (224, 224))
    return torch.from_numpy(found).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def goal() -> View:
    disparity = np.load(DATA / "motorcycle_disp.npz")["arr_0"]
    Z = np.where(np.isfinite(disparity), BASELINE * F / (disparity + OFFSET), np.nan).astype(np.float32)
    H = CAMERA.K.numpy() @ np.linalg.inv(np.array([[F, 0, LEFT], [0, F, CY], [0, 0, 1]]))
    depth = cv2.warpPerspective(Z, H, (224, 224), flags=cv2.INTER_NEAREST, borderValue=np.nan)
    return View(photo("left", LEFT, np.eye(3)), None, torch.from_numpy(depth)[None], CAMERA)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.08, -0.05, 0.3), (-0.05, 0.08, -0.9)], ids=str)
@pytest.mark.parametrize(
    ("law", "most"), [(MatchedPoints("pbvs", "sift"), 0.05), (Auto(), 0.15)], ids=["pbvs-sift", "auto"]
)
def test_one_step_on_real_photos(law: Controller, most: float, turn: tuple[float, float, float], goal: View) -> None:
    """19 cm to the side, at 2.2 to 4.8 m: within a twentieth of the way by points, and 15 % by small copies of the images."""
    R = cv2.Rodrigues(np.array(turn))[0]
    step, state = law.aim(goal)
    output, _ = step(View(photo("right", RIGHT, R), camera=CAMERA), state)
    true = torch.from_numpy(np.concatenate((R @ [-BASELINE, 0, 0], turn)))
    error = output.v[0] - true
    assert output.faults == ("",)
    assert float(error[:3].norm()) < most * BASELINE
    assert float(error[3:].norm()) < math.radians(0.7)


def test_a_camera_of_the_goal_stands_still(goal: View) -> None:
    step, state = Auto().aim(goal)
    output, _ = step(View(goal.image, camera=Camera(**vars(CAMERA))), state)
    assert float(output.v.abs().max()) < 0.01
    assert lie.so3_exp(output.v[:, 3:]).isfinite().all()
