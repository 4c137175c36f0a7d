"""What is recorded, as the format's own reader sees it."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mcap.reader import make_reader
from PIL import Image

from loop_helpers import SpyPlant, Tampered
from recordings_helpers import poses, recorded
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import WrappedPlant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings import messages as m
from siame_se3.servo.recordings.messages import SCHEMAS, Entry
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.recordings.sink import Sink
from siame_se3.servo.safety import Safety


def contents(path: Path) -> dict[str, list[dict[str, Any]]]:
    """By topic, read by the format's own reader, which checks all sums."""
    found: dict[str, list[dict[str, Any]]] = {}
    with path.open("rb") as stream:
        for _, channel, message in make_reader(stream, validate_crcs=True).iter_messages():
            found.setdefault(channel.topic, []).append(json.loads(message.data))
    return found


def pixels(message: dict[str, Any]) -> np.ndarray:
    assert message["format"] == "png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(message["data"]))))


class Camcorder(WrappedPlant):
    """Keeps the images that a plant gives."""

    def __init__(self, plant: FlyingCameras) -> None:
        super().__init__(plant)
        self.images: list[torch.Tensor] = []

    def reset(self, start: torch.Tensor | None) -> View:
        return self._kept(self.plant.reset(start))

    def step(self, v: torch.Tensor) -> tuple[View, torch.Tensor]:
        view, applied = self.plant.step(v)
        return self._kept(view), applied

    def _kept(self, view: View) -> View:
        assert view.image is not None
        self.images.append(view.image[0])
        return view


def test_every_frame_is_in_it_to_the_level(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    plant = Camcorder(FlyingCameras(scene, camera))
    trajectory = recorded(tmp_path / "run.mcap", PBVS(), scene, camera, plant=plant)
    found = contents(tmp_path / "run.mcap")
    assert len(found[m.IMAGE]) == len(plant.images) == len(trajectory.twist) + 1 == 7
    for message, image in zip(found[m.IMAGE], plant.images, strict=True):
        apart = np.abs(pixels(message) / 255 - image.permute(1, 2, 0).numpy())
        assert apart.max() <= 0.5 / 255 + 1e-6
    goal = FlyingCameras(scene, camera).look(poses()[0]).image
    assert goal is not None
    assert np.abs(pixels(found[m.GOAL_IMAGE][0]) / 255 - goal[0].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_twists_poses_camera_and_settings_are_the_run_s(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    trajectory = recorded(tmp_path / "run.mcap", PBVS(), scene, camera, {"name": "pbvs", "options": {}})
    found = contents(tmp_path / "run.mcap")

    def vector(twist: dict[str, Any]) -> list[float]:
        return [twist[part][axis] for part in ("v", "omega") for axis in "xyz"]

    assert [vector(x["asked"]) for x in found[m.TWIST]] == trajectory.twist[:, 0].tolist()
    assert [vector(x["applied"]) for x in found[m.TWIST]] == trajectory.applied[:, 0].tolist()
    assert [x["T_wc"] for x in found[m.VIEW]] == trajectory.T_wc[:, 0].flatten(1).tolist()
    for message, T in zip(found[m.POSE], trajectory.T_wc[:, 0], strict=True):
        position, q = message["pose"]["position"], message["pose"]["orientation"]
        assert [position[axis] for axis in "xyz"] == T[:3, 3].tolist()
        w, v = q["w"], torch.tensor([q["x"], q["y"], q["z"]], dtype=torch.float64)
        ray = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
        turned = ray + 2 * torch.linalg.cross(v, torch.linalg.cross(v, ray) + w * ray)  # Rodrigues, by the quaternion
        torch.testing.assert_close(turned, T[:3, :3] @ ray)
        assert message["frame_id"] == "scene"
    calibration = found[m.CALIBRATION][0]
    assert (calibration["K"], calibration["width"]) == (camera.K.flatten().tolist(), 32)
    (run,) = found[m.RUN]
    assert run["law"] == {"name": "pbvs", "options": {}}
    assert run["settings"]["servo"]["gain"] == 8.0
    times = [x["timestamp"]["sec"] + 1e-9 * x["timestamp"]["nsec"] for x in found[m.VIEW]]
    assert np.diff(times) == pytest.approx(0.04, abs=1e-6)


def test_messages_fit_their_schemas(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    """What a schema requires is there, of its type: Foxglove decodes by it."""
    types = {"object": dict, "integer": int, "number": int | float, "string": str, "array": list, "boolean": bool}

    def check(value: Any, schema: dict[str, Any], where: str) -> None:
        if "oneOf" in schema:
            schema = {"type": "null"} if value is None else schema["oneOf"][0]
        if schema["type"] == "null":
            return
        assert isinstance(value, types[schema["type"]]), where
        for name, part in schema.get("properties", {}).items():
            assert name in value, f"{where}.{name}"
            check(value[name], part, f"{where}.{name}")
        for part in value if "items" in schema else ():
            check(part, schema["items"], where)
        assert schema.get("minItems", 0) <= len(value if schema["type"] == "array" else ()), where

    recorded(tmp_path / "run.mcap", PBVS(), scene, camera)
    with (tmp_path / "run.mcap").open("rb") as stream:
        schemas = {}
        for schema, channel, message in make_reader(stream).iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            schemas[channel.topic] = json.loads(schema.data)
            check(json.loads(message.data), schemas[channel.topic], channel.topic)
            assert schema.name == SCHEMAS[channel.topic]["title"]
    assert set(SCHEMAS) - set(schemas) == {m.DEPTH, m.GOAL_DEPTH}
    assert schemas[m.IMAGE]["properties"]["data"]["contentEncoding"] == "base64"


def test_the_law_sees_what_is_recorded(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    """8 bits: also of a plant whose images have more."""
    seen: list[torch.Tensor] = []

    class Watching:
        needs = frozenset({"image", "pose"})

        def aim(self, target: View) -> Any:
            assert target.image is not None
            seen.append(target.image[0])
            law, state = PBVS().aim(target)

            def watching(view: View, state: Any) -> Any:
                assert view.image is not None
                seen.append(view.image[0])
                return law(view, state)

            return watching, state

    recorded(tmp_path / "run.mcap", Watching(), scene, camera)
    found = contents(tmp_path / "run.mcap")
    stored = [*found[m.GOAL_IMAGE], *found[m.IMAGE]]
    assert len(seen) == len(stored) - 1  # the last view is of no iteration
    for image, message in zip(seen, stored, strict=False):
        assert torch.equal(image, torch.from_numpy(pixels(message).copy()).permute(2, 0, 1).float() / 255)


def test_events_tell_starts_hand_offs_faults_and_ends(tmp_path: Path, scene: Scene, camera: Camera) -> None:
    T_wd, T_wc = poses()
    plant = FlyingCameras(scene, camera)

    class Changing:
        needs = frozenset({"pose"})

        def aim(self, target: View) -> Any:
            law, state = PBVS().aim(target)
            calls = iter(range(100))

            def changing(view: View, state: Any) -> Any:
                output, state = law(view, state)
                k = next(calls)
                faults = ("no light",) if k == 4 else ("",)
                return replace(output, stage=torch.tensor([int(k > 1)]), faults=faults), state

            return changing, state

    with Recording(tmp_path / "run.mcap", {"name": "mine"}) as recording:
        recording.servo(plant, Changing(), plant.look(T_wd), T_wc, ServoConfig(max_iterations=8))
        settled = recording.servo(plant, PBVS(), plant.look(T_wd), T_wd, ServoConfig())
        broken = Tampered(lambda v, runs, call: 100 * v)
        target = plant.look(T_wd)
        recording.servo(plant, broken, target, T_wc, ServoConfig(), safety=Safety(max_law=1.0))
        with pytest.raises(ZeroDivisionError):
            recording.servo(plant, Tampered(lambda v, runs, call: v / (1 // 0)), target, T_wc, ServoConfig())
    events = [(x["name"], x["level"], x["message"]) for x in contents(tmp_path / "run.mcap")[m.EVENT]]
    assert events == [
        ("start", 2, "law mine (run 0)"),
        ("hand-off", 2, "view 2: part 1 of the law takes over"),
        ("fault", 3, "view 4: no light"),
        ("stop", 3, "iterations (run 0, 8 iterations)"),
        ("start", 2, "law mine (run 1)"),
        ("settled", 2, f"settled (run 1, {int(settled.iterations)} iterations)"),
        ("start", 2, "law mine (run 2)"),
        ("halt", 4, events[7][2]),
        ("start", 2, "law mine (run 3)"),
        ("error", 4, "integer division or modulo by zero"),
    ]
    assert events[7][2].startswith("the law exploded")


def test_a_plant_without_images_is_recorded_too(tmp_path: Path) -> None:
    T_wd, T_wc = poses()
    with Recording(tmp_path / "run.mcap", {}) as recording:
        recording.servo(SpyPlant(), PBVS(), View(T_wc=T_wd), T_wc, ServoConfig(max_iterations=3))
    found = contents(tmp_path / "run.mcap")
    assert {topic: len(found[topic]) for topic in (m.VIEW, m.TWIST, m.LAW)} == {m.VIEW: 4, m.TWIST: 3, m.LAW: 3}
    assert m.IMAGE not in found


def test_several_cameras_are_refused(tmp_path: Path) -> None:
    with (
        Recording(tmp_path / "run.mcap", {}) as recording,
        pytest.raises(InputError, match="2 cameras: a recording is of one"),
    ):
        recording.servo(SpyPlant(), PBVS(), View(T_wc=poses()[0].repeat(2, 1, 1)))


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.mcap").write_text("mine")
    with pytest.raises(InputError, match="a recording replaces none") as caught:
        Recording(tmp_path / "run.mcap", {})
    assert caught.value.settings == ("record",)
    assert (tmp_path / "run.mcap").read_text() == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Recording(tmp_path / "file" / "run.mcap", {})


def test_a_full_disk_ends_the_recording_and_not_the_run(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    from siame_se3.servo.recordings import file, sink

    pwrite, room = os.pwrite, 30_000

    def small_disk(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data[: room - offset], offset)

    monkeypatch.setattr(file.os, "pwrite", small_disk)
    monkeypatch.setattr(sink, "_FLUSH_BYTES", 2000)
    lines: list[str] = []
    T_wd, T_wc = poses()
    plant = FlyingCameras(scene, camera)
    with Recording(tmp_path / "run.mcap", {}, say=lines.append) as recording:
        trajectory = recording.servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig(gain=1.0, max_iterations=60))
    assert int(trajectory.iterations[0]) == 60
    assert lines == [recording.error]
    assert lines[0].startswith(f"{tmp_path / 'run.mcap'}: cannot be written (no space left on device)")
    found = contents(tmp_path / "run.mcap")
    assert 3 < len(found[m.VIEW]) < 60
    assert len(found[m.IMAGE]) in (len(found[m.VIEW]), len(found[m.VIEW]) + 1)


def test_without_pwrite_the_recording_is_the_same(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has neither it nor O_CLOEXEC: it was an AttributeError."""
    import os

    from siame_se3.servo.recordings import sink

    for name in ("pwrite", "O_CLOEXEC"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(sink, "_FLUSH_BYTES", 1)  # every end is written over
    recorded(tmp_path / "run.mcap", PBVS(), scene, camera, steps=3)
    assert len(contents(tmp_path / "run.mcap")[m.VIEW]) == 4


def test_it_opens_at_every_moment(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash: a copy of the file, taken while it is written."""
    from siame_se3.servo.recordings import file, sink

    monkeypatch.setattr(sink, "_FLUSH_BYTES", 1)
    copies: list[bytes] = []
    put = file.McapFile._put

    def watched(self: Any, end: bytes) -> None:
        put(self, end)
        copies.append((tmp_path / "run.mcap").read_bytes())

    monkeypatch.setattr(file.McapFile, "_put", watched)
    recorded(tmp_path / "run.mcap", PBVS(), scene, camera, steps=3)
    counts = []
    for copy in copies:
        reader = make_reader(io.BytesIO(copy), validate_crcs=True)
        counts.append(sum(1 for _ in reader.iter_messages()))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == sum(map(len, contents(tmp_path / "run.mcap").values()))
    assert len(set(counts)) > 10


def test_memory_is_bounded_and_a_robot_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk takes nothing, images are lost, and counted; what waits for it is no more than a limit."""
    from siame_se3.servo.recordings import sink

    free = threading.Event()
    monkeypatch.setattr(sink, "_MOST_WAITING", 50_000)
    encoded = Entry.encoded
    monkeypatch.setattr(Entry, "encoded", lambda self: free.wait(20) and encoded(self))
    made = Sink(tmp_path / "run.mcap")
    image = Entry(m.IMAGE, 1, {"frame_id": "camera"}, np.zeros((64, 64, 3), np.uint8))
    taken = [made.put(image, wait=False) for _ in range(10)]
    assert taken == [True] * 3 + [False] * 7  # of 14,288 bytes each
    free.set()
    assert made.put(image, wait=True)
    made.close()
    assert made.error == ""
    assert Counter({topic: len(x) for topic, x in contents(tmp_path / "run.mcap").items()}) == {m.IMAGE: 4}


@pytest.mark.parametrize("wait", [True, False])
def test_an_image_that_is_larger_than_the_limit_is_taken_where_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    """As of a camera of 25 megapixels: one after the other, and never two in memory."""
    from siame_se3.servo.recordings import sink

    monkeypatch.setattr(sink, "_MOST_WAITING", 10_000)
    made, taken = Sink(tmp_path / "run.mcap"), []
    image = Entry(m.IMAGE, 1, {"frame_id": "camera"}, np.zeros((64, 64, 3), np.uint8))
    thread = threading.Thread(target=lambda: taken.extend(made.put(image, wait) for _ in range(3)), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for ever"
    made.close()
    assert taken[0]
    assert not wait or all(taken)
    assert len(contents(tmp_path / "run.mcap")[m.IMAGE]) == sum(taken)


def test_lost_images_are_counted_and_marked(
    tmp_path: Path, scene: Scene, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Sink.put
    calls = iter(range(1000))

    def third_is_lost(self: Sink, entry: Entry, wait: bool) -> bool:
        return False if entry.topic == m.IMAGE and next(calls) == 2 else put(self, entry, wait)

    monkeypatch.setattr(Sink, "put", third_is_lost)
    T_wd, T_wc = poses()
    plant = FlyingCameras(scene, camera)
    with Recording(tmp_path / "run.mcap", {}, wait=False) as recording:
        recording.servo(plant, PBVS(), plant.look(T_wd), T_wc, ServoConfig(max_iterations=4))
    assert recording.lost == 1
    assert [x["image"] for x in contents(tmp_path / "run.mcap")[m.VIEW]] == [True, True, False, True, True]


def test_a_thread_that_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Entry, "encoded", lambda self: 1 // 0)
    lines: list[str] = []
    with caplog.at_level(logging.CRITICAL), Recording(tmp_path / "run.mcap", {}, say=lines.append) as recording:
        recording.event(m.INFO, "start", "now")
    assert lines == [
        f"{tmp_path / 'run.mcap'}: the recording ends here (ZeroDivisionError: integer division or modulo by zero); what it has can be read"
    ]
