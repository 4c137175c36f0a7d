"""The commands, as a user types them: in process, with tiny networks and photos."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cli_helpers import Siame
from siame_se3.geometry.camera import Camera
from siame_se3.servo.trajectory import Trajectory

COLUMNS = [
    "run",
    "start_t_m",
    "start_r_deg",
    "end_t_m",
    "end_r_deg",
    "path_t_m",
    "path_r_deg",
    "iterations",
    "converged",
    "step_ms",
]
TINY = (
    *("--network.backbone", "test_resnet", "--network.image-size", 32, "--network.local-contrast", 0),
    *("--network.pooling", "spatial", "--network.stride", 16, "--network.squeeze", 8, "--network.embedding", 32),
    *("--network.head", 32, "--data.views", 8),
)


def width_of(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.size[0]


def test_servo_writes_runs_and_trajectory(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, out, err = siame(
        *("servo", "--law", "pbvs", "--scene", photo, "--runs", 4, "--seed", 3, "--out", "runs.csv"),
        *("--save", "runs.npz"),
    )
    assert status == 0, err
    assert "100.0 %" in out
    with (tmp_path / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [list(r)[: len(COLUMNS)] for r in rows] == [COLUMNS] * 4
    assert all(float(r["end_t_m"]) < 1e-3 and r["converged"] == "1" for r in rows)
    assert Trajectory.load(tmp_path / "runs.npz").T_wc.shape[1:] == (4, 4, 4)


def test_servo_with_the_goals_depth_in_a_file(siame: Siame, photo: Path, tmp_path: Path) -> None:
    """A print at 0.6 m, seen square on; and a map of another unit, by which the law goes another way."""
    Image.fromarray(np.full((224, 224), 6000, np.uint16)).save(tmp_path / "depth.png")
    (tmp_path / "start.csv").write_text("0.05,0,0,0,0,0.1\n", encoding="utf-8")
    words = ("servo", "--law", "pbvs-sift", "--scene", photo, "--starts-from", "start.csv", "--goal-depth", "depth.png")
    for scale, name in ((1e-4, "right.npz"), (1.3e-4, "far.npz")):
        more = ("--goal-depth-scale", scale, "--gain", 1, "--max-iterations", 1, "--save", name)
        assert "1 run" in siame(*words, *more)[1]
    right, far = (Trajectory.load(tmp_path / name).twist[0, 0] for name in ("right.npz", "far.npz"))
    assert float(right[:3].norm()) > 0.03
    torch.testing.assert_close(far[:3], 1.3 * right[:3], rtol=0.02, atol=1e-3)
    torch.testing.assert_close(far[3:], right[3:], rtol=0.02, atol=1e-3)
    status, _, err = siame("servo", "--law", "pbvs-sift", "--goal-depth", "depth.png")
    assert status == 2
    assert "each of the starts 'table1' has a goal of its own" in err
    status, _, err = siame(*words[:-1], "none.png")
    assert (status, err.count("\n")) == (2, 1)
    assert "none.png: no such file; give a depth map" in err


@pytest.mark.slow
def test_servo_draws_a_figure(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, _, err = siame("servo", "--law", "pbvs", "--scene", photo, "--runs", 2, "--figure", "servo.png")
    assert status == 0, err
    assert width_of(tmp_path / "servo.png") > 1000


@pytest.mark.slow
def test_plot_draws_saved_runs(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, _, err = siame("servo", "--law", "pbvs", "--scene", photo, "--runs", 2, "--save", "runs.npz")
    assert status == 0, err
    status, _, err = siame("plot", "runs.npz", "--out", "again.png", "--run", 1)
    assert status == 0, err
    assert width_of(tmp_path / "again.png") > 1000
    status, _, err = siame("plot", "runs.npz", "--run", 9)
    assert (status, err.count("\n")) == (2, 1)
    assert "--run" in err


def test_plot_of_settings_that_cannot_be_drawn_is_one_line(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, _, err = siame("servo", "--law", "pbvs", "--scene", photo, "--runs", 1, "--save", "runs.npz")
    assert status == 0, err
    with np.load(tmp_path / "runs.npz") as file:
        arrays = {name: file[name] for name in file.files}
    saved = json.loads(str(arrays["json"]))
    camera = saved["settings"]["camera"]
    for changes, words in (
        ({"camera": {**camera, "width": 2**31, "height": 2**31}}, "67 million pixels"),
        ({"camera": {**camera, "fx": 1e-300}}, "fx is 1e-300 px"),
        ({"camera": {**camera, "fy": "wide"}}, "fy is 'wide'"),
        ({"camera": None}, "its settings lack 'camera'"),
        ({"scene": None}, "its settings lack 'scene'"),
        ({"scene": "runs.npz"}, "runs.npz: not an image"),
        ({"scene": 5}, "its scene is 5"),
        ({"fill": 0}, "its fill is 0"),
        ({"fill": "red"}, "fill red"),
        ({"width": None}, "its width is None"),
        ({"width": 0}, "width of 0 m"),
    ):
        arrays["json"] = np.array(json.dumps({**saved, "settings": {**saved["settings"], **changes}}))
        np.savez(tmp_path / "changed.npz", **arrays)
        status, _, err = siame("plot", "changed.npz", "--out", "changed.png")
        assert (status, err.count("\n")) == (2, 1), err
        assert words in err
        assert not (tmp_path / "changed.png").exists()


def test_servo_takes_a_starts_file(siame: Siame, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "starts.csv").write_text("tx,ty,tz,tux,tuy,tuz\n0.03,0,0,0,0,0\n0,0.04,0,0,0,0.1\n")
    status, _, err = siame("servo", "--law", "2.5d", "--scene", photo, "--starts-from", "starts.csv", "--out", "r.csv")
    assert status == 0, err
    with (tmp_path / "r.csv").open() as stream:
        assert [round(float(r["start_t_m"]), 6) for r in csv.DictReader(stream)] == [0.03, 0.04]


def test_servo_takes_a_field_of_view(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, _, err = siame("servo", "--law", "pbvs", "--scene", photo, "--fov", 60, "--runs", 2, "--save", "runs.npz")
    assert status == 0, err
    camera = Trajectory.load(tmp_path / "runs.npz").settings["camera"]
    assert camera["width"] / 2 / camera["fx"] == pytest.approx(math.tan(math.radians(30)))


OWN = """
from siame_se3 import FlyingCameras, Scene
from siame_se3.laws.pose import PBVS


class Straight(PBVS):
    pass


class Slow(FlyingCameras):
    def __init__(self, scene, camera):
        super().__init__(scene, camera, dt=0.08)


def wide(width):
    return Scene.from_photo("photo.png", 2 * width)
"""


def test_servo_runs_what_the_user_adds(siame: Siame, photo: Path, tmp_path: Path) -> None:
    """A law, a plant and a scene of a module in the folder where the command runs."""
    (tmp_path / "my_own_parts.py").write_text(OWN)
    status, _, err = siame(
        *("servo", "--law", "my_own_parts:Straight", "--plant", "my_own_parts:Slow", "--scene", "my_own_parts:wide"),
        *("--width", 0.4, "--runs", 2, "--save", "own.npz"),
    )
    assert status == 0, err
    trajectory = Trajectory.load(tmp_path / "own.npz")
    assert trajectory.dt == 0.08
    assert trajectory.settings["width"] == 0.8
    assert (trajectory.settings["law"], trajectory.settings["plant"]) == ("my_own_parts:Straight", "my_own_parts:Slow")


def test_a_scene_that_is_no_print_has_no_figure(siame: Siame, tmp_path: Path) -> None:
    (tmp_path / "my_other_scenes.py").write_text(
        """
from siame_se3.scenes.registry import coffee


class Behind:
    name = "behind glass"

    def __init__(self, width):
        self.inner = coffee(width)
        self.width, self.height = width, self.inner.height

    def render(self, camera, T_wc, antialias=True):
        images, mask = self.inner.render(camera, T_wc, antialias)
        return 0.8 * images, mask

    def distance(self, T_wc):
        return self.inner.distance(T_wc)

    def depth(self, camera, T_wc):
        return self.inner.depth(camera, T_wc)
"""
    )
    arguments = ("servo", "--law", "pbvs", "--scene", "my_other_scenes:Behind", "--runs", 2)
    status, out, err = siame(*arguments, "--max-iterations", 60)
    assert (status, "siame:" in err) == (0, False)
    assert "behind glass" in out
    status, _, err = siame(*arguments, "--figure", "f.png")
    assert (status, err.count("\n")) == (2, 1)
    assert "behind glass" in err
    assert "--figure" in err


def test_servo_takes_the_former_name_of_a_plant(siame: Siame, photo: Path, tmp_path: Path) -> None:
    arguments = ("servo", "--law", "pbvs", "--scene", photo, "--runs", 2)
    status, _, err = siame(*arguments, "--plant", "homography", "--save", "former.npz")
    assert status == 0
    assert err == "siame: --plant homography is called --plant flying now; the old name goes with the next version\n"
    assert siame(*arguments, "--plant", "flying", "--save", "now.npz")[::2] == (0, "")
    former, now = (Trajectory.load(tmp_path / f"{name}.npz") for name in ("former", "now"))
    assert torch.equal(former.T_wc, now.T_wc)


@pytest.mark.parametrize(
    "law",
    [
        *("dvs", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb"),
        pytest.param("handoff", marks=pytest.mark.slow),  # its network's engine takes two seconds to begin
    ],
)
def test_servo_runs_each_law_that_needs_no_model(siame: Siame, tmp_path: Path, law: str) -> None:
    photo = Path(__file__).parents[1] / "data" / "visp" / "coffee.png"
    (tmp_path / "starts.csv").write_text("0.01,0.005,0,0,0,0.02\n0,0.01,0.01,0,0.01,0\n")
    points = law.endswith(("sift", "orb"))
    (Camera.from_focal(300, 224) if points else Camera.from_focal(150, 112)).to_yaml(tmp_path / "camera.yaml")
    status, out, err = siame(
        *("servo", "--law", law, "--scene", photo, "--starts-from", "starts.csv", "--gain", 10, "--out", "r.csv"),
        *("--camera", "camera.yaml", "--max-iterations", 25 if points else 150, "--settle-v", 1e-5, "--settle-w", 1e-5),
    )
    assert status == 0, err
    assert "100.0 %" in out
    assert ("begins with the law auto" in out) == (law == "handoff")
    with (tmp_path / "r.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert all(float(r["end_t_m"]) < (5e-3 if points else 1e-4) for r in rows)
    assert all((int(r["switch"]) > 0) == (law == "handoff") for r in rows)


def test_train_saves_a_model_and_logs(siame: Siame, photo: Path, tmp_path: Path) -> None:
    status, out, err = siame(
        *("train", photo, "--steps", 4, "--seed", 1, "--out", "m.safetensors", *TINY),
        *("--train.evaluations", 0, "--tensorboard", "logs"),
    )
    assert status == 0, err
    assert "saved m.safetensors" in out
    assert not (tmp_path / "m.safetensors.state").exists()
    assert list((tmp_path / "logs").iterdir())


def test_train_starts_from_a_model(siame: Siame, photo: Path, model: Path, tmp_path: Path) -> None:
    status, _, err = siame(
        *("train", photo, "--init", model, "--steps", 1, "--out", "n.safetensors", *TINY),
        *("--train.evaluations", 0, "--train.lr", 1e-9, "--train.lr-muon", 1e-9, "--network.fusion", "difference"),
    )
    assert status == 0, err
    before, after = load_file(model), load_file(tmp_path / "n.safetensors")
    weights = [k for k in after if k.endswith("weight") and not k.startswith("head.")]
    assert weights
    for k in weights:
        torch.testing.assert_close(after[k], before[k], rtol=1e-3, atol=1e-6)
    status, _, err = siame("train", photo, "--init", model, "--steps", 1, *TINY, "--network.stride", 8)
    assert status != 0
    assert f"{model}: its stride is" in err


def test_servo_runs_a_model(siame: Siame, photo: Path, model: Path, tmp_path: Path) -> None:
    status, _, err = siame(
        *("servo", "--model", model, "--scene", photo, "--runs", 2, "--max-iterations", 3, "--out", "r.csv"),
        *("--perturb", "--engine", "torch"),
    )
    assert status == 1, "random weights have converged"
    assert "no run converged" in err
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3


@pytest.mark.slow
def test_train_then_servo_then_export(siame: Siame, photo: Path, tmp_path: Path) -> None:
    """With the default backbone, evaluations on the way, and the engine that this machine takes."""
    small = ("--network.image-size", 32, "--network.head", 32, "--data.views", 8)
    status, out, err = siame(
        *("train", photo, "--steps", 4, "--seed", 1, "--out", "m.safetensors", "--eval-runs", 2, *small),
        *("--train.evaluations", 1),
    )
    assert status == 0, err
    assert "saved m.safetensors" in out
    status, out, err = siame(
        *("servo", "--model", "m.safetensors", "--scene", photo, "--runs", 2, "--max-iterations", 3, "--out", "r.csv"),
    )
    assert status in (0, 1), err
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3
    status, out, err = siame("export", "m.safetensors", "--format", "openvino", "--out", "exported/m")
    assert status == 0, err
    assert "parity: ok" in out
    assert (tmp_path / "exported" / "m-step.xml").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "no.png"), ("no.png", "no such file")),
        (("train", "text.png"), ("text.png", "not an image")),
        (("train", "black.png"), ("black.png", "black")),
        (("train", "flat.png"), ("flat.png", "constant")),
        (("train",), ("photo",)),
        (("train", "photo.png", "--network.backbone", "resnet10x"), ("resnet10x", "resnet10t")),
        (("train", "photo.png", "--minutes", "1", "--steps", "5"), ("--minutes", "--steps")),
        (("train", "photo.png", "--steps", "0"), ("--steps",)),
        (("train", "photo.png", "--width", "-1"), ("-1",)),
        (("train", "photo.png", "--distance", "-1"), ("-1", "--distance")),
        (("train", "photo.png", "--width", "0.001"), ("see", "--width")),
        (("train", "photo.png", "--fill", "blue"), ("--fill", "blue")),
        (("servo", "--law", "neural", "--scene", "photo.png"), ("photo.png", "--model")),
        (("servo", "--law", "dvs", "--scene", "photo.png", "--dvs.border", "1"), ("dvs", "border")),
        (("servo", "--model", "no.safetensors", "--scene", "photo.png"), ("no.safetensors", "no such file")),
        (("servo", "--law", "dvs", "--scene", "photo.png", "--dvs.mu", "nan"), ("mu is nan", "--dvs.mu")),
        (("arm", "--distance", "nan"), ("distance nan", "--distance")),
        (("arm", "--start-from", "0", "0", "nan", "0", "0", "0"), ("start_from", "--start-from")),
        (("servo", "--model", "text.png", "--scene", "photo.png"), ("text.png", "not a safetensors file")),
        (
            ("servo", "--model", "other.safetensors", "--scene", "photo.png"),
            ("other.safetensors", "not a siame-se3 model"),
        ),
        (("servo", "--model", "state.safetensors", "--scene", "photo.png"), ("state.safetensors", "training state")),
        (("servo", "--model", "later.safetensors", "--scene", "photo.png"), ("later.safetensors", "version 9")),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--width", "0.001"), ("photo", "--width", "--distance")),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--starts-from", "bad.csv"), ("bad.csv, line 3",)),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--starts-from", "nowhere"), ("nowhere", "table1")),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--camera", "text.png"), ("text.png", "YAML")),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--fov", "200"), ("200", "--fov")),
        (("train", "photo.png", "--fov", "60", "--camera", "text.png"), ("--camera", "--fov")),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--gain", "0"), ("--gain",)),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--runs", "0"), ("--runs",)),
        (("servo", "--law", "pbvs", "--scene", "photo.png", "--figure", "x.bmp", "--runs", "1"), ("x.bmp", ".png")),
        (("servo", "--law", "no-law", "--scene", "photo.png"), ("no-law", "handoff", "--law")),
        (("servo", "--law", "hand-off"), ("did you mean handoff", "--law")),
        (("servo", "--law", "no_such_module:Name"), ("no_such_module", "--law")),
        (("servo", "--plant", "fly"), ("did you mean flying", "--plant")),
        (("servo", "--plant", "arm", "--perturb"), ("--arm.lamps",)),
        (("servo", "--seed", "-1"), ("-1", "--seed")),
        (("servo", "--distance", "0"), ("distance 0 m", "--distance")),
        (("train", "photo.png", "--seed", "-1"), ("-1", "--seed")),
        (("servo", "--width", "0"), ("width of 0 m", "--width")),
        (("servo", "--model", "any-scene"), ("any-scene", "--scene")),
        (("servo", "--out", "photo.png/x.csv"), ("photo.png", "--out")),
        (("servo", "--figure", "f.docx"), ("f.docx", ".pdf", "--figure")),
        (("demo", "--runs", "0"), ("0 runs", "--runs")),
        (("demo", "--seed", "-1"), ("-1", "--seed")),
        (("demo", "--page", "--runs", "8", "--json"), ("--page", "--runs and --json")),
        (("plot", "text.png", "--out", "x.docx"), ("x.docx", ".svg", "--out")),
        (("export", "text.png"), ("text.png", "not a safetensors file")),
        (("plot", "text.png"), ("text.png", "a servo run")),
    ],
)
def test_bad_input_gets_one_clear_line(
    siame: Siame, photo: Path, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "text.png").write_text("no picture: [")
    for name, level in (("black.png", 0), ("flat.png", 128)):
        Image.new("RGB", (64, 64), (level, level, level)).save(tmp_path / name)
    (tmp_path / "bad.csv").write_text("tx,ty,tz,tux,tuy,tuz\n0,0,0,0,0,0\n1,2,three,0,0,0\n")
    for name, kind, version in (
        ("other", "x", "1"),
        ("state", "siame-se3 training state", "1"),
        ("later", "siame-se3 model", "9"),
    ):
        metadata = {} if name == "other" else {"format": kind, "version": version}
        save_file({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors", metadata)
    status, _, err = siame(*arguments)
    assert status == 2
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("siame: ")
    for word in words:
        assert word in lines[0]


def test_servo_on_the_arm_keeps_what_was_done_before_ctrl_c(
    siame: Siame, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siame_se3.cli import servo
    from siame_se3.servo.simulation import simulate

    def stopped(controller: Any, task: Any, config: Any, *rest: Any, **recording: Any) -> Any:
        done = simulate(controller, replace(task, runs=2), config, rest[-1])
        done[0].settings.update(out_of_reach=0, stopped=True, not_scanned=[])
        return done

    monkeypatch.setattr(servo, "simulate_on_arm", stopped)
    status, out, err = siame(
        *("servo", "--plant", "arm", "--law", "pbvs", "--scene", photo, "--runs", 5, "--out", "r.csv")
    )
    assert status == 130
    assert err.splitlines() == [
        "siame: Ctrl-C: writing what is done (Ctrl-C again leaves at once)",
        "siame: stopped: 2 of 5 runs had ended; all in r.csv",
    ]
    assert "stopped by Ctrl-C" in out
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3
