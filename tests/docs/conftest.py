"""Networks as they are, not compiled: for what is run once, in a small setting."""

from __future__ import annotations

import pytest

from siame_se3.networks import engines


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks run in PyTorch whatever engine is asked for: compiling one takes seconds."""
    compiled = engines.engine_for
    monkeypatch.setattr(engines, "engine_for", lambda network, engine="auto": compiled(network, "torch"))
