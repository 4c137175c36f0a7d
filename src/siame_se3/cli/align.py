"""siame align: where the camera is beside a reference photo; one picture, or live."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from siame_se3.cli.options import check_writable
from siame_se3.cli.output import Output
from siame_se3.cli.run_files import PAGES, write_align_report
from siame_se3.cli.status import Status
from siame_se3.cli.topics import ImageTopics
from siame_se3.errors import InputError, SiameError
from siame_se3.files import doing

if TYPE_CHECKING:
    import numpy as np

    from siame_se3.analysis.html_align import Followed
    from siame_se3.cli.align_screen import Display
    from siame_se3.commissioning.align import Reference
    from siame_se3.commissioning.align_picture import Optics, Picture
    from siame_se3.commissioning.align_regions import Regions
    from siame_se3.commissioning.align_source import Frames
    from siame_se3.commissioning.align_words import Judge

_WITHIN, _SURE = ("2mm", "0.2deg"), ("5mm", "0.5deg")
_WITHIN_SHARE, _SURE_SHARE = ("0.3%", "0.2deg"), ("0.8%", "0.5deg")  # without a distance: those at 0.6 m, about
_SQUARE = 0.05  # tangent of what is square, one standard deviation
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")  # endings of a reference that is taken
_SETTLE = 1.0  # seconds that a camera has to find its exposure before a reference is taken


@dataclass(frozen=True)
class Align:
    """Say where a camera is beside a reference photo, and how to move it back.

    Needs no training, no robot and no calibration. With --now one picture is compared, in one line; else a camera or a video file is followed,
    until it ends or Ctrl-C. Directions are those in which the camera has to move, as the person behind it sees them (a photo, as it was held);
    turns are made in the order right or left, up or down, clockwise or not. Exit status: 0 right, within --within; 1 to be moved; 2 wrong input; 3 not sure. Live, that of the
    last frame.
    """

    essential = ("now", "source", "goal_depth", "camera", "fov", "within", "roi", "save_reference", "report", "json")

    reference: Positional[Path]
    """The photo of the place to go back to."""
    now: Path | None = None
    """What the camera sees now, a picture: one comparison."""
    source: str = ""
    """What the camera sees, live: index of a camera, its device (/dev/video0), video file, or URL. Default without --now: 0, the first camera."""
    ros2: ImageTopics = field(default_factory=lambda: ImageTopics(image="", stamps="receipt"))
    """Topics of the camera, for --ros2.image, instead of --source."""
    goal_depth: float | None = None
    """Distance from the camera to what is in the reference's middle [m]; without it motions are shares of that distance."""
    camera: Path | None = None
    """ROS camera_info YAML of the camera ('siame calibrate camera' writes one); without one, or --fov: by the pictures' EXIF, or else a usual lens."""
    fov: float | None = None
    """Field of view across the picture [deg], where there is no calibration; of a topic its images are then taken as they come, without a CameraInfo."""
    reference_camera: Path | None = None
    """As --camera, of the reference, where another camera took it."""
    reference_fov: float | None = None
    """As --fov, of the reference, where another camera took it."""
    within: tuple[str, str] | None = None
    """What counts as right: a length (um, mm, cm, m, or % of the distance) and an angle (deg, rad). Default: 2mm 0.2deg; without a distance 0.3% 0.2deg."""
    sure: tuple[str, str] | None = None
    """A motion that is to be made and known worse than this (two standard deviations) is not sure. Default: 5mm 0.5deg; without a distance 0.8% 0.5deg;
    at least --within."""
    square_on: bool = False
    """The reference was taken square to a flat scene: then a shift is distinguished better from a turn."""
    roi: tuple[str, ...] = ()
    """Regions of the reference that count, each left,top,width,height in the pixels of its file as a viewer shows it, or in % (10%,20%,50%,50%); default: all of it."""
    ignore: tuple[str, ...] = ()
    """Regions of the reference that are left out: what moves or changes there."""
    save_reference: bool = False
    """Take the reference from the source, write it, and end."""
    force: bool = False
    """Write it over one that is there."""
    once: bool = False
    """One picture of the source, and end."""
    json: bool = False
    """Plain data instead of words; live, a line a frame. See docs/align.md."""
    tone: bool = True
    """Live, in a terminal: ring its bell when it becomes right."""
    report: Path | None = None
    """Write a page with the motion, both pictures, their difference and the way of the camera, which opens without a network (.html)."""

    def __call__(self) -> Status:
        with doing("loading PyTorch"):
            from siame_se3.commissioning.align import Reference
            from siame_se3.commissioning.align_picture import Picture
            from siame_se3.commissioning.align_regions import Regions
            from siame_se3.commissioning.align_source import one_frame
            from siame_se3.commissioning.align_views import SLOPE

        now, reference = self._optics()
        judge = self._judge()
        regions = Regions.parse(self.roi, self.ignore)
        slope = _SQUARE if self.square_on else SLOPE
        self._check()
        if self.now is not None:
            goal, seen = Picture.read(self.reference, reference), Picture.read(self.now, now)
            with doing(f"preparing {self.reference.name}"):
                looked_for = Reference.of(goal, self.goal_depth, regions.counting(goal), slope)
            return self._compare(looked_for, seen, judge, self.now.name)
        with contextlib.ExitStack() as closing:
            frames, now, reference = self._frames(closing, now, reference)
            if self.save_reference:
                return self._save(frames)
            goal, counts = self._goal(frames, reference, regions)
            with doing(f"preparing {self.reference.name}"):
                looked_for = Reference.of(goal, self.goal_depth, counts, slope)
            if self.once:
                seen = Picture.of(one_frame(frames, _SETTLE), now, where=frames.name)
                return self._compare(looked_for, seen, judge, frames.name)
            return self._live(frames, looked_for, judge, now)

    def _check(self) -> None:
        """Refuse what cannot be, before anything is opened."""
        given = [name for name in ("now", "source") if getattr(self, name)] + ["ros2.image"] * bool(self.ros2.image)
        if len(given) > 1:
            raise InputError("give one of a picture, a source and a topic", *given)
        check_writable(self.report, "--report", PAGES)
        if self.report is not None and self.save_reference:
            raise InputError("a reference that is taken is compared with nothing, so there is no report", "report")
        if self.now is not None and (self.save_reference or self.once):
            raise InputError("a picture is compared once, and is there already; leave that out", "now")
        if self.save_reference and self.reference.exists() and not self.force:
            raise InputError(
                f"{self.reference}: is there already; give another name, or say that it may be written over", "force"
            )
        if self.save_reference:
            check_writable(self.reference, "the reference", _PICTURES)
        if not self.save_reference and not self.reference.is_file():
            what = "a folder" if self.reference.is_dir() else "no such file"
            raise InputError(f"{self.reference}: {what}; give a photo, or take it from the camera", "save_reference")

    @property
    def _one_camera(self) -> bool:
        """The reference is from the same camera, or says its own."""
        return self.reference_camera is None and self.reference_fov is None

    def _optics(self) -> tuple[Optics, Optics]:
        """What is known of the camera, and of the reference's."""
        from siame_se3.commissioning.align_picture import Optics

        now = Optics.given(self.camera, self.fov)
        if self._one_camera:
            return now, now
        return now, Optics.given(self.reference_camera, self.reference_fov, "reference_camera", "reference_fov")

    def _judge(self) -> Judge:
        from siame_se3.commissioning.align_words import Judge, Tolerance

        if self.goal_depth is not None and not (math.isfinite(self.goal_depth) and self.goal_depth > 0):
            raise InputError(f"distance {self.goal_depth:g} m: give metres above 0", "goal_depth")

        far = self.goal_depth is None
        within = Tolerance.parse(self.within or (_WITHIN_SHARE if far else _WITHIN), "within", self.goal_depth)
        sure = Tolerance.parse(self.sure or (_SURE_SHARE if far else _SURE), "sure", self.goal_depth)
        if self.sure is None:
            sure = Tolerance(max(sure.distance, within.distance), max(sure.angle, within.angle))
        return Judge(within, sure)

    def _frames(self, closing: contextlib.ExitStack, now: Optics, reference: Optics) -> tuple[Frames, Optics, Optics]:
        """The source, and what is known of its pictures."""
        from siame_se3.commissioning.align_picture import Optics
        from siame_se3.commissioning.align_source import OpenCVFrames, let_go, ros2_frames
        from siame_se3.plants.robots.text import without_password

        if self.ros2.image:
            from siame_se3.plants.robots.buses import bus_for

            topics = self.ros2
            bus = bus_for(topics.bus, topics.domain)
            closing.callback(bus.close)
            with doing(f"waiting for {topics.image}"):
                whole = self.fov is not None
                topic = ros2_frames(bus, topics.image, topics.info_topic, now.camera, topics.stamps, whole)
            closing.callback(topic.close)
            if whole:
                return topic, now, reference
            optics = Optics(topic.source.camera, rectified=True)
            return topic, optics, optics if self._one_camera else reference
        with doing(f"opening camera or video {without_password(self.source or '0')}"):
            frames = OpenCVFrames(self.source or "0", pace=sys.stdout.isatty() and not self.json)
        closing.callback(let_go, frames)
        return frames, now, reference

    def _goal(self, frames: Frames, optics: Optics, regions: Regions) -> tuple[Picture, np.ndarray]:
        """The reference, and where it counts; one as a topic's camera gives them is made what that source makes of its pictures."""
        import numpy as np

        from siame_se3.commissioning.align_picture import Picture, raster_of
        from siame_se3.commissioning.align_source import SourceFrames
        from siame_se3.images.decode import as_pixels

        if not (isinstance(frames, SourceFrames) and self._one_camera and self.fov is None):
            goal = Picture.read(self.reference, optics)
            return goal, regions.counting(goal)
        pixels, quarters = raster_of(self.reference)
        mask = regions.mask((pixels.shape[0], pixels.shape[1]), quarters)
        if pixels.shape[:2] != frames.source.camera.size:
            pixels = as_pixels(frames.source.prepared(pixels))
            mask = as_pixels(frames.source.prepared(np.repeat(mask[..., None], 3, 2)))[..., 0]
        goal = Picture.of(pixels, optics, where=str(self.reference), quarters=quarters)
        return goal, regions.counting(goal, mask)

    def _save(self, frames: Frames) -> Status:
        from siame_se3.commissioning.align_source import one_frame
        from siame_se3.images.encode import write_picture

        pixels = one_frame(frames, _SETTLE)
        write_picture(self.reference, pixels)
        output, size = Output(self.json), [pixels.shape[1], pixels.shape[0]]
        output.say(f"reference: {self.reference}, {size[0]} x {size[1]} px, from {frames.name}")
        output.end({"reference": self.reference, "size": size, "source": frames.name})
        return Status.DONE

    def _compare(self, reference: Reference, seen: Picture, judge: Judge, where: str) -> Status:
        """One picture, in one line."""
        followed = self._followed(judge)
        with doing(f"comparing {where} with it"):
            found = reference.locate(seen)
        self._notes(reference.picture, seen)
        more = self._more(reference.picture, seen)
        print(json.dumps(judge.data(found) | more) if self.json else judge.sentence(found), flush=True)
        if followed is not None:
            followed.add(found, time.monotonic(), seen)
            self._report(reference, followed, more, where)
        return _status(judge, found)

    def _followed(self, judge: Judge) -> Followed | None:
        """What a report is made of, where one is asked for."""
        if self.report is None:
            return None
        from siame_se3.analysis.html_align import Followed

        return Followed(judge)

    def _report(self, reference: Reference, followed: Followed, more: dict[str, Any], where: str) -> None:
        """Write it, and say so."""
        output = Output(self.json)
        title = f"{where} beside {self.reference.name}"
        judged = {name: getattr(followed.judge, name).text(reference.unit) for name in ("within", "sure")}
        settings = {"reference": str(self.reference), "now": where, **judged, **more}
        output.write(self.report, lambda path: write_align_report(path, title, reference, followed, settings))
        output.end()

    def _live(self, frames: Frames, reference: Reference, judge: Judge, optics: Optics) -> Status:
        """Until the source ends, or Ctrl-C."""
        from siame_se3.commissioning.align_live import Summary, Tracker
        from siame_se3.commissioning.align_picture import Picture

        display: Display | None = None
        summary, followed, status = Summary(judge), self._followed(judge), Status.NOT_SURE
        more: dict[str, Any] = {}
        fault: SiameError | None = None
        with contextlib.ExitStack() as ending, contextlib.suppress(KeyboardInterrupt):  # which is how a live one ends
            tracker = ending.enter_context(Tracker(reference, waits=frames.video))
            try:
                for frame in frames:
                    seen = Picture.of(frame, optics, where=frames.name)
                    if display is None:
                        display = self._display(judge, reference.picture, seen, frames)
                        ending.callback(display.end)
                    found = tracker.step(seen)
                    summary.add(found, time.monotonic())
                    if followed is not None:
                        followed.add(found, time.monotonic(), seen)
                        more = self._more(reference.picture, seen)
                    display.show(found, summary.rate)
                    status = _status(judge, found)
            except SiameError as error:  # a source that falls silent, or is gone: what was found until then is kept
                if display is None:
                    raise
                fault = error
            if frames.video and display is not None and fault is None:
                found = tracker.last(seen)
                summary.end(found)
                display.correct(found)
                if followed is not None:
                    followed.correct(found)
                status = _status(judge, found)
        print(summary.text(), file=sys.stderr if self.json else sys.stdout, flush=True)
        if followed is not None:
            self._report(reference, followed, more, frames.name)
        if fault is not None:
            raise fault
        return status

    def _display(self, judge: Judge, goal: Picture, seen: Picture, frames: Frames) -> Display:
        from siame_se3.cli.align_screen import Lines, Screen

        self._notes(goal, seen)
        if self.json or not sys.stdout.isatty():
            return Lines(judge, self.json, self._more(goal, seen), corrected=frames.video)
        return Screen(judge, f"siame align  {self.reference.name}  {frames.name}", self.tone)

    def _notes(self, goal: Picture, seen: Picture) -> None:
        """Say what was assumed."""
        if self.json:
            return
        if goal.known != seen.known:
            print(f"reference: {goal.known}; now: {seen.known}")
        elif "calibrated" not in goal.known:
            print(f"camera: {goal.known}")
        if goal.guessed or seen.guessed:
            print("  lengths and turns are as good as that guess: give --fov or --camera")
        if self.fov is not None and self._one_camera and not goal.like(seen):
            print(
                f"reference of {_size(goal)}, now {_size(seen)} px: the field of view is taken for both (--reference-fov)"
            )
        if self.goal_depth is None:
            print("distance not known: motions are shares of it (--goal-depth gives metres)")

    def _more(self, goal: Picture, seen: Picture) -> dict[str, Any]:
        return {"reference_camera": goal.known, "camera": seen.known, "goal_depth": self.goal_depth}


def _size(picture: Picture) -> str:
    return f"{picture.size[1]} x {picture.size[0]}"


def _status(judge: Judge, found: Any) -> Status:
    from siame_se3.commissioning.align_words import Verdict

    verdict = judge.verdict(found)[0]
    return {Verdict.RIGHT: Status.DONE, Verdict.MOVE: Status.NOT_CONVERGED, Verdict.NOT_SURE: Status.NOT_SURE}[verdict]
