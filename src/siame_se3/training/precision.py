"""Which arithmetic a training is faster in on the device that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

Precision = Literal["bf16", "f32"]


def precision_for(device: torch.device) -> Precision:
    """'bf16' where the device computes with bfloat16 itself, else 'f32'.

    Where it is emulated, bfloat16 is the slower one: a training step on a processor without AVX-512 takes eleven times as long with it as in float32,
    on one with AVX-512 but no instructions for bfloat16 2.6 times (ResNet-10t, 64 views of 112 px, oneDNN held to these instructions).
    By what the device has and not by a trial: a trial may say another thing the next time, and the same training is then not the same to the bit.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    return "bf16" if device.type == "cpu" and _has_bfloat16(_instructions()) else "f32"


def _has_bfloat16(instructions: Mapping[str, Any]) -> bool:
    return bool(instructions.get("avx512_bf16") or instructions.get("amx_bf16"))


def _instructions() -> Mapping[str, Any]:
    """What the processor has, by PyTorch's names."""
    if hasattr(torch.cpu, "get_capabilities"):
        found: Mapping[str, Any] = torch.cpu.get_capabilities()
        return found
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}  # an older PyTorch has no public name for it
