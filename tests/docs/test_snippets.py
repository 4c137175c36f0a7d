"""What README and docs say can be done: their Python runs, their commands parse, and what they name is there."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

import siame_se3
from docs_helpers import ALL, PAGES, ROOT, Found, blocks
from siame_se3.cli import parse
from siame_se3.cli.commands import COMMANDS
from siame_se3.cli.flags import flags
from siame_se3.files import bundled
from siame_se3.geometry.camera import Camera
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork

HOUSE = Path(siame_se3.__file__).parent
OF_OTHERS = {"--keep"}  # flags of the measuring scripts


def test_commands_are_found() -> None:
    """The tests below see what they should."""
    found = {found.text for found in ALL}
    assert "siame demo" in found
    assert (
        "siame servo --model mine.safetensors --scene my-scene.jpg --runs 100 --figure mine.png --report mine.html"
        in found
    )
    assert any("--data.pairs paper --data.views 50" in text for text in found), "a command of several lines"
    assert len(found) > 30


@pytest.mark.parametrize("found", ALL, ids=str)
def test_command_parses(found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    """By the real parser, and without running it. A mention such as `siame calibrate` names a command, and that is all it does."""
    _, name, *rest = shlex.split(found.text)
    if name == "COMMAND":
        name = "servo"
    assert name in COMMANDS or name in ("--version", "--print-completion"), f"{found}: no such command"
    if not rest and name in COMMANDS:
        return
    try:
        parse([name, *(word.replace("NAME", "dvs") for word in rest)])
    except SystemExit as stop:
        pytest.fail(f"{found}: {stop.code}\n{capsys.readouterr().err}")


KNOWN = {flag for command in COMMANDS.values() for flag in flags(command.load()).values()}
NEGATED = {re.sub(r"([\w-]+)$", r"no-\1", flag) for flag in KNOWN}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_exist(page: Path) -> None:
    """Flags between backticks, but those of commands of other programs."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", text):
        if span.split()[0].startswith("--"):
            for flag in re.findall(r"(?<!\S)--[a-z][\w.-]*", span):
                assert flag in KNOWN | NEGATED | OF_OTHERS | {"--help", "--help-all", "--version"}, f"no flag {flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_files_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (siame_se3[\w.]*\w)", text):
        assert module.endswith(".NAME") or find_spec(module) is not None, f"no module {module}"
    for name in re.findall(r"`([a-z_]+/[\w/]+\.(?:py|txt|md|csv))`", text):
        assert (ROOT / name).is_file() or (HOUSE / name).is_file(), f"no file {name}"
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), f"a link to {link}, which is not there"
    for anchor_page, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", text):
        other = (page.parent / anchor_page).read_text(encoding="utf-8") if anchor_page else text
        titles = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in re.findall(r"^#+ (.*)$", other, re.M)]
        assert anchor in titles, f"no section #{anchor} in {anchor_page or page.name}"


# -- Python -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, tiny: NetworkConfig, uncompiled: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the first page's snippet reads: a model (a small one with random weights) and a photo."""
    torch.manual_seed(0)
    model = checkpoint.Model(SiameseNetwork(tiny).eval(), Camera.from_focal(300, 224).resized(32), 0.6, 0.8, {})
    checkpoint.save(model, tmp_path / "mine.safetensors")
    with Image.open(bundled("coffee.jpg")) as photo:
        photo.resize((120, 80)).save(tmp_path / "my-scene.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_pages_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first page's Python, with four starts in place of a hundred and twenty iterations."""
    (snippet,) = blocks((ROOT / "docs" / "start.md").read_text(encoding="utf-8"), "python")
    for whole, small in (("100, scene", "4, scene"), ("T_wc)\nprint", "T_wc, ServoConfig(max_iterations=20))\nprint")):
        assert whole in snippet
        snippet = snippet.replace(whole, small)
    names: dict[str, object] = {"ServoConfig": siame_se3.ServoConfig}
    exec(compile(snippet, "start.md", "exec"), names)
    trajectory = names["trajectory"]
    assert isinstance(trajectory, siame_se3.Trajectory)
    assert trajectory.T_wc.shape == (21, 4, 4, 4)
    assert capsys.readouterr().out.startswith("tensor([")


def test_the_first_page_runs_a_pose_model_as_one(folder: Path, tiny: NetworkConfig) -> None:
    """Siame-SE(3) gives a pose: its way to a law makes it a velocity."""
    from dataclasses import replace

    network = SiameseNetwork(replace(tiny, output="pose")).eval()
    model = checkpoint.Model(network, Camera.from_focal(300, 224).resized(32), 0.6, 0.8, {})
    checkpoint.save(model, folder / "mine.safetensors")
    (snippet,) = blocks((ROOT / "docs" / "start.md").read_text(encoding="utf-8"), "python")
    way = re.search(r"Neural[^,]*\)(?=,)", snippet)
    assert way is not None
    controller = eval(way[0], {"Neural": siame_se3.Neural, "model": checkpoint.load(folder / "mine.safetensors")})
    assert controller.output == "pose"
