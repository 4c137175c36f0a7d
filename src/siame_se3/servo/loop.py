"""servo(plant, controller, target) -> Trajectory: the only place where laws and plants meet.

Gain, limits, stop rules and safety live here. A run that gets no valid law stands still.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.laws.types import Controller, Law, View, advise
from siame_se3.plants.types import Plant
from siame_se3.servo.guard import Guard, Halt, Safety
from siame_se3.servo.trajectory import Trajectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServoConfig:
    """How a law is followed.

    Attributes:
        gain: lambda far from the goal [1/s].
        gain_at_rest: lambda near it [1/s], reached as the commanded motion fades (adaptive gain, ViSP's form
            (g0 - ginf) exp(-slope |v| / (g0 - ginf)) + ginf); 0 for a constant gain.
        gain_slope: the adaptive gain's slope at zero motion.
        max_iterations: a run ends after this many.
        timeout: and after this much wall time [s]; 0 for none.
        settle_v: the motion has settled when the law's velocity at gain 1, averaged over the last `settle_steps` iterations
            (so that what only trembles counts as still), is below this [m/s]...
        settle_w: ...and this [rad/s], for more than half as many iterations in a row (a law whose velocity turns around is not still).
        settle_steps: how many.
        lost_steps: a run whose law finds a fault (too few matches, an image that is not one) stands still, and ends after
            this many such iterations in a row.
        max_v: limit of the commanded speed [m/s]; the whole twist is scaled, so that its direction stays.
        max_w: and of the commanded rotation [rad/s].
        max_acceleration_v: limit of the speed's change [m/s^2]; 0 for none.
        max_acceleration_w: and of the rotation's [rad/s^2]; 0 for none.
    """

    gain: float = 5.0
    gain_at_rest: float = 0.0
    gain_slope: float = 30.0
    max_iterations: int = 500
    timeout: float = 0.0
    settle_v: float = 2e-4
    settle_w: float = math.radians(0.02)
    settle_steps: int = 8
    lost_steps: int = 5
    max_v: float = 0.5
    max_w: float = math.radians(90)
    max_acceleration_v: float = 0.0
    max_acceleration_w: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gain", "max_v", "max_w"):
            if not 0 < getattr(self, name) < math.inf:
                raise SiameError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give a number above 0")
        for name in ("max_iterations", "settle_steps", "lost_steps"):
            if getattr(self, name) < 1:
                raise SiameError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")


def adaptive_gain(config: ServoConfig, v: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 1"]:
    """lambda(|v|): `gain` far away, `gain_at_rest` as |v| goes to zero (ViSP's vpAdaptiveGain)."""
    size = v.norm(dim=-1, keepdim=True)
    span = config.gain_at_rest - config.gain
    if config.gain_at_rest <= 0 or span == 0:
        return torch.full_like(size, config.gain)
    return span * torch.exp(-config.gain_slope * size / abs(span)) + config.gain


def limited(config: ServoConfig, v: Tensor, previous: Tensor, dt: float) -> Tensor:
    """The twist within the speed limits (scaled as a whole, so that the direction stays) and the acceleration limits."""
    speed = torch.stack((v[..., :3].norm(dim=-1) / config.max_v, v[..., 3:].norm(dim=-1) / config.max_w), -1).amax(-1)
    v = v / speed.clamp(min=1)[..., None]
    change = v - previous
    for part, limit in ((slice(0, 3), config.max_acceleration_v), (slice(3, 6), config.max_acceleration_w)):
        if limit > 0:
            size = change[..., part].norm(dim=-1, keepdim=True)
            change[..., part] *= (limit * dt / size.clamp(min=1e-12)).clamp(max=1)
    return previous + change


def servo(
    plant: Plant,
    controller: Controller,
    target: View,
    start: Float[Tensor, "*B 4 4"] | None = None,
    config: ServoConfig | None = None,
    settings: dict[str, Any] | None = None,
    report: Callable[[int, int], None] = lambda iteration, moving: None,
    safety: Safety | None = None,
) -> Trajectory:
    """Close the loop until every run has settled or run out of iterations or time.

    Args:
        plant: what moves. controller: what aims. target: the desired view(s), batch axes *B.
        start: start poses T_wc of a simulated plant, or None for a robot that stays where it is.
        config: gain, limits and stop rules.
        settings: kept in the trajectory, for the report.
        report: told at each iteration how many have passed and how many runs still move.
        safety: of a robot, one camera: limits, and reasons to stand still. The trajectory is kept when one ends the run, when the plant
            is lost (OSError, or a SiameError of its own), and at Ctrl-C.

    Raises:
        SiameError: before anything moves, if the law needs what the plant does not provide.
    """
    config = config or ServoConfig()
    if missing := controller.needs - plant.provides:
        raise SiameError(
            f"law needs {', '.join(sorted(missing))}, which this plant does not provide (it has {', '.join(sorted(plant.provides))})"
        )
    law = controller.aim(target)
    view = plant.reset(start)
    anchor = next(x for x in (view.image, view.T_wc) if x is not None)
    batch = anchor.shape[:-3] if view.image is not None else anchor.shape[:-2]
    n = math.prod(batch)
    aimed = (
        target.image.shape[:-3]
        if target.image is not None
        else target.T_wc.shape[:-2]
        if target.T_wc is not None
        else batch
    )
    if aimed != batch:
        plant.stop()
        raise SiameError(f"{tuple(aimed)} targets for {tuple(batch)} cameras; give each camera a target of its own")

    def flat(v: View) -> View:
        image = None if v.image is None else v.image.reshape(n, *v.image.shape[-3:])
        T_wc = None if v.T_wc is None else v.T_wc.reshape(n, 4, 4)
        return View(image, T_wc, None if v.depth is None else v.depth.reshape(n), v.camera)

    unknown = torch.full((n, 4, 4), torch.nan, dtype=torch.float64)

    def pose_of(v: View) -> Tensor:
        return unknown if v.T_wc is None else v.T_wc.reshape(n, 4, 4).double().cpu().clone()

    state = flat(view)
    poses, twists, applied_log, active_log, stages, seconds = [pose_of(view)], [], [], [], [], []
    active = torch.ones(n, dtype=torch.bool)
    iterations = torch.zeros(n, dtype=torch.long)
    valid = torch.zeros(n, dtype=torch.long)  # iterations since the last fault
    recent = torch.zeros(config.settle_steps, n, 6, dtype=torch.float64)
    still = torch.zeros(n, dtype=torch.long)  # iterations in a row that the mean of those has been small
    reason = ["iterations"] * n
    previous = torch.zeros(n, 6, dtype=torch.float64)
    lost = torch.zeros(n, dtype=torch.long)
    runs: Tensor = torch.arange(n)
    # The law of the runs that still move. Laws are indexed by run: with several batch axes by the run's place in them.
    sub: Law = law[torch.unravel_index(runs, batch)] if batch else law

    def act(command: Tensor, stage: Tensor) -> None:
        nonlocal view, state, previous
        view, applied = plant.step(command.reshape(*batch, 6))
        state = flat(view)
        previous = command
        iterations.add_(active)
        poses.append(pose_of(view))
        twists.append(command)
        applied_log.append(applied.double().cpu().reshape(n, 6))
        active_log.append(active.clone())
        stages.append(stage)

    guard = Guard(safety, plant.dt, view, getattr(plant, "T_tc", None)) if safety else None
    halt: Halt | None = guard.seen(view) if guard else None
    began = time.perf_counter()
    try:
        for _ in range(config.max_iterations):
            if halt:
                break
            # Settled runs leave the law's batch when a tenth of it has.
            if batch and int(active[runs].sum()) <= 0.9 * len(runs):
                sub, runs = sub[active[runs].nonzero()[:, 0]], runs[active[runs]]
            t0 = time.perf_counter()
            advice = advise(sub, state[runs] if batch else view)
            seconds.append((time.perf_counter() - t0) / len(runs))
            sub = advice.law
            raw = torch.zeros(n, 6, dtype=torch.float64)
            raw[runs] = advice.v.double().cpu().reshape(len(runs), 6)
            raw[~active] = 0
            stage = torch.full((n,), -1)
            stage[runs] = advice.stage.cpu()
            faulty = torch.zeros(n, dtype=torch.bool)
            for k, fault in zip(runs.tolist(), advice.faults, strict=True):
                faulty[k] = fault != ""
                if fault and active[k] and int(lost[k]) + 1 >= config.lost_steps:
                    reason[k] = fault
            lost = torch.where(faulty, lost + 1, 0)
            raw[faulty] = 0
            if guard and not bool(faulty.any()) and (halt := guard.judged(raw)):
                break
            active = active & (lost < config.lost_steps)
            bad = active & ~torch.isfinite(raw).all(1)
            for k in bad.nonzero()[:, 0].tolist():
                reason[k] = "law not finite"
            active = active & ~bad
            raw[bad] = 0
            recent = torch.cat((recent[1:], raw[None]))
            valid = torch.where(faulty, 0, valid + 1)
            mean = recent.mean(0)
            small = (mean[:, :3].norm(dim=1) < config.settle_v) & (mean[:, 3:].norm(dim=1) < config.settle_w)
            still = torch.where(small & (valid >= config.settle_steps), still + 1, 0)
            settled = active & (still > config.settle_steps // 2)
            for k in settled.nonzero()[:, 0].tolist():
                reason[k] = "settled"
            active = active & ~settled
            if config.timeout > 0 and time.perf_counter() - began > config.timeout:
                for k in active.nonzero()[:, 0].tolist():
                    reason[k] = "timeout"
                active = torch.zeros_like(active)
            stage[~active] = -1
            if not bool(active.any()):
                seconds.pop()
                break
            command = limited(config, adaptive_gain(config, raw) * raw, previous, plant.dt)
            if guard:
                command = guard.limited(command, previous)
            command[faulty | ~active] = 0
            act(command, stage)
            report(len(twists), int(active.sum()))
            if guard:
                halt = guard.seen(view, applied_log[-1])
    except (OSError, SiameError, KeyboardInterrupt) as error:
        if guard is None:
            raise
        if isinstance(error, KeyboardInterrupt):
            halt = Halt("Ctrl-C", False)
        else:
            halt = Halt(f"plant lost: {error}" if isinstance(error, OSError) else str(error), True)
    except BaseException:
        halt = Halt("an error of the program", True)
        raise
    finally:
        if guard and bool(previous.any()) and not (halt and halt.at_once):
            moving, active = previous, torch.zeros(n, dtype=torch.bool)
            steps = math.ceil(guard.safety.ramp / plant.dt)
            with contextlib.suppress(OSError, SiameError):
                for k in range(1, steps + 1):
                    seconds = [*seconds[: len(twists)], 0.0]
                    act(moving * (1 - k / steps), torch.full((n,), -1))
        with contextlib.suppress(*((OSError, SiameError) if halt else ())):
            plant.stop()
    if halt:
        log.warning("stopped: %s", halt.reason)
        reason = [halt.reason]
    T = len(twists)
    T_wd = unknown if target.T_wc is None else target.T_wc.double().cpu().expand(*batch, 4, 4).reshape(n, 4, 4)

    def stacked(parts: list[Tensor], tail: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return (
            torch.stack(parts).reshape(len(parts), *batch, *tail)
            if parts
            else torch.zeros(0, *batch, *tail, dtype=dtype)
        )

    return Trajectory(
        T_wc=stacked(poses, (4, 4), torch.float64),
        T_wd=T_wd.reshape(*batch, 4, 4),
        twist=stacked(twists, (6,), torch.float64),
        applied=stacked(applied_log, (6,), torch.float64),
        active=stacked(active_log, (), torch.bool),
        stage=stacked(stages, (), torch.long),
        iterations=iterations.reshape(batch),
        reason=reason,
        step_seconds=torch.tensor(seconds[:T], dtype=torch.float64),
        dt=plant.dt,
        settings={"servo": asdict(config), **(settings or {})},
    )
