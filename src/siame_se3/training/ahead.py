"""Batches planned ahead by processes of their own, so that a GPU does not wait for the CPU's part of a step."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch

from siame_se3.scenes.planar import Scene
from siame_se3.training.batches import BatchSource, Plan
from siame_se3.training.schedule import Schedule


@dataclass(frozen=True)
class _Plans:
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


_AHEAD = 4  # plans of each process that wait
_mine: list[_Plans] = []  # in a process that plans


def _begin(plans: _Plans) -> None:
    """In a process that plans: Ctrl-C is for the one that trains, and where that is gone there is nothing to plan for."""
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    threading.Thread(target=_end_with, args=(trainer.sentinel,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _mine.append(plans)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _plan(k: int) -> Plan:
    return _mine[0][k]


def _extent(scene: Scene) -> Scene:
    """A scene for plans, which only ask for its size: one texel of it instead of its photo, which would be copied to each process."""
    return replace(scene, texture=scene.texture[:, :1, :1].cpu().clone())


def planned(source: BatchSource, groups: range, first: int, schedule: Schedule, workers: int) -> Iterator[Plan]:
    """The plans of groups `groups` of the steps from `first` on, made by so many processes a few ahead.

    The processes are started, not forked: this one may have threads (a page's, a driver's, the renderer's), with which a fork is unsafe. And they are not
    those of PyTorch's DataLoader, which leaves a handler of SIGCHLD in this process: where a signal's frame could not be set up, the end of a child ended
    a whole process of the tests.
    """
    light = BatchSource(
        [_extent(scene) for scene in source.scenes],
        *(source.camera, source.workspace, source.config, source.seed, source.output, source.device),
    )
    plans = _Plans(light, tuple(groups), first, schedule)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (plans,))
    try:
        waiting = deque(pool.submit(_plan, k) for k in range(min(_AHEAD * workers, len(plans))))
        for k in range(len(plans)):
            plan = waiting.popleft().result()
            if (later := k + _AHEAD * workers) < len(plans):
                waiting.append(pool.submit(_plan, later))
            yield plan
    finally:
        pool.shutdown(cancel_futures=True)
