from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from siame_se3.networks.losses import LossConfig
from siame_se3.training.processes import deterministic, process_group, world
from siame_se3.training.recipe import TrainConfig
from siame_se3.training.trainer import Trainer
from training_helpers import (
    advanced,
    assert_bit_equal,
    finish,
    metadata_of,
    network_of,
    problem,
    run_from,
    start,
    state_of,
    trainer_of,
)


def saved_step(path: Path) -> int:
    try:
        return int(metadata_of(path)["step"])
    except (FileNotFoundError, SafetensorError, OSError, RuntimeError):
        return 0  # not there yet; or replaced, by a longer one, between safetensors' looks at its head and at the rest


def runs(process: Path) -> bool:
    """By its folder in /proc."""
    try:
        return "Z (" not in (process / "status").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc")
def test_processes_that_plan_end_with_the_training(tmp_path: Path) -> None:
    """Killed, it cannot end them; each has PyTorch loaded."""
    process = start("ahead", tmp_path / "children", 10**6)
    until = time.monotonic() + 60
    while not (tmp_path / "children").is_file() or not (tmp_path / "children").read_text():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < until
        time.sleep(0.05)
    children = [Path("/proc") / pid for pid in (tmp_path / "children").read_text().split()]
    assert len(children) == 2
    assert all(map(runs, children))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    until = time.monotonic() + 20
    while any(map(runs, children)):
        assert time.monotonic() < until, "a process that plans outlives the training"
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_training_goes_on_bit_equal(tmp_path: Path) -> None:
    steps, path, rng = 40, tmp_path / "model.state", random.Random(0)
    reached = 0
    for _ in range(2):
        process = start("train", path, steps)
        until = reached + rng.randint(3, 12)
        while saved_step(path) < until:
            assert process.poll() is None, "the training ended before it could be killed"
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        reached = saved_step(path)
        assert until <= reached < steps
    finish(start("train", path, steps))
    assert saved_step(path) == steps
    whole = trainer_of(steps)
    run_from(whole, tmp_path / "whole.state")
    assert_bit_equal(load_file(path), state_of(whole, tmp_path))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    """Bit for bit: a step adds two halves, and a sum of two numbers does not depend on their order."""
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [start("share", tmp_path / "state", 3, RANK=str(rank), **address) for rank in range(2)]
    alone = state_of(advanced(trainer_of(data={"groups": 2}), 3), tmp_path)
    for process in processes:
        finish(process)
    for rank in range(2):
        shared = load_file(tmp_path / f"state.{rank}")
        # Each process counts its own batches; nothing reads the counters.
        counters = {key: value for key, value in alone.items() if key.endswith("num_batches_tracked")}
        assert len(counters) > 10
        assert_bit_equal({**shared, **counters}, alone)


def test_one_process_needs_no_group() -> None:
    assert world() == (0, 1)
    with process_group(torch.device("cpu")):
        assert world() == (0, 1)


@pytest.fixture
def default_threads() -> Iterator[int]:
    """As many as PyTorch takes by itself, two at least; the other tests have one."""
    before, threads = torch.get_num_threads(), max(2, os.cpu_count() or 2)
    torch.set_num_threads(threads)
    yield threads
    torch.set_num_threads(before)


def test_gradients_of_views_in_many_pairs_repeat_themselves(default_threads: int) -> None:
    """The operation that does not by itself: with several threads the gradient of x[index] is summed in any order."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(64, (4032,), generator=generator)
    weight = torch.randn(4032, 256, generator=generator)

    def gradient() -> torch.Tensor:
        x = torch.zeros(64, 256, requires_grad=True)
        with deterministic(True, torch.device("cpu")):
            (x[index] * weight).sum().backward()
        assert x.grad is not None
        return x.grad

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(20))
    exact = torch.zeros(64, 256, dtype=torch.float64).index_add_(0, index, weight.double())
    torch.testing.assert_close(first.double(), exact, rtol=0, atol=1e-4)


def test_determinism_ends_with_its_block() -> None:
    before = torch.get_deterministic_debug_mode()

    def inside() -> None:
        with deterministic(True, torch.device("cpu")):
            assert torch.are_deterministic_algorithms_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert torch.get_deterministic_debug_mode() == before
    with deterministic(False, torch.device("cpu")):
        assert torch.get_deterministic_debug_mode() == before


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "views"), [("homography", 64), ("descriptors", 12)])
def test_undisturbed_trainings_are_bit_equal_with_the_default_threads(
    tmp_path: Path, default_threads: int, pooling: str, views: int
) -> None:
    """All pairs of 64 views, and a head as wide as the default one's: with few numbers only one thread works."""

    def trained() -> Trainer:
        network = replace(network_of(pooling, 0.2), head=(512, 256))
        train = TrainConfig(steps=3, precision="bf16")
        return advanced(Trainer(network, LossConfig(), problem(views=views), train), 3)

    assert_bit_equal(state_of(trained(), tmp_path), state_of(trained(), tmp_path))


def test_fast_trainings_take_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch, "set_deterministic_debug_mode", lambda mode: asked.append(mode != 0))
    advanced(trainer_of(fast=True), 1)
    assert True not in asked
    advanced(trainer_of(), 1)
    assert True in asked
