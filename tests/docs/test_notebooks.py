"""The notebooks: valid, short, with commands that are there, and they run."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot
import pytest

from docs_helpers import NOTEBOOKS, ROOT, cells, read
from siame_se3 import cli
from siame_se3.cli import parse

each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
SCRATCH, PHOTO = (ROOT / "docs" / "notebooks" / f"{name}.ipynb" for name in ("from-scratch", "your-photo"))
_SHELL = re.compile(r"^(\s*)[!%](.*)$", re.MULTILINE)


def python(cell: str) -> str:
    """A cell without its shell commands."""
    return _SHELL.sub(r"\1pass", cell)


@each
def test_it_is_a_notebook_of_short_cells_without_large_outputs(notebook: Path) -> None:
    whole = read(notebook)
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in whole["cells"]}) == len(whole["cells"])
    assert notebook.stat().st_size < 300_000
    assert max(len(cell.splitlines()) for cell in cells(notebook, "code")) <= 25
    for cell in cells(notebook, "code"):
        ast.parse(python(cell))


@each
def test_it_needs_no_path_and_no_host_of_anybody(notebook: Path) -> None:
    """It installs the package where it is not there, from an address that its reader gives."""
    text = "\n".join([*cells(notebook, "code"), *cells(notebook, "markdown")])
    assert re.findall(r"https?://\S+", text) == ["https://..."]
    assert not re.search(r"[\"' ]/\w+/|~/|C:\\", text)
    first = cells(notebook, "code")[0]
    assert "pip install" in first
    assert re.search(r'^REPOSITORY = ""', first, re.MULTILINE)


@each
def test_its_links_are_there(notebook: Path) -> None:
    for text in cells(notebook, "markdown"):
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (notebook.parent / link).is_file(), link


@each
def test_its_commands_parse(notebook: Path) -> None:
    found = [line for cell in cells(notebook, "code") for _, line in _SHELL.findall(cell) if line.startswith("siame ")]
    assert len(found) == (3 if notebook == PHOTO else 0)
    for line in found:
        values = {"{PHOTO}": "my photo (1).png", "{WIDTH}": "0.8", "{MINUTES}": "3", "{RUNS}": "100"}
        for name, value in values.items():
            line = line.replace(name, value)  # as IPython fills a line in, before the shell sees it
        assert "my photo (1).png" in str(parse(shlex.split(line)[1:]))


def test_the_method_is_sixty_lines() -> None:
    """All of it, with its figure, but for installing and the two numbers that a reader may change."""
    code = cells(SCRATCH, "code")
    assert code[1].startswith("STEPS =")
    assert sum(bool(line.strip()) for cell in code[2:] for line in cell.splitlines()) <= 60


@pytest.mark.slow
def test_from_scratch(capsys: pytest.CaptureFixture[str]) -> None:
    """Forty steps: the error falls, and the cameras come nearer."""
    matplotlib.use("agg")
    names: dict[str, object] = {}
    for cell in cells(SCRATCH, "code"):
        small = python(cell).replace("STEPS = 1000", "STEPS = 40").replace("RUNS = 100", "RUNS = 8")
        exec(compile(small, SCRATCH.name, "exec"), names)
    matplotlib.pyplot.close("all")
    said = capsys.readouterr().out
    first, last = (int(error) for error in re.findall(r"error (\d+) %", said))
    assert last < first
    start, end = re.findall(r"distance: ([\d.]+) mm at the start, ([\d.]+) mm at the end", said)[0]
    assert float(end) < float(start)


@pytest.mark.slow
def test_your_photo(tmp_path: Path, uncompiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of a small network, and two cameras: each command writes what the notebook shows."""
    shown: list[str] = []

    def siame(line: str) -> None:
        small = {
            "train": "--steps 2 --eval-runs 1 --train.evaluations 1 --data.views 8 --network.image-size 64",
            "servo": "--max-iterations 3",
        }
        words = shlex.split(re.sub(r"--minutes \S+", "", line))
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, *small[words[0]].split()])
        assert stop.value.code in ((0, None) if words[0] == "train" else (0, None, 1)), line

    picture = SimpleNamespace(Image=lambda name, width: shown.append(name), display=lambda *pictures: None)
    ipython = SimpleNamespace(
        display=picture, version_info=(9, 0), get_ipython=lambda: None
    )  # Matplotlib asks for both
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", picture)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"siame": siame}
    for cell in cells(PHOTO, "code"):
        small = re.sub(r"^!siame (.*)$", r"siame(f'\1')", cell, flags=re.MULTILINE)
        small = small.replace("RUNS = 100", "RUNS = 2").replace("--runs 20", "--runs 2")
        exec(compile(python(small), PHOTO.name, "exec"), names)
    assert shown == ["chelsea.png", "run.png", "run.gif"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in [*shown, "report.html", "mine.safetensors"])
