"""What runs a network: on copies, silently, and the same by each engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.networks import engines
from siame_se3.networks.engines import Engine, OpenVinoEngine, TorchEngine, engine_for
from siame_se3.networks.siamese import SiameseNetwork

Lean = Callable[..., SiameseNetwork]


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network(lean: Lean) -> SiameseNetwork:
    return lean()


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """A machine with a GPU: which modules are moved to it (nothing really moves)."""
    found: list[nn.Module] = []

    def move(module: nn.Module, *where: Any, **options: Any) -> nn.Module:
        found.append(module)
        return module

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("to", "cuda", "cpu"):
        monkeypatch.setattr(nn.Module, name, move)
    return found


def assert_untouched(network: SiameseNetwork, before: dict[str, Tensor]) -> None:
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad and p.device.type == "cpu" for p in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino", "openvino-bf16"])
def test_engines_leave_the_callers_network_as_it_is(network: SiameseNetwork, engine: str) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    runs = engine_for(network, engine)
    runs.step(rand(2, 3, 32, 32), runs.embed(rand(2, 3, 32, 32, seed=1)))
    assert_untouched(network, before)


@pytest.mark.parametrize("engine", ["auto", "cuda"])
def test_the_gpu_gets_a_copy(network: SiameseNetwork, moved: list[nn.Module], engine: str) -> None:
    """The evaluation of a training on the CPU of a machine with a GPU must not move what is trained."""
    before = {k: v.clone() for k, v in network.state_dict().items()}
    runs = engine_for(network, engine)
    assert isinstance(runs, TorchEngine)
    assert moved == [runs.network]
    mine = {id(module) for module in network.modules()}
    assert not mine & {id(module) for found in moved for module in found.modules()}
    assert_untouched(network, before)


def test_an_engine_is_on_its_own_device(network: SiameseNetwork) -> None:
    assert TorchEngine(network, device="meta").name == "torch-meta"
    assert TorchEngine(network).name == "torch-cpu"
    assert {p.device.type for p in network.parameters()} == {"cpu"}


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_training_on_does_not_reach_the_engine(network: SiameseNetwork, engine: str) -> None:
    runs = engine_for(network, engine)
    images = rand(1, 3, 32, 32)
    first = runs.embed(images)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
    assert torch.equal(runs.embed(images), first)


@pytest.fixture(scope="module", params=["relative", "matching"])
def engines_of_one(lean: Lean, request: pytest.FixtureRequest) -> tuple[OpenVinoEngine, TorchEngine]:
    changes = {"matching": {"pooling": "descriptors", "fusion": "matching", "stride": 4}, "relative": {}}
    network = lean(**changes[request.param])
    return OpenVinoEngine(network, "f32", 1), TorchEngine(network)


@pytest.mark.parametrize(("asked", "quota", "threads"), [(0, 2, 2), (3, 2, 3), (0, None, None)])
def test_openvino_keeps_to_a_container_s_quota(
    lean: Lean, asked: int, quota: int | None, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it does not see: it took a thread for each core of the machine."""
    monkeypatch.setattr(engines, "quota", lambda: quota)
    engine = OpenVinoEngine(lean(), "f32", asked)
    assert engine._options.get("INFERENCE_NUM_THREADS") == threads


def test_an_engine_takes_two_threads(engines_of_one: tuple[OpenVinoEngine, TorchEngine]) -> None:
    """`auto` searches beside its loop, and two laws on a page share a network: one request's output was the other one's."""
    for engine in engines_of_one:
        images = [rand(1, 3, 32, 32, seed=seed) for seed in range(2)]
        expected = [engine.embed(image) for image in images]

        def same(k: int, engine: Engine = engine, images: Any = images, expected: Any = expected) -> bool:
            return all(torch.equal(engine.embed(images[k]), expected[k]) for _ in range(100))

        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(same, (0, 1)))


@pytest.mark.parametrize("n", [1, 3])
def test_openvino_says_the_same_at_any_batch_size(engines_of_one: tuple[OpenVinoEngine, TorchEngine], n: int) -> None:
    engine, plain = engines_of_one
    images, s = rand(n, 3, 32, 32), plain.embed(rand(n, 3, 32, 32, seed=1))
    v = plain.step(images, s)
    torch.testing.assert_close(engine.step(images, s), v, rtol=0, atol=1e-4 * float(v.abs().max()))


def test_without_openvino_pytorch_runs_it(network: SiameseNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engine_for(network).name == "torch-cpu"
    with pytest.raises(ModelError, match="engine 'openvino': OpenVINO is not installed; pip install openvino"):
        engine_for(network, "openvino")


@pytest.mark.parametrize(
    ("engine", "words"), [("cuda", "no CUDA GPU here"), ("tpu", "unknown engine 'tpu'; use auto,")]
)
def test_engines_that_are_not_there(
    network: SiameseNetwork, monkeypatch: pytest.MonkeyPatch, engine: str, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=words) as caught:
        engine_for(network, engine)
    assert caught.value.settings == ("engine",)
    assert "--" not in str(caught.value)


SILENT = """
import json, os, socket, sys, threading
looked_up = []

def refuse(*arguments, **options):
    looked_up.append(repr(arguments))
    raise OSError("no network here")

for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
    setattr(socket, name, refuse)
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from siame_se3.files import model_file
from siame_se3.networks.checkpoint import Model, load
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import engine_for
from siame_se3.networks.export import example_inputs, export
from siame_se3.networks.siamese import SiameseNetwork
small = NetworkConfig(image_size=32, pooling="spatial", squeeze=4, embedding=8, fusion="difference", head=(8,))
bundled = load(model_file(None))
model = Model(SiameseNetwork(small), bundled.camera, 0.6, 0.8)
engine = engine_for(model.network, "openvino")
engine.step(*example_inputs(model.network, 1))
export(model, Path(sys.argv[1]) / "net", "openvino")
for thread in threading.enumerate():
    if thread is not threading.main_thread() and not thread.daemon:
        thread.join(20)
home = [str(path) for path in Path.home().rglob("*")]
print(json.dumps([looked_up, home, [n for n in sys.modules if n.startswith(("timm", "torchvision", "huggingface_hub"))]]))
"""


@pytest.mark.slow
def test_nothing_is_looked_up_and_nothing_written_at_home(tmp_path: Path) -> None:
    """Engines and export of a bundled model: no word to anybody; and neither timm, torchvision nor a hub client is used."""
    (tmp_path / "home").mkdir()
    environment = {
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(engines.__file__).parents[2]),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120, env=environment,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == [[], [], []]
    assert (tmp_path / "net-step.bin").is_file()


PRESSED = """
import signal, sys, threading
from pathlib import Path
from siame_se3.files import model_file
from siame_se3.networks.checkpoint import Model, load
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.engines import engine_for
from siame_se3.networks.export import example_inputs, export
from siame_se3.networks.siamese import SiameseNetwork
if "faulthandler" in sys.argv:
    import faulthandler
    faulthandler.enable()
pressed = []
signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
small = NetworkConfig(image_size=32, pooling="spatial", squeeze=4, embedding=8, fusion="difference", head=(8,))
network = SiameseNetwork(small)

def engine():
    engine = engine_for(network, "openvino")
    engine.step(*example_inputs(network, 1))
    return engine

engines = [engine(), engine()]
export(Model(network, load(model_file(None)).camera, 0.6, 0.8), Path(sys.argv[1]) / "net", "openvino")
signal.raise_signal(signal.SIGINT)
del engines[0]  # the older one first
signal.raise_signal(signal.SIGINT)
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
signal.raise_signal(signal.SIGINT)
again = engine()
del again
signal.raise_signal(signal.SIGINT)
print(len(pressed))
"""


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "faulthandler"])
def test_ctrl_c_is_heard_whichever_engines_have_ended(tmp_path: Path, more: str) -> None:
    """OpenVINO left the main thread a stack for signals that was gone: the second engine's end made Ctrl-C a segmentation fault."""
    environment = {"PYTHONPATH": str(Path(engines.__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, str(tmp_path), more],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4"


def test_openvino_that_was_imported_before_is_silent_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the caller's own program imported it, with its telemetry."""
    engines.import_openvino()
    users = [m for name, m in sys.modules.items() if name.startswith("openvino.tools.ovc.") and hasattr(m, "tm")]
    assert len(users) > 1

    class Loud:
        def Telemetry(self, *arguments: Any, **options: Any) -> None:
            pytest.fail("telemetry was asked for")

    for module in users:
        monkeypatch.setattr(module, "tm", Loud())
    engines.to_openvino(nn.Linear(2, 2), {"input": torch.zeros(1, 2)})
    assert not any(isinstance(module.tm, Loud) for module in users)
