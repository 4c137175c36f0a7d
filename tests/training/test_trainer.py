from __future__ import annotations

import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import siame_se3
import siame_se3.training.trainer
from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource, DataConfig
from siame_se3.training.trainer import Progress, TrainConfig, Trainer, process_group, steps_in, train, world

FUZZ = settings(derandomize=True, deadline=None, max_examples=60)
PLAIN = Augmentation(lamps=0, occlusion_rate=0, noise=0.01, gain=0.05, bias=0.02)
# For processes of their own: the same few lines as in this one.
SCRIPT = "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/training']; import test_trainer; test_trainer.work(*sys.argv[2:])"


def problem(seed: int = 3, **changes: Any) -> BatchSource:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(coarse, size=(60, 80), mode="bicubic", align_corners=False).clamp(0, 1)[0]
    options = {"views": 8, "near": 0.25, "near_weight": 2.0, "spread": (1.0, 1.0), "augmentation": PLAIN} | changes
    camera = Camera.from_focal(300, 224).resized(32)
    return BatchSource([Scene(texture.contiguous(), 0.8, 0.6)], camera, Workspace(), DataConfig(**options), seed)


def trainer_of(
    steps: int = 6,
    data: dict[str, Any] | None = None,
    where: float = 1.0,
    pooling: Any = "spatial",
    contrast: float = 0.0,
    **changes: Any,
) -> Trainer:
    network = NetworkConfig("test_resnet", 32, local_contrast=contrast, stride=16, squeeze=8, embedding=32, head=(32,))
    network = replace(
        network, pooling=pooling, **({"fusion": "matching", "stride": 4} if pooling == "descriptors" else {})
    )
    config = TrainConfig(**({"steps": steps, "precision": "f32", "checkpoint_seconds": 0.0} | changes))
    return Trainer(network, LossConfig(near=0.2, where=where), problem(**(data or {})), config)


def advanced(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.advance()
    return trainer


def work(task: str, path: str, steps: str) -> None:
    """What the processes that this file starts do."""
    torch.set_num_threads(1)
    if task == "train":
        train(trainer_of(int(steps)), Path(path))
    else:
        with process_group(torch.device("cpu")):
            assert world()[1] == 2
            trainer = advanced(trainer_of(data={"groups": 2}), int(steps))
            trainer.save(Path(f"{path}.{world()[0]}"))


def start(task: str, path: Path, steps: int, **environment: str) -> subprocess.Popen[bytes]:
    source = str(Path(siame_se3.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | environment
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), task, str(path), str(steps)]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def state_of(trainer: Trainer, folder: Path) -> dict[str, Tensor]:
    trainer.save(folder / "compared.state")
    return load_file(folder / "compared.state")


def assert_bit_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert not [key for key in a if not torch.equal(a[key], b[key])]


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "model.state"
    advanced(trainer_of(), 2).save(path)
    return path


@pytest.mark.parametrize(("optimiser", "precision"), [("muon", "f32"), ("adamw", "f32"), ("muon", "bf16")])
def test_loss_falls(optimiser: str, precision: str) -> None:
    trainer = trainer_of(150, {"curriculum": 0.0, "near": 0.0}, optimiser=optimiser, precision=precision, lr=3e-3)
    losses, errors = zip(*(trainer.advance() for _ in range(150)), strict=True)
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])  # 0.56 to 0.64 here, over two seeds
    for name, share in (("v_xy", 0.85), ("v_z", 0.6), ("w_xy", 0.9), ("where", 0.4)):
        assert sum(e[name] for e in errors[-10:]) < share * sum(e[name] for e in errors[:10])


def test_homography_pooling_learns_where_and_so_the_velocity() -> None:
    trainer = trainer_of(150, {"curriculum": 0.0, "near": 0.0}, pooling="homography", contrast=0.2, lr=3e-3)
    assert trainer.where is None  # the cells are the network's own
    errors = [trainer.advance()[1] for _ in range(150)]
    for name, share in (("v_z", 0.8), ("where", 0.6)):
        assert sum(e[name] for e in errors[-10:]) < share * sum(e[name] for e in errors[:10])


def test_matching_learns_which_cells_are_the_same_and_so_the_velocity() -> None:
    data = {"curriculum": 0.0, "near": 0.0, "most_pairs": 40, "augmentation": replace(PLAIN, noise=0.0)}
    trainer = trainer_of(150, data, pooling="descriptors", contrast=0.2, lr=3e-3)
    assert trainer.where is None
    errors = [trainer.advance()[1] for _ in range(150)]
    for name, share in (("v_xy", 0.85), ("match", 0.4)):  # 0.66 and 0.25 here
        assert sum(e[name] for e in errors[-10:]) < share * sum(e[name] for e in errors[:10])


def test_errors_are_named_and_in_metres_and_radians() -> None:
    trainer = trainer_of(where=0.0)
    batch = trainer.data.batch(0, 0, 0.0)
    loss, errors = trainer.advance()
    assert list(errors) == ["v_xy", "v_z", "w_xy", "w_z"]
    assert math.isfinite(loss)
    # The network starts near zero: errors are then about the size of the targets.
    assert errors["w_z"] == pytest.approx(float(batch.target[:, 5].abs().mean()), rel=0.3)
    assert errors["v_z"] == pytest.approx(float(batch.target[:, 2].abs().mean()), rel=0.3)


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize(("where", "pooling"), [(0.0, "spatial"), (1.0, "spatial"), (1.0, "descriptors")])
def test_resumed_training_is_bit_equal(
    tmp_path: Path, optimiser: str, precision: str, where: float, pooling: str
) -> None:
    def trainer() -> Trainer:
        return trainer_of(6, where=where, pooling=pooling, optimiser=optimiser, precision=precision)

    whole = state_of(advanced(trainer(), 6), tmp_path)
    advanced(trainer(), 2).save(tmp_path / "model.state")
    resumed = trainer()
    resumed.load(tmp_path / "model.state")
    assert resumed.step == 2
    assert_bit_equal(state_of(advanced(resumed, 4), tmp_path), whole)


def test_state_is_all_there_is(tmp_path: Path) -> None:
    trainer = advanced(trainer_of(), 2)
    before = state_of(trainer, tmp_path)
    other = trainer_of()
    other.load(tmp_path / "compared.state")
    assert_bit_equal(state_of(other, tmp_path), before)
    assert (other.step, other.seconds, other.shares) == (trainer.step, trainer.seconds, trainer.shares)
    kinds = {key.split(".")[0] for key in before}
    assert kinds == {"network", "average", "loss", "where", "optimiser"}


def test_same_seed_same_training(tmp_path: Path) -> None:
    first = state_of(advanced(trainer_of(), 3), tmp_path)
    torch.manual_seed(99)
    assert_bit_equal(state_of(advanced(trainer_of(), 3), tmp_path), first)
    other = state_of(advanced(trainer_of(data={"seed": 4}), 3), tmp_path)
    assert not torch.equal(other["network.head.0.weight"], first["network.head.0.weight"])


def test_global_random_numbers_are_left_alone() -> None:
    before = torch.random.get_rng_state()
    advanced(trainer_of(), 1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("average", [0.0, 0.99])
def test_evaluations_do_not_disturb_the_training(tmp_path: Path, average: float) -> None:
    seen: list[int] = []

    def look(network: torch.nn.Module, step: int) -> None:
        assert not network.training
        seen.append(step)

    disturbed, alone = (trainer_of(8, average=average, evaluations=4) for _ in range(2))
    train(disturbed, evaluate=look)
    train(alone)
    assert seen == [2, 4, 6, 8]
    assert_bit_equal(state_of(disturbed, tmp_path), state_of(alone, tmp_path))


def test_train_goes_on_from_its_state_and_reports(tmp_path: Path) -> None:
    path = tmp_path / "model.state"
    whole = trainer_of(6, log_every=2)
    told: list[Progress] = []
    train(whole, path, told.append)
    assert [p.step for p in told] == [2, 4, 6]
    assert [p.images for p in told] == [16, 32, 48]
    assert told[0].steps == 6
    assert 0 < sum(told[-1].shares.values()) < 1
    assert 0 < told[0].seconds < told[-1].seconds
    finished = trainer_of(6, log_every=2)
    again: list[Progress] = []
    train(finished, path, again.append)
    assert not again
    assert_bit_equal(state_of(finished, tmp_path), state_of(whole, tmp_path))


def test_result_is_the_average(tmp_path: Path) -> None:
    averaged, last = trainer_of(5, average=0.99), trainer_of(5, average=0.0)
    for trainer in (averaged, last):
        advanced(trainer, 5)
    state = state_of(averaged, tmp_path)
    result = averaged.result().state_dict()
    assert all(torch.equal(result[k], state[f"average.{k}"]) for k in result)
    result = last.result().state_dict()
    assert all(torch.equal(result[k], state_of(last, tmp_path)[f"network.{k}"]) for k in result)
    assert not torch.equal(result["head.0.weight"], averaged.result().state_dict()["head.0.weight"])


def test_average_is_of_the_weights_so_far() -> None:
    trainer = trainer_of(5, average=0.99)
    expected = trainer.network.head[0].weight.detach().clone()
    for step in range(1, 5):
        trainer.advance()
        decay = step / (step + 9)
        expected = decay * expected + (1 - decay) * trainer.network.head[0].weight.detach()
    torch.testing.assert_close(trainer.average.head[0].weight, expected, rtol=0, atol=1e-6)


def test_learning_rate_rises_and_falls_to_zero() -> None:
    trainer = trainer_of(100, warmup=0.2)
    shares = []
    for step in range(100):
        trainer.step = step
        shares.append(trainer.lr())
    assert 0.04 < shares[0] < 0.05
    assert shares[19] == pytest.approx(1, abs=1e-12)
    assert shares[99] == pytest.approx(0, abs=1e-12)
    assert shares[:20] == sorted(shares[:20])
    assert shares[19:] == sorted(shares[19:], reverse=True)
    assert shares[59] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("steps", [1, 2])
def test_shortest_trainings_move(steps: int) -> None:
    trainer = trainer_of(steps)
    before = trainer.network.head[0].weight.detach().clone()
    assert math.isfinite(trainer.advance()[0])
    assert float((trainer.network.head[0].weight - before).detach().abs().max()) > 0


@pytest.mark.parametrize(("minutes", "steps"), [(1.004, 1200), (0.12, 140), (0.0001, 20)])
def test_steps_in_is_the_time_over_the_median_step(monkeypatch: pytest.MonkeyPatch, minutes: float, steps: int) -> None:
    durations = iter([9.0, 1.0, 1.0, *[0.05] * 5, 3.0, 0.05, 7.0, 0.01])

    def advance(self: Trainer) -> None:
        self.seconds += next(durations)

    monkeypatch.setattr(Trainer, "advance", advance)
    trainer = trainer_of()
    assert steps_in(minutes, trainer.network_config, trainer.loss_config, trainer.data, trainer.config) == steps


def test_a_loss_that_is_not_finite_names_the_learning_rate(tmp_path: Path) -> None:
    trainer = trainer_of(20, optimiser="adamw", lr=1e30, warmup=0.0)
    with pytest.raises(SiameError, match=r"loss is (nan|inf).*--train\.lr") as caught:
        train(trainer)
    assert "\n" not in str(caught.value)


def test_groups_that_processes_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siame_se3.training.trainer, "world", lambda: (0, 2))
    with pytest.raises(SiameError, match=r"3 groups.*2 processes.*--data\.groups"):
        trainer_of(data={"groups": 3})


def test_where_needs_a_map(tmp_path: Path) -> None:
    network = NetworkConfig("test_resnet", 32, pooling="average", head=(32,))
    with pytest.raises(SiameError, match=r"--loss\.where"):
        Trainer(network, LossConfig(where=1.0), problem(), TrainConfig())


def test_two_groups_are_the_mean_of_each() -> None:
    """Gradients of a step with two groups, from those of each group by itself."""
    gradients = []
    for groups in ([0], [1], [0, 1]):
        trainer = trainer_of(data={"groups": 2}, optimiser="adamw", clip=1e9)
        trainer.my_groups = groups  # type: ignore[assignment]  # a tuple will do for a range here
        trainer.advance()
        gradients.append([p.grad.clone() for p in trainer.network.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for a, b, both in zip(*gradients, strict=True):
        torch.testing.assert_close(a + b, both, rtol=0, atol=1e-6)


OTHER: dict[str, Callable[[], Trainer]] = {
    "data": lambda: trainer_of(data={"views": 10}),
    "train": lambda: trainer_of(lr=1e-4),
    "loss": lambda: trainer_of(where=2.0),
    "seed": lambda: trainer_of(data={"seed": 4}),
    "network": lambda: Trainer(
        NetworkConfig("test_resnet", 32, squeeze=8, embedding=48, head=(32,)),
        trainer_of().loss_config,
        problem(),
        trainer_of().config,
    ),
}


@pytest.mark.parametrize("group", OTHER)
def test_state_of_other_options_is_refused_by_name(saved: Path, group: str) -> None:
    with pytest.raises(SiameError, match=rf"{saved.name}.*\b{group}\b") as caught:
        OTHER[group]().load(saved)
    assert "\n" not in str(caught.value)
    named = str(caught.value).split("(")[1].split(")")[0]
    assert named == group


def assert_refused(path: Path) -> None:
    with pytest.raises(SiameError) as caught:
        trainer_of().load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.state"


@given(st.binary(max_size=200))
@FUZZ
def test_state_of_random_bytes_is_refused(damaged: Path, content: bytes) -> None:
    damaged.write_bytes(content)
    assert_refused(damaged)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_state_cut_short_is_refused(saved: Path, damaged: Path, share: float) -> None:
    content = saved.read_bytes()
    damaged.write_bytes(content[: int(share * len(content))])
    assert_refused(damaged)


def test_model_is_no_state(saved: Path, damaged: Path) -> None:
    trainer = trainer_of()
    checkpoint.save(checkpoint.Model(trainer.result(), trainer.data.camera, 0.6, 0.8), damaged)
    assert_refused(damaged)


@pytest.mark.parametrize("key", ["identity", "step", "seconds", "shares"])
def test_state_without_its_metadata_is_refused(saved: Path, damaged: Path, key: str) -> None:
    for change in ({}, {key: "{"}):
        metadata = {k: v for k, v in metadata_of(saved).items() if k != key} | change
        save_file(load_file(saved), damaged, metadata)
        assert_refused(damaged)


@pytest.mark.parametrize("key", ["network.head.0.weight", "average.head.0.bias", "loss.log_variance"])
def test_state_without_a_weight_is_refused(saved: Path, damaged: Path, key: str) -> None:
    tensors = load_file(saved)
    del tensors[key]
    save_file(tensors, damaged, metadata_of(saved))
    assert_refused(damaged)


def test_state_without_the_optimisers_moments_is_refused(saved: Path, damaged: Path) -> None:
    tensors = {k: v for k, v in load_file(saved).items() if not k.startswith("optimiser.")}
    save_file(tensors, damaged, metadata_of(saved))
    assert_refused(damaged)


def saved_step(path: Path) -> int:
    try:
        return int(metadata_of(path)["step"])
    except (FileNotFoundError, SafetensorError, OSError, RuntimeError):
        return 0  # not there yet; or replaced, by a longer one, between safetensors' looks at its head and at the rest


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
    train(whole)
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


def started_from(weights: dict[str, Tensor]) -> Trainer:
    plain = trainer_of()
    return Trainer(plain.network_config, plain.loss_config, plain.data, plain.config, weights)


@pytest.mark.parametrize("head", [True, False], ids=["whole", "backbone"])
def test_training_starts_from_given_weights(head: bool) -> None:
    given = {k: v + 0.25 for k, v in trainer_of().network.state_dict().items() if v.is_floating_point()}
    kept = {k: v for k, v in given.items() if head or not k.startswith("head.")}
    full = trainer_of().network.state_dict() | kept
    trainer = started_from({k: v for k, v in full.items() if head or not k.startswith("head.")})
    found = trainer.network.state_dict()
    assert all(torch.equal(found[k], v) for k, v in kept.items())
    random = trainer_of().network.state_dict()
    assert head or all(torch.equal(found[k], v) for k, v in random.items() if k.startswith("head."))


def test_a_training_from_other_weights_does_not_go_on(tmp_path: Path) -> None:
    plain = trainer_of()
    given = started_from({k: v * 1.5 for k, v in plain.network.state_dict().items()})
    given.save(tmp_path / "a.state")
    with pytest.raises(SiameError, match="initial"):
        plain.load(tmp_path / "a.state")


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(SiameError, match="another network"):
        started_from(trainer_of(pooling="homography").network.state_dict())
