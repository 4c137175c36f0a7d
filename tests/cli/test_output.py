"""What commands say: files by their names, and --json where they print a table."""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli_helpers import Siame
from siame_se3.cli.commands import COMMANDS
from siame_se3.cli.flags import flags
from siame_se3.cli.output import Output, command_line, plain
from siame_se3.errors import InputError

TABLES = ("demo", "train", "servo", "check", "calibrate", "export", "bench", "doctor")  # commands that print one


@dataclass(frozen=True)
class Point:
    x: float
    place: Path


def test_values_as_json_has_them() -> None:
    value = {"a": Point(math.nan, Path("b")), "c": (1, True, None), "d": np.float64(0.5), 3: "text"}
    assert plain(value) == {"a": {"x": None, "place": "b"}, "c": [1, True, None], "d": 0.5, "3": "text"}


def test_people_read_standard_output_unless_json_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        output = Output(as_json)
        output.say("a line")
        output.wrote(Path("a.csv"), None, "b.png")
        output.end({"x": math.inf})
        out, err = capsys.readouterr()
        people, other = (err, out) if as_json else (out, err)
        assert people == "a line\nwritten: a.csv, b.png\n"
        assert other == "" or json.loads(other) == {"x": None, "written": ["a.csv", "b.png"]}


@pytest.mark.parametrize("name", TABLES)
def test_every_command_with_a_table_has_json(name: str) -> None:
    assert flags(COMMANDS[name].load())["json"] == "--json"


def document(ran: tuple[int, str, str]) -> tuple[Any, str]:
    """The JSON on standard output of a command that did what was asked, and its words."""
    status, out, err = ran
    assert status == 0, err
    return json.loads(out), err


def test_servo_as_json_names_all_that_it_wrote(siame: Siame, photo: Path) -> None:
    arguments = ("servo", "--law", "pbvs", "--scene", photo, "--runs", 2, "--out", "r.csv", "--save", "r.npz")
    result, err = document(siame(*arguments, "--json"))
    assert result["written"] == ["r.csv", "r.npz"]
    assert (result["summary"]["runs"], result["summary"]["converged_percent"], result["hints"]) == (2, 100.0, [])
    assert result["settings"]["law"] == "pbvs"
    assert "converged    100.0 %" in err
    _, out, _ = siame(*arguments)
    assert out.endswith("\nwritten: r.csv, r.npz\n")


def test_export_names_all_that_it_wrote(siame: Siame, model: Path) -> None:
    result, err = document(siame("export", model, "--format", "openvino", "--out", "m", "--json"))
    files = ["m-embed.xml", "m-embed.bin", "m-step.xml", "m-step.bin"]
    assert result["written"] == files
    assert all(Path(name).is_file() for name in files)
    assert set(result["differences"]) == {"m-embed.xml", "m-step.xml"}
    assert f"written: {', '.join(files)}" in err


def test_a_board_says_its_size_and_the_next_command(siame: Siame) -> None:
    result, err = document(siame("calibrate", "board", "--board.square", 0.02, "--board.columns", 8, "--json"))
    assert result["size_m"] == pytest.approx([0.18, 0.14])
    assert "180 x 140 mm" in err
    assert "siame calibrate camera --pictures FOLDER --board.columns 8 --board.square 0.02" in err


def test_bench_as_json_has_its_table(siame: Siame) -> None:
    result, err = document(siame("bench", "table1", "--quick", "--runs", 2, "--laws", "dct20", "--json"))
    assert [row["law"] for row in result["tables"]["table1"]] == ["DCT-VS, k = 20"]
    assert "siame-bench/table1/report.md" in result["written"]
    assert "siame-bench/table1/fig2.png" in result["written"]
    assert "table1 dct20: " in err


def test_bench_refuses_a_seed_that_is_none(siame: Siame) -> None:
    for name in ("table1", "real", "paper"):
        status, _, err = siame("bench", name, "--seed", -1)
        assert (status, err.count("\n")) == (2, 1)
        assert "--seed" in err


def test_a_full_disk_loses_no_run(siame: Siame, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named, nothing is left half, the others are written, and what did not fit is kept elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    full = tmp_path / "full"
    full.mkdir()
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(full)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    arguments = ("--scene", photo, "--runs", 2, "--out", "full/r.csv", "--save", "r.npz")
    status, out, err = siame("servo", "--law", "pbvs", *arguments)
    (kept,) = (tmp_path / "elsewhere").glob("siame-*/r.csv")
    assert status == 2
    assert err == (
        "siame: full/r.csv: cannot be written (no space left on device); free some space, or give another place; "
        f"it is kept in {kept}\n"
    )
    assert out.endswith("written: r.npz\n")
    assert len(kept.read_text().splitlines()) == 3
    assert list(full.iterdir()) == []


def test_where_nothing_can_be_written_the_others_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder is on the same full disk."""

    def full(prefix: str) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    def fails(path: Path) -> None:
        raise InputError(f"{path}: cannot be written")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    output = Output()
    output.write(tmp_path / "a.csv", fails)
    output.write(tmp_path / "b.csv", lambda path: path.write_text("b"))
    with pytest.raises(InputError, match=r"a\.csv: cannot be written$"):
        output.end()
    assert output.written == [str(tmp_path / "b.csv")]


@pytest.mark.parametrize("words", [("--page.token", "SECRET"), ("--page.token=SECRET",)])
def test_a_pages_token_is_in_no_file(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["siame", "live", *words, "--target", "my goal.png"])
    line = command_line()
    assert "SECRET" not in line
    assert line.endswith("--target 'my goal.png'")
    assert line.startswith("siame live --page.token")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (("--source", "rtsp://admin:secret@10.0.0.5/1"), "--source 'rtsp://***@10.0.0.5/1'"),
        (("--source=rtsp://admin:se@cret@10.0.0.5/1",), "'--source=rtsp://***@10.0.0.5/1'"),
        (
            ("--source", "http://h/video?user=a&password=secret&x=1"),
            "--source 'http://h/video?user=a&password=***&x=1'",
        ),
        (("--source", "http://h/a@b"), "--source http://h/a@b"),
        (("--source", "me@home/film.avi"), "--source me@home/film.avi"),
    ],
)
def test_a_streams_password_is_in_no_file(
    given: tuple[str, ...], written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["siame", "align", "ref.png", *given])
    assert command_line() == f"siame align ref.png {written}"
