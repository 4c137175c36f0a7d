"""Depths from views at known places, against ray-cast boxes whose depths are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scan_boxes import Boxes
from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_depth import DepthMap, DepthSettings, depth_from_views
from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.planar import Scene

CAMERA = Camera.from_focal(162, 192, 144)
PLACES = ScanPattern().places(0.6)
GOAL = lie.pose_from_vector(torch.tensor([0.02, 0.01, -0.6, 0.05, 0.1, 0.3], dtype=torch.float64))
PARALLAX = 162 * 0.04  # of a place of the pattern, for an inverse depth [px m]
POSE_ERROR = torch.tensor([0.0002] * 3 + [math.radians(0.05)] * 3, dtype=torch.float64) / math.sqrt(3)


@dataclass(frozen=True, eq=False)
class Views:
    """Images at the goal and around it, and the goal's true depth."""

    goal: Tensor
    views: Tensor
    depth: Tensor
    places: Tensor = PLACES

    def camera(self, noise: float = 0.01, gains: tuple[float, float] = (1.0, 1.0), seed: int = 0) -> Views:
        """As a camera gives them: noise, 8 bits, an exposure of each view's own."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.cat((self.goal[None], self.views))
        low, high = gains
        gain = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)
        images = (gain * images + noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)
        images = (255 * images).round() / 255
        return replace(self, goal=images[0], views=images[1:])

    def found(self, T_gk: Tensor | None = None, **settings: Any) -> DepthMap:
        T_gk = self.places if T_gk is None else T_gk
        return depth_from_views(self.goal, self.views, T_gk, CAMERA, 0.6, DepthSettings(**settings))


def seen(scene: Any, T_wg: Tensor = GOAL) -> Views:
    images, _ = scene.render(CAMERA, torch.cat((T_wg[None], T_wg @ PLACES)))
    return Views(images[0], images[1:], scene.depth(CAMERA, T_wg[None])[0])


@pytest.fixture(scope="session")
def boxes() -> Views:
    return seen(Boxes())


def errors(found: DepthMap, views: Views) -> tuple[Tensor, Tensor]:
    """Of the pixels whose depth is known: relative errors, and errors in standard deviations."""
    known = found.depth.isfinite()
    apart = (found.depth - views.depth)[known]
    return (apart / views.depth[known]).abs(), (apart / found.std[known]).abs()


def from_edges(depth: Tensor, radius: int) -> Tensor:
    """Pixels without an edge (1 px of parallax) within `radius` of them."""
    d, side = (1 / depth)[None, None], 2 * radius + 1
    near = torch.nn.functional.max_pool2d(d, side, 1, radius)
    far = -torch.nn.functional.max_pool2d(-d, side, 1, radius)
    return ((near - far) * PARALLAX < 1.0)[0, 0]


def test_boxes_depths_are_found_with_their_errors(boxes: Views) -> None:
    found = boxes.camera(gains=(0.7, 1.2)).found(pose_std_t=1e-5, pose_std_r=1e-5)
    relative, sigmas = errors(found, boxes)
    assert found.filled > 0.85
    assert float(relative.median()) < 0.003
    assert float(relative.quantile(0.9)) < 0.01
    assert float((sigmas < 3).float().mean()) > 0.98
    assert float((sigmas < 1).float().mean()) < 0.93, "the standard deviations are far too large"


def test_edges_stay_where_they_are(boxes: Views) -> None:
    """No object is fattened by more than two pixels: away from true edges hardly a depth is another surface's."""
    found = boxes.camera().found()
    away = from_edges(boxes.depth, 2) & found.depth.isfinite()
    wrong = (1 / found.depth - 1 / boxes.depth).abs() * PARALLAX > 1
    assert float(wrong[away].float().mean()) < 0.001
    tops = boxes.depth < 0.5
    assert float(found.depth.isfinite()[tops & from_edges(boxes.depth, 2)].float().mean()) > 0.9


def test_a_tilted_plane_is_found(photo: Scene) -> None:
    T = lie.pose_from_vector(torch.tensor([0.15, 0.0, -0.52, 0.0, -0.5, 0.2], dtype=torch.float64))
    views = seen(photo, T)
    found = views.camera().found()
    relative, sigmas = errors(found, views)
    assert float(views.depth.max() / views.depth.min()) > 1.4
    assert found.filled > 0.5
    assert float(relative.median()) < 0.004
    assert float((sigmas < 3).float().mean()) > 0.97


def test_errors_of_the_poses_are_in_the_standard_deviations(boxes: Views) -> None:
    """0.2 mm and 0.05 deg a view: some thousandths of the depth, which neighbours have in common."""
    views = boxes.camera()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        away = torch.randn(len(PLACES), 6, generator=generator, dtype=torch.float64) * POSE_ERROR
        found = views.found(PLACES @ lie.exp(away))
        relative, sigmas = errors(found, boxes)
        assert float(relative.median()) < 0.008
        assert float((sigmas < 3).float().mean()) > 0.97
        assert found.moved_r > math.radians(0.02), "the images know better"


def test_better_poses_give_smaller_errors(boxes: Views) -> None:
    views = boxes.camera()
    rough, fine = (views.found(pose_std_t=t, pose_std_r=math.radians(r)) for t, r in ((1e-3, 0.2), (1e-5, 0.001)))
    assert fine.relative_std < 0.5 * rough.relative_std


@pytest.mark.slow
def test_what_has_no_texture_has_no_depth() -> None:
    scene = Boxes()
    texture = scene._textures[0]
    h, w, _ = texture.shape
    texture[h // 2 - 400 : h // 2 - 170, w // 2 - 230 : w // 2 + 230] = 0.5
    views = seen(scene)
    plain = (views.goal - 0.5).abs().amax(0) < 1e-3
    inside = -torch.nn.functional.max_pool2d(-plain[None, None].float(), 9, 1, 4)[0, 0] > 0
    found = views.camera().found()
    assert float(inside.float().mean()) > 0.02
    assert float(found.depth.isfinite()[inside].float().mean()) < 0.05


@pytest.mark.slow
def test_a_bare_table_does_not_get_the_depth_of_the_boxes_on_it() -> None:
    scene = Boxes()
    scene._textures[0][:] = 0.5
    views = seen(scene)
    found = views.camera().found()
    table = views.depth > scene.depth(CAMERA, GOAL[None])[0].max() - 0.12
    boxes = torch.nn.functional.max_pool2d((views.goal - 0.5).abs().amax(0)[None, None], 7, 1, 3)[0, 0] > 0.02
    known = found.depth.isfinite()
    assert float(known[table & ~boxes].float().mean()) < 0.01, "more than three pixels from all boxes"
    wrong = (1 / found.depth - 1 / views.depth).abs() * PARALLAX > 1
    assert float(wrong[known].float().mean()) < 0.1
    assert float(known[~table].float().mean()) > 0.6


def test_a_large_image_is_reduced(boxes: Views) -> None:
    found = boxes.camera().found(side=96)
    assert found.depth.shape == found.std.shape == CAMERA.size
    assert bool((found.depth.isfinite() == found.std.isfinite()).all())
    relative, sigmas = errors(found, boxes)
    assert float(relative.median()) < 0.006
    assert float((sigmas < 3).float().mean()) > 0.93


def test_two_views_are_enough(boxes: Views) -> None:
    views = replace(boxes, views=boxes.views[[0, 3]], places=PLACES[[0, 3]]).camera()
    relative, _ = errors(views.found(), boxes)
    assert float(relative.median()) < 0.006


def still(views: Views, share: float) -> Views:
    """The same with a share of the motion, as its poses say it."""
    T = PLACES.clone()
    T[:, :3, 3] *= share
    return replace(views, places=T)


def turned(views: Views) -> Tensor:
    T = PLACES.clone()
    T[:, :3, 3] = 0
    return T


def elsewhere(*vector: float) -> Tensor:
    """The places as another hand-eye transform gives them, which differs by (t, theta u) in the camera's frame."""
    E = lie.pose_from_vector(torch.tensor(vector, dtype=torch.float64))
    return lie.inverse(E) @ PLACES @ E


def mirrored() -> Tensor:
    T = PLACES.clone()
    T[:, :3, 3] *= -1
    return T


REFUSED: dict[str, tuple[Callable[[Views], Views], str]] = {
    "one view": (lambda v: replace(v, views=v.views[:1], places=PLACES[:1]), "1 views; give at least 2"),
    "poses for others": (lambda v: replace(v, places=PLACES[:5]), "5 poses for 8 views"),
    "turned only": (lambda v: replace(v, places=turned(v)), "the camera only turned"),
    "too short": (lambda v: still(v, 0.05), "too short a baseline: moving by 2.0 mm at 0.6 m shifts the image by"),
    "one image": (lambda v: replace(v, views=v.goal.expand(8, -1, -1, -1)), "all views show the same image"),
    "mirrored poses": (lambda v: replace(v, places=mirrored()), "do not fit their poses"),
    "poses in another order": (lambda v: replace(v, places=PLACES.roll(3, 0)), "do not fit their poses"),
    "poses of the view before": (
        lambda v: replace(v, places=PLACES.roll(1, 0)),
        "these would have to be wrong by up to 1",
    ),
    "another scene": (lambda v: replace(v, views=v.views.flip(-1)), "do not fit their poses"),
    "a grey wall": (lambda v: replace(v, goal=0 * v.goal + 0.5, views=0 * v.views + 0.5), "has texture"),
    "not finite": (lambda v: replace(v, goal=v.goal * torch.nan), "values that are not finite"),
    "no rotation": (lambda v: replace(v, places=2 * PLACES), "a pose whose rotation is none"),
    "another size": (lambda v: replace(v, views=v.views[..., :100]), "images of 192 x 144 and 100 x 144 px"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_views_that_determine_nothing_are_refused_in_a_line(case: str, boxes: Views) -> None:
    change, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as error:
        change(boxes.camera()).found()
    assert "\n" not in str(error.value)


def test_a_scene_at_another_distance_is_refused(boxes: Views) -> None:
    views = boxes.camera()
    with pytest.raises(InputError, match=r"between 0\.80 and 5\.00 m that they agree on"):
        depth_from_views(views.goal, views.views, PLACES, CAMERA, 2.0)
    for distance in (0.0, math.nan):
        with pytest.raises(InputError, match="a distance of"):
            depth_from_views(views.goal, views.views, PLACES, CAMERA, distance)


@pytest.mark.parametrize(
    ("error", "most"),
    [((0, 0, 0.003, 0, 0, 0), 0.007), ((0.01, 0, 0, 0, 0, 0), 0.004), ((0, 0, 0, 0.02, 0, 0.02), 0.006)],
)
def test_small_errors_of_the_hand_eye_transform_do_little(error: tuple[float, ...], most: float, boxes: Views) -> None:
    """3 mm along the optical axis scale depths by 0.5 %; 10 mm across it and 1 deg do less."""
    relative, _ = errors(boxes.camera().found(elsewhere(*error)), boxes)
    assert float(relative.median()) < most


def test_a_hand_eye_transform_of_another_camera_is_refused(boxes: Views) -> None:
    with pytest.raises(InputError, match="these would have to be wrong by up to"):
        boxes.camera().found(elsewhere(0, 0, 0, 0.1, 0.05, 0))


def test_views_may_turn_about_the_axis_and_come_nearer(boxes: Views) -> None:
    """Any known places will do, not those of the pattern only."""
    twists = torch.tensor(
        [[0.04, 0, 0.02, 0, 0, 0.3], [-0.03, 0.02, -0.03, 0.02, 0, -0.2], [0, -0.04, 0.03, 0, 0.03, 1.0]],
        dtype=torch.float64,
    )
    T_gk = lie.pose_from_vector(twists)
    images, _ = Boxes().render(CAMERA, GOAL @ T_gk)
    views = Views(boxes.goal, images, boxes.depth, T_gk).camera()
    relative, _ = errors(views.found(), boxes)
    assert float(relative.median()) < 0.004


def test_the_same_views_give_the_same_depths(boxes: Views) -> None:
    views = boxes.camera()
    first, again = views.found(), views.found()
    assert np.array_equal(first.depth.numpy(), again.depth.numpy(), equal_nan=True)
