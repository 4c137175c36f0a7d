"""Topics over CycloneDDS by itself, without ROS. Topics begin with rt/, as ROS 2's do. CYCLONEDDS_URI configures it, DDS Security too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from siame_se3.errors import InputError, RobotError
from siame_se3.plants.robots.bus import CallbackFaults, Publisher, messages, sent_ago
from siame_se3.plants.robots.threads import Worker, describe

_making_topics = threading.Lock()  # two threads that make topics of one type at once get an error
_ANY_STATE = 1 | 2 | 4 | 8 | 16 | 32 | 64


class DdsBus:
    """A participant of a DDS domain.

    Args:
        domain: ROS_DOMAIN_ID.

    Raises:
        InputError: a domain that is none.
        RobotError: CycloneDDS is not installed or cannot start; or ROS's security is switched on by its environment variables, which
            only ROS's own bus reads, and CYCLONEDDS_URI configures none.
    """

    def __init__(self, domain: int = 0) -> None:
        messages()
        if not 0 <= domain <= 232:
            raise InputError(f"DDS domain {domain}: give one from 0 to 232", "ros2.domain")
        _require_security()
        from cyclonedds.core import DDSException, Policy, Qos
        from cyclonedds.domain import DomainParticipant
        from cyclonedds.util import duration

        try:
            self._participant = DomainParticipant(domain)
        except DDSException as error:
            raise RobotError(
                f"DDS: cannot start ({describe(error)}); check CYCLONEDDS_URI and the network", "ros2.domain"
            ) from None
        # Readers take from best-effort and reliable writers alike, the newest message only; writers serve both kinds of readers.
        self._newest = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(1))
        self._each = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10))
        self._writing = Qos(Policy.Reliability.Reliable(duration(milliseconds=20)), Policy.History.KeepLast(1))
        self._ended = threading.Event()
        self._listeners: list[Worker] = []
        self._faults = CallbackFaults()

    def _topic(self, name: str, kind: type) -> Any:
        from cyclonedds.topic import Topic

        with _making_topics:
            return Topic(self._participant, "rt/" + name.lstrip("/"), kind)

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """See `Bus`."""
        from cyclonedds.core import ReadCondition, WaitSet
        from cyclonedds.sub import DataReader
        from cyclonedds.util import duration

        reader = DataReader(self._participant, self._topic(topic, kind), qos=self._each if reliable else self._newest)
        waiting = WaitSet(self._participant)
        every = ReadCondition(reader, _ANY_STATE)  # kept by the closure below, else it is deleted
        waiting.attach(every)
        guarded = self._faults.guarded(topic, heard)

        def listen() -> None:
            while not self._ended.is_set():
                if not waiting.wait(duration(milliseconds=100)):
                    continue
                try:
                    taken = reader.take(8, condition=every)
                except Exception as error:  # of DDS: bytes that are no message of this kind
                    self._faults.keep(topic, error)
                    self._ended.wait(0.01)
                    continue
                for message in taken:
                    if isinstance(message, kind):  # not a notice that a writer left
                        guarded(message)

        self._listeners.append(Worker(f"DDS: {topic}", listen))

    def commands(self, topic: str, heard: Callable[[str, float], None]) -> None:
        """See `Bus`."""

        def call(message: Any) -> None:
            heard(message.data, sent_ago(message.sample_info.source_timestamp))

        self.subscribe(topic, messages().String, call, reliable=True)

    def publisher(self, topic: str, kind: type) -> Publisher:
        """See `Bus`."""
        from cyclonedds.pub import DataWriter

        writer = DataWriter(self._participant, self._topic(topic, kind), qos=self._writing)

        def send(message: Any) -> None:
            try:
                writer.write(message)
            except Exception as error:  # of DDS, of many kinds: to who sends they are one
                raise OSError(f"DDS: cannot send on {topic} ({describe(error)})") from None

        return Publisher(send, lambda: len(writer.get_matched_subscriptions()))

    def fault(self) -> str:
        """See `Bus`."""
        dead = (listener.fault for listener in self._listeners)
        return next(filter(None, dead), "") or self._faults.take()

    def close(self) -> None:
        """See `Bus`; a second time does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        for listener in self._listeners:
            listener.join(1)
        self._participant.__del__()


def _require_security() -> None:
    """Refuse to go unsecured where ROS's environment asks for security: SROS 2's variables are read by ROS's own bus only."""
    wanted = os.environ.get("ROS_SECURITY_ENABLE", "").strip().lower() == "true"
    if wanted and "security" not in _configuration().lower():
        raise RobotError(
            "ROS_SECURITY_ENABLE is true, and this bus does not read ROS's keystore: take the bus 'rclpy', or configure DDS Security by "
            "CYCLONEDDS_URI",
            "ros2.bus",
        )


def _configuration() -> str:
    """CYCLONEDDS_URI: XML, or the files that it names.

    Raises:
        OSError: a file that cannot be read.
    """
    text = os.environ.get("CYCLONEDDS_URI", "")
    parts = []
    for part in text.split(","):
        path = part.strip().removeprefix("file://")
        if path and not path.startswith("<") and "<" not in text:
            with open(path, encoding="utf-8", errors="replace") as stream:
                parts.append(stream.read(1_000_000))
    return "".join(parts) or text
