"""What runs a siamese network: PyTorch (GPUs, and where OpenVINO is missing) or OpenVINO (CPUs). `engine_for` chooses.

An engine works on a copy: the network that it is made from stays on its device, in its mode, and may be trained on. Later changes of its
weights do not reach the engine.
"""

from __future__ import annotations

import copy
import functools
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.files.cores import quota

ENGINES = ("auto", "torch", "cuda", "openvino", "openvino-bf16")


@runtime_checkable
class Engine(Protocol):
    """Runs a siamese network."""

    name: str
    image_size: int

    def embed(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """S(I)."""

    def step(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n 6"]:
        """The network's output in m and rad."""

    def between(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Correspondence | None:
        """What is where in both images; None of a network that does not find it."""


@dataclass(frozen=True, eq=False)
class Correspondence:
    """What is where in a current and a desired image, points in [-1, 1]^2 from edge to edge.

    Attributes:
        H: from current points to desired ones.
        points: where each cell of the current image (in row order) is in the desired one.
        scale: of its error.
    """

    H: Float[Tensor, "n 3 3"]
    points: Float[Tensor, "n 2 k"]
    scale: Float[Tensor, "n k"]

    @staticmethod
    def of(packed: Float[Tensor, "n p"]) -> Correspondence:
        """From what `SiameseNetwork.between` gives."""
        k = (packed.shape[1] - 9) // 3
        points = packed[:, 9 : 9 + 2 * k].unflatten(1, (2, k))
        return Correspondence(packed[:, :9].unflatten(1, (3, 3)), points, packed[:, 9 + 2 * k :].exp())


class Embedding(nn.Module):
    """`network.embed` as a module of its own, for exporters (which trace it: sizes are traced numbers there)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.embed(images)  # type: ignore[operator]  # a method, not a submodule


class Between(nn.Module):
    """`network.between` likewise."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, s_desired: Tensor) -> Tensor:
        return self.network.between(images, s_desired)  # type: ignore[operator]  # a method, not a submodule


def frozen(network: Any, device: torch.device | str | None = None) -> Any:
    """A copy for inference: in eval mode, without gradients, on `device` (None: where the network is)."""
    own = copy.deepcopy(network).eval().requires_grad_(False)
    return own if device is None else own.to(device)


class TorchEngine:
    """PyTorch, in float32 or under autocast.

    Args:
        network: a SiameseNetwork; a copy of it is run.
        autocast: the type of the backbone's arithmetic, None for float32.
        device: None for the network's own.
    """

    def __init__(
        self, network: Any, autocast: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        self.network = frozen(network, device)
        self.device = next(self.network.parameters()).device
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

    @torch.no_grad()
    def between(self, images: Tensor, s_desired: Tensor) -> Correspondence | None:
        """What is where in both images."""
        if self.network.config.fusion != "plane":
            return None
        with self._context():
            return Correspondence.of(self.network.between(images.to(self.device), s_desired))


def import_openvino() -> ModuleType:
    """OpenVINO, silent: all imports of it go through here.

    Without this it looks up an analytics host and writes an identifier into the home folder, at its import and at each conversion.
    It has a stub for where its telemetry package is missing; so that package is said to be missing. Where the caller's program has
    imported OpenVINO before, the stub takes the package's place in the modules that convert.

    Raises:
        ImportError: it is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say: cannot be imported
    import openvino
    from openvino.tools.ovc import telemetry_stub

    for name, module in list(sys.modules.items()):
        if name.startswith("openvino.tools.ovc.") and hasattr(module, "tm"):
            module.tm = telemetry_stub  # type: ignore[attr-defined]  # hasattr says so
    return openvino


def openvino_core() -> Any:
    """OpenVINO's core with its CPU plugin: one for the whole process, kept to its end, and loaded in a thread of its own.

    The plugin gives the thread that loads it a stack for signals, and takes it away where the core ends, from whichever thread: of two cores, or of one that
    ended in another thread, the next Ctrl-C ended the program by a segmentation fault, before a robot was stopped.

    Raises:
        ImportError: it is not installed.
    """
    import_openvino()
    return _core()


@functools.cache
def _core() -> Any:
    """See `openvino_core`."""
    openvino = import_openvino()

    def loaded() -> Any:
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")
        return core

    with ThreadPoolExecutor(1, "openvino") as thread:
        return thread.submit(loaded).result()


def to_openvino(module: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """An OpenVINO model of a module; the first axis of each input is the batch, of any length."""
    shapes = [(name, [-1, *value.shape[1:]]) for name, value in inputs.items()]
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):  # OpenVINO traces with torch.jit
            warnings.filterwarnings("ignore", "`torch.jit", category)
        return import_openvino().convert_model(module, example_input=tuple(inputs.values()), input=shapes)


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        network: a SiameseNetwork; its weights are copied.
        precision: 'f32' (servo(N) equals N times servo(1) to rounding) or 'bf16' where the CPU has it (faster).
        threads: CPU threads, 0 for OpenVINO's choice, or what a container's quota leaves, which OpenVINO does not see.

    Raises:
        ImportError: OpenVINO is not installed.
    """

    def __init__(self, network: Any, precision: Literal["f32", "bf16"] = "f32", threads: int = 0) -> None:
        self._core = openvino_core()
        own = frozen(network, "cpu")
        self.image_size: int = own.config.image_size
        self.name = f"openvino-{precision}"
        images = torch.zeros(2, 3, self.image_size, self.image_size)
        with torch.no_grad():
            s = own.embed(images)
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads := threads or quota() or 0:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._own, self._corresponds = own, own.config.fusion == "plane"
        self._example = {"images": images, "s_desired": s}
        self._models: dict[str, Any] = {}  # converted when they are first asked for
        self._requests: dict[tuple[str, int], Any] = {}
        self._one = threading.Lock()

    def _converted(self, name: str) -> Any:
        if name not in self._models:
            modules = {"embed": Embedding(self._own), "step": self._own, "between": Between(self._own)}
            inputs = dict(self._example)
            if name == "embed":
                del inputs["s_desired"]
            self._models[name] = to_openvino(modules[name].eval(), inputs)
        return self._models[name]

    def _run(self, name: str, *inputs: Tensor) -> Tensor:
        """What a part of the network gives; one thread after the other, as a request holds one input and one output."""
        with self._one:
            request = self._request(name, 1 if len(inputs[0]) == 1 else 0)
            # 64 at a time: larger batches leave the caches and gain nothing.
            parts = []
            for chunk in zip(*(x.split(64) for x in inputs), strict=True):
                out = request.infer([x.contiguous().numpy() for x in chunk])
                parts.append(torch.from_numpy(out[0].copy()))
        return torch.cat(parts)

    def _request(self, name: str, batch: int) -> Any:
        """One compiled model of static shape for single images (fastest), one of dynamic shape (batch 0) for batches."""
        if (name, batch) not in self._requests:
            model = self._converted(name).clone()
            if batch:
                model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
            self._requests[name, batch] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return self._requests[name, batch]

    def embed(self, images: Tensor) -> Tensor:
        """S(I)."""
        return self._run("embed", images)

    def step(self, images: Tensor, s_desired: Tensor) -> Tensor:
        """The network's output in m and rad."""
        return self._run("step", images, s_desired)

    def between(self, images: Tensor, s_desired: Tensor) -> Correspondence | None:
        """What is where in both images."""
        return Correspondence.of(self._run("between", images, s_desired)) if self._corresponds else None


def engine_for(network: Any, engine: str = "auto") -> Engine:
    """The one way from a network to what runs it; the network itself stays as it is.

    Args:
        network: a SiameseNetwork.
        engine: 'auto' (PyTorch on a GPU if there is one, else OpenVINO if it is installed, else PyTorch), 'torch' (on the network's
            device), 'cuda', 'openvino' or 'openvino-bf16'.

    Raises:
        ModelError: an unknown name, no GPU, or OpenVINO is not installed.
    """
    if engine not in ENGINES:
        raise ModelError(f"unknown engine '{engine}'; use {', '.join(ENGINES[:-1])} or {ENGINES[-1]}", "engine")
    gpu = torch.cuda.is_available()
    if engine == "cuda" and not gpu:
        raise ModelError("engine 'cuda': no CUDA GPU here; use auto, torch or openvino", "engine")
    if engine == "cuda" or (engine == "auto" and gpu):
        return TorchEngine(network, device="cuda")
    if engine == "torch":
        return TorchEngine(network)
    try:
        return OpenVinoEngine(network, "bf16" if engine.endswith("bf16") else "f32")
    except ImportError:
        if engine == "auto":
            return TorchEngine(network)
        raise ModelError(f"engine '{engine}': OpenVINO is not installed; pip install openvino", "engine") from None
