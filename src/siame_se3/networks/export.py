"""Models in other formats: ONNX and OpenVINO files, checked against PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from siame_se3.errors import SiameError
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.engines import Embedding, to_openvino
from siame_se3.networks.siamese import SiameseNetwork


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
