"""A live robot on a page: it shows all, and starts nothing that the terminal has not armed."""

from __future__ import annotations

import time
from collections.abc import Callable

from siame_se3.commissioning.session import Session
from siame_se3.errors import RobotError
from siame_se3.page.track import Track

ARMED_FOR = 600.0  # [s]: after that the terminal is asked again


class LiveRobot:
    """A `Show` of a robot whose session the terminal runs.

    The page may always stop it. It may start it, or take a goal, only after somebody has typed 'arm' in the terminal, for ten minutes, until
    'disarm', or until the terminal is gone.

    Args:
        session: of the robot.
        law: the law's name.
        clock: [s].
    """

    simulated = False

    def __init__(self, session: Session, law: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.session, self._clock = session, clock
        self.tracks = [Track(session, law)]
        self.title = "robot, DRY RUN: nothing is sent" if session.plant.dry else "robot"
        self._armed_until = -1.0
        self._starter: int | None = None  # the visitor that started the present run
        self._asking: int | None = None  # the one whose start is being looked at
        session.listeners.append(self._heard)

    @property
    def paused(self) -> bool:
        """See `Show`: nothing holds a robot's time."""
        return False

    def terminal(self, word: str, age: float = 0.0) -> None:
        """A line from the terminal, read `age` s ago: 'arm', 'disarm', or a word for the session."""
        word = word.strip().lower()
        if word == "arm":
            if not self.session.is_new(word, age):
                return
            self._armed_until = self._clock() + ARMED_FOR
            self.session.say(
                f"the page may start the robot, for {ARMED_FOR / 60:.0f} minutes; 'disarm' takes that back"
            )
        elif word == "disarm":
            self.disarm()
            self.session.say("the page cannot start the robot any more")
        else:
            self.session.heard(word, age)

    def disarm(self) -> None:
        """The page cannot start the robot any more; one that moves goes on."""
        self._armed_until = -1.0

    def barred(self) -> str:
        """See `Show`."""
        return (
            "" if self._clock() < self._armed_until else "type 'arm' in the terminal to let this page start the robot"
        )

    def _require_armed(self, absent: Callable[[], str]) -> None:
        if why := self.barred() or absent():
            raise RobotError(why)

    def stop(self) -> None:
        """See `Show`."""
        self.session.command("stop")

    def start(self, visitor: int | None = None, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """See `Show`. Whose start counts is who stops the robot by leaving."""
        self._asking = visitor  # before the look at whether it is there: who leaves from now on stops it
        try:
            self._require_armed(absent)
            if self.session.heard("start", age):
                self._starter = visitor
        finally:
            self._asking = None

    def goal_here(self, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """See `Show`."""
        self._require_armed(absent)
        self.session.heard("target", age)

    def _heard(self, line: str) -> None:
        """The session has said something: where it is ready for commands, no run goes on."""
        if line.startswith("ready"):
            self._starter = None

    def left(self, visitor: int) -> None:
        """A visitor has closed the page, or does not answer: a run that this one started ends, for nobody who asked for it watches it."""
        if visitor in (self._starter, self._asking):
            self._starter = None
            self.session.disconnected("the page's visitor who started it")

    def close(self) -> None:
        """The session and the robot are the terminal's: only the robot is stopped."""
        self.disarm()
        self.stop()
