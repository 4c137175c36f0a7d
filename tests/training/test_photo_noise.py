"""What is taken out of photos before a training, and what is said of it."""

from __future__ import annotations

import torch
from torch import Tensor

from siame_se3.geometry.camera import default_camera
from siame_se3.scenes.planar import Scene
from siame_se3.training.driver import Callbacks, fit
from siame_se3.training.photo_noise import LEAST, all_cleaned, cleaned
from siame_se3.training.recipe import Recipe
from training_helpers import few_views, network_of, print_of_colours

CAMERA = default_camera(112)


def scene_of(texture: Tensor, name: str) -> Scene:
    return Scene(texture, 0.8, 0.6, name)


def noisy(seed: int = 0, sigma: float = 0.03, scale: int = 1) -> Scene:
    """A print, as a camera of 320 x 240 px times a scale has it."""
    plain = torch.nn.functional.interpolate(print_of_colours().texture[None], scale_factor=4 * scale, mode="bilinear")[
        0
    ]
    noise = sigma * torch.randn(plain.shape, generator=torch.Generator().manual_seed(seed))
    return scene_of((0.2 + 0.6 * plain + noise).clamp(0, 1), "noisy")


def test_noise_is_taken_out_and_its_level_known() -> None:
    scene, level = cleaned(noisy(), CAMERA, 0.6)
    torch.testing.assert_close(level, torch.full((3,), 0.03), rtol=0.2, atol=0)
    truth = noisy(sigma=0.0).texture
    before, after = (float((x.texture - truth).square().mean().sqrt()) for x in (noisy(), scene))
    assert after < 0.5 * before
    assert (scene.name, scene.width, scene.height, scene.texture.shape) == ("noisy", 0.8, 0.6, truth.shape)


def test_a_photo_with_next_to_none_stays_as_it_is() -> None:
    plain = noisy(sigma=0.3 * LEAST)
    assert cleaned(plain, CAMERA, 0.6)[0] is plain


def test_a_large_photo_is_cleaned_at_the_resolution_of_its_views() -> None:
    """1280 texels over 0.8 m are 6.4 a pixel: half of them are enough, and their mean has half of the noise."""
    large = noisy(scale=4)
    scene, level = cleaned(large, CAMERA, 0.6)
    torch.testing.assert_close(level, torch.full((3,), 0.015), rtol=0.2, atol=0)
    assert scene.texture.shape == large.texture.shape
    truth = noisy(sigma=0.0, scale=4)
    seen = [s.pyramid(torch.device("cpu"))[2] for s in (large, scene, truth)]
    before, after = (float((x - seen[2]).square().mean().sqrt()) for x in seen[:2])
    assert after < 0.6 * before


def test_it_is_said_of_each_photo() -> None:
    lines: list[str] = []
    plain = noisy(sigma=0.0)
    found, levels = all_cleaned([noisy(), plain], CAMERA, 0.6, lines.append)
    assert found[1] is plain
    assert len(levels) == 2
    assert lines[0].startswith("photo noisy: noise of ")
    assert abs(float(lines[0].split()[4].rstrip(",")) - 0.03 * 255) < 1.5
    assert "taught as it is" in lines[1]


def test_a_training_cleans_its_photos_if_it_is_asked_to() -> None:
    """The model's card has their noise, at the resolution of its views of 32 px."""
    scene = noisy()
    for denoise in (False, True):
        lines: list[str] = []
        recipe = Recipe(network_of(), data=few_views(denoise=denoise)).of_steps(1)
        card = fit(recipe, [scene], callbacks=Callbacks(say=lines.append)).model.card
        assert len(lines) == int(denoise)
        assert ("noise" in card) == denoise
        if denoise:
            torch.testing.assert_close(torch.tensor(card["noise"]), torch.full((1, 3), 0.015), rtol=0.2, atol=0)
