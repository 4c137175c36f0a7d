"""What lies in the keyboard's buffer or in a pipe before anybody was asked: it is no answer."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator

_LINE = 4096  # bytes of a line that are read
_MOST = 65_536  # bytes that are read at once, and words that are taken of them


def typed_ahead(fd: int) -> list[str]:
    """Take what has been typed, or written to a pipe, until now: the words of a pipe, a line each; of a terminal it is thrown away.

    Args:
        fd: of the input.
    """
    try:
        if os.isatty(fd):
            import termios

            termios.tcflush(fd, termios.TCIFLUSH)
            return []
        found = b""
        while len(found) < _MOST and select.select([fd], [], [], 0)[0] and (part := os.read(fd, _MOST)):
            found += part
    except (OSError, ValueError, ImportError):  # no input, or a system without terminals
        return []
    return [word for line in found.splitlines() if (word := line.decode("utf-8", errors="replace").strip().lower())]


def own_file(fd: int) -> io.BufferedReader:
    """A file of one's own for an input: at the end of the program Python aborts where a thread still reads sys.stdin itself."""
    return open(os.dup(fd), "rb")


def lines_of(stream: io.BufferedIOBase | None) -> Iterator[str]:
    """Lines without their ends, those of spaces left out; of one that is too long its beginning, and not its rest."""
    whole = True
    while stream is not None and (line := stream.readline(_LINE)):
        if whole and (text := line.decode("utf-8", errors="replace").strip()):
            yield text
        whole = line.endswith(b"\n")


def wait_for_enter(question: str) -> None:
    """Ask before something moves. An Enter from before the question, in a terminal, is no answer to it."""
    if sys.stdin is not None and sys.stdin.isatty():
        typed_ahead(sys.stdin.fileno())
    input(question)
