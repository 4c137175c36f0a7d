"""What the tests of checkpoints share: files that were changed."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

CARD = {"photo": ["coffee"], "steps": 4, "closed_loop": [{"step": 4, "end_t_m": 0.01}]}


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


VERSION_1 = Path(__file__).parent / "data" / "networks" / "version-1.safetensors"
