"""Files: the one atomic write, dataclasses from JSON, what comes with the package, and the line that says what machine this is."""

from __future__ import annotations

import dataclasses
import os
import platform
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError, SiameError


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


def read_yaml(path: Path, most_bytes: int = 1_000_000) -> Any:
    """The first document of a YAML file, as people save them.

    UTF-8, UTF-16 with its mark, or else Windows-1252; several documents (`ros2 topic echo`); OpenCV's FileStorage (`%YAML:1.0`,
    `!!opencv-matrix`). Nothing that grows when it is read: aliases, 40 levels and more.

    Raises:
        InputError: no such file, a file that is too large, or one that is not such YAML.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"{path}: no such file; give a YAML file")
    if path.stat().st_size > most_bytes:
        raise InputError(f"{path}: {path.stat().st_size} bytes are too many for such a file; give a YAML file")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    if text.startswith("%YAML"):
        text = text.partition("\n")[2]

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the fast one where there is one
        pass

    Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", lambda loader, node: loader.construct_mapping(node, True))
    depth = 0
    try:
        for event in yaml.parse(text, Loader=Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 40 or isinstance(event, yaml.AliasEvent):
                raise ValueError("aliases (*name) are not read" if depth <= 40 else "nested too deep")
        return next((document for document in yaml.load_all(text, Loader=Loader) if document is not None), None)
    except Exception as error:  # PyYAML lets KeyError, IndexError, AttributeError through
        reason = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())[:200]
        raise InputError(f"{path}: not a YAML file that can be read ({reason}); give another") from None


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
