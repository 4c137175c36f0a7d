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
        known = (guarded or (self._keep and isinstance(error, KeyboardInterrupt))) and self._known(error)
        if error is not None and not known:
            self.halt = Halt("an error of the program", True)
        if self.halt:
            self._runs.end(self._runs.active, self.halt.reason)
        try:
            if guarded and bool(self.moving.any()) and not (self.halt and self.halt.at_once):
                self._ramp()
        except (KeyboardInterrupt, OSError, SiameError) as interruption:
            log.warning("the ramp to zero was interrupted; stopping at once")
            before = self.halt
            self._known(interruption)
            self._end_again(before)
        finally:
            self._stop()
        return known

    def _end_again(self, before: Halt | None) -> None:
        """Runs that had settled, or came to their iterations, and then met a fault before they stood still: it is their reason."""
        if before is None and self.halt is not None:
            moved = self.moving.any(1).tolist()
            self._runs.reason = [
                self.halt.reason if moves else reason for moves, reason in zip(moved, self._runs.reason, strict=True)
            ]
        else:
            self.halt = before

    def _known(self, error: BaseException | None) -> bool:
        """Whether the error is one that ends runs in order; then it is the halt."""
        if isinstance(error, KeyboardInterrupt):
            self.halt = Halt(str(error) or CTRL_C, False)
        elif isinstance(error, OSError):
            self.halt = Halt(printable(f"plant lost: {error}"), True)
        elif isinstance(error, SiameError):
            self.halt = Halt(printable(error), True)  # a driver's text may come from a network
        return isinstance(error, KeyboardInterrupt | OSError | SiameError)

    def _ramp(self) -> None:
        """The last command, ever less of it, down to zero; at once to zero where something is seen that cannot wait."""
        self._runs.active = torch.zeros_like(self._runs.active)
        steps = math.ceil(self._guard.ramp / self._plant.dt)
        for k in range(1, steps + 1):
            command = self.moving * (1 - k / steps)
            view, applied = self._plant.step(command)
            self._record.add(view, command, applied, self._runs)
            if (halt := self._guard.seen(view, applied, command)) and halt.at_once:
                before, self.halt = self.halt, halt
                self._end_again(before)
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
