"""Endless training batches: sampling -> render -> augment -> teacher. Stateless: a batch is a function of seed and step."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.laws.pose import teacher_velocity
from siame_se3.scenes import views
from siame_se3.scenes.conditions import Conditions, apply, draw
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.render import render, render_prints
from siame_se3.training.data import DataConfig
from siame_se3.training.reliefs import Surface, draw_reliefs, render_reliefs


@dataclass(frozen=True)
class Batch:
    """Images of one group, the pairs to learn from, and what the teacher says of each pair."""

    images: Float[Tensor, "n 3 h w"]
    current: Tensor  # index of each pair's current view
    desired: Tensor  # index of its desired view
    target: Float[Tensor, "p 6"]  # velocity at gain 1, or pose vector [m, rad]
    weight: Float[Tensor, "p"]  # of each pair in the loss
    homography: Float[Tensor, "n 3 3"]  # plane from pixel
    bend: Float[
        Tensor, "n 2 k k"
    ]  # as `Conditions.bend`: a pixel shows what the homography has at the place displaced so
    scene: Scene  # one of the group's
    seconds: dict[str, float]
    surface: Surface | None = None  # of a group with reliefs


@dataclass(frozen=True)
class Plan:
    """What a batch will be: all that is drawn on the CPU, without its images. The views of a group's scenes follow each other."""

    scenes: list[int]  # numbers of the group's
    T_wc: Float[Tensor, "n 4 4"]
    current: Tensor
    desired: Tensor
    target: Float[Tensor, "p 6"]
    weight: Float[Tensor, "p"]
    conditions: Conditions
    noise: torch.Generator | int  # or the seed of a GPU's
    seconds: dict[str, float]
    reliefs: tuple[
        tuple[float, int], ...
    ] = ()  # height [m] and seed of each scene's, 0 for a flat one; none for flat scenes


class BatchSource:
    """Groups of views by step number; the same seed, step and group give the same batch, so training can resume anywhere."""

    def __init__(
        self,
        scenes: list[Scene],
        camera: Camera,
        workspace: Workspace,
        config: DataConfig,
        seed: int,
        output: Literal["velocity", "pose"] = "velocity",
        device: torch.device | str = "cpu",
    ) -> None:
        if not scenes:
            raise SceneError("no scene to train on; give at least one photo", "photos")
        sizes = {(*scene.texture.shape, scene.width, scene.height) for scene in scenes}
        if config.scenes > 1 and len(sizes) > 1:
            raise SceneError(
                "scenes of one group have to be of one size, in metres and texels; give them so, or one scene a group",
                "data.scenes",
            )
        self.scenes, self.camera, self.workspace, self.config = scenes, camera, workspace, config
        self.seed, self.output, self.device = seed, output, torch.device(device)

    def _generator(self, step: int, group: int) -> torch.Generator:
        # splitmix64 of (seed, step, group): neighbouring steps get unrelated streams
        x = (self.seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + group * 0x94D049BB133111EB) & (2**64 - 1)
        x ^= x >> 30
        x = (x * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        x ^= x >> 27
        return torch.Generator().manual_seed(x & (2**63 - 1))

    def _views(self, scene: Scene, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Poses, and indices of current and desired view of each pair, and its weight."""
        c, n = self.config, self.config.views
        if c.pairs == "paper":
            half = n // 2
            both = views.paired_views(half, scene, self.camera, self.workspace, generator, c.spread)
            index = torch.arange(half)
            return torch.cat(both), index + half, index, torch.ones(half)
        sets, n = c.scenes, n // c.scenes
        near = c.neighbours
        far = (n - near) // 2 if c.starts == "wide" else 0
        base = n - near - far
        drawn = views.training_views(sets * base, scene, self.camera, self.workspace, generator, c.spread)
        T = drawn.unflatten(0, (sets, base))
        if far:
            drawn = views.wide_views(sets * far, scene, self.camera, self.workspace, generator)
            T = torch.cat((T, drawn.unflatten(0, (sets, far))), 1)
        if near:
            bounds = (c.near_smallest, c.near_largest, c.near_orbit)
            drawn = views.near_views(T[:, :near].flatten(0, 1), self.workspace, generator, *bounds)
            T = torch.cat((T, drawn.unflatten(0, (sets, near))), 1)
        i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        distinct = (i != j) & ((j < base) | (j >= n - near))  # no desired view among the far ones
        i, j = i[distinct], j[distinct]
        neighbours = ((i - j).abs() == n - near) & (torch.minimum(i, j) < near)
        kept = torch.arange(len(i)).expand(sets, -1)
        if 0 < c.most_pairs < len(i):
            chance = torch.rand(sets, len(i), generator=generator) + neighbours
            kept = chance.topk(c.most_pairs).indices.sort().values
        first = n * torch.arange(sets)[:, None]
        weight = torch.where(neighbours, c.near_weight, 1.0)[kept].flatten()
        return T.flatten(0, 1), (i[kept] + first).flatten(), (j[kept] + first).flatten(), weight

    def _alike(self, generator: torch.Generator) -> Tensor:
        """Whose conditions each view has: its own, or for most neighbours those of the view that they belong to."""
        c, n = self.config, self.config.views // self.config.scenes
        if c.pairs == "paper":
            return torch.arange(2 * (c.views // 2))
        owner, near = torch.arange(c.views).unflatten(0, (c.scenes, n)), c.neighbours
        alike = torch.rand(c.scenes, near, generator=generator) < c.near_alike
        owner[:, n - near :] = torch.where(alike, owner[:, :near], owner[:, n - near :])
        return owner.flatten()

    def plan(self, step: int, group: int, progress: float = 1.0) -> Plan:
        """All of one group of a step but its images; progress (0 to 1, of the whole training) drives the curriculum."""
        c = self.config
        generator = self._generator(step, group)
        ramp = min(1.0, progress / c.curriculum) if c.curriculum > 0 else 1.0
        available = max(1, round(ramp * len(self.scenes)))
        chosen = torch.randint(available, (c.scenes,), generator=generator).tolist()
        scene = self.scenes[chosen[0]]
        t0 = time.perf_counter()
        T_wc, current, desired, weight = self._views(scene, generator)
        t1 = time.perf_counter()
        conditions = draw(len(T_wc), c.augmentation.scaled(ramp), (scene.width, scene.height), generator)
        conditions = conditions[self._alike(generator)]
        # By one lens, and of one surface: what is between two views is their motion.
        conditions = replace(conditions, bend=conditions.bend[:1].expand_as(conditions.bend))
        on_gpu = self.device.type == "cuda"  # random numbers where they are used
        noise = int(torch.randint(2**62, (1,), generator=generator)) if on_gpu else generator
        t2 = time.perf_counter()
        if self.output == "pose":
            target = lie.vector_from_pose(lie.inverse(T_wc[desired]) @ T_wc[current])
        else:
            target = teacher_velocity(c.teacher, T_wc[desired], T_wc[current])
        seconds = {"sample": t1 - t0, "augment": t2 - t1, "teacher": time.perf_counter() - t2}
        reliefs: tuple[tuple[float, int], ...] = ()
        if c.relief > 0:
            reliefs = draw_reliefs(
                T_wc.unflatten(0, (c.scenes, -1)), ramp * c.relief, c.relief_rate, self.workspace.distance, generator
            )
        return Plan(chosen, T_wc, current, desired, target.float(), weight, conditions, noise, seconds, reliefs)

    def images(self, plan: Plan) -> Batch:
        """The batch of a plan."""
        device, began = self.device, time.perf_counter()
        poses = plan.T_wc.to(device)
        scenes, surface = [self.scenes[k] for k in plan.scenes], None
        if any(tallest > 0 for tallest, _ in plan.reliefs):
            images, mask, surface = render_reliefs(scenes, plan.reliefs, self.camera, poses)
        elif len(scenes) == 1:
            images, mask = render(scenes[0], self.camera, poses)
        else:
            images, mask = render_prints(scenes, self.camera, poses), None
        t1 = time.perf_counter()
        homography = plane_from_pixel(self.camera, poses)
        noise = plan.noise
        if isinstance(noise, int):
            noise = torch.Generator(device).manual_seed(noise)
        conditions = plan.conditions.to(device)
        images = apply(images, conditions, homography, noise, mask if len(scenes) == 1 else None)
        t2 = time.perf_counter()
        seconds = {**plan.seconds, "render": t1 - began, "augment": plan.seconds["augment"] + t2 - t1}
        current, desired, target, weight = (
            x.to(device) for x in (plan.current, plan.desired, plan.target, plan.weight)
        )
        return Batch(images, current, desired, target, weight, homography, conditions.bend, scenes[0], seconds, surface)

    def batch(self, step: int, group: int, progress: float = 1.0) -> Batch:
        """One group of a step; see `plan`."""
        return self.images(self.plan(step, group, progress))
