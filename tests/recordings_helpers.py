"""Recordings of a few small views, for the tests of recordings, replay and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import Controller
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.types import Plant
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.recordings.recorder import Recording
from siame_se3.servo.trajectory import Trajectory

WAY = (0.04, -0.03, 0.02, 0.03, 0.02, 0.1)  # c*Tc of the start [m, rad]


def poses(way: tuple[float, ...] = WAY) -> tuple[torch.Tensor, torch.Tensor]:
    """Desired and start pose (1, 4, 4), above the middle of a print."""
    T_wd = torch.eye(4, dtype=torch.float64)[None]
    T_wd[:, 2, 3] = -0.6
    return T_wd, T_wd @ lie.pose_from_vector(torch.tensor(way, dtype=torch.float64))


def recorded(
    path: Path,
    controller: Controller,
    scene: Scene,
    camera: Camera,
    law: dict[str, Any] | None = None,
    steps: int = 6,
    plant: Plant | None = None,
) -> Trajectory:
    """One run over a print, recorded."""
    plant = plant or FlyingCameras(scene, camera)
    T_wd, T_wc = poses()
    config = ServoConfig(gain=8.0, max_iterations=steps)
    with Recording(path, law or {"name": "pbvs"}) as recording:
        return recording.servo(plant, controller, FlyingCameras(scene, camera).look(T_wd), T_wc, config)
