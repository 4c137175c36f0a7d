"""The images of a simulated run, made again from its trajectory: for reports and videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.metrics import Row
from siame_se3.analysis.style import difference
from siame_se3.images.decode import as_pixels
from siame_se3.plants.flying import FlyingCameras
from siame_se3.servo.simulation import Task
from siame_se3.servo.trajectory import Trajectory


def farthest(table: Sequence[Row]) -> int:
    """The converged run with the largest start error, in units of the paper's means; where none converged, of all; 0 of none."""
    return max(table, key=lambda r: (r.converged, r.start_t_m / 0.125 + r.start_r_deg / 17.5)).run if table else 0


def images_of(task: Task, trajectory: Trajectory, run: int) -> Iterator[Float[Tensor, "3 h w"]]:
    """What a run's camera saw, view by view, its disturbance and the model error of its number included.

    Flying cameras obey the run's twists again. Of another plant's runs (settings['plant']) the scene is rendered at the poses.
    """
    last = int(trajectory.iterations[run])
    if trajectory.settings.get("plant"):
        for T_wc in trajectory.T_wc[: last + 1, run]:
            yield task.scene.render(task.camera, T_wc)[0]
        return
    plant = FlyingCameras(
        *(task.scene, task.camera, trajectory.dt),
        conditions=task.disturbance,
        seed=task.seed,
        first_run=run,
        mismatch=task.mismatch,
    )
    view = plant.reset(trajectory.T_wc[0, run : run + 1])
    for k in range(last + 1):
        assert view.image is not None
        yield view.image[0]
        if k < last:
            view, _ = plant.step(trajectory.twist[k, run : run + 1])


def goal_of(task: Task, trajectory: Trajectory, run: int) -> Float[Tensor, "3 h w"]:
    """What the desired camera saw."""
    image = FlyingCameras(task.scene, task.camera, mismatch=task.mismatch).look(trajectory.T_wd[run : run + 1]).image
    assert image is not None
    return image[0]


def moments(count: int, most: int) -> list[int]:
    """At most so many of `count` views: the first and the last, and more at the beginning, where most of the way is made."""
    last = count - 1
    return sorted({round(last * (k / max(1, most - 1)) ** 1.7) for k in range(most)})


def strip_of(task: Task, trajectory: Trajectory, run: int, most: int = 5) -> list[tuple[str, np.ndarray]]:
    """Pictures of a run, and what they show: views on the way, the goal, and the differences of the first and the last from it."""
    goal = goal_of(task, trajectory, run)
    wanted = moments(int(trajectory.iterations[run]) + 1, most)
    t, r = trajectory.error_norms
    views: list[tuple[int, Tensor]] = []
    for k, image in enumerate(images_of(task, trajectory, run)):
        if k in wanted:
            views.append((k, image.clone()))
    pictures = [
        (
            f"{'start' if k == 0 else f'iteration {k}'}: {1000 * float(t[k, run]):.3g} mm, {float(torch.rad2deg(r[k, run])):.3g} deg",
            image,
        )
        for k, image in views
    ]
    pictures.append(("goal image", goal))
    pictures += [
        ("start - goal (grey: equal)", difference(views[0][1], goal)),
        ("end - goal", difference(views[-1][1], goal)),
    ]
    return [(caption, as_pixels(image)) for caption, image in pictures]
