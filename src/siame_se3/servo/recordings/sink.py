"""Encodes a recording's messages and writes them, in a thread of its own: a loop that moves a robot does not wait for a disk."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from siame_se3.errors import InputError
from siame_se3.files.optional import needs
from siame_se3.plants.robots.threads import Worker, describe
from siame_se3.servo.recordings.file import LIBRARY, McapFile
from siame_se3.servo.recordings.messages import SCHEMAS, Entry

_FLUSH_BYTES, _FLUSH_SECONDS = 1 << 20, 0.5  # what a crash may lose: the last of either
_MOST_WAITING = 64 << 20  # [bytes] of memory, or one message that is larger
_END = 30.0  # [s] for the rest, at the end


class Sink:
    """An MCAP file that takes messages from one thread.

    Args:
        path: of the file; there must be none yet.

    Attributes:
        error: why nothing more is written, in one line; '' while all is well.

    Raises:
        InputError: the package mcap is not installed, or the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        writer = needs("mcap.writer", "record")
        self.path, self.error = path, ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = McapFile(path)
        except OSError as error:
            raise _refused(path, error) from None
        # Chunks are ended by flushes here, and never by their size.
        self._writer: Any = writer.Writer(self._file, chunk_size=1 << 40, compression=writer.CompressionType.ZSTD)
        self._changed = threading.Condition()  # of what follows
        self._entries: deque[Entry] = deque()
        self._waiting = 0  # [bytes]
        self._ending = False
        try:
            self._begin()
        except OSError as error:
            self._file.remove()
            raise _refused(path, error) from None
        self._worker = Worker("recording", self._run, endless=False, failed=self._failed)

    def _begin(self) -> None:
        self._writer.start(profile="", library=LIBRARY)
        schemas: dict[str, int] = {}
        self._channels = {}
        for topic, schema in SCHEMAS.items():
            title = schema["title"]
            if title not in schemas:
                schemas[title] = self._writer.register_schema(title, "jsonschema", json.dumps(schema).encode())
            self._channels[topic] = self._writer.register_channel(topic, "json", schemas[title])
        self._writer.flush()

    def put(self, entry: Entry, wait: bool) -> bool:
        """Take a message; False where it is lost, since the disk is too slow, or the file takes no more.

        Args:
            wait: for room, where there is none.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._fits(entry) or self.error)
            if self.error or not self._fits(entry):
                return False
            self._entries.append(entry)
            self._waiting += entry.size
            self._changed.notify_all()
        return True

    def _fits(self, entry: Entry) -> bool:
        """Whether there is room for a message; where nothing waits, for one of any size."""
        return self._waiting == 0 or self._waiting + entry.size <= _MOST_WAITING

    def close(self) -> None:
        """Write the rest and end the file; `error` says where that could not be done."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if not self._worker.join(_END):
            self._fail(
                f"{self.path}: the disk has not taken the recording's end for {_END:g} s; what it took can be read"
            )

    def _run(self) -> None:
        """The thread."""
        written, last = 0, time.monotonic()
        try:
            while (entry := self._next(_FLUSH_SECONDS if written else None)) is not None or not self._ended():
                if entry is not None:
                    data = entry.encoded()
                    channel = self._channels[entry.topic]
                    self._writer.add_message(channel, log_time=entry.time, data=data, publish_time=entry.time)
                    written += len(data)
                    self._done(entry)
                if written and (written > _FLUSH_BYTES or time.monotonic() - last > _FLUSH_SECONDS):
                    self._writer.flush()
                    written, last = 0, time.monotonic()
            self._writer.finish()
            self._file.finish()
        except OSError as error:
            self._fail(f"{error_line(self.path, error)}; the recording ends here, and what it has can be read")
        finally:
            self._file.close()

    def _next(self, seconds: float | None) -> Entry | None:
        """The next message; None where none comes within so many seconds, or none will."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._ending, seconds)
            return self._entries.popleft() if self._entries else None

    def _ended(self) -> bool:
        with self._changed:
            return self._ending and not self._entries

    def _done(self, entry: Entry) -> None:
        with self._changed:
            self._waiting -= entry.size
            self._changed.notify_all()

    def _failed(self, error: BaseException) -> None:
        self._fail(f"{self.path}: the recording ends here ({describe(error)}); what it has can be read")

    def _fail(self, line: str) -> None:
        with self._changed:
            self.error = self.error or line
            self._entries.clear()
            self._changed.notify_all()


def error_line(path: Path, error: OSError) -> str:
    """What the system did not take."""
    return f"{path}: cannot be written ({os.strerror(error.errno or 0).lower()})"


def _refused(path: Path, error: OSError) -> InputError:
    if os.path.lexists(path):
        return InputError(
            f"{path}: there is such a file already, and a recording replaces none; give another name", "record"
        )
    return InputError(f"{error_line(path, error)}; give another place", "record")
