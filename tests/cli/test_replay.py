"""siame servo --record, siame live --record, and siame replay."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli_helpers import Siame
from siame_se3.cli.run_files import MOST_RUNS
from siame_se3.servo.recordings.reading import read


@pytest.fixture
def recording(siame: Siame, tmp_path: Path) -> Path:
    """Two runs of PBVS."""
    status, out, err = siame(
        *("servo", "--law", "pbvs", "--runs", 2, "--record", "run.mcap", "--fov", 40, "--max-iterations", 9)
    )
    assert status == 1, err  # of nine iterations
    assert "recording: run.mcap (" in out
    return tmp_path / "run.mcap"


def test_a_recording_of_simulated_runs(siame: Siame, recording: Path) -> None:
    runs = read(recording)
    assert [run.count for run in runs] == [10, 10]
    assert runs[0].settings["starts_from"] == "table1"
    assert runs[0].law["name"] == "pbvs"
    status, out, _ = siame("replay", "run.mcap")
    assert status == 0
    assert out.splitlines()[0] == "run 0: law pbvs, 10 views; iterations (run 0, 9 iterations)"
    assert out.splitlines()[1].startswith("  pbvs gives what was recorded: 9 velocities, equal to the last bit")
    assert len(out.splitlines()) == 4


def test_another_law_and_json(siame: Siame, recording: Path) -> None:
    status, out, _ = siame("replay", "run.mcap", "--run", 1, "--law", "ibvs", "pbvs")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["run", "law", "pbvs", "ibvs", "pbvs"]
    status, out, _ = siame("replay", "run.mcap", "--law", "ibvs", "--json")
    found = json.loads(out)
    assert [run["reproduced"] for run in found["runs"]] == [True, True]
    assert [law["law"] for law in found["runs"][0]["laws"]] == ["pbvs", "ibvs"]
    assert len(found["runs"][0]["laws"][1]["velocities"]) == len(found["runs"][0]["recorded"]) == 9
    assert found["runs"][0]["events"][-1]["kind"] == "stop"


def test_a_law_that_gives_something_else_is_status_1(
    siame: Siame, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.laws import pose

    velocity = pose.pbvs_velocity
    monkeypatch.setattr(pose, "pbvs_velocity", lambda T: 1.01 * velocity(T))
    status, _, err = siame("replay", "run.mcap", "--run", 0)
    assert status == 1
    assert err.startswith("siame: run.mcap: pbvs does not give what was recorded: largest difference ")
    assert "recorded on " in err


@pytest.mark.parametrize(("lost", "status"), [((2, 3), 0), (range(1, 99), 1)], ids=["some", "all"])
def test_images_that_were_not_recorded_are_said(
    siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Sequence[int], status: int
) -> None:
    """The other views are compared."""
    from siame_se3.servo.recordings import messages as m
    from siame_se3.servo.recordings.sink import Sink

    put, calls = Sink.put, itertools.count(1)

    def slow_disk(self: Sink, entry: m.Entry, wait: bool) -> bool:
        return not (entry.topic == m.IMAGE and next(calls) in lost) and put(self, entry, wait)

    monkeypatch.setattr(Sink, "put", slow_disk)
    siame(*("servo", "--law", "dct", "--runs", 1, "--record", "run.mcap", "--fov", 40, "--max-iterations", 5))
    code, out, err = siame("replay", "run.mcap")
    assert code == status, err
    if status == 0:
        assert err == ""
        assert out.splitlines()[-1] == (
            "  dct gives what was recorded: 3 velocities, equal to the last bit; the images of 2 views were not recorded: they are not compared"
        )
    else:
        assert err == "siame: run.mcap: dct cannot be asked: the images of all 5 views were not recorded\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--run", 2), "run 2: run.mcap has runs 0 to 1 (--run)"),
        (("--run", -1), "run -1: run.mcap has runs 0 to 1 (--run)"),
        (("--law", "nonsense"), "nonsense"),
        (("--topic", "/image"), "run.mcap: a recording of siame-se3 has that in it; it is for bags (--topic)"),
    ],
)
def test_wrong_options_are_one_line(siame: Siame, recording: Path, words: tuple[object, ...], line: str) -> None:
    status, _, err = siame("replay", "run.mcap", *words)
    assert status == 2
    assert line in err
    assert len(err.splitlines()) == 1


def test_a_bag_with_another_cameras_info_asks_for_this_ones(siame: Siame, tmp_path: Path) -> None:
    """The flags that help are named."""
    import numpy as np
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    header = store.types["std_msgs/msg/Header"](store.types["builtin_interfaces/msg/Time"](1, 0), "camera")
    region = store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    matrices = np.array([60.0, 0, 32, 0, 60, 24, 0, 0, 1]), np.eye(3).ravel(), np.zeros(12)
    image = store.types["sensor_msgs/msg/Image"](header, 48, 64, "rgb8", 0, 192, np.zeros(48 * 192, np.uint8))
    info = store.types["sensor_msgs/msg/CameraInfo"](header, 48, 64, "", np.zeros(0), *matrices, 0, 0, region)
    with Writer(tmp_path / "bag", version=9) as writer:
        for topic, message in (("/left/image_raw", image), ("/right/camera_info", info)):
            connection = writer.add_connection(topic, message.__msgtype__, typestore=store)
            writer.write(connection, 10**9, store.serialize_cdr(message, message.__msgtype__))
    status, _, err = siame("replay", "bag", "--law", "dvs-light")
    assert (status, len(err.splitlines())) == (2, 1)
    assert err.startswith(
        "siame: bag: no CameraInfo /left/camera_info beside the images /left/image_raw; it has /right/camera_info: "
    )
    assert err.endswith("(--info, --camera)\n")


def test_what_cannot_be_recorded_is_refused_before_the_work(
    siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.networks import checkpoint

    monkeypatch.setattr(checkpoint, "load", lambda path: pytest.fail("it began"))
    (tmp_path / "there.mcap").touch()
    for words, line in (
        (("--record", "run.bag"), "give a name that ends in .mcap (--record)"),
        (("--record", "there.mcap", "--runs", 1), "a recording replaces none; give another name (--record)"),
        (("--record", "run.mcap"), f"give {MOST_RUNS} or fewer (--runs, --record)"),
        (("--record", "there.mcap/run.mcap", "--runs", 1), "is a file, not a folder; give another place (--record)"),
    ):
        status, _, err = siame("servo", *words)
        assert (status, len(err.splitlines())) == (2, 1)
        assert err.strip().endswith(line)
    monkeypatch.setitem(sys.modules, "mcap.writer", None)
    status, _, err = siame("servo", "--record", "run.mcap", "--runs", 1)
    assert (status, err) == (2, 'siame: mcap is not installed; pip install "siame-se3[record]"\n')
    assert not (tmp_path / "run.mcap").exists()


def test_ctrl_c_leaves_a_recording(siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siame_se3.plants.flying import FlyingCameras

    step, calls = FlyingCameras.step, iter(range(1000))

    def interrupted(self: FlyingCameras, v: object) -> object:
        if next(calls) == 12:
            raise KeyboardInterrupt
        return step(self, v)  # type: ignore[arg-type]

    monkeypatch.setattr(FlyingCameras, "step", interrupted)
    status, _, _ = siame("servo", "--law", "pbvs", "--runs", 1, "--record", "run.mcap")
    assert status == 130
    (run,) = read(tmp_path / "run.mcap")
    assert (run.count, run.end) == (13, "Ctrl-C (run 0, 12 iterations)")


def test_ctrl_c_with_json_keeps_the_runs_that_are_done(
    siame: Siame, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.servo.recordings import replay

    whole, asked = replay.replay, []

    def second(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(replay, "replay", second)
    status, out, _ = siame("replay", "run.mcap", "--json")
    found = json.loads(out)
    assert (status, found["stopped"], [run["run"] for run in found["runs"]]) == (130, True, [0])


def test_a_law_that_there_is_none_of_is_said_before_anything_is_read(
    siame: Siame, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siame_se3.servo.recordings.reading.read", lambda path: pytest.fail("it was read"))
    status, _, err = siame("replay", "run.mcap", "--law", "nonsense")
    assert (status, err.count("\n")) == (2, 1)
