"""A training that takes milliseconds, and batches of a few views, for the tests of this room."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import siame_se3
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.scenes.conditions import NONE, Augmentation
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.training import state
from siame_se3.training.batches import Batch, BatchSource
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import run
from siame_se3.training.processes import process_group, world
from siame_se3.training.recipe import TrainConfig
from siame_se3.training.trainer import Trainer

PLAIN = Augmentation(lamps=0, occlusion_rate=0, noise=0.01, gain=0.05, bias=0.02)
STRONG = Augmentation(blur=0.5, noise=0.1)
WORKSPACE = Workspace()
# For processes of their own: the same few lines as in this one.
SCRIPT = "import sys; sys.path.insert(0, sys.argv[1]); import training_helpers; training_helpers.work(*sys.argv[2:])"


def print_of_colours() -> Scene:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(coarse, size=(60, 80), mode="bicubic", align_corners=False).clamp(0, 1)[0]
    return Scene(texture.contiguous(), 0.8, 0.6)


def few_views(**changes: Any) -> DataConfig:
    options = {"views": 8, "near": 0.25, "near_weight": 2.0, "spread": (1.0, 1.0), "augmentation": PLAIN}
    return DataConfig(**(options | changes))


def problem(seed: int = 3, **changes: Any) -> BatchSource:
    return BatchSource([print_of_colours()], default_camera(32), Workspace(), few_views(**changes), seed)


def network_of(pooling: Any = "spatial", contrast: float = 0.0) -> NetworkConfig:
    network = NetworkConfig("test_resnet", 32, local_contrast=contrast, stride=16, squeeze=8, embedding=32, head=(32,))
    if pooling == "descriptors":
        return replace(network, pooling=pooling, fusion="matching", stride=4)
    return replace(network, pooling=pooling)


def trainer_of(
    steps: int = 6,
    data: dict[str, Any] | None = None,
    where: float = 1.0,
    pooling: Any = "spatial",
    contrast: float = 0.0,
    **changes: Any,
) -> Trainer:
    config = TrainConfig(**({"steps": steps, "precision": "f32", "checkpoint_seconds": 0.0} | changes))
    return Trainer(network_of(pooling, contrast), LossConfig(near=0.2, where=where), problem(**(data or {})), config)


def advanced(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.advance()
    return trainer


def run_from(trainer: Trainer, path: Path) -> None:
    """To the last step, from the state if there is one."""
    if path.is_file():
        state.load(trainer, path)
    run(trainer, path)


def work(task: str, path: str, steps: str) -> None:
    """What the processes that this file starts do."""
    torch.set_num_threads(1)
    if task == "train":
        run_from(trainer_of(int(steps)), Path(path))
    elif task == "ahead":
        trainer = advanced(trainer_of(int(steps), workers=2), 2)
        Path(path).write_text(" ".join(str(child.pid) for child in multiprocessing.active_children()))
        while True:
            trainer.advance()
    else:
        with process_group(torch.device("cpu")):
            assert world()[1] == 2
            trainer = advanced(trainer_of(data={"groups": 2}), int(steps))
            state.save(trainer, Path(f"{path}.{world()[0]}"))


def start(task: str, path: Path, steps: int, **environment: str) -> subprocess.Popen[bytes]:
    source = str(Path(siame_se3.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | environment
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), task, str(path), str(steps)]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def state_of(trainer: Trainer, folder: Path) -> dict[str, Tensor]:
    state.save(trainer, folder / "compared.state")
    return load_file(folder / "compared.state")


def assert_bit_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert not [key for key in a if not torch.equal(a[key], b[key])]


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def source_of(
    scenes: list[Scene], camera: Camera, seed: int = 3, output: Any = "velocity", **changes: Any
) -> BatchSource:
    config = DataConfig(**({"views": 8, "near": 0.0, "spread": (1.0, 1.0), "augmentation": NONE} | changes))
    return BatchSource(scenes, camera, WORKSPACE, config, seed, output)


def poses_of(batch: Batch, camera: Camera) -> Tensor:
    """T_wc from the homography alone: H K has the rows t_x r_z - t_z r_x, t_y r_z - t_z r_y, r_z of R's rows r."""
    x, y, r_z = (batch.homography @ camera.K).unbind(-2)
    t_x, t_y = (x * r_z).sum(-1), (y * r_z).sum(-1)
    minus_tz_rx, minus_tz_ry = x - t_x[:, None] * r_z, y - t_y[:, None] * r_z
    t_z = -minus_tz_rx.norm(dim=-1)
    R = torch.stack((minus_tz_rx / -t_z[:, None], minus_tz_ry / -t_z[:, None], r_z), -2)
    return lie.pose(R, torch.stack((t_x, t_y, t_z), -1))


def assert_same(a: Batch, b: Batch) -> None:
    assert a.scene is b.scene
    for name in ("images", "current", "desired", "target", "weight", "homography"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
