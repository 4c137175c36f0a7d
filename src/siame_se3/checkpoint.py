"""Models on disk: config, weights and conventions in one safetensors file; export to ONNX and OpenVINO."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from siame_se3.camera import Camera
from siame_se3.control.neural import Embedding, to_openvino
from siame_se3.errors import SiameError
from siame_se3.network import NetworkConfig, SiameseNetwork

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


def example_inputs(network: SiameseNetwork, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and the S(I*) of others, seeded."""
    size = network.config.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 * n, 3, size, size, generator=generator)
    with torch.no_grad():
        return images[:n], network.embed(images[n:])


def export(model: Model, path: str | Path, kind: str) -> dict[str, float]:
    """Write `embed` (images -> S(I)) and `step` (images, S(I*) -> output) in another format and check them.

    Args:
        path: stem of the files: PATH-embed.onnx, PATH-step.onnx (or .xml and .bin).
        kind: 'onnx' or 'openvino'.

    Returns:
        Largest difference to PyTorch, relative to the largest value, of each file as read back and run.
    """
    network = model.network.eval()
    images, s = example_inputs(network)

    parts: dict[str, tuple[nn.Module, dict[str, torch.Tensor]]] = {
        "embed": (Embedding(network).eval(), {"images": images}),
        "step": (network, {"images": images, "s_desired": s}),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    differences = {}
    for name, (module, inputs) in parts.items():
        with torch.no_grad():
            expected = module(*inputs.values())
        if kind == "onnx":
            try:
                import onnx  # noqa: F401
                import onnxruntime
            except ImportError:
                raise SiameError("export to ONNX needs more packages; pip install 'siame-se3[export]'") from None
            file = path.with_name(f"{path.name}-{name}.onnx")
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=["s" if name == "embed" else "output"],
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(str(file))
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            got = session.run(None, {k: v.numpy() for k, v in inputs.items()})[0]
        elif kind == "openvino":
            try:
                import openvino as ov
            except ImportError:
                raise SiameError("export to OpenVINO needs it; pip install openvino") from None
            file = path.with_name(f"{path.name}-{name}.xml")
            ov.save_model(to_openvino(module, inputs), str(file), compress_to_fp16=False)
            compiled = ov.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            got = compiled([v.numpy() for v in inputs.values()])[0]
        else:
            raise SiameError(f"unknown export format '{kind}'; use onnx or openvino")
        differences[file.name] = float((torch.from_numpy(got) - expected).abs().max() / expected.abs().max())
    return differences
