"""Depth of a view: a number a run, or a map."""

import pytest
import torch

from siame_se3.laws.types import View

_IMAGE = torch.zeros(2, 3, 6, 9)


def test_a_number_is_the_distance():
    view = View(_IMAGE, depth=torch.tensor([0.5, 0.7]))
    assert view.depth_map is None
    torch.testing.assert_close(view.distance, torch.tensor([0.5, 0.7]))


def test_of_a_map_the_middle_counts_and_holes_do_not():
    depth = torch.full((2, 6, 9), 2.0)
    depth[0, 2:4, 3:6] = torch.tensor([[1.0, 1.0, torch.nan], [torch.nan, 1.2, 1.0]])
    depth[1, 2:4, 3:6] = torch.nan
    view = View(_IMAGE, depth=depth)
    assert view.depth_map is depth
    torch.testing.assert_close(view.distance, torch.tensor([1.0, 2.0]))
    assert View(_IMAGE, depth=torch.full((2, 6, 9), torch.nan)).distance.isnan().all()


def test_a_map_goes_with_its_runs():
    depth = torch.arange(2.0)[:, None, None].expand(2, 6, 9) + 1
    view = View(_IMAGE, depth=depth)
    assert view.batch == (2,)
    assert view[torch.tensor([1])].depth.shape == (1, 6, 9)
    assert View(_IMAGE[None], depth=depth[None]).flat().depth.shape == (2, 6, 9)
    assert View(_IMAGE[0], depth=depth[0]).flat().depth.shape == (1, 6, 9)
    assert view.provides == {"image", "depth"}


def test_a_hole_is_no_distance() -> None:
    """0 and infinity are holes, as laws take them."""
    depth = torch.full((1, 9, 9), 0.7)
    depth[:, 3:6, 3:6] = torch.tensor([[0.0, torch.inf, 0.0], [0.0, 0.8, 0.0], [torch.nan, 0.0, -1.0]])
    view = View(torch.rand(1, 3, 9, 9), depth=depth)
    assert float(view.distance[0]) == pytest.approx(0.8)  # type: ignore[index]  # it has one
    depth[:, 4, 4] = 0.0
    assert float(view.distance[0]) == pytest.approx(0.7)  # type: ignore[index]
