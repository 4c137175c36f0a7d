"""A checkpoint: what is written is read back, with all that a result depends on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoint_helpers import CARD, metadata_of
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model, load, save
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.export import example_inputs
from siame_se3.networks.siamese import SiameseNetwork


def test_model_comes_back_as_it_was(model: Model, good: Path) -> None:
    again = load(good)
    ours, theirs = model.network.state_dict(), again.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours)
    assert again.network.config == model.network.config
    assert (again.camera, again.distance, again.scene_width, again.card) == (model.camera, 0.6, 0.8, CARD)
    assert not again.network.training
    images, s = example_inputs(model.network)
    with torch.no_grad():
        assert torch.equal(again.network(images, s), model.network(images, s))


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "concatenation", "colour": False, "zero_at_goal": False},
        {"pooling": "average", "output": "pose"},
        {"pooling": "homography", "local_contrast": 0.25},
        {"head": (), "output_scale": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
    ],
    ids=str,
)
def test_each_config_comes_back(tiny: NetworkConfig, camera: Camera, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = dataclasses.replace(tiny, **changes)
    lens = dataclasses.replace(camera, distortion=(0.1, 0.0, 0.0, 0.0))
    save(Model(SiameseNetwork(config), lens, 0.3, 0.42), tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.network.config == config
    assert again.camera == lens


def test_loading_needs_no_pretrained_weights(tiny: NetworkConfig, model: Model, tmp_path: Path) -> None:
    network = SiameseNetwork(tiny)
    network.config = dataclasses.replace(tiny, pretrained=True)
    save(Model(network, model.camera, 0.6, 0.8), tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").network.config.pretrained


def test_half_is_half_the_size_and_rounds(model: Model, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save(model, path, half=True)
    ours, theirs = model.network.state_dict(), load(path).network.state_dict()
    for key, value in ours.items():
        assert theirs[key].dtype == value.dtype
        assert torch.equal(theirs[key], value.half().float() if value.is_floating_point() else value)
    assert path.stat().st_size < 0.6 * good.stat().st_size
    images, s = example_inputs(model.network)
    with torch.no_grad():
        expected = model.network(images, s)
        got = load(path).network(images, s)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.01 * float(expected.abs().max()))


def test_conventions_are_in_the_file(good: Path) -> None:
    conventions = json.loads(metadata_of(good)["conventions"])
    assert "camera frame" in conventions["twist"]
    assert {"twist", "camera", "image"} <= conventions.keys()
