"""Muon in float32 beside PyTorch's, whose orthogonal matrices are made in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from siame_se3.training.muon import Float32Muon, as_matrix, orthogonal
from training_helpers import trainer_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_singular_values_come_near_one_and_the_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix, COEFFICIENTS, 5)
    U, _, V = torch.linalg.svd(matrix, full_matrices=False)
    inside = U.T @ found @ V.T
    assert ((torch.linalg.svdvals(found) > 0.5) & (torch.linalg.svdvals(found) < 1.3)).all()
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-3


def test_a_matrix_of_zeros_stays() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 4), COEFFICIENTS, 5), torch.zeros(3, 4))


@pytest.mark.parametrize("options", [{}, {"nesterov": False}, {"weight_decay": 0.0}], ids=str)
def test_it_steps_as_pytorchs_does(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(20, 12, generator=generator)
    gradients = torch.randn(4, 20, 12, generator=generator)
    ended = []
    for kind in (torch.optim.Muon, Float32Muon):
        p = torch.nn.Parameter(start.clone())
        optimiser = kind([p], lr=0.02, **options)
        for gradient in gradients:
            p.grad = gradient.clone()
            optimiser.step()
        ended.append((p.detach(), optimiser.state[p]["momentum_buffer"]))
    (theirs, their_mean), (ours, our_mean) = ended
    assert torch.allclose(ours - start, theirs - start, atol=0.03 * float((theirs - start).abs().max()))
    assert torch.equal(our_mean, their_mean)


class _Types(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.seen |= {
            x.dtype for x in (found if isinstance(found, (tuple, list)) else (found,)) if isinstance(x, Tensor)
        }
        return found


@pytest.mark.parametrize(("precision", "halves"), [("f32", False), ("bf16", True)])
def test_a_training_in_float32_has_no_bfloat16_anywhere(precision: str, halves: bool) -> None:
    trainer = trainer_of(2, precision=precision)
    with _Types() as types:
        trainer.advance()
    assert (torch.bfloat16 in types.seen) == halves


def test_a_weight_is_seen_as_outputs_by_the_rest() -> None:
    weight = torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last)
    assert as_matrix(weight).shape == (2, 12)
    assert as_matrix(weight).data_ptr() == weight.data_ptr()
    assert as_matrix(torch.ones(3, 5)).shape == (3, 5)
