"""Records servo runs, one after the other, each of one camera: what the law saw, what it said, what was commanded and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.images.decode import as_image, as_pixels
from siame_se3.laws.types import Output, View
from siame_se3.plants.types import Plant, WrappedPlant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.recordings import messages as m
from siame_se3.servo.recordings.like_servo import like_servo
from siame_se3.servo.recordings.messages import Entry
from siame_se3.servo.recordings.sink import Sink
from siame_se3.servo.trajectory import Trajectory

_BETWEEN = 10**9  # [ns] from a run's end to the next one's start, where no clock says more


class Recording:
    """A file of runs; `servo` makes and records them.

    Images are recorded with 8 bits a channel, without loss, and laws see them so: a camera's have no more, and a simulator's are rounded to that
    before the law sees them. So a law gives the same on what is read back.

    Args:
        path: of the file, which ends in .mcap; there must be none yet.
        law: what made the controller, for `replay`: name, model, options.
        wait: for the disk, where it is slow; False for a robot's loop, which loses images rather than time.
        say: called with one line, once, where the recording ends before the runs do.

    Attributes:
        path: of the file.
        lost: how many images were not recorded.

    Raises:
        InputError: the package mcap is not installed, or the file cannot be made.
    """

    def __init__(
        self, path: Path, law: dict[str, Any], wait: bool = True, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.path, self.lost = path, 0
        self.law, self._wait, self._say = law, wait, say
        self._sink = Sink(path)
        self._number, self._time, self._said = 0, 0, False

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the rest."""
        self._sink.close()
        self._complain()

    @property
    def error(self) -> str:
        """Why nothing more is recorded, in one line; '' while all is well."""
        return self._sink.error

    def _complain(self) -> None:
        if self._sink.error and not self._said:
            self._said = True
            self._say(self._sink.error)

    def put(self, topic: str, content: dict[str, Any], pixels: np.ndarray | None = None, wait: bool = False) -> bool:
        """Record a message at the present time of the recording; whether it was taken."""
        taken = self._sink.put(Entry(topic, self._time, content, pixels), wait or self._wait)
        self._complain()
        return taken

    def event(self, level: int, kind: str, text: str) -> None:
        """Record that something happened."""
        self.put(m.EVENT, m.log(level, kind, text))

    def at(self, seconds: float, began: int) -> None:
        """What comes now happens so many seconds after a time [ns]; never before what came already."""
        self._time = max(self._time, began + round(seconds * 1e9))

    def begin(self) -> tuple[int, int]:
        """The next run's number, and its time [ns]."""
        number, self._number = self._number, self._number + 1
        self._time = max(time.time_ns(), self._time + _BETWEEN if self._time else 0)
        return number, self._time

    @like_servo
    def servo(self, given: dict[str, Any]) -> Trajectory:
        """As `siame_se3.servo.loop.servo`, of one camera, recorded.

        Raises:
            InputError: several cameras. Others: as `servo`.
        """
        plant, target, heard = given["plant"], given["target"].flat(), given["heard"]
        if target.batch != (1,):
            raise InputError(f"{target.batch[0]} cameras: a recording is of one; record one run after the other")
        target, pixels = as_recorded(target)
        settings = {"servo": m.finite(vars(given["config"] or ServoConfig()))} | (given["settings"] or {})
        run = _Run(self, plant, target, pixels, settings)

        def listen(output: Output) -> None:
            run.heard(output)
            heard(output)

        try:
            recorded = servo(**{**given, "plant": _Tap(plant, run), "target": target, "heard": listen})
        except BaseException as error:
            self.event(m.ERROR, "error", str(error) or type(error).__name__)
            raise
        run.end(recorded)
        return recorded


class _Tap(WrappedPlant):
    """A plant whose views and twists are recorded."""

    def __init__(self, plant: Plant, run: _Run) -> None:
        super().__init__(plant)
        self._run = run

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """See `Plant`."""
        return self._run.seen(self.plant.reset(start))

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """See `Plant`."""
        view, applied = self.plant.step(v)
        self._run.moved(v, applied)
        return self._run.seen(view), applied


class _Run:
    """One run as it goes into the recording."""

    def __init__(
        self, recording: Recording, plant: Plant, target: View, pixels: np.ndarray | None, settings: dict[str, Any]
    ) -> None:
        self._recording, self._dt = recording, plant.dt
        self._index, self._stage, self._fault = -1, 0, ""
        self._clock: float | None = None  # the plant's, at the first view [s]
        self._number, self._began = recording.begin()
        put = recording.put
        if pixels is not None:
            put(m.GOAL_IMAGE, {"frame_id": m.GOAL_FRAME}, pixels, True)
        depth, depth_map = _depth(target)
        if depth_map is not None:
            put(m.GOAL_DEPTH, {"frame_id": m.GOAL_FRAME}, depth_map, True)
        if (camera := plant.camera or target.camera) is not None:
            put(m.CALIBRATION, m.calibration(camera), None, True)
        self._pose(target, m.GOAL_POSE, m.GOAL_FRAME)
        goal = {
            "camera": m.camera_fields(target.camera),
            "depth": depth,
            "depth_type": _type(target),
            "T_wc": m.rows(target.T_wc),
            "T_bc": m.rows(target.T_bc),
        }
        run = {"version": m.VERSION, "number": self._number, "dt": plant.dt, "law": recording.law, "goal": goal}
        put(m.RUN, run | {"settings": settings}, None, True)
        recording.event(m.INFO, "start", f"law {recording.law.get('name', 'unnamed')} (run {self._number})")

    def _pose(self, view: View, topic: str, child: str) -> None:
        """In the scene's frame, else in the base's; nothing where it is not known."""
        for frame, T in (("scene", view.T_wc), ("base", view.T_bc)):
            if T is not None and bool(T.isfinite().all()):
                self._recording.put(topic, m.pose_in_frame(T[0].double(), frame))
                self._recording.put(m.TF, m.transform(T[0].double(), frame, child))
                return

    def seen(self, view: View) -> View:
        """Record a view; it as the law is to see it."""
        self._index += 1
        if self._clock is None:
            self._clock = view.time
        elapsed = self._index * self._dt if view.time is None or self._clock is None else view.time - self._clock
        self._recording.at(elapsed, self._began)
        view, pixels = as_recorded(view)
        depth, depth_map = _depth(view)
        frame = {"frame_id": m.CAMERA_FRAME}
        whole = depth_map is None or self._recording.put(m.DEPTH, frame, depth_map)
        taken = pixels is not None and whole and self._recording.put(m.IMAGE, frame, pixels)  # both, or none
        self._recording.lost += pixels is not None and not taken
        self._pose(view, m.POSE, m.CAMERA_FRAME)
        fields: dict[str, Any] = {
            "index": self._index,
            "image": taken,
            "depth": depth,
            "age": view.age,
            "time": view.time,
        }
        fields["depth_type"] = _type(view)
        poses = {"T_wc": m.rows(view.T_wc), "T_bc": m.rows(view.T_bc)}
        self._recording.put(m.VIEW, fields | poses | {"fault": view.fault})
        return view

    def heard(self, output: Output) -> None:
        """Record what the law says of the last view, and where another part of it has taken over."""
        fault, stage = output.faults[0], int(output.stage[0])
        certain = {
            name: None if value is None else float(value[0])
            for name, value in (("confidence", output.confidence), ("cost", output.cost))
        }
        said = {"index": self._index, "twist": m.twist(output.v[0]), "fault": fault, "stage": stage}
        self._recording.put(m.LAW, said | certain)
        if stage != self._stage:
            self._recording.event(m.INFO, "hand-off", f"view {self._index}: part {stage} of the law takes over")
        if fault and fault != self._fault:
            self._recording.event(m.WARNING, "fault", f"view {self._index}: {fault}")
        self._stage, self._fault = stage, fault

    def moved(self, asked: Float[Tensor, "1 6"], applied: Float[Tensor, "1 6"]) -> None:
        """Record what was commanded after the last view, and what the plant made of it."""
        twists = {"asked": m.twist(asked[0]), "applied": m.twist(applied[0])}
        self._recording.put(m.TWIST, {"index": self._index} | twists)

    def end(self, trajectory: Trajectory) -> None:
        """Record why the run ended."""
        reason = trajectory.reason[0]
        kinds = {"settled": (m.INFO, "settled"), "iterations": (m.WARNING, "stop"), "timeout": (m.WARNING, "stop")}
        level, kind = kinds.get(reason, (m.ERROR, "halt"))
        self._recording.event(level, kind, f"{reason} (run {self._number}, {int(trajectory.iterations[0])} iterations)")


def as_recorded(view: View) -> tuple[View, np.ndarray | None]:
    """A view of one camera as it will be read back, its image with 8 bits a channel, its depth map in float32; and the image's pixels, None where
    there is none to record. An image that is not finite is left as it is: it cannot be recorded."""
    if view.depth is not None and view.depth.ndim > 1:
        view = replace(view, depth=view.depth.float().to(view.depth.dtype))
    if view.image is None or not bool(torch.isfinite(view.image).all()):
        return view, None
    pixels = as_pixels(view.image[0])
    return replace(view, image=as_image(pixels)[None]), pixels


def _type(view: View) -> str | None:
    """Of the numbers of a view's depth: 'float64', 'float32'."""
    return None if view.depth is None else str(view.depth.dtype).removeprefix("torch.")


def _depth(view: View) -> tuple[float | None, np.ndarray | None]:
    """A view's depth as a number [m], or as a map (h, w)."""
    if view.depth is None:
        return None, None
    depth = view.depth[0].cpu()
    return (float(depth), None) if depth.ndim == 0 else (None, depth.float().numpy())
