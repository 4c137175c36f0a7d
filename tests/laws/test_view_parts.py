"""What a view provides, and the parts of some of its runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from trajectory_helpers import randn


def view_of(*shape: int) -> View:
    return View(torch.rand(*shape, 3, 4, 5), lie.exp(randn(*shape, 6)), randn(*shape).abs(), Camera.from_focal(5, 5, 4))


@pytest.mark.parametrize(
    ("without", "provides"),
    [((), {"image", "pose", "depth"}), (("image",), {"pose", "depth"}), (("T_wc", "depth"), {"image"}), (("image", "T_wc", "depth"), set())],
)  # fmt: skip
def test_view_provides_what_is_there(without: tuple[str, ...], provides: set[str]) -> None:
    assert dataclasses.replace(view_of(2), **dict.fromkeys(without)).provides == provides


@pytest.mark.parametrize(
    ("index", "shape"),
    [(0, (2,)), (slice(1, 3), (2, 2)), (torch.tensor([2, 0]), (2, 2)), ((torch.tensor([2, 0]), torch.tensor([1, 1])), (2,))],
)  # fmt: skip
def test_index_takes_runs_from_all_parts(index: Any, shape: tuple[int, ...]) -> None:
    view = view_of(3, 2)
    part = view[index]
    assert part.image is not None
    assert part.T_wc is not None
    assert part.depth is not None
    assert view.image is not None
    assert view.T_wc is not None
    assert part.image.shape == (*shape, 3, 4, 5)
    assert part.T_wc.shape == (*shape, 4, 4)
    assert part.depth.shape == shape
    assert torch.equal(part.image, view.image[index])
    assert torch.equal(part.T_wc, view.T_wc[index])
    assert part.camera is view.camera


def test_index_leaves_out_what_is_not_there() -> None:
    part = View(T_wc=lie.exp(randn(3, 6)))[1:]
    assert part.provides == {"pose"}
