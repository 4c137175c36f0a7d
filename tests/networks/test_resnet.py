"""Our ResNet-10-T against timm's, and what is said where timm is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.networks import backbone
from siame_se3.networks.backbone import backbone_of
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.resnet import STRIDES


def built(
    own: bool, stride: int | None, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[nn.Module, int, Tensor]:
    """Ours or timm's from one seed; its channels; the next random number."""
    monkeypatch.setattr(backbone, "OWN", "resnet10t" if own else "none")
    config = NetworkConfig(image_size=48, colour=colour, stride=stride or 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return *backbone_of(config, stride is not None), torch.rand(1)


def shake(model: nn.Module) -> None:
    """Weights and statistics as after a training: none is 0 or 1."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for w in model.state_dict().values():
            if w.is_floating_point():
                w.add_(0.1 * torch.rand(w.shape, generator=generator))


def map_of(y: Tensor | list[Tensor]) -> Tensor:
    return y[0] if isinstance(y, list) else y


@pytest.mark.parametrize("stride", [*STRIDES, None])
@pytest.mark.parametrize("colour", [True, False])
def test_it_is_timms(stride: int | None, colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, initial weights of a seed, random numbers drawn, outputs, gradients and statistics, bit for bit."""
    (ours, channels, after), (timms, timms_channels, timms_after) = (
        built(own, stride, colour, monkeypatch) for own in (True, False)
    )
    assert type(ours).__module__ != type(timms).__module__
    assert channels == timms_channels
    assert torch.equal(after, timms_after)
    images = torch.rand(2, 3 if colour else 1, 48, 48, generator=torch.Generator().manual_seed(1))
    for changed in (False, True):
        if changed:
            shake(ours), shake(timms)
        a, b = ours.state_dict(), timms.state_dict()
        assert list(a) == list(b)
        assert all(torch.equal(a[k], b[k]) for k in a)
        for training in (False, True):
            y, z = (map_of(m.train(training)(images)) for m in (ours, timms))
            assert y.shape[:2] == (2, channels)
            assert torch.equal(y, z)
    for y in (map_of(ours(images)), map_of(timms(images))):
        y.square().mean().backward()
    gradients = [[p.grad for p in m.parameters()] for m in (ours, timms)]
    assert all(torch.equal(g, h) for g, h in zip(*gradients, strict=True))


def test_other_backbones_say_that_they_need_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ModelError, match=r"^backbone 'resnet18' needs timm; pip install 'siame-se3\[train\]', or"
    ) as caught:
        backbone_of(NetworkConfig("resnet18"), True)
    assert caught.value.settings == ("network.backbone",)
    with pytest.raises(ModelError, match="the ImageNet weights of 'resnet10t' needs timm"):
        backbone_of(NetworkConfig(pretrained=True), True)
    assert backbone_of(NetworkConfig(), True)[1] == 128


@pytest.mark.slow
def test_importing_and_running_the_bundled_models_imports_no_timm() -> None:
    code = """
import sys
for name in ("timm", "torchvision", "huggingface_hub", "tensorboard"):
    sys.modules[name] = None
import pkgutil, importlib, siame_se3.networks
for found in pkgutil.iter_modules(siame_se3.networks.__path__):
    importlib.import_module(f"siame_se3.networks.{found.name}")
from pathlib import Path
from siame_se3.files import BUNDLED_MODELS, model_file
from siame_se3.networks.checkpoint import load
from siame_se3.networks.engines import engine_for
from siame_se3.networks.export import example_inputs
for name in BUNDLED_MODELS:
    network = load(model_file(Path(name))).network
    print(tuple(engine_for(network, "torch").step(*example_inputs(network)).shape))
"""
    environment = {"PYTHONPATH": str(Path(backbone.__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert done.stdout.split("\n")[:2] == ["(2, 6)", "(2, 6)"]
