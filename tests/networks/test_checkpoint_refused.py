"""Damaged, changed, foreign and giant checkpoints are refused in one line; older ones are migrated."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from checkpoint_helpers import VERSION_1, metadata_of
from siame_se3.errors import ModelError, SiameError
from siame_se3.files import model_file
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model, load, save
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.export import example_inputs
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.migration import CONSTANTS_OF_1, migrated
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.scenes.conditions import NONE
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training import state
from siame_se3.training.batches import BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.trainer import TrainConfig, Trainer

FUZZ = settings(derandomize=True, deadline=None, max_examples=100)


FEW = settings(derandomize=True, deadline=None, max_examples=40)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoint") / "bad.safetensors"


def assert_refused(path: Path, words: str | None = None) -> None:
    with pytest.raises(SiameError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def sealed(weights: dict[str, torch.Tensor], settings: dict[str, str], path: Path) -> Path:
    """A file that is whole, whatever is in it: with the right digests."""
    save_file(weights, path, settings | checkpoint.digests(settings, weights))
    return path


def rewritten(good: Path, bad: Path, **changes: str | None) -> Path:
    metadata = {k: v for k, v in {**metadata_of(good), **changes}.items() if v is not None}
    return sealed(load_file(good), metadata, bad)


def with_field(good: Path, bad: Path, key: str, field: str, value: Any) -> Path:
    """With one field of a setting's JSON changed; 'a.b' is b of a."""
    fields = json.loads(metadata_of(good)[key])
    *above, last = field.split(".")
    inner = fields
    for name in above:
        inner = inner[name]
    assert last in inner
    inner[last] = value
    return rewritten(good, bad, **{key: json.dumps(fields)})


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
    state.save(Trainer(tiny, LossConfig(), source, TrainConfig(steps=1)), bad)
    assert_refused(bad, "training state")


def test_other_safetensors_are_refused(bad: Path) -> None:
    save_file({"weight": torch.zeros(3)}, bad)
    assert_refused(bad, "not a siame-se3 model")


def test_other_version_is_refused(good: Path, bad: Path) -> None:
    assert_refused(rewritten(good, bad, version="3"), "format version 3, this siame-se3 reads up to 2; update")
    assert_refused(rewritten(good, bad, version="99"), "99")
    for text in (None, "", "0", "-1", "two", "1e9", "9" * 5000):
        assert_refused(rewritten(good, bad, version=text), "no format version")


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
        ("network", "output_scale", [9e5] * 6),
        ("network", "rays", [0.3, 0.0, float("nan"), 0.0]),
        ("network", "half_width", float("inf")),
        ("network", "input", 3),
        ("network", "input.luma", [0.3, 0.6]),
        ("network", "input.std", [0.2, 0.2, 0.0]),
        ("network", "input.contrast_cells", 4),
        ("network", "input.contrast_floor", 0),
        ("network", "homography", None),
        ("network", "homography.fit", [5]),
        ("network", "homography.fit.rounds", -1),
        ("network", "homography.fit.kernel", float("nan")),
        ("network", "homography.fit.stiffness", [1.0]),
        ("network", "homography.log_scale", [1.0, -4.0]),
        ("network", "matching.hidden", 0),
        ("network", "matching.step", "far"),
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
    assert_refused(with_field(good, bad, key, field, value))


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
    assert_refused(sealed(tensors, metadata_of(good), bad), r"head\.[09]\.weight")


OLD = {  # printed by the code before format version 2 (revision 37eb243, one thread), of each model file:
    # network = siame_se3.checkpoint.load(path).network; n = network.config.image_size
    # images = torch.rand(4, 3, n, n, generator=torch.Generator().manual_seed(0))
    # print(network(images[:2], network.embed(images[2:])).tolist())
    "coffee": [
        [-0.00723328581, 0.0256770607, -0.0610770695, -0.0432849899, 0.00512576103, 0.0262420662],
        [-0.0235520843, -0.0200880058, 0.0559832565, -0.00490946788, 0.0124779465, -0.00996770896],
    ],
    "any-scene": [
        [0.0034411198, -0.0145069594, 0.000882839144, -0.0231959298, -0.00872443151, -0.0171068572],
        [-8.65566617e-05, 0.00148098764, -0.00477173598, -0.000387648412, 0.000271783647, 0.0002185841],
    ],
    # of NetworkConfig("test_resnet", 32, pooling="descriptors", fusion="matching", stride=4, squeeze=4, head=(16,)), seed 3, with noise
    # on the layers that refine the matches; written by that code with half=True
    "version-1": [
        [0.00422186125, 0.00124756247, 0.00371436193, -0.00289790332, 0.00460374681, 0.00354720955],
        [0.00119141641, 0.00171208836, 0.0018740684, -0.00274950871, -0.00254812255, -0.000163143879],
    ],
}


@pytest.mark.parametrize("name", OLD)
def test_models_say_what_they_said_before(name: str) -> None:
    network = load(VERSION_1 if name == "version-1" else model_file(Path(name))).network
    n = network.config.image_size
    images = torch.rand(4, 3, n, n, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = network(images[:2], network.embed(images[2:]))
    np.testing.assert_allclose(v.numpy(), OLD[name], rtol=1e-5, atol=1e-6)


def test_version_1_is_migrated(tmp_path: Path) -> None:
    settings = metadata_of(VERSION_1)
    assert settings["version"] == "1"
    assert "input" not in json.loads(settings["network"])
    model = load(VERSION_1)
    assert dataclasses.asdict(model.network.config.matching)["fit"]["stiffness"] == (1.0, 10.0)
    save(model, tmp_path / "again.safetensors", half=True)
    again = metadata_of(tmp_path / "again.safetensors")
    assert again["version"] == "2"
    assert json.loads(again["network"]).items() >= json.loads(json.dumps(CONSTANTS_OF_1)).items()
    assert "matching.refine.1.weight" in load_file(tmp_path / "again.safetensors")


def test_what_version_1_had_in_its_code_is_in_the_file_once_migrated() -> None:
    """Whatever the defaults of a later version."""
    settings, names = migrated(metadata_of(VERSION_1), {"matching.mend.1.weight": "stored", "head.0.bias": "too"})
    fit = {"rounds": 5, "kernel": 5.0, "stiffness": [1.0, 10.0], "prior": 1.0, "units": [2.0, 10.0]}
    assert json.loads(settings["network"])["matching"]["fit"] == fit
    assert json.loads(settings["network"])["input"]["contrast_floor"] == 0.02
    assert names == {"matching.refine.1.weight": "stored", "head.0.bias": "too"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("homography.fit.rounds", 1), ("homography.fit.kernel", 0.5), ("homography.fit.stiffness", [50.0, 100.0])],
)
def test_constants_of_the_fit_are_those_of_the_file(
    tiny: NetworkConfig, camera: Camera, tmp_path: Path, field: str, value: Any
) -> None:
    config = dataclasses.replace(tiny, pooling="homography", stride=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save(Model(SiameseNetwork(config), camera, 0.6, 0.8), tmp_path / "good.safetensors")
    other = load(with_field(tmp_path / "good.safetensors", tmp_path / "other.safetensors", "network", field, value))
    images = example_inputs(other.network)[0]
    with torch.no_grad():
        s, s_other = (m.network.embed(images) for m in (load(tmp_path / "good.safetensors"), other))
    assert float((s - s_other).abs().max()) > 1e-3


def test_flipped_bits_are_refused(good: Path, bad: Path) -> None:
    content = good.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    places = [*random.integers(0, 8 * header, 15), *random.integers(8 * header, 8 * len(content), 15)]
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        bad.write_bytes(flipped)
        assert_refused(bad, None if place < 8 * header else "weights are not as they were written")


@pytest.mark.parametrize("key", ["network", "camera", "setup", "card"])
def test_changed_settings_are_refused(good: Path, bad: Path, key: str) -> None:
    settings = metadata_of(good)
    changes = {"network": {"head": [33]}, "camera": {"fx": 43.0}, "setup": {"distance": 0.7}, "card": {"steps": 5}}
    settings[key] = json.dumps(json.loads(settings[key]) | changes[key])
    save_file(load_file(good), bad, settings)
    assert_refused(bad, "settings are not as they were written")


@pytest.mark.parametrize("key", ["settings_sha256", "weights_sha256"])
def test_files_without_their_digest_are_refused(good: Path, bad: Path, key: str) -> None:
    settings = metadata_of(good)
    save_file(load_file(good), bad, {k: v for k, v in settings.items() if k != key})
    assert_refused(bad, "not as they were written")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(good: Path, bad: Path, value: float) -> None:
    tensors = load_file(good)
    tensors["head.0.weight"][0, 0] = value
    assert_refused(sealed(tensors, metadata_of(good), bad), r"head\.0\.weight is not finite")


def test_weights_that_are_not_finite_are_not_written(tiny: NetworkConfig, camera: Camera, tmp_path: Path) -> None:
    network = SiameseNetwork(tiny).requires_grad_(False)
    network.head[0].weight[0, 0] = 1e6  # type: ignore[operator, union-attr]  # a Linear
    save(Model(network, camera, 0.6, 0.8), tmp_path / "full.safetensors")
    with pytest.raises(ModelError, match=r"head\.0\.weight is not finite in float16"):
        save(Model(network, camera, 0.6, 0.8), tmp_path / "half.safetensors", half=True)
    assert [path.name for path in tmp_path.iterdir()] == ["full.safetensors"]


GIANT: list[dict[str, Any]] = [
    {"backbone": "convnext_xxlarge", "stride": 32},
    {"backbone": "convnext_xxlarge", "pooling": "average"},
    {"head": [65536] * 40},
    {"head": [25000, 25000]},
    {"squeeze": 65536, "embedding": 65536},
    {"pooling": "descriptors", "fusion": "matching", "image_size": 2048},
    {"image_size": 2048, "embedding": 65536},
    {"image_size": 1 << 40},
    {"pooling": "homography", "homography": {"hidden": 1 << 40}},
]


@pytest.mark.parametrize("changes", GIANT, ids=str)
@pytest.mark.parametrize("weights", ["none", "small"])
def test_giant_networks_are_refused_before_they_are_built(
    good: Path, bad: Path, changes: dict[str, Any], weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(config: NetworkConfig) -> SiameseNetwork:
        assert torch.get_default_device().type == "meta", "built with memory"
        return SiameseNetwork(config)

    settings = metadata_of(good)
    settings["network"] = json.dumps(json.loads(settings["network"]) | changes)
    sealed(load_file(good) if weights == "small" else {}, settings, bad)
    monkeypatch.setattr(checkpoint, "SiameseNetwork", built)
    assert_refused(bad, r"its weights|its network's|network: |network\.homography: ")


def test_weights_that_claim_more_than_the_file_has_are_refused(good: Path, bad: Path) -> None:
    content = good.read_bytes()
    bad.write_bytes((3 << 30).to_bytes(8, "little") + content[8:])
    assert_refused(bad, "header claims 3221225472 bytes")
    bad.write_bytes((8 << 20).to_bytes(8, "little") + b" " * (8 << 20))
    assert_refused(bad, "header claims 8388608 bytes")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header["head.0.weight"] |= {"shape": [1 << 20, 1 << 20], "data_offsets": [0, 4 << 40]}
    text = json.dumps(header).encode()
    bad.write_bytes(len(text).to_bytes(8, "little") + text + bytes(9000))
    assert_refused(bad)


@pytest.mark.slow
def test_giant_files_need_no_memory(good: Path, tmp_path: Path) -> None:
    """Measured: in a process that may not grow by more than 300 MB once the package is imported."""
    paths = []
    for n, changes in enumerate(GIANT):
        settings = metadata_of(good)
        settings["network"] = json.dumps(json.loads(settings["network"]) | changes)
        paths.append(str(sealed({}, settings, tmp_path / f"{n}.safetensors")))
    code = f"""
import resource, timm, torch
from siame_se3.errors import ModelError
from siame_se3.networks.checkpoint import load
load({str(good)!r})
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (300 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in {paths!r}:
    try:
        load(path)
    except ModelError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert len(done.stdout.splitlines()) == len(GIANT)
