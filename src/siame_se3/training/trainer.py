"""One step of a training: batches, gradients, optimisers, the running average. The loop around it is `driver.run`.

Everything random comes from (seed, step), so the state is the weights, their average, the optimisers' moments and the step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from siame_se3.errors import InputError, ModelError, TrainingError
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.homography import homography_of
from siame_se3.networks.losses import GROUPS, LossConfig, ServoLoss, match_loss, plane_loss, where_loss
from siame_se3.networks.pooling import CellPoints, HomographyPool
from siame_se3.networks.siamese import SiameseNetwork
from siame_se3.training.ahead import planned
from siame_se3.training.batches import Batch, BatchSource, Plan
from siame_se3.training.cells import cell_matches, cell_points
from siame_se3.training.muon import Float32Muon, as_matrix
from siame_se3.training.processes import deterministic, sum_over_processes, world
from siame_se3.training.recipe import TrainConfig
from siame_se3.training.schedule import Schedule


class Trainer:
    """Weights, average, optimisers and step; `advance` makes one step.

    Groups of views are shared out to the processes; each group has its own batch statistics, gradients and running
    statistics are averaged over groups. So any number of processes that divides `groups` makes the same step.

    Args:
        config: with its number of steps.
        initial: weights to start from, of a network with the same backbone and pooling, with or without those of its head; None
            for random ones (of the data's seed).

    Raises:
        TrainingError: no number of steps, or groups that the processes cannot share.
        ModelError: initial weights of another network.
        InputError: an auxiliary task that the network has no map for.
    """

    def __init__(
        self,
        network: NetworkConfig,
        loss: LossConfig,
        data: BatchSource,
        config: TrainConfig,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        if config.steps is None:
            raise TrainingError("training: no number of steps; give one", "steps")
        network = network.seen_by(data.camera, data.scenes[0].width)
        self.network_config, self.loss_config, self.data, self.config = network, loss, data, config.on(data.device)
        self.schedule = Schedule(config.steps, config.steps)
        rank, processes = world()
        if data.config.groups % processes:
            raise TrainingError(
                f"training: {data.config.groups} groups cannot be shared by {processes} processes; give a multiple",
                "data.groups",
            )
        self.my_groups = range(rank, data.config.groups, processes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            self.network = SiameseNetwork(network)
            # What is thrown away after training: loss weights, and the layers of the auxiliary task where the network has none.
            self.loss = ServoLoss(loss)
            own = network.pooling in ("homography", "descriptors", "context")
            self.where = CellPoints(self.network.channels) if loss.where > 0 and not own else None
        if self.where is not None and network.pooling != "spatial":
            raise InputError(
                f"loss: the weight 'where' is {loss.where}, and pooling '{network.pooling}' has no map for it; give 0, "
                "or pooling spatial, homography or descriptors",
                *("loss.where", "network.pooling"),
            )
        self.initial_sum = 0.0  # distinguishes trainings from other initial weights
        if initial is not None:
            self._start_from(initial)
        for module in (self.loss, self.where, self.network):
            if module is not None:
                module.to(data.device)
        self.network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        self.optimisers = self._optimisers()
        self.step = 0
        self.seconds = 0.0
        self.evaluated = 0  # the last step that was evaluated in closed loop
        self._ahead: Iterator[Plan] | None = None
        self.shares: dict[str, float] = {}

    def _start_from(self, initial: Mapping[str, Tensor]) -> None:
        self.initial_sum = float(sum(w.double().sum() for w in initial.values()))
        mine = self.network.state_dict()
        other = {k for k in mine.keys() - initial.keys() if not k.startswith("head.")} | (initial.keys() - mine.keys())
        other |= {k for k in mine.keys() & initial.keys() if mine[k].shape != initial[k].shape}
        if other:
            raise ModelError(f"initial weights are of another network: {min(other)}; give those of one like it", "init")
        self.network.load_state_dict(dict(initial), strict=False)

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
        self._matrices = [(p, nn.Parameter(as_matrix(p.detach()))) for p in by_muon]
        assert all(m.data_ptr() == p.data_ptr() for p, m in self._matrices), "Muon must work on the weights' own memory"
        kind = torch.optim.Muon if c.precision == "bf16" else Float32Muon
        muon = kind([{"params": [m for _, m in self._matrices], "weight_decay": 0.0, "peak": c.lr_muon}])
        return [muon, adamw]

    @property
    def steps(self) -> int:
        """How many there are to be, as it is planned now."""
        return self.schedule.steps

    def plan(self, schedule: Schedule) -> None:
        """Go on by another one."""
        self.schedule, self._ahead = schedule, None

    def lr(self) -> float:
        """Share of the peak learning rates."""
        return self.schedule.one_cycle(self.step, self.config.warmup)

    def _parameters(self) -> list[Tensor]:
        modules = [m for m in (self.network, self.loss, self.where) if m is not None]
        return [p for m in modules for p in m.parameters() if p.requires_grad]

    def _buffers(self) -> list[Tensor]:
        kept = self.network.state_dict().keys()
        return [b for name, b in self.network.named_buffers() if name in kept and b.is_floating_point()]

    def advance(self) -> tuple[float, dict[str, float]]:
        """One step; returns the loss, and the mean error of each loss group [m or rad] and of 'where' [half scene widths] or 'match' [half images]."""
        began = time.perf_counter()
        with deterministic(not self.config.fast, self.data.device):
            total, where = self._gradients()
            self._apply()
        self.step += 1
        self._average()
        loss, errors = float(total[0]), self._named(total[1:].tolist(), float(where))  # a GPU's work is done here
        self.seconds += time.perf_counter() - began
        return loss, errors

    def _gradients(self) -> tuple[Tensor, Tensor]:
        """Gradients and running statistics of the step, means over its groups; the loss with its groups' errors, and the auxiliary error."""
        groups = self.data.config.groups
        self.network.train()
        for p in self._parameters():
            p.grad = None
        before = [b.clone() for b in self._buffers()]
        after = [torch.zeros_like(b) for b in before]
        total = torch.zeros(1 + len(self.loss.groups), device=self.data.device)
        where = torch.zeros(1, device=self.data.device)
        for group in self.my_groups:
            for b, value in zip(self._buffers(), before, strict=True):
                b.copy_(value)
            loss, errors, distance = self._loss_of(group)
            where += distance / groups
            (loss / groups).backward()
            total += torch.cat((loss.detach()[None], errors)) / groups
            for a, b in zip(after, self._buffers(), strict=True):
                a += b / groups
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters()]
        sum_over_processes([*gradients, *after, total, where])
        for b, value in zip(self._buffers(), after, strict=True):
            b.copy_(value)
        for p, g in zip(self._parameters(), gradients, strict=True):
            p.grad = g
        return total, where

    def _batch(self, group: int) -> Batch:
        """Of this step; groups are asked for in their order."""
        if not self.config.workers:
            return self.data.batch(self.step, group, self.schedule.share(self.step))
        if self._ahead is None:
            self._ahead = planned(self.data, self.my_groups, self.step, self.schedule, self.config.workers)
        return self.data.images(next(self._ahead))

    def _loss_of(self, group: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of one group of views: the loss, each loss group's error, the auxiliary task's error."""
        batch = self._batch(group)
        for name, seconds in batch.seconds.items():
            self.shares[name] = self.shares.get(name, 0.0) + seconds
        with torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            features = self.network.features(batch.images)
        y_hat, auxiliary, distance = self._outputs(batch, features)
        loss, errors = self.loss(y_hat, batch.target / self.network.scale, batch.weight)
        if self.loss_config.velocity == 0:
            return auxiliary, errors, distance
        return self.loss_config.velocity * loss + auxiliary, errors, distance

    def _apply(self) -> None:
        """Clip the gradients, and let the optimisers step."""
        torch.nn.utils.clip_grad_norm_(self._parameters(), self.config.clip)
        for p, matrix in self._matrices:
            assert p.grad is not None
            matrix.grad, p.grad = as_matrix(p.grad), None
        share = self.lr()
        for optimiser in self.optimisers:
            for settings in optimiser.param_groups:
                settings["lr"] = share * settings["peak"]
            optimiser.step()

    def _average(self) -> None:
        decay = min(self.config.average, self.step / (self.step + 9))
        for ours, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - decay)
            else:
                ours.copy_(theirs)

    def _outputs(self, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a batch's pairs what the network says; the auxiliary task's loss, weighted, and its mean error."""
        c, network, cells = self.loss_config, self.network, features.shape[-2:]
        s = network.pooled(features)
        none = torch.zeros((), device=s.device)
        if network.matches:
            return self._matched(batch, s, cells)
        y_hat = network.regress_pairs(s, batch.current, batch.desired)
        if c.where == 0:
            return y_hat, none, none
        own = network.pool.points if isinstance(network.pool, HomographyPool) else self.where
        assert own is not None
        (seen, log_scale), (points, known) = own(features), cell_points(batch, *cells)
        where, distance = where_loss(seen, log_scale, points, known)
        return y_hat, c.where * where, distance

    def _matched(self, batch: Batch, s: Tensor, cells: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        """`_outputs` of a network whose cells say where in the desired image they are."""
        c, network = self.loss_config, self.network
        half = self.config.precision == "bf16" and network.config.fusion == "plane"
        with torch.autocast(s.device.type, torch.bfloat16, enabled=half):
            found = network.matching.match(s[batch.current], s[batch.desired])
        with torch.set_grad_enabled(c.velocity > 0):
            y_hat = network.regress_matches(found, s, batch.desired)
        points, known = cell_matches(batch, cells[0], cells[1])
        where, distance = where_loss(found.points, found.log_scale, points, known)
        auxiliary = c.where * where + c.match * match_loss(found.log_p, points, known)
        if c.plane > 0:
            H = homography_of(network.matching.fit(found.points, found.log_scale), network.matching.units)
            weight = batch.weight
            if batch.surface is not None:  # no homography says where the cells of a relief are
                flat = ~batch.surface.raised[batch.current]
                H, points, known, weight = H[flat], points[flat], known[flat], weight[flat]
            plane, distance = plane_loss(H, network.matching.uv, points, known, weight)
            auxiliary = auxiliary + c.plane * plane
        return y_hat, auxiliary, distance

    def _named(self, errors: list[float], where: float) -> dict[str, float]:
        names = ("v_xy", "v_z", "w_xy", "w_z") if self.loss_config.kind == "eq6" else ("v", "w")
        first_axis = [g.start for g in GROUPS[self.loss_config.kind]]
        scale = self.network_config.output_scale
        named = {name: e * scale[axis] for name, e, axis in zip(names, errors, first_axis, strict=True)}
        if self.loss_config.where == 0:
            return named
        return {**named, "match" if self.network.matches else "where": where}

    def result(self) -> SiameseNetwork:
        """A copy of the network to keep, in eval mode on the training's device: the averaged weights (or the last ones, with `average` 0).

        A copy, so that whoever moves it to another device, or evaluates it, leaves the training as it is.
        """
        network = copy.deepcopy(self.average if self.config.average > 0 else self.network)
        if (
            self.config.kept == "geometric"
            and network.config.fusion == "relative"
            and network.config.pooling == "homography"
        ):
            network = network.without_head()
        return network.requires_grad_(False).eval()
