from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import siame_se3.training.trainer
from siame_se3.errors import InputError, ModelError, TrainingError
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.training.recipe import TrainConfig
from siame_se3.training.trainer import Trainer
from training_helpers import PLAIN, advanced, assert_bit_equal, problem, state_of, trainer_of


@pytest.mark.parametrize(("pooling", "precision"), [("spatial", "f32"), ("homography", "bf16"), ("descriptors", "f32")])
@pytest.mark.slow
def test_a_short_training_learns(pooling: str, precision: str) -> None:
    """Whole ones are below, and take some seconds."""
    data = {"curriculum": 0.0, "near": 0.0, "augmentation": replace(PLAIN, noise=0.0)}
    data |= {"most_pairs": 40} if pooling == "descriptors" else {}
    contrast = 0.0 if pooling == "spatial" else 0.2
    trainer = trainer_of(50, data, pooling=pooling, precision=precision, contrast=contrast, lr=3e-3)
    losses, errors = zip(*(trainer.advance() for _ in range(50)), strict=True)
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])  # 0.56 to 0.58 after 60 steps
    where = "match" if pooling == "descriptors" else "where"
    assert sum(e[where] for e in errors[-10:]) < 0.75 * sum(e[where] for e in errors[:10])


@pytest.mark.slow
@pytest.mark.parametrize(("optimiser", "precision"), [("muon", "f32"), ("adamw", "f32"), ("muon", "bf16")])
def test_loss_falls(optimiser: str, precision: str) -> None:
    trainer = trainer_of(150, {"curriculum": 0.0, "near": 0.0}, optimiser=optimiser, precision=precision, lr=3e-3)
    losses, errors = zip(*(trainer.advance() for _ in range(150)), strict=True)
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])  # 0.56 to 0.64 here, over two seeds
    for name, share in (("v_xy", 0.85), ("v_z", 0.6), ("w_xy", 0.9), ("where", 0.4)):
        assert sum(e[name] for e in errors[-10:]) < share * sum(e[name] for e in errors[:10])


@pytest.mark.slow
def test_homography_pooling_learns_where_and_so_the_velocity() -> None:
    trainer = trainer_of(150, {"curriculum": 0.0, "near": 0.0}, pooling="homography", contrast=0.2, lr=3e-3)
    assert trainer.where is None  # the cells are the network's own
    errors = [trainer.advance()[1] for _ in range(150)]
    for name, share in (("v_z", 0.8), ("where", 0.6)):
        assert sum(e[name] for e in errors[-10:]) < share * sum(e[name] for e in errors[:10])


@pytest.mark.slow
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


def test_result_is_the_average(tmp_path: Path) -> None:
    averaged, last = trainer_of(5, average=0.99), trainer_of(5, average=0.0)
    for trainer in (averaged, last):
        advanced(trainer, 5)
    state = state_of(averaged, tmp_path)
    result = averaged.result().state_dict()
    assert all(torch.equal(result[k], state[f"average.{k}"]) for k in result)
    result, state = last.result().state_dict(), state_of(last, tmp_path)
    assert all(torch.equal(result[k], state[f"network.{k}"]) for k in result)
    assert not torch.equal(result["head.0.weight"], averaged.result().state_dict()["head.0.weight"])


@pytest.mark.parametrize("average", [0.0, 0.99])
def test_the_result_is_a_copy_that_its_owner_may_move(average: float) -> None:
    """As an engine for another device does, which trains no further."""
    trainer, alone = (advanced(trainer_of(5, average=average), 2) for _ in range(2))
    kept = copy.deepcopy(trainer.result().state_dict())
    result = trainer.result()
    assert not result.training
    assert next(result.parameters()).device == trainer.data.device
    result.to("meta").train()
    assert all(torch.equal(value, kept[name]) for name, value in trainer.result().state_dict().items())
    losses = [t.advance()[0] for t in (trainer, alone)]
    assert losses[0] == losses[1]


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


def test_groups_that_processes_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siame_se3.training.trainer, "world", lambda: (0, 2))
    with pytest.raises(TrainingError, match=r"3 groups.*2 processes"):
        trainer_of(data={"groups": 3})


def test_where_needs_a_map(tmp_path: Path) -> None:
    network = NetworkConfig("test_resnet", 32, pooling="average", head=(32,))
    with pytest.raises(InputError, match="where"):
        Trainer(network, LossConfig(where=1.0), problem(), TrainConfig(steps=1))


def test_a_trainer_needs_a_number_of_steps() -> None:
    with pytest.raises(TrainingError, match="number of steps") as caught:
        Trainer(NetworkConfig("test_resnet", 32, head=(32,)), LossConfig(), problem(), TrainConfig())
    assert caught.value.settings == ("steps",)


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


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ModelError, match="another network"):
        started_from(trainer_of(pooling="homography").network.state_dict())


def test_a_network_kept_without_its_head_has_the_same_poses() -> None:
    network = NetworkConfig("test_resnet", 32, stride=16, head=(8,))
    kept = [
        Trainer(network, LossConfig(), problem(), TrainConfig(steps=4, kept=kind, average=0.0))
        for kind in ("trained", "geometric")
    ]
    with_head, without = (advanced(trainer, 2).result() for trainer in kept)
    assert (with_head.config.fusion, without.config.fusion) == ("relative", "geometric")
    assert not without.training
    assert not [name for name in without.state_dict() if name.startswith("head.")]
    images = problem().batch(0, 0).images
    s = with_head.embed(images)
    assert torch.equal(without.embed(images), s)
    R, t = without.poses(s)
    assert float((R @ R.mT - torch.eye(3)).abs().max()) < 1e-4
    assert t.shape == (8, 3)


@pytest.mark.parametrize("pooling", ["spatial", "descriptors"])
def test_networks_without_poses_are_kept_as_they_were_trained(pooling: str) -> None:
    trainer = trainer_of(kept="geometric", pooling=pooling)
    assert trainer.result().config == trainer.network.config
