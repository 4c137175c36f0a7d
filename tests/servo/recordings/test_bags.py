"""Bags of ROS 2, written by rosbags: images and calibration as laws get them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from recordings_helpers import poses
from siame_se3.errors import CameraError, InputError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.decode import as_pixels
from siame_se3.images.encode import write_picture
from siame_se3.laws.registry import controller_for
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.recordings.bags import read_bag
from siame_se3.servo.recordings.reading import is_recording
from siame_se3.servo.recordings.replay import compare, replay

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
WIDE = Camera.from_focal(110, 96, 80)


def header(k: int) -> Any:
    return TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](100 + k, 0), "camera")


def image_message(pixels: np.ndarray, k: int) -> Any:
    h, w = pixels.shape[:2]
    return TYPES["sensor_msgs/msg/Image"](header(k), h, w, "rgb8", 0, 3 * w, pixels.reshape(-1))


def info_message(camera: Camera) -> Any:
    region = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    K, P = camera.K.flatten().numpy(), np.array(camera.projection)
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header(0), camera.height, camera.width, "plumb_bob", np.zeros(5), K, np.eye(3).flatten(), P, 0, 0, region
    )


def write_bag(path: Path, topics: dict[str, list[Any]], storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, sent in topics.items():
            kind = sent[0].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for k, message in enumerate(sent):
                writer.write(connection, (100 + k) * 10**9, STORE.serialize_cdr(message, kind))
    return path


@pytest.fixture(scope="module")
def pictures(photo: Scene) -> list[np.ndarray]:
    """On the way from a start to the goal."""
    T_wd, _ = poses()
    way = torch.tensor([0.04, -0.03, 0.02, 0.03, 0.02, 0.1], dtype=torch.float64)
    T = torch.stack([T_wd[0] @ lie.pose_from_vector(x * way) for x in (1.0, 0.6, 0.2, 0.0)])
    return [as_pixels(image) for image in render(photo, WIDE, T)[0]]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_images_and_calibration_of_a_bag(tmp_path: Path, pictures: list[np.ndarray], storage: StoragePlugin) -> None:
    topics = {"/camera/image_raw": [image_message(p, k) for k, p in enumerate(pictures)]}
    topics |= {
        "/camera/camera_info": [info_message(WIDE)],
        "/other/camera_info": [info_message(Camera.from_focal(9, 96))],
    }
    path = write_bag(tmp_path / "bag", topics, storage)
    for place in (path, next(path.glob("*.mcap" if storage is StoragePlugin.MCAP else "*.db3"))):
        bag = read_bag(place, depth=0.6)
        assert (bag.topic, bag.given, bag.count) == ("/camera/image_raw", "/camera/camera_info", 4)
        views = [one.view for one in bag.views()]
        assert len(views) == 4
        for k, (view, picture) in enumerate(zip(views, pictures, strict=True)):
            assert view.image is not None
            assert np.array_equal(as_pixels(view.image[0]), picture[:, 8:88])  # the centred square
            assert view.camera == WIDE.square()
            assert view.time == 100 + k
            assert view.depth is not None
            assert float(view.depth) == 0.6
    assert torch.equal(bag.last().image, views[-1].image)


def test_compressed_images_and_no_calibration(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    def compressed(pixels: np.ndarray, k: int) -> Any:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        data = np.frombuffer(stream.getvalue(), np.uint8)
        return TYPES["sensor_msgs/msg/CompressedImage"](header(k), "rgb8; png compressed bgr8", data)

    path = write_bag(tmp_path / "bag", {"/image/compressed": [compressed(p, k) for k, p in enumerate(pictures)]})
    bag = read_bag(path)
    assert bag.given == "the paper's field of view"
    (first, *_) = [one.view for one in bag.views()]
    assert first.image is not None
    assert np.array_equal(as_pixels(first.image[0]), pictures[0][:, 8:88])
    assert first.camera == Camera.from_focal(300 / 224 * 80, 80)


def test_laws_on_a_bag_lead_to_the_goal(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    """The goal is a picture, as it came or cut already; motions at gain 1 are those to it."""
    topics = {"/image": [image_message(p, k) for k, p in enumerate(pictures)], "/camera_info": [info_message(WIDE)]}
    bag = read_bag(write_bag(tmp_path / "bag", topics), depth=0.6)
    write_picture(tmp_path / "whole.png", pictures[-1])
    write_picture(tmp_path / "cut.png", pictures[-1][:, 8:88])
    for name in ("whole.png", "cut.png"):
        goal = bag.prepared(tmp_path / name)
        assert torch.equal(goal.image, bag.last().image)
    laws = {name: controller_for(name) for name in ("dvs-light", "dvs")}
    _, found = replay(bag.views(), goal, laws, asked_only=False)
    v = found["dvs-light"].velocities()
    assert float(v[-1].abs().max()) < 1e-4
    assert float(v[2, 5]) == pytest.approx(-0.02, rel=0.5)  # of the roll, in one damped step
    own = compare("dvs-light", found["dvs-light"], found["dvs-light"])
    assert own.reproduced
    assert own.views == 4


def test_what_cannot_be_chosen_is_one_line(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    two = [image_message(pictures[0], 0)]
    info = [info_message(Camera.from_focal(100, 33, 44))]
    path = write_bag(tmp_path / "two", {"/a/image": two, "/b/image": two, "/b/camera_info": info})
    with pytest.raises(InputError, match=r"images on /a/image, /b/image; name one of them") as caught:
        read_bag(path)
    assert caught.value.settings == ("topic",)
    with pytest.raises(InputError, match="no topic /c of images; it has /a/image, /b/image"):
        read_bag(path, "/c")
    with pytest.raises(InputError, match="no topic /c of CameraInfo"):
        read_bag(path, "/a/image", "/c")
    with pytest.raises(CameraError, match="images of 96 x 80 px, calibrated for 33 x 44"):
        list(read_bag(path, "/b/image").views())
    write_picture(tmp_path / "small.png", pictures[0][:10])
    alone = write_bag(tmp_path / "alone", {"/a/image": two})
    with pytest.raises(CameraError, match="96 x 10 px, and the images are of 80 px"):
        read_bag(alone).prepared(tmp_path / "small.png")
    none = write_bag(tmp_path / "none", {"/camera_info": info})
    with pytest.raises(InputError, match=r"it has no images \(topics: /camera_info\)"):
        read_bag(none)


def test_damaged_and_other_bags_are_one_line(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    topics = {"/image": [image_message(p, k) for k, p in enumerate(pictures)]}
    for storage in StoragePlugin:
        path = write_bag(tmp_path / storage.name, topics, storage)
        file = next(x for x in path.iterdir() if x.suffix != ".yaml")
        content = file.read_bytes()
        assert storage is StoragePlugin.SQLITE3 or not is_recording(file)
        for damaged in (content[: len(content) // 2], b"", content[:1000] + bytes(len(content) - 1000)):
            file.write_bytes(damaged)
            assert refused(path)
        file.unlink()
        assert refused(path)
        (path / "metadata.yaml").write_text("rosbag2_bagfile_information: 3")
        assert refused(path)
    assert "a folder without metadata.yaml" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "nothing")


def refused(path: Path, topic: str = "") -> str:
    """The line that refuses a bag."""
    with pytest.raises(SiameError) as caught:
        list(read_bag(path, topic).views())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def bag_of(folder: Path, images: str, infos: dict[str, list[Camera]]) -> Path:
    """A bag of two images, and CameraInfo."""
    picture = np.zeros((80, 96, 3), np.uint8)
    sent = {topic: [info_message(camera) for camera in cameras] for topic, cameras in infos.items()}
    path = folder / f"bag{sum(1 for _ in folder.iterdir())}"
    return write_bag(path, {images: [image_message(picture, k) for k in range(2)], **sent})


@pytest.mark.parametrize(
    ("images", "info"),
    [
        ("/camera/color/image_raw", "/camera/color/camera_info"),
        ("/camera/color/image_raw/compressed", "/camera/color/camera_info"),
        ("/camera/image_rect", "/camera/camera_info_rect"),
        ("/camera/image_raw", "/camera/info"),
        ("/camera/image", "/camera/image/camera_info"),
        ("/left_image_raw", "/left_camera_info"),
        ("/image", "/camera_info"),
        ("image", "camera_info"),
        ("/camera/colour", "/camera/camera_info"),
    ],
)
def test_the_camera_info_beside_the_images_is_taken(tmp_path: Path, images: str, info: str) -> None:
    others = {name: [Camera.from_focal(50, 96, 80)] for name in ("/depth/camera_info", "/camera/depth/camera_info")}
    bag = read_bag(bag_of(tmp_path, images, {info: [WIDE], **others}))
    assert bag.given == info
    assert bag.camera is not None
    assert bag.camera.fx == WIDE.fx


@pytest.mark.parametrize(
    ("images", "info"),
    [
        ("/camera/color/image_raw", "/camera/depth/camera_info"),
        ("/camera/color/image_raw/compressed", "/camera/depth/camera_info"),
        ("/left/image_raw", "/right/camera_info"),
        ("/left_image_raw", "/right_camera_info"),
        ("/camera/color/image_raw", "/camera/camera_info"),
        ("/image_raw", "/camera/camera_info"),
    ],
)
def test_the_camera_info_of_another_camera_is_not_taken(tmp_path: Path, images: str, info: str) -> None:
    """It was, where it was the only one: another camera's focal length."""
    path = bag_of(tmp_path, images, {info: [WIDE]})
    with pytest.raises(CameraError, match=f"beside the images {images}; it has {info}: ") as caught:
        read_bag(path)
    assert str(caught.value).startswith(f"{path}: no CameraInfo ")
    assert caught.value.settings == ("info", "camera")
    assert read_bag(path, info=info).given == info
    WIDE.to_yaml(tmp_path / "camera.yaml")
    found = read_bag(path, calibration=tmp_path / "camera.yaml")
    assert found.camera is not None
    assert found.camera.fx == WIDE.fx


def test_a_camera_info_that_changes_is_refused(tmp_path: Path) -> None:
    infos = [WIDE, WIDE, Camera.from_focal(220, 96, 80)]
    path = bag_of(tmp_path, "/a/image", {"/a/camera_info": infos})
    line = refused(path)
    assert line.startswith(f"{path}: /a/camera_info, message 3 (2.00 s after the start): the focal length (fx) changes")
    assert "from 110 to 220 px" in line
    moved = Camera(110, 110, 52, 39.5, 96, 80)
    assert "principal point (cx) changes" in refused(bag_of(tmp_path, "/a/image", {"/a/camera_info": [WIDE, moved]}))
    small = Camera.from_focal(110, 90, 80)
    assert "the size changes" in refused(bag_of(tmp_path, "/a/image", {"/a/camera_info": [WIDE, small]}))
    almost = Camera.from_focal(110.4, 96, 80)  # as autofocus has it
    bag = read_bag(bag_of(tmp_path, "/a/image", {"/a/camera_info": [WIDE, almost, WIDE]}))
    assert bag.camera is not None
    assert bag.camera.fx == 110


def test_a_first_camera_info_of_zeros_is_skipped(tmp_path: Path) -> None:
    path, empty = tmp_path / "bag", info_message(WIDE)
    empty.k[:], empty.p[:] = 0, 0
    image = image_message(np.zeros((80, 96, 3), np.uint8), 0)
    write_bag(path, {"/a/image": [image], "/a/camera_info": [empty, info_message(WIDE)]})
    bag = read_bag(path)
    assert bag.camera is not None
    assert bag.camera.fx == 110
    write_bag(tmp_path / "all", {"/a/image": [image], "/a/camera_info": [empty, empty]})
    assert "/a/camera_info, message 1 (0.00 s after the start): K is zero" in refused(tmp_path / "all")


def test_an_image_that_cannot_be_read_is_named_by_its_place(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    good, strange, short = (image_message(pictures[0], k) for k in range(3))
    strange.encoding, short.data = "weird", short.data[:100]
    path = write_bag(tmp_path / "strange", {"/a/image": [good, strange]})
    assert refused(path).startswith(f"{path}: /a/image, message 2 (1.00 s after the start): image: encoding 'weird'")
    path = write_bag(tmp_path / "short", {"/a/image": [good, good, short]})
    assert refused(path).startswith(f"{path}: /a/image, message 3 (2.00 s after the start): image: 100 bytes for 96 x")
    with Writer(tmp_path / "broken", version=9) as writer:
        connection = writer.add_connection("/a/image", "sensor_msgs/msg/Image", typestore=STORE)
        writer.write(connection, 10**9, STORE.serialize_cdr(good, "sensor_msgs/msg/Image"))
        writer.write(connection, 3 * 10**9, STORE.serialize_cdr(good, "sensor_msgs/msg/Image")[:40])
    line = refused(tmp_path / "broken")
    assert "broken: /a/image, message 2 (2.00 s after the start): a message that cannot be read (" in line
