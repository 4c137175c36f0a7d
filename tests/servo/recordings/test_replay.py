"""Recordings read back: the same views, and from them the same velocities."""

from __future__ import annotations

import json
import logging
import math
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from loop_helpers import Tampered
from recordings_helpers import poses, recorded
from siame_se3.errors import InputError, LawError, ModelError, SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.reduced import Reduced
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Output, View
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings import messages as m
from siame_se3.servo.recordings import reading, sink
from siame_se3.servo.recordings.file import MAGIC
from siame_se3.servo.recordings.laws import controller_of, description
from siame_se3.servo.recordings.messages import Entry
from siame_se3.servo.recordings.reading import is_recording, read
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.recordings.replay import LOST, REPRODUCED, Answers, compare, replay
from siame_se3.servo.recordings.simulated import one_by_one
from siame_se3.servo.simulation import Task, simulate

LENS = Camera.from_focal(300, 224).resized(112)


@pytest.fixture(scope="module")
def model(tiny: NetworkConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    checkpoint.save(checkpoint.Model(SiameseNetwork(tiny).eval(), LENS, 0.6, 0.8, {}), path)
    return path


@pytest.fixture(scope="module")
def run_of_pbvs(scene: Scene, camera: Camera, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read by several tests, changed by none."""
    path = tmp_path_factory.mktemp("run") / "run.mcap"
    recorded(path, PBVS(), scene, camera, description("pbvs"))
    return path


@pytest.mark.parametrize("law", ["neural", "auto", "dvs-light", "handoff", "pbvs-sift", "ibvs-orb", "dct", "pbvs"])
def test_a_law_gives_what_was_recorded(law: str, tmp_path: Path, photo: Scene, model: Path) -> None:
    """By a controller that is made again from the recording."""
    used = model if law in ("neural", "handoff", "auto") else None
    made = controller_for(law, checkpoint.load(used) if used else None, "torch")
    steps = 3 if law in ("auto", "pbvs-sift") else 5
    recorded(tmp_path / "run.mcap", made, photo, LENS, description(law, used, "torch"), steps)
    (run,) = read(tmp_path / "run.mcap")
    controller, note = controller_of(run.law, "run.mcap")
    past, found = replay(run.views(), run.goal, {law: controller})
    result = compare(law, found[law], past)
    assert note == ""
    assert (result.compared, result.missing) == (steps, 0)
    assert float(past.velocities().abs().max()) > 1e-4
    assert result.largest <= REPRODUCED
    assert result.reproduced


def test_another_law_does_not(run_of_pbvs: Path) -> None:
    (run,) = read(run_of_pbvs)
    past, found = replay(run.views(), run.goal, {"ibvs": controller_for("ibvs"), "pbvs": controller_for("pbvs")})
    other = compare("ibvs", found["ibvs"], past)
    assert not other.reproduced
    assert compare("pbvs", found["pbvs"], past).reproduced
    apart = found["ibvs"].velocities() - past.velocities()
    assert other.largest_v == pytest.approx(float(apart[:, :3].norm(dim=1).max()))
    assert other.median_w == pytest.approx(float(apart[:, 3:].norm(dim=1).quantile(0.5)))
    first, second = found["ibvs"].velocities()[:, :3], past.velocities()[:, :3]
    cosines = torch.nn.functional.cosine_similarity(first, second)
    assert other.angle_v == pytest.approx(float(torch.rad2deg(cosines.arccos()).quantile(0.5)), rel=1e-5)


def test_a_difference_above_the_bound_is_one() -> None:
    def of(x: float, fault: str = "") -> Answers:
        v = torch.zeros(6, dtype=torch.float64)
        v[4] = x
        answers = Answers()
        answers.add(v, fault, 0.5)
        return answers

    assert compare("", of(0.1), of(0.1 + 0.9e-5)).reproduced
    assert not compare("", of(0.1), of(0.1 + 1.1e-5)).reproduced
    assert not compare("", of(0.0), of(0.0, "no light")).reproduced
    assert compare("", of(0.0, "dark"), of(0.0, "no light")).reproduced
    assert compare("", of(0.0, "dark"), of(0.0)).faults == {"dark": 1}


def test_views_are_read_as_the_law_saw_them(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    seen: list[View] = []

    class Watching:
        needs = frozenset({"pose"})

        def aim(self, target: View) -> Any:
            seen.append(target)
            law, state = PBVS().aim(target)
            return lambda view, state: (seen.append(view), law(view, state))[1], state

    recorded(tmp_path / "run.mcap", Watching(), scene, camera)
    (run,) = read(tmp_path / "run.mcap")
    views = [one.view for one in run.views()]
    assert len(views) == run.count == len(seen)
    for was, now in zip(seen, [run.goal, *views[:-1]], strict=True):
        for name in ("image", "T_wc", "depth"):
            assert torch.equal(getattr(was, name), getattr(now, name)), name
        assert (was.camera, was.age, was.fault, was.time, was.T_bc) == (
            now.camera,
            now.age,
            now.fault,
            now.time,
            now.T_bc,
        )


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_depth_maps_are_kept(kind: torch.dtype, tmp_path: Path, scene: Scene, camera: Camera) -> None:
    """With float32's digits, which the law gets too, in its own type; NaN where it is not known."""
    depth = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(kind)
    depth[0, 3, 4] = torch.nan
    seen: list[torch.Tensor] = []

    class Mapped(FlyingCameras):
        def _view(self, images: torch.Tensor, T_wc: torch.Tensor, depths: torch.Tensor | None) -> View:
            return replace(super()._view(images, T_wc, depths), depth=depth)

    class Law:
        needs = frozenset({"depth"})

        def aim(self, target: View) -> Any:
            def law(view: View, state: None) -> Any:
                assert view.depth is not None
                seen.append(view.depth)
                return Output.of(torch.zeros(1, 6)), state

            return law, None

    recorded(tmp_path / "run.mcap", Law(), scene, camera, plant=Mapped(scene, camera), steps=1)
    (run,) = read(tmp_path / "run.mcap")
    first = next(run.views()).view.depth
    assert first is not None
    torch.testing.assert_close(first, seen[0], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(first, depth, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_an_image_without_its_depth_is_lost_too(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = sink.Sink.put, iter(range(1000))

    def second_is_lost(self: sink.Sink, entry: Entry, wait: bool) -> bool:
        return False if entry.topic == m.DEPTH and next(calls) == 1 else put(self, entry, wait)

    class Mapped(FlyingCameras):
        def _view(self, images: torch.Tensor, T_wc: torch.Tensor, depths: torch.Tensor | None) -> View:
            return replace(super()._view(images, T_wc, depths), depth=torch.ones(1, 32, 32))

    monkeypatch.setattr(sink.Sink, "put", second_is_lost)
    recorded(tmp_path / "run.mcap", PBVS(), scene, camera, plant=Mapped(scene, camera), steps=3)
    (run,) = read(tmp_path / "run.mcap")
    assert [one.view.image is None for one in run.views()] == [False, True, False, False]
    assert [one.view.depth is None for one in run.views()] == [False, True, False, False]


def test_runs_follow_each_other(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    """Each with its goal; disturbed runs are those of the batch."""
    task = Task(scene, camera, runs=3, seed=5, disturbance=Augmentation(occlusion_rate=1.0))
    config = ServoConfig(gain=8.0, max_iterations=4)
    batch, _, _ = simulate(PBVS(), task, config, quiet=True)
    with Recording(tmp_path / "run.mcap", {"name": "pbvs"}) as recording:
        alone, _, last = simulate(PBVS(), task, config, quiet=True, run=one_by_one(recording, task))
    torch.testing.assert_close(alone.T_wc, batch.T_wc, rtol=0, atol=1e-12)
    assert alone.settings["seconds"] >= 0
    runs = read(tmp_path / "run.mcap")
    assert [run.number for run in runs] == [0, 1, 2]
    plant = FlyingCameras(scene, camera, conditions=task.disturbance, seed=5)
    images = plant.reset(task.draw()[1]).image
    assert images is not None
    for k, run in enumerate(runs):
        views = list(run.views())
        assert len(views) == run.count == 5
        assert run.end == f"iterations (run {k}, 4 iterations)"
        assert torch.equal(torch.stack([one.asked for one in views[:-1] if one.asked is not None]), alone.twist[:, k])
        first = views[0].view.image
        assert first is not None
        torch.testing.assert_close(first[0], images[k], rtol=0, atol=0.51 / 255)
        torch.testing.assert_close(run.goal.T_wc, batch.T_wd[k : k + 1])
    assert last.image is not None


def test_a_recorded_run_has_the_depth_camera_of_its_task(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    task = Task(scene, camera, runs=2, depth="camera")
    with Recording(tmp_path / "run.mcap", {"name": "pbvs"}) as recording:
        run = one_by_one(recording, task)
        simulate(PBVS(), task, ServoConfig(max_iterations=2), quiet=True, run=run)
    for kept in read(tmp_path / "run.mcap"):
        assert [one.view.depth_map is not None for one in kept.views()] == [True] * 3


def test_a_law_without_its_image_says_so(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = sink.Sink.put, iter(range(1000))

    def third_is_lost(self: sink.Sink, entry: Entry, wait: bool) -> bool:
        return False if entry.topic == m.IMAGE and next(calls) == 2 else put(self, entry, wait)

    monkeypatch.setattr(sink.Sink, "put", third_is_lost)
    controller = controller_for("dct")
    recorded(tmp_path / "run.mcap", controller, scene, LENS, description("dct"), steps=4)
    (run,) = read(tmp_path / "run.mcap")
    past, found = replay(run.views(), run.goal, {"dct": controller})
    assert found["dct"].faults == ["", "", LOST, ""]
    result = compare("dct", found["dct"], past)
    assert (result.views, result.compared, result.lost, result.missing) == (4, 3, 1, 0)
    assert result.reproduced, "the views that it could be asked for agree"
    other = Answers()
    for fault in found["dct"].faults:
        other.add(None, fault or "no light", math.nan)
    assert not compare("dct", other, past).reproduced, "a fault is no lost view"


def test_a_run_of_lost_views_reproduces_nothing() -> None:
    lost, past = Answers(), Answers()
    for _ in range(2):
        lost.add(None, LOST, math.nan)
        past.add(torch.ones(6), "", math.nan)
    result = compare("dct", lost, past)
    assert (result.compared, result.lost, result.missing, result.reproduced) == (0, 2, 0, False)


def test_ramps_are_views_without_a_law(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    run = read_of(tmp_path, lambda recording, plant, target, start: recording.servo(
        plant, PBVS(), target, start, ServoConfig(max_iterations=3)))  # fmt: skip
    views = list(run.views())
    assert [one.v is None for one in views] == [False] * 3 + [True]
    assert replay(views, run.goal, {})[0].velocities().shape == (3, 6)
    assert replay(views, run.goal, {}, asked_only=False)[0].velocities().shape == (4, 6)


def read_of(folder: Path, make: Callable[..., object]) -> reading.RecordedRun:
    scene = Scene(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)), 0.8, 0.8)
    plant = FlyingCameras(scene, LENS)
    T_wd, T_wc = poses()
    with Recording(folder / "run.mcap", {"name": "pbvs"}) as recording:
        make(recording, plant, plant.look(T_wd), T_wc)
    return read(folder / "run.mcap")[0]


def test_velocities_that_are_not_finite_are_read_as_such(tmp_path: Path) -> None:
    broken = Tampered(lambda v, runs, call: v * float("inf") if call == 2 else v)
    run = read_of(tmp_path, lambda recording, plant, target, start: recording.servo(plant, broken, target, start))
    velocities = [one.v for one in run.views() if one.v is not None]
    assert [bool(v.isfinite().all()) for v in velocities] == [True, False]


# -- what cannot be read ------------------------------------------------------------------------------------------------


def test_laws_that_lack_something_are_one_line(run_of_pbvs: Path) -> None:
    (run,) = read(run_of_pbvs)
    goal = replace(run.goal, T_wc=None)
    with pytest.raises(LawError, match="law pbvs: it needs pose of the goal"):
        replay(run.views(), goal, {"pbvs": PBVS()})
    blind = (replace(one, view=replace(one.view, T_wc=None)) for one in run.views())
    with pytest.raises(LawError, match="law pbvs: it needs pose, and the recorded views have none"):
        replay(blind, run.goal, {"pbvs": PBVS()})


def test_a_model_that_is_gone_or_another_is_said(tmp_path: Path, model: Path, tiny: NetworkConfig) -> None:
    copy = tmp_path / "m.safetensors"
    copy.write_bytes(model.read_bytes())
    law = json.loads(json.dumps(description("neural", copy, "torch")))
    assert controller_of(law, "run.mcap")[1] == ""
    torch.manual_seed(1)
    checkpoint.save(checkpoint.Model(SiameseNetwork(tiny).eval(), LENS, 0.6, 0.8, {}), copy)
    assert controller_of(law, "run.mcap")[1] == f"the model {copy} is not the one that was recorded"
    copy.unlink()
    with pytest.raises(ModelError, match=r"run.mcap: its model .* is not there") as caught:
        controller_of(law, "run.mcap")
    assert caught.value.settings == ("model",)
    assert controller_of(law, "run.mcap", model)[1] == ""
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "m.safetensors").write_bytes(model.read_bytes())
    assert controller_of(law, str(tmp_path / "moved" / "run.mcap"))[1] == ""


@pytest.mark.parametrize(
    "law",
    [
        {},
        {"name": 3},
        {"name": "dvs", "options": []},
        {"name": "dvs", "options": {"dvs": 3}},
        {"name": "dvs", "image_size": 8},
        {"name": "dvs", "image_size": "480"},
    ],
)
def test_no_law_is_one_line(law: dict[str, Any]) -> None:
    with pytest.raises(SiameError) as caught:
        controller_of(law, "run.mcap")
    assert str(caught.value).startswith("run.mcap: ")


def test_options_of_the_law_are_kept() -> None:
    from siame_se3.laws.photometric import DVS

    law = json.loads(json.dumps(description("dvs", dvs=DVS(border=3))))
    controller, _ = controller_of(law, "run.mcap")
    assert controller == DVS(border=3)
    law = json.loads(json.dumps(description("dvs", dvs=DVS(border=3), image_size=480)))
    assert controller_of(law, "run.mcap")[0] == Reduced(DVS(border=3), 480)


def test_a_file_that_was_cut_off_is_read_up_to_there(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink, "_FLUSH_BYTES", 1)
    path = tmp_path / "run.mcap"
    recorded(path, PBVS(), scene, camera, description("pbvs"), steps=20)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        (run,) = read(path)
    assert 1 < run.count < 21
    assert run.cut
    assert len(list(run.views())) == run.count
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: it is cut off; the {run.count} views before that are used"
    ]
    for length in range(30, 400, 3):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="there is no run in it, as it is cut off"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"no", bytes(1000), b"\x89PNG\r\n"])
def test_other_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.mcap").write_bytes(content)
    with pytest.raises(InputError, match="no MCAP file; give a recording"):
        is_recording(tmp_path / "run.mcap")
    for other in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="give a recording"):
            is_recording(other)


def rewritten(path: Path, new: Path, compression: CompressionType) -> Path:
    """A recording as another tool would write it, in one chunk."""
    with path.open("rb") as stream, new.open("wb") as file:
        writer, channels = Writer(file, chunk_size=1 << 30, compression=compression), {}
        writer.start(library="another tool")
        for schema, channel, message in make_reader(stream).iter_messages(log_time_order=False):
            assert schema is not None
            if channel.topic not in channels:
                kept = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, channel.message_encoding, kept)
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
        writer.finish()
    return new


@pytest.mark.parametrize("compression", list(CompressionType), ids=lambda kind: kind.name)
def test_a_recording_is_read_however_it_is_compressed(
    run_of_pbvs: Path, tmp_path: Path, compression: CompressionType
) -> None:
    path = rewritten(run_of_pbvs, tmp_path / "copy.mcap", compression)
    assert is_recording(path)
    (copy,), (run,) = read(path), read(run_of_pbvs)
    for one, other in zip(copy.views(), run.views(), strict=True):
        assert one.view.image is not None
        assert other.view.image is not None
        assert torch.equal(one.view.image, other.view.image)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("honest", [True, False], ids=["says so", "says less"])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, compression: str, honest: bool) -> None:
    """Before they are in memory: of a chunk of 300 MB no more than what it says, or than the limit."""
    from lz4.frame import LZ4FrameCompressor
    from mcap.data_stream import RecordBuilder
    from mcap.records import Chunk, Header
    from zstandard import ZstdCompressor

    packer: Any = ZstdCompressor().compressobj() if compression == "zstd" else LZ4FrameCompressor()
    begun = packer.begin() if compression == "lz4" else b""
    part, count = bytes(1 << 20), 300
    data = b"".join((begun, *(packer.compress(part) for _ in range(count)), packer.flush()))
    records = RecordBuilder()
    Header("", "siame-se3").write(records)
    said = count << 20 if honest else 1 << 20
    Chunk(compression, data, 0, 0, uncompressed_crc=0, uncompressed_size=said).write(records)
    path = tmp_path / "run.mcap"
    path.write_bytes(MAGIC + records.end())
    assert path.stat().st_size < 4 << 20
    tracemalloc.start()
    try:
        assert refuses(path)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20, "the most that there was"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", [None, CompressionType.LZ4], ids=["as we write it", "lz4"])
def test_damage_anywhere_is_one_line(run_of_pbvs: Path, tmp_path: Path, compression: CompressionType | None) -> None:
    """Bytes changed at random, and fields of messages gone or of another kind."""
    path = rewritten(run_of_pbvs, tmp_path / "copy.mcap", compression) if compression else run_of_pbvs
    content, rng = path.read_bytes(), random.Random(3)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 3, 30))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "damaged.mcap").write_bytes(damaged)
        refused += refuses(tmp_path / "damaged.mcap")
    assert refused > 12, "the sums of the format find most"
    for at in range(8, 110):  # the lengths of header and first chunk among it
        for number in (2**64 - 1, 2**62, 2**41):  # as a length, it would be larger than any memory
            (tmp_path / "damaged.mcap").write_bytes(content[:at] + number.to_bytes(8, "little") + content[at + 8 :])
            refuses(tmp_path / "damaged.mcap")


def refuses(path: Path) -> bool:
    """Whether reading all of a file is refused, in one line."""
    try:
        for run in read(path):
            list(run.views())
    except SiameError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
        return True
    return False


@pytest.mark.parametrize("topic", [m.RUN, m.VIEW, m.LAW, m.TWIST, m.IMAGE, m.GOAL_IMAGE, m.EVENT])
def test_strange_messages_are_one_line(
    topic: str, tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Entry.encoded
    fields = [name for name in m.SCHEMAS[topic]["properties"] if name not in ("timestamp", "level")]
    unused = {"number", "depth_type", "index", "image", "frame_id", "format", "file", "line", "cost", "law"}
    for name in (x for x in fields if x not in unused):
        for k, change in enumerate(
            (lambda d, n: d.pop(n), lambda d, n: d.update({n: ["x"]}), lambda d, n: d.update({n: "?"}))
        ):
            if k == 2 and m.SCHEMAS[topic]["properties"][name] == {"type": "string"}:
                continue
            if k == 1 and name in ("name", "message", "fault"):
                continue  # shown as it is

            def strange(self: Entry, name: str = name, change: Any = change) -> bytes:
                content = json.loads(encoded(self))
                if self.topic == topic:
                    change(content, name)
                return json.dumps(content).encode()

            monkeypatch.setattr(Entry, "encoded", strange)
            path = tmp_path / f"{name}-{k}.mcap"
            recorded(path, PBVS(), scene, camera, description("pbvs"), steps=1)
            assert refuses(path), f"{topic}: {name} {k}"


def test_a_newer_version_is_said(tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "VERSION", 2)
    recorded(tmp_path / "run.mcap", PBVS(), scene, camera)
    monkeypatch.undo()
    with pytest.raises(InputError, match="made by a newer siame-se3"):
        read(tmp_path / "run.mcap")
