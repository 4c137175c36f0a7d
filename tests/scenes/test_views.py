from __future__ import annotations

import math

import pytest
import torch

from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.overlap import visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, reference_pose
from siame_se3.scenes.views import near_views, training_views, wide_views

POSTER = Scene(torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)), 0.8, 0.6)
CAMERA = Camera.from_focal(300, 234)
WORKSPACE = Workspace()
N = 2000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("min_overlap", [0.2, 0.9])
def test_training_views_see_the_print(min_overlap: float) -> None:
    workspace = Workspace(min_overlap=min_overlap, min_height=0.55)
    T_wc = training_views(300, POSTER, CAMERA, workspace, rng())
    assert float(visible(POSTER, CAMERA, T_wc).min()) >= min_overlap
    assert float(T_wc[:, 2, 3].max()) <= -0.55


def test_near_views_in_orbit_turn_around_the_point_they_look_at() -> None:
    """The image's middle stays, but for a fifth of what an isotropic neighbour moves."""
    T_wc = training_views(N, POSTER, CAMERA, WORKSPACE, rng())
    middle = torch.tensor([[(CAMERA.width - 1) / 2, (CAMERA.height - 1) / 2]], dtype=torch.float64)
    ray = CAMERA.rays(middle) @ T_wc[:, :3, :3].mT
    point = T_wc[:, None, :3, 3] - ray * (T_wc[:, None, 2:3, 3] / ray[..., 2:])

    def moved(orbit: float) -> torch.Tensor:
        T_cw = lie.inverse(near_views(T_wc, WORKSPACE, rng(1), 0.1, 0.1, orbit))
        seen = point @ T_cw[:, :3, :3].mT + T_cw[:, None, :3, 3]
        return (CAMERA.project(seen) - middle).norm(dim=-1).median()

    assert float(moved(1.0)) == pytest.approx(0.2 * float(moved(0.0)), rel=0.15)
    t, r = lie.error_norms(lie.inverse(T_wc) @ near_views(T_wc, WORKSPACE, rng(1), 0.1, 0.1, 1.0))
    assert float(t.median() / (r * WORKSPACE.distance).median()) == pytest.approx(1, abs=0.25)


def test_near_views_are_log_uniform_shares_of_the_spread() -> None:
    """log |p / sigma| = log share + log chi_6, whose mean is (digamma(3) + log 2)/2."""
    T_wc = training_views(N, POSTER, CAMERA, WORKSPACE, rng())
    p = lie.vector_from_pose(lie.inverse(T_wc) @ near_views(T_wc, WORKSPACE, rng(1), 0.01, 0.4, orbit=0.0))
    sigma = torch.tensor([0.1] * 3 + [math.radians(a) for a in (10, 10, 16)], dtype=torch.float64)
    size = (p / sigma).norm(dim=1)
    three = torch.tensor(3.0, dtype=torch.float64)
    chi_mean, chi_variance = (float(torch.digamma(three)) + math.log(2)) / 2, float(torch.polygamma(1, three)) / 4
    std = math.sqrt(chi_variance + math.log(0.4 / 0.01) ** 2 / 12)
    assert float(size.log().mean()) == pytest.approx(chi_mean + math.log(0.4 * 0.01) / 2, abs=4 * std / math.sqrt(N))
    assert float(size.log().std()) == pytest.approx(std, rel=0.07)
    assert float(size.max()) < 0.4 * 6
    assert float(size.min()) > 0.01 * 0.2


@pytest.mark.parametrize("distance", [0.6, 0.3])
def test_wide_views_surround_wide_starts(distance: float) -> None:
    """They see the print, and among them are poses beyond each face of the starts' box and beyond its rolls."""
    s = distance / 0.6
    workspace = WORKSPACE.at(distance)
    poster = Scene(POSTER.texture, 0.8 * s, 0.6 * s)
    T_wc = wide_views(N, poster, CAMERA, workspace, rng())
    assert float(visible(poster, CAMERA, T_wc).min()) >= workspace.min_overlap
    off = (T_wc[:, :3, 3] - reference_pose(distance)[:3, 3]) / s
    reach = torch.tensor([0.7, 0.7, 0.2], dtype=torch.float64)
    assert bool((off.abs() <= reach).all())
    box = torch.tensor([0.6, 0.6, 0.15], dtype=torch.float64)
    assert bool((off.amax(0) > box).all())
    assert bool((off.amin(0) < -box).all())
    looked_at = T_wc[:, :3, 3] - T_wc[:, :3, 2] * (T_wc[:, 2:3, 3] / T_wc[:, 2:3, 2])
    assert float(looked_at.norm(dim=1).max()) <= 0.35 * s + 1e-9
    roll = torch.atan2(T_wc[:, 1, 0], T_wc[:, 1, 1]).rad2deg().abs()
    assert 120 < float(roll.max()) <= 140


def test_a_workspace_at_another_distance_has_the_same_views() -> None:
    half = WORKSPACE.at(0.3)
    assert half.distance == 0.3
    assert half.at(0.6) == WORKSPACE
    assert half.desired_tilt == WORKSPACE.desired_tilt
    small = Scene(POSTER.texture, 0.4, 0.3)
    far = training_views(50, POSTER, CAMERA, WORKSPACE, rng())
    near = training_views(50, small, CAMERA, half, rng())
    far[:, :3, 3] /= 2
    torch.testing.assert_close(near, far)


def test_a_scene_too_small_to_see_is_one_line() -> None:
    speck = Scene(POSTER.texture, 0.01, 0.01, name="speck")
    for sample in (training_views, wide_views):
        with pytest.raises(SceneError, match=r"speck.*width") as error:
            sample(1, speck, CAMERA, WORKSPACE, rng())
        assert len(str(error.value).splitlines()) == 1
        assert error.value.settings == ("width", "distance")
