"""docs/recordings.md as it stands: its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")


def test_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With eight iterations in place of all."""
    from siame_se3.servo.config import ServoConfig

    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert "plant.look(T_wd), T_wc)" in snippet
    monkeypatch.chdir(tmp_path)
    short = snippet.replace("plant.look(T_wd), T_wc)", "plant.look(T_wd), T_wc, ServoConfig(max_iterations=8))")
    exec(compile(short, "recordings.md", "exec"), {"ServoConfig": ServoConfig})
    assert re.search(r"Comparison\(law='dvs', views=8, compared=8, missing=0", capsys.readouterr().out)


def test_topics_are_those_of_a_recording() -> None:
    from siame_se3.servo.recordings.messages import SCHEMAS

    rows = [line for line in PAGE.splitlines() if line.startswith("| `/")]
    named = {topic for row in rows for topic in re.findall(r"`(/[\w/]+)`", row.split("|")[1])}
    assert named == set(SCHEMAS)
    schemas = {name for row in rows for name in re.findall(r"[\w]+\.\w+", row.split("|")[2])}
    assert schemas == {schema["title"] for schema in SCHEMAS.values()}
