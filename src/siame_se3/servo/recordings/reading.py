"""Recordings as runs again, read with doubt: views as the law saw them, what it said, what was commanded."""

from __future__ import annotations

import base64
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.files import from_dict
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image, decode, to_bytes
from siame_se3.laws.types import View
from siame_se3.servo.recordings import messages as m
from siame_se3.servo.recordings.file import LIBRARY, MAGIC
from siame_se3.servo.recordings.mcap_messages import HINT, messages

log = logging.getLogger(__name__)
_TYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True)
class Event:
    """Something that happened: which kind of thing, and what it was in words."""

    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class RecordedView:
    """One view of a run, and what came of it.

    Attributes:
        view: what the law saw, a batch of one; without an image where that was lost.
        v: the law's velocity at gain 1 [m/s, rad/s]; None where it was not asked, as while a robot comes to rest.
        fault: why it had none; '' where it had one.
        stage: which part of the law gave it.
        confidence: of the law, NaN where it gave none.
        asked, applied: the twist that was commanded after the view, and what the plant made of it; None after the last one.
    """

    view: View
    v: Float[Tensor, "6"] | None = None
    fault: str = ""
    stage: int = 0
    confidence: float = float("nan")
    asked: Float[Tensor, "6"] | None = None
    applied: Float[Tensor, "6"] | None = None


@dataclass(eq=False)
class RecordedRun:
    """A run in a recording; `views` reads them from the file, one after the other.

    Attributes:
        path: of the recording.
        number: of the run, from 0.
        law: what made the controller: name, model, options; {} where no law ran.
        dt: between views [s].
        settings: of the run.
        goal: the desired view, a batch of one.
        events: what happened.
        count: how many views there are.
        cut: the file ends within the run.
    """

    path: Path
    number: int
    law: dict[str, Any]
    dt: float
    settings: dict[str, Any]
    goal: View
    events: list[Event] = field(default_factory=list)
    count: int = 0
    cut: bool = False

    @property
    def end(self) -> str:
        """How it ended, in words."""
        ends = [event.text for event in self.events if event.kind in m.ENDS]
        return ends[-1] if ends else "its end is not recorded"

    def views(self) -> Iterator[RecordedView]:
        """All of them, in order.

        Raises:
            InputError: a damaged file.
        """
        current: RecordedView | None = None
        pixels: dict[str, np.ndarray] = {}
        run = -1
        for topic, content in messages(self.path, frozenset(m.SCHEMAS) - {m.GOAL_IMAGE, m.GOAL_DEPTH}):
            run += topic == m.RUN
            if run > self.number:
                break
            if run != self.number:
                continue
            with _Damage(self.path, topic):
                if topic in (m.IMAGE, m.DEPTH):
                    pixels[topic] = _pixels(topic, content, self.path)
                elif topic == m.VIEW:
                    if current is not None:
                        yield current
                    current, pixels = RecordedView(self._view(content, pixels)), {}
                elif current is not None:
                    current = replace(current, **_said(topic, content))
        if current is not None:
            yield current

    def _view(self, content: dict[str, Any], pixels: dict[str, np.ndarray]) -> View:
        return View(
            image=as_image(pixels[m.IMAGE])[None] if m.IMAGE in pixels else None,
            T_wc=_pose(content["T_wc"]),
            depth=_depth(content, pixels.get(m.DEPTH)),
            camera=self.goal.camera,
            age=float(content["age"]),
            fault=str(content["fault"]),
            T_bc=_pose(content["T_bc"]),
            time=None if content["time"] is None else float(content["time"]),
        )


class _Damage:
    """Turns what strange values raise into one line."""

    def __init__(self, path: Path, topic: str) -> None:
        self._path, self._topic = path, topic

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | OverflowError | struct.error):
            what = f"no {error}" if isinstance(error, KeyError) else str(error)[:100]
            raise InputError(f"{self._path}: a message of {self._topic} is damaged ({what}); {HINT}") from None


def is_recording(path: Path) -> bool:
    """Whether a file is a recording of siame-se3, by what is in it; False of an MCAP file of others.

    Raises:
        InputError: not a file, or no MCAP file.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, no file' if path.exists() else 'no such file'}; {HINT}")
    with path.open("rb") as stream:
        start = stream.read(200)
    if not start.startswith(MAGIC):
        raise InputError(f"{path}: no MCAP file; {HINT}")
    # by who wrote it, in the header; other tools copy recordings under their own name
    return LIBRARY.encode() in start or any(topic == m.RUN for topic, _ in messages(path, frozenset({m.RUN}), cut=[]))


def read(path: Path) -> list[RecordedRun]:
    """The runs of a recording, without their views. Of a file that was cut off, what is there; a line in the log says so.

    Raises:
        InputError: no recording, a damaged one, or one without a run.
    """
    runs: list[RecordedRun] = []
    pixels: dict[str, np.ndarray] = {}
    cut: list[str] = []
    for topic, content in messages(path, frozenset({m.RUN, m.VIEW, m.EVENT, m.GOAL_IMAGE, m.GOAL_DEPTH}), cut):
        with _Damage(path, topic):
            if topic in (m.GOAL_IMAGE, m.GOAL_DEPTH):  # they come before the run that they belong to
                pixels[topic] = _pixels(topic, content, path)
            elif topic == m.RUN:
                runs.append(_run(path, len(runs), content, pixels))
                pixels = {}
            elif topic == m.VIEW and runs:
                runs[-1].count += 1
            elif topic == m.EVENT and runs:
                runs[-1].events.append(Event(str(content["name"]), str(content["message"])))
    if not runs:
        raise InputError(f"{path}: there is no run in it{''.join(cut)}; {HINT}")
    if cut:
        runs[-1].cut = True
        log.warning("%s: it is cut off; the %d views before that are used", path, sum(run.count for run in runs))
    return runs


def _run(path: Path, number: int, content: dict[str, Any], pixels: dict[str, np.ndarray]) -> RecordedRun:
    if int(content["version"]) > m.VERSION:
        raise InputError(
            f"{path}: made by a newer siame-se3 (version {content['version']} of recordings); update this one"
        )
    goal, law, settings = content["goal"], content["law"], content["settings"]
    if not all(isinstance(part, dict) for part in (goal, law, settings)):
        raise ValueError("its parts have no names")
    camera = None if goal["camera"] is None else from_dict(Camera, goal["camera"], f"{path}: its camera")
    target = View(
        image=as_image(pixels[m.GOAL_IMAGE])[None] if m.GOAL_IMAGE in pixels else None,
        T_wc=_pose(goal["T_wc"]),
        depth=_depth(goal, pixels.get(m.GOAL_DEPTH)),
        camera=camera,
        T_bc=_pose(goal["T_bc"]),
    )
    return RecordedRun(path, number, law, float(content["dt"]), settings, target)


def _said(topic: str, content: dict[str, Any]) -> dict[str, Any]:
    """What a message adds to the view before it."""
    if topic == m.LAW:
        confidence = content["confidence"]
        return {
            "v": _twist(content["twist"]),
            "fault": str(content["fault"]),
            "stage": int(content["stage"]),
            "confidence": float("nan") if confidence is None else float(confidence),
        }
    if topic == m.TWIST:
        return {"asked": _twist(content["asked"]), "applied": _twist(content["applied"])}
    return {}


def _twist(content: Any) -> Float[Tensor, "6"]:
    values = [content[part][axis] for part in ("v", "omega") for axis in "xyz"]
    return torch.tensor([float("nan") if x is None else float(x) for x in values], dtype=torch.float64)


def _pose(values: Any) -> Float[Tensor, "1 4 4"] | None:
    if values is None:
        return None
    return torch.tensor([float("nan") if x is None else float(x) for x in values], dtype=torch.float64).reshape(1, 4, 4)


def _depth(content: dict[str, Any], pixels: np.ndarray | None) -> Tensor | None:
    """A number or a map, of the type that it had."""
    value, kind = content["depth"], content["depth_type"]
    if kind is None:
        return None
    if kind not in _TYPES:
        raise ValueError(f"depth of type {str(kind)[:20]!r}")
    if value is not None:
        return torch.tensor([float(value)], dtype=_TYPES[kind])
    return None if pixels is None else torch.from_numpy(pixels).to(_TYPES[kind])[None]


def _pixels(topic: str, content: dict[str, Any], path: Path) -> np.ndarray:
    """An image (h, w, 3) uint8, or a depth map (h, w) float32."""
    with _Damage(path, topic):
        data = base64.b64decode(content["data"], validate=True)
        if topic in (m.IMAGE, m.GOAL_IMAGE):
            return to_bytes(decode(data, f"{path}: an image of {topic}"))
        return np.frombuffer(data, "<f4").reshape(content["height"], content["width"]).copy()
