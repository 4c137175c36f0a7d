"""Folders of pictures of one place, with what is known of their views: each public format is found by its files.

| format | files |
|---|---|
| ours | camera.yaml, poses.csv (picture,x,y,z,rx,ry,rz: T_wc, the scene's plane is z = 0), pictures beside it or in images/ |
| ours, with depth | the same, and depth/ with a map for each picture; there need be no plane |
| HPatches | 1.ppm, 2.ppm, ..., H_1_2, H_1_3, ... (pixels of picture 1 to those of picture k) |
| Oxford | img1.ppm, img2.ppm, ..., H1to2p, H1to3p, ... |
| TUM RGB-D | rgb.txt, depth.txt, groundtruth.txt, and what they list |
| 7-Scenes | frame-000000.color.png, frame-000000.depth.png, frame-000000.pose.txt, ... |
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.experiments.real import rgbd, sequences
from siame_se3.experiments.real.pictures import Folder, Picture, digest_of, name_of, within
from siame_se3.files import read_csv_rows, read_text, shown
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.geometry.plane import pixel_from_plane
from siame_se3.images.decode import read_picture, to_bytes

_WIDTH = 0.8  # of the first picture's plane where nothing tells its size [m]
_POSES = ("picture", "x", "y", "z", "rx", "ry", "rz")
_MOST_METRES, _MOST_TURN = (
    50.0,
    7.0,
)  # of a pose's position, and of each number of its rotation vector [rad]; more are other units
_MOST_PICTURES = 200  # of a plane; each is a goal for each other
_ENDINGS = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")


def read_folder(path: Path) -> Folder:
    """Of any known format.

    Raises:
        InputError: no such folder, an unknown format, or files that are missing or damaged.
    """
    if not path.is_dir():
        raise InputError(
            f"{path}: no such folder; give one of pictures with camera.yaml and poses.csv, with homographies, or with depth"
        )
    names = {p.name for p in path.iterdir() if not p.name.startswith(".")}
    if "poses.csv" in names:
        return _with_poses(path)
    if {"rgb.txt", "depth.txt"} & names:
        return sequences.tum(path)
    if any(name.endswith(".pose.txt") and (path / name).is_file() for name in names):
        return sequences.seven_scenes(path)
    for first, pattern, picture in (("H_1_2", "H_1_{}", "{}"), ("H1to2p", "H1to{}p", "img{}")):
        if first in names:
            return _with_homographies(path, pattern, picture)
    if part := next((name for name in sorted(names) if name.startswith("seq-") and (path / name).is_dir()), None):
        raise InputError(f"{path}: a scene of several sequences; give one of them, such as {path / part}")
    if archive := next((name for name in sorted(names) if re.fullmatch(r"seq-\d+\.(zip|tar|tgz|tar\.gz)", name)), None):
        raise InputError(f"{path}: {archive} is packed; unpack it, and give the folder that it holds")
    raise InputError(
        f"{path}: no poses.csv (with camera.yaml), H_1_2 (HPatches), H1to2p (Oxford), rgb.txt (TUM) or frame-000000.pose.txt (7-Scenes) in it; "
        "see docs/real.md for the formats"
    )


def _with_poses(path: Path) -> Folder:
    deep = (path / "depth").is_dir()
    found: list[tuple[str, Path, Tensor, str]] = []
    seen: set[str] = set()
    reader = read_csv_rows(path / "poses.csv")
    header = tuple(x.strip() for x in next(reader, (0, []))[1])
    if header != _POSES:
        raise InputError(f"{path / 'poses.csv'}: its first line is {','.join(header)[:80]!r}; give {','.join(_POSES)}")
    rows = list(reader)
    if not deep and len(rows) > _MOST_PICTURES:
        raise InputError(
            f"{path / 'poses.csv'}: {len(rows)} pictures, each of which is compared with each; give {_MOST_PICTURES} at most, "
            f"one of every {math.ceil(len(rows) / _MOST_PICTURES)}"
        )
    for number, row in rows:
        where = f"{path / 'poses.csv'}, line {number}"
        try:
            values = torch.tensor([float(x) for x in row[1:]], dtype=torch.float64)
        except ValueError:
            raise InputError(
                f"{where}: {','.join(row)[:60]!r} has something that is no number; give metres and radians"
            ) from None
        if len(values) != 6 or not bool(values.isfinite().all()):
            raise InputError(f"{where}: {len(row)} values; give a picture's name and six finite numbers")
        if float(values[:3].abs().max()) > _MOST_METRES or float(values[3:].abs().max()) > _MOST_TURN:
            raise InputError(f"{where}: give metres and radians, not millimetres or degrees")
        if row[0] in seen:
            raise InputError(f"{where}: {shown(row[0])} is there twice; keep its own pose")
        seen.add(row[0])
        T = lie.pose(lie.so3_exp(values[3:]), values[:3])
        if not deep and (float(T[2, 3]) >= 0 or float(T[2, 2]) <= 0):
            raise InputError(
                f"{where}: this camera does not look at the plane z = 0 from z < 0; check the frame's axes"
            )
        place = next((p for p in (path / "images" / row[0], path / row[0]) if p.is_file()), None)
        if place is None:
            raise InputError(f"{where}: no picture {shown(row[0])} in {path} or its images/")
        found.append((row[0], place, T, ",".join(row[1:])))
    if deep:
        return rgbd.with_depth_maps(path, [row[1:] for row in found])
    camera = Camera.from_yaml(path / "camera.yaml")
    return _checked(path, [_rectified(*row, camera, path / "camera.yaml") for row in found], True)


def _rectified(name: str, place: Path, T_wc: Tensor, pose: str, camera: Camera, calibration: Path) -> Picture:
    """A picture; its pose as poses.csv has it, too, and the file that its camera is from."""
    rgb = to_bytes(read_picture(place))
    if rgb.shape[:2] != camera.size:
        raise InputError(
            f"{place}: {rgb.shape[1]} x {rgb.shape[0]} px, camera.yaml has {camera.width} x {camera.height}"
        )
    plain = replace(camera, distortion=())
    digest = digest_of(place, calibration, pose)
    return Picture(name, camera.rectify(rgb), plain, T_wc, pixel_from_plane(plain, T_wc).numpy(), digest=digest)


def _with_homographies(path: Path, pattern: str, picture: str) -> Folder:
    """The plane is that of the first picture, seen square on, `_WIDTH` wide; the field of view is the paper's."""
    found: list[Picture] = []
    plane: np.ndarray | None = None
    numbers = range(1, 1000)
    for k in numbers:
        place = _numbered(path, picture, k)
        if place is None:
            break
        rgb = to_bytes(read_picture(place))
        h, w = rgb.shape[:2]
        if plane is None:
            plane = np.array([[w / _WIDTH, 0, (w - 1) / 2], [0, w / _WIDTH, (h - 1) / 2], [0, 0, 1]])
        H = np.eye(3) if k == 1 else _homography(path / pattern.format(k), found[0].rgb.shape[:2])
        camera = default_camera(min(h, w))
        camera = Camera(camera.fx, camera.fy, (w - 1) / 2, (h - 1) / 2, w, h)
        digest = digest_of(place) if k == 1 else digest_of(place, path / pattern.format(k))
        found.append(Picture(place.name, rgb, camera, _pose_of(camera, H @ plane, h / w), H @ plane, digest=digest))
    if not found:
        raise InputError(
            f"{path}: no {picture.format(1)} with one of the endings {', '.join(_ENDINGS)}; give picture 1"
        )
    later = [str(k) for k in numbers[len(found) + 1 :] if _numbered(path, picture, k)]
    missing = picture.format(len(found) + 1)
    notes = (f"there is no {missing}; pictures after it are left out: {', '.join(later)}",) if later else ()
    return _checked(path, found, False, notes)


def _numbered(path: Path, picture: str, k: int) -> Path | None:
    """The k-th picture of a folder with homographies."""
    return next((p for e in _ENDINGS if (p := path / f"{picture.format(k)}{e}").is_file()), None)


def _homography(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """Of a file; `size` (h, w) of picture 1, all of which has to be in front of the other camera."""
    words = re.split(r"[\s,;]+", read_text(path).strip())
    try:
        H = np.array([float(x) for x in words]).reshape(3, 3)
    except ValueError:
        raise InputError(f"{path}: not nine numbers; give a homography from picture 1's pixels to this one's") from None
    with np.errstate(all="ignore"):
        determinant = float(np.linalg.det(H))
    if not np.isfinite(H).all() or not 1e-12 <= abs(determinant) < math.inf:
        raise InputError(f"{path}: no homography; give nine finite numbers, of a matrix that can be inverted")
    h, w = size
    third = np.array([[0, 0, 1], [w - 1, 0, 1], [0, h - 1, 1], [w - 1, h - 1, 1]]) @ H[2]
    if not (third * determinant > 0).all():
        raise InputError(
            f"{path}: it mirrors picture 1, or takes a part of it behind the camera; give one between views of a plane's front"
        )
    return H


def _pose_of(camera: Camera, from_plane: np.ndarray, aspect: float) -> Float[Tensor, "4 4"]:
    """The camera that sees a part of the plane around its origin so, in the least-squares sense: the field of view is assumed."""
    x, y = np.meshgrid(np.linspace(-0.4, 0.4, 7) * _WIDTH, np.linspace(-0.4, 0.4, 7) * _WIDTH * aspect)
    points = np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), 1)
    mapped = points[:, :2] @ from_plane[:, :2].T + from_plane[:, 2]
    pixels = mapped[:, :2] / mapped[:, 2:]
    _, turn, move = cv2.solvePnP(points, pixels, camera.K.numpy(), None, flags=cv2.SOLVEPNP_IPPE)
    turn, move = cv2.solvePnPRefineLM(points, pixels, camera.K.numpy(), None, turn, move)
    T_cw = lie.pose(torch.from_numpy(cv2.Rodrigues(turn)[0]), torch.from_numpy(move[:, 0]))
    return lie.inverse(T_cw)


def _checked(path: Path, pictures: list[Picture], metric: bool, notes: tuple[str, ...] = ()) -> Folder:
    if len(pictures) < 2:
        why = "".join(f"; {note}" for note in notes)
        raise InputError(f"{path}: {len(pictures)} pictures with a known view; give two or more{why}")
    n = range(len(pictures))
    near = [(k, j) for k in n for j in n if j != k and within(pictures[k], pictures[j])]
    worlds = tuple((k, j) for k in n for j in n)
    return Folder(name_of(path), tuple(pictures), metric, tuple(near), worlds, notes)
