from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from siame_se3.errors import SceneError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes import planar
from siame_se3.scenes.registry import scene_for
from siame_se3.scenes.types import Scene, check_scene


def views(n: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(n, 6, generator=generator, dtype=torch.float64) * torch.tensor([0.05, 0.05, 0.05, 0.1, 0.1, 0.5])
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(p)


@dataclass(frozen=True)
class Altered:
    """A scene with a fault: a function of images, mask and poses, and one of the distances."""

    inner: planar.Scene
    images: Any = None
    mask: Any = None
    distances: Any = None
    depths: Any = None
    name: str = "altered"
    width: float = 0.8
    height: float = 0.6

    def render(self, camera: Camera, T_wc: Tensor, antialias: bool = True) -> tuple[Tensor, Tensor]:
        images, mask = self.inner.render(camera, T_wc, antialias)
        return (self.images(images) if self.images else images), (self.mask(mask) if self.mask else mask)

    def distance(self, T_wc: Tensor) -> Tensor:
        Z = self.inner.distance(T_wc)
        return self.distances(Z) if self.distances else Z

    def depth(self, camera: Camera, T_wc: Tensor) -> Tensor:
        Z = self.inner.depth(camera, T_wc)
        return self.depths(Z) if self.depths else Z


def test_a_print_is_a_scene(scene: planar.Scene, photo: planar.Scene) -> None:
    for each in (scene, photo, replace(scene, fill="edge"), scene.grey()):
        assert isinstance(each, Scene)
        check_scene(each, views())


def test_any_scene_that_passes_is_one(scene: planar.Scene) -> None:
    check_scene(Altered(scene), views())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"images": lambda x: x.flip(-1)}, "roll"),
        ({"images": lambda x: x.flip(-2)}, "roll"),
        ({"images": lambda x: x.mT}, "roll"),
        ({"images": lambda x: 255 * x}, "outside"),
        ({"images": lambda x: x.double()}, "float32"),
        ({"images": lambda x: x.permute(0, 2, 3, 1)}, "shape"),
        ({"images": torch.ones_like}, "all cameras see the same"),
        ({"images": lambda x: (x + 1e-3 * torch.rand_like(x)).clamp(0, 1)}, "another image in another call"),
        ({"images": lambda x: x * x.mean()}, "not close"),
        ({"mask": torch.zeros_like}, "sees nothing"),
        ({"depths": lambda Z: Z[:, :-1]}, "depths of shape"),
        ({"depths": lambda Z: -Z}, "not above 0"),
        ({"depths": lambda Z: Z * torch.nan}, "sees nothing"),
        ({"mask": lambda x: x.float()}, "not bool"),
        ({"distances": lambda Z: -Z}, "distance"),
        ({"distances": lambda Z: 2 * Z}, "not close"),
        ({"width": -0.1}, "extent"),
    ],
)
def test_faults_are_found(scene: planar.Scene, fault: dict[str, Any], words: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=words):
        check_scene(Altered(scene, **fault), views())


def test_cameras_fly_over_any_scene(scene: planar.Scene, camera: Camera) -> None:
    """The plant asks a scene of another kind to render itself."""
    bright = Altered(scene, images=lambda x: (x + 0.5).clamp(0, 1), distances=lambda Z: Z + 1)
    seen: View = FlyingCameras(bright, camera).look(views())
    plain = FlyingCameras(scene, camera).look(views())
    assert seen.image is not None
    assert plain.image is not None
    assert plain.depth is not None
    torch.testing.assert_close(seen.image, (plain.image + 0.5).clamp(0, 1))
    torch.testing.assert_close(seen.depth, plain.depth + 1)


# -- by name ----------------------------------------------------------------------------------------------------------


def test_scenes_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = scene_for(None, 0.5)
    named = scene_for("coffee", 0.5)
    assert isinstance(bundled, planar.Scene)
    assert isinstance(named, planar.Scene)
    assert torch.equal(bundled.texture, named.texture)
    assert named.width == bundled.width == 0.5
    (tmp_path / "my_scenes.py").write_text(
        "from siame_se3.scenes.registry import coffee\n\ndef wide(width):\n    return coffee(2 * width)\n\nNOTHING = str\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert scene_for("my_scenes:wide", 0.5).width == 1.0
    with pytest.raises(SceneError, match="str is not a scene"):
        scene_for("my_scenes:NOTHING")


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "coffee", format="PNG")
    scene = scene_for(Path("coffee"), 0.6)
    assert isinstance(scene, planar.Scene)
    assert scene.texture.shape == (3, 20, 30)


@pytest.mark.parametrize("name", ["no-such.png", "no-such", "folder/no-such"])
def test_neither_file_nor_name(name: str) -> None:
    with pytest.raises(SiameError, match="no such file"):
        scene_for(name)
