from __future__ import annotations

import math

import pytest
import torch

from siame_se3.analysis import style as figures
from siame_se3.geometry import lie
from siame_se3.page import style
from siame_se3.page.images import _BORDER, strip
from siame_se3.page.space import pose_of, wxyz_of


@pytest.mark.parametrize(
    "rotation",
    [
        (0.0, 0.0, 0.0),
        (0.3, -0.2, 0.9),
        (math.pi, 0.0, 0.0),
        (0.0, math.pi, 0.0),
        (0.0, 0.0, math.pi),
        (1e-9, 0.0, 0.0),
        (2.0, 2.0, 0.5),
        (-1.8, 1.2, -2.0),
    ],
)
def test_a_quaternion_turns_as_its_rotation_does(rotation: tuple[float, float, float]) -> None:
    T = lie.pose_from_vector(torch.tensor([0.1, 0.2, 0.3, *rotation], dtype=torch.float64))
    w, x, y, z = wxyz_of(T)
    assert w * w + x * x + y * y + z * z == pytest.approx(1)
    angle = math.sqrt(sum(a * a for a in rotation))
    assert abs(w) == pytest.approx(abs(math.cos(angle / 2)), abs=1e-7)
    torch.testing.assert_close(pose_of((w, x, y, z), (0.1, 0.2, 0.3)), T, atol=1e-9, rtol=0)
    torch.testing.assert_close(pose_of((-2 * w, -2 * x, -2 * y, -2 * z), (0.1, 0.2, 0.3)), T, atol=1e-9, rtol=0)


def test_a_strip_is_goal_current_and_difference_in_their_colours() -> None:
    goal, image = torch.rand(3, 6, 8), torch.rand(3, 6, 8)
    pixels = strip(goal, image, style.TRACKS[0])
    side = 8 + 2 * _BORDER
    assert pixels.shape == (6 + 2 * _BORDER, 3 * side, 3)
    for k, (colour, part) in enumerate(
        ((figures.GREEN, goal), (figures.BLUE, image), (figures.GREY, figures.difference(image, goal)))
    ):
        assert tuple(pixels[0, k * side]) == style.rgb(colour)
        shown = torch.from_numpy(pixels[_BORDER:-_BORDER, k * side + _BORDER : (k + 1) * side - _BORDER].copy())
        torch.testing.assert_close(shown.permute(2, 0, 1).float() / 255, part, atol=0.51 / 255, rtol=0)


def test_without_a_goal_or_with_one_of_another_size_it_has_the_same_size() -> None:
    image = torch.rand(3, 6, 8)
    assert strip(None, image, "#000000").shape == strip(image, image, "#000000").shape
    assert strip(torch.rand(3, 12, 16), image, "#000000").shape == strip(image, image, "#000000").shape


def test_what_is_said_is_text_and_no_html() -> None:
    assert "<script>" not in style.lines_of(["<script>alert(1)</script>"])
    assert "&lt;b&gt;" in style.heading("<b>")
