"""Checkpoints are written whole or not at all, and read without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from checkpoint_helpers import VERSION_1
from siame_se3.files import atomically, model_file
from siame_se3.networks import checkpoint
from siame_se3.networks.checkpoint import Model, load, save


def test_loading_draws_no_random_number(good: Path) -> None:
    before = torch.get_rng_state()
    load(good)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_says_what_a_law_needs(model: Model, good: Path) -> None:
    again = load(good)
    assert (again.output, again.distance, again.scales_with_distance) == ("velocity", 0.6, False)
    assert again.focal_ratio == pytest.approx(300 / 224)
    assert load(VERSION_1).scales_with_distance
    assert load(model_file(Path("any-scene"))).scales_with_distance
    assert not load(model_file(Path("coffee"))).scales_with_distance


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_failed_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(partial: Path) -> None:
        partial.write_bytes(b"half of the n")
        raise error

    with pytest.raises(type(error)):
        atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    for content in (b"old", b"new"):
        atomically(path, lambda partial, content=content: partial.write_bytes(content))
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_failed_save_leaves_the_old_model(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    before = path.read_bytes()

    def fail(tensors: object, partial: Path, metadata: object) -> None:
        Path(partial).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
