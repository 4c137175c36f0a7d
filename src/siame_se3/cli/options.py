"""What several commands do with their options."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from siame_se3.errors import InputError
from siame_se3.files import doing, model_file

if TYPE_CHECKING:
    import numpy as np
    import torch

    from siame_se3.geometry.camera import Camera
    from siame_se3.networks.checkpoint import Model

LawName = Annotated[str, arg(metavar="LAW")]
"""One of `laws.registry.LAWS`, a name that another package declares, or 'package.module:Name'; `controller_for` checks it."""

PlantName = Annotated[str, arg(metavar="PLANT")]
"""A simulated plant's name in `plants.registry`, or 'package.module:Name'; see `plant_name`."""

_FORMER_PLANTS = {"homography": "flying"}


def plant_name(name: str) -> str:
    """A plant by the name that it has now; a former one is accepted for one version, with a warning."""
    if name not in _FORMER_PLANTS:
        return name
    now = _FORMER_PLANTS[name]
    print(
        f"siame: --plant {name} is called --plant {now} now; the old name goes with the next version", file=sys.stderr
    )
    return now


def check_seed(seed: int) -> None:
    """Refuse what is no seed.

    Raises:
        InputError: a negative number, or one of more than 31 bits.
    """
    if not 0 <= seed < 2**31:
        raise InputError(f"seed {seed}: give a number from 0 to {2**31 - 1}", "seed")


def load_model(model: Path | None) -> Model:
    """A model by its file or name, and while it takes long, that it is loaded.

    Raises:
        ModelError: no such model, or a file that is none.
    """
    from siame_se3.networks import checkpoint

    path = model_file(model)
    with doing(f"loading network {path.name}"):
        return checkpoint.load(path)


def fill_of(text: str) -> Any:
    """What lies beyond a print, as `Scene.from_photo` takes it: '0.5', '0,0.2,1', 'mean' or 'edge'.

    Raises:
        InputError: something else.
    """
    if text in ("mean", "edge"):
        return text
    try:
        values = tuple(float(x) for x in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(0 <= x <= 1 for x in values):
        raise InputError(
            f"fill {text}: give a grey level (0 to 1), three of them (r,g,b), 'mean' or 'edge'", "fill"
        ) from None
    return values[0] if len(values) == 1 else values


def camera_of(yaml: Path | None, fov: float | None, default: Camera) -> Camera:
    """A camera by its calibration file or its field of view [deg]; otherwise the default.

    Raises:
        InputError: both, or a field of view that no pinhole has.
    """
    from siame_se3.geometry.camera import Camera

    if yaml is not None and fov is not None:
        raise InputError("a camera's file has its field of view in it; give one of them", "camera", "fov")
    if fov is not None and not 1 <= fov <= 170:
        raise InputError(f"field of view {fov:g}: give degrees across the image, from 1 to 170", "fov")
    if fov is not None:
        return Camera.from_fov(math.radians(fov), default.width, default.height)
    return Camera.from_yaml(yaml) if yaml is not None else default


def device_of(name: str) -> torch.device:
    """A device by 'auto' (the GPU if there is one), 'cpu' or 'cuda'.

    Raises:
        InputError: no GPU here.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA GPU here; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def goal_depth_of(text: str, scale: float | None = None) -> float | np.ndarray:
    """The depth of the goal: a number [m], or a file's map (h, w) [m], NaN where it is not known.

    Args:
        text: a number, or the file's name.
        scale: of the file, metres a unit; None for that of its kind.

    Raises:
        InputError: no number above 0 and no such file, or a file that is no depth map.
    """
    from siame_se3.images.depth import read_depth

    try:
        distance = float(text)
    except ValueError:
        return read_depth(Path(text), scale)
    if not 0 < distance <= 1000:
        raise InputError(f"depth of the goal: {text} m; give a number above 0, or a depth map's file", "goal_depth")
    return distance


def check_writable(path: Path | None, option: str, kinds: tuple[str, ...] = ()) -> None:
    """Say now, not after hours of work, that a result cannot be written.

    Args:
        path: of the result; None for none.
        option: its flag.
        kinds: endings that the name may have; empty for any.

    Raises:
        InputError: a folder, a place that cannot be written, or a name of another kind.
    """
    if path is None or (path.exists() and not path.is_file() and not path.is_dir()):  # a device or a FIFO is written to
        return
    setting = option.removeprefix("--").replace("-", "_")
    if kinds and path.suffix.lower() not in kinds:
        raise InputError(
            f"{path}: this cannot be written as {path.suffix or 'a file without an ending'}; give a name that ends in {' or '.join(kinds)}",
            setting,
        )
    if path.is_dir():
        raise InputError(f"{path}: a folder; give a file name", setting)
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: that file cannot be written; give another place", setting)
    folder = Path(os.path.realpath(path)).parent  # what a link points to is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (folder, *folder.parents) if place.exists())
        raise InputError(f"{path}: {file.name} is a file, not a folder; give another place", setting) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a place that can be written", setting) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: that folder cannot be written; give another place", setting)


FIGURES = (".png", ".pdf", ".svg")
"""Endings of figures."""
