"""Runs that are served together are what each of them is alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from loop_helpers import NEVER, desired, run, starts, unequal_starts
from siame_se3.geometry.camera import Camera
from siame_se3.laws.neural import Neural
from siame_se3.laws.pose import PBVS, TEACHERS
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import OpenVinoEngine, TorchEngine
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

SHAPES = [(), (1,), (3, 2)]


def assert_run_is(alone: Trajectory, batch: Trajectory, k: int, atol: float) -> None:
    """Run k of the batch is the one served alone."""
    count = int(alone.iterations)
    assert int(batch.iterations[k]) == count
    assert batch.reason[k] == alone.reason[0]
    for mine, theirs, rows in (
        (alone.T_wc, batch.T_wc, count + 1),
        (alone.twist, batch.twist, count),
        (alone.applied, batch.applied, count),
    ):
        torch.testing.assert_close(mine[:rows, 0], theirs[:rows, k], rtol=0, atol=atol)
    # What ended stands still.
    assert bool((batch.T_wc[count:, k] == batch.T_wc[count, k]).all())
    assert not bool(batch.twist[count:, k].any())
    assert batch.active[:, k].tolist() == [i < count for i in range(len(batch.active))]


@pytest.mark.parametrize("law", TEACHERS)
def test_n_runs_are_n_times_one_run(law: str) -> None:
    T_wd, T_wc = desired(12), unequal_starts(12)
    batch = run(TEACHERS[law], T_wd, T_wc, gain_at_rest=8.0)
    assert len(set(batch.iterations.tolist())) > 6
    assert set(batch.reason) == {"settled"}
    # PBVS and 2.5d are exact; IBVS's pseudo-inverse of a batch rounds otherwise than of one.
    atol = 1e-9 if law == "ibvs" else 0
    for k in range(12):
        alone = run(TEACHERS[law], T_wd[k : k + 1], T_wc[k : k + 1], gain_at_rest=8.0)
        assert_run_is(alone, batch, k, atol)


def test_images_do_not_mix_the_runs(scene: Scene, camera: Camera) -> None:
    """As above, with the plant that renders."""
    T_wd, T_wc = desired(6), unequal_starts(6)
    plant = FlyingCameras(scene, camera)
    batch = servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig())
    for k in range(6):
        alone = servo(plant, PBVS(), plant.look(T_wd[k : k + 1]), T_wc[k : k + 1], ServoConfig())
        assert_run_is(alone, batch, k, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_batch_axes_become_one(shape: tuple[int, ...]) -> None:
    T_wd, T_wc = desired(*shape), starts(*shape)
    trajectory = run(PBVS(), T_wd, T_wc, max_iterations=300)
    steps, n = len(trajectory.twist), math.prod(shape)
    assert trajectory.T_wc.shape == (steps + 1, n, 4, 4)
    assert trajectory.T_wd.shape == (n, 4, 4)
    assert trajectory.twist.shape == trajectory.applied.shape == (steps, n, 6)
    assert trajectory.active.shape == (steps, n)
    assert trajectory.iterations.shape == (n,)
    assert trajectory.step_seconds.shape == (steps,)
    assert trajectory.reason == ["settled"] * n
    assert torch.equal(trajectory.T_wc[0], T_wc.reshape(n, 4, 4))
    flat = run(PBVS(), T_wd.reshape(n, 4, 4), T_wc.reshape(n, 4, 4), max_iterations=300)
    assert torch.equal(trajectory.T_wc, flat.T_wc)


@pytest.fixture(scope="module")
def network(tiny: NetworkConfig) -> SiameseNetwork:
    """Random weights: it leads nowhere, but every pixel counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(tiny).eval()
        network.head[-1].weight.data *= 30  # type: ignore[operator]  # nn.Sequential is typed as Module
    return network


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("output", ["velocity", "pose"])
def test_n_neural_runs_are_n_times_one_run(
    scene: Scene, camera: Camera, network: SiameseNetwork, engine: str, output: Any
) -> None:
    """Convolutions of a batch round otherwise than of one image: by 3e-7 after 25 steps of 1 mm and 2 mrad here."""
    controller = Neural(TorchEngine(network) if engine == "torch" else OpenVinoEngine(network, "f32", 1), output)
    plant = FlyingCameras(scene, camera)
    T_wd, T_wc = desired(3, 2), starts(3, 2)
    config = ServoConfig(max_iterations=25, **NEVER)
    batch = servo(plant, controller, plant.look(T_wd), T_wc, config)
    assert batch.reason == ["iterations"] * 6
    assert float(batch.twist.norm(dim=-1).min()) > 1e-3
    for k, place in enumerate((i, j) for i in range(3) for j in range(2)):
        alone = servo(plant, controller, plant.look(T_wd[place]), T_wc[place], config)
        assert alone.T_wc.shape == (26, 1, 4, 4)
        assert_run_is(alone, batch, k, atol=2e-6)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_neural_law_settles_at_the_goal(scene: Scene, camera: Camera, network: SiameseNetwork, engine: str) -> None:
    controller = Neural(TorchEngine(network) if engine == "torch" else OpenVinoEngine(network, "f32", 1))
    plant = FlyingCameras(scene, camera)
    trajectory = servo(plant, controller, plant.look(desired(2)), desired(2), ServoConfig(settle_steps=3))
    assert trajectory.reason == ["settled"] * 2
    assert trajectory.iterations.tolist() == [3, 3]
    assert float(trajectory.error_norms[0].max()) < 1e-6
