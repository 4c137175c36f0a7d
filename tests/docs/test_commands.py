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

from docs_helpers import ALL, PAGES, ROOT, blocks
from siame_se3 import cli
from siame_se3.cli.commands import COMMANDS
from siame_se3.files import bundled

FEW = "--runs 1 --max-iterations 2"
RUN: dict[
    str, list[tuple[str, str, str]]
] = {  # page: (command, options that are set, and what it writes), in this order
    "README.md": [
        ("siame demo", "--runs 2", "siame-out/demo.png"),
        ("siame align reference.jpg --now today.jpg", "", ""),
        ("siame servo --scene my-scene.jpg --runs 20 --figure mine.png", FEW, "mine.png"),
    ],
    "align.md": [
        ("siame align reference.jpg --now picture.jpg", "", ""),
        ("siame align reference.png --source film.avi", "", ""),
    ],
    "benchmarks.md": [("siame bench paper --only list", "", "")],
    "laws.md": [
        (
            "siame servo --law pbvs-sift --scene src/siame_se3/assets/coffee.jpg --fov 40 --starts-from wide --runs 500 --gain 10 "
            "--max-iterations 100",
            FEW,
            "",
        )
    ],
    "recordings.md": [
        ("siame servo --runs 20 --report report.html --video run.mp4", FEW, "report.html run.mp4"),
        ("siame servo --runs 5 --record run.mcap", FEW, "run.mcap"),
        ("siame replay run.mcap --run 0 --law pbvs-sift dvs-light", "", ""),
        ("siame replay run.mcap --law auto dvs-light", "", ""),
        ("siame replay run.mcap", "", ""),
    ],
    "relief.md": [
        ("siame servo --relief 0.2 --depth map", FEW + " --law pbvs-orb", ""),
        ("siame servo --scene photo.jpg --heights map.npy", FEW + " --law pbvs-orb", ""),
        ("siame servo --scene photo.jpg --heights map.png --tallest 0.08", FEW + " --law pbvs-orb", ""),
        ("siame servo --scene model.xml --depth map", FEW + " --law pbvs-orb", ""),
        ("siame servo --scene objects --depth camera", FEW + " --law pbvs-orb", ""),
        ("siame servo --depth map", FEW, ""),
    ],
    "results.md": [
        ("siame servo --law neural --runs 1000 --seed 21 --gain 10", FEW, ""),
        ("siame servo --law neural --runs 1000 --seed 22 --gain 10 --max-iterations 60 --perturb", FEW, ""),
        ("siame servo --runs 1000 --seed 21 --gain 10", FEW, ""),
        (
            "siame servo --runs 1000 --seed 23 --gain 10 --max-iterations 150 --perturb --conditions.occlusion 0",
            FEW,
            "",
        ),
    ],
    "robots.md": [("siame calibrate board", "", "")],
    "start.md": [
        (
            "siame train my-scene.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors",
            "-minutes --steps 2 --eval-runs 1 --train.evaluations 1 --data.views 8 --network.image-size 64",
            "mine.safetensors",
        ),
        (
            "siame servo --model mine.safetensors --scene my-scene.jpg --runs 1000 --figure mine.png",
            FEW + " --save runs.npz",
            "mine.png runs.npz",
        ),
        (
            "siame servo --model any-scene --scene my-scene.jpg --width 0.8 --runs 100 --figure mine.png",
            FEW,
            "mine.png",
        ),
        ("siame plot runs.npz", "--scene my-scene.jpg", ""),
        ("siame COMMAND --help", "", ""),
        ("siame --print-completion bash", "", ""),
    ],
    "training.md": [
        (
            "siame train photos/ --network.pooling descriptors --network.fusion matching --network.head 256 256 --data.views 16 "
            "--data.groups 4 --data.near 0.25 --data.near-weight 4 --data.most-pairs 48",
            "--steps 1 --eval-runs 1 --train.evaluations 1 --data.views 4 --data.groups 1 --network.image-size 64",
            "model.safetensors",
        )
    ],
}

SHORT = "the same command is run with more, or by another page"
HARDWARE = (
    "needs a robot or a camera; run on doubles and the simulated arm by tests/commissioning, tests/plants and tests/cli"
)
SERVES = "serves until it is stopped; run by tests/page and tests/plants"
MEASURES = "minutes to hours, which a table of the docs is made by; in small settings run by tests/experiments"
DATA = "needs data that is not in the repository; small folders of these formats are run by tests/experiments and tests/commissioning"
ARM = "seconds for each iteration with MuJoCo's renderer; run by tests/plants"
MINE = "run by tests/docs/test_extending.py"
NOT_RUN = {
    SHORT: (
        "siame train PHOTO",
        "siame train PHOTO --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors",
        "siame servo --record run.mcap",
        "siame servo --runs 100 --report report.html",
        "siame servo --law NAME",
    ),
    HARDWARE: (
        "siame align reference.png --source 0",
        "siame align reference.png --no-tone",
        "siame align reference.png --source 0 --save-reference",
        "siame live --page --dry-run",
        "siame live --record run.mcap",
        "siame target --scan",
        "siame check --photo scene.jpg",
        "siame live --model mine.safetensors --dry-run",
        "siame live --model mine.safetensors",
        "siame live --model any-scene",
        "siame live --model coffee --target target.png",
        "siame live --target target.png --ros2.command /siame/command",
        "siame live --start --target FILE",
        "siame target --out goal",
        "siame target --scan --dry-run --ros2.pose /arm/tool_pose --hand-eye hand-eye.yaml",
        "siame target --scan --ros2.pose /arm/tool_pose --hand-eye hand-eye.yaml --out goal",
        "siame live --target goal",
    ),
    SERVES: (
        "siame page --scene my.jpg --width 1.2 --model my.safetensors",
        "siame page --law handoff --beside ibvs-sift",
        "siame page --plant arm",
        "siame demo --page",
        "siame servo --page",
        "siame arm --start-from 0 0 0 0 0 0",
    ),
    MEASURES: (
        "siame bench fig4 --plant arm --minutes 9",
        "siame bench fig5 --plant arm --minutes 11",
        "siame bench table1",
        "siame bench table1 --quick",
        "siame bench paper --only paper-b3 ours-b3 --device cuda",
        "siame bench paper --quick",
        "siame bench perturb --shard 3/16 --out shared",
        "siame bench fig4 --minutes 9",
        "siame bench fig3 --minutes 40 --photos-root photos",
        "siame bench wide --minutes 10 --runs 200",
        "siame bench perturb --bundled-model --runs 100",
        "siame bench training",
        "siame bench relief",
        "siame train coffee.jpg --width 0.8 --steps 1140 --eval-runs 128",
    ),
    DATA: (
        "siame bench real workcell --laws auto+light --runs 1",
        "siame servo --model wide-0.8m.safetensors --scene coffee.jpg --width 0.8 --distance 0.8 --starts-from wide --runs 500 "
        "--gain 10 --max-iterations 100 --seed 11",
        "siame bench real workcell --laws auto+light --runs 4",
        "siame bench real FOLDER",
        "siame bench real workcell --laws auto+light auto --runs 6",
        "siame bench real workcell --laws auto+light --runs 4 --seed 12",
        "siame bench real workcell --laws trained trained+light",
        "siame bench real motorcycle --laws auto pbvs-sift pbvs-orb --runs 2",
        "siame replay my_bag --law dvs-light auto --target goal.png --depth 0.5",
        "siame servo --scene meshes --depth camera",
        "siame bench relief --objects meshes --runs 150 --laws auto+light --depths map camera scan plane",
        "siame calibrate camera --pictures board/",
        "siame calibrate hand-eye --pictures board/ --camera camera.yaml --poses poses.csv",
        "siame calibrate hand-eye --poses FOLDER",
    ),
    ARM: (
        "siame servo --plant arm --runs 20 --gain 5 --figure arm.png",
        "siame servo --plant arm --runs 100 --seed 3 --gain 5",
        "siame servo --plant arm --scene objects --depth camera",
    ),
    MINE: (
        "siame servo --law my_parts:ObjectPBVS",
        "siame servo --law my_parts:ObjectPBVS --runs 100",
        "siame servo --law my_parts:ObjectPBVS --plant my_parts:LaggingCameras --runs 100 --gain 2",
        "siame servo --law my_parts:ObjectPBVS --scene my_parts:grey_coffee --runs 100",
    ),
    "downloads weights of ImageNet and trains for days; its recipe is that of tests/experiments's paper rows": tuple(
        found.text for found in ALL if "--network.pretrained" in found.text
    ),
    "two processes; run by tests/training": ("siame train PHOTO --data.groups 2",),
}


def test_every_command_is_run_or_says_why_not() -> None:
    """A command that only names one (`siame servo`) is none, but for what takes no option at all."""
    run = [command for page in RUN.values() for command, _, _ in page]
    left = [command for some in NOT_RUN.values() for command in some]
    assert not [command for command, count in Counter([*run, *left]).items() if count > 1]
    bare = {f"siame {name}" for name in COMMANDS} | {f"siame {name} {part}" for name, part in _PARTS}
    there = {found.text for found in ALL}
    assert there - bare == set(run + left) - bare
    assert set(run + left) <= there


_PARTS = [("calibrate", "camera"), ("calibrate", "board")]


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


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_commands_run(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With few runs and iterations. Exit status 1 is that of runs that do not get there in two iterations."""
    for command, options, written in RUN[page]:
        with pytest.raises(SystemExit) as stop:
            cli.main(smaller(command, options))
        said = capsys.readouterr()
        fine = (0, None, 1) if FEW in options else (0, None)
        assert stop.value.code in fine, f"{command}: {stop.value.code}\n{said.err}"
        for name in written.split():
            assert (folder / name).stat().st_size > 500, f"{command}: no {name}"


# -- Python -----------------------------------------------------------------------------------------------------------


def test_every_snippet_is_run() -> None:
    """By the tests below and by those of the page's own; Python stands in fenced blocks, where it is found."""
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    found = {name: len(blocks(text, "python")) for name, text in texts.items() if blocks(text, "python")}
    assert found == {"align.md": 1, "extending.md": 4, "recordings.md": 1, "start.md": 1, "training.md": 1}
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
    from siame_se3.training.batches import DataConfig

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
