from __future__ import annotations

import math

import pytest
import torch

from siame_se3.experiments import confidence
from siame_se3.experiments.confidence import area, depth_looks, fitted, looks, misplaced
from siame_se3.geometry.camera import default_camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.registry import controller_for
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.registry import coffee
from siame_se3.scenes.relief import Relief


def test_area_is_the_chance_of_the_right_order() -> None:
    right, wrong = torch.tensor([0.9, 0.5]), torch.tensor([0.1, 0.5, 0.6, 0.95])
    assert area(right, wrong) == pytest.approx((3 + 1.5) / 8)
    assert math.isnan(area(right, torch.zeros(0)))


def test_misplaced_is_a_share_of_the_width() -> None:
    camera = default_camera()
    _, T_wc = draw_starts("table1", 3, coffee(), camera, Workspace(), 0)
    T_wd, _ = draw_starts("table1", 3, coffee(), camera, Workspace(), 0)
    true = homography(camera, T_wc, T_wd)
    aside = torch.eye(3, dtype=torch.float64)
    aside[0, 2] = 0.1 * camera.width
    assert float(misplaced(camera, true, true).max()) < 1e-12
    assert misplaced(camera, aside @ true, true) == pytest.approx([0.1] * 3)


def test_each_look_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 160 photos those of the second condition had seeds of the first one's."""
    seeds: list[int] = []

    def look(law: object, goal: object, world: object, condition: str, count: int, seed: int) -> confidence.Looks:
        seeds.append(seed)
        return confidence.Looks(*(torch.zeros(0),) * 4)

    monkeypatch.setattr(confidence, "looks", look)
    monkeypatch.setattr(confidence, "_unasked", lambda: None)
    monkeypatch.setattr(confidence, "_print_fit", lambda X, right: None)
    confidence.fit([coffee()] * (confidence.SEEN + confidence.TEXTURES), 1, 5000)
    assert len(set(seeds)) == len(seeds) == 160 * (len(confidence.CONDITIONS) + 2)


@pytest.mark.slow
def test_it_is_right_on_its_own_photo_and_stands_still_on_another_one() -> None:
    scene, law = coffee(), controller_for("auto")
    own = looks(law, scene, scene, "table1", 2, 5)
    assert bool(own.right.all())
    assert float(own.confidence.min()) > 0.5
    assert bool(own.features.isfinite().all())
    noise = torch.rand(3, 300, 400, generator=torch.Generator().manual_seed(0))
    other = looks(law, scene, Scene(noise, 0.8, 0.6, "noise"), "table1", 2, 5)
    assert not bool(other.moves.any() | other.right.any())


def test_fitted_weights_are_those_that_the_answers_came_from() -> None:
    generator = torch.Generator().manual_seed(3)
    X = torch.tensor([0.5, 3.0]) + torch.tensor([0.2, 1.5]) * torch.randn(20_000, 2, generator=generator)
    true = torch.tensor([8.0, -0.7, -1.0])
    right = torch.rand(len(X), generator=generator) < torch.sigmoid(X @ true[:2] + true[2])
    found = fitted(X.double(), right)
    assert found.tolist() == pytest.approx(true.tolist(), rel=0.1)


@pytest.mark.slow
def test_looks_at_a_relief_know_their_own_and_no_other() -> None:
    own, other = (Relief.drawn(coffee(), 0.1, seed) for seed in (1, 2))
    mine = depth_looks(own, own, "table1", 2, 5)
    assert bool(mine.right.all())
    assert bool(mine.features.isfinite().all())
    noise = Scene(torch.rand(3, 300, 400, generator=torch.Generator().manual_seed(0)), 0.8, 0.6, "noise")
    theirs = depth_looks(own, Relief.drawn(noise, 0.1, 2), "table1", 2, 5)
    assert not bool(theirs.moves.any() | theirs.right.any())
    # another relief under the same photo is another world, however alike
    assert not bool(depth_looks(own, other, "table1", 1, 5).right.any())
