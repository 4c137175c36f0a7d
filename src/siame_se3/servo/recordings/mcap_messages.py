"""Messages of an MCAP file in the order that they are there, read with doubt: whatever bytes it has, it is one line or messages, within bounds of memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from siame_se3.errors import InputError
from siame_se3.files import parse_json
from siame_se3.files.optional import needs

HINT = "give a recording that siame-se3 made, or a bag of ROS 2"
MOST = 1 << 28  # [bytes] of a record, and of what a chunk unpacks to
_OF_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
)  # what lengths and numbers that were changed lead to


def messages(path: Path, topics: frozenset[str], cut: list[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and content of each message in JSON, in the file's order.

    Args:
        path: of the file.
        topics: whose messages are given.
        cut: gets a text where the file ends too early.

    Raises:
        InputError: a damaged file; the package mcap is not installed.
    """
    exceptions, zstd = needs("mcap.exceptions", "record"), needs("zstandard", "record")
    with path.open("rb") as stream:
        try:
            for channel, data in _found(stream, topics):
                if channel.message_encoding == "json":
                    content = parse_json(data.decode(), f"{path}: a message of {channel.topic}", HINT)
                    if not isinstance(content, dict):
                        raise InputError(f"{path}: a message of {channel.topic} has no fields; {HINT}")
                    yield channel.topic, content
        except (exceptions.McapError, zstd.ZstdError, struct.error, *_OF_DAMAGE) as error:
            if isinstance(error, exceptions.EndOfFile | struct.error) and not stream.read(1):
                if cut is not None:
                    cut.append(", as it is cut off")
                return
            reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
            raise InputError(f"{path}: a damaged MCAP file ({reason}); {HINT}") from None


def _found(stream: IO[bytes], topics: frozenset[str]) -> Iterator[tuple[Any, bytes]]:
    """Channel and data of each message."""
    kinds, channels = needs("mcap.records", "record"), {}
    for record in _records(stream):
        if isinstance(record, kinds.Channel):
            channels[record.id] = record
        elif isinstance(record, kinds.Message):
            if record.channel_id not in channels:
                raise ValueError(f"no channel {record.channel_id}")
            channel = channels[record.channel_id]
            if channel.topic in topics:
                yield channel, record.data


def _records(stream: IO[bytes]) -> Iterator[Any]:
    """All of them, those of chunks too; sums are checked."""
    reader, kinds = needs("mcap.stream_reader", "record"), needs("mcap.records", "record")
    for record in reader.StreamReader(stream, emit_chunks=True, validate_crcs=True, record_size_limit=MOST).records:
        if isinstance(record, kinds.Chunk):
            yield from reader.breakup_chunk(_unpacked(record), validate_crc=True)
        else:
            yield record


def _unpacked(chunk: Any) -> Any:
    """A chunk with its data as they were before compression: of the size that it says, which is a bounded one.

    Raises:
        ValueError: another size, or damaged data. ZstdError: damaged data.
    """
    size = chunk.uncompressed_size
    if size > MOST:
        raise ValueError(f"a chunk that unpacks to {size} bytes, {MOST} at most")
    if chunk.compression == "zstd":
        data = _unpacked_zstd(chunk.data, size)
    elif chunk.compression == "lz4":
        data = _unpacked_lz4(chunk.data, size)
    else:
        return chunk
    if len(data) != size:
        raise ValueError(f"a chunk of {size} bytes unpacks to another number of them")
    return replace(chunk, compression="", data=data)


def _unpacked_zstd(data: bytes, size: int) -> bytes:
    zstd = needs("zstandard", "record")
    said = zstd.get_frame_parameters(data).content_size  # which is what is made room for, if it is there
    if said not in (size, zstd.CONTENTSIZE_UNKNOWN):
        raise ValueError(f"a chunk of {size} bytes unpacks to {said}")
    unpacked: bytes = zstd.decompress(data, size)
    return unpacked


def _unpacked_lz4(data: bytes, size: int) -> bytes:
    lz4 = needs("lz4.frame", "record")
    try:
        unpacked: bytes = lz4.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
    except RuntimeError as error:  # of the package, for any damage
        raise ValueError(str(error)) from None
    return unpacked
