"""Does `auto` know when it does not know? One look from each start on the 40 photos of photos.txt that no training has seen: clean, blurred, in bad
light and under the posters' perturbation, near and far; and looks at another photo than the goal's.

    python -m siame_se3.experiments.confidence --photos-root debs --looks 4
    python -m siame_se3.experiments.confidence --photos-root debs --looks 1 --seed 5000 --fit
    python -m siame_se3.experiments.confidence --photos-root debs --looks 1 --seed 5000 --fit-depth

A look is right where the estimate, however sure, has what both images show within 5 % of the image's width of its place, on average. The area under the curve is the chance
that a right look has a higher confidence than a wrong one; on another photo each look is wrong, and moving at all is a fault.

`--fit` fits the confidence (`laws.goals.Estimate`): a logistic regression of right on what is known of the best guess, on the 100 photos that trainings
have seen and 60 textures that a program makes, most of which repeat themselves; the weights are those of `laws/goals.py`. `--fit-depth` does so for goals
with a map of depths, as a depth camera gives it, on drawn reliefs under 30 of these photos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.experiments import photos
from siame_se3.experiments.any_scene import CONDITIONS, UNSEEN
from siame_se3.experiments.script import add_photos_root, parser, run_script, table
from siame_se3.files import BUNDLED_MODELS, bundled
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.geometry.plane import homography
from siame_se3.laws.auto import Auto
from siame_se3.laws.neural import Neural
from siame_se3.laws.types import Controller, View
from siame_se3.networks.checkpoint import load
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, draw_starts
from siame_se3.scenes.procedural import procedural
from siame_se3.scenes.relief import Relief

RIGHT = 0.05  # of the image's width
SEEN, TEXTURES, RELIEFS = 100, 60, 30
_GRID = 9  # points a side
_OTHER = 7  # the world of a look at another photo is so many photos further on


@dataclass(frozen=True)
class Looks:
    """What was said, and whether it was right.

    Attributes:
        confidence: of each look.
        moves: whether it would move the robot, by the default threshold.
        right: see the module's head.
        features: of the confidence; NaN where no place was looked for.
    """

    confidence: Float[Tensor, "n"]
    moves: Tensor
    right: Tensor
    features: Float[Tensor, "n 2"]


def looks(controller: Controller, goal: Scene, world: Scene, condition: str, count: int, seed: int) -> Looks:
    """So many, from starts of a condition."""
    camera, (starts, disturbance) = default_camera(), CONDITIONS[condition]
    T_wd, T_wc = draw_starts(starts, count, goal, camera, Workspace(), seed)
    target = FlyingCameras(goal, camera).look(T_wd)
    view = FlyingCameras(world, camera, conditions=disturbance, seed=seed).reset(T_wc)
    law, state = controller.aim(View(target.image, None, None, camera))
    output, after = law(View(view.image, None, None, camera), state)
    assert output.confidence is not None
    moves = torch.tensor([fault == "" for fault in output.faults]) & (output.confidence >= Auto().threshold)
    v = output.v.double()
    # v = (t_cd, theta u(R_cd)) at gain 1 (see `auto`), for a goal taken to be square on
    T_cd = lie.pose(lie.so3_exp(v[:, 3:]), v[:, :3])
    square = torch.eye(4, dtype=torch.float64)
    square[2, 3] = -Workspace.distance
    found = homography(camera, square @ lie.inverse(T_cd), square)
    right = misplaced(camera, found, homography(camera, T_wc, T_wd)) < RIGHT
    features = torch.tensor([guess.features for guess in after.held], dtype=torch.float64)
    features[features[:, 0] <= -1] = math.nan
    return Looks(output.confidence.double(), moves, right & (goal is world), features)


def misplaced(camera: Camera, found: Float[Tensor, "n 3 3"], true: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n"]:
    """Mean distance, over what is in both images, of where homographies from desired to current pixels have it, in image widths."""
    u, v = (torch.linspace(0, size - 1, _GRID, dtype=torch.float64) for size in (camera.width, camera.height))
    points = torch.stack((*torch.meshgrid(u, v, indexing="ij"), torch.ones(_GRID, _GRID, dtype=torch.float64))).flatten(
        1
    )
    ours, theirs = (H @ points for H in (found, true))
    a, b = (x[:, :2] / x[:, 2:] for x in (ours, theirs))
    size = torch.tensor([camera.width, camera.height], dtype=torch.float64)[:, None]
    shown = ((b > 0) & (b < size)).all(1) & (theirs[:, 2] > 0)
    distance = (a - b).norm(dim=1).clamp(max=float(camera.width))
    return (distance * shown).sum(1) / shown.sum(1).clamp(min=1) / camera.width


def area(right: Float[Tensor, "n"], wrong: Float[Tensor, "m"]) -> float:
    """The chance that one of the first is above one of the second (half where they are equal); NaN where either is empty."""
    above = (right[:, None] > wrong).double() + 0.5 * (right[:, None] == wrong).double()
    return float(above.mean())


def fitted(X: Float[Tensor, "n k"], right: Tensor, ridge: float = 1e-3) -> Float[Tensor, "k+1"]:
    """Weights of a logistic regression, the constant last: Newton's method; a weak ridge, on features of standard deviation 1."""
    mean, deviation = X.mean(0), X.std(0)
    Z = torch.cat(((X - mean) / deviation, torch.ones(len(X), 1, dtype=X.dtype)), 1)
    penalty = ridge * len(X) * torch.ones(Z.shape[1], dtype=X.dtype)
    w = torch.zeros(Z.shape[1], dtype=X.dtype)
    for _ in range(50):
        p = torch.sigmoid(Z @ w)
        H = (Z * (p * (1 - p))[:, None]).T @ Z + torch.diag(penalty)
        w = w + torch.linalg.solve(H, Z.T @ (right.to(X) - p) - penalty * w)
    return torch.cat((w[:-1] / deviation, (w[-1] - (w[:-1] / deviation) @ mean)[None]))


def _unasked() -> Auto:
    """The law as it is by default, but that it says where the goal is however sure it is."""
    return Auto(Neural.from_model(load(bundled(BUNDLED_MODELS["any-scene"])), "auto"), threshold=0.0)


def made_looks(
    law: Controller, pairs: list[tuple[Scene, Scene]], conditions: list[str], count: int, seed: int
) -> Looks:
    """Of all pairs of goal and world under all conditions."""
    parts = [
        looks(law, goal, world, condition, count, seed + 1000 * number + k)
        for number, condition in enumerate(conditions)
        for k, (goal, world) in enumerate(pairs)
    ]
    return Looks(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(Looks)))


def depth_looks(goal: Relief, world: Relief, condition: str, count: int, seed: int) -> Looks:
    """As `looks`, at a goal with a map of depths."""
    camera, (starts, disturbance) = default_camera(), CONDITIONS[condition]
    T_wd, T_wc = draw_starts(starts, count, goal, camera, Workspace(), seed)
    target = FlyingCameras(goal, camera, depth_camera=DepthCamera()).look(T_wd)
    view = FlyingCameras(world, camera, conditions=disturbance, seed=seed).reset(T_wc)
    law, state = _unasked().aim(replace(target, T_wc=None))
    output, after = law(view, state)
    assert output.confidence is not None
    T_cd = (lie.inverse(T_wc) @ T_wd).double().numpy()
    size = np.array([camera.width, camera.height])
    right = []
    for guess, desired, true in zip(after.held, state.goals, T_cd, strict=True):
        there = desired.shown(true)
        seen = ((there > 0) & (there < size)).all(1)
        if goal is not world or guess.T_cd is None or not seen.any():
            right.append(False)
            continue
        apart = np.minimum(np.linalg.norm(desired.shown(guess.T_cd) - there, axis=1), camera.width)
        right.append(float(apart[seen].mean()) < RIGHT * camera.width)
    features = torch.tensor([guess.features for guess in after.held], dtype=torch.float64)
    features[features[:, 0] <= -1] = math.nan
    return Looks(output.confidence.double(), output.confidence >= Auto().threshold, torch.tensor(right), features)


def fit_depth(seen: list[Scene], count: int, seed: int) -> None:
    """Print the weights of goals with depth."""
    reliefs = [Relief.drawn(scene, _relief_height(k), k) for k, scene in enumerate(seen)]
    parts = []
    for k, own in enumerate(reliefs):
        for number, condition in enumerate(CONDITIONS):
            parts.append(depth_looks(own, own, condition, count, seed + 100 * number + k))
        parts.append(depth_looks(own, reliefs[(k + _OTHER) % len(reliefs)], "table1", count, seed + 900 + k))
    X, right = (torch.cat([getattr(part, name) for part in parts]) for name in ("features", "right"))
    _print_fit(X, right)


def _relief_height(k: int) -> float:
    """5 to 18 cm."""
    return 0.05 + 0.13 * (k % 5) / 4


def _print_fit(X: Float[Tensor, "n k"], right: Tensor) -> None:
    known = X.isfinite().all(1)
    X, right = X[known], right[known]
    weights = fitted(X, right)
    sure = torch.sigmoid(X @ weights[:-1] + weights[-1])
    print(
        f"{len(X)} looks, {int(right.sum())} right; area {area(sure[right], sure[~right]):.4f}; weights of the score, the logarithm of (1 + the support), and the constant: "
        + ", ".join(f"{x:.2f}" for x in weights.tolist())
    )


def _others(scenes: list[Scene]) -> list[tuple[Scene, Scene]]:
    """Each with the photo so many further on."""
    return [(scene, scenes[(k + _OTHER) % len(scenes)]) for k, scene in enumerate(scenes)]


def fit(seen: list[Scene], count: int, seed: int) -> None:
    """Print the weights."""
    law = _unasked()
    same = made_looks(law, [(scene, scene) for scene in seen], list(CONDITIONS), count, seed)
    other = made_looks(law, _others(seen), ["table1", "poster"], count, seed + 500)
    X, right = torch.cat((same.features, other.features)), torch.cat((same.right, other.right))
    _print_fit(X, right)


def row(pairs: list[tuple[Scene, Scene]], conditions: list[str], count: int, seed: int) -> dict[str, Any]:
    """Of all pairs of goal and world under all conditions."""
    made = made_looks(_unasked(), pairs, conditions, count, seed)
    confidence, moves, right = made.confidence, made.moves, made.right
    wrong = confidence[~right]
    return {
        "looks": len(right),
        "right": int(right.sum()),
        "wrong": int((~right).sum()),
        "area under the curve": f"{area(confidence[right], wrong):.4f}",
        "moves, of the right": f"{100 * float(moves[right].double().mean()):.1f} %" if bool(right.any()) else "-",
        "moves, of the wrong": f"{100 * float(moves[~right].double().mean()):.1f} %",
        "highest confidence of a wrong one": f"{float(wrong.max()):.2f}" if len(wrong) else "-",
    }


def _texture(seed: int) -> Scene:
    image = torch.from_numpy(procedural(10_000 + seed)).permute(2, 0, 1).float() / 255
    return Scene(image.contiguous(), photos.WIDTH, photos.WIDTH * image.shape[1] / image.shape[2], f"texture {seed}")


def main() -> None:
    """Both rows."""
    options = parser(__doc__)
    add_photos_root(options)
    options.add_argument("--seed", type=int, default=900)
    options.add_argument("--looks", type=int, default=4, help="a photo and condition")
    options.add_argument("--fit", action="store_true", help="fit the confidence instead")
    options.add_argument("--fit-depth", action="store_true", help="fit that of goals with depth instead")
    given = options.parse_args()
    if given.fit_depth:
        fit_depth(photos.scenes("train", RELIEFS, None, given.photos_root), given.looks, given.seed)
        return
    if given.fit:
        seen = photos.scenes("train", SEEN, None, given.photos_root)
        fit([*seen, *(_texture(k) for k in range(TEXTURES))], given.looks, given.seed)
        return
    scenes = photos.scenes("unseen", UNSEEN, None, given.photos_root)
    same = [(scene, scene) for scene in scenes]
    other = _others(scenes)
    rows = {
        "the goal's photo": lambda: {
            "world": "the goal's photo",
            **row(same, list(CONDITIONS), given.looks, given.seed),
        },
        "another photo": lambda: {
            "world": "another photo",
            **row(other, ["table1", "poster"], given.looks, given.seed),
        },
    }
    table(given, rows, ("photos_root",))


if __name__ == "__main__":
    run_script(main)
