"""Valid files that cases are spoilt from. Each function may write into the folder that it gets."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siame_se3.experiments.fuzz import archives
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.networks.config import NetworkConfig

TINY = NetworkConfig(
    "test_resnet", 32, local_contrast=0.0, pooling="spatial", stride=16, squeeze=8, embedding=32, head=(32,)
)


def _written(folder: Path, write: Callable[[Path], object]) -> bytes:
    write(folder / "scratch")
    return (folder / "scratch").read_bytes()


def pictures(folder: Path) -> list[bytes]:
    """Small ones in the formats that cameras and editors write."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    colour, grey = Image.fromarray(pixels), pixels[..., 0]
    turned = Image.Exif()
    turned[0x112] = 6
    frames = [colour.rotate(k).convert("P") for k in range(3)]
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *[(colour, kind, {}) for kind in ("PNG", "WEBP", "TIFF", "BMP", "TGA", "PPM", "JPEG2000", "PCX", "ICO", "SGI")],
        *[(colour, "TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "jpeg")],
        (colour, "JPEG", {"exif": turned}),
        (colour, "JPEG", {"progressive": True}),
        (frames[0], "PNG", {}),
        (frames[0], "GIF", {"save_all": True, "append_images": frames[1:]}),
        (Image.fromarray(grey), "PNG", {}),
        (Image.fromarray(grey.astype(np.uint16) * 257), "PNG", {}),
        (Image.fromarray(grey.astype(np.float32) / 255), "TIFF", {}),
        (Image.fromarray(grey.astype(np.int32) * 1000), "TIFF", {}),
    ]
    found = []
    for image, kind, options in made:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        found.append(stream.getvalue())
    return found


def images(folder: Path) -> list[bytes]:
    """sensor_msgs/Image, a line of JSON with the fields and then the data."""
    sizes = {"height": 40, "width": 56, "is_bigendian": 0}
    raw = [("rgb8", 3), ("bgra8", 4), ("mono8", 1), ("mono16", 2), ("yuv422", 2), ("bayer_rggb8", 1), ("32FC1", 4)]
    pixels = np.random.default_rng(0).integers(0, 256, 40 * 56 * 4, dtype=np.uint8).tobytes()
    heads = [({**sizes, "encoding": name, "step": 56 * n}, pixels[: 40 * 56 * n]) for name, n in raw]
    return [json.dumps(head).encode() + b"\n" + data for head, data in heads]


def compressed_images(folder: Path) -> list[bytes]:
    """sensor_msgs/CompressedImage, likewise."""
    formats = ("png", "rgb8; jpeg compressed bgr8", "jpeg", "tiff", "16UC1; compressedDepth png")
    return [
        json.dumps({"format": name}).encode() + b"\n" + data for name in formats for data in pictures(folder)[:14:3]
    ]


def depth_maps(folder: Path) -> list[bytes]:
    """PNG and TIFF of 16 bits and of floating-point numbers, .npy and .npz; their kinds are known by their first bytes."""
    import cv2

    metres = np.random.default_rng(0).uniform(0.3, 2, (40, 56)).astype(np.float32)
    whole = (1000 * metres).astype(np.uint16)
    whole[:5], metres[:5] = 0, np.nan
    made = [cv2.imencode(kind, x)[1].tobytes() for kind, x in ((".png", whole), (".tiff", whole), (".tiff", metres))]
    for x in (whole, metres, metres.astype(np.float64)[None]):
        stream = io.BytesIO()
        np.save(stream, x)
        made.append(stream.getvalue())
    return [*made, archives.packed({"depth": metres, "std": metres})]


def depth_images(folder: Path) -> list[bytes]:
    """sensor_msgs/Image and CompressedImage of depth, a line of JSON with the fields and then the data."""
    whole, *_, metres, _, _ = depth_maps(folder)
    sizes = {"height": 40, "width": 56, "is_bigendian": 0}
    pixels = np.random.default_rng(0).integers(300, 2000, (40, 56)).astype(np.uint16).tobytes()
    heads: list[tuple[dict[str, Any], bytes]] = [
        ({**sizes, "encoding": "16UC1", "step": 112}, pixels),
        ({**sizes, "encoding": "32FC1", "step": 224}, metres[-40 * 56 * 4 :]),
        ({"format": "16UC1; compressedDepth png"}, bytes(12) + whole),
        ({"format": "32FC1; compressedDepth"}, struct.pack("<iff", 0, 10100.0, -1000.0) + whole),
    ]
    return [json.dumps(head).encode() + b"\n" + data for head, data in heads]


def camera_infos(folder: Path) -> list[bytes]:
    """sensor_msgs/CameraInfo, a line of JSON."""
    k = [300.0, 0.0, 159.5, 0.0, 300.0, 119.5, 0.0, 0.0, 1.0]
    r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    roi = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    info = {
        **{
            "height": 240,
            "width": 320,
            "distortion_model": "plumb_bob",
            "d": [0.1, -0.05, 0.0, 0.0, 0.0],
            "k": k,
            "r": r,
        },
        **{"p": [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0], "binning_x": 0, "binning_y": 0, "roi": roi},
    }
    others = {"distortion_model": "equidistant", "d": [0.1, 0.0, 0.0, 0.0]}, {"d": [], "distortion_model": ""}
    return [json.dumps(fields).encode() + b"\n" for fields in (info, *({**info, **other} for other in others))]


def camera_yamls(folder: Path) -> list[bytes]:
    """Of camera_calibration, and as `ros2 topic echo` leaves it."""
    lens = Camera(300.0, 301.0, 159.5, 119.5, 320, 240, (0.1, -0.05, 0.0, 0.0, 0.0))
    echoed = "---\nheight: 240\nwidth: 320\nd: [0.1, -0.05, 0, 0, 0]\nk: [300, 0, 159.5, 0, 300, 119.5, 0, 0, 1]\n---\nheight: 240\n"
    return [_written(folder, default_camera().to_yaml), _written(folder, lens.to_yaml), echoed.encode()]


def hand_eye_yamls(folder: Path) -> list[bytes]:
    """The camera in the tool."""
    from siame_se3.commissioning.hand_eye_file import hand_eye_to_yaml
    from siame_se3.geometry import lie

    T_tc = lie.pose_from_vector(torch.tensor([0.03, 0.0, 0.08, 0.1, -0.2, 1.5], dtype=torch.float64))
    return [_written(folder, lambda path: hand_eye_to_yaml(T_tc, path))]


def runs_csvs(folder: Path) -> list[bytes]:
    """Three runs."""
    from siame_se3.analysis.metrics import Row, write_csv

    row = Row(0, 0.12, 17.0, 0.001, 0.1, 0.03, 2.0, 90, 1, 1.5, "settled", 12)
    return [_written(folder, lambda path: write_csv([row] * 3, path))]


def trajectories(folder: Path) -> list[bytes]:
    """Two runs of three iterations."""
    from siame_se3.servo.trajectory import Trajectory

    T, n = 3, 2
    T_wc = torch.eye(4, dtype=torch.float64).repeat(T + 1, n, 1, 1)
    T_wc[..., 2, 3] = -0.6
    twist = torch.full((T, n, 6), 0.1, dtype=torch.float64)
    settings = {
        **{"camera": dataclasses.asdict(Camera.from_focal(150, 56)), "scene": "photo.jpg", "width": 0.8, "fill": "0"},
        **{"servo": {"gain": 5.0}, "law": "pbvs", "command": "siame servo", "seconds": 1.0, "hardware": "a machine"},
    }
    ends = (torch.full((n,), T), ["settled"] * n, torch.ones(T, dtype=torch.float64), 0.04, settings)
    run = Trajectory(
        T_wc, T_wc[0], twist, twist, torch.ones(T, n, dtype=torch.bool), torch.zeros(T, n, dtype=torch.long), *ends
    )
    with np.load(io.BytesIO(_written(folder, run.save))) as file:
        return [archives.packed({name: file[name] for name in file.files})]


def checkpoints(folder: Path) -> list[bytes]:
    """A network of 100,000 weights, in float32 and float16."""
    from siame_se3.networks import checkpoint
    from siame_se3.networks.siamese import SiameseNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = checkpoint.Model(SiameseNetwork(TINY).eval(), default_camera(32), 0.6, 0.8, {"steps": 4})
    both = (_written(folder, functools.partial(checkpoint.save, model, half=half)) for half in (False, True))
    return [archives.ordered(content) for content in both]


def trainer() -> Any:
    """A training that takes milliseconds a step, after its first one; what its clock measured is left out."""
    from siame_se3.networks.losses import LossConfig
    from siame_se3.scenes.planar import Scene
    from siame_se3.scenes.poses import Workspace
    from siame_se3.training.batches import BatchSource
    from siame_se3.training.data import DataConfig
    from siame_se3.training.recipe import TrainConfig
    from siame_se3.training.trainer import Trainer

    texture = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    camera = default_camera(32)
    source = BatchSource([Scene(texture, 0.8, 0.6)], camera, Workspace(), DataConfig(views=4), seed=0)
    made = Trainer(TINY, LossConfig(), source, TrainConfig(steps=5))
    made.advance()
    made.seconds, made.shares = 1.0, dict.fromkeys(made.shares, 0.25)
    return made


def states(folder: Path) -> list[bytes]:
    """Of a training after its first step."""
    from siame_se3.training import state

    return [archives.ordered(_written(folder, functools.partial(state.save, trainer())))]


def options() -> dict[str, type]:
    """The settings' classes by name."""
    from siame_se3.commissioning.boards import Board
    from siame_se3.networks.losses import LossConfig
    from siame_se3.plants.arm import ArmConfig
    from siame_se3.plants.mismatch import Mismatch
    from siame_se3.scenes.conditions import Augmentation
    from siame_se3.scenes.poses import Workspace
    from siame_se3.servo.config import ServoConfig
    from siame_se3.servo.safety import Safety
    from siame_se3.training.data import DataConfig
    from siame_se3.training.recipe import TrainConfig

    kinds = (
        Board,
        LossConfig,
        ArmConfig,
        Mismatch,
        Augmentation,
        Workspace,
        Safety,
        ServoConfig,
        DataConfig,
        TrainConfig,
    )
    return {kind.__name__: kind for kind in (*kinds, NetworkConfig)}


def options_files(folder: Path) -> list[bytes]:
    """All settings' defaults, a file each."""
    return [json.dumps({name: dataclasses.asdict(kind())}).encode() for name, kind in options().items()]


def texts(*lines: str) -> Callable[[Path], list[bytes]]:
    """What makes one file of these lines."""
    return lambda folder: ["\n".join(lines).encode()]
