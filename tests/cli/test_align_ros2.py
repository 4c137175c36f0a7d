"""siame align on the pictures of a ROS 2 topic, over DDS: from a camera's messages to what the terminal says."""

from __future__ import annotations

import importlib.util
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from align_helpers import CAMERA, PIXEL, motion, seen
from cli_helpers import Siame
from siame_se3.cli.align_screen import Lines
from siame_se3.commissioning.align import Alignment
from siame_se3.commissioning.align_words import Verdict
from siame_se3.geometry.camera import Camera
from siame_se3.images.encode import write_picture

if not importlib.util.find_spec("cyclonedds"):
    pytest.skip("CycloneDDS is not installed", allow_module_level=True)

from robot_bus import FakeBus, header, image
from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.ros2 import info_of

DOMAIN = 100 + os.getpid() % 100
TOPICS = ("--ros2.image", "/c/image", "--ros2.info", "/c/info", "--ros2.bus", "dds", "--ros2.domain", DOMAIN)
AWAY = motion(11 * PIXEL, 0, 0, 0, 0, 0.05)


class Published:
    """A camera on the topics: what it shows now."""

    def __init__(self, shows: np.ndarray) -> None:
        self.shows = shows
        self.ended = threading.Event()

    def run(self, bus: DdsBus, camera: Camera) -> None:
        images, infos = bus.publisher("/c/image", m.Image), bus.publisher("/c/info", m.CameraInfo)
        while not self.ended.wait(0.03):
            infos(info_of(camera, header()))
            images(image(self.shows))


@contextmanager
def camera_on_topics(shows: np.ndarray) -> Iterator[Published]:
    """It publishes until the end."""
    bus, published = DdsBus(DOMAIN), Published(shows)
    thread = threading.Thread(target=published.run, args=(bus, CAMERA))
    thread.start()
    try:
        yield published
    finally:
        published.ended.set()
        thread.join()
        bus.close()


@pytest.fixture
def two_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBus:
    """/camera has another lens than /cam2, which shows what is to be compared; of /cam3 the driver says nothing of its lens."""
    write_picture(tmp_path / "ref.png", seen())
    other, shown = Camera.from_focal(900, 320, 240), image(seen(AWAY))
    bus = FakeBus(
        **{"camera/camera_info": info_of(other, header()), "cam2/camera_info": info_of(CAMERA, header())},
        **{"cam3/camera_info": m.CameraInfo(header(), 240, 320), "cam2/image_raw": shown, "cam3/image_raw": shown},
    )
    monkeypatch.setattr("siame_se3.plants.robots.buses.bus_for", lambda *_: bus)
    monkeypatch.setattr("siame_se3.cli.align._SETTLE", 0.0)
    return bus


def test_the_camera_info_is_of_the_same_camera(siame: Siame, two_cameras: FakeBus) -> None:
    status, out, err = siame("align", "ref.png", "--ros2.image", "/cam2/image_raw", "--goal-depth", 0.6, "--once")
    assert (status, err) == (1, "")
    assert out.startswith("move 2")
    assert set(two_cameras.heard) == {"/cam2/image_raw", "/cam2/camera_info"}
    siame("align", "ref.png", "--ros2.image", "/cam2/image_raw", "--ros2.info", "/camera/camera_info", "--once")
    assert "/camera/camera_info" in two_cameras.heard, "one that is named counts"


def test_a_field_of_view_needs_no_camera_info(siame: Siame, two_cameras: FakeBus) -> None:
    common = ("align", "ref.png", "--ros2.image", "/cam3/image_raw", "--goal-depth", 0.6, "--once")
    status, _, err = siame(*common)
    assert (status, err.count("\n")) == (2, 1)
    assert "/cam3/camera_info" in err
    two_cameras.heard.clear()
    fov = math.degrees(2 * math.atan(CAMERA.width / 2 / CAMERA.fx))
    status, out, err = siame(*common, "--fov", fov)
    assert (status, err) == (1, "")
    assert out.splitlines()[0] == f"camera: field of view {fov:.3g} deg as given"
    assert out.splitlines()[1].startswith("move 2")
    assert "turn 2.9 deg counterclockwise" in out
    assert set(two_cameras.heard) == {"/cam3/image_raw"}
    assert siame(*common[:-1], "--fov", fov, "--save-reference", "--force")[1].startswith(
        "reference: ref.png, 320 x 240"
    )


@pytest.mark.slow
def test_a_topic_is_followed_until_the_camera_is_home(
    siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The camera is moved home once it was told where to go; then Ctrl-C."""
    write_picture(tmp_path / "ref.png", seen())
    verdicts: list[Verdict] = []
    show, began = Lines.show, time.monotonic()

    with camera_on_topics(seen(AWAY)) as published:

        def spied(self: Lines, found: Alignment, rate: float) -> None:
            show(self, found, rate)
            verdicts.append(self.judge.verdict(found)[0])
            if verdicts.count(Verdict.MOVE) == 3:
                published.shows = seen()
            if verdicts.count(Verdict.RIGHT) == 2 or time.monotonic() - began > 60:
                raise KeyboardInterrupt

        monkeypatch.setattr(Lines, "show", spied)
        status, out, err = siame("align", "ref.png", *TOPICS, "--goal-depth", 0.6, "--report", "r.html")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "calibrated" not in out, "nothing was assumed of the camera, so nothing is said of it"
    moves = [line for line in lines if line.startswith("move 2")]
    assert moves
    assert " mm left" in moves[0]
    assert "turn 2.9 deg counterclockwise" in moves[0]
    assert lines[-2].startswith("at the end: right: within 2 mm and 0.2 deg")
    assert lines[-1] == "written: r.html"
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "/c/image beside ref.png" in page
    assert "<dd>calibrated</dd>" in page


@pytest.mark.slow
def test_one_picture_of_a_topic(siame: Siame, tmp_path: Path) -> None:
    """The reference too, as the camera saw it, calibrated with another raster than the reference's square."""
    with camera_on_topics(seen()) as published:
        status, out, _ = siame("align", "ref.png", *TOPICS, "--save-reference")
        assert (status, out) == (0, "reference: ref.png, 240 x 240 px, from /c/image\n")
        published.shows = seen(AWAY)
        status, out, _ = siame("align", "ref.png", *TOPICS, "--goal-depth", 0.6, "--once")
    assert status == 1
    assert out.startswith("move 2")
    assert f"turn {math.degrees(0.05):.1f} deg counterclockwise" in out


@pytest.mark.slow
def test_a_topic_without_messages_is_one_line(siame: Siame, tmp_path: Path) -> None:
    write_picture(tmp_path / "ref.png", seen())
    status, _, err = siame("align", "ref.png", *TOPICS)
    assert (status, err.count("\n")) == (2, 1)
    assert "/c/info" in err
