from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from siame_se3.geometry import lie

VISP_LOG = Path(__file__).parents[1] / "data" / "visp" / "log-coffee-medium-gn.csv"
SWITCH = 0.3  # [rad] where lie leaves its series
ANGLES = [0, 1e-12, 1e-8, 1e-4, 0.1, SWITCH - 1e-9, SWITCH, 1, 2, 3, math.pi - 1e-9, math.pi]
SHAPES = [(), (1,), (3, 2)]
DTYPES = [torch.float64, torch.float32]
ULPS = 16  # of 1; the largest difference from expm is 12, at 3 rad


def twists(angle: float, n: int = 64, seed: int = 0) -> Tensor:
    """Random unit-sized translations and axes, all of one angle."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    axis = torch.nn.functional.normalize(v[:, 3:], dim=1)
    return torch.cat((v[:, :3], axis * angle), 1)


def poses(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return lie.exp(torch.randn(*shape, 6, generator=generator, dtype=torch.float64))


def expm(v: Tensor) -> Tensor:
    """scipy's matrix exponential of the twists' 4x4 generators, float64."""

    def generator(twist: np.ndarray) -> np.ndarray:
        vx, vy, vz, x, y, z = twist
        return np.array([[0, -z, y, vx], [z, 0, -x, vy], [-y, x, 0, vz], [0, 0, 0, 0]])

    return torch.from_numpy(np.stack([scipy.linalg.expm(generator(twist)) for twist in v.double().numpy()]))


def ulp(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", ANGLES)
def test_exp_is_expm(angle: float, dtype: torch.dtype) -> None:
    v = twists(angle).to(dtype)
    T = lie.exp(v)
    assert T.dtype == dtype
    torch.testing.assert_close(T.double(), expm(v), rtol=0, atol=ULPS * ulp(dtype))


@pytest.mark.parametrize("angle", ANGLES)
def test_so3_exp_is_expm(angle: float) -> None:
    v = twists(angle)
    torch.testing.assert_close(lie.so3_exp(v[:, 3:]), expm(v)[:, :3, :3], rtol=0, atol=ULPS * ulp(torch.float64))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", [a for a in ANGLES if a < 3.1])
def test_log_finds_the_twist_of_expm(angle: float, dtype: torch.dtype) -> None:
    v = twists(angle).to(dtype)
    found = lie.log(expm(v).to(dtype))
    torch.testing.assert_close(found, v, rtol=0, atol=ULPS * ulp(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", [a for a in ANGLES if 0 < a < 3.1])
def test_so3_exp_is_exact_relative_to_the_angle(angle: float, dtype: torch.dtype) -> None:
    """R - R^T = 2 sin(theta) hat(u): a small angle keeps all its digits."""
    w = twists(angle)[:, 3:].to(dtype)
    R = lie.so3_exp(w).double()
    found = torch.stack((R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]), 1) / 2
    t = w.double().norm(dim=1, keepdim=True)
    error = (found - w.double() * t.sin() / t).norm(dim=1) / angle
    assert float(error.max()) <= 4 * ulp(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", [a for a in ANGLES if 0 < a < 3.1])
def test_so3_log_is_exact_relative_to_the_angle(angle: float, dtype: torch.dtype) -> None:
    w = twists(angle)[:, 3:].to(dtype)
    error = (lie.so3_log(lie.so3_exp(w)) - w).norm(dim=1) / angle
    assert float(error.max()) <= 4 * ulp(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("angle", ANGLES)
def test_exp_undoes_log(angle: float, dtype: torch.dtype) -> None:
    T = expm(twists(angle, seed=2)).to(dtype)
    torch.testing.assert_close(lie.exp(lie.log(T)), T, rtol=0, atol=ULPS * ulp(dtype))


@pytest.mark.parametrize("below_pi", [1e-3, 1e-6, 1e-9, 1e-12])
def test_so3_log_near_pi_keeps_angle_and_axis(below_pi: float) -> None:
    w = twists(math.pi - below_pi)[:, 3:]
    w = torch.cat((w, (math.pi - below_pi) * torch.eye(3, dtype=w.dtype)))
    R = torch.from_numpy(Rotation.from_rotvec(w.numpy()).as_matrix())
    torch.testing.assert_close(lie.so3_log(R), w, rtol=0, atol=1e-14)


def test_so3_log_at_pi_gives_pi_about_the_axis() -> None:
    axis = torch.nn.functional.normalize(
        torch.cat((twists(1.0)[:, 3:], torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, 1], [-1, 1, 0]]).double())), dim=1
    )
    R = 2 * axis[:, :, None] * axis[:, None] - torch.eye(3, dtype=axis.dtype)
    found = lie.so3_log(R)
    torch.testing.assert_close(found.norm(dim=1), torch.full((len(R),), math.pi, dtype=R.dtype), rtol=0, atol=1e-15)
    torch.testing.assert_close((found * axis).sum(1).abs(), found.norm(dim=1), rtol=0, atol=1e-14)


def test_so3_log_is_scipys_rotation_vector() -> None:
    rotations = Rotation.random(500, rng=np.random.default_rng(0))
    found = lie.so3_log(torch.from_numpy(rotations.as_matrix()))
    torch.testing.assert_close(found, torch.from_numpy(rotations.as_rotvec()), rtol=0, atol=1e-14)


def test_so3_log_forgives_a_rotation_that_is_rounded() -> None:
    """A float32 rotation in float64 is not orthogonal to 1e-16; the angle is still right to 1e-7."""
    w = torch.cat([twists(a)[:, 3:] for a in (0, 1e-3, 1, 3)])
    R = lie.so3_exp(w).float().double()
    torch.testing.assert_close(lie.so3_log(R), w, rtol=0, atol=3e-7)


def test_hat_is_the_cross_product() -> None:
    a, b = twists(1.0)[:, :3], twists(1.0, seed=1)[:, :3]
    torch.testing.assert_close((lie.hat(a) @ b[..., None])[..., 0], torch.cross(a, b, dim=-1), rtol=0, atol=1e-15)


def test_inverse_cancels() -> None:
    T = poses(50)
    eye = torch.eye(4, dtype=T.dtype).expand_as(T)
    torch.testing.assert_close(T @ lie.inverse(T), eye, rtol=0, atol=1e-14)
    torch.testing.assert_close(lie.inverse(T) @ T, eye, rtol=0, atol=1e-14)


def test_adjoint_moves_a_twist_to_the_other_frame() -> None:
    T, v = poses(50), torch.cat([twists(a, 10) for a in (1e-8, 0.1, 1, 2, 3)])
    moved = (lie.adjoint(T) @ v[..., None])[..., 0]
    torch.testing.assert_close(lie.exp(moved), T @ lie.exp(v) @ lie.inverse(T), rtol=0, atol=1e-13)


def test_adjoints_compose() -> None:
    a, b = poses(20, seed=1), poses(20, seed=2)
    torch.testing.assert_close(lie.adjoint(a @ b), lie.adjoint(a) @ lie.adjoint(b), rtol=0, atol=1e-13)


def test_pose_vector_round_trip() -> None:
    p = torch.cat([twists(a, 10) for a in ANGLES if a < 3.1])
    T = lie.pose_from_vector(p)
    assert torch.equal(T[:, :3, 3], p[:, :3])
    torch.testing.assert_close(lie.vector_from_pose(T), p, rtol=0, atol=1e-14)


def test_error_norms() -> None:
    p = torch.cat([twists(a, 10) for a in ANGLES])
    distance, angle = lie.error_norms(lie.pose_from_vector(p))
    torch.testing.assert_close(distance, p[:, :3].norm(dim=1), rtol=1e-15, atol=0)
    torch.testing.assert_close(angle, p[:, 3:].norm(dim=1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batches_equal_their_items(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(4)
    v = torch.randn(*shape, 6, generator=generator, dtype=torch.float64)
    T = lie.exp(v)
    outputs = {
        "hat": (lie.hat, v[..., :3]),
        "so3_exp": (lie.so3_exp, v[..., 3:]),
        "so3_log": (lie.so3_log, T[..., :3, :3]),
        "exp": (lie.exp, v),
        "log": (lie.log, T),
        "inverse": (lie.inverse, T),
        "adjoint": (lie.adjoint, T),
        "pose_from_vector": (lie.pose_from_vector, v),
        "vector_from_pose": (lie.vector_from_pose, T),
        "distance": (lambda T: lie.error_norms(T)[0], T),
        "angle": (lambda T: lie.error_norms(T)[1], T),
    }
    for name, (function, x) in outputs.items():
        y = function(x)
        assert y.shape[: len(shape)] == shape, name
        for index in np.ndindex(*shape):
            torch.testing.assert_close(y[index], function(x[index]), rtol=0, atol=1e-15, msg=name)


def test_visps_loop_is_ours() -> None:
    """c*Mc_{k+1} = c*Mc_k exp(v dt), to the log's nine digits: half of the last one before and after."""
    log = torch.from_numpy(np.loadtxt(VISP_LOG, delimiter=",", skiprows=1))
    before, after = log[:-1], log[1:]
    same_run = before[:, 0] == after[:, 0]
    before, after = before[same_run], after[same_run]
    assert len(before) == 87
    T = lie.pose_from_vector(before[:, 2:8]) @ lie.exp(before[:, 11:17] * 0.04)
    torch.testing.assert_close(lie.vector_from_pose(T), after[:, 2:8], rtol=0, atol=1.1e-9)


def test_visps_error_norms_are_ours() -> None:
    log = torch.from_numpy(np.loadtxt(VISP_LOG, delimiter=",", skiprows=1))
    distance, angle = lie.error_norms(lie.pose_from_vector(log[:, 2:8]))
    torch.testing.assert_close(distance, log[:, 8], rtol=0, atol=1.1e-9)
    torch.testing.assert_close(angle.rad2deg(), log[:, 9], rtol=0, atol=1.1e-7)
