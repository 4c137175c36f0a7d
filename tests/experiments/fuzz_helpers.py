"""Readers that go wrong in the ways that `fuzz` looks for; no case takes long."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from types import SimpleNamespace

from siame_se3.errors import InputError


def _grows(path: Path) -> int:
    kept = bytearray(b"x") * 300_000_000  # touched
    return len(kept)


def _hangs(path: Path) -> None:
    if path.read_bytes() != b"valid":
        time.sleep(60)


def _dies(path: Path) -> None:
    if path.read_bytes() != b"valid":
        os._exit(7)


def _refuses(path: Path) -> None:
    raise InputError(f"{path}: not for me")


def _speaks_much(path: Path) -> None:
    raise InputError(f"{path}: not for me\nnor for others")


def _raises(path: Path) -> None:
    raise KeyError(path.read_bytes())


def _reader(read: object) -> SimpleNamespace:
    def spoil(valid: list[bytes], rng: Random) -> bytes:
        return valid[0] + bytes([rng.randrange(256)])

    return SimpleNamespace(make=lambda folder: [b"valid"], spoil=spoil, read=read)


def _cannot(valid: list[bytes], rng: Random) -> bytes:
    raise RecursionError


READERS = {
    "accepts": _reader(lambda path: None),
    "cannot": SimpleNamespace(make=lambda folder: [b"valid"], spoil=_cannot, read=_refuses),  # a fault of this table
    "dies": _reader(_dies),
    "grows": _reader(_grows),
    "hangs": _reader(_hangs),
    "raises": _reader(_raises),
    "refuses": _reader(_refuses),
    "speaks much": _reader(_speaks_much),
}
