"""Both buses: a callback that fails, a thread that ends, security that is asked for."""

from __future__ import annotations

import importlib.util
import os
import queue
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from siame_se3.errors import InputError, RobotError

if not importlib.util.find_spec("cyclonedds"):
    pytest.skip("CycloneDDS is not installed", allow_module_level=True)

from siame_se3.plants.robots import ros2_messages as m
from siame_se3.plants.robots.bus import Bus, CallbackFaults
from siame_se3.plants.robots.bus_dds import DdsBus
from siame_se3.plants.robots.bus_rclpy import RclpyBus
from siame_se3.plants.robots.buses import bus_for

DOMAIN = 20 + os.getpid() % 60


def wait_for(what: Callable[[], Any], seconds: float = 20.0, meanwhile: Callable[[], Any] = lambda: None) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "did not come"
        meanwhile()
        time.sleep(0.01)


def test_a_callback_that_fails_is_a_fault_and_the_topic_lives_on() -> None:
    bus, other = DdsBus(DOMAIN), DdsBus(DOMAIN)
    assert isinstance(bus, Bus)
    heard: list[str] = []

    def hear(message: Any) -> None:
        heard.append(message.data)
        if message.data == "bad":
            raise ValueError("\x1b[31mcannot")

    bus.subscribe("/s", m.String, hear, reliable=True)
    send = other.publisher("/s", m.String)
    wait_for(lambda: heard, meanwhile=lambda: send(m.String("good")))
    assert bus.fault() == ""
    send(m.String("bad"))
    wait_for(lambda: "bad" in heard)
    send(m.String("later"))
    wait_for(lambda: "later" in heard)
    fault = bus.fault()
    assert fault == "/s: a message could not be used (ValueError:  [31mcannot)"
    assert bus.fault() == "", "it is told once: the gate keeps it"
    for each in (bus, other, bus):
        each.close()


def test_a_listener_that_ends_is_a_fault_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, timeout: Any) -> int:
        raise RuntimeError("waitset is gone")

    monkeypatch.setattr("cyclonedds.core.WaitSet.wait", broken)
    bus = DdsBus(DOMAIN)
    bus.subscribe("/s", m.String, print)
    wait_for(bus.fault)
    for _ in range(2):
        assert bus.fault() == "thread 'DDS: /s' failed (RuntimeError: waitset is gone); start the program again"
    bus.close()


@pytest.fixture
def rclpy(monkeypatch: pytest.MonkeyPatch) -> tuple[queue.Queue[Any], dict[str, Any]]:
    """A double whose executor calls callbacks as rclpy's does: an exception in one ends it. None ends it too."""
    coming: queue.Queue[Any] = queue.Queue()
    subscribed: dict[str, Any] = {}
    qualities: dict[str, Any] = {}

    class Node:
        def create_subscription(self, kind: Any, topic: str, heard: Any, qos: Any) -> None:
            subscribed[topic], qualities[topic] = heard, qos

        def destroy_node(self) -> None:
            pass

    class Executor:
        def add_node(self, node: Node) -> None:
            pass

        def spin(self) -> None:
            while (item := coming.get()) is not None:
                subscribed[item[0]](*item[1:])

        def shutdown(self) -> None:
            coming.put(None)

    made = types.ModuleType("rclpy")
    vars(made).update(ok=lambda: True, create_node=lambda name: Node())
    for name, content in {
        "rclpy": made,
        "rclpy.qos": types.SimpleNamespace(
            QoSProfile=lambda **given: given,
            ReliabilityPolicy=types.SimpleNamespace(BEST_EFFORT="best effort"),
            HistoryPolicy=types.SimpleNamespace(KEEP_LAST="keep last"),
        ),
        "rclpy.executors": types.SimpleNamespace(SingleThreadedExecutor=Executor),
        "std_msgs.msg": types.SimpleNamespace(String="String"),
    }.items():
        monkeypatch.setitem(sys.modules, name, content)
    made.qualities = qualities  # type: ignore[attr-defined]  # of the double
    return coming, subscribed


def test_of_rclpys_images_only_the_newest_waits(rclpy: tuple[queue.Queue[Any], dict[str, Any]]) -> None:
    """rclpy's profile for sensors keeps five, and the oldest of them was used."""
    bus = RclpyBus()
    bus.subscribe("/newest", m.String, print)
    bus.subscribe("/each", m.String, print, reliable=True)
    qualities = sys.modules["rclpy"].qualities
    assert qualities["/newest"] == {"depth": 1, "reliability": "best effort", "history": "keep last"}
    assert qualities["/each"] == {"depth": 10}, "reliable by itself"
    bus.close()


def test_one_bad_message_does_not_end_rclpys_executor(rclpy: tuple[queue.Queue[Any], dict[str, Any]]) -> None:
    coming, _ = rclpy
    bus = RclpyBus()
    heard: list[str] = []

    def hear(message: str) -> None:
        if message == "bad":
            raise MemoryError("65000 x 65000")
        heard.append(message)

    bus.subscribe("/siame/command", m.String, hear, reliable=True)
    for word in ("start", "bad", "stop"):
        coming.put(("/siame/command", word))
    wait_for(lambda: len(heard) == 2)
    assert heard == ["start", "stop"]
    assert bus.fault() == "/siame/command: a message could not be used (MemoryError: 65000 x 65000)"
    bus.close()
    bus.close()  # a second time does nothing


def test_an_executor_that_ends_is_a_fault(rclpy: tuple[queue.Queue[Any], dict[str, Any]]) -> None:
    bus = RclpyBus()
    assert bus.fault() == ""
    rclpy[0].put(None)
    wait_for(bus.fault)
    assert "thread 'rclpy executor' has ended" in bus.fault()
    bus.close()


def test_security_that_is_asked_for_is_not_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    with pytest.raises(RobotError, match="does not read ROS's keystore") as refused:
        bus_for("dds", DOMAIN)
    assert refused.value.settings == ("ros2.bus",)
    secured = tmp_path / "dds.xml"
    secured.write_text("<CycloneDDS><Domain><Security/></Domain></CycloneDDS>")
    from siame_se3.plants.robots import bus_dds

    for uri in (f"file://{secured}", str(secured), secured.read_text()):
        monkeypatch.setenv("CYCLONEDDS_URI", uri)
        bus_dds._require_security()  # says nothing: it is configured
    monkeypatch.setenv("CYCLONEDDS_URI", str(tmp_path / "no.xml"))
    with pytest.raises(OSError, match=r"no\.xml"):
        bus_for("dds", DOMAIN)
    monkeypatch.setenv("CYCLONEDDS_URI", "<CycloneDDS><Domain/></CycloneDDS>")
    with pytest.raises(RobotError, match="does not read ROS's keystore"):
        bus_for("dds", DOMAIN)


@pytest.mark.parametrize("domain", ["\x1b[2J", "-1", "1.5", "\u0663"])
def test_domains_that_are_none(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    with pytest.raises(InputError, match="give a whole number") as refused:
        bus_for("dds")
    assert str(refused.value).isprintable()
    with pytest.raises(InputError, match="from 0 to 232"):
        bus_for("dds", 1000)


def test_threads_of_a_bus_end_with_it() -> None:
    bus = DdsBus(DOMAIN)
    bus.subscribe("/until/close", m.String, print)
    assert "DDS: /until/close" in {thread.name for thread in threading.enumerate()}
    bus.close()
    assert "DDS: /until/close" not in {thread.name for thread in threading.enumerate()}


def test_two_threads_make_their_topics_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """CycloneDDS made errors of two at once (of a type that was new to the process): a camera and a program in one process, say."""
    import cyclonedds.topic

    made = cyclonedds.topic.Topic
    making, most = [0], [0]

    def slow(*args: Any) -> Any:
        making[0] += 1
        most[0] = max(most[0], making[0])
        time.sleep(0.05)
        making[0] -= 1
        return made(*args)

    monkeypatch.setattr(cyclonedds.topic, "Topic", slow)
    buses = [DdsBus(DOMAIN), DdsBus(DOMAIN)]
    threads = [threading.Thread(target=bus.publisher, args=("/c/image", m.Image)) for bus in buses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    for bus in buses:
        bus.close()


def test_a_command_has_the_age_of_its_sending() -> None:
    bus, other = DdsBus(DOMAIN), DdsBus(DOMAIN)
    heard: list[tuple[str, float]] = []
    bus.commands("/c", lambda word, age: heard.append((word, age)))
    send = other.publisher("/c", m.String)
    wait_for(lambda: heard, meanwhile=lambda: send(m.String("start")))
    word, age = heard[0]
    assert word == "start"
    assert -0.1 < age < 10
    bus.close()
    other.close()


def test_rclpys_commands_have_it_too(rclpy: tuple[queue.Queue[Any], dict[str, Any]]) -> None:
    coming, _ = rclpy
    bus = RclpyBus()
    heard: list[tuple[str, float]] = []
    bus.commands("/c", lambda word, age: heard.append((word, age)))
    sent = time.time_ns() - 4_000_000_000
    coming.put(("/c", types.SimpleNamespace(data="start"), {"source_timestamp": sent}))
    coming.put(("/c", types.SimpleNamespace(data="stop"), {}))
    wait_for(lambda: len(heard) == 2)
    assert [word for word, _ in heard] == ["start", "stop"]
    assert heard[0][1] == pytest.approx(4, abs=2)
    assert heard[1][1] == 0
    bus.close()


def test_a_fault_is_kept_before_it_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error may be held."""
    faults, kept = CallbackFaults(), []
    monkeypatch.setattr("siame_se3.plants.robots.bus.log.error", lambda *arguments: kept.append(faults.take()))
    faults.keep("/c", ValueError("cannot"))
    assert kept == ["/c: a message could not be used (ValueError: cannot)"]
