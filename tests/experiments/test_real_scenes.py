"""What two real pictures of a plane make: a scene, an alignment, what both show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from poses_helpers import AWAY, frontal
from real_helpers import CAMERA, FAR, beside, picture, pixels_at, poses
from siame_se3.errors import SceneError
from siame_se3.experiments.real.planes import alignment, common, footprint, scene_of, shared
from siame_se3.geometry import lie
from siame_se3.images.decode import as_pixels
from siame_se3.scenes.overlap import overlap
from siame_se3.scenes.planar import Scene

# of what a camera square to the plane sees, between the middles of the outer pixels [m]
HALF = 159.5 / CAMERA.fx * FAR, 119.5 / CAMERA.fx * FAR


def test_what_a_picture_shows_of_the_plane() -> None:
    x, y = HALF
    corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    np.testing.assert_allclose(footprint(picture(beside(0.3, 0.1))), corners + np.array([0.3, 0.1]))


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
