"""siame replay: laws on recorded views."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from siame_se3.cli.options import LawName
from siame_se3.cli.status import Status
from siame_se3.errors import InputError
from siame_se3.files import doing, model_file

if TYPE_CHECKING:
    from siame_se3.laws.types import Controller, View
    from siame_se3.servo.recordings.bags import Bag
    from siame_se3.servo.recordings.reading import RecordedRun, RecordedView
    from siame_se3.servo.recordings.replay import Answers, Comparison


@dataclass(frozen=True)
class Replay:
    """Ask laws for the views of a recording, and compare what they say.

    Of a recording that 'siame servo --record' or 'siame live --record' made, the recorded law is asked again and has to give the recorded
    velocities (within 1e-5 m/s and rad/s); others (--law) are compared with it on the same views. Of a bag of ROS 2 (its folder), the first
    of --law is what the others are compared with. Exit status 1 where the recorded law gives something else.
    """

    essential = ("recording", "law", "run", "json", "topic", "target", "depth")

    recording: Positional[Path]
    """An .mcap of siame-se3, or the folder of a bag of ROS 2."""
    law: tuple[LawName, ...] = ()
    """Laws to compare, as in 'siame servo'."""
    model: Path | None = None
    """Model of the laws that take one, instead of the recorded one."""
    engine: str | None = None
    """auto, torch, cuda, openvino or openvino-bf16; default: the recorded one."""
    run: int | None = None
    """Number of the run, from 0; default: all."""
    json: bool = False
    """Print JSON, with each view's velocities, instead of a table."""
    topic: str = ""
    """Of a bag: the topic of images; default: the only one."""
    info: str = ""
    """Of a bag: the topic of CameraInfo; default: the one beside the images."""
    camera: Path | None = None
    """Of a bag: ROS camera_info YAML, instead of that topic."""
    target: Path | None = None
    """Of a bag: the goal image, taken by this camera; default: the last image."""
    depth: float | None = None
    """Of a bag: distance from camera to scene [m]; default: 0.6."""

    def __call__(self) -> int:
        from siame_se3.servo.recordings.reading import is_recording

        if self.recording.is_dir() or self.recording.suffix in (".db3", ".bag") or not is_recording(self.recording):
            return self._bag()
        for name in ("topic", "info", "camera", "target", "depth"):
            if getattr(self, name) not in (None, ""):
                raise InputError(f"{self.recording}: a recording of siame-se3 has that in it; it is for bags", name)
        return self._runs()

    def _runs(self) -> int:
        """A recording of ours."""
        from siame_se3.servo.recordings.reading import read
        from siame_se3.servo.recordings.replay import replay

        self._check_laws()
        runs = read(self.recording)
        if self.run is not None and not 0 <= self.run < len(runs):
            raise InputError(f"run {self.run}: {self.recording} has runs 0 to {len(runs) - 1}", "run")
        chosen = runs if self.run is None else [runs[self.run]]
        results, same, stopped = [], True, False
        try:
            for run in chosen:
                with doing(f"preparing the laws of run {run.number}"):
                    controllers, notes = self._controllers(run)
                views = _counted(run.views(), run.count, f"run {run.number}: asked for")
                recorded, found = replay(views, run.goal, controllers)
                comparisons = self._compared(found, recorded)
                same &= comparisons[0].reproduced or not comparisons[0].views
                results.append(_result(run, comparisons, notes, found, recorded))
                if not self.json:
                    _print_run(run, comparisons, notes)
        except KeyboardInterrupt:  # those that are done are kept
            if not self.json:
                raise
            stopped = True
        if self.json:
            print(json.dumps({"recording": str(self.recording), "runs": results, "stopped": stopped}))
        return Status.INTERRUPTED if stopped else Status.DONE if same else Status.NOT_CONVERGED

    def _check_laws(self) -> None:
        """Refuse a law that there is none of, before anything is read."""
        from siame_se3.laws.registry import REGISTRY

        for law in self.law:
            REGISTRY.load(law)

    def _controllers(self, run: RecordedRun) -> tuple[dict[str, Controller], list[str]]:
        """The recorded law, under its name, and the others; and what is to be said of them."""
        from siame_se3.servo.recordings.laws import controller_of

        own, note = controller_of(run.law, str(self.recording), self.model, self.engine)
        name = str(run.law["name"])
        others = {law: self._controller(law, run) for law in self.law if law != name}
        return {name: own, **others}, [note] if note else []

    def _controller(self, law: str, run: RecordedRun | None = None) -> Controller:
        """Another law, with the recorded model where it takes one."""
        from siame_se3.laws.reduced import PIXELS, reduced
        from siame_se3.laws.registry import controller_for
        from siame_se3.networks import checkpoint
        from siame_se3.servo.recordings.laws import controller_of

        recorded = {} if run is None else run.law
        if self.model is None and law in ("neural", "handoff") and recorded.get("model"):
            return controller_of(recorded | {"name": law}, str(self.recording), None, self.engine)[0]
        model = checkpoint.load(model_file(self.model)) if self.model is not None else None
        controller = controller_for(law, model, self.engine or str(recorded.get("engine", "auto")))
        return reduced(controller, PIXELS if run is None else int(recorded.get("image_size", 0)))

    def _compared(self, found: dict[str, Answers], reference: Answers) -> list[Comparison]:
        from siame_se3.servo.recordings.replay import compare

        return [compare(name, answers, reference) for name, answers in found.items()]

    def _bag(self) -> int:
        """A bag: images alone."""
        from siame_se3.analysis.report import counted
        from siame_se3.servo.recordings.bags import read_bag
        from siame_se3.servo.recordings.replay import replay

        if self.run not in (None, 0):
            raise InputError(f"run {self.run}: a bag is one run; leave that out", "run")
        depth = 0.6 if self.depth is None else self.depth
        if not (math.isfinite(depth) and depth > 0):
            raise InputError(f"distance of the scene: {depth:g} m; give a number above 0", "depth")
        if not self.law:
            raise InputError(f"{self.recording}: a bag has no law in it; name one or more", "law")
        self._check_laws()
        with doing(f"reading {self.recording}"):
            bag = read_bag(self.recording, self.topic, self.info, self.camera, depth)
            goal = self._goal(bag)
        with doing("preparing the laws"):
            controllers = {law: self._controller(law) for law in self.law}
        _, found = replay(_counted(bag.views(), bag.count, "asked for"), goal, controllers, asked_only=False)
        reference = found[self.law[0]]
        comparisons = self._compared(found, reference)
        if self.json:
            facts = {"recording": str(self.recording), "topic": bag.topic, "camera": bag.given, "depth": depth}
            laws = [_law_result(one, found[one.law]) for one in comparisons]
            print(json.dumps(facts | {"views": bag.count, "laws": laws}))
        else:
            print(
                f"{self.recording}: {counted(bag.count, 'image')} of {bag.topic}, camera: {bag.given}, scene {depth:g} m away, ",
                end="",
            )
            print(f"goal: {self.target or 'the last image'}; compared with {self.law[0]}")
            _print_table(comparisons)
        return Status.DONE

    def _goal(self, bag: Bag) -> View:
        """The desired view: the picture that was given, or the last image."""
        return bag.last() if self.target is None else bag.prepared(self.target)


def _counted(views: Iterator[RecordedView], count: int, what: str) -> Iterator[RecordedView]:
    """The views, and how far it is."""
    from siame_se3.files import Counter

    with Counter(count, what, "views") as counter:
        for number, view in enumerate(views, 1):
            yield view
            counter.to(number)


def _result(
    run: RecordedRun, comparisons: list[Comparison], notes: list[str], found: dict[str, Answers], recorded: Answers
) -> dict[str, Any]:
    from siame_se3.servo.recordings.messages import finite

    result: dict[str, Any] = finite(
        {
            "run": run.number,
            "law": run.law.get("name"),
            "views": run.count,
            "events": [asdict(event) for event in run.events],
            "cut": run.cut,
            "notes": notes,
            "reproduced": comparisons[0].reproduced,
            "recorded": recorded.velocities().tolist(),
            "laws": [_law_result(one, found[one.law]) for one in comparisons],
        }
    )
    return result


def _law_result(comparison: Comparison, answers: Answers) -> dict[str, Any]:
    from siame_se3.servo.recordings.messages import finite

    result: dict[str, Any] = finite(
        asdict(comparison) | {"velocities": answers.velocities().tolist(), "confidences": answers.confidence}
    )
    return result


def _print_run(run: RecordedRun, comparisons: list[Comparison], notes: list[str]) -> None:
    """A run's table, and whether the recorded law has given what was recorded."""
    from siame_se3.analysis.report import counted

    own = comparisons[0]
    lost = f"; the images of {counted(own.lost, 'view')} were not recorded: they are not compared" if own.lost else ""
    print(f"run {run.number}: law {own.law}, {counted(run.count, 'view')}; {run.end}")
    if len(comparisons) > 1:
        _print_table(comparisons)
    for note in notes:
        print(f"  {note}")
    if own.reproduced:
        how = "equal to the last bit" if not own.largest > 0 else f"largest difference {own.largest:.1e}"
        print(f"  {own.law} gives what was recorded: {counted(own.compared, 'velocity', 'velocities')}, {how}{lost}")
    elif 0 < own.lost == own.views:
        print(
            f"siame: {run.path}: {own.law} cannot be asked: the images of all {own.views} views were not recorded",
            file=sys.stderr,
        )
    elif own.views:
        there = run.law.get("machine", "a machine that is not known")
        print(
            f"siame: {run.path}: {own.law} does not give what was recorded: largest difference {own.largest:.1e}{lost}; recorded on {there}",
            file=sys.stderr,
        )


def _print_table(comparisons: list[Comparison]) -> None:
    from siame_se3.analysis.report import counted
    from siame_se3.servo.recordings.replay import row

    rows = [row(one) for one in comparisons]
    names = list(rows[0])
    widths = [max(len(name), *(len(str(r[name])) for r in rows)) for name in names]
    print("  " + "  ".join(f"{name:>{w}}" for name, w in zip(names, widths, strict=True)))
    for r in rows:
        print("  " + "  ".join(f"{r[name]!s:>{w}}" for name, w in zip(names, widths, strict=True)))
    for one in comparisons:
        for fault, count in one.faults.items():
            print(f"  {one.law}: no velocity in {counted(count, 'view')}: {fault}")
