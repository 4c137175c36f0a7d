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
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from siame_se3.commissioning.commands import BEGINS, COMMANDS, LASTS, MOST, Asked
from siame_se3.commissioning.keyboard import listen
from siame_se3.commissioning.targets import depths_of
from siame_se3.errors import RobotError, SiameError
from siame_se3.laws.certainty import described
from siame_se3.laws.types import Controller, Output, View
from siame_se3.plants.robots.live import LivePlant
from siame_se3.plants.robots.pulse import Pulse
from siame_se3.plants.robots.signals import StopSignals
from siame_se3.plants.robots.text import format_twist, printable
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.safety import Safety
from siame_se3.servo.trajectory import Trajectory

Say = Callable[[str], None]


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
        self._changed = threading.Condition()  # of what follows
        self._asked: deque[Asked] = deque()
        self._voided = 0  # how often all that was asked before was voided
        self._moving = self._waiting = self._welcome = False  # _welcome: it has said once that it is ready
        self._pulse = Pulse(self._suspended)
        self._prepared: View | None = None  # the target that the law has been asked for once
        self.confidence: float | None = None  # of the law at its last answer
        self.listeners: list[Say] = []  # to what is said, beside `say`

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until a command counts; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting and not self._asked, seconds)

    def say(self, line: str) -> None:
        """Show a line, without control characters."""
        for listener in (self._print, *self.listeners):
            listener(printable(line))

    def command(self, word: str) -> None:
        """One of COMMANDS, from any thread."""
        word = printable(word[:8192].strip(), 20).lower()
        if word not in COMMANDS:
            self.say(f"'{word}' is not known; say {', '.join(COMMANDS)}")
            return
        refused = ""
        with self._changed:
            if word in ("stop", "quit"):
                self._void()
                self.plant.ask_to_stop(f"'{word}' was said")
            elif self._moving:
                refused = f"'{word}' while it moves: say 'stop' first"
            elif self._pulse.interrupted:
                refused = f"'{word}' is void: the program was suspended; say it again"
            elif len(self._asked) >= MOST:
                refused = f"'{word}' is refused: {MOST} commands wait already"
            if word != "stop" and not refused:
                self._asked.append(Asked(word, self._clock(), self._voided))
                self._changed.notify_all()
        if refused:
            self.say(refused)

    def disconnected(self, who: str, alone: bool = False) -> None:
        """Somebody who gave commands is gone: the robot stops, and what was asked before is void.

        Args:
            who: in words.
            alone: nobody else gives commands: the session ends.
        """
        with self._changed:
            self._void()
            self.plant.ask_to_stop(f"{who} is gone")
            if alone:  # before it is said: what cannot be shown any more must not keep it from ending
                self._asked.append(Asked("quit", self._clock(), self._voided))
                self._changed.notify_all()
        self.say(f"{who} is gone: what was asked before is void")

    def heard(self, word: str) -> None:
        """A command from outside, which may have been given long before it is heard: nothing counts that came before the first 'ready'."""
        if self._welcome or word.strip().lower() in ("stop", "quit"):
            self.command(word)
        else:
            self.say(f"'{printable(word.strip(), 20)}' was said before 'ready', and is void; say it again")

    def _suspended(self, seconds: float) -> None:
        with self._changed:
            void = self._void()
            if self._moving:
                self.plant.ask_to_stop(f"the program was suspended for {seconds:.1f} s")
        if void:
            self.say(f"void, as the program was suspended for {seconds:.1f} s: {', '.join(void)}; say it again")

    def _void(self) -> list[str]:
        """All that was asked until now does not count any more, except 'quit'; what that was. The lock is held."""
        self._voided += 1
        void = [asked.word for asked in self._asked if asked.word != "quit"]
        self._asked = deque(asked for asked in self._asked if asked.word == "quit")
        return void

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
            RobotError: 'stop' was said before, or something does not answer.
        """
        with StopSignals(self.plant.ask_to_stop):
            try:
                if self.target:
                    self._prepare(self.target)
                return self._drive(Asked("start", self._clock(), 0))
            finally:
                self.plant.stop()

    def _say_ready(self) -> None:
        try:
            if self.target:
                self._prepare(self.target)
        except SiameError as error:  # which a start would meet too
            self.say(f"error: {error}")
        if self._welcome:
            self._say_void()  # also what was said since the last answer
        self._welcome = True
        try:
            self.plant.stop()
        except RobotError as error:
            self.say(f"NOT ready, the robot may move: {error}; when it stands still, say 'start' again")
            return
        self.say(
            f"ready, the target is {self._target_name}: say 'start'"
            if self.target
            else "ready: say 'target' at the desired place"
        )

    def _prepare(self, target: View) -> None:
        """Ask the law once, as first calls are slow: a robot begins to move soon after its start, or not at all."""
        if target is not self._prepared and self.controller.needs <= self.plant.provides:
            law, state = self.controller.aim(target.flat())
            law(target.flat(), law(target.flat(), state)[1])
            self._prepared = target

    def _next(self) -> Asked:
        """The next command that counts."""
        while True:
            with self._changed:
                self._waiting = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._asked)
                self._waiting = False
                asked = self._asked.popleft()
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
        with self._changed:
            self._moving = False
        self._say_void()

    def _say_void(self) -> None:
        with self._changed:
            void = self._void()
        if void:
            self.say(f"said too early, and void: {', '.join(void)}; say it again")

    def _take_target(self) -> None:
        self.plant.ask_to_stop("")  # of an earlier run; a start has a look of its own at what was said
        view = self.plant.reset(None)
        self.plant.stop()
        if view.fault:
            raise RobotError(view.fault)
        view = self.plant.with_depth(view)
        self.target, self._target_name = replace(view, age=0.0), f"the view of {time.strftime('%H:%M:%S')}"
        self.say("this view is the target" + depths_of(view))

    def _drive(self, asked: Asked) -> Trajectory:
        """One run, if nothing has voided the start."""
        assert self.target is not None
        with self._changed:
            if asked.voided != self._voided:
                raise RobotError("'stop' was said after 'start'")
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

    def keyboard(self, stream: io.BufferedIOBase | None = None, alone: bool = False, take: Say | None = None) -> None:
        """Take commands from the terminal, or from `stream`, see `keyboard.listen`."""
        listen(self, stream, alone, take or self.heard, take is not None)
