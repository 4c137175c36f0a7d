from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from poses_helpers import above, ask, near, velocity
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.light import LightDVS
from siame_se3.laws.light_model import LightModel, _maps
from siame_se3.laws.photometric import DVS
from siame_se3.laws.pose import point_interaction_matrix
from siame_se3.laws.types import View, check_law
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

LAW = LightDVS(border=4)


@pytest.fixture(scope="session")
def lens() -> Camera:
    return Camera.from_focal(300, 224).resized(56)


def relit(view: View, image: Tensor) -> View:
    return replace(view, image=image)


def field(lens: Camera) -> Tensor:
    """A lamp that is a polynomial of degree 4, 0.7 to 1.3."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, lens.height), torch.linspace(-1, 1, lens.width), indexing="ij")
    return 1 + 0.15 * x - 0.1 * x * y + 0.1 * y**2 - 0.2 * x**2 * y**2 + 0.1 * x**3


def speed(v: Tensor) -> float:
    """Largest of v and omega, in units of 1 m/s and 1 rad/s."""
    return float(v.abs().max())


@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
def test_law_keeps_the_houses_promises(shape: tuple[int, ...], photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    check_law(LAW, plant.look(near(*shape, seed=5)), plant.look(near(*shape)), zero_at_goal=1e-6)


def test_many_runs_are_as_many_single_ones(photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    target, view = plant.look(near(6, seed=5)), plant.look(near(6))
    v = velocity(LAW, target, view)
    for k in range(6):
        torch.testing.assert_close(v[k], velocity(LAW, target[k], view[k]), rtol=1e-3, atol=1e-6)
    law, one = LAW.aim(plant.look(above(1)))
    copies = law(view, one[torch.zeros(6, dtype=torch.long)])[0].v
    torch.testing.assert_close(copies, velocity(LAW, plant.look(above(6)), view), rtol=1e-4, atol=1e-6)
    with pytest.raises(SiameError, match="6 targets for 4 cameras"):
        servo(plant, LAW, target, near(4))


@pytest.mark.parametrize("channels", [1, 3])
def test_equations_are_those_of_weighted_least_squares(channels: int, lens: Camera) -> None:
    """Against all columns written out, and eliminated by LAPACK."""
    border, degree = 4, 2
    generator = torch.Generator().manual_seed(3)
    side = lens.width - 2 * border
    e, d, u, v, w = torch.rand(5, 1, channels, side, side, generator=generator)
    q = 1 / 0.5
    scale = torch.tensor([[q, q, q, 1, 1, 1]], dtype=torch.float64)
    H, g = LightModel(lens, border, degree).eliminated(e, d, u, v, w, scale)
    grid = lens.pixel_grid(torch.float64)[border:-border, border:-border]
    x, y = (grid[..., 0] - lens.cx) / lens.fx, (grid[..., 1] - lens.cy) / lens.fy
    columns: list[Tensor] = []
    Iu, Iv = u[0].double() * lens.fx, v[0].double() * lens.fy
    columns += [Iu * q, Iv * q, -(x * Iu + y * Iv) * q]
    columns += [-x * y * Iu - (1 + y * y) * Iv, (1 + x * x) * Iu + x * y * Iv, x * Iv - y * Iu]
    D = d[0].double()
    columns += [D * x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    only = torch.eye(channels, dtype=torch.float64)[:, :, None, None]
    columns += [D * only[k] for k in range(channels - 1)] + [only[k].expand_as(D) for k in range(channels)]
    J = torch.stack(columns).flatten(1) * w.flatten().double().sqrt()
    r = e.flatten().double() * w.flatten().double().sqrt()
    light = J[6:].T @ torch.linalg.pinv(J[6:].T)
    clean = J[:6] - J[:6] @ light
    size = (clean @ J[:6].T).diagonal().sqrt()
    torch.testing.assert_close(H[0] / size[:, None] / size, clean @ J[:6].T / size[:, None] / size, rtol=0, atol=1e-4)
    torch.testing.assert_close(g[0] / size, clean @ r / size, rtol=0, atol=1e-3 * float((clean @ r / size).abs().max()))


def test_a_light_of_its_model_commands_nothing(photo: Scene, lens: Camera) -> None:
    target = FlyingCameras(photo, lens).look(above())
    assert target.image is not None
    gains = torch.tensor([0.7, 0.6, 0.8])[:, None, None]
    view = relit(target, 0.05 + gains * field(lens) * target.image)
    assert speed(velocity(LAW, target, view)) < 1e-5
    assert speed(velocity(DVS("gauss-newton", "mean", normalise="local", border=4), target, view)) > 3e-4
    # with no lamp in the model, the lamp is taken for a motion
    assert speed(velocity(LightDVS(degree=0, border=4), target, view)) > 3e-4


def test_clipped_pixels_do_not_count(photo: Scene, lens: Camera) -> None:
    target = FlyingCameras(photo, lens).look(above())
    assert target.image is not None
    view = relit(target, (1.5 * target.image - 0.1).clamp(0, 1))
    share = float(((view.image <= 0) | (view.image >= 1)).float().mean())  # type: ignore[operator]  # an image it has
    assert 0.1 < share < 0.6
    assert speed(velocity(LAW, target, view)) < 1e-4


def test_what_the_light_does_not_explain_is_weighed_down(photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    target = plant.look(above())
    assert target.image is not None
    image = target.image.clone()
    image[:, 10:24, 12:26] = torch.rand(3, 14, 14, generator=torch.Generator().manual_seed(0))
    robust, plain = (speed(velocity(replace(LAW, robust=on), target, relit(target, image))) for on in (True, False))
    assert robust < 0.3 * plain
    assert robust < 2e-3


def test_converges_under_lamps_gain_and_bias(photo: Scene, lens: Camera) -> None:
    light = replace(NONE, lamps=3, lamp_gain=0.15, lamp_width=0.5, gain=0.1, bias=0.03, colour=0.05)
    plant = FlyingCameras(photo, lens, conditions=light, seed=4)
    trajectory = servo(plant, LAW, plant.look(above(6)), near(6), ServoConfig(gain=10, max_iterations=60))
    distance, angle = trajectory.error_norms
    assert float(distance[0].max()) > 0.015
    assert float(distance[-1].max()) < 2e-4
    assert float(angle[-1].max()) < math.radians(0.02)


def test_velocity_takes_the_image_back(photo: Scene, lens: Camera) -> None:
    """The image motion of v undoes that of a small displacement (x and tilt look alike: v itself is told less well)."""
    plant = FlyingCameras(photo, lens)
    twist = 1e-3 * torch.tensor([1.0, -2, 1.5, 1, 2, -1], dtype=torch.float64)
    v = velocity(LAW, plant.look(above()), plant.look(above() @ lie.pose_from_vector(twist)))
    grid = lens.pixel_grid(torch.float64)[6:-6:4, 6:-6:4].reshape(-1, 2)
    xy = (grid - torch.tensor([lens.cx, lens.cy])) / torch.tensor([lens.fx, lens.fy])
    L = point_interaction_matrix(xy[:, 0], xy[:, 1], torch.full((len(xy),), 0.6, dtype=torch.float64))
    left = (L.reshape(-1, 6) @ (v + twist)).norm() / (L.reshape(-1, 6) @ twist).norm()
    assert float(left) < 0.35


def test_grey_images_and_a_black_channel_are_served(photo: Scene, lens: Camera) -> None:
    plant = FlyingCameras(photo, lens)
    target, view = plant.look(above()), plant.look(near())
    assert target.image is not None
    assert view.image is not None
    for spoil in (
        lambda z: z.mean(0, keepdim=True).expand(3, -1, -1),
        lambda z: z * torch.tensor([1.0, 0, 1])[:, None, None],
    ):
        plain = velocity(LAW, target, view)
        v = velocity(LAW, relit(target, spoil(target.image)), relit(view, spoil(view.image)))
        assert float((v - plain).norm()) < 0.3 * float(plain.norm())


def test_an_image_without_contrast_beside_the_desired_one_is_refused(photo: Scene, lens: Camera) -> None:
    target = FlyingCameras(photo, lens).look(above(2))
    assert target.image is not None
    output = ask(LAW, target, relit(target, target.image * torch.tensor([0.05, 0.5])[:, None, None, None]))
    assert output.faults == ("the image has less than a tenth of the desired one's contrast", "")
    assert bool((output.v[0] == 0).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": 2}, "border of 2"),
        ({"degree": 9}, "degree 9"),
        ({"degree": -1}, "degree -1"),
        ({"Z": math.nan}, "Z is nan"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SiameError, match=message):
        LightDVS(**options)


def test_targets_it_cannot_aim_at_are_refused(photo: Scene, lens: Camera) -> None:
    target = FlyingCameras(photo, lens).look(above(1))
    assert target.image is not None
    for bad, message in (
        (replace(target, image=None), "no image"),
        (replace(target, camera=None), "no camera"),
        (relit(target, torch.zeros_like(target.image)), "no contrast"),
    ):
        with pytest.raises(SiameError, match=message):
            LAW.aim(bad)
    with pytest.raises(SiameError, match="more than the border"):
        LightDVS(border=28).aim(target)


def test_maps_are_kept(lens: Camera) -> None:
    assert _maps(lens, 4, 4) is _maps(lens, 4, 4)


@pytest.mark.slow
def test_a_thing_in_the_way_under_any_light_is_left_out(photo: Scene) -> None:
    """Up to 15 % of each image covered; lamps, gain, bias, white balance and noise; from half a centimetre away."""
    wide = Camera.from_focal(300, 224).resized(112)
    goal = above(16)
    target = FlyingCameras(photo, wide).look(goal)
    spread = torch.tensor([0.003] * 3 + [0.005] * 3, dtype=torch.float64)
    offsets = spread * torch.randn(16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def ends(law: LightDVS) -> Tensor:
        plant = FlyingCameras(photo, wide, conditions=Augmentation(occlusion_rate=1.0), seed=5)
        run = servo(plant, law, target, goal @ lie.pose_from_vector(offsets), ServoConfig(gain=10, max_iterations=12))
        return lie.error_norms(lie.inverse(goal) @ run.T_wc[-1])[0].sort().values

    left_out = ends(LightDVS())
    assert float(left_out[8]) < 5e-4
    assert float(left_out[13]) < 3e-3
    assert float(ends(LightDVS(robust=False))[8]) > 5e-3
