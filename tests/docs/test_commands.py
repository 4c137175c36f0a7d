"""Each command and each Python snippet of README and docs is run, from the page's own text, in a small setting; or it stands here with why not."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from docs_commands import FEW, NOT_RUN, PICTURES, RUN
from docs_helpers import ALL, PAGES, ROOT, blocks
from siame_se3 import cli
from siame_se3.cli.commands import COMMANDS
from siame_se3.files import bundled


@pytest.fixture
def folder(tmp_path: Path, uncompiled: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages' commands read: photos, a film, heights, a model of MuJoCo."""
    with Image.open(bundled("coffee.jpg")) as photo:
        small = photo.resize((320, 214))
    for name in ("reference.jpg", "today.jpg", "picture.jpg", "my-scene.jpg", "photo.jpg", "reference.png"):
        small.save(tmp_path / name)
    (tmp_path / "photos").mkdir()
    small.save(tmp_path / "photos" / "1.jpg")
    (tmp_path / "src").symlink_to(ROOT / "src")
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, small.size)
    for _ in range(3):
        film.write(np.asarray(small)[..., ::-1])
    film.release()
    rows = np.linspace(0, 0.08, 12)[:, None].repeat(16, 1)
    np.save(tmp_path / "map.npy", rows.astype(np.float32))
    Image.fromarray((rows / 0.08 * 255).astype(np.uint8)).save(tmp_path / "map.png")
    (tmp_path / "model.xml").write_text(
        '<mujoco><asset><texture name="t" type="2d" builtin="checker" width="64" height="64" rgb1="1 0 0" rgb2="0 0 1"/>'
        '<material name="m" texture="t" texrepeat="9 7"/></asset><worldbody>'
        '<geom type="plane" size="1 1 0.1" material="m"/></worldbody></mujoco>',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def smaller(command: str, options: str) -> list[str]:
    """A command's words with some options set, or left out (`-name`)."""
    words = shlex.split(command.replace("COMMAND", "servo"))[1:]
    for option in re.split(r"\s+(?=-)", options) if options else ():
        name, *values = option.split()
        flag = name if name.startswith("--") else f"-{name}"
        if flag in words:
            begin = words.index(flag)
            end = next((k for k in range(begin + 1, len(words)) if words[k].startswith("--")), len(words))
            del words[begin:end]
        if name.startswith("--"):
            words += [name, *values]
    return words


def test_every_command_is_run_or_says_why_not() -> None:
    """Text that only names a command (`siame servo`) is none, but for those that are listed all the same."""
    listed = [small.command for page in RUN.values() for small in page]
    listed += [command for commands in NOT_RUN.values() for command in commands]
    assert max(Counter(listed).values()) == 1
    there, names = {found.text for found in ALL}, {f"siame {name}" for name in COMMANDS}
    assert set(listed) <= there
    assert there - set(listed) <= names | {"siame calibrate camera"}


def test_every_picture_comes_from_a_command() -> None:
    """That a page names, as it stands there; and no picture lies in docs that no page shows."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    shown = {Path(link).name for text in texts for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)}
    assert shown == set(PICTURES)
    assert {path.name for kind in ("png", "gif") for path in (ROOT / "docs").glob(f"*.{kind}")} == shown
    for command in PICTURES.values():
        assert any(re.search(rf"(`|^    ){re.escape(command)}(?![\w-])", text, re.MULTILINE) for text in texts), command


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_commands_run(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With few runs and iterations. Exit status 1 is that of runs that do not get there in two iterations."""
    for command, options, writes in RUN[page]:
        with pytest.raises(SystemExit) as stop:
            cli.main(smaller(command, options))
        said = capsys.readouterr()
        fine = (0, None, 1) if FEW in options else (0, None)
        assert stop.value.code in fine, f"{command}: {stop.value.code}\n{said.err}"
        for name in writes.split():
            assert (folder / name).stat().st_size > 500, f"{command}: no {name}"


# -- Python -----------------------------------------------------------------------------------------------------------


def test_every_snippet_is_run() -> None:
    """By the tests below and by those of the page's own; Python stands in fenced blocks, where it is found."""
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    found = {name: len(blocks(text, "python")) for name, text in texts.items() if blocks(text, "python")}
    assert found == {"align.md": 1, "extending.md": 6, "recordings.md": 1, "start.md": 1, "training.md": 1}
    for name, text in texts.items():
        outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^    (from \w[\w.]* )?import ", outside, re.MULTILINE), name


def snippet(page: str) -> str:
    (found,) = blocks((ROOT / "docs" / page).read_text(encoding="utf-8"), "python")
    return found


def test_python_of_align(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both pictures are one here: no motion, and sure of it."""
    names: dict[str, object] = {}
    exec(compile(snippet("align.md"), "align.md", "exec"), names)
    found = names["found"]
    assert float(found.confidence) > 0.9  # type: ignore[attr-defined]
    assert np.allclose(np.asarray(found.T_cd), np.eye(4), atol=1e-3)  # type: ignore[attr-defined]
    assert str(found.confidence) in capsys.readouterr().out  # type: ignore[attr-defined]


@pytest.mark.slow
def test_python_of_training(folder: Path) -> None:
    """One step of four views in place of twenty."""
    from siame_se3.training.data import DataConfig

    whole = snippet("training.md")
    assert "Recipe(seed=1).of_steps(20)" in whole
    small = whole.replace("Recipe(seed=1).of_steps(20)", "Recipe(seed=1, data=DataConfig(views=4)).of_steps(1)")
    exec(compile(small, "training.md", "exec"), {"DataConfig": DataConfig})
    assert (folder / "model.safetensors").stat().st_size > 100_000


# -- Other programs ---------------------------------------------------------------------------------------------------


def scripts() -> list[str]:
    """Each `python -m siame_se3...` with options or inputs, but for the template NAME."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)] + re.findall(
            r"^    (.*)$", text, re.M
        )
        for span in spans:
            command = re.search(r"python -m (siame_se3\.(?:experiments|page)\.\w+ [^#]+)", span)
            if command is not None and "NAME" not in span:
                found[command[1].strip()] = None
    return list(found)


@pytest.mark.parametrize("command", scripts())
def test_options_of_scripts_parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their own parser; they stop there."""

    class Parsed(Exception):
        pass

    parse_args = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *given: object) -> None:
        parse_args(self)
        raise Parsed

    module, *words = shlex.split(command)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


def test_scripts_are_found() -> None:
    assert any(command.startswith("siame_se3.experiments.align --draws 1") for command in scripts())
    assert any("--repeats 300" in command for command in scripts()), "a command of several lines"


def test_extras_are_those_of_the_package() -> None:
    """Each extra that a page installs, and the start page's table of them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    named = [
        extra
        for text in texts.values()
        for some in re.findall(r"pip install [^`\n]*\[([\w,]+)\]", text)
        for extra in some.split(",")
    ]
    assert set(named) <= extras | {"EXTRA"}
    table = set(re.findall(r"^\| `(\w+)` \|", texts["start.md"], re.MULTILINE))
    assert table == extras - {"test", "docs"}
