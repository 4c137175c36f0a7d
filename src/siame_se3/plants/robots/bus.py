"""ROS 2's topics, whoever carries them: what a bus is, and what all of them use. `buses.bus_for` makes one."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from siame_se3.errors import RobotError
from siame_se3.plants.robots.threads import describe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publisher:
    """Sends messages; `listeners` is how many hear them. Sending raises OSError when it cannot."""

    send: Callable[[Any], None]
    listeners: Callable[[], int]

    def __call__(self, message: Any) -> None:
        self.send(message)


@runtime_checkable
class Bus(Protocol):
    """Topics, by ROS names such as /camera/image_raw; messages are those of `ros2_messages`."""

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """Call `heard` with each message, from another thread; only the newest counts, unless it is to be `reliable`."""

    def commands(self, topic: str, heard: Callable[[str, float], None]) -> None:
        """Call `heard`, from another thread, with the text of each std_msgs/String, reliably, and with how long ago it was sent, by the sender's
        clock [s]: a message may have waited for a connection."""

    def publisher(self, topic: str, kind: type) -> Publisher:
        """What sends a message."""

    def fault(self) -> str:
        """What went wrong in receiving since the last time that this was asked; '' for nothing. A dead thread is named each time."""

    def close(self) -> None:
        """Leave."""


class CallbackFaults:
    """Keeps what callbacks raise, until somebody asks: an executor swallows it, or ends by it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found = ""

    def keep(self, topic: str, error: BaseException) -> None:
        """A message of `topic` could not be dealt with."""
        with self._lock:  # first: an output that is held keeps the line below, and not the fault
            self._found = self._found or f"{topic}: a message could not be used ({describe(error)})"
        log.error("%s: %s", topic, describe(error))

    def guarded(self, topic: str, heard: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback that raises nothing: what went wrong is kept."""

        def call(message: Any) -> None:
            try:
                heard(message)
            except Exception as error:  # of any kind: it is kept as a fault that stops the robot
                self.keep(topic, error)

        return call

    def take(self) -> str:
        """The first since the last time that this was asked; '' for none."""
        with self._lock:
            found, self._found = self._found, ""
            return found


def sent_ago(nanoseconds: float) -> float:
    """How long ago a message was sent [s], by its source's time stamp; 0 where it has none."""
    return time.time() - 1e-9 * nanoseconds if nanoseconds > 0 else 0.0


def messages() -> Any:
    """The module of messages.

    Raises:
        RobotError: CycloneDDS is not installed.
    """
    try:
        return importlib.import_module("siame_se3.plants.robots.ros2_messages")
    except ImportError as error:
        raise RobotError(f"ROS 2: {error.name} is not installed; pip install 'siame-se3[ros2]'") from None


def stamp_now() -> Any:
    """The time, as a message has it."""
    now = time.time_ns()
    return messages().Time(now // 1_000_000_000, now % 1_000_000_000)
