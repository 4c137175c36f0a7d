"""Limits of speed and of acceleration, and the gain."""

from __future__ import annotations

import pytest
import torch

from loop_helpers import FREE, NEVER, desired, run, starts
from siame_se3.laws.pose import PBVS, teacher_velocity
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.limits import adaptive_gain, limited


def test_speed_limits_scale_the_whole_twist() -> None:
    v = 3 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v[0] *= 1e-3
    out = limited(ServoConfig(max_v=0.5, max_w=2.0).limits, v, torch.zeros_like(v), 0.04)
    speed, turn = out[:, :3].norm(dim=1) / 0.5, out[:, 3:].norm(dim=1) / 2
    assert float(torch.maximum(speed, turn).max()) <= 1 + 1e-12
    share = (out / v).amin(1)
    torch.testing.assert_close(out, share[:, None] * v, rtol=1e-12, atol=0)
    assert bool((share <= 1).all())
    limits_reached = (torch.maximum(speed, turn) - 1).abs() < 1e-12
    assert torch.equal(limits_reached, share < 1)
    assert torch.equal(out[0], v[0])
    assert 0 < int((speed > turn)[limits_reached].sum()) < int(limits_reached.sum())


def test_acceleration_limits_bound_the_change() -> None:
    generator = torch.Generator().manual_seed(0)
    v, previous = (torch.randn(200, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    config = ServoConfig(max_acceleration_v=5.0, max_acceleration_w=20.0, **FREE)
    out = limited(config.limits, v, previous, 0.1)
    for part, bound in ((slice(0, 3), 0.5), (slice(3, 6), 2.0)):
        wanted, change = (v - previous)[:, part], (out - previous)[:, part]
        torch.testing.assert_close(change.norm(dim=1), wanted.norm(dim=1).clamp(max=bound), rtol=1e-12, atol=1e-12)
        aligned = (change * wanted).sum(1) / (change.norm(dim=1) * wanted.norm(dim=1))
        torch.testing.assert_close(aligned, torch.ones_like(aligned), rtol=0, atol=1e-12)
        assert 0 < int((wanted.norm(dim=1) > bound).sum()) < 200


def test_servo_keeps_the_limits() -> None:
    trajectory = run(
        PBVS(),
        desired(20),
        starts(20),
        gain=20.0,
        max_v=0.2,
        max_w=0.5,
        max_acceleration_v=1.0,
        max_acceleration_w=3.0,
        max_iterations=80,
        **NEVER,
    )
    v, w = trajectory.twist[..., :3], trajectory.twist[..., 3:]
    rest = torch.zeros(1, 20, 3, dtype=torch.float64)
    for part, limit, rate in ((v, 0.2, 1.0), (w, 0.5, 3.0)):
        assert float(part.norm(dim=-1).max()) == pytest.approx(limit, rel=1e-9)
        change = torch.diff(torch.cat((rest, part)), dim=0).norm(dim=-1)
        assert float(change.max()) == pytest.approx(rate * 0.04, rel=1e-9)


def test_adaptive_gain_is_visps() -> None:
    size = torch.tensor([0.0, 0.01, 0.1, 1.0, 100.0], dtype=torch.float64)
    v = torch.zeros(5, 6, dtype=torch.float64)
    v[:, 4] = size
    expected = 6 * torch.exp(-30 * size / 6) + 2
    gain = adaptive_gain(v, 2.0, 8.0, 30.0)
    torch.testing.assert_close(gain[:, 0], expected, rtol=1e-12, atol=0)
    assert float(gain[0]) == 8
    assert float(gain[-1]) == 2
    slope = float(adaptive_gain(v[:1] + 1e-6 * torch.eye(6, dtype=torch.float64)[:1], 2.0, 8.0, 30.0) - gain[0]) / 1e-6
    assert slope == pytest.approx(-30, rel=1e-4)


@pytest.mark.parametrize("gain_at_rest", [0.0, 5.0])
def test_constant_gain(gain_at_rest: float) -> None:
    v = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = adaptive_gain(v, 5.0, gain_at_rest)
    assert torch.equal(gain, torch.full((4, 1), 5.0, dtype=torch.float64))


def test_gain_is_applied_once() -> None:
    T_wd, T_wc = desired(3), starts(3)
    trajectory = run(PBVS(), T_wd, T_wc, gain=3.0, max_iterations=1, **FREE)
    expected = 3 * teacher_velocity("pbvs", T_wd, T_wc)
    torch.testing.assert_close(trajectory.twist[0], expected, rtol=1e-14, atol=0)
