"""Text for people."""

from __future__ import annotations

import torch

from siame_se3.plants.robots.text import format_twist, printable, without_password


def test_text_from_a_network_cannot_command_a_terminal() -> None:
    assert printable("\x1b[2J\x1b]0;owned\x07\nsiame: stands still") == "[2J ]0;owned  siame: stands still"
    assert printable("caf\u00e9 \u202e evil") == "caf\u00e9   evil"
    long = printable("x" * 10_000_000)
    assert len(long) < 350
    assert long.endswith("(10000000 characters)")


def test_what_lets_somebody_in_is_not_shown() -> None:
    assert without_password("no frame of rtsp://admin:p@ss@10.0.0.5/1?x=@") == "no frame of rtsp://***@10.0.0.5/1?x=@"
    assert (
        without_password("http://h/v.cgi?usr=a&loginPwd=b&token=c#d") == "http://h/v.cgi?usr=a&loginPwd=***&token=***#d"
    )
    for harmless in (0, "/dev/video0", "me@home/a.avi", "http://h/a@b?pass", "rtsp://10.0.0.5:554/1"):
        assert without_password(harmless) == str(harmless)


def test_twists_for_people() -> None:
    assert format_twist(torch.tensor([0.01, -0.02, 0.0, 0.0, 0.1, 0.0])) == "+1.0 -2.0 +0.0 cm/s, +0.0 +5.7 +0.0 deg/s"
