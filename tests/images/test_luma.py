from __future__ import annotations

from pathlib import Path

import pytest
import torch

import siame_se3
from siame_se3.images.luma import LUMA, luma
from siame_se3.scenes.planar import Scene


def test_grey_levels_are_pillows() -> None:
    """PIL's own luma, to its rounding."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = torch.from_numpy(np.array(Image.fromarray(pixels).convert("L"))).double()
    found = luma(torch.from_numpy(pixels).permute(2, 0, 1).double() / 255, torch.float64)
    assert float((found - expected).abs().max()) <= 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_white_is_255_and_colours_have_their_weights(dtype: torch.dtype) -> None:
    images = torch.cat((torch.ones(1, 3), torch.eye(3)))[..., None, None]
    expected = 255 * torch.tensor([1.0, *LUMA], dtype=dtype)[:, None, None]
    torch.testing.assert_close(luma(images, dtype), expected)


def test_a_grey_scene_has_the_same_grey_levels() -> None:
    scene = Scene(torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(0)), 0.4, 0.3)
    assert torch.equal(scene.grey().texture[0], scene.grey().texture[2])
    torch.testing.assert_close(255 * scene.grey().texture[1], luma(scene.texture, torch.float32))


def test_the_weights_are_known_once() -> None:
    house = Path(siame_se3.__file__).parent
    knowing = {str(path.relative_to(house)) for path in house.rglob("*.py") if "0.587" in path.read_text("utf-8")}
    assert knowing - {"networks/migration.py"} == {"images/luma.py"}  # that one says what old files meant
