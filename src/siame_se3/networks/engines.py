"""What runs a siamese network: PyTorch (GPUs, and where OpenVINO is missing) or OpenVINO (CPUs). `engine_for` chooses."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import SiameError


@runtime_checkable
class Engine(Protocol):
    """Runs a siamese network."""

    name: str
    image_size: int

    def embed(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """S(I)."""

    def step(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n 6"]:
        """The network's output in m and rad."""


class TorchEngine:
    """PyTorch, on the network's own device, in float32 or under autocast."""

    def __init__(self, network: Any, autocast: torch.dtype | None = None) -> None:
        self.network = network.eval()
        self.device = next(network.parameters()).device
        self.autocast = autocast
        self.image_size: int = network.config.image_size
        self.name = f"torch-{self.device.type}"

    def _context(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """S(I)."""
        with self._context():
            return self.network.embed(images.to(self.device)).float()

    @torch.no_grad()
    def step(self, images: Tensor, s_desired: Tensor) -> Tensor:
        """The network's output in m and rad."""
        with self._context():
            return self.network(images.to(self.device), s_desired)


class Embedding(nn.Module):
    """`network.embed` as a module of its own, for exporters."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.embed(images)


def to_openvino(module: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """An OpenVINO model of a module; the first axis of each input is the batch, of any length."""
    import warnings

    import openvino as ov

    shapes = [(name, [-1, *value.shape[1:]]) for name, value in inputs.items()]
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):  # OpenVINO traces with torch.jit
            warnings.filterwarnings("ignore", "`torch.jit", category)
        return ov.convert_model(module, example_input=tuple(inputs.values()), input=shapes)


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        network: a SiameseNetwork.
        precision: 'f32' (servo(N) equals N times servo(1) to rounding) or 'bf16' where the CPU has it (faster).
        threads: CPU threads, 0 for OpenVINO's choice.
    """

    def __init__(self, network: Any, precision: Literal["f32", "bf16"] = "f32", threads: int = 0) -> None:
        import openvino as ov

        network = network.eval().cpu()
        self.image_size: int = network.config.image_size
        self.name = f"openvino-{precision}"
        size = self.image_size
        images = torch.zeros(2, 3, size, size)
        with torch.no_grad():
            s = network.embed(images)
        core = ov.Core()
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        embed = to_openvino(Embedding(network), {"images": images})
        self._models = {"embed": embed, "step": to_openvino(network, {"images": images, "s_desired": s})}
        self._core, self._options = core, options
        self._requests: dict[tuple[str, int], Any] = {}

    def _run(self, name: str, *inputs: Tensor) -> Tensor:
        # One compiled model of static shape for single images (fastest), one of dynamic shape for batches.
        batch = 1 if len(inputs[0]) == 1 else 0
        if (name, batch) not in self._requests:
            model = self._models[name].clone()
            if batch:
                model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
            self._requests[name, batch] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        request = self._requests[name, batch]
        # 64 at a time: larger batches leave the caches and gain nothing.
        parts = []
        for chunk in zip(*(x.split(64) for x in inputs), strict=True):
            out = request.infer([x.contiguous().numpy() for x in chunk])
            parts.append(torch.from_numpy(out[0].copy()))
        return torch.cat(parts)

    def embed(self, images: Tensor) -> Tensor:
        """S(I)."""
        return self._run("embed", images)

    def step(self, images: Tensor, s_desired: Tensor) -> Tensor:
        """The network's output in m and rad."""
        return self._run("step", images, s_desired)


def engine_for(network: Any, engine: str = "auto") -> Engine:
    """'auto': PyTorch on a GPU if there is one, else OpenVINO if it is installed, else PyTorch; or a name:
    torch, cuda, openvino, openvino-bf16."""
    if engine == "auto":
        if torch.cuda.is_available():
            return TorchEngine(network.cuda())
        try:
            return OpenVinoEngine(network)
        except ImportError:
            return TorchEngine(network)
    if engine == "torch":
        return TorchEngine(network)
    if engine == "cuda":
        if not torch.cuda.is_available():
            raise SiameError("engine 'cuda': no CUDA GPU here; use --engine auto, torch or openvino")
        return TorchEngine(network.cuda())
    if engine in ("openvino", "openvino-bf16"):
        try:
            return OpenVinoEngine(network, "bf16" if engine.endswith("bf16") else "f32")
        except ImportError:
            raise SiameError(f"engine '{engine}': OpenVINO is not installed; pip install openvino") from None
    raise SiameError(f"unknown engine '{engine}'; use auto, torch, cuda, openvino or openvino-bf16")
