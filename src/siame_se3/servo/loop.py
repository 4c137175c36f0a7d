"""servo(plant, controller, target) -> Trajectory: the only place where laws and plants meet.

Each iteration: look, law, settle, limit, act, log. Gain and limits are applied here, once. A run that gets no valid law stands still.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from siame_se3.errors import InputError, LawError
from siame_se3.laws.certainty import Certain, unknown
from siame_se3.laws.types import Controller, Law, Output, View
from siame_se3.plants.types import KnowsEnded, Plant
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.guard import Guard, Unguarded
from siame_se3.servo.limits import adaptive_gain, limited
from siame_se3.servo.recorder import Recorder
from siame_se3.servo.runs import Runs
from siame_se3.servo.safety import Halt, Safety
from siame_se3.servo.settling import Settling
from siame_se3.servo.stopping import Stopping
from siame_se3.servo.trajectory import Trajectory

log = logging.getLogger(__name__)


def servo(
    plant: Plant,
    controller: Controller,
    target: View,
    start: Float[Tensor, "*B 4 4"] | None = None,
    config: ServoConfig | None = None,
    settings: dict[str, Any] | None = None,
    report: Callable[[int, int], None] = lambda iteration, moving: None,
    safety: Safety | None = None,
    heard: Callable[[Output], None] = lambda output: None,
    keep: bool = False,
) -> Trajectory:
    """Close the loop until every run has settled or run out of iterations or time.

    Args:
        plant: what moves. controller: what aims. target: the desired view(s); their batch axes are flattened to n runs.
        start: start poses T_wc of a simulated plant, one a run, or None for a robot that stays where it is.
        config: gain, limits and stop rules.
        settings: kept in the trajectory, for the report.
        report: called at each iteration with the number of iterations and of runs that still move.
        safety: of a robot, one camera: limits, and reasons to stand still. The trajectory is kept when one ends the run, when the plant
            is lost (OSError, or a SiameError of its own), and at Ctrl-C.
        heard: called with what the law gives at each iteration, for the runs that it is asked for.
        keep: Ctrl-C ends the runs that still move, with the reason `stopping.CTRL_C`, and the trajectory so far is kept (of a robot, it always is).

    Raises:
        KeyboardInterrupt: Ctrl-C, where nothing is to be kept.
        SiameError: before anything moves, if the law needs what the plant does not provide, or targets and starts do not match.
    """
    config = config or ServoConfig()
    _check_needs(controller, plant)
    target = target.flat()
    law, state = controller.aim(target)
    if safety and controller.needs <= target.provides:
        # First calls are slow: not while a robot waits, with an image that grows old. At the goal a hand-off comes to its second law.
        law(target, law(target, state)[1])
    view = plant.reset(None if start is None else start.reshape(-1, 4, 4))
    (n,) = view.batch
    if target.batch != (n,):
        plant.stop()
        raise InputError(f"{target.batch[0]} targets for {n} cameras; give each camera a target of its own")
    guard: Guard | Unguarded = Guard(safety, plant, view) if safety else Unguarded()
    follow, record = _Follow(law, state, config, guard, plant.dt, n, heard), Recorder(view, target, plant.dt)
    with Stopping(plant, guard, record, follow.runs, keep) as stop:
        stop.halt = guard.seen(view)
        while not stop.halt and len(record) < config.max_iterations:
            step = follow.step(view)
            if not isinstance(step, _Step):
                stop.halt = step
                break
            _tell_ended(plant, ~follow.runs.active)
            view, applied = plant.step(step.command)
            stop.moving = step.command
            record.add(view, step.command, applied, follow.runs, step.stage, step.seconds, step.confidence)
            report(len(record), int(follow.runs.active.sum()))
            stop.halt = guard.seen(view, applied, step.command)
    if stop.halt and safety:
        log.warning("stopped: %s", stop.halt.reason)
    kept = _kept(config, safety, plant) | (settings or {})
    return record.trajectory(follow.runs, kept, None if stop.halt else follow.covariance(view))


def _check_needs(controller: Controller, plant: Plant) -> None:
    if missing := controller.needs - plant.provides:
        has = ", ".join(sorted(plant.provides))
        raise LawError(f"the law needs {', '.join(sorted(missing))}, which this plant does not provide (it has {has})")


def _tell_ended(plant: Plant, ended: Bool[Tensor, "n"]) -> None:
    if isinstance(plant, KnowsEnded):
        plant.runs_ended(ended)


def _kept(config: ServoConfig, safety: Safety | None, plant: Plant) -> dict[str, Any]:
    """What a trajectory's settings say of how it was made."""
    kept: dict[str, Any] = {"servo": asdict(config)}
    if safety:
        kept |= {"safety": asdict(safety), "T_tc": None if plant.T_tc is None else plant.T_tc.tolist()}
    return kept


@dataclass(frozen=True)
class _Step:
    """What an iteration commands (n, 6), the stage that each run's law is in, the law's wall time a run [s], and its confidence (NaN where a run has
    ended), or None."""

    command: Float[Tensor, "n 6"]
    stage: Int[Tensor, "n"]
    seconds: float
    confidence: Float[Tensor, "n"] | None


class _Follow:
    """n runs as they follow their law: law, settle, limit."""

    def __init__(
        self,
        law: Law,
        state: Any,
        config: ServoConfig,
        guard: Guard | Unguarded,
        dt: float,
        n: int,
        heard: Callable[[Output], None],
    ) -> None:
        self._law, self._state, self._config, self._guard, self._dt, self._heard = law, state, config, guard, dt, heard
        self._covariance: Tensor | None = None
        self._known = torch.zeros(n, dtype=torch.bool)
        self._limits = (*config.limits, *guard.limits)
        self._settling = Settling(config, n)
        self._command = torch.zeros(n, 6, dtype=torch.float64)
        self._began = time.perf_counter()
        self.runs = Runs(n, config.lost_steps)

    def step(self, view: View) -> _Step | Halt | None:
        """The next commands; a reason to halt; or None where no run moves any more."""
        c, runs, guard = self._config, self.runs, self._guard
        raw, stage, output, seconds = self._ask(view)
        faulty = runs.faults(output.faults)
        raw[faulty] = 0
        if not bool(faulty.any()) and (halt := guard.judged(raw)):
            return halt
        infinite = ~torch.isfinite(raw).all(1)
        runs.end(infinite, "law not finite")
        raw[infinite] = 0
        runs.end(self._settling.update(raw, faulty), "settled")
        self._know(view, ~runs.active)
        if c.timeout > 0 and time.perf_counter() - self._began > c.timeout:
            runs.end(torch.ones_like(runs.active), "timeout")
        if not bool(runs.active.any()):
            return None
        stage[~runs.active] = -1
        gain = adaptive_gain(raw, c.gain, c.gain_at_rest, c.gain_slope)
        command = limited(self._limits, gain * raw, self._command, self._dt)
        command[faulty | ~runs.active] = 0
        if guard.waits(command):
            command = torch.zeros_like(command)
        if halt := guard.sent(command):
            return halt
        self._command = command
        return _Step(command, stage, seconds, self._sure(output.confidence))

    def _ask(self, view: View) -> tuple[Float[Tensor, "n 6"], Int[Tensor, "n"], Output, float]:
        """Of all runs the law's velocities at gain 1 and stages, zero and -1 where a run has ended; of the runs asked for, all that it gave;
        and the wall time a run [s]."""
        runs = self.runs
        if (kept := runs.shrink()) is not None:
            self._state = self._state[kept]
        asked = time.perf_counter()
        output, self._state = self._law(view.of(runs.asked), self._state)
        seconds = (time.perf_counter() - asked) / len(runs.asked)
        n = len(runs.active)
        raw = torch.zeros(n, 6, dtype=torch.float64)
        raw[runs.asked] = _velocities(output.v, len(runs.asked))
        raw[~runs.active] = 0
        stage = torch.full((n,), -1)
        stage[runs.asked] = output.stage.cpu()
        self._heard(output)
        return raw, stage, output, seconds

    def _sure(self, confidence: Tensor | None) -> Float[Tensor, "n"] | None:
        """Of all runs, NaN where they have ended."""
        if confidence is None:
            return None
        found = torch.full(self.runs.active.shape, torch.nan, dtype=torch.float64)
        found[self.runs.asked] = confidence.double().cpu()
        found[~self.runs.active] = torch.nan
        return found

    def covariance(self, view: View) -> Float[Tensor, "n 6 6"] | None:
        """Of the poses of all runs at their end, of those that still moved the last view; None where the law does not know."""
        self._know(view, torch.ones_like(self.runs.active))
        return self._covariance

    def _know(self, view: View, ended: Bool[Tensor, "n"]) -> None:
        """Keep how sure the law is of the poses of runs that have ended, once: as long as others move, it is still asked for theirs, too."""
        if not isinstance(self._law, Certain):
            return
        rows = (ended & ~self._known)[self.runs.asked].nonzero()[:, 0]
        if self._covariance is None:
            self._covariance = unknown(len(self.runs.active))
        if len(rows):
            runs = self.runs.asked[rows]
            self._covariance[runs] = self._law.covariance(view.of(runs), self._state[rows])
            self._known[runs] = True


def _velocities(v: Any, n: int) -> Float[Tensor, "n 6"]:
    """What a law gave, where it is velocities of n runs: any other shape could be spread over the axes.

    Raises:
        LawError: it is not.
    """
    if not isinstance(v, Tensor) or tuple(v.shape) != (n, 6) or v.is_complex():
        given = f"{v.dtype} of shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
        raise LawError(f"the law gave {given}, not a velocity (v, omega) for each of {n} runs: a tensor ({n}, 6)")
    return v.double().cpu()
