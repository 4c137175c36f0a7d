from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from siame_se3.errors import TrainingError
from siame_se3.geometry.camera import default_camera
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training import state
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import Callbacks, Progress, fit
from siame_se3.training.recipe import Recipe, TrainConfig, for_photos
from siame_se3.training.state import Begun
from siame_se3.training.trainer import Trainer
from training_helpers import (
    advanced,
    assert_bit_equal,
    few_views,
    metadata_of,
    network_of,
    print_of_colours,
    problem,
    state_of,
    trainer_of,
)

FUZZ = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "model.state"
    state.save(advanced(trainer_of(), 2), path)
    return path


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize(("where", "pooling"), [(0.0, "spatial"), (1.0, "spatial"), (1.0, "descriptors")])
def test_resumed_training_is_bit_equal(
    tmp_path: Path, optimiser: str, precision: str, where: float, pooling: str
) -> None:
    def trainer() -> Trainer:
        return trainer_of(6, where=where, pooling=pooling, optimiser=optimiser, precision=precision)

    whole = state_of(advanced(trainer(), 6), tmp_path)
    state.save(advanced(trainer(), 2), tmp_path / "model.state")
    resumed = trainer()
    state.load(resumed, tmp_path / "model.state")
    assert resumed.step == 2
    assert_bit_equal(state_of(advanced(resumed, 4), tmp_path), whole)


def test_state_is_all_there_is(tmp_path: Path) -> None:
    trainer = advanced(trainer_of(), 2)
    before = state_of(trainer, tmp_path)
    other = trainer_of()
    state.load(other, tmp_path / "compared.state")
    assert_bit_equal(state_of(other, tmp_path), before)
    assert (other.step, other.seconds, other.shares) == (trainer.step, trainer.seconds, trainer.shares)
    kinds = {key.split(".")[0] for key in before}
    assert kinds == {"network", "average", "loss", "where", "optimiser"}


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path, optimiser: str) -> None:
    """A GPU's fused optimiser takes no others."""
    first = advanced(trainer_of(optimiser=optimiser), 1)
    state.save(first, tmp_path / "other.state")
    trainer = trainer_of(optimiser=optimiser)
    state.load(trainer, tmp_path / "other.state")
    seen = 0
    for each in trainer.optimisers:
        for weight, moments in each.state.items():
            for moment in moments.values():
                if moment.shape == weight.shape:
                    assert moment.stride() == weight.stride()
                    seen += moment.ndim == 4
    assert seen > 0 or optimiser == "muon"


@pytest.mark.parametrize("minutes", [None, 0.1, 7.5])
def test_a_state_says_what_was_begun(tmp_path: Path, minutes: float | None) -> None:
    assert state.begun(tmp_path / "model.state") is None
    state.save(advanced(trainer_of(6), 2), tmp_path / "model.state", minutes)
    assert state.begun(tmp_path / "model.state") == Begun(steps=6, done=2, minutes=minutes)


def test_a_state_that_has_not_begun_is_gone_on_from(tmp_path: Path) -> None:
    """It is saved before the first step, with the number of steps that was measured."""
    state.save(trainer_of(), tmp_path / "model.state")
    begun = trainer_of()
    state.load(begun, tmp_path / "model.state")
    assert begun.step == 0
    assert_bit_equal(state_of(advanced(begun, 2), tmp_path), state_of(advanced(trainer_of(), 2), tmp_path))


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
    with pytest.raises(TrainingError, match=rf"{saved.name}.*\b{group}\b") as caught:
        state.load(OTHER[group](), saved)
    assert "\n" not in str(caught.value)
    named = str(caught.value).split("(")[1].split(")")[0]
    assert named == group


def of_the_version_before(path: Path, out: Path) -> None:
    """A state as it was written before photos were cleaned: without the options that have come since."""
    metadata = metadata_of(path)
    identity = json.loads(metadata["identity"])
    del identity["data"]["denoise"], identity["data"]["augmentation"]["bend"]
    del identity["data"]["augmentation"]["surroundings"], identity["train"]["kept"]
    save_file(load_file(path), out, {**metadata, "identity": json.dumps(identity)})


def test_a_training_of_the_version_before_goes_on_with_its_own_settings(tmp_path: Path) -> None:
    """The command has other usual ones now; what was asked for is asked for."""
    place = tmp_path / "model.state"
    begun = Recipe(NetworkConfig("test_resnet", 32, stride=16, head=(8,)), data=DataConfig(views=8)).of_steps(4)
    begun = begun.on(torch.device("cpu"))
    source = BatchSource([print_of_colours()], begun.seen_by, begun.workspace, begun.data, 0)
    state.save(advanced(Trainer(begun.network, begun.loss, source, begun.train), 2), tmp_path / "now.state")
    of_the_version_before(tmp_path / "now.state", place)
    usual = for_photos().network
    now = replace(
        begun,
        network=replace(begun.network, homography=usual.homography),
        data=replace(for_photos().data, views=8),
        train=replace(begun.train, kept=for_photos().train.kept),
    )
    assert state.as_begun(now, place) == begun
    assert state.as_begun(now, tmp_path / "now.state") is now
    assert state.as_begun(now, tmp_path / "none.state") is now
    louder = replace(now, data=replace(now.data, augmentation=replace(now.data.augmentation, noise=0.3)))
    assert state.as_begun(louder, place).data.augmentation == Augmentation(noise=0.3)
    resumed = Trainer(begun.network, begun.loss, source, begun.train)
    state.load(resumed, place)
    assert resumed.step == 2


def test_a_photo_training_begun_by_the_version_before_ends(tmp_path: Path) -> None:
    """Bit for bit as it would have."""
    out, scenes = tmp_path / "model.safetensors", [print_of_colours()]
    train = TrainConfig(steps=4, checkpoint_seconds=0.0, evaluations=0, log_every=1)
    begun = Recipe(network_of(), data=DataConfig(views=8), train=train)
    whole = fit(begun, scenes).model.network.state_dict()

    def stop(p: Progress) -> None:
        if p.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(begun, scenes, out, Callbacks(stop))
    of_the_version_before(state.path_of(out), tmp_path / "older")
    (tmp_path / "older").replace(state.path_of(out))
    now = replace(
        begun,
        network=replace(begun.network, homography=for_photos().network.homography),
        data=replace(for_photos().data, views=8),
    )
    fitted = fit(now, scenes, out)
    assert_bit_equal(fitted.model.network.state_dict(), whole)
    assert fitted.model.card["recipe"]["data"]["denoise"] is False


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    """Whose state is not what is read: what is refused leaves it alone."""
    return trainer_of()


def assert_refused(trainer: Trainer, path: Path) -> None:
    before = trainer.step, {k: v.clone() for k, v in trainer.average.state_dict().items()}
    with pytest.raises(TrainingError) as caught:
        state.load(trainer, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert trainer.step == before[0]
    assert_bit_equal(trainer.average.state_dict(), before[1])


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.state"


@given(st.binary(max_size=200))
@FUZZ
def test_state_of_random_bytes_is_refused(trainer: Trainer, damaged: Path, content: bytes) -> None:
    damaged.write_bytes(content)
    assert_refused(trainer, damaged)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_state_cut_short_is_refused(trainer: Trainer, saved: Path, damaged: Path, share: float) -> None:
    content = saved.read_bytes()
    damaged.write_bytes(content[: int(share * len(content))])
    assert_refused(trainer, damaged)


def test_model_is_no_state(trainer: Trainer, saved: Path, damaged: Path) -> None:
    checkpoint.save(checkpoint.Model(trainer.result(), trainer.data.camera, 0.6, 0.8), damaged)
    assert_refused(trainer, damaged)


@pytest.mark.parametrize("key", ["identity", "step", "seconds", "shares"])
def test_state_without_its_metadata_is_refused(trainer: Trainer, saved: Path, damaged: Path, key: str) -> None:
    for change in ({}, {key: "{"}):
        metadata = {k: v for k, v in metadata_of(saved).items() if k != key} | change
        save_file(load_file(saved), damaged, metadata)
        assert_refused(trainer, damaged)


@pytest.mark.parametrize("key", ["network.head.0.weight", "average.head.0.bias", "loss.log_variance"])
def test_state_without_a_weight_is_refused(trainer: Trainer, saved: Path, damaged: Path, key: str) -> None:
    tensors = load_file(saved)
    del tensors[key]
    save_file(tensors, damaged, metadata_of(saved))
    assert_refused(trainer, damaged)


def test_state_without_the_optimisers_moments_is_refused(trainer: Trainer, saved: Path, damaged: Path) -> None:
    tensors = {k: v for k, v in load_file(saved).items() if not k.startswith("optimiser.")}
    save_file(tensors, damaged, metadata_of(saved))
    assert_refused(trainer, damaged)


@pytest.mark.parametrize("number", ["999", "-1"])
def test_state_with_moments_of_no_parameter_is_refused(
    trainer: Trainer, saved: Path, damaged: Path, number: str
) -> None:
    tensors = load_file(saved)
    key = next(key for key in tensors if key.startswith("optimiser.0."))
    _, n, _, name = key.split(".")
    save_file(tensors | {f"optimiser.{n}.{number}.{name}": tensors[key].clone()}, damaged, metadata_of(saved))
    assert_refused(trainer, damaged)


def test_state_of_another_version_is_refused(saved: Path, damaged: Path) -> None:
    save_file(load_file(saved), damaged, metadata_of(saved) | {"version": "1"})
    with pytest.raises(TrainingError, match="another version"):
        state.load(trainer_of(), damaged)


def test_a_training_from_other_weights_does_not_go_on(tmp_path: Path) -> None:
    plain = trainer_of()
    weights = {k: v * 1.5 for k, v in plain.network.state_dict().items()}
    given = Trainer(plain.network_config, plain.loss_config, plain.data, plain.config, weights)
    state.save(given, tmp_path / "a.state")
    with pytest.raises(TrainingError, match="initial"):
        state.load(plain, tmp_path / "a.state")


def with_scene(change: Callable[[Scene], Scene]) -> Trainer:
    data = BatchSource([change(print_of_colours())], default_camera(32), Workspace(), few_views(), 3)
    return Trainer(network_of(), LossConfig(near=0.2, where=1.0), data, trainer_of().config)


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: replace(scene, texture=scene.texture.flip(1, 2)),
        lambda scene: replace(scene, texture=scene.texture.flip(2)),
        lambda scene: replace(scene, fill=0.5),
    ],
    ids=["turned", "mirrored", "another surrounding"],
)
def test_another_scene_of_the_same_sum_is_another_training(saved: Path, change: Callable[[Scene], Scene]) -> None:
    state.load(with_scene(lambda scene: scene), saved)
    with pytest.raises(TrainingError, match=r"other options \(scenes\)"):
        state.load(with_scene(change), saved)


@pytest.mark.parametrize("scenes", [None, 3, True, 0.5, [], [3], [[]], "print", [["print", 0.8]]])
def test_scenes_that_are_none_are_another_training(saved: Path, tmp_path: Path, scenes: Any) -> None:
    """Found by the fuzz: tracebacks; and a state of no scene was one of any."""
    tensors, metadata = load_file(saved), metadata_of(saved)
    identity = json.loads(metadata["identity"])
    identity["scenes"] = scenes
    if scenes is None:
        del identity["scenes"]
    save_file(tensors, tmp_path / "other.state", {**metadata, "identity": json.dumps(identity)})
    with pytest.raises(TrainingError, match=r"other options \(scenes\)"):
        state.load(with_scene(lambda scene: scene), tmp_path / "other.state")


def test_sums_that_another_number_of_threads_makes_are_the_same_training(saved: Path) -> None:
    """The last digits of a sum of many numbers go by how it is shared out."""
    state.load(with_scene(lambda scene: replace(scene, texture=scene.texture * (1 + 1e-8))), saved)


def test_a_state_of_before_goes_on(saved: Path, tmp_path: Path) -> None:
    """It has of each scene its name, size, shape and sum."""
    tensors, metadata = load_file(saved), metadata_of(saved)
    identity = json.loads(metadata["identity"])
    identity["scenes"] = [scene[:5] for scene in identity["scenes"]]
    save_file(tensors, tmp_path / "old.state", {**metadata, "identity": json.dumps(identity)})
    trainer = with_scene(lambda scene: scene)
    state.load(trainer, tmp_path / "old.state")
    assert trainer.step == 2
