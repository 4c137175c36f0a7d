"""Arrays of a .npz or .npy, after what it claims to hold has been checked."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from siame_se3.errors import InputError
from siame_se3.files.reading import read_bytes

if TYPE_CHECKING:
    import numpy as np

_MOST_MEMBERS = 64
_ALWAYS = 64_000_000  # [bytes] that any file may hold; more only if it has a size to match
_RATIO = 100  # of compression; long runs that stand still have 50
_NO_ARRAY = (  # what NumPy raises of a damaged array; the last ones of a header's text, which it reads as Python
    *(ValueError, TypeError, EOFError),
    *(SyntaxError, tokenize.TokenError, RecursionError, MemoryError, OverflowError, IndexError, AttributeError),
)


def read_npz(path: str | Path, most_bytes: int = 800_000_000, hint: str = "") -> dict[str, np.ndarray]:
    """All arrays of a .npz by name, without pickles; nothing is allocated before its claimed size has been found to be plausible.

    Args:
        most_bytes: all arrays together.
        hint: what to give instead, for errors.

    Raises:
        InputError: no such file, not a .npz, a damaged one, or one that claims to hold too much.
    """
    path = Path(path)
    advice = f"; {hint}" if hint else ""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'a folder, no such file' if path.is_dir() else 'no such file'}{advice}")
        most = min(most_bytes, _ALWAYS + _RATIO * path.stat().st_size)
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            claimed = sum(member.file_size for member in members)
            if len(members) > _MOST_MEMBERS or claimed > most:
                raise InputError(
                    f"{path}: claims {len(members)} arrays of {claimed / 1e6:.0f} MB, too much for it{advice}"
                )
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()}){advice}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, *_NO_ARRAY):
        raise InputError(f"{path}: not a .npz file, or a damaged one{advice}") from None


def read_npy(path: str | Path, most_bytes: int = 800_000_000, hint: str = "") -> np.ndarray:
    """The array of a .npy, without pickles; nothing is allocated before its claimed size has been found to be the file's.

    Args:
        most_bytes: of the file.
        hint: what to give instead, for errors.

    Raises:
        InputError: no such file, not a .npy, a damaged one, or one that is larger or claims to hold more than it has.
    """
    from numpy.lib import format as npy

    content = read_bytes(path, most_bytes, hint)
    try:
        _check_header(io.BytesIO(content), len(content))
        return npy.read_array(io.BytesIO(content), allow_pickle=False)
    except _NO_ARRAY:
        raise InputError(f"{path}: not a .npy file, or a damaged one{f'; {hint}' if hint else ''}") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One member; its header says as many bytes as the archive, or ValueError."""
    from numpy.lib import format as npy

    with archive.open(member) as stream:
        _check_header(stream, member.file_size)
    with archive.open(member) as stream:
        return npy.read_array(stream, allow_pickle=False)


def _check_header(stream: io.BufferedIOBase | IO[bytes], size: int) -> None:
    """ValueError if the header at a stream's start is not that of an array of plain numbers that fills `size` bytes with it."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError("an array of another version")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject or stream.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError("a header that does not fit its array")
