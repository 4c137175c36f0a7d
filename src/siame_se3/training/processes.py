"""Several processes that make one training's steps together (torchrun), and sums in a fixed order within each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did: gloo on CPUs, NCCL on GPUs."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in place."""
    if world()[1] == 1:
        return
    flat = torch.cat([x.flatten() for x in tensors])
    dist.all_reduce(flat)
    for x, part in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
        x.copy_(part.reshape(x.shape))


def first_process_says(value: int, device: torch.device) -> int:
    """The first process's value, in all of them."""
    if world()[1] == 1:
        return value
    agreed = torch.tensor([value], device=device)
    dist.broadcast(agreed, 0)
    return int(agreed)


@contextmanager
def deterministic(on: bool, device: torch.device) -> Iterator[None]:
    """Sums in a fixed order while it lasts, so that a computation repeats itself bit for bit with the same number of threads.

    What does not by itself is the gradient of `x[index]`: with several threads it is summed by atomic additions, in any order. On a GPU,
    operations that have no deterministic form run as they are, and PyTorch warns of them.
    """
    before = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # made by torch at run time
    if on:
        if device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only to find mistakes
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]  # PyTorch's stubs do not have it
