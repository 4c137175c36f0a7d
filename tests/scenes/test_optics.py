"""What cameras do to images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from siame_se3.scenes.conditions import NONE, Augmentation, apply, draw
from siame_se3.scenes.optics import jpeg, motion_blurred, toned, vignetted


def images(n: int = 2, h: int = 40, w: int = 52) -> Tensor:
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(0))


def test_corners_are_darker_by_the_fall_off_and_the_middle_is_not() -> None:
    seen = vignetted(torch.ones(1, 3, 41, 51), torch.tensor([0.4]))
    assert torch.allclose(seen[0, :, 0, 0], torch.tensor(0.6))
    assert torch.allclose(seen[0, :, 20, 25], torch.tensor(1.0))


def test_a_point_becomes_a_line_of_its_length_and_direction() -> None:
    point = torch.zeros(3, 3, 41, 41)
    point[:, :, 20, 20] = 1
    seen = motion_blurred(point, torch.tensor([1.0, 9.0, 9.0]), torch.tensor([0.3, 0.0, math.pi / 2]))
    assert torch.equal(seen[0], point[0])
    across, along = seen[1, 0], seen[2, 0]
    assert torch.allclose(across[20, 17:24], torch.full((7,), 1 / 9), atol=0.02)
    assert float(across[20].sum()) > 0.98
    assert torch.allclose(across.T, along, atol=1e-5)
    assert torch.allclose(
        motion_blurred(torch.full((1, 3, 20, 20), 0.3), torch.tensor([7.0]), torch.tensor([1.0])), torch.tensor(0.3)
    )


def test_tone_curve_keeps_black_and_white() -> None:
    line = torch.tensor([0.0, 0.25, 1.0]).expand(1, 3, 1, 3)
    assert torch.allclose(toned(line, torch.tensor([2.0]))[0, 0, 0], torch.tensor([0.0, 0.0625, 1.0]), atol=1e-6)


def test_jpeg_without_strength_changes_nothing_and_loses_fine_waves_first() -> None:
    x = images()
    assert torch.allclose(jpeg(x, torch.zeros(2)), x, atol=1e-3)
    lost = [float((jpeg(x, torch.full((2,), s)) - x).square().mean()) for s in (0.2, 1.0)]
    assert lost[0] < lost[1]
    smooth = torch.linspace(0.2, 0.8, 52).expand(1, 3, 40, 52)
    kept = float((jpeg(smooth, torch.ones(1)) - smooth).abs().max())
    assert kept < 0.05


def test_jpeg_is_the_rounding_of_the_encoder_at_quality_50() -> None:
    """Of a grey image: as OpenCV's, but for the exact table."""
    import cv2
    import numpy as np

    grey = (images(1, 64, 64)[0, :1] * 0.3 + torch.linspace(0.2, 0.6, 64)).expand(3, -1, -1)
    levels = (grey * 255).round().to(torch.uint8).numpy().transpose(1, 2, 0)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(levels), [cv2.IMWRITE_JPEG_QUALITY, 50])
    theirs = torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255).permute(2, 0, 1)
    ours = jpeg(grey[None], torch.ones(1))[0]
    error, other = (float((x - grey).square().mean().sqrt()) for x in (ours, theirs))
    assert 0.6 < error / other < 1.6


def test_seeds_of_before_give_what_they_gave() -> None:
    """Nothing is drawn for what is not there."""
    first, second = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    plain, more = draw(4, Augmentation(), (1.0, 1.0), first), draw(4, Augmentation(motion=5.0), (1.0, 1.0), second)
    assert torch.equal(plain.gain, more.gain)
    assert torch.equal(plain.optics, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]).repeat(4, 1))
    assert not torch.equal(first.get_state(), second.get_state())


def test_all_at_once_stays_an_image_and_none_changes_nothing() -> None:
    x, H = images(4), torch.eye(3).repeat(4, 1, 1)
    g = torch.Generator().manual_seed(0)
    a = Augmentation(vignetting=0.5, motion=8.0, gamma=0.3, jpeg=1.0)
    seen = apply(x, draw(4, a, (1.0, 1.0), g), H, g)
    assert seen.shape == x.shape
    assert 0 <= float(seen.min()) < float(seen.max()) <= 1
    assert torch.equal(apply(x, draw(4, NONE, (1.0, 1.0), g), H, None), x)
