"""What the tests of the commands share: a command line run in process, a photo, a model that takes milliseconds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli_helpers import Siame
from siame_se3 import cli
from siame_se3.analysis import plots  # noqa: F401  # what commands import late is imported once, beside no test's clock
from siame_se3.files import progress
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork


@pytest.fixture
def siame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Siame:
    """Run a command line in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in ("PATIENCE", "FIRST"):  # what is said of long work would depend on how busy this machine is
        monkeypatch.setattr(progress, name, 1e6)

    def run(*arguments: object) -> tuple[int, str, str]:
        words = [str(a) for a in arguments]
        monkeypatch.setattr("sys.argv", ["siame", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    path = tmp_path / "photo.png"
    small.resize((64, 48), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def model(tiny: NetworkConfig, camera: Camera, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    checkpoint.save(checkpoint.Model(SiameseNetwork(tiny).eval(), camera, 0.6, 0.8, {}), path)
    return path
