"""How a servo loop comes to its end: the plant at rest whatever happens, and what was done kept where that is asked for."""

from __future__ import annotations

import contextlib
import logging
import math

import torch

from siame_se3.errors import SiameError
from siame_se3.plants.robots.text import printable
from siame_se3.plants.types import Plant
from siame_se3.servo.guard import Guard, Unguarded
from siame_se3.servo.recorder import Recorder
from siame_se3.servo.runs import Runs
from siame_se3.servo.safety import Halt

log = logging.getLogger(__name__)

CTRL_C = "Ctrl-C"  # the reason of a run that it ended
_STOPS = 5  # how often a stop that Ctrl-C interrupts is tried again


class Stopping:
    """Brings the plant to rest, whatever ends the loop: over the guard's ramp where a halt can wait, and in every path by `plant.stop()`.

    With a guard, a lost plant (OSError, SiameError) and Ctrl-C are halts, and the loop ends as usual; other errors go on after the stop. The runs that
    moved at a halt end with its reason.

    Args:
        plant, guard, record, runs: of the loop.
        keep: Ctrl-C is a halt without a guard too.

    Attributes:
        halt: why the robot is to stand still; None while nothing is wrong.
        moving: the last command.
    """

    def __init__(
        self, plant: Plant, guard: Guard | Unguarded, record: Recorder, runs: Runs, keep: bool = False
    ) -> None:
        self._plant, self._guard, self._record, self._runs, self._keep = plant, guard, record, runs, keep
        self.halt: Halt | None = None
        self.moving = torch.zeros(record.n, 6, dtype=torch.float64)

    def __enter__(self) -> Stopping:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        guarded = isinstance(self._guard, Guard)
        known = _halt_of(error) if guarded or (self._keep and isinstance(error, KeyboardInterrupt)) else None
        if error is not None:
            self.halt = known or Halt("an error of the program", True)
        if self.halt:
            self._runs.end(self._runs.active, self.halt.reason)
        try:
            if guarded and bool(self.moving.any()) and not (self.halt and self.halt.at_once):
                self._ramp()
        except (KeyboardInterrupt, OSError, SiameError) as interruption:
            log.warning("the ramp to zero was interrupted; stopping at once")
            self._met(_halt_of(interruption))
        finally:
            self._stop()
        return known is not None

    def _met(self, halt: Halt | None) -> None:
        """A halt in the ramp: of runs that had settled, or came to their iterations, it is the reason; of others the first halt stays."""
        if self.halt is None and halt is not None:
            self.halt = halt
            for k in self.moving.any(1).nonzero()[:, 0].tolist():
                self._runs.reason[k] = halt.reason

    def _ramp(self) -> None:
        """The last command, ever less of it, down to zero; at once to zero where something is seen that cannot wait."""
        self._runs.active = torch.zeros_like(self._runs.active)
        steps = math.ceil(self._guard.ramp / self._plant.dt)
        for k in range(1, steps + 1):
            command = self.moving * (1 - k / steps)
            view, applied = self._plant.step(command)
            self._record.add(view, command, applied, self._runs)
            if (halt := self._guard.seen(view, applied, command)) and halt.at_once:
                self._met(halt)
                return

    def _stop(self) -> None:
        """`plant.stop()`, again where Ctrl-C interrupts it; that a lost plant cannot stop is known."""
        for _ in range(_STOPS):
            try:
                with contextlib.suppress(*((OSError, SiameError) if self.halt else ())):
                    self._plant.stop()
                return
            except KeyboardInterrupt:
                continue


def _halt_of(error: BaseException | None) -> Halt | None:
    """The halt of an error that ends runs in order; None of others. A driver's text may come from a network."""
    if isinstance(error, KeyboardInterrupt):
        return Halt(str(error) or CTRL_C, False)
    if isinstance(error, OSError):
        return Halt(printable(f"plant lost: {error}"), True)
    return Halt(printable(error), True) if isinstance(error, SiameError) else None
