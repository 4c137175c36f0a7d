"""The hand-off: a coarse law until its motion has settled, then a fine one (paper, Sec. V: the network, then photometric VS)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import LawError, require_number
from siame_se3.files import require_types
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.certainty import Certain, unknown
from siame_se3.laws.pose import point_interaction_matrix
from siame_se3.laws.types import Controller, Law, Output, State, View


@dataclass(frozen=True)
class Handoff:
    """Two laws in turn, run by run.

    A run goes over to the fine law when the coarse one has settled: the motion that it still asks for is a twentieth of
    `near_t` and `near_r`, or is below them, has not become a tenth smaller for `patience` iterations, and does not become smaller any more (by a
    fiftieth in as many); noise may keep it from ever being zero. Iterations without a valid law say nothing of that. It comes back when the fine law has a fault, or when its cost has risen to `rise` times what it was at the
    hand-off, `returns` times at most; after that it stays with the coarse law (with `returns` 0 with the fine one). A coarse law that
    verifies what it says (`auto`) is asked again now and then: where it is sure that the fine one leads away, the run comes back too. Away is what
    moves the image by a fiftieth of its width, or is above `near_t` or `near_r`: a small shift that a tilt undoes in the image is better known to the fine law.
    Of a robot (a view with a time) it is not asked where it follows nothing: a search would hold up the loop of a robot that moves.

    Attributes:
        coarse: controller of the first part.
        fine: controller of the second one; it gives a cost (photometric laws do).
        near_t: largest motion asked for, at gain 1, at which the fine law may take over [m], of a goal at 0.6 m; it grows with the distance.
        near_r: and largest rotation [rad].
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

    def __post_init__(self) -> None:
        require_types(self, "handoff")
        for name in ("near_t", "near_r"):
            require_number(self, name, 0, open_low=True)
        require_number(self, "patience", 1, 1000, whole=True)

    @property
    def needs(self) -> frozenset[str]:
        """What either law needs."""
        return self.coarse.needs | self.fine.needs

    def aim(self, target: View) -> tuple[Law, HandoffState]:
        """Both laws, and every run in the coarse one.

        Raises:
            LawError: the target has no image.
        """
        if target.image is None:
            raise LawError("handoff: the target has no image; give the goal image")
        n = len(target.image)
        (coarse, coarse_state), (fine, fine_state) = self.coarse.aim(target), self.fine.aim(target)
        state = HandoffState(
            coarse=coarse_state,
            fine=fine_state,
            stage=torch.zeros(n, dtype=torch.long),
            least=torch.full((n,), math.inf, dtype=torch.float64),
            waited=torch.zeros(n, dtype=torch.long),
            recent=torch.full((n, self.patience), math.inf, dtype=torch.float64),
            reference=torch.full((n,), math.inf, dtype=torch.float64),
            returned=torch.zeros(n, dtype=torch.long),
            distance=self._distance(target, n),
        )
        return _HandoffLaw(self, (coarse, fine)), state

    def _distance(self, target: View, n: int) -> Float[Tensor, "n"]:
        """Of each goal [m]; where it is not known what the coarse law takes it for, else that at which `near_t` and `near_r` move the image alike."""
        usual = torch.full((n,), getattr(self.coarse, "Z", self.near_t / self.near_r), dtype=torch.float64)
        known = usual if target.distance is None else target.distance.double().cpu().expand(n)
        return torch.where(known > 0, known, usual)


_ASKED = 8  # iterations of the fine law after which a coarse one that verifies is asked
_AWAY = 0.02  # motion that it may then ask for: mean motion of the image, in widths
_USUAL = 0.6  # distance of a goal that `near_t` is meant for [m]
_FALLS = 0.98  # of what was asked for `patience` iterations ago: less is a motion that becomes smaller still, as at a low gain
_GRID = 5  # points of the image a side, of which that is the mean
_Part = tuple[Tensor, Any]  # runs, and their state


@dataclass(frozen=True, eq=False)
class HandoffState(State):
    """Of each run: both laws' states, and how far it is with them.

    Attributes:
        stage: 0 coarse, 1 fine.
        least: smallest motion asked for by the coarse law since it began, in units of (near_t, near_r).
        waited: iterations with a valid law since that became a tenth smaller; in the fine law, since it took over.
        recent: the last motions that it asked for, the oldest first, infinite before.
        reference: cost of the fine law when it took over, infinite before.
        returned: how often the run came back.
        distance: of the goal [m].
        parts: of each stage the runs that were in it last, and their state: not cut out again while they stay the same.
    """

    coarse: Any
    fine: Any
    stage: Int[Tensor, "n"]
    least: Float[Tensor, "n"]
    waited: Int[Tensor, "n"]
    recent: Float[Tensor, "n p"]
    reference: Float[Tensor, "n"]
    returned: Int[Tensor, "n"]
    distance: Float[Tensor, "n"]
    parts: tuple[_Part | None, _Part | None] | None = None
    FIXED: ClassVar[frozenset[str]] = frozenset({"distance"})
    CACHED: ClassVar[frozenset[str]] = frozenset({"parts"})


@dataclass(frozen=True)
class _HandoffLaw:
    """See `Handoff`."""

    controller: Handoff
    laws: tuple[Law, Law]

    def __call__(self, view: View, state: HandoffState) -> tuple[Output, HandoffState]:
        """Each run's velocity by the law of its stage, and the stage that it goes on in."""
        turn = _Turn(self.laws, view, state)
        fine = (turn.stage == 1).nonzero()[:, 0]
        if len(fine):
            self._refine(turn, fine)
        coarse = (turn.stage == 0).nonzero()[:, 0]
        if len(coarse):
            self._approach(turn, coarse)
        sure = None if bool(turn.confidence.isnan().all()) else turn.confidence
        return Output(turn.v, tuple(turn.faults), turn.used, confidence=sure), turn.state()

    def covariance(self, view: View, state: HandoffState) -> Float[Tensor, "n 6 6"]:
        """What the fine law says of the runs that have come near the goal. Where the coarse one leads them, what the fine law would still move them
        by counts as an error."""
        found, fine = unknown(len(state.stage)), self.laws[1]
        runs = ((state.stage == 1) | (state.least < 1)).nonzero()[:, 0]
        if not len(runs) or not isinstance(fine, Certain):
            return found
        seen, part = view.of(runs), state.fine[runs]
        C = fine.covariance(seen, part)
        v = fine(seen, part)[0].v.double().cpu() * (state.stage[runs] == 0)[:, None]
        found[runs] = C + v[:, :, None] * v[:, None]
        return found

    def _refine(self, turn: _Turn, runs: Int[Tensor, "k"]) -> None:
        """The fine law's runs; those with a fault or a rising cost go back, and are asked again as coarse ones."""
        c = self.controller
        output = turn.ask(1, runs)
        cost = torch.zeros(len(runs)) if output.cost is None else output.cost.double().cpu()
        turn.reference[runs] = torch.where(turn.reference[runs].isinf(), cost, turn.reference[runs])
        bad = torch.tensor([fault != "" for fault in output.faults]) | self._led_away(turn, runs)
        leaves = (bad | (cost > c.rise * turn.reference[runs] + 1e-12)) & (turn.returned[runs] < c.returns)
        back = runs[leaves]
        turn.stage[back] = 0
        turn.least[back] = math.inf
        turn.recent[back] = math.inf
        turn.reference[back] = math.inf
        turn.waited[back] = 0
        turn.returned[back] += 1

    def _led_away(self, turn: _Turn, runs: Int[Tensor, "k"]) -> Bool[Tensor, "k"]:
        """Which of the fine law's runs the coarse one, sure of it, would lead elsewhere."""
        away = torch.zeros(len(runs), dtype=torch.bool)
        turn.waited[runs] += 1
        due = (turn.waited[runs] % _ASKED == 0).nonzero()[:, 0]
        if len(due) and getattr(self.controller.coarse, "verifies", False):
            output = turn.peek(runs[due])
            sure = torch.tensor([fault == "" for fault in output.faults])
            far = self._asked(output.v.double().cpu(), turn.distance[runs[due]]) > 1
            away[due] = sure & (far | (turn.image_motion(output.v, runs[due]) > _AWAY))
        return away

    def _asked(self, v: Float[Tensor, "k 6"], distance: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
        """The motion that is asked for, in units of (near_t, near_r)."""
        c = self.controller
        return torch.maximum(v[:, :3].norm(dim=1) / (c.near_t * distance / _USUAL), v[:, 3:].norm(dim=1) / c.near_r)

    def _approach(self, turn: _Turn, runs: Int[Tensor, "k"]) -> None:
        """The coarse law's runs; those that have settled go over."""
        c = self.controller
        output = turn.ask(0, runs)
        asked = self._asked(turn.v[runs], turn.distance[runs])
        valid = torch.tensor([fault == "" for fault in output.faults])
        smaller = valid & (asked < 0.9 * turn.least[runs])
        turn.least[runs] = torch.where(smaller, asked, turn.least[runs])
        turn.waited[runs] = torch.where(smaller, 0, turn.waited[runs] + valid)
        recent = turn.recent[runs]
        rests = (turn.waited[runs] >= c.patience) & (asked > _FALLS * recent[:, 0])
        turn.recent[runs] = torch.where(valid[:, None], torch.cat((recent[:, 1:], asked[:, None]), 1), recent)
        settled = valid & (asked < 1) & (rests | (asked < 0.05))
        over = runs[settled & (turn.returned[runs] < max(c.returns, 1))]
        turn.stage[over] = 1
        turn.waited[over] = 0


class _Turn:
    """One iteration of a hand-off: what is being found out, on copies of the state's numbers."""

    def __init__(self, laws: tuple[Law, Law], view: View, state: HandoffState) -> None:
        n = len(state.stage)
        self._laws, self._view, self._before = laws, view, state
        self._states = [state.coarse, state.fine]
        self._parts: list[_Part | None] = [None, None]
        self.stage, self.least, self.waited = state.stage.clone(), state.least.clone(), state.waited.clone()
        self.recent, self.distance = state.recent.clone(), state.distance
        self.reference, self.returned = state.reference.clone(), state.returned.clone()
        self.v = torch.zeros(n, 6, dtype=torch.float64)
        self.faults = [""] * n
        self.used = torch.zeros(n, dtype=torch.long)
        self.confidence = torch.full((n,), math.nan, dtype=torch.float64)

    def ask(self, stage: int, runs: Int[Tensor, "k"]) -> Output:
        """One law for some runs: velocities and faults are kept, its state goes on."""
        known = None if self._before.parts is None else self._before.parts[stage]
        same = known is not None and torch.equal(known[0], runs)
        part = known[1] if known is not None and same else self._states[stage][runs]
        output, part = self._laws[stage](self._view.of(runs), part)
        self._parts[stage] = (runs, part)
        self._states[stage] = self._states[stage].put(runs, part)
        self.v[runs] = output.v.double().cpu()
        self.used[runs] = stage
        for k, fault in zip(runs.tolist(), output.faults, strict=True):
            self.faults[k] = fault
        if output.confidence is not None:
            self.confidence[runs] = output.confidence.double().cpu()
        return output

    def peek(self, runs: Int[Tensor, "k"]) -> Output:
        """What the coarse law says of some runs, which the fine one leads. Of a robot, what it says at a loss is not kept in its state: it would expect
        that the robot stands then, as it asks for, and search in the loop."""
        output, part = self._laws[0](self._view.of(runs), self._states[0][runs])
        known = [fault == "" or self._view.time is None for fault in output.faults]
        kept = torch.tensor(known).nonzero()[:, 0]
        self._states[0] = self._states[0].put(runs[kept], part[kept])
        return output

    def image_motion(self, v: Float[Tensor, "k 6"], runs: Int[Tensor, "k"]) -> Float[Tensor, "k"]:
        """How far velocities move the images of some runs in a second: mean over a grid of points at the goal's distance, in the image's widths."""
        camera = self._view.camera or default_camera()
        middle = (torch.arange(_GRID, dtype=torch.float64) + 0.5) / _GRID
        x, y = (
            (middle * camera.width - 0.5 - camera.cx) / camera.fx,
            (middle * camera.height - 0.5 - camera.cy) / camera.fy,
        )
        x, y = (g.flatten().expand(len(runs), -1) for g in torch.meshgrid(x, y, indexing="xy"))
        flow = (
            point_interaction_matrix(x, y, self._before.distance[runs, None].expand_as(x))
            @ v.double().cpu()[:, None, :, None]
        )
        return (flow[..., 0] * flow.new_tensor((camera.fx, camera.fy))).norm(dim=-1).mean(-1) / camera.width

    def state(self) -> HandoffState:
        """After this iteration."""
        coarse, fine = self._states
        return replace(
            self._before,
            coarse=coarse,
            fine=fine,
            stage=self.stage,
            least=self.least,
            waited=self.waited,
            recent=self.recent,
            reference=self.reference,
            returned=self.returned,
            parts=(self._parts[0], self._parts[1]),
        )
