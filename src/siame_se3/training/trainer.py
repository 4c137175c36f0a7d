"""Training: one readable loop, bit-exact to resume, on one process or several.

Everything random comes from (seed, step), so the state is the weights, their average, the optimiser's moments and the step.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from siame_se3.errors import SiameError
from siame_se3.files import atomically
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import GROUPS, LossConfig, ServoLoss, match_loss, where_loss
from siame_se3.networks.pooling import CellPoints, HomographyPool
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.training.batches import Batch, BatchSource, cell_matches, cell_points

STATE_FORMAT = "siame-se3 training state"


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: optimiser steps; the learning rate is a one-cycle over them.
        optimiser: 'muon' for the matrices (Jordan et al. 2024; a third fewer steps here) with AdamW for the rest, or 'adamw'.
        lr: peak learning rate of AdamW (1e-4, the paper's, for EfficientNet-B3 from ImageNet weights).
        lr_muon: peak learning rate of Muon.
        lr_loss: of the loss weights, as a multiple of lr (the paper's 5e-4 / 1e-4).
        weight_decay: AdamW's, on matrices.
        warmup: share of the steps over which the learning rate rises.
        clip: largest norm of the gradient.
        average: decay of the running average of the weights that is kept as the result; 0 for the last weights.
        precision: 'bf16' autocast or 'f32'.
        checkpoint_seconds: time between saved states [s].
        evaluations: closed-loop evaluations on the way.
        log_every: steps between log lines.
    """

    steps: int = 1000
    optimiser: Literal["muon", "adamw"] = "muon"
    lr: float = 3e-3
    lr_muon: float = 0.04
    lr_loss: float = 5.0
    weight_decay: float = 0.01
    warmup: float = 0.15
    clip: float = 5.0
    average: float = 0.99
    precision: Literal["bf16", "f32"] = "bf16"
    checkpoint_seconds: float = 30.0
    evaluations: int = 4
    log_every: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1 or self.log_every < 1:
            raise SiameError("--train.steps and --train.log-every: give 1 or more")
        if not (self.lr > 0 and self.lr_muon > 0):
            raise SiameError("--train.lr and --train.lr-muon: give learning rates above 0")
        if not 0 <= self.average < 1:
            raise SiameError(f"--train.average {self.average}: give a decay from 0 (off) to below 1")


@dataclass
class Progress:
    """What the loop reports; see `train`'s `report`."""

    step: int
    steps: int
    loss: float
    # mean error of each loss group [m or rad], and of 'where' [half scene widths] or 'match' [half images]
    groups: dict[str, float]
    lr: float  # share of the peak
    seconds: float  # since the (first) start, pauses left out
    images: int
    shares: dict[str, float] = field(default_factory=dict)  # of the time: sample, render, augment, teacher, network


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


class Trainer:
    """Weights, average, optimiser and step; `advance` makes one step.

    Groups of views are shared out to the processes; each group has its own batch statistics, gradients and running
    statistics are averaged over groups. So any number of processes that divides `groups` makes the same step.

    Args:
        initial: weights to start from, of a network with the same backbone and pooling, with or without those of its head; None
            for random ones (of the data's seed).
    """

    def __init__(
        self,
        network: NetworkConfig,
        loss: LossConfig,
        data: BatchSource,
        config: TrainConfig,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        network = network.seen_by(data.camera, data.scenes[0].width)
        self.network_config, self.loss_config, self.data, self.config = network, loss, data, config
        rank, processes = world()
        if data.config.groups % processes:
            raise SiameError(
                f"{data.config.groups} groups cannot be shared by {processes} processes; set --data.groups to a multiple"
            )
        self.my_groups = range(rank, data.config.groups, processes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            self.network = SiameseNetwork(network)
            # What is thrown away after training: loss weights, and the layers of the auxiliary task where the network has none.
            self.loss = ServoLoss(loss)
            own = network.pooling in ("homography", "descriptors")
            self.where = CellPoints(self.network.channels) if loss.where > 0 and not own else None
        if self.where is not None and network.pooling != "spatial":
            raise SiameError("--loss.where needs --network.pooling spatial, homography or descriptors; set one of them")
        self._initial = 0.0 if initial is None else float(sum(w.double().sum() for w in initial.values()))
        if initial is not None:
            mine = self.network.state_dict()
            other = {k for k in mine.keys() - initial.keys() if not k.startswith("head.")} | (
                initial.keys() - mine.keys()
            )
            other |= {k for k in mine.keys() & initial.keys() if mine[k].shape != initial[k].shape}
            if other:
                raise SiameError(f"initial weights are of another network: {min(other)}")
            self.network.load_state_dict(dict(initial), strict=False)
        self.loss.to(data.device)
        if self.where is not None:
            self.where.to(data.device)
        self.network.to(data.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        self.optimisers = self._optimisers()
        self.step = 0
        self.seconds = 0.0
        self.shares: dict[str, float] = {}

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """AdamW for all; or Muon for the matrices (convolutions as output x rest) and AdamW for what is left."""
        c = self.config
        weights = [*self.network.parameters(), *(self.where.parameters() if self.where is not None else ())]
        last: Any = self.network.head[-1] if len(self.network.head) else None
        by_muon = [
            p
            for p in self.network.parameters()
            if c.optimiser == "muon"
            and p.ndim > 1
            and min(p.shape[0], p[0].numel()) >= 16
            and (last is None or p is not last.weight)
        ]
        ours = {id(p) for p in by_muon}
        rest = [p for p in weights if id(p) not in ours]
        adamw = torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": c.weight_decay, "peak": c.lr},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "peak": c.lr},
                {"params": list(self.loss.parameters()), "weight_decay": 0.0, "peak": c.lr * c.lr_loss},
            ],
            fused=self.data.device.type == "cuda",
        )
        if not by_muon:
            return [adamw]
        # torch's Muon takes 2-D parameters: views of the same memory (columns in memory order; Muon does not mind which).
        self._matrices = [(p, nn.Parameter(self._flat(p.detach()))) for p in by_muon]
        assert all(m.data_ptr() == p.data_ptr() for p, m in self._matrices), "Muon must work on the weights' own memory"
        muon = torch.optim.Muon([{"params": [m for _, m in self._matrices], "weight_decay": 0.0, "peak": c.lr_muon}])
        return [muon, adamw]

    @staticmethod
    def _flat(p: Tensor) -> Tensor:
        return p.permute(0, *range(2, p.ndim), 1).flatten(1) if p.ndim > 2 else p

    def lr(self) -> float:
        """Share of the peak learning rates. One-cycle: cosine up over the warm-up, cosine down to zero at the last step."""
        c = self.config
        rise = max(1.0, c.warmup * c.steps)
        if self.step < rise:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * (self.step + 1) / rise)) / 2
        return (1 + math.cos(math.pi * (self.step + 1 - rise) / max(1.0, c.steps - rise))) / 2

    def _parameters(self) -> list[Tensor]:
        modules = [m for m in (self.network, self.loss, self.where) if m is not None]
        return [p for m in modules for p in m.parameters() if p.requires_grad]

    def _buffers(self) -> list[Tensor]:
        kept = self.network.state_dict().keys()
        return [b for name, b in self.network.named_buffers() if name in kept and b.is_floating_point()]

    def advance(self) -> tuple[float, dict[str, float]]:
        """One step; returns the loss, and the mean error of each loss group [m or rad] and of 'where' [half scene widths] or 'match' [half images]."""
        c, groups = self.config, self.data.config.groups
        began = time.perf_counter()
        self.network.train()
        for p in self._parameters():
            p.grad = None
        before = [b.clone() for b in self._buffers()]
        after = [torch.zeros_like(b) for b in before]
        total = torch.zeros(1 + len(self.loss.groups), device=self.data.device)
        total_where = torch.zeros(1, device=self.data.device)
        for group in self.my_groups:
            for b, value in zip(self._buffers(), before, strict=True):
                b.copy_(value)
            batch = self.data.batch(self.step, group, self.step / c.steps)
            for name, seconds in batch.seconds.items():
                self.shares[name] = self.shares.get(name, 0.0) + seconds
            with torch.autocast(self.data.device.type, torch.bfloat16, enabled=c.precision == "bf16"):
                features = self.network.features(batch.images)
            y_hat, auxiliary, distance = self._outputs(batch, features)
            loss, errors = self.loss(y_hat, batch.target / self.network.scale, batch.weight)
            loss = loss + auxiliary
            total_where += distance / groups
            (loss / groups).backward()
            total += torch.cat((loss.detach()[None], errors)) / groups
            for a, b in zip(after, self._buffers(), strict=True):
                a += b / groups
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters()]
        if world()[1] > 1:
            everything = [*gradients, *after, total, total_where]
            flat = torch.cat([x.flatten() for x in everything])
            dist.all_reduce(flat)
            for x, part in zip(everything, flat.split([x.numel() for x in everything]), strict=True):
                x.copy_(part.reshape(x.shape))
        for b, value in zip(self._buffers(), after, strict=True):
            b.copy_(value)
        for p, g in zip(self._parameters(), gradients, strict=True):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(self._parameters(), c.clip)
        for p, matrix in self._matrices:
            assert p.grad is not None
            matrix.grad, p.grad = self._flat(p.grad), None
        share = self.lr()
        for optimiser in self.optimisers:
            for settings in optimiser.param_groups:
                settings["lr"] = share * settings["peak"]
            optimiser.step()
        self.step += 1
        decay = min(c.average, self.step / (self.step + 9))
        for ours, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - decay)
            else:
                ours.copy_(theirs)
        self.seconds += time.perf_counter() - began
        return float(total[0]), self._named(total[1:].tolist(), float(total_where))

    def _outputs(self, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a batch's pairs what the network says; the auxiliary task's loss, weighted, and its mean error."""
        c, network, cells = self.loss_config, self.network, features.shape[-2:]
        s = network.pooled(features)
        none = torch.zeros((), device=s.device)
        if network.config.fusion == "matching":
            found = network.matching.match(s[batch.current], s[batch.desired])
            y_hat = network.regress_matches(found, s, batch.desired)
            points, known = cell_matches(batch, *cells)
            where, distance = where_loss(found.points, found.log_scale, points, known)
            return y_hat, c.where * where + c.match * match_loss(found.log_p, points, known), distance
        y_hat = network.regress_pairs(s, batch.current, batch.desired)
        if c.where == 0:
            return y_hat, none, none
        own = network.pool.points if isinstance(network.pool, HomographyPool) else self.where
        assert own is not None
        (seen, log_scale), (points, known) = own(features), cell_points(batch, *cells)
        where, distance = where_loss(seen, log_scale, points, known)
        return y_hat, c.where * where, distance

    def _named(self, errors: list[float], where: float) -> dict[str, float]:
        names = ("v_xy", "v_z", "w_xy", "w_z") if self.loss_config.kind == "eq6" else ("v", "w")
        first_axis = [g.start for g in GROUPS[self.loss_config.kind]]
        scale = self.network_config.output_scale
        named = {name: e * scale[axis] for name, e, axis in zip(names, errors, first_axis, strict=True)}
        if self.loss_config.where == 0:
            return named
        return {**named, "match" if self.network_config.fusion == "matching" else "where": where}

    # State on disk: safetensors, no pickle.

    def _identity(self) -> str:
        data = self.data
        parts = {
            "network": dataclasses.asdict(self.network_config),
            "loss": dataclasses.asdict(self.loss_config),
            "data": dataclasses.asdict(data.config),
            "train": dataclasses.asdict(self.config),
            "workspace": dataclasses.asdict(data.workspace),
            "camera": dataclasses.asdict(data.camera),
            "scenes": [
                [s.name, s.width, s.height, list(s.texture.shape), float(s.texture.double().sum())] for s in data.scenes
            ],
            "seed": data.seed,
            "output": data.output,
            "initial": self._initial,
        }
        return json.dumps(parts, sort_keys=True)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"loss.{k}": v for k, v in self.loss.state_dict().items()}
        if self.where is not None:
            tensors |= {f"where.{k}": v for k, v in self.where.state_dict().items()}
        for n, optimiser in enumerate(self.optimisers):
            for k, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{n}.{k}.{name}": value for name, value in state.items()}
        return tensors

    def save(self, path: Path) -> None:
        """Write the state atomically: after a kill there is this one or the one before."""
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in self._tensors().items()}
        metadata = {
            "format": STATE_FORMAT,
            "version": "1",
            "identity": self._identity(),
            "step": str(self.step),
            "seconds": repr(self.seconds),
            "shares": json.dumps(self.shares),
        }
        atomically(path, lambda partial: save_file(tensors, partial, metadata))

    def load(self, path: Path) -> None:
        """Go on from a saved state of the same training.

        Raises:
            SiameError: the file is damaged, or of a training with other options.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != STATE_FORMAT:
                    raise SiameError(f"{path}: not a training state; remove it, or give another --out")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError):
            raise SiameError(f"{path}: a damaged training state; remove it to start anew") from None
        damaged = SiameError(f"{path}: a damaged training state; remove it to start anew")
        try:
            mine, theirs = json.loads(self._identity()), dict(json.loads(metadata["identity"]))
            step, seconds = int(metadata["step"]), float(metadata["seconds"])
            shares = {str(k): float(v) for k, v in json.loads(metadata["shares"]).items()}
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
            raise damaged from None
        if mine != theirs:
            other = ", ".join(k for k in mine if mine[k] != theirs.get(k))
            raise SiameError(
                f"{path}: state of a training with other options ({other}); give the same ones, remove it, or another --out"
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.network.load_state_dict(part("network."), strict=True)
            self.average.load_state_dict(part("average."), strict=True)
            self.loss.load_state_dict(part("loss."), strict=True)
            if self.where is not None:
                self.where.load_state_dict(part("where."), strict=True)
            for n, optimiser in enumerate(self.optimisers):
                state: dict[int, dict[str, Tensor]] = {}
                for key, value in part(f"optimiser.{n}.").items():
                    index, name = key.split(".")
                    state.setdefault(int(index), {})[name] = value
                full = optimiser.state_dict()
                moved = [k for k in range(sum(len(g["params"]) for g in full["param_groups"])) if k in state]
                expected = sum(p.requires_grad for g in optimiser.param_groups for p in g["params"])
                if step > 0 and len(moved) != expected:
                    raise damaged
                full["state"] = state
                optimiser.load_state_dict(full)
        except (RuntimeError, KeyError, ValueError):
            raise damaged from None
        self.step, self.seconds, self.shares = step, seconds, shares

    def result(self) -> SiameseNetwork:
        """The network to keep: the averaged weights (or the last ones, with `average` 0), in eval mode."""
        return (self.average if self.config.average > 0 else self.network).eval()


def steps_in(minutes: float, network: NetworkConfig, loss: LossConfig, data: BatchSource, config: TrainConfig) -> int:
    """How many steps fit: the median of some steps of a throw-away trainer, rounded down to tens."""
    trial = Trainer(network, loss, data, config)
    times = []
    for _ in range(12):
        before = trial.seconds
        trial.advance()
        times.append(trial.seconds - before)
    typical = sorted(times[3:])[len(times[3:]) // 2]
    steps = max(20, int(minutes * 60 / typical) // 10 * 10)
    if world()[1] > 1:
        agreed = torch.tensor([steps], device=data.device)
        dist.broadcast(agreed, 0)
        steps = int(agreed)
    return steps


def train(
    trainer: Trainer,
    state_path: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    evaluate: Callable[[SiameseNetwork, int], Any] | None = None,
) -> SiameseNetwork:
    """Train to the last step, from where `state_path` left off if it is there.

    Args:
        trainer: made for the run.
        state_path: where the state is saved now and then (by the first process), None for nowhere.
        report: told every `log_every` steps.
        evaluate: called now and then with the network as it would be kept, and the step (first process only).
    """
    c = trainer.config
    first = world()[0] == 0
    if state_path is not None and state_path.is_file():
        trainer.load(state_path)
    saved = time.monotonic()
    marks = {round(c.steps * (k + 1) / c.evaluations) for k in range(c.evaluations)} if c.evaluations > 0 else set()
    while trainer.step < c.steps:
        loss, errors = trainer.advance()
        if not math.isfinite(loss):
            raise SiameError(f"training: the loss is {loss} at step {trainer.step}; lower --train.lr (now {c.lr})")
        done = trainer.step == c.steps
        if first and (trainer.step % c.log_every == 0 or done):
            spent = max(trainer.seconds, 1e-9)
            shares = {k: v / spent for k, v in trainer.shares.items()}
            images = trainer.step * trainer.data.config.groups * trainer.data.config.views
            report(Progress(trainer.step, c.steps, loss, errors, trainer.lr(), trainer.seconds, images, shares))
        if first and state_path is not None and (time.monotonic() - saved > c.checkpoint_seconds or done):
            trainer.save(state_path)
            saved = time.monotonic()
        if first and evaluate is not None and trainer.step in marks:
            evaluate(trainer.result(), trainer.step)
    return trainer.result()
