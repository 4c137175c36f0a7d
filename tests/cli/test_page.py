"""siame page, and --page of demo, servo and live: what they refuse, and what they serve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_helpers import Siame
from siame_se3.cli.page import Page

pytest.importorskip("viser")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    "command",
    [("page", "--port"), ("demo", "--page", "--page.port"), ("servo", "--page", "--page.port")],
    ids=lambda words: words[0],
)
def test_a_port_that_is_taken_is_one_line(siame: Siame, taken: int, command: tuple[str, ...]) -> None:
    status, _, err = siame(*command, taken)
    assert status == 2
    assert err.count("\n") == 1
    assert f"port {taken}: address already in use" in err
    assert command[-1] in err


def test_live_refuses_a_taken_port_before_it_opens_anything(siame: Siame, taken: int) -> None:
    status, _, err = siame("live", "--robot", "none", "--dry-run", "--page", "--page.port", taken)
    assert status == 2
    assert f"port {taken}: address already in use" in err
    assert "--page.port, --page.host" in err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--law", "pbvs"), "law pbvs: it needs the simulator's poses"),
        (("--beside", "2.5d"), "law 2.5d: it needs the simulator's poses"),
        (("--law", "nothing"), "nothing"),
        (("--plant", "nothing"), "nothing"),
        (("--scene", "missing.jpg"), "missing.jpg: no such file"),
        (("--distance", "0"), "distance 0"),
        (("--width", "0"), "width 0"),
        (("--fov", "200"), "field of view 200"),
        (("--token", "short"), "a token needs at least 8"),
        (("--host", "no address"), "is no address"),
    ],
)
def test_what_cannot_be_is_one_line(siame: Siame, options: tuple[str, ...], line: str) -> None:
    status, _, err = siame("page", "--port", 0, *options)
    assert status == 2
    assert err.count("\n") == 1
    assert line in err


def test_servo_hands_its_options_to_the_page(siame: Siame, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Page] = []
    monkeypatch.setattr(Page, "__call__", lambda self: served.append(self))
    options: tuple[Any, ...] = ("--scene", photo, "--law", "dvs", "--gain", 7, "--width", 0.5, "--max-v", 0.2)
    status, _, err = siame("servo", "--page", *options, "--page.port", 0)
    assert status == 0, err
    (page,) = served
    assert (page.scene, page.law, page.width) == (photo, "dvs", 0.5)
    assert (page.servo.gain, page.servo.max_v, page.served.port) == (7, 0.2, 0)


def test_it_says_where_the_page_is_and_serves_it(siame: Siame, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import http.client

    from siame_se3.page.app import Page as Served

    answers: list[int] = []

    def visit(page: Served) -> None:
        asked = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
        asked.request("GET", "/")
        answers.append(asked.getresponse().status)
        asked.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Served, "run", visit)
    status, out, err = siame("page", "--scene", photo, "--law", "dvs", "--port", 0)
    assert status == 0, err
    assert answers == [200]
    assert "page: http://127.0.0.1:" in out
