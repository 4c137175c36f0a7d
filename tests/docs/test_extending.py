"""docs/extending.md as it stands: its Python is one module that a user writes, and it works."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from siame_se3 import cli
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import View, check_law
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.registry import plant_for
from siame_se3.plants.types import check_plant
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts, reference_pose
from siame_se3.scenes.registry import scene_for
from siame_se3.scenes.types import check_scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo
from siame_se3.servo.trajectory import Trajectory

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The page's module, imported once, as timm registers its backbone once."""
    folder = tmp_path_factory.mktemp("my_parts")
    (folder / "my_parts.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield importlib.import_module("my_parts")
    del sys.modules["my_parts"]


@pytest.fixture
def starts(scene: Scene, camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    return draw_starts("table1", 5, scene, camera, Workspace(), seed=1)


def test_thirty_lines_each() -> None:
    assert len(BLOCKS) == 6
    assert [block for block in BLOCKS if len(block.splitlines()) > 32 or _code_lines(block) > 30] == []


def _code_lines(block: str) -> int:
    return sum(1 for line in block.splitlines() if line.strip())


def test_the_law(parts: ModuleType, scene: Scene, camera: Camera, starts: tuple[torch.Tensor, torch.Tensor]) -> None:
    T_wd, T_wc = starts
    controller = controller_for("my_parts:ObjectPBVS")
    check_law(controller, View(T_wc=T_wd), View(T_wc=T_wc))
    plant = plant_for("flying", scene, camera)
    end = servo(plant, controller, plant.reset(T_wd), T_wc, ServoConfig(max_iterations=200))
    assert float(torch.stack(end.error_norms)[:, -1].max()) < 1e-3
    # the middle of the scene, in the camera's frame, moves on a straight line
    t = lie.inverse(end.T_wc)[..., :3, 3]
    way, whole = t - t[-1], t[0] - t[-1]
    aside = torch.linalg.cross(way, whole.expand_as(way)).norm(dim=-1) / whole.norm(dim=-1)
    assert float((aside.amax(0) / whole.norm(dim=-1)).max()) < 0.02


def test_the_plant(parts: ModuleType, scene: Scene, camera: Camera, starts: tuple[torch.Tensor, torch.Tensor]) -> None:
    plant = plant_for("my_parts:LaggingCameras", scene, camera)
    check_plant(plant, starts[1])
    plant.reset(starts[1])
    v = torch.full((5, 6), 0.1, dtype=torch.float64)
    shares = [float((plant.step(v)[1] / v).mean()) for _ in range(5)]
    assert shares == pytest.approx([1 - 2.718281828 ** (-0.4 * k) for k in range(1, 6)])


def test_the_backbone(parts: ModuleType) -> None:
    for stride, channels in ((4, 64), (8, 128)):
        network = SiameseNetwork(NetworkConfig(backbone="plain8", image_size=64, stride=stride))
        assert network.features(torch.rand(2, 3, 64, 64)).shape == (2, channels, 64 // stride, 64 // stride)
        images = torch.rand(2, 3, 64, 64)
        loss = network.regress(network.embed(images), network.embed(images.flip(0))).square().sum()
        loss.backward()
        gradients = [p.grad for p in network.backbone.parameters()]
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
        assert any(g is not None and float(g.abs().max()) > 0 for g in gradients)


def test_the_scene(parts: ModuleType) -> None:
    scene = scene_for("my_parts:grey_coffee", 0.6)
    assert scene.width == 0.6
    T_wc = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    T_wc[:, 0, 3], T_wc[:, 2, 3] = torch.tensor([0.0, 0.05]), torch.tensor([-0.5, -0.4])
    check_scene(scene, T_wc)


def test_the_commands(parts: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each command of the page, with two runs of a few iterations."""
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    siame (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        words = line.replace("--runs 100", "--runs 2 --max-iterations 40 --save runs.npz").split()
        with pytest.raises(SystemExit) as stop:
            cli.main(words)
        assert not stop.value.code, line
        assert Trajectory.load(tmp_path / "runs.npz").settings["law"] == "my_parts:ObjectPBVS"


@pytest.mark.slow
def test_the_driver_and_the_camera(parts: ModuleType, photo: Scene) -> None:
    """In real time, over a simulated world that obeys the driver."""
    lens = parts.CartCamera.camera
    cameras = FlyingCameras(photo, lens)
    goal = reference_pose(0.6)
    now = {"T": goal @ lie.pose_from_vector(torch.tensor([0.03, -0.02, 0, 0, 0, 0], dtype=torch.float64))}

    class Moving(parts.CartDriver):  # type: ignore[name-defined,misc]  # of the page
        def move(self, twist: torch.Tensor) -> None:
            super().move(twist)
            now["T"] = now["T"] @ lie.exp(0.04 * twist)

    def grab() -> torch.Tensor:
        image = cameras.look(now["T"][None]).image
        assert image is not None
        return image[0]

    wanted = cameras.look(goal[None]).image
    assert wanted is not None
    driver = Moving()
    parts.drive(grab, wanted[0], driver)
    assert len(driver.sent) > 10
    assert driver.sent[-1] == [0.0, 0.0]
    assert float(lie.error_norms(lie.inverse(goal) @ now["T"])[0]) < 0.005
