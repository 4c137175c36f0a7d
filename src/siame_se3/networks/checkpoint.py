"""Models on disk: all that a network is, its weights and its conventions in one safetensors file.

Nothing is allocated before it is known to fit: the header's shapes must be those of the network that the settings describe, which
is first built without memory. Two digests, of the settings and of the weights, say whether the file is as it was written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from siame_se3.errors import ModelError, SiameError
from siame_se3.files import atomically, from_dict, model_file, shown
from siame_se3.geometry.camera import Camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.migration import VERSION, migrated, version_of
from siame_se3.networks.siamese import SiameseNetwork

FORMAT = "siame-se3 model"
CONVENTIONS = {
    "twist": "current camera frame, (v, omega) m/s and rad/s, at gain 1; T_wc <- T_wc exp(v dt)",
    "camera": "z forward, x right, y down; centre of the top-left pixel is (0, 0)",
    "image": "RGB float32 in [0, 1], square",
}
LARGEST_HEADER = 4 << 20  # [bytes]
WANTED = "give a model that siame-se3 wrote"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and what it was trained for: all that a law needs.

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

    @property
    def output(self) -> Literal["velocity", "pose"]:
        """What the network says: a velocity at gain 1, or c*Tc as (t, theta u), with PBVS on top."""
        return self.network.config.output

    @property
    def focal_ratio(self) -> float:
        """Focal length over image side of the camera that it was trained for."""
        return self.camera.fx / self.camera.width

    @property
    def scales_with_distance(self) -> bool:
        """Whether the translation is in units of `distance`: with the scene at depth D, D / distance times it is the true one."""
        return self.network.config.scales_with_distance


def digests(settings: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """SHA-256 of the settings and of the weights (names, types, shapes and bytes as they are stored)."""
    ours = hashlib.sha256(json.dumps(sorted((k, v) for k, v in settings.items() if not k.endswith("_sha256"))).encode())
    theirs = hashlib.sha256()
    for name in sorted(weights):
        w = weights[name].detach().cpu().contiguous()
        theirs.update(json.dumps([name, str(w.dtype), list(w.shape)]).encode())
        theirs.update(w.reshape(-1).view(torch.uint8).numpy().data)
    return {"settings_sha256": ours.hexdigest(), "weights_sha256": theirs.hexdigest()}


def save(model: Model, path: str | Path, half: bool = False) -> None:
    """Write a model; `half` stores the weights in float16 (loaded back to float32).

    Raises:
        ModelError: a weight is not finite, or too large for float16.
    """
    weights = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    if half:
        weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    if name := _not_finite(weights):
        raise ModelError(f"{path}: {name} is not finite{' in float16' * half}; the model is not written")
    settings = {
        "format": FORMAT,
        "version": str(VERSION),
        "network": json.dumps(dataclasses.asdict(model.network.config)),
        "camera": json.dumps(dataclasses.asdict(model.camera)),
        "setup": json.dumps({"distance": model.distance, "scene_width": model.scene_width}),
        "conventions": json.dumps(CONVENTIONS),
        "card": json.dumps(model.card),
    }
    settings |= digests(settings, weights)
    atomically(Path(path), lambda partial: save_file(weights, partial, settings))


def load(path: str | Path) -> Model:
    """Read a model, by its file or the name of a bundled one (coffee, any-scene), strictly: each weight must be there, fit, and be as it was written.

    Files of earlier versions are migrated. The network is in eval mode, float32, on the CPU; no random number is drawn from the
    caller's generators.

    Raises:
        ModelError: no such file, another kind of file, a newer version, missing, wrong or damaged weights.
    """
    path = model_file(Path(path))
    try:
        _check_header(path)
        with safe_open(str(path), framework="pt") as file:
            return _read(file)
    except SafetensorError:
        raise ModelError(f"{path}: not a safetensors file; {WANTED}") from None
    except SiameError as error:
        raise ModelError(f"{path}: {error}") from None


def _check_header(path: Path) -> None:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > min(LARGEST_HEADER, path.stat().st_size):
        raise ModelError(f"not a safetensors file (its header claims {length} bytes); {WANTED}")


def _read(file: Any) -> Model:
    """A model from an open file. First what costs nothing, then the shapes, then the weights."""
    stored: dict[str, str] = file.metadata() or {}
    if stored.get("format") != FORMAT:
        kind = stored.get("format")
        raise ModelError(f"{f'a file of format {shown(kind, 40)}' if kind else 'not a siame-se3 model'}; {WANTED}")
    sealed = version_of(stored) > 1  # version 1 had no digests
    if sealed and digests(stored, {})["settings_sha256"] != stored.get("settings_sha256"):
        raise ModelError("its settings are not as they were written; the file is damaged, copy it again")
    try:
        settings, names = migrated(stored, {name: name for name in file.keys()})  # noqa: SIM118 - not a mapping
        config, rest = _settings(settings)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"its metadata is damaged ({reason}); {WANTED}") from None
    _check_shapes(config, {name: file.get_slice(names[name]) for name in names})
    weights = {key: file.get_tensor(key) for key in names.values()}
    if sealed and digests({}, weights)["weights_sha256"] != stored.get("weights_sha256"):
        raise ModelError("its weights are not as they were written; the file is damaged, copy it again")
    if name := _not_finite(weights):
        raise ModelError(f"{name} is not finite; the file is damaged, or of a training that failed")
    with torch.random.fork_rng(devices=[]):
        network = SiameseNetwork(dataclasses.replace(config, pretrained=False))
    network.config = config
    network.load_state_dict({name: weights[key] for name, key in names.items()}, strict=True)
    return Model(network.eval(), **rest)


def _settings(settings: Mapping[str, str]) -> tuple[NetworkConfig, dict[str, Any]]:
    """The config of a network, and all else of a `Model`."""
    config = from_dict(NetworkConfig, json.loads(settings["network"]), "its settings")
    camera = from_dict(Camera, json.loads(settings["camera"]), "its settings")
    setup, card = json.loads(settings["setup"]), json.loads(settings["card"])
    distance, scene_width = float(setup["distance"]), float(setup["scene_width"])
    if not (0 < distance < 1e6 and 0 < scene_width < 1e6 and isinstance(card, dict)):
        raise ValueError("distance, scene width or card")
    return config, {"camera": camera, "distance": distance, "scene_width": scene_width, "card": card}


def _check_shapes(config: NetworkConfig, stored: Mapping[str, Any]) -> None:
    """That the weights in a file are those of the network; it is built on the meta device, which has no memory."""
    with torch.device("meta"):
        wanted = SiameseNetwork(dataclasses.replace(config, pretrained=False)).state_dict()
    for name in sorted(wanted.keys() | stored.keys()):
        if name not in stored:
            raise ModelError(f"its weights lack {name}; the file is damaged")
        if name not in wanted:
            raise ModelError(f"its weights have {name[:80]}, which its network does not; the file is damaged")
        shape, kind = list(stored[name].get_shape()), stored[name].get_dtype()
        if shape != list(wanted[name].shape) or kind.startswith(("F", "BF")) != wanted[name].is_floating_point():
            raise ModelError(
                f"{name} is {kind} {shape}, its network's is {list(wanted[name].shape)}; the file is damaged"
            )


def _not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The first weight that is not finite."""
    return next((name for name, w in weights.items() if w.is_floating_point() and not bool(w.isfinite().all())), None)
