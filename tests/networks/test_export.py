"""Models in other formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siame_se3.errors import ModelError
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.export import example_inputs, export
from siame_se3.networks.siamese import SiameseNetwork

CHANGES: dict[str, dict[str, Any]] = {
    "difference": {"fusion": "difference", "pooling": "average"},
    "relative": {"fusion": "relative"},
    "absolute": {"fusion": "absolute", "output": "pose", "head": ()},
    "homography": {"pooling": "homography", "local_contrast": 0.2},
    "geometric": {"pooling": "homography", "fusion": "geometric"},
    "matching": {"pooling": "descriptors", "fusion": "matching"},
}
Exported = tuple[SiameseNetwork, dict[str, torch.Tensor], Path, dict[str, float]]


@pytest.fixture(scope="session")
def exported(
    lean: Callable[..., SiameseNetwork], camera: Camera, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Exported]:
    """Each network in each format once: the network, its state before, the folder, and the differences."""

    @cache
    def once(name: str, kind: str) -> Exported:
        network = lean(**CHANGES[name])
        before = {k: v.clone() for k, v in network.state_dict().items()}
        folder = tmp_path_factory.mktemp(name) / "out"
        return network, before, folder, export(Model(network, camera, 0.6, 0.8), folder / "net", kind)

    return once


each_kind = pytest.mark.parametrize("kind", ["openvino", pytest.param("onnx", marks=pytest.mark.slow)])


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "openvino") for name in CHANGES]
    + [
        pytest.param(name, "onnx", marks=pytest.mark.slow) for name in ("relative", "absolute", "geometric", "matching")
    ],
)
def test_exports_say_the_same(exported: Callable[[str, str], Exported], name: str, kind: str) -> None:
    _, _, folder, differences = exported(name, kind)
    suffix = {"openvino": "xml", "onnx": "onnx"}[kind]
    assert differences.keys() == {f"net-embed.{suffix}", f"net-step.{suffix}"}
    assert differences[f"net-embed.{suffix}"] < 1e-6
    # A step's output is a small difference of these: random images look alike to random weights.
    assert differences[f"net-step.{suffix}"] < 5e-5
    assert kind == "onnx" or (folder / "net-step.bin").is_file()


@each_kind
def test_export_leaves_the_network_as_it_is(exported: Callable[[str, str], Exported], kind: str) -> None:
    network, before, _, _ = exported("relative", kind)
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.slow
def test_onnx_says_the_same_at_any_batch_size(exported: Callable[[str, str], Exported]) -> None:
    import onnxruntime

    network, _, folder, _ = exported("relative", "onnx")
    network.eval()
    session = onnxruntime.InferenceSession(str(folder / "net-step.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 3):
        images, s = example_inputs(network, n)
        with torch.no_grad():
            expected = network(images, s).numpy()
        got = session.run(None, {"images": images.numpy(), "s_desired": s.numpy()})[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    network.train()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_the_default_backbone_is_exported_too(tiny: NetworkConfig, camera: Camera, tmp_path: Path, kind: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(replace(tiny, backbone="resnet10t"))
    differences = export(Model(network, camera, 0.6, 0.8), tmp_path / "net", kind)
    assert max(differences.values()) < 5e-5


def test_unknown_export_format_is_refused(lean: Callable[..., SiameseNetwork], camera: Camera, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnx or openvino"):
        export(Model(lean(), camera, 0.6, 0.8), tmp_path / "net", "tflite")
