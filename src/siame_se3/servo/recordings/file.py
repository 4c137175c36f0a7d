"""An MCAP file that opens at every moment: after each flush it ends as the format wants it, whatever becomes of the program.

The end of data and the footer without a summary follow the last chunk, and the next chunk takes their place. `mcap.reader`, Foxglove and
rosbags read such a file; a summary, which makes seeking quick, comes with an orderly end.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

LIBRARY = "siame-se3"  # who writes, in the header
MAGIC = b"\x89MCAP0\r\n"
# DataEnd (0x0f: length, CRC; 0 is none) and Footer (0x02: length, start of the summary, of its offsets, CRC), https://mcap.dev/spec
_END = struct.pack("<BQI", 0x0F, 4, 0) + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + MAGIC


class McapFile:
    """The stream that an `mcap.writer.Writer` writes to. What is written waits for `flush`, which is one write to the system.

    Args:
        path: of a file that is not there yet.

    Raises:
        OSError: there is one, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        binary = getattr(os, "O_BINARY", 0)  # of Windows, which else puts another byte before each 0x0a
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | binary, 0o666)
        self._path = path
        self._whole = 0  # bytes that are in the file, its end not counted
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """Keep data for the next flush."""
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        """Where the next data will be."""
        return self._whole + len(self._waiting)

    def flush(self) -> None:
        """Write what waits, and an end.

        Raises:
            OSError: the disk is full, or fails; the file is as it was after the flush before.
        """
        self._put(_END)

    def finish(self) -> None:
        """Write what waits, which has the format's end in it, and close the file.

        Raises:
            OSError: the disk is full, or fails; the file is as it was after the flush before.
        """
        self._put(b"")
        os.ftruncate(self._file, self._whole)
        os.fsync(self._file)
        self.close()

    def close(self) -> None:
        """Let the file go as it is; any number of times."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Close the file and take it away."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _put(self, end: bytes) -> None:
        data, done = bytes(self._waiting) + end, 0
        try:
            while done < len(data):
                done += self._write_at(self._whole + done, data[done:])
        except OSError:
            os.ftruncate(self._file, self._whole)
            self._write_at(self._whole, _END)  # where an end has been already: the place is there
            raise
        self._whole += len(self._waiting)
        self._waiting.clear()

    def _write_at(self, place: int, data: bytes) -> int:
        """Write bytes from a place on; how many were taken."""
        if hasattr(os, "pwrite"):
            return os.pwrite(self._file, data, place)
        os.lseek(self._file, place, os.SEEK_SET)
        return os.write(self._file, data)  # Windows; one thread at a time comes here
