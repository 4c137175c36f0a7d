"""The readers: which valid files, how they are spoilt, and what reads them. A reader that is renamed is one line here.

What reads a file also says what may not come of it: an AssertionError (a pose that is not finite, an option that is NaN) is a failure.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from siame_se3.experiments.fuzz import archives, mutations, samples
from siame_se3.files import from_dict, parse_json, read_text
from siame_se3.geometry.camera import Camera


@dataclasses.dataclass(frozen=True)
class Reader:
    """One.

    Attributes:
        make: valid files; it may write into the folder that it gets.
        spoil: them, given a generator.
        read: one file.
    """

    make: Callable[[Path], list[bytes]]
    spoil: Callable[[list[bytes], Random], bytes]
    read: Callable[[Path], object]


def _finite(*values: Any) -> None:
    for x in values:
        assert bool(torch.isfinite(torch.as_tensor(x, dtype=torch.float64)).all()), "accepted, and not finite"


# Pictures


def _photo(path: Path) -> None:
    from siame_se3.scenes.planar import Scene

    texture = Scene.from_photo(path).texture
    _finite(texture.amin(), texture.amax())
    assert 0 <= float(texture.min()) <= float(texture.max()) <= 1, "accepted, and not within [0, 1]"


def _calibration_picture(path: Path) -> None:
    from siame_se3.commissioning import boards

    boards.look([path], boards.Board(kind="charuco"))


# Messages: a line of JSON with the fields, then the data


def _message(path: Path) -> SimpleNamespace:
    head, _, data = path.read_bytes().partition(b"\n")
    found = json.loads(head, object_hook=lambda fields: SimpleNamespace(**fields))
    found.data = data
    return found


def _image_message(path: Path) -> None:
    from siame_se3.plants.robots import ros2

    image = ros2.rgb_of(_message(path))
    assert image.ndim == 3, "accepted, and no image"


def _camera_info(path: Path) -> None:
    from siame_se3.plants.robots import ros2

    _square(ros2.camera_of(_message(path)))


def _square(camera: Camera) -> None:
    square = camera.square(112)
    _finite(square.fx, square.fy, square.cx, square.cy, square.K)


# Depth


def _known(depth: np.ndarray) -> None:
    known = depth[~np.isnan(depth)]
    assert np.isfinite(known).all(), "accepted, and not finite"
    assert (known > 0).all(), "accepted, and not in front of the camera"


def _depth_map(path: Path) -> None:
    from siame_se3.images.depth import read_depth

    kinds = {b"\x93N": ".npy", b"PK": ".npz"}
    place = path.with_name(f"{path.name}{kinds.get(path.read_bytes()[:2], '.png')}")
    place.write_bytes(path.read_bytes())
    try:
        _known(read_depth(place))
    finally:
        place.unlink()


def _depth_message(path: Path) -> None:
    from siame_se3.images.depth import depth_of

    _known(depth_of(_message(path)))


def _trajectory_text(path: Path) -> None:
    from siame_se3.experiments.real.sequences import trajectory

    T = trajectory(path)(2.0)
    if T is not None:
        _finite(T)


# Configurations and tables


def _camera_yaml(path: Path) -> None:
    _square(Camera.from_yaml(path))


def _hand_eye(path: Path) -> None:
    from siame_se3.commissioning.hand_eye_file import hand_eye_from_yaml

    T_tc = hand_eye_from_yaml(path)
    _finite(T_tc)
    R = T_tc[:3, :3]
    assert float((R @ R.mT - torch.eye(3, dtype=T_tc.dtype)).abs().max()) < 1e-6, "accepted, and no rotation"


def _poses(path: Path) -> None:
    from siame_se3.commissioning.poses import read_poses

    _finite(read_poses(path).poses())


def _starts(path: Path) -> None:
    from siame_se3.scenes.poses import Workspace, starts_from_csv

    _finite(*starts_from_csv(path, Workspace()))


def _runs(path: Path) -> None:
    from siame_se3.analysis.metrics import format_summary, read_csv, summary

    format_summary(summary(read_csv(path)))


# Files of arrays


def _trajectory(path: Path) -> None:
    from siame_se3.analysis import metrics
    from siame_se3.servo.trajectory import Trajectory

    trajectory = Trajectory.load(path)
    metrics.format_summary(metrics.summary(metrics.rows(trajectory)))


def _checkpoint(path: Path) -> None:
    from siame_se3.networks import checkpoint

    for weights in checkpoint.load(path).network.state_dict().values():
        if weights.is_floating_point():
            _finite(weights)


def _state(path: Path) -> None:
    from siame_se3.training import state

    state.load(_trainer(), path)


@functools.cache
def _trainer() -> Any:
    return samples.trainer()


# Options, as a configuration has them


def _options_file(path: Path) -> None:
    content = parse_json(read_text(path), str(path), finite=False)  # the classes themselves refuse NaN
    for name, kind in samples.options().items():
        if isinstance(content, dict) and name in content:
            made = dataclasses.asdict(from_dict(kind, content[name], str(path)))
            assert all(math.isfinite(x) for x in _floats(made)), f"{name}: accepted, and not finite"


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for part in value.values() for x in _floats(part)]
    if isinstance(value, list | tuple):
        return [x for part in value for x in _floats(part)]
    return [value] if isinstance(value, float) else []


_TUM = "0.1 0.2 0.3 0.5 -0.5 0.5 0.5"
_START = "0.1,0.2,0.03,0.1,-0.2,0.3"
READERS = {
    "photo": Reader(samples.pictures, mutations.picture, _photo),
    "calibration picture": Reader(samples.pictures, mutations.picture, _calibration_picture),
    "Image": Reader(samples.images, mutations.message, _image_message),
    "CompressedImage": Reader(samples.compressed_images, mutations.message, _image_message),
    "depth map": Reader(samples.depth_maps, mutations.picture, _depth_map),
    "depth Image": Reader(samples.depth_images, mutations.message, _depth_message),
    "TUM trajectory": Reader(
        samples.texts("# time tx ty tz qx qy qz qw", f"1.99 {_TUM}", f"2.0 {_TUM}", f"2.01 {_TUM}"),
        mutations.text,
        _trajectory_text,
    ),
    "CameraInfo": Reader(samples.camera_infos, mutations.message, _camera_info),
    "camera YAML": Reader(samples.camera_yamls, mutations.yaml, _camera_yaml),
    "hand-eye YAML": Reader(samples.hand_eye_yamls, mutations.yaml, _hand_eye),
    "poses CSV": Reader(
        samples.texts("picture,x,y,z,rx,ry,rz", f"a.png,{_START}", f'"b,.png",{_START}', "# c"), mutations.text, _poses
    ),
    "starts CSV": Reader(
        samples.texts("tx,ty,tz,tux,tuy,tuz", _START, "# c", _START.replace(",", ";")), mutations.text, _starts
    ),
    "runs CSV": Reader(samples.runs_csvs, mutations.text, _runs),
    "trajectory": Reader(samples.trajectories, archives.npz, _trajectory),
    "checkpoint": Reader(samples.checkpoints, archives.tensors, _checkpoint),
    "training state": Reader(samples.states, archives.tensors, _state),
    "options": Reader(samples.options_files, mutations.json_file, _options_file),
}
