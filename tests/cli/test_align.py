"""siame align, as a user types it."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from align_helpers import CAMERA, PIXEL, blobs, motion, noisy, seen
from cli_helpers import Siame
from siame_se3.cli.align_screen import Lines, Screen
from siame_se3.commissioning.align import Alignment
from siame_se3.commissioning.align_live import Tracker
from siame_se3.commissioning.align_source import OpenCVFrames, SourceFrames
from siame_se3.commissioning.align_words import Judge, Tolerance
from siame_se3.errors import RobotError
from siame_se3.images.crop import centred_square
from siame_se3.images.decode import as_image
from siame_se3.images.encode import write_picture
from siame_se3.plants.robots.interfaces import Frame
from siame_se3.plants.robots.threads import Worker

FOV = ("--fov", math.degrees(2 * math.atan(CAMERA.width / 2 / CAMERA.fx)))
DRIFT = motion(11 * PIXEL, 0, 0, 0, 0, 0.05)
JUDGE = Judge(Tolerance(2e-3, math.radians(0.2)), Tolerance(5e-3, math.radians(0.5)))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """ref.png, same.png, moved.png, other.png, and film.avi, which goes home."""
    for name, pixels in {
        "ref": seen(),
        "same": noisy(seen(), 0.01),
        "moved": noisy(seen(DRIFT), 0.01, 0.8),
        "other": seen(of=blobs(1)),
    }.items():
        write_picture(tmp_path / f"{name}.png", pixels)
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 240))
    for s in (0.3, 0.15, 0, 0, 0):
        writer.write(np.ascontiguousarray(seen(motion(11 * PIXEL * s, 0, 0, 0, 0, 0))[..., ::-1]))
    writer.release()
    return tmp_path


@pytest.mark.parametrize(
    ("now", "status", "words"),
    [
        ("same", 0, ("right: within 2 mm and 0.2 deg (", "confidence 0.9", "overlap 100 %")),
        ("moved", 1, ("move 2", " mm left", "turn 2.9 deg counterclockwise; confidence 0.9", "overlap 91 %")),
        ("other", 3, ("not sure: ", "confidence 0.")),
    ],
)
def test_one_line_and_its_status(siame: Siame, pictures: Path, now: str, status: int, words: tuple[str, ...]) -> None:
    code, out, err = siame("align", "ref.png", "--now", f"{now}.png", "--goal-depth", 0.6, *FOV)
    assert (code, err) == (status, "")
    line = out.splitlines()[-1]
    assert line.startswith(words[0])
    for word in words[1:]:
        assert word in line


def test_what_was_assumed_is_said(siame: Siame, pictures: Path) -> None:
    status, out, _ = siame("align", "ref.png", "--now", "same.png")
    assert status == 0
    assert "field of view not known" in out
    assert "distance not known" in out
    assert "right: within 0.3 % of the distance and 0.2 deg" in out


def test_json(siame: Siame, pictures: Path) -> None:
    status, out, _ = siame("align", "ref.png", "--now", "moved.png", "--goal-depth", 0.6, *FOV, "--json")
    assert status == 1
    data = json.loads(out)
    assert data["verdict"] == "move"
    assert data["right"] == pytest.approx(-11 * PIXEL, abs=2e-3)
    assert data["turn_clockwise_deg"] == pytest.approx(-math.degrees(0.05), abs=0.1)
    assert data["unit"] == "m"
    assert data["goal_depth"] == 0.6
    assert "as given" in data["camera"]


def test_a_tolerance_of_ones_own(siame: Siame, pictures: Path) -> None:
    arguments = ("align", "ref.png", "--now", "moved.png", "--goal-depth", 0.6, *FOV)
    assert siame(*arguments, "--within", "30mm", "5deg")[0] == 0
    assert siame(*arguments, "--sure", "0.001mm", "5deg")[0] == 3


def test_a_coarse_tolerance_is_the_least_that_is_sure(siame: Siame, pictures: Path) -> None:
    arguments = ("align", "ref.png", "--now", "same.png", "--goal-depth", 0.6, *FOV, "--json")
    data = json.loads(siame(*arguments, "--within", "50mm", "5deg")[1])
    assert data["sure"] == data["within"] == {"distance": 0.05, "angle_deg": pytest.approx(5)}
    given = json.loads(siame(*arguments, "--within", "50mm", "5deg", "--sure", "5mm", "0.5deg")[1])
    assert given["sure"] == {"distance": 0.005, "angle_deg": pytest.approx(0.5)}


def test_units_may_be_in_capitals(siame: Siame, pictures: Path) -> None:
    status, _, err = siame(
        *("align", "ref.png", "--now", "moved.png", "--goal-depth", 0.6, *FOV, "--within", "30 MM", "5 Deg")
    )
    assert (status, err) == (0, "")


def test_one_field_of_view_for_pictures_of_two_shapes_is_said(siame: Siame, pictures: Path) -> None:
    """A reference that was cropped has another one."""
    write_picture(pictures / "cropped.png", seen()[:, 40:280])
    common = ("align", "cropped.png", "--now", "same.png", "--goal-depth", 0.6, *FOV)
    said = "reference of 240 x 240, now 320 x 240 px: the field of view is taken for both (--reference-fov)"
    assert said in siame(*common)[1].splitlines()
    own = math.degrees(2 * math.atan(120 / CAMERA.fx))
    assert "taken for both" not in siame(*common, "--reference-fov", own)[1]
    assert "taken for both" not in siame("align", "ref.png", "--now", "same.png", *FOV)[1]


def test_phone_photos_by_their_exif(siame: Siame, tmp_path: Path) -> None:
    """Large, turned by 90 degrees, and nothing but EXIF to say what lens."""
    camera = CAMERA.from_focal(26 / math.hypot(36, 24) * math.hypot(1600, 1200), 1200, 1600)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA405: 26, 0xA002: 1600, 0xA003: 1200})
    for name, T_dc in (("ref", None), ("now", motion(0.02, 0, 0, 0, 0, -0.05))):
        raster = np.ascontiguousarray(np.rot90(seen(T_dc, camera=camera)))
        Image.fromarray(raster).save(tmp_path / f"{name}.jpg", quality=90, exif=exif)
    status, out, _ = siame("align", "ref.jpg", "--now", "now.jpg", "--goal-depth", 0.6)
    assert status == 1
    assert "by EXIF" in out
    assert "move 20 mm left" in out
    assert "turn 2.9 deg clockwise" in out


def test_a_calibrated_phone_that_is_held_upright(siame: Siame, tmp_path: Path) -> None:
    """Its raster lies on its side, and that is calibrated: words and regions are those of the photo as it is seen, T_cd is the raster's."""
    camera = CAMERA.from_focal(320, 240, 320)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, T_dc in (("ref", None), ("now", motion(0.02, 0, 0, 0, 0, -0.05))):
        raster = np.ascontiguousarray(np.rot90(seen(T_dc, camera=camera)))
        Image.fromarray(raster).save(tmp_path / f"{name}.jpg", quality=95, exif=exif)
    CAMERA.to_yaml(tmp_path / "camera.yaml")
    common = ("align", "ref.jpg", "--now", "now.jpg", "--goal-depth", 0.6, "--camera", "camera.yaml")
    status, out, _ = siame(*common)
    assert status == 1
    assert "move 20 mm left" in out
    assert "turn 2.9 deg clockwise" in out
    data = json.loads(siame(*common, "--json", "--roi", "0,0,240,310")[1])
    assert (data["right"], data["down"]) == (pytest.approx(-0.02, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert np.array(data["T_cd"])[:2, 3] == pytest.approx([0, 0.02], abs=1e-3), "down the raster is left"
    assert "--roi" in siame(*common, "--roi", "250,0,60,60")[2], "outside of 240 px"


class Cropped:
    """A topic's camera of 320 x 240, whose images are cut to the centred square."""

    camera = CAMERA.from_focal(320, 240, 240)

    def __init__(self) -> None:
        self.stamp = 0.0

    def prepared(self, pixels: np.ndarray) -> torch.Tensor:
        return as_image(centred_square(pixels))

    def latest(self, after: float, wait: float) -> Frame:
        self.stamp += 1
        return Frame(self.prepared(seen()), self.stamp)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("region", "left"),
    [
        (("--roi", "0,0,40,240"), False),
        (("--ignore", "0,0,40,240"), True),
        (("--roi", "60,20,200,200"), True),
        (("--ignore", "40,0,240,240"), False),
        (("--ignore", "12.5%,0,75%,100%"), False),
    ],
)
def test_regions_of_a_topics_reference_are_in_its_files_pixels(
    siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch, region: tuple[str, str], left: bool
) -> None:
    """A file of 320 x 240, of which the source keeps the columns from 40 to 280."""
    source = Cropped()  # in place of the bus too, of which nothing is asked but to be closed
    monkeypatch.setattr("siame_se3.plants.robots.buses.bus_for", lambda *_: source)
    monkeypatch.setattr("siame_se3.commissioning.align_source.ros2_frames", lambda *_: SourceFrames(source, "/c/image"))
    monkeypatch.setattr("siame_se3.cli.align._SETTLE", 0.0)
    status, _, err = siame("align", "ref.png", "--ros2.image", "/c/image", "--goal-depth", 0.6, "--once", *region)
    assert (status, "next to nothing" in err) == ((0, False) if left else (2, True)), err


def test_a_film_is_followed_in_plain_lines(siame: Siame, pictures: Path) -> None:
    status, out, _ = siame("align", "ref.png", "--source", "film.avi", "--goal-depth", 0.6, *FOV)
    assert status == 0, "at the end it is right"
    lines = out.splitlines()
    assert "\x1b" not in out
    assert "\a" not in out
    assert any("left" in line for line in lines[:2])
    assert lines[-2].startswith("5 frames in ")
    assert lines[-1].startswith("at the end: right")


def test_a_film_as_json_is_a_line_a_frame(siame: Siame, pictures: Path) -> None:
    _, out, err = siame("align", "ref.png", "--source", "film.avi", "--goal-depth", 0.6, *FOV, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert len(found) == 5
    assert found[-1]["verdict"] == "right"
    assert "5 frames" in err


def test_ctrl_c_ends_with_a_summary(siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def show(self: Lines, found: Alignment, rate: float) -> None:
        shown.append(found)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lines, "show", show)
    status, out, err = siame("align", "ref.png", "--source", "film.avi", "--goal-depth", 0.6, *FOV)
    assert (status, err) == (1, "")
    assert out.splitlines()[-2].startswith("2 frames")


def test_a_report_of_one_picture_and_of_a_film(siame: Siame, pictures: Path) -> None:
    common = ("--goal-depth", 0.6, *FOV, "--report")
    status, out, _ = siame("align", "ref.png", "--now", "moved.png", *common, "one.html")
    assert (status, out.splitlines()[-1]) == (1, "written: one.html")
    page = (pictures / "one.html").read_text(encoding="utf-8")
    assert "moved.png beside ref.png" in page
    assert "<dd>2 mm and 0.2 deg</dd>" in page
    siame("align", "ref.png", "--now", "moved.png", *FOV, "--report", "shares.html")
    page = (pictures / "shares.html").read_text(encoding="utf-8")
    assert "<dd>0.3 % of the distance and 0.2 deg</dd>" in page, "what was judged by"
    status, out, err = siame("align", "ref.png", "--now", "moved.png", *common, "json.html", "--json")
    assert (json.loads(out)["verdict"], err) == ("move", "written: json.html\n")
    status, out, _ = siame("align", "ref.png", "--source", "film.avi", *common, "film.html")
    assert (status, out.splitlines()[-1]) == (0, "written: film.html")
    page = (pictures / "film.html").read_text(encoding="utf-8")
    assert "frame 4, the last" in page
    assert "right: within 2 mm" in page.partition("</header>")[0]
    assert "siame align ref.png --source film.avi" in page


def test_the_reference_is_taken_from_the_source(siame: Siame, pictures: Path) -> None:
    status, out, _ = siame("align", "new.png", "--source", "film.avi", "--save-reference")
    assert (status, out) == (0, "reference: new.png, 320 x 240 px, from film.avi\n")
    assert siame("align", "new.png", "--source", "film.avi", "--once")[0] == 0
    status, _, err = siame("align", "new.png", "--source", "film.avi", "--save-reference")
    assert status == 2
    assert "--force" in err
    assert siame("align", "new.png", "--source", "film.avi", "--save-reference", "--force")[0] == 0


def test_a_reference_that_is_taken_as_json(siame: Siame, pictures: Path) -> None:
    status, out, err = siame("align", "new.png", "--source", "film.avi", "--save-reference", "--json")
    assert status == 0
    assert json.loads(out) == {"reference": "new.png", "size": [320, 240], "source": "film.avi", "written": []}
    assert err.startswith("reference: new.png")


def test_a_source_that_falls_silent_loses_nothing(
    siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every ROS 2 topic ends: the summary and the report are there, and the error."""
    frames = OpenCVFrames.__iter__

    def silent(self: OpenCVFrames) -> Iterator[np.ndarray]:
        for number, frame in enumerate(frames(self)):
            if number == 3:
                raise RobotError("film.avi: no image for 5 s")
            yield frame

    monkeypatch.setattr(OpenCVFrames, "__iter__", silent)
    status, out, err = siame(
        "align", "ref.png", "--source", "film.avi", "--goal-depth", 0.6, *FOV, "--report", "r.html"
    )
    assert (status, err) == (2, "siame: film.avi: no image for 5 s\n")
    assert "3 frames" in out
    assert out.endswith("written: r.html\n")
    assert (pictures / "r.html").is_file()


class Camera3:
    """A camera by its index: it shows the reference's place three times."""

    frozen = False

    def __init__(self, *_: object) -> None:
        self.frames = iter([seen()[..., ::-1]] * 3)
        self.free = threading.Event()

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.05)  # each is seen
        frame = next(self.frames, None)
        if frame is None and self.frozen:
            self.free.wait(5)
        return frame is not None, frame

    def release(self) -> None:
        pass


def test_a_camera_that_is_pulled_out_is_an_error(siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not ended as a film does: what was found until then is there, and the status is not its last frame's."""
    monkeypatch.setattr(cv2, "VideoCapture", Camera3)
    status, out, err = siame("align", "ref.png", "--source", "3", "--goal-depth", 0.6, *FOV, "--report", "r.html")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("siame: camera 3: gives no more frames; check its cable")
    assert " frame" in out.splitlines()[-3]
    assert (pictures / "r.html").is_file()


@pytest.mark.parametrize("ctrl_c", [True, False])
def test_a_camera_that_is_frozen(siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: bool) -> None:
    """Ctrl-C ends as always, and after the wait the line that helps is said: not that the camera cannot be let go."""
    camera = Camera3()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: camera)
    monkeypatch.setattr(camera, "frozen", True)
    monkeypatch.setattr("siame_se3.commissioning.align_source._PATIENCE", 0.3)
    join = Worker.join
    monkeypatch.setattr(Worker, "join", lambda self, seconds: join(self, 0.05))
    show = Lines.show

    def shown(self: Lines, found: Alignment, rate: float) -> None:
        show(self, found, rate)
        if ctrl_c:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lines, "show", shown)
    status, out, err = siame("align", "ref.png", "--source", "3", "--goal-depth", 0.6, *FOV)
    camera.free.set()
    assert "at the end: " in out
    if ctrl_c:
        assert (status, err) == (3, "")
    else:
        assert (status, err.count("\n")) == (2, 1)
        assert "camera 3: no frame for 0.3 s; check its cable" in err


def test_a_streams_password_is_nowhere(siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera3)
    monkeypatch.setattr("siame_se3.cli.align._SETTLE", 0.0)
    words = ("align", "ref.png", "--source", "rtsp://admin:SECRET@10.0.0.5/1", "--once", *FOV)
    monkeypatch.setattr("sys.argv", ["siame", *map(str, words)])
    status, out, err = siame(*words, "--report", "r.html")
    page = (pictures / "r.html").read_text(encoding="utf-8")
    assert status == 0
    assert "rtsp://***@10.0.0.5/1" in page
    assert "SECRET" not in out + err + page


def test_the_last_line_of_json_is_the_last_verdict(
    siame: Siame, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last frame is looked at again, and all that is said of it agrees."""
    monkeypatch.setattr(Tracker, "step", lambda self, seen: Alignment.unknown("looking for it", "m"))
    status, out, _ = siame("align", "ref.png", "--source", "film.avi", "--goal-depth", 0.6, *FOV, "--json")
    verdicts = [json.loads(line)["verdict"] for line in out.splitlines()]
    assert (status, verdicts) == (0, ["not sure"] * 4 + ["right"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new.docx", "--source", "film.avi", "--save-reference"), ("new.docx", ".png")),
        (("no.png", "--now", "ref.png"), ("no.png", "--save-reference")),
        (("ref.png", "--now", "no.png"), ("no.png", "no such file")),
        (("ref.png", "--now", "film.avi"), ("film.avi", "not an image")),
        (("ref.png", "--now", "ref.png", "--source", "0"), ("--now", "--source")),
        (("ref.png", "--now", "ref.png", "--once"), ("--now",)),
        (("ref.png", "--source", "no.avi"), ("no.avi", "--source")),
        (("ref.png", "--now", "ref.png", "--within", "2mm", "1deg"), ("--goal-depth", "--within")),
        (("ref.png", "--now", "ref.png", "--within", "2mm", "0.2deg"), ("--goal-depth", "--within")),
        (("ref.png", "--now", "ref.png", "--sure", "5mm", "0.5deg"), ("--goal-depth", "--sure")),
        (("ref.png", "--now", "ref.png", "--within", "2", "1"), ("2mm 0.2deg", "--within")),
        (("ref.png", "--now", "ref.png", "--goal-depth", "nan"), ("nan", "--goal-depth")),
        (("ref.png", "--now", "ref.png", "--fov", "0"), ("--fov",)),
        (("ref.png", "--now", "ref.png", "--reference-fov", "400"), ("--reference-fov",)),
        (("ref.png", "--now", "ref.png", "--camera", "ref.png"), ("ref.png", "YAML")),
        (("ref.png", "--now", "ref.png", "--camera", "c.yaml", "--fov", "50"), ("--camera", "--fov")),
        (("ref.png", "--now", "ref.png", "--camera", "square.yaml"), ("calibrated for 100 x 100", "--camera")),
        (("ref.png", "--now", "ref.png", "--roi", "1,2,3"), ("--roi",)),
        (("ref.png", "--now", "ref.png", "--ignore", "0,0,100%,100%"), ("--ignore",)),
        (("folder", "--now", "ref.png"), ("folder: a folder", "--save-reference")),
        (("ref.png", "--now", "folder"), ("folder: a folder",)),
        (("ref.png", "--source", "folder"), ("folder: a folder", "folder/%04d.png", "--source")),
        (("tiny.png", "--now", "ref.png"), ("tiny.png: 4 x 3 px",)),
        (("ref.png", "--now", "ref.png", "--report", "r.pdf"), ("r.pdf", "--report", ".html")),
        (("ref.png", "--now", "ref.png", "--report", "ref.png/r.html"), ("--report",)),
        (("new.png", "--source", "film.avi", "--save-reference", "--report", "r.html"), ("--report",)),
    ],
)
def test_bad_input_is_one_line(
    siame: Siame, pictures: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    CAMERA.from_focal(100, 100).to_yaml(pictures / "square.yaml")
    (pictures / "folder").mkdir()
    write_picture(pictures / "tiny.png", seen()[:3, :4])
    status, _, err = siame("align", *arguments)
    assert (status, err.count("\n")) == (2, 1), err
    for word in words:
        assert word in err


@pytest.mark.slow
@pytest.mark.parametrize("source", ["97", "http://127.0.0.1:9/x"])
def test_a_camera_that_is_none_is_one_line_of_ours(pictures: Path, source: str) -> None:
    """OpenCV's and FFmpeg's own lines stood beside it."""
    command = [sys.executable, "-m", "siame_se3.cli", "align", "ref.png", "--source", source]
    done = subprocess.run(command, cwd=pictures, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.endswith(" ...")]
    assert line.startswith(f"siame: camera {source}: gives no frame")


class Terminal(io.StringIO):
    encoding = "utf-8"


def home(k: float = 0.0) -> Alignment:
    T = np.eye(4)
    T[:3, 3] = (-0.03 * k, 0.0, 0.0)
    return Alignment(T, 1e-9 * np.eye(6), 0.97, 0.81, "m")


def test_the_screen_has_arrows_and_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(JUDGE, "siame align", out=Terminal())
    lines = screen.lines(home(1), 25, 80)
    assert lines[0] == "siame align   25 frames/s   Ctrl-C ends"
    assert "move 30 mm left" in lines[1]
    row = next(line for line in lines if "← 30 mm" in line)
    assert row.index("━") < row.index("┃"), "the bar is on the side to move to"
    assert "\x1b[33m" in row
    assert "\x1b[32m" in next(line for line in lines if " up " in line), "what is right is green"
    lost = screen.lines(Alignment.unknown("nothing", "m"), 25, 80)
    assert len(lost) == len(lines)
    assert "━" not in "".join(lost)


def test_the_screen_without_colours_and_glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text = "\n".join(Screen(JUDGE, "siame align", out=out).lines(home(1), 25, 60))
    assert text.isascii()
    assert "\x1b" not in text
    assert "< 30 mm" in text


@pytest.mark.parametrize("tone", [True, False])
def test_the_bell_rings_once_when_it_has_become_right(tone: bool) -> None:
    out = Terminal()
    times = iter(np.arange(0, 100, 0.01))
    screen = Screen(JUDGE, "siame align", tone, out, clock=lambda: float(next(times)))
    for k in (1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0):  # two frames are not held yet
        screen.show(home(k), 25)
    screen.end()
    assert out.getvalue().count("\a") == 2 * tone
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1, "the cursor comes back"


def test_plain_lines_come_once_a_second_and_when_the_verdict_changes(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 0.3, 0.6, 0.9, 1.2, 1.7])
    lines = Lines(JUDGE, clock=lambda: next(times))
    for k in (1, 1, 0, 0, 0, 0):
        lines.show(home(k), 25)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["move", "right:", "right:"]
