from __future__ import annotations

import numpy as np
import pytest
import torch

from siame_se3.geometry.camera import Camera
from siame_se3.geometry.crop import square_box
from siame_se3.images.crop import centred_square, network_images

SIZES = [(48, 64), (64, 48), (47, 64), (64, 47), (47, 63), (31, 31)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_camera_and_pixels_are_cropped_alike(height: int, width: int) -> None:
    """A pixel of the cropped image is on the ray that it was on."""
    v, u = np.mgrid[:height, :width]
    pixels = np.stack((u, v, 0 * u), -1).astype(np.uint8)
    camera = Camera(50.0, 55.0, 30.0, 20.0, width, height)
    square, cropped = camera.square(), centred_square(pixels)
    side = min(height, width)
    assert cropped.shape == (side, side, 3)
    assert square.size == (side, side)
    before = torch.from_numpy(cropped[..., :2].astype(float))
    torch.testing.assert_close(square.rays(square.pixel_grid()), camera.rays(before), rtol=0, atol=1e-12)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float()
    assert torch.equal(network_images(image, side)[0], torch.from_numpy(cropped).permute(2, 0, 1).float())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_square_is_in_the_middle_to_half_a_pixel(height: int, width: int) -> None:
    top, left, side = square_box(height, width)
    assert side == min(height, width)
    assert 0 <= (height - side) - 2 * top <= 1
    assert 0 <= (width - side) - 2 * left <= 1
