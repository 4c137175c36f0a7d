"""Trajectories on disk: a .npz of arrays and one JSON text, read with doubt: sizes, types and values are checked before anything uses them."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import atomically, from_dict, parse_json, read_npz, shown
from siame_se3.geometry.camera import Camera

if TYPE_CHECKING:
    from siame_se3.servo.trajectory import Trajectory

VERSION = 1
HINT = "give a trajectory that a servo run saved"

_META = ("settings", "reason", "dt")
# axes after time and runs, and the kind of number that each array holds
_EVENTS = {"T_wc": (4, 4), "T_wd": (4, 4), "twist": (6,), "applied": (6,)}
_KINDS = {"active": ("b", torch.bool), "stage": ("iu", torch.int64), "iterations": ("iu", torch.int64)}
# not in files of laws that do not know, nor in those of older versions
_OPTIONAL = {"confidence": ("f", torch.float32), "covariance": ("f", torch.float64)}
_AS_NUMPY = {torch.float64: np.float64, torch.float32: np.float32, torch.bool: np.bool_, torch.int64: np.int64}
_FAR = 1e6  # [m, m/s, rad/s, s] beyond any robot
_MOST_PIXELS = 2**26  # of a camera
_MOST_STAGES = 1000  # of a hand-off


def write(trajectory: Trajectory, path: str | Path) -> None:
    """Write a compressed .npz (no pickle) that `read` understands, whole or not at all.

    Raises:
        InputError: it cannot be written. TypeError: its settings are not what JSON has.
    """
    values = {f.name: getattr(trajectory, f.name) for f in fields(trajectory)}
    meta = json.dumps({"version": VERSION, **{name: values.pop(name) for name in _META}}, ensure_ascii=False)
    meta = meta.encode(
        "utf-8", "replace"
    ).decode()  # half characters, as of a file's name that is no UTF-8, are not read
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in values.items() if tensor is not None}

    def put(partial: Path) -> None:
        with partial.open("wb") as stream:  # by a stream: NumPy adds '.npz' to names that lack it
            np.savez_compressed(stream, json=np.array(meta), **arrays)

    atomically(path, put)


def read(path: str | Path) -> dict[str, Any]:
    """The fields of a Trajectory: what `write` wrote. Fields that a newer version added are left out.

    Raises:
        InputError: no such file, another kind of file, a damaged one, or values that no run gives.
    """
    path = Path(path)
    arrays = read_npz(path, hint=HINT)
    text = arrays.pop("json", None)
    if text is None or text.dtype.kind != "U" or text.ndim:
        raise InputError(f"{path}: not a trajectory file; {HINT}")
    meta = parse_json(str(text), str(path), HINT, finite=False)
    try:
        tensors = _tensors(arrays)
        checked = _checked(meta, tensors)
    except (ValueError, TypeError, KeyError, UnicodeError) as error:
        newer = isinstance(meta, dict) and isinstance(meta.get("version"), int) and meta["version"] > VERSION
        why = (
            f"written by a newer siame-se3 (version {shown(meta['version'])})" if newer else "a damaged trajectory file"
        )
        raise InputError(f"{path}: {why} ({error}); {HINT}") from None
    check_settings(checked["settings"], str(path))
    return {**tensors, **checked}


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The arrays as tensors of the right types and shapes; ValueError names one that is not."""
    found: dict[str, Tensor] = {}
    for name in (*_EVENTS, *_KINDS, "step_seconds", *_OPTIONAL):
        if name not in arrays:
            if name in _OPTIONAL:
                continue
            raise ValueError(f"no {name}")
        kinds, dtype = (_KINDS | _OPTIONAL).get(name, ("f", torch.float64))
        if arrays[name].dtype.kind not in kinds:
            raise ValueError(f"{name} of type {arrays[name].dtype}")
        with np.errstate(over="ignore", invalid="ignore"):  # judged below
            native = np.ascontiguousarray(arrays[name]).astype(arrays[name].dtype.newbyteorder("="), copy=False)
            as_numpy = _AS_NUMPY[dtype]
            found[name] = torch.from_numpy(native.astype(as_numpy, copy=False).reshape(arrays[name].shape))
    T, batch = len(found["step_seconds"]), tuple(found["iterations"].shape)
    if len(batch) != 1:
        raise ValueError(f"{len(batch)} batch axes, not 1")
    shapes = {
        **{name: (T, *batch, *event) for name, event in _EVENTS.items()},
        **dict.fromkeys(("active", "stage", "confidence"), (T, *batch)),
        "step_seconds": (T,),
        "covariance": (*batch, 6, 6),
    } | {"T_wc": (T + 1, *batch, 4, 4), "T_wd": (*batch, 4, 4), "iterations": batch}
    for name, shape in shapes.items():
        if name in found and tuple(found[name].shape) != shape:
            raise ValueError(f"{name} of shape {tuple(found[name].shape)}, not {shape}")
    return found


def _checked(meta: Any, found: dict[str, Tensor]) -> dict[str, Any]:
    """Settings, reasons and dt, after all values have been checked; ValueError names a wrong one."""
    if not isinstance(meta, dict) or not set(_META) <= set(meta):
        raise ValueError("no settings, reasons or time step")
    settings, reason, dt = (meta[name] for name in _META)
    runs = found["iterations"].numel()
    if not isinstance(settings, dict):
        raise ValueError("settings without names")
    if not isinstance(reason, list) or len(reason) != runs or not all(isinstance(text, str) for text in reason):
        raise ValueError(f"not a reason for each of {runs} runs")
    if not _is_number(dt) or not 0 < dt < _FAR:
        raise ValueError(f"a time step of {shown(dt)} s")
    json.dumps([settings, reason], ensure_ascii=False).encode()  # half characters cannot be drawn or written
    for name in ("T_wc", "T_wd"):
        _check_poses(name, found[name])
    for name in ("twist", "applied", "step_seconds", *(name for name in _OPTIONAL if name in found)):
        if bool((found[name].abs() > _FAR).any()):
            raise ValueError(f"{name} beyond {_FAR:g}")
    if bool((found["iterations"] < 0).any()):
        raise ValueError("iterations below 0")
    if bool(((found["stage"] < -1) | (found["stage"] > _MOST_STAGES)).any()):
        raise ValueError("stage out of range")
    if bool((found.get("covariance", torch.zeros(0, 6, 6)).diagonal(dim1=1, dim2=2) < 0).any()):
        raise ValueError("variances below 0")
    return {"settings": settings, "reason": reason, "dt": float(dt)}


def _check_poses(name: str, T: Tensor) -> None:
    """Each pose is one, or NaN throughout, as where a plant does not know it."""
    for part in T.reshape(-1, 4, 4).split(100_000):  # little memory beside what is there
        known = part[~part.isnan().all(-1).all(-1)]
        R = known[:, :3, :3]
        turned = (R @ R.mT - torch.eye(3, dtype=T.dtype)).abs() < 1e-3
        last = known[:, 3] == T.new_tensor([0, 0, 0, 1])
        near = known[:, :3, 3].abs() < _FAR
        if not bool(turned.all() & last.all() & near.all() & (torch.linalg.det(R) > 0).all()):
            raise ValueError(f"{name} has what is no pose")


def check_settings(settings: dict[str, Any], where: str) -> None:
    """Check the types of those settings that figures and tables use, where they are there.

    Raises:
        InputError: naming the setting.
    """
    from siame_se3.servo.config import ServoConfig

    def refuse(name: str, wanted: str) -> None:
        raise InputError(f"{where}: its {name} is {shown(settings[name])}, not {wanted}; {HINT}")

    for name in ("command", "law", "scene", "fill", "hardware"):
        if not isinstance(settings.get(name, ""), str | None):
            refuse(name, "a text")
    for name in ("width", "seconds"):
        value = settings.get(name, 1.0)
        if not _is_number(value) or not 0 <= value < _FAR:
            refuse(name, "a number")
    if settings.get("camera") is not None:
        camera = from_dict(Camera, settings["camera"], f"{where}: its camera")
        if camera.width * camera.height > _MOST_PIXELS:
            size = f"{camera.width} x {camera.height} px"
            raise InputError(f"{where}: its camera has {size}, over {_MOST_PIXELS / 1e6:.0f} million pixels; {HINT}")
    from_dict(ServoConfig, settings.get("servo", {}), f"{where}: its servo settings")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
