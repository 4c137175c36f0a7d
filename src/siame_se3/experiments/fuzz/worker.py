"""What a case runs in: a process that is watched for time and memory."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import random
import resource
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from siame_se3.errors import SiameError

KINDS = ("accepted", "refused by SiameError", "other exceptions", "above 1 GB", "hangs above 5 s")
ACCEPTED, REFUSED, OTHER, MEMORY, HANG = KINDS
_LONGEST_MESSAGE = 1000  # characters


@dataclass(frozen=True)
class Limits:
    """What a case may take: memory beyond what the worker had before [bytes], wall time [s]."""

    memory: float = 1e9
    seconds: float = 5.0


@dataclass(frozen=True)
class Case:
    """What came of one."""

    reader: str
    number: int
    kind: str
    detail: str = ""
    seconds: float = 0.0
    memory: float = 0.0  # [bytes] more than before, at its peak


def judged(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """What a reader makes of a file: the kind of result, and where an exception came from."""
    try:
        read(path)
    except SiameError as error:
        text = str(error)
        if len(text.splitlines()) == 1 and len(text) <= _LONGEST_MESSAGE:
            return REFUSED, text
        return OTHER, f"SiameError of {len(text.splitlines())} lines, {len(text)} characters"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, it is what is looked for
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "siame_se3" in f.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return OTHER, f"{type(error).__name__} at {place}: {str(error)[:200]!r}"
    return ACCEPTED, ""


def spoilt(table: Any, folder: Path, reader: str, number: int, seed: int) -> Path:
    """The file of a case, written into the folder."""
    valid = [path.read_bytes() for path in sorted((folder / reader).iterdir())]
    content = table.READERS[reader].spoil(valid, random.Random(f"{seed}/{reader}/{number}"))
    path = folder / f"{reader}-{os.getpid()}"
    path.write_bytes(content)
    return path


def _peak() -> float:
    """Memory of this process at its peak since `_reset_peak` [bytes]."""
    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            return next(float(line.split()[1]) * 1024 for line in stream if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # not Linux: of its whole life
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # not Linux, or not allowed: peaks are then those of all cases so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def work(connection: Connection, table_name: str, folder: Path, cases: Sequence[tuple[str, int]], seed: int) -> None:
    """A worker's life: run cases one after the other; say when each begins, and what came of it."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # decoders write where they like
    os.dup2(quiet, 2)
    table = importlib.import_module(table_name)
    for reader in dict.fromkeys(reader for reader, _ in cases):
        first = sorted((folder / reader).iterdir())[0]
        judged(table.READERS[reader].read, first)  # what is imported and built once is no case's
    for reader, number in cases:
        path = spoilt(table, folder, reader, number, seed)
        _reset_peak()
        before = _peak()
        connection.send("begins")
        began = time.perf_counter()
        kind, detail = judged(table.READERS[reader].read, path)
        connection.send((kind, detail, time.perf_counter() - began, _peak() - before))


class Worker:
    """A process that runs cases, watched from outside; `ended` once it was killed or died."""

    _START = 300.0  # [s] in which it has imported everything

    def __init__(self, table: str, folder: Path, cases: Sequence[tuple[str, int]], seed: int, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=work, args=(theirs, table, folder, cases, seed), daemon=True)
        self._process.start()
        theirs.close()
        self._limits = limits
        self.ended = False

    def result(self, reader: str, number: int) -> Case:
        """What comes of its next case, which is this one."""
        limits = self._limits
        try:
            self._begin(reader, number)
            began, before = time.monotonic(), self._resident()
            while not self._connection.poll(0.02):
                seconds, memory = time.monotonic() - began, self._resident() - before
                if seconds > limits.seconds or memory > limits.memory:
                    self.ended = True
                    return Case(reader, number, HANG if memory <= limits.memory else MEMORY, "", seconds, memory)
            kind, detail, seconds, memory = self._connection.recv()
        except EOFError:
            self.ended = True
            self._process.join()
            return Case(reader, number, OTHER, f"the process ended with {self._process.exitcode}")
        if memory > limits.memory:
            kind = MEMORY
        elif seconds > limits.seconds:
            kind = HANG
        return Case(reader, number, kind, detail, seconds, memory)

    def _begin(self, reader: str, number: int) -> None:
        try:
            if self._connection.poll(self._START) and self._connection.recv():
                return
        except EOFError:
            pass  # said below
        raise RuntimeError(
            f"fuzz: a worker cannot begin {reader}/{number}: the module of readers, or how it spoils, has a fault"
        )

    def _resident(self) -> float:
        """Its memory [bytes]."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):  # it has ended, or this is not Linux: then its own measure counts
            return 0.0
        return float(pages) * resource.getpagesize()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def results(
    table: str, folder: Path, cases: Sequence[tuple[str, int]], seed: int, limits: Limits, until: float
) -> Iterator[Case]:
    """What comes of cases, run by one worker at a time; one that hangs, grows or dies is replaced, and the next goes on after that case."""
    left = list(cases)
    while left and time.monotonic() < until:
        worker = Worker(table, folder, left, seed, limits)
        try:
            while left and not worker.ended and time.monotonic() < until:
                yield worker.result(*left.pop(0))
        finally:
            worker.close()
