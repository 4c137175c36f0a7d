"""How valid input is spoilt: bytes of any file, texts, JSON, pictures, messages. Each takes the valid files and a generator."""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from random import Random
from typing import Any

SIZES = (0, 1, 127, 255, 256, 30_000, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
NUMBERS = (
    *("0", "-0", "1", "-1", "0.5", "1e-320", "1e308", "1e999", "nan", "inf", "-inf", ".nan", ".inf", "0x10", "0x" + "f" * 500, "1_0"),
    *("9" * 30, "9" * 5000, "1:30:00", "1e5", "224.0", "1j", "", " ", "a", '"1"', "true", "null", "~", "١", "é", "\x00", "\u2028"),
)  # fmt: skip
YAML = (
    *("[]", "{}", "[1, 2]", "{data: 1}", "&a [*a]", "*nope", "!!binary aGk=", "!!set {a, b}", "!!float x", "!!int x", "!foo bar"),
    *("!!python/object/apply:os.system [id]", "!!python/name:os.system", "2020-01-01", "2020-13-45", "|\n  text", "<<: 1", "? x"),
    *("[.nan, 0, 111, 0, 300, 111, 0, 0, 1]", "[1e308, 0, 0, 0, 1e-308, 0, 0, 0, 1]", "[true, 0, 0]", "[[1], [2], [3]]", "plumb_bob"),
    *("equidistant", "[0, 0, 1e7]", "[1e300, 0, 0]", "!!opencv-matrix {rows: 3, data: [1, 2, 3]}", "[" * 200, "{a: " * 200, "- " * 200),
)  # fmt: skip
JSON: tuple[Any, ...] = (
    *(0, 1, -1, 2, 0.5, -0.5, 1e308, float("nan"), float("inf"), None, True, False, 10**6, 10**12, 2**63, 10**400),
    *("", "x", "../../etc/passwd", "os.system", "eval", "\x00", "\x1b[31m", "\ud800", "velocity", "pose", "average", "spatial", "matching"),
    *("geometric", "descriptors", "homography", "convnext_xxlarge", "vit_giant_patch14_224", "hf-hub:a/b", "local-dir:x", "mean", "edge"),
    *([], [1], [1] * 7, {}, {"a": 1}, [None], [[]], [64, 64], [0], [-1], [1.5], [25_000, 25_000], [[[[[[[[[[]]]]]]]]]], "[" * 5000),
)  # fmt: skip


def splice(valid: list[bytes], rng: Random) -> bytes:
    """One of the files with up to 50 changes: bits, bytes, cuts, copies, lengths, or the end of another one."""
    b = bytearray(rng.choice(valid))
    for _ in range(rng.choice((1, 1, 2, 3, 5, 10, 50))):
        if not b:
            break
        i = rng.randrange(len(b)) if rng.random() < 0.5 else rng.randrange(min(len(b), 200))
        j = min(len(b), i + rng.randrange(64))
        change = rng.randrange(9)
        if change == 0:
            b[i] ^= 1 << rng.randrange(8)
        elif change == 1:
            b[i] = rng.choice(b"\x00\xff\x7f\x80\x010\n")
        elif change == 2 and rng.random() < 0.3:
            del b[i:]
        elif change == 3:
            del b[i:j]
        elif change == 4:
            b[i:i] = b[i:j] * rng.choice((1, 2, 10))
        elif change == 5:
            b[i:i] = rng.randbytes(rng.randrange(16))
        elif change == 6:
            b[i : i + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(SIZES) % 2**32)
        elif change == 7:
            b[i : i + 8] = struct.pack("<Q", rng.choice(SIZES))
        elif change == 8 and rng.random() < 0.2:
            other = rng.choice(valid)
            b[i:] = other[min(i, len(other)) :]
    return bytes(b)


def text(valid: list[bytes], rng: Random, values: tuple[str, ...] = NUMBERS) -> bytes:
    """A text whose numbers and words are replaced, or its bytes spoilt."""
    if rng.random() < 0.4:
        return splice(valid, rng)
    pieces = re.split(r"([-+.\w]+)", rng.choice(valid).decode("utf-8", "replace"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        pieces[rng.randrange(len(pieces))] = rng.choice(values)
    if rng.random() < 0.03:
        pieces.append('"' + "x" * rng.choice((131_071, 131_073, 500_000)) + '"')
    return "".join(pieces).encode("utf-8", "surrogatepass")


def yaml(valid: list[bytes], rng: Random) -> bytes:
    """A YAML text with odd values, aliases that stand for much, or deep nesting."""
    if rng.random() < 0.05:
        levels, width = rng.randrange(2, 10), rng.randrange(2, 10)
        first = f"a0: &a0 [{','.join(['x'] * width)}]\n"
        more = "".join(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * width)}]\n" for k in range(1, levels))
        body = re.sub(r"(?m)^(\w+): .*$", rf"\1: *a{levels - 1}", rng.choice(valid).decode(), count=rng.randrange(1, 4))
        return (first + more + body).encode()
    if rng.random() < 0.03:
        return rng.choice((b"[", b"{a: ", b"- ", b"&a [", b'"')) * rng.choice((100, 2000, 100_000))
    return text(valid, rng, (*NUMBERS, *YAML))


def value(x: Any, rng: Random, depth: int = 0) -> Any:
    """A JSON value with a change somewhere."""
    if isinstance(x, dict) and x and (rng.random() < 0.85 or depth == 0):
        name, y = rng.choice(list(x)), dict(x)
        chance = rng.random()
        if chance < 0.1:
            del y[name]
        elif chance < 0.18:
            y[rng.choice(("__class__", "extra", "self", "seed", "x" * 5000))] = rng.choice(JSON)
        else:
            y[name] = value(x[name], rng, depth + 1)
        return y
    if isinstance(x, list) and x and rng.random() < 0.6:
        k = rng.randrange(len(x))
        return [*x[:k], value(x[k], rng, depth + 1), *x[k + 1 :]]
    return rng.choice(JSON)


def json_file(valid: list[bytes], rng: Random) -> bytes:
    """A JSON file with one to three changes."""
    content = json.loads(rng.choice(valid))
    for _ in range(rng.randrange(1, 4)):
        content = value(content, rng)
    return json.dumps(content).encode()


def picture(valid: list[bytes], rng: Random) -> bytes:
    """A picture with spoilt bytes, or one whose header claims another size than it has."""
    chance = rng.random()
    if chance < 0.01:
        return _bomb()
    if chance < 0.06:
        return _png(rng)
    if chance < 0.1:
        return rng.choice(valid)[:16] + rng.randbytes(rng.randrange(500))
    return splice(valid, rng)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@functools.cache
def _bomb() -> bytes:
    """A whole PNG of 13,300 x 13,300 px, just below what Pillow refuses, in 170 kB."""
    side = 13_300
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes([0, k % 256]) + bytes(side - 1)) for k in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _png(rng: Random) -> bytes:
    """A PNG whose header claims any size and kind, with rows for some of it."""
    w, h = (rng.choice((0, 1, 8, 40, 1000, 13_300, 20_000, 32_700, 65_535, 2**31 - 1)) for _ in range(2))
    head = struct.pack(
        ">IIBBBBB", w, h, rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1)), 0, 0, rng.randrange(2)
    )
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(100_000)) for _ in range(rng.choice((1, 10, 300)))) + packer.flush()
    note = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000))) if rng.random() < 0.2 else b""
    end = _chunk(b"IEND", b"") if rng.random() < 0.7 else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + note + _chunk(b"IDAT", rows) + end


def message(valid: list[bytes], rng: Random) -> bytes:
    """A message as `samples` makes it, a line of JSON and bytes: fields within what the wire's types hold, and spoilt data."""
    head, _, data = rng.choice(valid).partition(b"\n")
    fields = json.loads(head)
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice(list(fields))
        fields[name] = _field(fields[name], rng)
    if data and rng.random() < 0.5:
        data = picture([v.partition(b"\n")[2] for v in valid], rng)
    return json.dumps(fields).encode() + b"\n" + data


def _field(x: Any, rng: Random) -> Any:
    if isinstance(x, dict):
        name = rng.choice(list(x))
        return {**x, name: _field(x[name], rng)}
    if isinstance(x, list):  # arrays of fixed length keep it, others are empty at times
        return [_field(v, rng) if rng.random() < 0.3 else v for v in x] if rng.random() < 0.8 else []
    if isinstance(x, bool):
        return not x
    if isinstance(x, int):
        return rng.choice(SIZES) % 2**32
    if isinstance(x, float):
        return rng.choice((0.0, -1.0, 1.0, 1e-320, 1e308, -1e308, 1e30, float("nan"), float("inf"), -float("inf")))
    return rng.choice(
        (
            "",
            "rgb8",
            "bgr8",
            "mono8",
            "mono16",
            "16UC1",
            "yuv422",
            "bayer_rggb8",
            "8UC3",
            "weird",
            "\x1b[31m",
            "é" * 300,
            "png",
        )
    )
