"""Files: the one atomic write, dataclasses from JSON, what comes with the package, and the line that says what machine this is."""

from __future__ import annotations

import dataclasses
import os
import platform
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from siame_se3.errors import SiameError


def from_dict(cls: type, values: dict[str, Any], where: str) -> Any:
    """A (nested) dataclass from JSON, strictly: unknown fields are an error."""
    import typing

    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := set(values) - known:
        raise SiameError(f"{where}: unknown field '{sorted(unknown)[0]}' of {cls.__name__}; it needs a newer siame-se3")

    def convert(name: str, value: Any) -> Any:
        kind = hints[name]
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            return from_dict(kind, value, where)  # type: ignore[arg-type]  # is_dataclass is true of instances too; hints hold classes
        return tuple(value) if isinstance(value, list) else value

    return cls(**{k: convert(k, v) for k, v in values.items()})


def atomically(path: Path, write: Any) -> None:
    """Call write(partial path), flush it to the disk and rename it: at `path` there is the old file or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


BUNDLED_PHOTO, BUNDLED_MODEL = "coffee.jpg", "coffee.safetensors"


BUNDLED_MODELS = {"coffee": BUNDLED_MODEL, "any-scene": "any-scene.safetensors"}  # by the names that --model takes


def bundled(name: str) -> Path:
    """A file that came with the package."""
    with as_file(files("siame_se3") / "assets" / name) as path:
        return path


def model_file(model: Path | None) -> Path:
    """The file of a --model: a path, the name of a bundled model (`BUNDLED_MODELS`), or None for the bundled photo's.

    Raises:
        SiameError: neither a file nor a name.
    """
    if model is None:
        return bundled(BUNDLED_MODEL)
    if model.is_file():
        return model
    if str(model) not in BUNDLED_MODELS:
        names = ", ".join(BUNDLED_MODELS)
        raise SiameError(
            f"{model}: no such file; give a model that 'siame train' wrote, or a bundled one by its name: {names}"
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
        pass
    return f"{name}, {os.cpu_count()} cores, PyTorch {torch.__version__}"
