"""The law of a recording: what made its controller, kept so that the controller can be made again."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError, ModelError
from siame_se3.files import from_dict, hardware, model_file
from siame_se3.laws.light import LightDVS
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.photometric import DVS
from siame_se3.laws.reduced import LEAST, reduced
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks import checkpoint

_OPTIONS: dict[str, type] = {"dvs": DVS, "light": LightDVS, "points": MatchedPoints}


def description(
    law: str,
    model: Path | None = None,
    engine: str = "auto",
    dvs: DVS | None = None,
    light: LightDVS | None = None,
    points: MatchedPoints | None = None,
    image_size: int = 0,
) -> dict[str, Any]:
    """What `controller_for` was given, as JSON has it.

    Args:
        model: its file, or a bundled one's name; None for a law without one. The others: as `controller_for`.
        image_size: of `reduced`; 0 for images as they are [px].
    """
    options: dict[str, Any] = {"dvs": dvs or DVS(), "light": light or LightDVS(), "points": points or MatchedPoints()}
    return {
        "name": law,
        "model": None if model is None else str(model),
        "model_sha256": None if model is None else _digest(model_file(model)),
        "engine": engine,
        "image_size": image_size,
        "options": {name: asdict(part) for name, part in options.items()},
        "machine": machine(),
    }


def controller_of(
    law: dict[str, Any], where: str, model: Path | None = None, engine: str | None = None
) -> tuple[Controller, str]:
    """A controller made again, and a line on what is not as it was; '' where all is.

    Args:
        law: what `description` gave.
        where: path of the recording, for errors; a model that is not in its place any more is sought beside it.
        model, engine: instead of those that were recorded.

    Raises:
        InputError: no such model any more, or what was never a description.
    """
    name, given, options, size = law.get("name"), law.get("model"), law.get("options", {}), law.get("image_size", 0)
    if not (isinstance(name, str) and isinstance(given, str | None) and isinstance(options, dict)) or not (
        isinstance(size, int) and (size == 0 or size >= LEAST)
    ):
        raise InputError(f"{where}: it does not say which law was recorded; name one", "law")
    note = ""
    if given is not None and model is None:
        beside = Path(where).parent / Path(given).name
        try:
            model = beside if beside.is_file() and not Path(given).is_file() else Path(given)
            model_file(model)
        except ModelError:
            raise ModelError(f"{where}: its model {given} is not there; give the model's file", "model") from None
    if model is not None and law.get("model_sha256") not in (None, _digest(model_file(model))):
        note = f"the model {model} is not the one that was recorded"
    parts = {
        part: from_dict(kind, options[part], f"{where}: options of its law") if part in options else None
        for part, kind in _OPTIONS.items()
    }
    loaded = checkpoint.load(model_file(model)) if model is not None else None
    controller = controller_for(name, loaded, engine or str(law.get("engine", "auto")), **parts)
    return reduced(controller, size), note


def machine() -> str:
    """Hardware and the versions of what computes: results are equal to rounding on others."""
    versions = [
        f"{module} {getattr(sys.modules[module], '__version__', '')}"
        for module in ("openvino", "cv2")
        if module in sys.modules
    ]
    return ", ".join([hardware(), *versions])


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
