"""What a page is given to show and to drive: the protocol of `Simulation` and of `LiveRobot`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from siame_se3.page.track import Track


@runtime_checkable
class Show(Protocol):
    """Tracks, and words for all of them.

    Attributes:
        tracks: one or two; the first one is that of the page's large image.
        title: in one line.
        simulated: whether cameras can be put anywhere, and time can be held.
    """

    tracks: list[Track]
    title: str
    simulated: bool

    @property
    def paused(self) -> bool:
        """Whether time stands still."""

    def barred(self) -> str:
        """Why the page cannot start anything now; '' where it can."""

    def stop(self) -> None:
        """Stop all, at once, from any thread, without waiting."""

    def start(self, visitor: int | None = None, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """Start all from where they are.

        Args:
            visitor: who asks for it; None for nobody in particular.
            age: how long ago it was asked for [s].
            absent: gives why who asks does not count any more; '' where it does. A simulation does not ask.

        Raises:
            SiameError: why not.
        """

    def left(self, visitor: int) -> None:
        """A visitor has closed the page, or its browser does not answer."""

    def goal_here(self, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """The first track's present view becomes the goal of all.

        Args:
            age: how long ago it was asked for [s].
            absent: as of `start`.

        Raises:
            SiameError: why not.
        """

    def close(self) -> None:
        """Stop, and let everything go."""
