"""--report and --video of the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli_helpers import Siame
from siame_se3.cli.run_files import numbered, recording_to


def data_of(page: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_servo_writes_a_report_and_a_video(siame: Siame, tmp_path: Path) -> None:
    words = ("--law", "pbvs", "--runs", 3, "--max-iterations", 6, "--report", "out.html", "--video", "out.gif")
    status, out, _ = siame("servo", *words)
    assert status == 1  # of six iterations
    assert "written: out.html, out.gif" in out.splitlines()
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "siame servo --law pbvs --runs 3 --max-iterations 6 --report out.html --video out.gif" in page
    assert "pbvs on coffee" in page
    assert page.count("<img ") == 8
    data = data_of(tmp_path / "out.html")
    assert isinstance(data["runs"], list)
    assert len(data["runs"]) == 3
    assert data["print"]
    with Image.open(tmp_path / "out.gif") as video:
        assert getattr(video, "n_frames", 1) >= 7  # of which the last stays


def test_what_cannot_be_written_is_refused_before_the_work(
    siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.networks import checkpoint

    monkeypatch.setattr(checkpoint, "load", lambda path: pytest.fail("it began"))
    (tmp_path / "file").touch()
    for command, words, line in (
        ("servo", ("--report", "out.pdf"), "give a name that ends in .html or .htm (--report)"),
        ("servo", ("--video", "out.avi"), "give a name that ends in .mp4 or .gif (--video)"),
        ("servo", ("--report", "file/out.html"), "file is a file, not a folder; give another place (--report)"),
        ("demo", ("--video", "out.mov"), "give a name that ends in .mp4 or .gif (--video)"),
        ("bench", ("table1", "--report", "out"), "give a name that ends in .html or .htm (--report)"),
    ):
        status, _, err = siame(command, *words)
        assert (status, len(err.splitlines())) == (2, 1), words
        assert err.strip().endswith(line)


def test_bench_writes_a_report_of_its_pages(siame: Siame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siame_se3.analysis.report import write_report
    from siame_se3.cli.bench import Bench
    from siame_se3.cli.output import Output

    def experiments(self: Bench, output: Output) -> dict[str, Any]:
        write_report(self.out / "table1" / "report.md", "Table I", ["| law | t |\n|---|---|\n| dvs | 1.5 |"])
        return {"tables": {"table1": [], "wide": []}}

    monkeypatch.setattr(Bench, "_named", experiments)
    status, out, _ = siame("bench", "table1", "--report", "out.html", "--out", "folder")
    assert status == 0
    assert out == "written: out.html\n"
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<h2>Table I</h2>" in page
    assert "siame bench table1 --report out.html --out folder" in page


def test_a_session_s_files_have_numbers() -> None:
    assert [str(numbered(Path("a/run.html"), k)) for k in range(3)] == ["a/run.html", "a/run-1.html", "a/run-2.html"]


def test_the_next_command_of_a_recording_can_be_copied(tmp_path: Path) -> None:
    said: list[str] = []
    with recording_to(tmp_path / "my run.mcap", {"name": "pbvs"}, True, said.append):
        pass
    assert said[0].endswith(f"; next: siame replay '{tmp_path / 'my run.mcap'}'")
