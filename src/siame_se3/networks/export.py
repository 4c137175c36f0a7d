"""Models in other formats: ONNX and OpenVINO files, checked against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.files.optional import needs
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.engines import Embedding, frozen, import_openvino, openvino_core, to_openvino
from siame_se3.networks.siamese import SiameseNetwork

Inputs = dict[str, Tensor]


def example_inputs(network: SiameseNetwork, n: int = 2) -> tuple[Tensor, Tensor]:
    """Random images and the S(I*) of others, seeded."""
    size = network.config.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 * n, 3, size, size, generator=generator)
    with torch.no_grad():
        return images[:n], network.embed(images[n:])


def export(model: Model, path: str | Path, kind: str) -> dict[str, float]:
    """Write `embed` (images -> S(I)) and `step` (images, S(I*) -> output) in another format and check them.

    The model's network stays as it is.

    Args:
        path: stem of the files: PATH-embed.onnx, PATH-step.onnx (or .xml and .bin).
        kind: 'onnx' or 'openvino'.

    Returns:
        Largest difference to PyTorch, relative to the largest value, of each file as read back and run.

    Raises:
        InputError: an unknown kind, or its packages are not installed.
    """
    if kind not in WRITERS:
        raise ModelError(f"unknown export format '{kind}'; use {' or '.join(WRITERS)}", "format")
    write = WRITERS[kind]
    network = frozen(model.network, "cpu")
    images, s = example_inputs(network)
    parts: dict[str, tuple[nn.Module, Inputs]] = {
        "embed": (Embedding(network).eval(), {"images": images}),
        "step": (network, {"images": images, "s_desired": s}),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    differences = {}
    for name, (module, inputs) in parts.items():
        with torch.no_grad():
            expected = module(*inputs.values())
        file, got = write(path.with_name(f"{path.name}-{name}"), module, inputs, "s" if name == "embed" else "output")
        differences[file.name] = float((got - expected).abs().max() / expected.abs().max())
    return differences


def _onnx(stem: Path, module: nn.Module, inputs: Inputs, output: str) -> tuple[Path, Tensor]:
    """Write STEM.onnx; the file, and what it says of the inputs."""
    _, _, onnxruntime = (needs(module, "export") for module in ("onnx", "onnxscript", "onnxruntime"))
    file = stem.with_name(f"{stem.name}.onnx")
    program = torch.onnx.export(
        module,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=[output],
        dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return file, torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])


def _openvino(stem: Path, module: nn.Module, inputs: Inputs, output: str) -> tuple[Path, Tensor]:
    """Write STEM.xml and STEM.bin; the first, and what it says of the inputs."""
    try:
        openvino = import_openvino()
    except ImportError:
        raise ModelError("export to OpenVINO needs it; pip install openvino") from None
    file = stem.with_name(f"{stem.name}.xml")
    openvino.save_model(to_openvino(module, inputs), str(file), compress_to_fp16=False)
    compiled = openvino_core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return file, torch.from_numpy(compiled([v.numpy() for v in inputs.values()])[0])


WRITERS: dict[str, Callable[[Path, nn.Module, Inputs, str], tuple[Path, Tensor]]] = {
    "onnx": _onnx,
    "openvino": _openvino,
}
