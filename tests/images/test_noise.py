"""Noise of photos: how much there is, and photos without it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from siame_se3.images.blur import gaussian_blur
from siame_se3.images.noise import noise_level, without_noise
from siame_se3.scenes.planar import Scene


def noisy(image: Tensor, *sigma: float, seed: int = 0) -> Tensor:
    """As an 8-bit camera has it."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    seen = image + noise * torch.tensor(sigma)[:, None, None]
    return (seen.clamp(0, 1) * 255).round() / 255


@pytest.fixture(scope="module")
def coffee(photo: Scene) -> Tensor:
    """Without what noise of its own it has."""
    return gaussian_blur(photo.texture[None], torch.tensor([1.2]))[0]


@pytest.fixture(scope="module")
def board() -> Tensor:
    """Dots and stripes on a board with shading, of strong edges."""
    v, u = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    dots = ((u % 24 - 12) ** 2 + (v % 24 - 12) ** 2 < 36) & (u < 200)
    stripes = (u > 230) & ((u + v) % 30 < 15)
    grey = 0.55 + 0.2 * u / 320 - 0.45 * (dots | stripes).float()
    return torch.stack((grey, 0.9 * grey, 0.8 * grey))


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("picture", ["coffee", "board"])
def test_the_level_of_known_noise_is_found(request: pytest.FixtureRequest, picture: str, sigma: float) -> None:
    found = noise_level(noisy(request.getfixturevalue(picture), sigma, sigma, sigma))
    torch.testing.assert_close(found, torch.full((3,), sigma), rtol=0.2, atol=0)


def test_each_colour_has_its_own_level(board: Tensor) -> None:
    found = noise_level(noisy(board, 0.01, 0.02, 0.04))
    torch.testing.assert_close(found, torch.tensor([0.01, 0.02, 0.04]), rtol=0.2, atol=0)


def test_a_photo_without_noise_has_none(board: Tensor, coffee: Tensor) -> None:
    """Nor has one that is too small to tell."""
    for image in (board, coffee, (board * 255).round() / 255, torch.rand(3, 20, 20)):
        assert float(noise_level(image).max()) < 0.003


def test_what_lies_beyond_a_rectified_photo_does_not_count(board: Tensor) -> None:
    colour = torch.tensor([0.33, 0.32, 0.36])
    image = noisy(board, 0.02, 0.02, 0.02)
    image[:, :, :160] = colour[:, None, None]
    assert float(noise_level(image).max()) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(noise_level(image, colour), torch.full((3,), 0.02), rtol=0.25, atol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_noise_goes_and_edges_stay(board: Tensor, sigma: float) -> None:
    image = noisy(board, sigma, sigma, sigma)
    clean = without_noise(image, torch.full((3,), sigma))
    assert clean.dtype == torch.float32
    assert float((clean - board).square().mean().sqrt()) < 0.6 * sigma
    steps, before = (x.diff(dim=2) for x in (clean, board))
    edges = before.abs() > 0.3
    assert int(edges.sum()) > 1000
    kept = steps[edges] / before[edges]
    assert float(kept.mean()) > 0.95
    assert float(kept.quantile(0.05)) > 0.8


def test_each_colour_is_cleaned_by_its_own_level(board: Tensor) -> None:
    image = noisy(board, 0.001, 0.001, 0.04)
    left = (without_noise(image, torch.tensor([0.001, 0.001, 0.04])) - board).square().mean((1, 2)).sqrt()
    assert float(left[2]) < 0.03
    assert float(left[:2].max()) < 0.01
