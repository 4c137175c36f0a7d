"""Targets of a session: pictures, files, this view; with their depths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from session_helpers import CAMERA, Grey, Robot, Running, Steady
from siame_se3.commissioning.targets import target_from
from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_image
from siame_se3.images.registration import square_depth
from siame_se3.laws.types import Law, State, View
from siame_se3.plants.robots.live import LivePlant
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig


def test_targets_from_pictures(tmp_path: Path) -> None:
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    image, _ = render(robot.scene, CAMERA, robot.T_wc[None])
    pixels = (255 * image[0]).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    wide = np.pad(pixels, ((0, 0), (30, 30), (0, 0)))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    target = target_from(tmp_path / "wide.png", plant)
    assert target.image is not None
    assert target.image.shape == (1, 3, 224, 224)
    assert float((target.image - image).abs().max()) <= 0.5 / 255 + 1e-6
    assert target.camera == CAMERA
    cv2.imwrite(str(tmp_path / "cut.png"), pixels)
    assert torch.equal(target_from(tmp_path / "cut.png", plant).image, target.image)  # type: ignore[arg-type]  # both are there
    cv2.imwrite(str(tmp_path / "small.png"), pixels[:100, :100])
    (tmp_path / "bad.png").write_text("no")
    for name, words in (
        ("small.png", "frame of 100 x 100 px; the camera is calibrated"),
        ("bad.png", "not an image"),
        ("no.png", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            target_from(tmp_path / name, plant)
    plant.close()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_target_is_in_the_sensors_raster_however_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 284, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, tags in (("plain.png", Image.Exif()), ("tagged.png", exif)):
        Image.fromarray(pixels).save(tmp_path / name, exif=tags)
    plain, tagged = (target_from(tmp_path / name, plant).image for name in ("plain.png", "tagged.png"))
    assert plain is not None
    assert tagged is not None
    assert torch.equal(plain[0], as_image(pixels[:, 30:254]))
    assert torch.equal(tagged, plain)
    plant.close()


def test_a_picture_as_it_came_from_a_square_sensor_is_rectified(tmp_path: Path) -> None:
    """It has the square's size, and was taken for one that is rectified."""
    sensor = Camera(300.0, 300.0, 111.5, 111.5, 224, 224, (-0.2, 0.05, 0.0, 0.0, 0.0))

    class Square(Robot):
        def prepared(self, pixels: np.ndarray) -> Tensor:
            return as_image(self.sensor.rectify(pixels))

    robot, said = Square(), []
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "goal.png"), pixels[..., ::-1])
    depth = np.linspace(0.3, 0.9, 224 * 224).reshape(224, 224).astype(np.float32)
    for robot.sensor, expected in ((sensor, sensor.rectify(pixels)), (replace(sensor, distortion=()), pixels)):
        target = target_from(tmp_path / "goal.png", plant, depth, said.append)
        assert target.image is not None
        assert torch.equal(target.image[0], as_image(expected))
        assert target.depth_map is not None
        straight = square_depth(depth, robot.sensor)
        np.testing.assert_array_equal(target.depth_map[0].numpy(), straight)
    assert said == [f"{tmp_path / 'goal.png'}: taken as the camera's picture as it came, and rectified"]
    plant.close()


def test_a_target_in_a_file_with_its_depth(tmp_path: Path) -> None:
    """In the raster of the camera's pictures, or of their square."""
    robot = Robot()
    plant = LivePlant(robot, robot, None, 0.01, 0.6)
    cv2.imwrite(str(tmp_path / "target.png"), np.random.default_rng(0).integers(0, 256, (224, 284, 3), dtype=np.uint8))
    wide = np.linspace(0.3, 0.9, 224 * 284).reshape(224, 284).astype(np.float32)
    wide[:50, :50] = np.nan
    for depth in (wide, wide[:, 30:254]):
        target = target_from(tmp_path / "target.png", plant, depth)
        assert target.depth_map is not None
        np.testing.assert_array_equal(target.depth_map[0].numpy(), wide[:, 30:254])
    flat = target_from(tmp_path / "target.png", plant)
    assert flat.depth_map is None
    assert flat.distance is not None
    assert float(flat.distance[0]) == pytest.approx(0.6)
    with pytest.raises(
        InputError, match="depth map of 142 x 112 px; the camera's pictures have 284 x 224, their square 224 x 224"
    ):
        target_from(tmp_path / "target.png", plant, wide[::2, ::2])
    plant.close()


class Seeing:
    """A depth source; `depth` is what it gives."""

    def __init__(self) -> None:
        self.depth: Tensor | None = torch.full((8, 8), 0.5)
        self.depth[:2] = torch.nan

    def near(self, stamp: float, wait: float) -> Tensor | None:
        return self.depth


def test_this_view_is_the_target_with_its_depth(begun: Callable[..., Running]) -> None:
    source, seen = Seeing(), []

    class Noting(Steady):
        def aim(self, target: View) -> tuple[Law, State]:
            seen.append(target)
            return super().aim(target)

    running = begun(Grey(), law=Noting(), config=ServoConfig(gain=1.0, max_iterations=2))
    running.plant.depth_source = source
    running.wait("ready")
    assert running.tell("target", "this view is the target").endswith(
        "depth known in 75 % of it, 0.50 m (0.50 to 0.50)"
    )
    running.wait("ready")
    running.tell("start", "stands still")
    assert seen[0].depth_map is not None
    torch.testing.assert_close(seen[0].depth_map[0], source.depth, rtol=0, atol=0, equal_nan=True)
    # where none comes, the target stays what it was
    source.depth = None
    running.wait("ready")
    running.tell("target", "error: depth: no depth map near the image's time")
    running.wait("ready, the target is the view of")
