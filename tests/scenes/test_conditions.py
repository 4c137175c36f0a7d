from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import homography, plane_from_pixel
from siame_se3.scenes.conditions import NONE, Augmentation, Conditions, apply, draw

CAMERA = Camera.from_focal(70, 64, 48)
SIZE = (0.8, 0.6)  # [m]
EVERYTHING = Augmentation(blur=2.0, occlusion_rate=0.8, surroundings=0.6, bend=0.02)
LAMPS = replace(NONE, lamps=4, lamp_gain=0.3, lamp_width=0.5, lamp_width_spread=0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int) -> Tensor:
    return torch.rand(n, 3, *CAMERA.size, generator=rng(9))


def views(n: int) -> Tensor:
    p = torch.randn(n, 6, generator=rng(8), dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(p * torch.tensor([0.05, 0.05, 0.05, 0.1, 0.1, 0.3]))


def homographies(n: int) -> Tensor:
    return plane_from_pixel(CAMERA, views(n))


def augmented(augmentation: Augmentation, n: int = 8, seed: int = 0) -> tuple[Tensor, Conditions]:
    conditions = draw(n, augmentation, SIZE, rng(seed))
    return apply(pictures(n), conditions, homographies(n), rng(seed + 1)), conditions


def test_no_augmentation_is_the_identity() -> None:
    assert torch.equal(augmented(NONE)[0], pictures(8))


def test_strength_zero_is_the_identity() -> None:
    assert torch.equal(augmented(EVERYTHING.scaled(0))[0], pictures(8))


def test_strength_scales_what_is_strong() -> None:
    assert EVERYTHING.scaled(1) == EVERYTHING
    half = EVERYTHING.scaled(0.5)
    kinds = [
        "lamp_gain",
        "gain",
        "bias",
        "colour",
        "noise",
        "occlusion",
        "blur",
        "brightness",
        "contrast",
        "saturation",
        "surroundings",
        "bend",
    ]
    assert half == replace(EVERYTHING, **{kind: getattr(EVERYTHING, kind) / 2 for kind in kinds})


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = augmented(EVERYTHING)[0]
    torch.manual_seed(2)
    assert torch.equal(first, augmented(EVERYTHING)[0])
    assert not torch.equal(first, augmented(EVERYTHING, seed=1)[0])


@pytest.mark.parametrize(
    "augmentation", [Augmentation(), EVERYTHING, EVERYTHING.scaled(5)], ids=["usual", "all", "strong"]
)
def test_images_stay_in_range_and_the_input_as_it_is(augmentation: Augmentation) -> None:
    images, conditions = pictures(32), draw(32, augmentation, SIZE, rng())
    kept = images.clone()
    out = apply(images, conditions, homographies(32), rng())
    assert torch.equal(images, kept)
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert not torch.equal(out, images)


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), replace(NONE, noise=0.1), replace(NONE, blur=3.0), LAMPS],
    ids=["usual", "noise", "blur", "lamps"],
)
def test_an_image_is_the_same_in_any_batch(augmentation: Augmentation) -> None:
    n = 6
    conditions, H = draw(n, augmentation, SIZE, rng()), homographies(n)
    together = apply(pictures(n), conditions, H, [rng(k) for k in range(n)])
    for k in range(n):
        alone = apply(pictures(n)[k : k + 1], conditions[torch.tensor([k])], H[k : k + 1], [rng(k)])
        torch.testing.assert_close(together[k], alone[0], rtol=0, atol=1e-6)


def test_conditions_are_taken_by_index() -> None:
    conditions, index = draw(5, EVERYTHING, SIZE, rng()), torch.tensor([3, 0, 3])
    for field in fields(Conditions):
        assert torch.equal(getattr(conditions[index], field.name), getattr(conditions, field.name)[index])
        assert torch.equal(getattr(conditions.to(torch.device("cpu")), field.name), getattr(conditions, field.name))


@pytest.mark.parametrize("occlusion", [0.15, 0.4, 1.0])
def test_patch_is_bounded_and_in_the_image(occlusion: float) -> None:
    n = 4000
    patch = draw(n, replace(NONE, occlusion=occlusion, occlusion_rate=0.5), SIZE, rng()).patch
    width, height = (patch[:, 2:] - patch[:, :2]).unbind(1)
    area = width * height
    assert 0.9 * occlusion < float(area.max()) <= occlusion + 1e-6
    assert float(patch.min()) >= 0
    assert float(patch.max()) <= 1 + 1e-6
    assert float((area > 0).float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n))


def test_patch_covers_its_share_of_the_pixels_with_one_colour() -> None:
    out, conditions = augmented(replace(NONE, occlusion=0.3, occlusion_rate=1.0), n=20)
    h, w = CAMERA.size
    v, u = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    for image, before, (left, top, right, bottom), colour in zip(
        out, pictures(20), conditions.patch.tolist(), conditions.patch_colour, strict=True
    ):
        covered = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        assert torch.equal(image[:, ~covered], before[:, ~covered])
        assert torch.equal(image[:, covered], colour[:, None].expand(3, int(covered.sum())))
        share = (right - left) * (bottom - top)
        assert float(covered.float().mean()) == pytest.approx(share, abs=1.0 / h + 1.0 / w)


def test_draws_have_their_spread() -> None:
    n = 20_000
    a = Augmentation()
    c = draw(n, a, SIZE, rng())
    assert c.gain.shape == (n, 3)
    assert float(c.gain.mean()) == pytest.approx(1, abs=0.01)
    assert float(c.gain.std()) == pytest.approx(math.hypot(a.gain, a.colour), rel=0.03)
    assert float((c.gain / c.gain.mean(1, keepdim=True)).std()) == pytest.approx(a.colour * math.sqrt(2 / 3), rel=0.05)
    assert float(c.bias.mean()) == pytest.approx(0, abs=4 * a.bias / math.sqrt(n))
    assert float(c.bias.std()) == pytest.approx(a.bias, rel=0.02)
    assert 0 <= float(c.noise.min()) < 1e-4 < 0.0199 < float(c.noise.max()) <= a.noise
    counts = (c.lamp_gain != 0).sum(1).bincount(minlength=5) / n
    torch.testing.assert_close(counts, torch.full((5,), 0.2), rtol=0, atol=0.012)
    assert float(c.lamp_gain[c.lamp_gain != 0].std()) == pytest.approx(a.lamp_gain, rel=0.02)
    assert float(c.lamp_width.mean()) == pytest.approx(a.lamp_width * SIZE[0], rel=0.01)
    reach = c.lamp_xy.abs().amax((0, 1)) / torch.tensor(SIZE)
    assert ((reach > 0.49) & (reach <= 0.5)).all()


def test_lamps_are_gaussians_on_the_plane() -> None:
    """In the image to the 15 x 15 points that they are computed on."""
    n = 8
    c = draw(n, LAMPS, SIZE, rng(1))
    out = apply(torch.full((n, 3, *CAMERA.size), 0.4), c, homographies(n), None)
    pixels = F.pad(CAMERA.pixel_grid(), (0, 1), value=1).reshape(-1, 3)
    mapped = pixels @ homographies(n).mT
    xy = mapped[..., :2] / mapped[..., 2:]
    d2 = ((xy[:, :, None] - c.lamp_xy[:, None]) ** 2).sum(-1)
    gain = 1 + (c.lamp_gain[:, None] * torch.exp(-d2 / (2 * c.lamp_width[:, None] ** 2))).sum(-1)
    expected = (0.4 * gain.clamp(min=0.1)).clamp(max=1).reshape(n, 1, *CAMERA.size).expand(n, 3, -1, -1)
    assert float((expected - 0.4).abs().amax((1, 2, 3)).max()) > 0.1
    torch.testing.assert_close(out, expected.float(), rtol=0, atol=1.5e-3)


def test_lamps_stay_on_the_plane_while_the_camera_moves() -> None:
    """A point of the world has the same light in two views."""
    n = 8
    c = draw(1, LAMPS, SIZE, rng(1))[torch.zeros(2, dtype=torch.long)]
    T = views(n)
    v, u = torch.meshgrid(torch.arange(0, 48, 5), torch.arange(0, 64, 5), indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3).double()
    compared = 0
    for a, b in zip(T[1:], T[:-1], strict=True):
        out = apply(torch.full((2, 3, *CAMERA.size), 0.4), c, plane_from_pixel(CAMERA, torch.stack((a, b))), None)
        mapped = pixels @ homography(CAMERA, b, a).mT
        x, y = (mapped[:, :2] / mapped[:, 2:]).unbind(1)
        both = (x >= 0) & (x <= 63) & (y >= 0) & (y <= 47)
        grid = torch.stack((2 * x / 63 - 1, 2 * y / 47 - 1), -1).float()[None, None]
        in_b = F.grid_sample(out[1:], grid, align_corners=True)[0, :, 0]
        in_a = out[0][:, v, u].reshape(3, -1)
        assert float((in_a - in_b)[:, both].abs().max()) < 2e-3
        assert float(in_a.max() - in_a.min()) > 0.02
        compared += int(both.sum())
    assert compared > 300


def test_lamps_never_put_the_light_out() -> None:
    n = 16
    c = draw(n, replace(LAMPS, lamp_gain=5.0), SIZE, rng())
    out = apply(torch.full((n, 3, *CAMERA.size), 0.4), c, homographies(n), None)
    assert float(out.min()) == pytest.approx(0.04, rel=1e-5)
    assert float(out.max()) == 1


def test_gain_bias_and_colour_are_a_line() -> None:
    out, c = augmented(replace(NONE, gain=0.2, bias=0.1, colour=0.05))
    expected = (pictures(8) * c.gain[:, :, None, None] + c.bias[:, None, None, None]).clamp(0, 1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


def test_noise_has_its_deviation_and_is_new_each_time() -> None:
    n, generator = 4, rng()
    c = draw(n, replace(NONE, noise=0.05), SIZE, rng())
    grey = torch.full((n, 3, *CAMERA.size), 0.5)
    first, second = (apply(grey, c, homographies(n), generator) for _ in range(2))
    assert not torch.equal(first, second)
    count = first[0].numel()
    torch.testing.assert_close(
        (first - 0.5).std((1, 2, 3)) / c.noise, torch.ones(n), rtol=0, atol=4 / math.sqrt(2 * count)
    )
    assert torch.equal(apply(grey, c, homographies(n), None), grey)


def test_jitter_is_as_torchvision_has_it() -> None:
    from torchvision.transforms.functional import adjust_brightness, adjust_contrast, adjust_saturation

    images, conditions = augmented(replace(NONE, brightness=0.6, contrast=0.6, saturation=0.4))
    for image, plain, (b, c, s) in zip(images, pictures(8), conditions.jitter.tolist(), strict=True):
        expected = adjust_saturation(adjust_contrast(adjust_brightness(plain, b), c), s)
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-4)  # its grey has four digits
    assert float((conditions.jitter - 1).abs().amax()) <= 0.6
    assert float(conditions.jitter.std(0).min()) > 0.1


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_least_is_the_share_that_all_have(kind: str) -> None:
    full = draw(50, replace(NONE, **{kind: 2.0, "least": 1.0}), SIZE, rng())
    assert torch.equal(getattr(full, kind), torch.full((50,), 2.0))
    part = getattr(draw(50, replace(NONE, **{kind: 2.0, "least": 0.75}), SIZE, rng()), kind)
    assert 1.5 <= float(part.min()) < 1.6
    assert 1.9 < float(part.max()) <= 2


def test_least_bounds_the_patch() -> None:
    patch = draw(200, replace(NONE, occlusion=0.2, occlusion_rate=1, least=0.5), SIZE, rng()).patch
    area = (patch[:, 2] - patch[:, 0]) * (patch[:, 3] - patch[:, 1])
    assert 0.1 <= float(area.min()) < 0.11
    assert 0.19 < float(area.max()) <= 0.2 + 1e-6


def test_blur_keeps_a_constant_image() -> None:
    c = draw(4, replace(NONE, blur=3.0), SIZE, rng())
    constant = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(4, 3, *CAMERA.size)
    torch.testing.assert_close(apply(constant, c, homographies(4), None), constant, rtol=0, atol=1e-6)


def test_blur_is_a_gaussian_of_its_width() -> None:
    sigma = torch.tensor([1.0, 1.5, 2.0, 2.5])
    c = replace(draw(4, NONE, SIZE, rng()), blur=sigma)
    dot = torch.zeros(4, 3, *CAMERA.size)
    dot[:, :, 24, 32] = 1
    out = apply(dot, c, homographies(4), None)
    torch.testing.assert_close(out.sum((2, 3)), torch.ones(4, 3), rtol=0, atol=1e-5)
    for axis, place in ((2, 32), (3, 24)):
        x = torch.arange(out.shape[5 - axis]) - place
        deviation = (out.sum(axis) * x**2).sum(-1).sqrt()
        torch.testing.assert_close(deviation, sigma[:, None].expand(4, 3), rtol=0.02, atol=0)


def test_surroundings_are_beyond_the_photo_and_beyond_a_line() -> None:
    n = 64
    c = draw(n, replace(NONE, surroundings=0.5), SIZE, rng())
    x = pictures(n)
    mask = torch.ones(n, *CAMERA.size, dtype=torch.bool)
    mask[:, :, :20] = False
    out = apply(x, c, homographies(n), None, mask)
    v, u = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in CAMERA.size), indexing="ij")
    other = 0
    for k in range(n):
        same = (out[k] == x[k]).all(0)
        if float(c.around[k].min()) < 0:
            assert bool(same.all())
            continue
        a, b, limit = c.line[k]
        seen = mask[k] & (a * u + b * v <= limit)
        assert bool(same[seen].all())
        assert not bool(same[~seen].any())
        other += 1
    assert 20 < other < 44
    assert 0.9 < float(c.around.max()) <= 1


def test_surroundings_are_a_colour_or_blots() -> None:
    around = draw(500, replace(NONE, surroundings=1.0), SIZE, rng()).around
    spread = around.std((2, 3)).mean(1)
    assert float((spread < 0.02).float().mean()) > 0.2
    assert float((spread > 0.15).float().mean()) > 0.2


def test_without_a_mask_all_pixels_see_the_photo() -> None:
    c = draw(8, replace(NONE, surroundings=1.0), SIZE, rng())
    full = torch.ones(8, *CAMERA.size, dtype=torch.bool)
    assert torch.equal(*(apply(pictures(8), c, homographies(8), None, mask) for mask in (None, full)))


def test_no_surroundings_draw_nothing() -> None:
    first, second = rng(), rng()
    plain, more = draw(4, NONE, SIZE, first), draw(4, replace(NONE, surroundings=0.5, bend=0.01), SIZE, second)
    assert plain.around.shape == (4, 3, 0, 0)
    assert torch.equal(plain.patch, more.patch)
    assert not torch.equal(first.get_state(), second.get_state())
