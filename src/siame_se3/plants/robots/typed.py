"""What lies in the keyboard's buffer or in a pipe before anybody was asked: it is no answer."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = 4096  # bytes of a line that are read
_MOST = 65_536  # bytes that are read, or thrown away, at once
_AT_ONCE = 0.05  # [s] within which what lies there is read, where the system does not say whether something does
FEW = 8  # lines: that many at once are a file's


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


@dataclass(frozen=True)
class Line:
    """A line of an input, without its end.

    Attributes:
        text: without spaces around it; of a line that is too long, its beginning.
        at: when it was read, by time.monotonic [s].
        many: it was read with more than somebody types, or right behind such.
    """

    text: str
    at: float
    many: bool


def lines_of(stream: io.BufferedIOBase | None) -> Iterator[Line]:
    """Lines, those of spaces left out. What had come by the time of one look at the input came together, however long this program is held up then."""
    begun, whole, many = b"", True, False
    while stream is not None:
        began, waits = time.monotonic(), _waits(stream)
        part, at = stream.read1(_MOST), time.monotonic()
        *ended, rest = (begun + part).split(b"\n")
        if not part and rest:  # the last line has no end
            ended, rest = [rest], b""
        texts = []
        for line in ended:
            if whole and (text := line[:_LINE].decode("utf-8", errors="replace").strip()):
                texts.append(text)
            whole = True
        if len(rest) > _LINE and whole:  # said at once; what follows belongs to it
            texts.append(rest[:_LINE].decode("utf-8", errors="replace").strip())
            whole = False
        begun = rest if whole else b""
        many = len(texts) >= FEW or (many and (at - began < _AT_ONCE if waits is None else waits))
        yield from (Line(text, at, many) for text in texts if text)
        if not part:
            return


def _waits(stream: io.BufferedIOBase) -> bool | None:
    """Whether something can be read at once; None where the system does not say."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # no file of the system's, or of a kind that it has no answer for
        return None


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
