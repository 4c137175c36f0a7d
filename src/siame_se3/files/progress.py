"""What a job says while it runs: what it does now, and how far it is. On standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

PATIENCE = 0.5  # [s] what ends sooner is not spoken of
FIRST = 2.0  # [s] until the first plain line; each later one comes after twice the time,
APART = 30.0  # [s] or after so much more


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what is done now, where it takes longer than `PATIENCE`: 'loading network coffee'."""
    timer = threading.Timer(PATIENCE, _say, (f"{what} ...",))
    timer.daemon = True  # a job that ends the program does not wait for it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Counter:
    """How many of a job's parts are done: a bar on a terminal, else a plain line after 2 s, 4 s, 8 s, ..., then every 30 s.

    Args:
        total: number of the parts.
        what: the line's beginning, such as 'settled'.
        unit: the parts in the plural, such as 'runs'.
        quiet: say nothing.
        clock: [s].
    """

    def __init__(
        self, total: int, what: str, unit: str, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.done = total, 0
        self._words, self._quiet, self._clock = (what, unit), quiet, clock
        self._began = clock()
        self._next = FIRST
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=f"{what} {unit}", unit=unit.removesuffix("s"), dynamic_ncols=True)

    def __enter__(self) -> Counter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def to(self, done: int, **more: object) -> None:
        """So many are done by now; `more` is said beside, by name."""
        if self._bar is not None:
            self._bar.update(done - self.done)
            self._bar.set_postfix(more)
        self.done = done
        seconds = self._clock() - self._began
        if self._bar is None and not self._quiet and seconds >= self._next:
            what, unit = self._words
            beside = "".join(f", {name} {value}" for name, value in more.items())
            unit = unit.removesuffix("s") if self.total == 1 else unit
            _say(f"{what} {done} of {self.total} {unit}{beside}, {seconds:.0f} s")
            self._next = seconds + min(seconds, APART)
