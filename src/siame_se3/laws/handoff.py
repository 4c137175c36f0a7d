"""The hand-off: a coarse law until its motion has settled, then a fine one (paper, Sec. V: the network, then photometric VS)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.laws.types import Advice, Controller, Law, StatefulLaw, View, advise


@dataclass(frozen=True)
class Handoff:
    """Two laws in turn, run by run.

    A run goes over to the fine law when the coarse one has settled: the motion that it still asks for is a twentieth of
    `near_t` and `near_r`, or is below them and has not become a tenth smaller for `patience` iterations; noise may keep it from
    ever being zero. It comes back when the fine law has a fault, or when its cost has risen to `rise` times what it was at the
    hand-off, `returns` times at most; after that it stays with the coarse law.

    Attributes:
        coarse, fine: controllers; the fine one gives a cost (photometric laws do).
        near_t, near_r: largest motion asked for, at gain 1, at which the fine law may take over [m, rad].
        patience: iterations.
        rise: factor of the cost.
        returns: how often a run may come back.
    """

    coarse: Controller
    fine: Controller
    near_t: float = 0.05
    near_r: float = math.radians(5)
    patience: int = 4
    rise: float = 1.5
    returns: int = 3

    @property
    def needs(self) -> frozenset[str]:
        """What either law needs."""
        return self.coarse.needs | self.fine.needs

    def aim(self, target: View) -> HandoffLaw:
        """Both laws, and every run in the coarse one."""
        anchor = target.image if target.image is not None else None
        if anchor is None:
            raise SiameError("handoff: the target has no image; give the desired photo")
        batch = anchor.shape[:-3]
        n = math.prod(batch)
        many = View(
            anchor.reshape(n, *anchor.shape[-3:]),
            None if target.T_wc is None else target.T_wc.reshape(n, 4, 4),
            None if target.depth is None else target.depth.reshape(n),
            target.camera,
        )
        memory = _Memory(
            stage=torch.zeros(n, dtype=torch.long),
            least=torch.full((n,), math.inf, dtype=torch.float64),
            waited=torch.zeros(n, dtype=torch.long),
            reference=torch.full((n,), math.inf, dtype=torch.float64),
            returned=torch.zeros(n, dtype=torch.long),
        )
        return HandoffLaw(self, self.coarse.aim(many), self.fine.aim(many), batch, memory)


@dataclass(frozen=True, eq=False)
class _Memory:
    """Of each run."""

    stage: Tensor  # 0 coarse, 1 fine
    least: Tensor  # smallest motion asked for by the coarse law since it began, in units of (near_t, near_r)
    waited: Tensor  # iterations since that became a tenth smaller
    reference: Tensor  # cost of the fine law when it took over, infinite before
    returned: Tensor  # how often it came back

    def map(self, change: Any) -> _Memory:
        return _Memory(**{name: change(name, value) for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class HandoffLaw:
    """See `Handoff`."""

    controller: Handoff
    coarse: Law
    fine: Law
    batch: torch.Size
    memory: _Memory
    # The runs that were in each stage last, and their law: not cut out anew while they stay the same.
    parts: tuple[tuple[Tensor, Law] | None, tuple[Tensor, Law] | None] = (None, None)

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return self.advise(view).v

    def advise(self, view: View) -> Advice:
        """The stage's velocity of each run, and the stage that it goes on in."""
        c, m = self.controller, self.memory.map(lambda _, x: x.clone())
        n = len(m.stage)
        image = None if view.image is None else view.image.reshape(n, *view.image.shape[-3:])
        T_wc = None if view.T_wc is None else view.T_wc.reshape(n, 4, 4)
        flat = View(image, T_wc, None if view.depth is None else view.depth.reshape(n), view.camera)
        v = torch.zeros(n, 6, dtype=torch.float64)
        faults = [""] * n
        laws: list[Law] = [self.coarse, self.fine]
        parts: list[tuple[Tensor, Law] | None] = [None, None]
        used = torch.zeros(n, dtype=torch.long)

        def ask(stage: int, runs: Tensor) -> Advice:
            known = self.parts[stage]
            part = known[1] if known is not None and torch.equal(known[0], runs) else laws[stage][runs]
            advice = advise(part, flat[runs])
            parts[stage] = (runs, advice.law)
            v[runs] = advice.v.double().cpu()
            used[runs] = stage
            for k, fault in zip(runs.tolist(), advice.faults, strict=True):
                faults[k] = fault
            law = laws[stage]
            laws[stage] = law.updated(runs, advice.law) if isinstance(law, StatefulLaw) else law
            return advice

        fine = (m.stage == 1).nonzero()[:, 0]
        if len(fine):
            advice = ask(1, fine)
            cost = torch.zeros(len(fine)) if advice.cost is None else advice.cost.double().cpu()
            m.reference[fine] = torch.where(m.reference[fine].isinf(), cost, m.reference[fine])
            bad = torch.tensor([faults[k] != "" for k in fine.tolist()])
            back = fine[bad | (cost > c.rise * m.reference[fine] + 1e-12)]
            m.stage[back] = 0
            m.least[back] = math.inf
            m.reference[back] = math.inf
            m.waited[back] = 0
            m.returned[back] += 1
        coarse = (m.stage == 0).nonzero()[:, 0]
        if len(coarse):
            ask(0, coarse)
            asked = torch.maximum(v[coarse, :3].norm(dim=1) / c.near_t, v[coarse, 3:].norm(dim=1) / c.near_r)
            smaller = asked < 0.9 * m.least[coarse]
            m.least[coarse] = torch.where(smaller, asked, m.least[coarse])
            m.waited[coarse] = torch.where(smaller, 0, m.waited[coarse] + 1)
            valid = torch.tensor([faults[k] == "" for k in coarse.tolist()])
            settled = valid & (asked < 1) & ((m.waited[coarse] >= c.patience) | (asked < 0.05))
            over = coarse[settled & (m.returned[coarse] <= c.returns)]
            m.stage[over] = 1
        law = HandoffLaw(c, laws[0], laws[1], self.batch, m, (parts[0], parts[1]))
        return Advice(v.reshape(*self.batch, 6), tuple(faults), law, used)

    def updated(self, runs: Tensor, part: HandoffLaw) -> HandoffLaw:
        """With what the law of some runs remembers."""
        memory = self.memory.map(lambda name, x: x.index_put((runs,), getattr(part.memory, name)))
        coarse = self.coarse.updated(runs, part.coarse) if isinstance(self.coarse, StatefulLaw) else self.coarse
        fine = self.fine.updated(runs, part.fine) if isinstance(self.fine, StatefulLaw) else self.fine
        return replace(self, coarse=coarse, fine=fine, memory=memory, parts=(None, None))

    def __getitem__(self, index: Any) -> HandoffLaw:
        places = torch.arange(len(self.memory.stage)).reshape(self.batch)[index]
        flat = places.reshape(-1)
        memory = self.memory.map(lambda _, x: x[flat])
        return HandoffLaw(self.controller, self.coarse[flat], self.fine[flat], places.shape, memory)
