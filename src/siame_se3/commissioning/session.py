"""A session with a real robot: 'target' (this view is it), 'start', 'stop', 'quit', from a keyboard or from topics.

Nothing moves that nobody just asked for. A command counts for two seconds; a stop, a halt, the end of a run, a signal, a lost
connection or a program that was suspended voids all that was asked before; a start counts only after the session has said that it is ready, and
for which target; and the robot begins to move within five seconds of it, or not at all.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from siame_se3.commissioning.commands import COMMANDS, LASTS, MOST, Asked, Inbox
from siame_se3.commissioning.keyboard import Hear, listen
from siame_se3.commissioning.targets import depths_of, view_of
from siame_se3.errors import RobotError, SiameError
from siame_se3.laws.certainty import described
from siame_se3.laws.types import Controller, Output, View
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.pulse import BEGINS, Pulse
from siame_se3.plants.robots.signals import StopSignals
from siame_se3.plants.robots.text import format_twist, printable
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

Say = Callable[[str], None]
_SHOWN = 0.05  # [s]: 'ready' was shown that long before it is known to have been


class Session:
    """Runs of one robot, one after the other.

    Args:
        plant: the robot.
        controller: the law.
        config: gain and stop rules. safety: limits.
        target: the desired view; None until 'target' is said.
        say: called with each event in a line: what is waited for, progress, why a run ended.
        done: given each run's trajectory.
        settings: kept in the trajectories.
        target_name: of the desired view, for people.
        clock: [s], of the age of commands.
        make_run: makes each run; another than `servo` records it.
    """

    def __init__(
        self,
        plant: LivePlant,
        controller: Controller,
        config: ServoConfig,
        safety: Safety,
        target: View | None = None,
        say: Say = print,
        done: Callable[[Trajectory], None] = lambda trajectory: None,
        settings: dict[str, Any] | None = None,
        target_name: str = "as given",
        clock: Callable[[], float] = time.monotonic,
        make_run: Callable[..., Trajectory] = servo,
    ) -> None:
        self._make_run = make_run
        self.plant, self.controller, self.config, self.safety = plant, controller, config, safety
        self.target, self._target_name = target, target_name
        self._print, self._done, self._settings, self._clock = say, done, settings or {}, clock
        self._inbox, self._moving = Inbox(clock), False
        self._greeting, self._ready_at = threading.RLock(), math.inf  # held while 'ready' is shown; when it had been
        self._pulse = Pulse(self._suspended)
        plant.watch(lambda: self._pulse.fault)
        self._prepared: View | None = None  # the target that the law has been asked for once
        self.confidence: float | None = None  # of the law at its last answer
        self.listeners: list[Say] = []  # to what is said, beside `say`

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until a command counts; whether it does."""
        return self._inbox.wait_until_taken(seconds)

    def say(self, line: str) -> None:
        """Show a line, without control characters."""
        for listener in (self._print, *self.listeners):
            listener(printable(line))

    def command(self, word: str, age: float = 0.0) -> bool:
        """One of COMMANDS, from any thread, given `age` s ago; whether it counts as yet."""
        word = printable(word[:8192].strip(), 20).lower()
        if word not in COMMANDS:
            self.say(f"'{word}' is not known; say {', '.join(COMMANDS)}")
            return False
        refused = ""
        with self._inbox.lock:
            if word in ("stop", "quit"):
                self._inbox.void(f"'{word}' was said")
                self.plant.ask_to_stop(f"'{word}' was said")
            elif self._moving:
                refused = f"'{word}' while it moves: say 'stop' first"
            elif self._pulse.interrupted(age):
                refused = f"'{word}' is void: the program was suspended; say it again"
            elif self._inbox.overtaken(age):
                refused = f"'{word}' is void: {self._inbox.why} since; say it again"
            elif self._inbox.full:
                refused = f"'{word}' is refused: {MOST} commands wait already"
            if word != "stop" and not refused:
                self._inbox.put(self._inbox.asked(word, age))
        if refused:
            self.say(refused)
        return not refused

    def disconnected(self, who: str, alone: bool = False) -> None:
        """Somebody who gave commands is gone: the robot stops, and what was asked before is void.

        Args:
            who: in words.
            alone: nobody else gives commands: the session ends.
        """
        with self._inbox.lock:
            self._inbox.void(f"{who} is gone")
            self.plant.ask_to_stop(f"{who} is gone")
            if alone:  # before it is said: what cannot be shown any more must not keep it from ending
                self._inbox.put(self._inbox.asked("quit"))
        self.say(f"{who} is gone: what was asked before is void")

    def heard(self, word: str, age: float = 0.0) -> bool:
        """A command from outside, which may have been given long before it is heard; whether it counts as yet."""
        began = self._clock()
        at_once = word.strip().lower() not in ("start", "target")
        return (at_once or self.is_new(word, age)) and self.command(word, age + self._clock() - began)

    def is_new(self, word: str, age: float) -> bool:
        """Whether a word that was given `age` s ago counts: it is not old, and came after the last 'ready' had been shown; else it is said to be void."""
        at = self._clock() - age
        if self._greeting.acquire(timeout=LASTS):  # the line is being shown
            self._greeting.release()
        if 0 <= age <= LASTS and at >= self._ready_at:
            return True
        when = f"{age:.1f} s ago" if LASTS < age < math.inf else "before 'ready'"
        if age < 0:
            when = f"{-age:.1f} s from now by its sender's clock, which is wrong"
        self.say(f"'{printable(word.strip(), 20)}' was said {when}, and is void; say it again")
        return False

    def _suspended(self, seconds: float) -> None:
        why = f"the program was suspended for {seconds:.1f} s"
        with self._inbox.lock:
            void = self._inbox.void(why)
            if self._moving:
                self.plant.ask_to_stop(why)
        if void:
            self.say(f"void, as {why}: {', '.join(void)}; say it again")

    def run(self) -> None:
        """Until 'quit', or a signal: Ctrl-C ends a run, and the session where the robot stands still.

        Raises:
            Interrupted: a signal ended it.
            RobotError: at the end the robot has not taken the stop.
        """
        with StopSignals(self.plant.ask_to_stop) as signals, self._pulse:
            try:
                while not signals.ending:
                    self._say_ready()
                    asked = self._next()
                    if asked.word == "quit":
                        return
                    try:
                        self._obey(asked)
                    except (SiameError, OSError) as error:  # said; the session goes on, the robot stands still
                        self.say(f"error: {error}")
                    self._end_of_command()
                    signals.forget()
            finally:
                self.plant.stop()

    def run_once(self) -> Trajectory:
        """One run, at once, to the target that was given.

        Raises:
            Interrupted: a signal ended it.
            RobotError: 'stop' was said or the program suspended before it moved, or something does not answer.
        """
        with StopSignals(self.plant.ask_to_stop), self._pulse:
            try:
                if self.target:
                    self._prepare(self.target)
                return self._drive(Asked("start", self._clock(), 0))
            finally:
                self.plant.stop()

    def _say_ready(self) -> None:
        first, self._ready_at = math.isinf(self._ready_at), math.inf
        try:
            if self.target:
                self._prepare(self.target)
        except SiameError as error:  # which a start would meet too
            self.say(f"error: {error}")
        if not first:
            self._say_void()  # also what was said since the last answer
        ready = f"ready, the target is {self._target_name}: say 'start'"
        with self._greeting:
            try:
                self.plant.stop()
                self.say(ready if self.target else "ready: say 'target' at the desired place")
            except RobotError as error:
                self.say(f"NOT ready, the robot may move: {error}; when it stands still, say 'start' again")
            self._ready_at = self._clock() - _SHOWN

    def _prepare(self, target: View) -> None:
        """Ask the law once, as first calls are slow: a robot begins to move soon after its start, or not at all."""
        if target is not self._prepared and self.controller.needs <= self.plant.provides:
            law, state = self.controller.aim(target.flat())
            law(target.flat(), law(target.flat(), state)[1])
            self._prepared = target

    def _next(self) -> Asked:
        """The next command that counts."""
        while True:
            asked = self._inbox.take()
            if (age := self._clock() - asked.at) <= LASTS or asked.word == "quit":
                return asked
            self.say(f"'{asked.word}' was said {age:.1f} s ago, and is void; say it again")

    def _obey(self, asked: Asked) -> None:
        if asked.word == "target":
            self._take_target()
        elif self.target is None:
            self.say("no target: say 'target' at the desired place first")
        else:
            self._drive(asked)

    def _end_of_command(self) -> None:
        """What was asked before the answer was shown is void: two starts start one run."""
        with self._inbox.lock:
            self._moving = False
        self._say_void()

    def _say_void(self) -> None:
        if void := self._inbox.void("a run has ended"):
            self.say(f"said too early, and void: {', '.join(void)}; say it again")

    def _take_target(self) -> None:
        self.plant.ask_to_stop("")  # of an earlier run; a start has a look of its own at what was said
        self.target, self._target_name = view_of(self.plant), f"the view of {time.strftime('%H:%M:%S')}"
        self.say("this view is the target" + depths_of(self.target))

    def _drive(self, asked: Asked) -> Trajectory:
        """One run, if nothing has voided the start."""
        assert self.target is not None
        with self._inbox.lock:
            if asked.voided != self._inbox.voided:
                raise RobotError(f"'start' is void: {self._inbox.why}; say it again")
            self._moving = True
            self.plant.ask_to_stop("")
        self.plant.begin_within(BEGINS - (self._clock() - asked.at))
        self.confidence = None
        self.say("moving" + (" (dry run: nothing is sent)" if self.plant.dry else ""))
        trajectory = self._make_run(
            *(self.plant, self.controller, self.target, None, self.config, self._settings),
            self._progress,
            self.safety,
            self._heard,
        )
        ended = f"after {int(trajectory.iterations)} iterations: {trajectory.reason[0]}"
        try:
            self.plant.stop()  # which was asked for already; whether it has been taken
            self.say(f"stands still {ended}")
        except RobotError as error:
            self.say(f"THE ROBOT MAY STILL MOVE, ended {ended}; {error}")
        if known := described(trajectory.covariances):
            self.say(f"pose known to {known}")
        self._done(trajectory)
        return trajectory

    def _progress(self, iteration: int, moving: int) -> None:
        if iteration % max(1, round(1 / self.plant.dt)) == 0:
            sent = " (not sent)" if self.plant.dry else ""
            sure = "" if self.confidence is None else f"; confidence {self.confidence:.2f}"
            self.say(f"iteration {iteration}: {format_twist(self.plant.asked)}{sent}{sure}")

    def _heard(self, output: Output) -> None:
        """What the law has just said of how sure it is."""
        confidence = math.nan if output.confidence is None else float(output.confidence[0])
        self.confidence = None if math.isnan(confidence) else confidence

    def keyboard(
        self,
        stream: io.BufferedIOBase | None = None,
        alone: bool = False,
        take: Hear | None = None,
        disarm: Callable[[], None] = lambda: None,
    ) -> None:
        """Take commands from the terminal, or from `stream`, see `keyboard.listen`."""
        listen(self, stream, alone, take or self.heard, disarm)
