"""Trains the network for any scene, on crops of many pictures and on textures made by a program.

    python -m siame_se3.experiments.any_scene_training pictures --out any-scene.safetensors --minutes 600
    ... --device cuda --workers 8 --views 512 --scenes 32 --crops 2500
    ... --init any-scene --rate 0.2 --relief 0.35        # goes on from a model, with half of the scenes not flat

An interrupted training goes on where it was (its state stands beside --out). Pictures are all of the folders given, and those below them. None of
photos.txt's 'unseen' may be among them.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from siame_se3.errors import InputError
from siame_se3.experiments.photos import HEIGHT, WIDTH
from siame_se3.experiments.script import run_script
from siame_se3.files import model_file
from siame_se3.networks import checkpoint
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.networks.part_configs import AttentionConfig
from siame_se3.scenes.conditions import Augmentation
from siame_se3.scenes.planar import Fill, Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.procedural import procedural
from siame_se3.training.data import DataConfig
from siame_se3.training.driver import Callbacks, Progress, fit
from siame_se3.training.recipe import Recipe, TrainConfig

_ROWS, _COLUMNS = 480, 640  # texels of a crop
_KINDS = (".jpg", ".jpeg", ".png", ".webp")
_FILLS: tuple[Fill, ...] = (0.0, 0.0, "mean", "edge", 0.5, 1.0, (0.4, 0.3, 0.2))  # beyond a print
_LEAST = 0.04  # contrast of a crop: less is nothing to see

# What cameras do to images, of 224 px.
CAMERA = Augmentation(
    lamp_gain=0.25,
    gain=0.2,
    bias=0.06,
    colour=0.08,
    noise=0.06,
    occlusion=0.2,
    occlusion_rate=0.6,
    blur=3.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    vignetting=0.5,
    motion=8.0,
    gamma=0.25,
    jpeg=1.0,
)


def recipe(minutes: float, seed: int, views: int, scenes: int, fast: bool, relief: float = 0.0) -> Recipe:
    """Of the network: attention between both images' cells; goals up to 20 deg from square on; any roll; near and far starts in halves; half of the
    scenes with a relief of up to this share of the distance."""
    network = NetworkConfig(
        image_size=224,
        stride=16,
        pooling="context",
        fusion="plane",
        head=(),
        output_scale=(Workspace.distance,) * 3 + (1.0,) * 3,
        attention=AttentionConfig(own=1, rounds=3),
    )
    workspace = Workspace(
        desired_height=0.15,
        desired_tilt=math.radians(20),
        offset_t=0.12,
        offset_tilt=math.radians(14),
        offset_roll=math.radians(50),
    )
    data = DataConfig(
        views=views,
        scenes=scenes,
        near=0.25,
        near_weight=1.0,
        near_smallest=0.003,
        most_pairs=views // scenes,
        starts="wide",
        augmentation=CAMERA,
        curriculum=0.05,
        relief=relief,
    )
    train = TrainConfig(
        lr=1.5e-3, lr_muon=0.015, clip=1.0, average=0.999, fast=fast, evaluations=0, log_every=50, checkpoint_seconds=20
    )
    loss = LossConfig(where=1.0, match=1.0, plane=1.0, velocity=0.0)
    return Recipe(network, loss, data, workspace, train=train, minutes=minutes, seed=seed)


def pictures_in(folders: Sequence[Path]) -> list[np.ndarray]:
    """All pictures below folders, RGB uint8, in the order of their paths; what is too small or cannot be decoded is left out.

    Raises:
        InputError: there is none.
    """
    files = sorted(path for folder in folders for path in folder.rglob("[!.]*") if path.suffix.lower() in _KINDS)
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: cv2.imread(str(path), cv2.IMREAD_COLOR), files)
        found = [image[..., ::-1] for image in read if image is not None and min(image.shape[:2]) >= 128]
    if not found:
        raise InputError(
            f"{', '.join(map(str, folders))}: no picture of 128 px or more; give folders of JPEG or PNG files"
        )
    return found


def crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, turned by quarters and perhaps mirrored, (480, 640, 3)."""
    picture = np.rot90(picture, int(rng.integers(4)))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    h, w = picture.shape[:2]
    largest = min(h / _ROWS, w / _COLUMNS)
    scale = largest * rng.uniform(min(1.0, max(0.35, 0.4 / largest)), 1.0)
    rows, columns = max(8, int(_ROWS * scale)), max(8, int(_COLUMNS * scale))
    top, left = int(rng.integers(h - rows + 1)), int(rng.integers(w - columns + 1))
    part = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return cv2.resize(part, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)


def scenes_of(pictures: list[np.ndarray], count: int, made: int, seed: int) -> list[Scene]:
    """So many crops of pictures and so many textures made by a program, mixed, as prints of one size; a seed gives the same ones."""

    def one(k: int) -> Scene:
        rng = np.random.default_rng((seed, k))
        if k < made:
            image = procedural(int(rng.integers(2**62)), _ROWS, _COLUMNS)
        else:
            for _ in range(20):
                image = crop(pictures[k % len(pictures)], rng)
                if image.mean(2).std() > 255 * _LEAST:
                    break
        fill = _FILLS[int(rng.integers(len(_FILLS)))]
        texture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255
        return Scene(texture, WIDTH, HEIGHT, f"scene {k}", fill)

    with ThreadPoolExecutor() as pool:
        scenes = list(pool.map(one, range(count + made)))
    order = np.random.default_rng(seed).permutation(len(scenes))
    return [scenes[k] for k in order]


def _say(progress: Progress) -> None:
    groups = ", ".join(f"{name} {value:.4f}" for name, value in progress.groups.items())
    print(
        f"{time.strftime('%H:%M:%S')} step {progress.step} of {progress.steps}, {progress.images} images, {progress.seconds:.0f} s, "
        f"loss {progress.loss:.3f}, {groups}",
        flush=True,
    )


def main() -> None:
    """Train it, or go on."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("pictures", nargs="+", type=Path)
    options.add_argument("--out", type=Path, default=Path("siame-out/any-scene.safetensors"))
    options.add_argument("--minutes", type=float, default=600.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--init", type=Path, help="a model whose weights it starts from")
    options.add_argument("--rate", type=float, default=1.0, help="of the learning rates, over the recipe's")
    options.add_argument("--relief", type=float, default=0.0, help="of half of the scenes, as a share of the distance")
    options.add_argument("--device", default="cpu")
    options.add_argument("--workers", type=int, default=0, help="processes that plan batches ahead")
    options.add_argument("--views", type=int, default=64, help="images a step")
    options.add_argument("--scenes", type=int, default=8, help="scenes a step")
    options.add_argument("--crops", type=int, default=1000, help="scenes from pictures, in all")
    options.add_argument("--made", type=int, default=250, help="scenes made by a program, in all")
    given = options.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    began = time.perf_counter()
    scenes = scenes_of(pictures_in(given.pictures), given.crops, given.made, given.seed)
    print(f"{len(scenes)} scenes in {time.perf_counter() - began:.0f} s", flush=True)
    fast = device.type == "cuda"
    wanted = recipe(given.minutes, given.seed, given.views, given.scenes, fast, given.relief)
    train = wanted.train
    train = replace(train, workers=given.workers, lr=given.rate * train.lr, lr_muon=given.rate * train.lr_muon)
    wanted = replace(wanted, train=train, init=str(given.init or ""))
    initial = checkpoint.load(model_file(given.init)).network.state_dict() if given.init else None
    given.out.parent.mkdir(parents=True, exist_ok=True)
    fitted = fit(wanted, scenes, given.out, Callbacks(report=_say), initial, device=device)
    print(f"{given.out}: {fitted.steps} steps in {fitted.seconds:.0f} s")


if __name__ == "__main__":
    run_script(main)
