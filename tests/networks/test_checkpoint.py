from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from siame_se3.errors import SiameError
from siame_se3.files import atomically
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model, load, save
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.export import example_inputs, export
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training.batches import BatchSource, DataConfig
from siame_se3.training.trainer import TrainConfig, Trainer

FUZZ = settings(derandomize=True, deadline=None, max_examples=100)
FEW = settings(derandomize=True, deadline=None, max_examples=40)
CARD = {"photo": ["coffee"], "steps": 4, "closed_loop": [{"step": 4, "end_t_m": 0.01}]}


@pytest.fixture(scope="module")
def model(tiny: NetworkConfig, camera: Camera) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(tiny).eval()
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():  # as after a training: no longer 0 and 1
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return Model(network, camera, 0.6, 0.8, CARD)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "good.safetensors"
    save(model, path)
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint") / "bad.safetensors"


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def assert_refused(path: Path, words: str | None = None) -> None:
    with pytest.raises(SiameError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def rewritten(good: Path, bad: Path, **changes: str | None) -> Path:
    metadata = {k: v for k, v in {**metadata_of(good), **changes}.items() if v is not None}
    save_file(load_file(good), bad, metadata)
    return bad


def test_model_comes_back_as_it_was(model: Model, good: Path) -> None:
    again = load(good)
    ours, theirs = model.network.state_dict(), again.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours)
    assert again.network.config == model.network.config
    assert (again.camera, again.distance, again.scene_width, again.card) == (model.camera, 0.6, 0.8, CARD)
    assert not again.network.training
    images, s = example_inputs(model.network)
    with torch.no_grad():
        assert torch.equal(again.network(images, s), model.network(images, s))


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "concatenation", "colour": False, "zero_at_goal": False},
        {"pooling": "average", "output": "pose"},
        {"pooling": "homography", "local_contrast": 0.25},
        {"head": (), "output_scale": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)},
    ],
    ids=str,
)
def test_each_config_comes_back(tiny: NetworkConfig, camera: Camera, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = dataclasses.replace(tiny, **changes)
    lens = dataclasses.replace(camera, distortion=(0.1, 0.0, 0.0, 0.0))
    save(Model(SiameseNetwork(config), lens, 0.3, 0.42), tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.network.config == config
    assert again.camera == lens


def test_loading_needs_no_pretrained_weights(tiny: NetworkConfig, model: Model, tmp_path: Path) -> None:
    network = SiameseNetwork(tiny)
    network.config = dataclasses.replace(tiny, pretrained=True)
    save(Model(network, model.camera, 0.6, 0.8), tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").network.config.pretrained


def test_half_is_half_the_size_and_rounds(model: Model, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save(model, path, half=True)
    ours, theirs = model.network.state_dict(), load(path).network.state_dict()
    for key, value in ours.items():
        assert theirs[key].dtype == value.dtype
        assert torch.equal(theirs[key], value.half().float() if value.is_floating_point() else value)
    assert path.stat().st_size < 0.6 * good.stat().st_size
    images, s = example_inputs(model.network)
    with torch.no_grad():
        expected = model.network(images, s)
        got = load(path).network(images, s)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.01 * float(expected.abs().max()))


def test_conventions_are_in_the_file(good: Path) -> None:
    conventions = json.loads(metadata_of(good)["conventions"])
    assert "camera frame" in conventions["twist"]
    assert {"twist", "camera", "image"} <= conventions.keys()


def test_missing_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.safetensors", "no such file")
    assert_refused(tmp_path, "no such file")


@given(st.binary(max_size=300))
@FUZZ
def test_random_bytes_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(content)
    assert_refused(bad)


@given(st.integers(0, 2**63), st.binary(max_size=300))
@FUZZ
def test_random_headers_are_refused(bad: Path, length: int, content: bytes) -> None:
    bad.write_bytes(length.to_bytes(8, "little") + content)
    assert_refused(bad)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_file_cut_short_is_refused(good: Path, bad: Path, share: float) -> None:
    content = good.read_bytes()
    bad.write_bytes(content[: int(share * len(content))])
    assert_refused(bad)


@given(st.data())
@FEW
def test_damaged_header_never_gives_another_error(good: Path, bad: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    header = int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header + 7))] = data.draw(st.integers(0, 255))
    bad.write_bytes(content)
    try:
        load(bad)
    except SiameError as error:
        assert len(str(error).splitlines()) == 1
        assert str(bad) in str(error)


def test_training_state_is_refused(tiny: NetworkConfig, scene: Scene, camera: Camera, bad: Path) -> None:
    source = BatchSource([scene], camera, Workspace(), DataConfig(views=8, augmentation=NONE), 0)
    Trainer(tiny, LossConfig(), source, TrainConfig()).save(bad)
    assert_refused(bad, "training state")


def test_other_safetensors_are_refused(bad: Path) -> None:
    save_file({"weight": torch.zeros(3)}, bad)
    assert_refused(bad, "not a siame-se3 model")


def test_other_version_is_refused(good: Path, bad: Path) -> None:
    assert_refused(rewritten(good, bad, version="99"), "99")
    assert_refused(rewritten(good, bad, version=None))


@pytest.mark.parametrize("key", ["network", "camera", "setup", "card"])
@pytest.mark.parametrize("value", [None, "", "{", "[1]", "3", '"text"', "null"], ids=repr)
def test_damaged_metadata_is_refused(good: Path, bad: Path, key: str, value: str | None) -> None:
    if (key, value) != ("card", "[1]"):  # free-form
        assert_refused(rewritten(good, bad, **{key: value}))


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("network", "image_size", "large"),
        ("network", "image_size", -32),
        ("network", "image_size", None),
        ("network", "image_size", 0),
        ("network", "stride", 0),
        ("network", "embedding", -1),
        ("network", "squeeze", 1.5),
        ("network", "head", "wide"),
        ("network", "head", [32, "x"]),
        ("network", "head", 32),
        ("network", "output_scale", [0.1]),
        ("network", "output_scale", "x"),
        ("network", "output_scale", None),
        ("network", "backbone", "none_such"),
        ("network", "backbone", 3),
        ("network", "fusion", "sum"),
        ("network", "pooling", "maximum"),
        ("network", "output", "force"),
        ("camera", "fx", "far"),
        ("camera", "fx", -1),
        ("camera", "width", None),
        ("camera", "distortion", 3),
        ("camera", "distortion", ["x"]),
        ("setup", "distance", None),
        ("setup", "distance", "far"),
        ("setup", "distance", -1),
        ("setup", "scene_width", float("nan")),
    ],
)
def test_fields_of_the_wrong_kind_are_refused(good: Path, bad: Path, key: str, field: str, value: Any) -> None:
    fields = json.loads(metadata_of(good)[key])
    assert field in fields
    assert_refused(rewritten(good, bad, **{key: json.dumps(fields | {field: value})}))


@pytest.mark.parametrize("name", ["hf-hub:nobody/nothing", "local-dir:nothing"])
def test_backbone_from_elsewhere_is_refused(good: Path, bad: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file must not make timm fetch or read something."""
    fields = json.loads(metadata_of(good)["network"]) | {"backbone": name}
    monkeypatch.setattr(timm, "create_model", lambda name, **options: pytest.fail(f"timm was asked for {name}"))
    assert_refused(rewritten(good, bad, network=json.dumps(fields)))


@pytest.mark.parametrize(("key", "kind"), [("network", "NetworkConfig"), ("camera", "Camera")])
def test_unknown_fields_are_refused(good: Path, bad: Path, key: str, kind: str) -> None:
    fields = json.loads(metadata_of(good)[key]) | {"wings": 2}
    assert_refused(rewritten(good, bad, **{key: json.dumps(fields)}), f"'wings' of {kind}")


@pytest.mark.parametrize("change", ["missing", "surplus", "reshaped"])
def test_weights_that_do_not_fit_are_refused(good: Path, bad: Path, change: str) -> None:
    tensors = load_file(good)
    weight = tensors.pop("head.0.weight")
    if change == "surplus":
        tensors |= {"head.0.weight": weight, "head.9.weight": weight.clone()}
    elif change == "reshaped":
        tensors["head.0.weight"] = weight[:, 1:].contiguous()
    save_file(tensors, bad, metadata_of(good))
    assert_refused(bad, r"head\.[09]\.weight")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_failed_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(partial: Path) -> None:
        partial.write_bytes(b"half of the n")
        raise error

    with pytest.raises(type(error)):
        atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    for content in (b"old", b"new"):
        atomically(path, lambda partial, content=content: partial.write_bytes(content))
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_failed_save_leaves_the_old_model(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    before = path.read_bytes()

    def fail(tensors: object, partial: Path, metadata: object) -> None:
        Path(partial).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "difference"},
        {"fusion": "relative"},
        {"fusion": "absolute", "output": "pose", "head": ()},
        {"pooling": "homography", "local_contrast": 0.2},
        {"pooling": "homography", "fusion": "geometric"},
        {"pooling": "descriptors", "fusion": "matching"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_exports_say_the_same(
    tiny: NetworkConfig, camera: Camera, tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SiameseNetwork(dataclasses.replace(tiny, **changes))
    differences = export(Model(network.eval(), camera, 0.6, 0.8), tmp_path / "out" / "net", kind)
    suffix = {"openvino": "xml", "onnx": "onnx"}[kind]
    assert differences.keys() == {f"net-embed.{suffix}", f"net-step.{suffix}"}
    assert differences[f"net-embed.{suffix}"] < 1e-6
    # A step's output is a small difference of these: random images look alike to random weights.
    assert differences[f"net-step.{suffix}"] < 5e-5
    assert kind == "onnx" or (tmp_path / "out" / "net-step.bin").is_file()


def test_onnx_says_the_same_at_any_batch_size(model: Model, tmp_path: Path) -> None:
    import onnxruntime

    differences = export(model, tmp_path / "net", "onnx")
    assert differences.keys() == {"net-embed.onnx", "net-step.onnx"}
    assert max(differences.values()) < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "net-step.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 3):
        images, s = example_inputs(model.network, n)
        with torch.no_grad():
            expected = model.network(images, s).numpy()
        got = session.run(None, {"images": images.numpy(), "s_desired": s.numpy()})[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_unknown_export_format_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SiameError, match="onnx or openvino"):
        export(model, tmp_path / "net", "tflite")
