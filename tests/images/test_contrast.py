from __future__ import annotations

import pytest
import torch
from torch import Tensor

from siame_se3.images.contrast import contrast


def stripes(h: int, w: int, period: int, phase: int, upright: bool) -> Tensor:
    """Black, with a white line every so many pixels."""
    on = (torch.arange(w if upright else h) % period == phase).float()
    line = on.expand(h, w) if upright else on[:, None].expand(h, w)
    return line.expand(1, 3, h, w)


@pytest.mark.parametrize("side", [32, 62, 112, 124, 224])
@pytest.mark.parametrize("period", [2, 4, 31])
@pytest.mark.parametrize("upright", [True, False])
def test_stripes_have_the_contrast_that_all_their_pixels_have(side: int, period: int, upright: bool) -> None:
    """Every 31st pixel in a row saw four columns of 124, and two of 62."""
    for phase in range(0, period, max(1, period // 4)):
        image = stripes(side, side, period, phase, upright)
        whole = float(image[0, 0].std(correction=0))
        assert float(contrast(image)) == pytest.approx(whole, rel=0.25)


@pytest.mark.parametrize("side", [5, 40, 112, 300])
def test_it_is_that_of_the_strongest_channel(side: int) -> None:
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    image[0] = 0.5 + (image[0] - 0.5) * torch.tensor([0.1, 0.8, 0.3])[:, None, None]
    image[1] = 0.5
    expected = image.flatten(2).std(2, correction=0).amax(1)
    torch.testing.assert_close(contrast(image), expected, rtol=0.08 if side > 45 else 1e-5, atol=1e-6)


def test_each_image_has_its_own() -> None:
    image = (
        torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        * torch.linspace(0.1, 1, 5)[:, None, None, None]
    )
    for k in range(5):
        assert float(contrast(image)[k]) == pytest.approx(float(contrast(image[k : k + 1])), rel=1e-6)
