"""What a picture's first bytes claim, read before anything of that size is allocated."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from siame_se3.errors import InputError

MOST_PIXELS = 100_000_000  # larger than any camera of a robot, and any phone's by default
_FEW_PIXELS = 16_000_000  # up to this many may be of one colour
_MOST_GROWTH = 300  # a photo of _FEW_PIXELS and more never is that many times smaller than its pixels
_PILLOW = ("BMP", "GIF", "PPM", "WEBP")  # these, beside the three that are read here: no format that runs programs
PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", *_PILLOW)


@dataclass(frozen=True)
class Header:
    """What a picture claims to be.

    Attributes:
        kind: PNG, JPEG, TIFF or another of Pillow's names.
        width, height: size [px].
        bits: of a sample as it is stored.
        significant: how many of them count, where the format says so; 0 where it does not.
        floating: the samples are floating-point numbers.
        samples: of a pixel.
        orientation_at: where a TIFF has its orientation; 0 where it has none.
    """

    kind: str
    width: int
    height: int
    bits: int = 8
    significant: int = 0
    floating: bool = False
    samples: int = 3
    orientation_at: int = 0


class _TooManyPixels(Exception):
    """Pillow's own limit."""


def header_of(data: bytes, where: str, most_pixels: int = MOST_PIXELS) -> Header:
    """The header of a picture, if it is one that may be decoded.

    Args:
        data: the file.
        where: its name, for errors.
        most_pixels: more are refused.

    Raises:
        InputError: not a picture, or one that claims more pixels than is sane.
    """
    try:
        header = _read(data)
    except (struct.error, IndexError, KeyError, ValueError):
        header = None
    except _TooManyPixels:
        raise InputError(f"{where}: more than {most_pixels / 1e6:g} megapixels; give a smaller picture") from None
    if header is None or min(header.width, header.height) < 1:
        raise InputError(f"{where}: not an image that can be read; give a JPEG, PNG or TIFF")
    pixels = header.width * header.height
    size = f"{header.width} x {header.height} px"
    if pixels > most_pixels:
        raise InputError(f"{where}: {size} are more than {most_pixels / 1e6:g} megapixels; give a smaller picture")
    if pixels > _FEW_PIXELS and pixels * max(header.samples, 1) * max(header.bits, 8) / 8 > _MOST_GROWTH * len(data):
        raise InputError(f"{where}: {size} in {len(data)} bytes is not a photo; give another picture")
    return header


def _read(data: bytes) -> Header | None:
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(data)
    return _other(data)


def _png(data: bytes) -> Header | None:
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    significant, place = 0, 8
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if place + 12 + length > len(data):  # decoders allocate what a chunk claims
            return None
        if name == b"sBIT":
            significant = max(data[place + 8 : place + 8 + length], default=0)
        if name == b"IEND":
            break
        place += 12 + length
    return Header("PNG", width, height, bits, significant, samples={0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour])


def _jpeg(data: bytes) -> Header | None:
    place = 2
    while place + 9 < len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's start
            bits, height, width, samples = struct.unpack(">BHHB", data[place + 4 : place + 10])
            return Header("JPEG", width, height, bits, samples=samples)
        alone = marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7  # padding, and markers without a length
        place += (1 if marker == 0xFF else 2) if alone else 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]
    return None


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[start : start + 2])
    tags: dict[int, int] = {}
    orientation_at = 0
    for k in range(count):
        tag, kind, n, raw = struct.unpack(order + "HHI4s", data[start + 2 + 12 * k : start + 14 + 12 * k])
        if kind not in (3, 4) or n < 1:  # 16 and 32 bits
            continue
        if n * (2 if kind == 3 else 4) > 4:
            (at,) = struct.unpack(order + "I", raw)
            raw = data[at : at + 4]
        elif tag == 274:
            orientation_at = start + 10 + 12 * k
        value = struct.unpack(order + ("H" if kind == 3 else "I"), raw[: 2 if kind == 3 else 4])[0]
        tags.setdefault(tag, value)  # the first counts
    most = tags.get(281, 0)  # MaxSampleValue
    floating, samples = tags.get(339, 1) == 3, tags.get(277, 1)
    bits = tags.get(258, 1)
    return Header("TIFF", tags[256], tags[257], bits, most.bit_length(), floating, samples, orientation_at)


def without_orientation(data: bytes, header: Header) -> bytes:
    """A TIFF that decoders leave in its raster: Pillow and OpenCV turn TIFFs, and no other kind."""
    if not header.orientation_at:
        return data
    upright = (1).to_bytes(2, "little" if data[:2] == b"II" else "big")
    return data[: header.orientation_at] + upright + data[header.orientation_at + 2 :]


def _other(data: bytes) -> Header | None:
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_PILLOW) as picture:
            return Header(str(picture.format), *picture.size, 16 if picture.mode.startswith("I") else 8)
    except Image.DecompressionBombError:
        raise _TooManyPixels from None
    except Exception:  # Pillow's readers raise what they like: RuntimeError, NotImplementedError, struct.error
        return None
