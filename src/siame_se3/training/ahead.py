"""Batches planned ahead by processes of their own, so that a GPU does not wait for the CPU's part of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch.utils.data import DataLoader, Dataset

from siame_se3.scenes.planar import Scene
from siame_se3.training.batches import BatchSource, Plan
from siame_se3.training.schedule import Schedule


@dataclass(frozen=True)
class _Plans(Dataset[Plan]):
    """The plans of a training's groups, in their order, from a step on."""

    source: BatchSource
    groups: tuple[int, ...]
    first: int
    schedule: Schedule

    def __len__(self) -> int:
        return (self.schedule.steps - self.first) * len(self.groups)

    def __getitem__(self, k: int) -> Plan:
        step = self.first + k // len(self.groups)
        return self.source.plan(step, self.groups[k % len(self.groups)], self.schedule.share(step))


def _first(plans: list[Plan]) -> Plan:
    return plans[0]


def _extent(scene: Scene) -> Scene:
    """A scene for plans, which only ask for its size: one texel of it instead of its photo, which would be copied to each process."""
    return replace(scene, texture=scene.texture[:, :1, :1].cpu().clone())


def planned(source: BatchSource, groups: range, first: int, schedule: Schedule, workers: int) -> Iterator[Plan]:
    """The plans of groups `groups` of the steps from `first` on, made by so many processes a few ahead.

    The processes are started, not forked: this one may have threads (a page's, a driver's, the renderer's), with which a fork is unsafe.
    """
    light = BatchSource(
        [_extent(scene) for scene in source.scenes],
        *(source.camera, source.workspace, source.config, source.seed, source.output, source.device),
    )
    plans = _Plans(light, tuple(groups), first, schedule)
    loader = DataLoader(
        plans,
        batch_size=1,
        num_workers=workers,
        collate_fn=_first,
        prefetch_factor=4,
        multiprocessing_context="spawn",
    )
    return iter(loader)
