"""Rows of numbers that become many: the last ones in memory, what is full in a temporary file."""

from __future__ import annotations

import math
import tempfile
import weakref
from dataclasses import dataclass
from io import FileIO

import numpy as np
import torch
from torch import Tensor

from siame_se3.errors import InputError

_BLOCK = 20_000  # numbers of a block, about
_IN_MEMORY = 2 << 20  # [bytes] of full blocks that stay in memory, of all columns: most runs need no file


@dataclass(frozen=True)
class _Place:
    """Where a block lies in the file [bytes]."""

    start: int


class Blocks:
    """Keeps full blocks: the first in memory, the rest in a temporary file that has no name, which goes with this object.

    Where the temporary folder cannot be written, or is full, blocks stay in memory.

    Args:
        in_memory: how much of them stays there [bytes].

    Attributes:
        refused: why the file does not take any more; None where it does.
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._room = in_memory
        self._file: FileIO | None = None
        self._end = 0
        self.refused: OSError | None = None

    def keep(self, block: Tensor) -> Tensor | _Place:
        """A copy of the block, or its place in the file."""
        data = _bytes_of(block)
        if self.refused is None and len(data) > self._room:
            try:
                return self._written(data)
            except OSError as error:
                self.refused = error
        self._room -= len(data)
        return block.clone()

    def _written(self, data: memoryview) -> _Place:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is closed when nothing needs it any more
            weakref.finalize(self, self._file.close)
        self._file.seek(self._end)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:])
        place = _Place(self._end)
        self._end += len(data)
        return place

    def read(self, kept: Tensor | _Place, into: Tensor) -> None:
        """What `keep` gave, as numbers again.

        Raises:
            InputError: the file cannot be read any more.
        """
        if isinstance(kept, Tensor):
            into.copy_(kept)
            return
        assert self._file is not None
        data, done = _bytes_of(into), 0
        try:
            self._file.seek(kept.start)
            while done < len(data):
                count = self._file.readinto(data[done:])
                if not count:
                    raise OSError("it ends too early")
                done += count
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"what was recorded cannot be read back from the temporary folder ({reason}); set TMPDIR to another folder"
            ) from None


class Column:
    """Rows of one shape, in blocks: a tensor for each row would take ten times the memory of its numbers.

    Args:
        blocks: where full blocks are kept.
        shape: of a row.
        dtype: of its numbers.
    """

    def __init__(self, blocks: Blocks, *shape: int, dtype: torch.dtype = torch.float64) -> None:
        self._blocks = blocks
        self._rows = max(8, _BLOCK // max(1, math.prod(shape)))  # of a block
        self._present = torch.empty(self._rows, *shape, dtype=dtype)
        self._kept: list[Tensor | _Place] = []

    def put(self, k: int, row: Tensor | float) -> None:
        """Row k: the next one, or the last one again."""
        if k // self._rows > len(self._kept):
            self._kept.append(self._blocks.keep(self._present))
        self._present[k % self._rows] = row

    def first(self, count: int) -> Tensor:
        """The first rows (count, *shape), of those that were put."""
        rows = torch.empty(count, *self._present.shape[1:], dtype=self._present.dtype)
        for k, part in enumerate(rows.split(self._rows)):
            if k < len(self._kept):
                self._blocks.read(self._kept[k], part)
            else:
                part.copy_(self._present[: len(part)])
        return rows


def _bytes_of(numbers: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return numbers.numpy().reshape(-1).view(np.uint8).data
