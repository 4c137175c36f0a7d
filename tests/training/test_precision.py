"""bfloat16 only where it is the device's own: emulated it is up to eleven times as slow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from siame_se3.scenes.conditions import NONE
from siame_se3.training import precision, state
from siame_se3.training.driver import fit
from siame_se3.training.recipe import Recipe, TrainConfig
from training_helpers import few_views, network_of, print_of_colours, trainer_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("instructions", "best"),
    [
        ({"avx2": True, "fma3": True}, "f32"),
        ({"avx2": True, "avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, "f32"),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"avx512_f": True, "amx_bf16": True}, "bf16"),
        ({"neon": True, "architecture": "aarch64"}, "f32"),
    ],
    ids=["a laptop's", "AVX-512 alone", "AVX-512 BF16", "AMX", "ARM"],
)
def test_a_processor_trains_in_what_it_computes_with(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, Any], best: str
) -> None:
    monkeypatch.setattr(precision, "_instructions", lambda: instructions)
    assert precision.precision_for(CPU) == best
    assert trainer_of(precision="auto").config.precision == best


@pytest.mark.parametrize(("own", "best"), [(True, "bf16"), (False, "f32")], ids=["Ampere", "Turing"])
def test_a_gpu_that_only_emulates_bfloat16_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, own: bool, best: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: own or including_emulation)
    assert precision.precision_for(torch.device("cuda")) == best


@pytest.mark.parametrize(("has", "best"), [(True, "bf16"), (False, "f32")])
def test_an_older_pytorch_knows_it_by_another_name(monkeypatch: pytest.MonkeyPatch, has: bool, best: str) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert precision.precision_for(CPU) == best


@pytest.mark.parametrize("asked", ["f32", "bf16"])
def test_what_is_asked_for_is_done(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr(precision, "precision_for", lambda device: pytest.fail("nobody asked"))
    assert trainer_of(precision=asked).config.precision == asked


def test_the_card_says_what_it_was_and_a_training_goes_on_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = Recipe(network_of(), data=few_views(augmentation=NONE), train=TrainConfig(steps=2, evaluations=0))
    out = tmp_path / "model.safetensors"
    begun = trainer_of(2, precision="bf16")
    state.save(begun, state.path_of(out))
    monkeypatch.setattr(precision, "_instructions", dict)
    assert state.as_begun(recipe, state.path_of(out)).train.precision == "bf16"
    assert (
        state.as_begun(
            replace(recipe, train=replace(recipe.train, precision="f32")), state.path_of(out)
        ).train.precision
        == "f32"
    )
    state.path_of(out).unlink()
    model = fit(recipe, [print_of_colours()], out).model
    assert model.card["recipe"]["train"]["precision"] == "f32"
