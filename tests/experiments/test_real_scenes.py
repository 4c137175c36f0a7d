"""What two real pictures of a plane make: a scene, an alignment, what both show."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from poses_helpers import AWAY, frontal
from real_helpers import CAMERA, FAR, beside, picture, pixels_at, poses
from siame_se3.errors import SceneError
from siame_se3.experiments.real.planes import alignment, common, footprint, scene_of, shared
from siame_se3.geometry import lie
from siame_se3.geometry.plane import pixel_from_plane
from siame_se3.images.decode import as_pixels
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene

# of what a camera square to the plane sees, between the middles of the outer pixels [m]
HALF = 159.5 / CAMERA.fx * FAR, 119.5 / CAMERA.fx * FAR


def test_what_a_picture_shows_of_the_plane() -> None:
    x, y = HALF
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    np.testing.assert_allclose(footprint(picture(beside(0.3, 0.1))), corners + np.array([0.3, 0.1]))


def towards_the_horizon(pitch: float = 23.0) -> Tensor:
    """A camera that looks at the plane from 0.34 m above it, so many degrees downwards, towards the plane's +y."""
    down = math.radians(pitch)
    R = torch.tensor([[-1, 0, 0], [0, -math.sin(down), math.cos(down)], [0, math.cos(down), math.sin(down)]])
    return lie.pose(R.double(), torch.tensor([0, -0.8, -0.34], dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.0, -2.0])
def test_of_a_picture_with_the_horizon_it_is_what_is_below(scale: float) -> None:
    T = towards_the_horizon()
    shown = replace(picture(T), from_plane=scale * pixel_from_plane(CAMERA, T).numpy())
    corners = footprint(shown)
    assert len(corners) == 4
    depth = (torch.from_numpy(np.c_[corners, np.zeros(4), np.ones(4)]) @ lie.inverse(T).T)[:, 2].numpy()
    assert depth.min() > 0
    assert depth.max() == pytest.approx(10 * depth.min())
    # the lower corners are the picture's, the upper ones are on its sides
    pixels = np.c_[corners, np.ones(4)] @ pixel_from_plane(CAMERA, T).numpy().T
    pixels = pixels[:, :2] / pixels[:, 2:]
    np.testing.assert_allclose(sorted(pixels[:, 0]), [0, 0, 319, 319], atol=1e-6)
    np.testing.assert_allclose(sorted(pixels[:, 1])[2:], [239, 239], atol=1e-6)
    assert pixels[:, 1].min() > 0
    tilted = T @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0, 0, 0.4], dtype=torch.float64))
    assert len(footprint(picture(tilted))) == 5


def test_a_picture_with_the_horizon_is_a_scene_like_others(photo: Scene) -> None:
    """Of the plane it has what is before its camera, and nothing of what is behind."""
    wide = Scene(photo.texture, 3.0, 3.0)
    T = torch.stack([towards_the_horizon(), frontal(FAR)])
    low, plain = (picture(one, rgb, n) for one, rgb, n in zip(T, pixels_at(wide, T), "ab", strict=True))
    box = common(low, plain)
    assert (box.x, box.y, box.width, box.height) == (0, 0, 2.0, 2.0)
    found, true = scene_of(low, box).texture, scene_of(plain, box).texture
    assert float((found - true)[:, 900:1100, 900:1100].abs().mean()) < 0.06
    behind = found[:, :100]  # the camera is over row 200, and looks away from the rows before it
    torch.testing.assert_close(behind, behind[:, :1, :1].expand_as(behind))
    torch.testing.assert_close(behind[:, 0, 0], scene_of(low, box).fill_colour, rtol=0, atol=1 / 255)
    with pytest.raises(SceneError, match="a: it shows nothing of the plane"):
        footprint(replace(low, from_plane=pixel_from_plane(CAMERA, towards_the_horizon(-60)).numpy()))


def test_alignment_counts_nothing_above_the_horizon() -> None:
    """Half the goal's view is sky; what is on the plane beside the camera's foot moves by some pixels, not by infinitely many."""
    T = towards_the_horizon(2.0)
    assert float(alignment(CAMERA, T, T)) < 1e-6
    nearer = T @ lie.pose_from_vector(torch.tensor([0.01, 0, 0, 0, 0, 0], dtype=torch.float64))
    assert 0.1 < float(alignment(CAMERA, T, nearer)) < 5
    assert math.isinf(float(alignment(CAMERA, towards_the_horizon(-60), T)))


def test_two_pictures_that_show_the_origin_have_it_in_the_middle() -> None:
    box = common(picture(beside(0.1)), picture(beside(-0.05, 0.1)))
    assert (box.x, box.y) == (0, 0)
    assert (box.width, box.height) == pytest.approx((2 * (HALF[0] + 0.1), 2 * (HALF[1] + 0.1)))


def test_two_pictures_beside_the_origin_have_in_the_middle_what_both_show() -> None:
    box = common(picture(beside(1.0)), picture(beside(1.2, 0.1)))
    assert (box.x, box.y) == pytest.approx((1.1, 0.05))
    assert (box.width, box.height) == pytest.approx((2 * (HALF[0] + 0.1), 2 * (HALF[1] + 0.05)), rel=1e-5)


def test_a_scene_is_no_wider_than_two_metres() -> None:
    box = common(picture(beside(0, distance=3.0)), picture(beside(0)))
    assert (box.width, box.height) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("x", "message"),
    [(1.0, "a and b show nothing of the plane in common"), (1.98 * HALF[0], "a and b show 0.00. m.2 of the plane")],
    ids=["nothing", "little"],
)
def test_pictures_of_different_places_are_refused(x: float, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        common(picture(beside(0), name="a"), picture(beside(x), name="b"))


def test_a_scene_seen_by_the_pictures_own_camera_is_the_picture(photo: Scene) -> None:
    T_wc = poses() @ lie.pose_from_vector(torch.tensor([0.12, 0.09, 0.2, 0, 0, 0], dtype=torch.float64))
    T_wc[:, 0, 3] += 0.15  # the origin is near the edge
    a, b, _ = (picture(T, rgb) for T, rgb in zip(T_wc, pixels_at(photo, T_wc), strict=True))
    box = common(a, b)
    assert abs(box.x) > 0.1  # so that the scene's frame is another one
    scene = scene_of(a, box)
    assert (scene.width, scene.height) == pytest.approx((box.width, box.height))
    for shift, low, high in (((box.x, box.y), 0.0, 4.0), ((box.x + 0.01, box.y), 8.0, 255.0)):
        T = a.T_wc.clone()
        T[:2, 3] -= torch.tensor(shift, dtype=torch.float64)
        again = as_pixels(scene.render(CAMERA, T)[0])
        difference = float(np.abs(again[3:-3, 3:-3].astype(float) - a.rgb[3:-3, 3:-3]).mean())
        assert low <= difference < high


def test_beyond_the_picture_a_scene_has_its_mean_colour() -> None:
    rgb = np.tile(np.array([200, 100, 50], np.uint8), (*CAMERA.size, 1))
    scene = scene_of(picture(beside(0), rgb), common(picture(beside(0)), picture(beside(0.2))))
    assert np.ptp(scene.texture.numpy(), axis=(1, 2)).max() == 0
    torch.testing.assert_close(scene.fill_colour, torch.tensor([200, 100, 50]) / 255)


def test_alignment_is_zero_at_the_goal() -> None:
    T = poses()
    assert float(alignment(CAMERA, T, T).max()) < 1e-9
    assert float(alignment(CAMERA, T, T, (0.0, 0.0)).max()) < 1e-9


def test_alignment_of_a_shift_is_its_pixels_in_percent_of_the_width() -> None:
    shifted = beside(0.03, 0.04)
    expected = 100 * 0.05 * CAMERA.fx / FAR / 320
    torch.testing.assert_close(alignment(CAMERA, frontal(FAR), shifted), torch.tensor(expected).double())
    torch.testing.assert_close(alignment(CAMERA, frontal(FAR), shifted, (0.1, 0.0)), torch.tensor(expected).double())


def test_alignment_counts_what_is_near_the_middle() -> None:
    """Where a camera comes nearer, what is in its image's middle hardly moves."""
    near = beside(0, distance=0.9 * FAR)
    middle, everywhere, aside = (
        float(alignment(CAMERA, frontal(FAR), near, place)) for place in ((0.0, 0.0), None, (0.35, 0.25))
    )
    assert middle < 0.6 * everywhere < 0.5 * aside
    # no point of the goal's view is there: all count
    assert float(alignment(CAMERA, frontal(FAR), near, (3.0, 3.0))) == pytest.approx(everywhere)


def test_alignment_is_infinite_behind_the_camera() -> None:
    batch = torch.stack([frontal(FAR), frontal(FAR) @ AWAY])
    found = alignment(CAMERA, frontal(FAR).expand(2, 4, 4), batch)
    assert float(found[0]) < 1e-9
    assert math.isinf(float(found[1]))


def test_what_views_and_pictures_share() -> None:
    """All corners of the pictures far away, it is the overlap of the views; and half of it where a picture ends in the middle."""
    T_wd = frontal(FAR).expand(4, 4, 4)
    T_wc = torch.stack([beside(0), beside(HALF[0]), beside(3.0), frontal(FAR) @ AWAY])
    far = np.array([[-9, -9], [9, -9], [9, 9], [-9, 9.0]])
    torch.testing.assert_close(shared(CAMERA, T_wd, T_wc, [far]), overlap(CAMERA, T_wd, T_wc), rtol=0, atol=0.04)
    for foot in (far + np.array([9, 0]), (far + np.array([0, 9]))[::-1].copy()):
        assert shared(CAMERA, T_wd, T_wc, [far, foot]).tolist()[:1] == pytest.approx([0.5], abs=0.04)
    assert float(shared(CAMERA, T_wd[:1], T_wc[:1], [far + np.array([9, 0]), far + np.array([0, 9])])) == pytest.approx(
        0.25, abs=0.05
    )
    assert float(shared(CAMERA, T_wd[:1], T_wc[:1], [far + np.array([20, 0])])) == 0
