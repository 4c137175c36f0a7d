"""Topics by a node of rclpy, where ROS 2 is installed. ROS's environment holds: ROS_DOMAIN_ID, RMW_IMPLEMENTATION, ROS_SECURITY_*."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from siame_se3.plants.robots.bus import CallbackFaults, Publisher, messages, sent_ago
from siame_se3.plants.robots.threads import Worker, describe


class RclpyBus:
    """A node.

    Args:
        domain: None for ROS_DOMAIN_ID's.
        name: of the node.
    """

    def __init__(self, domain: int | None = None, name: str = "siame") -> None:
        rclpy = importlib.import_module("rclpy")
        qos = importlib.import_module("rclpy.qos")
        self._rclpy = rclpy
        self._owns = not rclpy.ok()
        if self._owns:
            # Signals are ours: rclpy's handler would close the node before the robot could be stopped.
            signals = importlib.import_module("rclpy.signals")
            rclpy.init(domain_id=domain, signal_handler_options=signals.SignalHandlerOptions.NO)
        self._node = rclpy.create_node(name)
        # Readers take the newest message only (the profile for sensors keeps five, the oldest first), or each; the latter is reliable.
        self._newest = qos.QoSProfile(
            depth=1, reliability=qos.ReliabilityPolicy.BEST_EFFORT, history=qos.HistoryPolicy.KEEP_LAST
        )
        self._each = qos.QoSProfile(depth=10)
        executors = importlib.import_module("rclpy.executors")
        self._executor = executors.SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._faults = CallbackFaults()
        self._spinning = Worker("rclpy executor", self._executor.spin)
        self._closed = False

    def _kind(self, kind: type) -> Any:
        """ROS's class of a message: sensor_msgs.msg.dds_.Image_ is sensor_msgs.msg.Image."""
        package, _, _, name = kind.__idl__.idl_transformed_typename.replace("::", ".").split(".")  # type: ignore[attr-defined]  # CycloneDDS's
        return getattr(importlib.import_module(f"{package}.msg"), name.rstrip("_"))

    def subscribe(self, topic: str, kind: type, heard: Callable[[Any], None], reliable: bool = False) -> None:
        """See `Bus`. `heard` gets rclpy's message, whose fields have the same names."""
        # An exception in a callback would end the executor, and with it all topics.
        guarded = self._faults.guarded(topic, heard)
        self._node.create_subscription(self._kind(kind), topic, guarded, self._each if reliable else self._newest)

    def commands(self, topic: str, heard: Callable[[str, float], None]) -> None:
        """See `Bus`."""

        # Its two arguments tell rclpy that the second is wanted.
        def call(message: Any, info: dict[str, Any]) -> None:
            ago = sent_ago(info.get("source_timestamp", 0))
            self._faults.guarded(topic, lambda text: heard(text.data, ago))(message)

        self._node.create_subscription(self._kind(messages().String), topic, call, self._each)

    def publisher(self, topic: str, kind: type) -> Publisher:
        """See `Bus`."""
        theirs = self._kind(kind)
        publisher = self._node.create_publisher(theirs, topic, 1)

        def send(message: Any) -> None:
            try:
                publisher.publish(_filled(theirs(), message))
            except Exception as error:  # RCLError, when the context is gone, and others: to who sends they are one
                raise OSError(f"rclpy: cannot send on {topic} ({describe(error)})") from None

        return Publisher(send, publisher.get_subscription_count)

    def fault(self) -> str:
        """See `Bus`."""
        return self._spinning.fault or self._faults.take()

    def close(self) -> None:
        """See `Bus`; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._spinning.expect_end()
        self._executor.shutdown()
        self._node.destroy_node()
        if self._owns:
            self._rclpy.shutdown()


def _filled(target: Any, source: Any) -> Any:
    """ROS's message with the fields of ours."""
    for item in fields(source):
        value = getattr(source, item.name)
        if is_dataclass(value):
            _filled(getattr(target, item.name), value)
        else:
            setattr(target, item.name, value)
    return target
