"""siame page, and --page of demo, servo and live: what they refuse, and what they serve."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli_helpers import Siame
from siame_se3.cli.page import Page
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint

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
        (("--plant", "arm", "--arm.frame-rate", "5"), "a plant of 0.2 s a step"),
        (("--plant", "arm", "--arm.frame-rate", "5"), "frames a second (--arm.frame-rate)"),
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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--relief", 0.1), "--relief"),
        (("--perturb", "--runs", 3, "--gain", 7), "--runs, --perturb"),
        (("--depth", "map", "--points.features", 90), "--depth, --points.features"),
        (("--conditions.occlusion", 0), "--conditions.occlusion"),
    ],
)
def test_servo_refuses_what_the_page_would_leave_out(
    siame: Siame, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], named: str
) -> None:
    served: list[Page] = []
    monkeypatch.setattr(Page, "__call__", lambda self: served.append(self))
    status, _, err = siame("servo", "--page", "--page.port", 0, *options)
    assert (status, served) == (2, [])
    assert err == f"siame: some options are of runs without the live page; leave them out, or the page ({named})\n"


@pytest.mark.parametrize(("options", "fov"), [({}, 65.0), ({"fov": 50.0}, 50.0)], ids=["the model's", "the one given"])
def test_the_camera_is_the_model_s_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], fov: float
) -> None:
    """A model of another field of view than the default one's was refused, which 'siame servo' takes."""
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    wide = replace(model, camera=Camera.from_fov(math.radians(65), 64, 64))
    monkeypatch.setattr(checkpoint, "load", lambda path: wide)
    setup = Page(**options)._setup()
    assert setup.camera == Camera.from_fov(math.radians(fov), 224, 224)


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
