"""The text of a camera's file as plain values under ROS's or OpenCV's names: YAML, JSON, and what is neither (COLMAP's, ost.txt, librealsense's)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from siame_se3.errors import CameraError, InputError
from siame_se3.files import read_bytes, read_text
from siame_se3.files.reading import parse_yaml
from siame_se3.geometry.camera_lens import number

_MOST = 1_000_000  # [bytes]; OpenCV writes the boards' corners beside the calibration
_HINT = "give a YAML file"
_LOST = re.compile(r"A message was lost!!!\s*total count change:\s*\d+\s*total count:\s*\d+\s*(---)?[ \t]*\n?")
_OST_HINT = "give the ost.yaml that the calibrator wrote beside it"
_F, _C = ("fx", "fy"), ("cx", "cy")
_COLMAP = {  # its models: the parameters in their order, and ROS's name
    "SIMPLE_PINHOLE": (("f", *_C), "plumb_bob"),
    "PINHOLE": ((*_F, *_C), "plumb_bob"),
    "SIMPLE_RADIAL": (("f", *_C, "k1"), "plumb_bob"),
    "RADIAL": (("f", *_C, "k1", "k2"), "plumb_bob"),
    "OPENCV": ((*_F, *_C, "k1", "k2", "p1", "p2"), "plumb_bob"),
    "FULL_OPENCV": ((*_F, *_C, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), "rational_polynomial"),
    "OPENCV_FISHEYE": ((*_F, *_C, "k1", "k2", "k3", "k4"), "equidistant"),
}


def content_of(path: Path) -> Any:
    """What a file holds, as plain values.

    Raises:
        InputError: a file that cannot be read, or is none of these.
    """
    text = _text(path)
    start = text.lstrip()
    if start.startswith("<"):
        raise InputError("an XML file, not a camera_info YAML; let OpenCV write a name that ends in .yaml")
    if start.startswith(("# oST", "[image]")):
        return _ost(text)
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if lines and re.match(r"\d+\s+[A-Z_]+\s+\d+\s+\d+\s+[-+.\d]", lines[0]):
        return _colmap(lines)
    if re.search(r"^[ \t]*PPX[ \t]*:", text, re.MULTILINE):
        text = _librealsense(text)
    text = _LOST.sub("---\n", text)  # what 'ros2 topic echo' says among the messages
    if text.startswith("%YAML:"):  # OpenCV's, which YAML does not know
        text = "#" + text
    return parse_yaml(text, str(path), _HINT)


def _text(path: Path) -> str:
    """As `read_text`, and UTF-16 without its mark: every other byte is 0, as these files are of Latin letters."""
    content = read_bytes(path, _MOST, _HINT)
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = content[first::2].count(0)
        if len(content) % 2 == 0 and zeros > 0.4 * len(content) and not content[1 - first :: 2].count(0):
            return content.decode(encoding, "replace")
    return read_text(path, _MOST, _HINT)


def _colmap(lines: list[str]) -> dict[str, Any]:
    """COLMAP's cameras.txt: CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]. Its principal point is from the corner of the first pixel."""
    if len(lines) > 1:
        raise CameraError(f"COLMAP's, with {len(lines)} cameras; keep the line of one in the file")
    _, model, width, height, *parameters = lines[0].split()
    if model not in _COLMAP:
        raise CameraError(f"COLMAP's model {model[:40]} is not known; use one of {', '.join(_COLMAP)}")
    names, lens = _COLMAP[model]
    if len(parameters) != len(names):
        raise CameraError(f"COLMAP's {model} has {len(names)} parameters ({', '.join(names)}), {len(parameters)} given")
    values = {name: number(x, name) for name, x in zip(names, parameters, strict=True)}
    f = values.pop("f", 0.0)
    centre = {name: values.pop(name) - 0.5 for name in _C}
    focal = {name: values.pop(name, f) for name in _F}
    return {"width": width, "height": height, **focal, **centre, **values, "distortion_model": lens}


def _ost(text: str) -> dict[str, Any]:
    """The ost.txt of ROS's calibrator: a name in a line, its numbers in those below. It does not name the lens, which 5 or 8 coefficients say."""
    found: dict[str, list[str]] = {}
    for label in ("width", "height", "camera matrix", "distortion", "projection"):
        places = re.findall(rf"^{label}\s*\n([-+.\deE\s]+)", text, re.MULTILINE)
        if len(places) == 1:
            found[{"projection": "p"}.get(label, label.replace(" ", "_"))] = places[0].split()
    d = found.get("distortion", [])
    if len(found) < 5 or len(d) not in (5, 8):
        raise InputError(f"an ost.txt, but not of one camera with 5 or 8 coefficients; {_OST_HINT}")
    sizes = {name: " ".join(found.pop(name)) for name in ("width", "height")}
    return {**sizes, **found, "distortion_model": "plumb_bob" if len(d) == 5 else "rational_polynomial"}


def _librealsense(text: str) -> str:
    """What rs-enumerate-devices prints of a stream, as YAML: without its title and its tabs."""
    if len(re.findall(r"^[ \t]*PPX[ \t]*:", text, re.MULTILINE)) > 1:
        raise CameraError("librealsense's, with intrinsics of several streams; keep those of one in the file")
    return re.sub(r"^[ \t]*Intrinsics? of .*$", "", text, flags=re.MULTILINE).replace("\t", " ")
