"""What comes with the package, and the line that says what machine this is."""

from __future__ import annotations

import os
import platform
from importlib.resources import as_file, files
from pathlib import Path

from siame_se3.errors import ModelError

BUNDLED_PHOTO, BUNDLED_MODEL = "coffee.jpg", "coffee.safetensors"


BUNDLED_MODELS = {"coffee": BUNDLED_MODEL, "any-scene": "any-scene.safetensors"}  # by the names that users give


def bundled(name: str) -> Path:
    """A file that came with the package."""
    with as_file(files("siame_se3") / "assets" / name) as path:
        return path


def model_file(model: Path | None) -> Path:
    """The file of a model: a path, the name of a bundled one (`BUNDLED_MODELS`), or None for the bundled photo's.

    Raises:
        ModelError: neither a file nor a name.
    """
    if model is None:
        return bundled(BUNDLED_MODEL)
    if model.is_file():
        return model
    if str(model) not in BUNDLED_MODELS:
        names = ", ".join(BUNDLED_MODELS)
        raise ModelError(
            f"{model}: no such file; give a model that a training wrote, or a bundled one by name: {names}"
        )
    return bundled(BUNDLED_MODELS[str(model)])


def hardware(device: str = "cuda") -> str:
    """One line on the machine, for reports: its GPU if it has one, or its CPU."""
    import torch

    if device == "cuda" and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}"
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            name = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux: the platform's name of it stays
    return f"{name}, {os.cpu_count()} cores, PyTorch {torch.__version__}"
