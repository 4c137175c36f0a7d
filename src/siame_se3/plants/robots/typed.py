"""What lies in the keyboard's buffer or in a pipe before anybody was asked: it is no answer."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator

_LINE = 4096  # bytes of a line that are read
_MOST = 65_536  # bytes that are thrown away at once


def typed_ahead(fd: int) -> None:
    """Throw away what has been typed, or written to a pipe, until now.

    Args:
        fd: of the input.
    """
    try:
        if os.isatty(fd):
            import termios

            termios.tcflush(fd, termios.TCIFLUSH)
            return
        found = 0
        while found < _MOST and select.select([fd], [], [], 0)[0] and (part := os.read(fd, _MOST)):
            found += len(part)
    except (OSError, ValueError, ImportError):  # no input, or a system without terminals
        return


def in_a_terminal() -> bool:
    """Whether somebody types into this program: its input is a terminal, in whose foreground it is (in the background the system suspends who reads)."""
    try:
        fd = sys.stdin.fileno()
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # no input, none of the system's, or a system without terminals
        return False


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
    """Ask before something moves. An Enter from before the question, in a terminal or a pipe, is no answer to it.

    Raises:
        EOFError: nobody is there to answer, or an input that has no end.
    """
    try:
        fd = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # no input, or none of the system's
        input(question)
        return
    typed_ahead(fd)
    if os.isatty(fd):
        input(question)
        return
    print(question, end="", flush=True)
    if select.select([fd], [], [], 0)[0]:
        raise EOFError
    # Byte by byte: what is read beyond the line would answer the next question.
    while (byte := os.read(fd, 1)) != b"\n":
        if not byte:
            raise EOFError
