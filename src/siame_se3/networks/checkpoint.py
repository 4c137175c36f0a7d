"""Models on disk: config, weights and conventions in one safetensors file; export to ONNX and OpenVINO."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from siame_se3.errors import SiameError
from siame_se3.files import atomically, from_dict
from siame_se3.geometry.camera import Camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork

FORMAT, VERSION = "siame-se3 model", 1
CONVENTIONS = {
    "twist": "current camera frame, (v, omega) m/s and rad/s, at gain 1; T_wc <- T_wc exp(v dt)",
    "camera": "z forward, x right, y down; centre of the top-left pixel is (0, 0)",
    "image": "RGB float32 in [0, 1], square",
}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and what it was trained for.

    Attributes:
        network: with its config.
        camera: the (square) camera of the training views.
        distance: from the reference camera to the plane [m].
        scene_width: [m].
        card: what the training recorded: photo, command, seed, steps, images, seconds, hardware, results.
    """

    network: SiameseNetwork
    camera: Camera
    distance: float
    scene_width: float
    card: dict[str, Any] = field(default_factory=dict)


def save(model: Model, path: str | Path, half: bool = False) -> None:
    """Write a model; `half` stores the weights in float16 (loaded back to float32)."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "network": json.dumps(dataclasses.asdict(model.network.config)),
        "camera": json.dumps(dataclasses.asdict(model.camera)),
        "setup": json.dumps({"distance": model.distance, "scene_width": model.scene_width}),
        "conventions": json.dumps(CONVENTIONS),
        "card": json.dumps(model.card),
    }
    atomically(Path(path), lambda partial: save_file(tensors, partial, metadata))


def load(path: str | Path) -> Model:
    """Read a model strictly: each weight must be there and fit. The network is in eval mode, float32, on the CPU.

    Raises:
        SiameError: no such file, another kind of file, another version, missing or wrong weights.
    """
    path = Path(path)
    if not path.is_file():
        raise SiameError(f"{path}: no such file; give a model that 'siame train' wrote")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                kind = metadata.get("format")
                raise SiameError(
                    f"{path}: {f'a {kind} file' if kind else 'not a siame-se3 model'}; give a model that 'siame train' wrote"
                )
            if metadata.get("version") != str(VERSION):
                raise SiameError(
                    f"{path}: version {metadata.get('version')}, this siame-se3 reads {VERSION}; train again or update"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        raise SiameError(f"{path}: not a safetensors file; give a model that 'siame train' wrote") from None
    try:
        config = from_dict(NetworkConfig, json.loads(metadata["network"]), str(path))
        camera = from_dict(Camera, json.loads(metadata["camera"]), str(path))
        setup = json.loads(metadata["setup"])
        card = json.loads(metadata["card"])
        distance, scene_width = float(setup["distance"]), float(setup["scene_width"])
        if not (0 < distance < 1e6 and 0 < scene_width < 1e6 and isinstance(card, dict)):
            raise ValueError("distance, scene width or card")
        network = SiameseNetwork(dataclasses.replace(config, pretrained=False))
    except SiameError as error:
        raise error if str(error).startswith(str(path)) else SiameError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SiameError(f"{path}: its metadata is damaged ({reason}); give a model that 'siame train' wrote") from None
    network.config = config
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise SiameError(f"{path}: weights do not fit its config ({reason}); the file is damaged") from None
    return Model(network.eval(), camera, distance, scene_width, card)
