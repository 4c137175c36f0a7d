"""The terminal as a place that commands come from."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from siame_se3.plants.robots.threads import Worker
from siame_se3.plants.robots.typed import lines_of, own_file, typed_ahead

if TYPE_CHECKING:
    from siame_se3.commissioning.session import Session


def listen(
    session: Session, stream: io.BufferedIOBase | None, alone: bool, hear: Callable[[str], None], disarms: bool
) -> None:
    """Take commands, a line each, in a thread of its own.

    Args:
        session: learns when the stream ends, and watches the thread.
        stream: of lines; None for standard input. What was typed before counts for nothing, but for 'stop' and 'quit'.
        alone: nobody else gives commands: the session ends with the stream.
        hear: given each line.
        disarms: it is given 'disarm' too, when the stream ends.
    """
    if stream is None and sys.stdin is not None:
        fd = sys.stdin.fileno()
        for word in typed_ahead(fd):
            session.heard(word)
        stream = own_file(fd)

    def read() -> None:
        try:
            for line in lines_of(stream):
                hear(line)
        finally:  # also of a keyboard that fails, before the thread's fault is seen
            with contextlib.ExitStack() as last:
                last.callback(session.disconnected, "the keyboard", alone)
                if disarms:
                    hear("disarm")

    reader = Worker("keyboard", read, endless=False)
    session.plant.watch(lambda: reader.fault)
