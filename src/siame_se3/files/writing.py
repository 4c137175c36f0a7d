"""The one atomic write, and the lock of long jobs."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import itertools
import logging
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError

log = logging.getLogger(__name__)

_DAY = 24 * 3600.0
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]  # a shared folder has partial files of other machines
_numbers = itertools.count()
_writing: set[str] = set()  # partial files of this process that are being written, by path


def atomically(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all: call `write(partial)`, flush it to the disk, and rename it to `path`.

    The partial file lies in the same folder and ends as `path` does (some writers go by that). The file has the mode of the one before,
    or what the umask leaves. A writer that returns False has failed. A symbolic link is followed. What is no regular file (/dev/null, /dev/stdout, a FIFO) is written to.
    Partial files that killed processes left behind are removed.

    Raises:
        InputError: it cannot be written (disk full, no permission, ...), in one line; what was there before is still there.
    """
    path = Path(path)
    try:
        if _is_stream(path):
            _pour(path, write)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat() if target.exists() else None
        if before and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _remove_leftovers(target)
        partial = _partial(target)
        _writing.add(str(partial))
        try:
            with _system_errors():
                os.close(
                    os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                )  # as open() does: the umask's mode
                mode = stat.S_IMODE((before or partial.stat()).st_mode)
                if write(partial) is False:  # as OpenCV says that it could not
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                if stat.S_IMODE(partial.stat().st_mode) != mode:  # the writer put a file of its own there
                    with contextlib.suppress(PermissionError):  # a file system without modes
                        partial.chmod(mode)
                _flush(partial)
                partial.replace(target)
                _flush(target.parent)
        finally:
            partial.unlink(missing_ok=True)
            _writing.discard(str(partial))
    except OSError as error:
        if error.errno is None:  # not of the system: the writer's own
            raise
        raise InputError(_refusal(path, error)) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_csv_rows(path: str | Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Write a CSV of a header and lines, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *lines])

    atomically(path, write)


def _refusal(path: Path, error: OSError) -> str:
    reason = os.strerror(error.errno or 0).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space, or give another place"
    else:
        advice = "give another place"
    kept = "; the file that was there is kept" if os.path.isfile(path) else ""
    return f"{path}: cannot be written ({reason}); {advice}{kept}"


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Errors of the system that libraries written in Rust (safetensors) put into a text, as OSError."""
    try:
        yield
    except Exception as error:
        found = re.search(r"os error (\d+)|Os \{ code: (\d+)", str(error))
        if isinstance(error, OSError) or found is None:
            raise
        code = int(found[1] or found[2])
        raise OSError(code, os.strerror(code)) from None


def _is_stream(path: Path) -> bool:
    """Not a file to be replaced: a device, a FIFO, or the process's own output, also where that goes to a file."""
    return _own_descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _own_descriptor(path: Path) -> int | None:
    """The number of an output that this process has open already, by its name."""
    name = os.path.abspath(path)
    found = re.fullmatch(r"/(dev|proc/self)/fd/(\d{1,6})", name)
    return {"/dev/stdout": 1, "/dev/stderr": 2}.get(name, int(found[2]) if found else None)


def _pour(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a stream: first a file, since writers seek, then its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"whole{path.suffix}"
        write(whole)
        own = _own_descriptor(path)
        sys.stdout.flush()  # what was printed before comes first
        with whole.open("rb") as source, path.open("ab") if own is None else os.fdopen(os.dup(own), "wb") as stream:
            shutil.copyfileobj(source, stream)


def _prefix(target: Path) -> str:
    return f".{target.name[:40]}."  # short: a folder takes names of 255 bytes


def _partial(target: Path) -> Path:
    suffix = target.suffix if len(target.suffix) <= 12 else ""
    return target.with_name(f"{_prefix(target)}{_HOST}-{os.getpid()}-{next(_numbers)}.part{suffix}")


def _remove_leftovers(target: Path) -> None:
    """Remove partial files of the same target whose process is dead; of other machines, and on Windows, those older than a day."""
    form = re.compile(re.escape(_prefix(target)) + r"([0-9a-f]{6})-(\d+)-\d+\.part(\..*)?")
    try:
        found_there = [(entry, found) for entry in os.scandir(target.parent) if (found := form.fullmatch(entry.name))]
    except PermissionError:  # a folder that may be written, not listed
        return
    for entry, found in found_there:
        if entry.path in _writing:
            continue
        with contextlib.suppress(FileNotFoundError, PermissionError):  # another process was faster; another user's
            old = time.time() - entry.stat().st_mtime > _DAY
            if old or (found[1] == _HOST and not _alive(int(found[2]))):
                os.unlink(entry.path)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # what this process is writing is in _writing: the rest is of one that had its number before
    if os.name == "nt":
        return True  # as far as is known: os.kill(pid, 0) would be Ctrl-C for it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def _flush(path: Path) -> None:
    """To the disk; a folder too, where the system can."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that have no such thing
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Hold a file or a folder that a long job will write, from before its work starts until it ends.

    A second job of the same path is refused, in this process or another; a killed one holds nothing. It is a lock (flock) on a file
    beside it, `.NAME.lock`, which is removed at the end. Where the system or the file system has no locks, there is none.

    Raises:
        InputError: another job holds it, or the lock's place cannot be written.
    """
    path = Path(path)
    if _is_stream(path) or os.name == "nt":
        yield
        return
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name[:200]}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(lock)
    except BlockingIOError:
        holder = _holder(lock)
        raise InputError(f"{path}: {holder} is writing it; wait for that to end, or give another place") from None
    except OSError as error:
        if os.path.exists(lock) and not os.access(lock, os.W_OK):
            why = os.strerror(error.errno or 0).lower()
            line = f"{path}: {lock}, which another user's job left, cannot be locked ({why}); remove it, or give another place"
            raise InputError(line) from None
        raise InputError(_refusal(path, error)) from None
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # another user's, in a folder where nobody removes those (/tmp)
            lock.unlink(missing_ok=True)  # while it is held, so that nobody's lock is taken away
        os.close(descriptor)


def _locked(lock: Path) -> int:
    """A descriptor of the lock file, held and with this process's number in it; another user's is held as it is."""
    import fcntl

    while True:
        descriptor, writable = _opened(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(descriptor)
                raise
            log.warning("%s: this file system has no locks; do not start a second job on the same file", lock.parent)
        try:
            if os.path.samestat(os.fstat(descriptor), lock.stat()):  # not one that its last holder has just removed
                if writable:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
        except FileNotFoundError:
            pass  # removed: take the next
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(lock: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, and whether it can be written to: one that another user left can be locked, and no more."""
    try:
        return os.open(lock, os.O_CREAT | os.O_RDWR, 0o666), True
    except PermissionError:
        with contextlib.suppress(OSError):  # then the first error says more
            return os.open(lock, os.O_RDONLY), False
        raise


def _holder(lock: Path) -> str:
    with contextlib.suppress(OSError):  # removed meanwhile
        text = lock.read_text(encoding="utf-8", errors="replace").strip()
        if text.isprintable() and text:
            return text[:100]
    return "another process"
