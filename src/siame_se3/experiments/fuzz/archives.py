"""How files of arrays are spoilt: .npz and safetensors, whose headers claim sizes and types, with JSON in them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from random import Random
from typing import Any

import numpy as np

from siame_se3.experiments.fuzz.mutations import splice, value


def npz(valid: list[bytes], rng: Random) -> bytes:
    """A .npz with other arrays, another JSON, claims of other sizes, or spoilt bytes."""
    chance = rng.random()
    if chance < 0.3:
        return splice(valid, rng)
    with np.load(io.BytesIO(rng.choice(valid))) as file:
        arrays = {name: file[name] for name in file.files}
    if chance < 0.65:
        meta = json.loads(str(arrays["json"]))
        part = rng.choice([name for name in meta if isinstance(meta[name], dict)])
        meta = value(meta, rng) if rng.random() < 0.4 else {**meta, part: value(meta[part], rng)}
        arrays["json"] = np.array(json.dumps(meta))
    else:
        for _ in range(rng.choice((1, 1, 2))):
            name = rng.choice(list(arrays))
            arrays.update(_array(name, arrays.pop(name), rng))
    content = packed(arrays, zipfile.ZIP_STORED if rng.random() < 0.5 else zipfile.ZIP_DEFLATED)
    return _claimed(content, rng) if rng.random() < 0.15 else content


def packed(arrays: dict[str, np.ndarray], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .npz without the time when it was made: the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue(), compression)
    return out.getvalue()


def _array(name: str, x: np.ndarray, rng: Random) -> dict[str, np.ndarray]:
    change = rng.randrange(8)
    if change == 0:
        return {}
    if change == 1 and x.dtype.kind not in "U":
        with np.errstate(all="ignore"):
            return {name: x.astype(rng.choice(("f4", "f2", "i1", "u1", "c16", "?", "u8", ">f8", "S3")))}
    if change == 2:
        return {name: x.reshape(-1)[: rng.randrange(4)]}
    if change == 3 and x.dtype.kind == "f":
        return {name: np.full_like(x, rng.choice((np.nan, np.inf, 1e308, -1e308, 0, 7)))}
    if change == 4:
        return {name: x, rng.choice(("extra", "__class__", "settings", "dt", "reason")): x}
    if change == 5:
        return {name: np.zeros((0,) * x.ndim, x.dtype)}
    if change == 6:
        return {name: x[..., None]}
    return {name: np.zeros(rng.choice((1, 10, 8_000_000)))}


def _claimed(content: bytes, rng: Random) -> bytes:
    """The archive with a member whose header says another shape."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(out, "w") as target:
        spoilt = rng.choice(source.namelist())
        for name in source.namelist():
            data = source.read(name)
            if name == spoilt:
                head = io.BytesIO()
                shape = tuple(rng.choice((0, 1, 4, 1000, 2**31, 2**40)) for _ in range(rng.randrange(4)))
                descr = rng.choice(("<f8", "|u1", "|O", "<U100000000", "|V9"))
                np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
                data = head.getvalue() + data[128:] + bytes(rng.choice((0, 0, 10**6, 10**8)))
            target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def ordered(content: bytes) -> bytes:
    """A safetensors file with its header in order, which the library writes in another one each time."""
    length = struct.unpack("<Q", content[:8])[0]
    head = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    return struct.pack("<Q", len(head)) + head + content[8 + length :]


def tensors(valid: list[bytes], rng: Random) -> bytes:
    """A safetensors file with another header: sizes, types, names, JSON of its metadata; or spoilt bytes."""
    content = rng.choice(valid)
    length = struct.unpack("<Q", content[:8])[0]
    head, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    chance = rng.random()
    if chance < 0.1:
        return splice([content[: 8 + length]], rng) + body
    if chance < 0.2:
        return splice([content], rng)
    meta = head["__metadata__"]
    if chance < 0.65:
        for _ in range(rng.choice((1, 1, 2))):
            name = rng.choice(list(meta))
            meta[name] = _metadata(meta[name], rng)
    else:
        _tensor(head, rng)
    if rng.random() < 0.1:
        head, body = {"__metadata__": meta}, b""
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def _metadata(text: str, rng: Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(
            (
                "",
                "null",
                "[]",
                "{",
                "1",
                "-1",
                "1e5",
                '"x"',
                "[" * 5000,
                '{"a":' * 5000,
                "NaN",
                "9" * 5000,
                "2",
                "\x1b[31m",
            )
        )
    try:
        return json.dumps(value(json.loads(text), rng))
    except (ValueError, RecursionError):  # this one is not JSON
        return text + rng.choice(("x", "\n", " "))


def _tensor(head: dict[str, Any], rng: Random) -> None:
    name = rng.choice([name for name in head if name != "__metadata__"])
    entry = dict(head[name])
    size = entry["data_offsets"][1] - entry["data_offsets"][0]
    change = rng.randrange(6)
    if change == 0:
        entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F8_E4M3", "C64", "X", "U16"))
    elif change == 1:
        entry["shape"] = [rng.choice((0, 1, 2, 10**6, 2**40, -1, 2**63)) for _ in range(rng.randrange(6))]
    elif change == 2:
        entry["data_offsets"] = [rng.choice((0, 1, 2**40, -1)), rng.choice((0, 1, 2**40, 2**63))]
    elif change == 3:
        entry |= {"shape": [size], "dtype": rng.choice(("U8", "I8", "BOOL"))}
    elif change == 4:
        entry["shape"] = entry["shape"][::-1]
    else:
        other = rng.choice(
            ("../../x", "", "optimiser.0.x.y", "optimiser.0.9999.exp_avg", "network." + "a" * 5000, "__metadata__2")
        )
        head[other] = head.pop(name)
        return
    head[name] = entry
