"""Local contrast, and the contrast of an image without any."""

from __future__ import annotations

import torch
from torch import Tensor

from siame_se3.images.contrast import contrast, local_contrast


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_flat_image_has_no_contrast() -> None:
    assert float(contrast(torch.full((1, 3, 224, 224), 0.7))) < 1e-5


def test_local_contrast_takes_no_notice_of_gain_and_bias() -> None:
    images = rand(2, 3, 40, 40)
    plain, lit = local_contrast(images, 7), local_contrast(0.6 * images + 0.2, 7)
    assert float(plain.std()) > 0.5
    assert float((plain - lit).abs().max()) < 0.02
    ramp = torch.linspace(0.5, 1.5, 40)  # a slow lamp
    assert float((local_contrast(images * ramp, 7) - plain).abs().mean()) < 0.05


def test_local_contrast_of_a_flat_image_is_zero_and_of_noise_small() -> None:
    assert float(local_contrast(torch.full((1, 3, 20, 20), 0.3), 7).abs().max()) < 1e-4
    faint = 0.5 + 0.002 * randn(1, 3, 20, 20)
    assert float(local_contrast(faint, 7).std()) < 0.2


def test_local_contrasts_floor_is_what_counts_as_noise() -> None:
    faint = 0.5 + 0.02 * randn(1, 3, 40, 40)
    spread = [float(local_contrast(faint, 7, floor).std()) for floor in (0.002, 0.02, 0.2)]
    assert spread[0] > 1.2 * spread[1] > 5 * spread[2]
