from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import siame_se3.scenes.poses
from siame_se3.errors import InputError, SceneError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.overlap import overlap, visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import (
    Workspace,
    desired_poses,
    draw_starts,
    offsets,
    reference_pose,
    starts_from_csv,
    table1_starts,
    wide_starts,
)
from siame_se3.scenes.views import near_views, training_views

FUZZ = settings(derandomize=True, deadline=None, max_examples=100)
POSTER = Scene(torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)), 0.8, 0.6)
CAMERA = Camera.from_focal(300, 234)
WORKSPACE = Workspace()
N = 2000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def errors(T_wd: Tensor, T_wc: Tensor) -> tuple[Tensor, Tensor]:
    """Error norms [cm, deg]."""
    distance, angle = lie.error_norms(lie.inverse(T_wd) @ T_wc)
    return 100 * distance, angle.rad2deg()


def shifted(x: float = 0, y: float = 0, z: float = -0.6) -> Tensor:
    return lie.pose_from_vector(torch.tensor([x, y, z, 0, 0, 0], dtype=torch.float64))


def is_one_line_about(path: Path, error: SiameError) -> bool:
    return str(error).startswith(str(path)) and len(str(error).splitlines()) == 1


def starts_or_error(path: Path) -> tuple[Tensor, Tensor] | SiameError:
    try:
        return starts_from_csv(path, WORKSPACE)
    except SiameError as error:
        return error


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starts") / "starts.csv"


@pytest.mark.parametrize(
    "sample",
    [
        lambda g: table1_starts(20, POSTER, CAMERA, WORKSPACE, g),
        lambda g: wide_starts(20, POSTER, CAMERA, WORKSPACE, g),
        lambda g: (training_views(20, POSTER, CAMERA, WORKSPACE, g),),
        lambda g: (desired_poses(20, WORKSPACE, g),),
        lambda g: (offsets(20, WORKSPACE, g),),
        lambda g: (near_views(shifted().repeat(20, 1, 1), WORKSPACE, g),),
        lambda g: draw_starts("table1", 20, POSTER, CAMERA, WORKSPACE, g.initial_seed()),
        lambda g: draw_starts("wide", 20, POSTER, CAMERA, WORKSPACE, g.initial_seed()),
    ],
    ids=["table1", "wide", "training", "desired", "offsets", "near", "draw table1", "draw wide"],
)
def test_the_seed_alone_decides(sample: Callable[[torch.Generator], tuple[Tensor, ...]]) -> None:
    torch.manual_seed(1)
    first = sample(rng(3))
    torch.manual_seed(2)
    again, other = sample(rng(3)), sample(rng(4))
    for a, b in zip(first, again, strict=True):
        assert a.shape == (20, 4, 4)
        assert a.dtype == torch.float64
        assert torch.equal(a, b)
    assert not torch.equal(first[-1], other[-1])


def test_table1_has_the_papers_norms() -> None:
    """Within four standard errors: sigma/sqrt(n), and of sigma for gamma variates sigma sqrt((2 + 6/k)/(4n))."""
    for found, mean, std in zip(
        errors(*table1_starts(N, POSTER, CAMERA, WORKSPACE, rng())), (12.5, 17.5), (7.5, 12), strict=True
    ):
        k = (mean / std) ** 2
        assert float(found.mean()) == pytest.approx(mean, abs=4 * std / math.sqrt(N))
        assert float(found.std()) == pytest.approx(std, abs=4 * std * math.sqrt((2 + 6 / k) / (4 * N)))


@pytest.mark.parametrize("min_overlap", [0.2, 0.6])
def test_table1_passes_the_overlap_filter(min_overlap: float) -> None:
    workspace = Workspace(min_overlap=min_overlap)
    T_wd, T_wc = table1_starts(N, POSTER, CAMERA, workspace, rng())
    assert float(overlap(CAMERA, T_wd, T_wc, POSTER).min()) >= min_overlap
    assert float(visible(POSTER, CAMERA, T_wd).min()) >= 0.5
    assert float(T_wc[:, 2, 3].max()) <= -workspace.min_height


def test_table1_desired_cameras_see_the_print() -> None:
    T_wd, _ = table1_starts(300, POSTER, CAMERA, Workspace(desired_sideways=0.6), rng())
    assert 0.5 <= float(visible(POSTER, CAMERA, T_wd).min()) < 0.6


def test_table1_desired_poses_are_near_the_reference() -> None:
    T_wd, _ = table1_starts(N, POSTER, CAMERA, WORKSPACE, rng())
    p = lie.vector_from_pose(lie.inverse(reference_pose(0.6)) @ T_wd).abs().amax(0)
    bounds = [0.1, 0.1, 0.075, *[math.radians(5)] * 2]
    assert all(0.8 * b < x <= b for x, b in zip(p[:5].tolist(), bounds, strict=True))


def test_table1_rotates_more_about_the_optical_axis() -> None:
    """Axes as 10 : 10 : 16."""
    T_wd, T_wc = table1_starts(N, POSTER, CAMERA, WORKSPACE, rng())
    axis = torch.nn.functional.normalize(lie.so3_log((lie.inverse(T_wd) @ T_wc)[:, :3, :3]), dim=1)
    x, y, z = axis.abs().mean(0).tolist()
    assert x == pytest.approx(y, abs=0.03)
    assert z > 1.25 * max(x, y)


def test_a_scene_too_small_to_see_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siame_se3.scenes.poses, "_ROUNDS", 250)
    speck = Scene(POSTER.texture, 0.01, 0.01, name="speck")
    with pytest.raises(SceneError, match="speck") as error:
        table1_starts(1, speck, CAMERA, WORKSPACE, rng())
    assert len(str(error.value).splitlines()) == 1
    assert error.value.settings == ("width", "distance")


def test_wide_has_the_public_results_norms() -> None:
    distance, angle = errors(*wide_starts(N, POSTER, CAMERA, WORKSPACE, rng()))
    assert float(distance.mean()) == pytest.approx(46, abs=2)
    assert float(distance.std()) == pytest.approx(17, abs=1)
    assert float(angle.mean()) == pytest.approx(74, abs=2)
    assert float(angle.std()) == pytest.approx(28, abs=1)


@pytest.mark.parametrize("distance", [0.6, 0.3])
def test_wide_cameras_are_in_the_box_and_look_at_the_ring(distance: float) -> None:
    s = distance / 0.6
    T_wd, T_wc = wide_starts(N, POSTER, CAMERA, Workspace(distance=distance), rng())
    assert torch.equal(T_wd, reference_pose(distance).expand(N, 4, 4))
    R, t = T_wc[:, :3, :3], T_wc[:, :3, 3]
    torch.testing.assert_close(R.mT @ R, torch.eye(3, dtype=R.dtype).expand(N, 3, 3), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(N, dtype=R.dtype), rtol=0, atol=1e-14)
    box = torch.tensor([0.6, 0.6, 0.15], dtype=torch.float64) * s
    reach = ((t - T_wd[:, :3, 3]).abs() / box).amax(0)
    assert ((reach > 0.99) & (reach <= 1)).all()
    looked_at = t - R[:, :, 2] * (t[:, 2:] / R[:, 2:, 2])
    rings = looked_at.norm(dim=1) / (0.08 * s)
    torch.testing.assert_close(rings, rings.round(), rtol=0, atol=1e-12)
    assert torch.unique(rings.round()).tolist() == [1, 2, 3, 4]
    bearing = torch.atan2(looked_at[:, 1], looked_at[:, 0])
    assert float(bearing.cos().mean()) == pytest.approx(0, abs=0.07)
    assert float(bearing.sin().mean()) == pytest.approx(0, abs=0.07)


def test_wide_cameras_roll_up_to_120_degrees() -> None:
    """Without roll a camera's x axis is level: it has no part along the world's y."""
    _, T_wc = wide_starts(N, POSTER, CAMERA, WORKSPACE, rng())
    roll = torch.atan2(T_wc[:, 1, 0], T_wc[:, 1, 1]).rad2deg()
    assert 119 < float(roll.max()) <= 120
    assert -120 <= float(roll.min()) < -119
    assert float(roll.std()) == pytest.approx(240 / math.sqrt(12), abs=3)


def test_desired_poses_fill_their_box() -> None:
    p = lie.vector_from_pose(lie.inverse(reference_pose(0.6)) @ desired_poses(N, WORKSPACE, rng()))
    bounds = torch.tensor([0.1, 0.1, 0.075, *[math.radians(5)] * 2], dtype=torch.float64)
    share = p[:, :5].abs().amax(0) / bounds
    assert ((share > 0.99) & (share < 1 + 1e-12)).all()
    assert float(p[:, 5].abs().max()) < 1e-15


@pytest.mark.parametrize("spread", [(0.5, 0.5), (1.0, 1.0), (0.25, 2.0)])
def test_offsets_have_their_spread(spread: tuple[float, float]) -> None:
    """A Gaussian times a uniform factor f, one a view: variance E f^2, and squares of two axes correlate by E f^4."""
    n, (low, high) = 10_000, spread
    factor = torch.linspace(low, high, 10_001, dtype=torch.float64)
    f2, f4 = float((factor**2).mean()), float((factor**4).mean())
    p = lie.vector_from_pose(offsets(n, WORKSPACE, rng(), spread))
    x = p / torch.tensor([0.1] * 3 + [math.radians(a) for a in (10, 10, 16)], dtype=torch.float64)
    std_error = math.sqrt((3 * f4 / f2**2 - 1) / (4 * n))
    torch.testing.assert_close(x.mean(0), torch.zeros(6, dtype=x.dtype), rtol=0, atol=4 * math.sqrt(f2 / n))
    torch.testing.assert_close(x.std(0), torch.full((6,), math.sqrt(f2), dtype=x.dtype), rtol=4 * std_error, atol=0)
    together = (x[:, :3] ** 2 * x[:, 3:] ** 2).mean()
    assert float(together) == pytest.approx(f4, rel=0.15)


def test_no_spread_is_no_offset() -> None:
    assert torch.equal(offsets(3, WORKSPACE, rng(), (0.0, 0.0)), torch.eye(4, dtype=torch.float64).expand(3, 4, 4))


@pytest.mark.parametrize("distance", [0, -1, math.nan, math.inf])
def test_a_workspace_without_a_distance_is_refused(distance: float) -> None:
    with pytest.raises(SceneError, match="distance"):
        Workspace(distance=distance)


A, B = [0.1, -0.2, 0.03, 0.4, -0.5, 0.6], [1.0, 2.0, -3.0, 0.0, 0.0, 3e-7]


@pytest.mark.parametrize(
    "text",
    [
        "0.1,-0.2,0.03,0.4,-0.5,0.6\n1,2,-3,0,0,3e-7\n",
        "0.1;-0.2;0.03;0.4;-0.5;0.6\n1;2;-3;0;0;3e-7",
        "0.1 -0.2  0.03\t0.4 -0.5 0.6\n  1, 2, -3, 0, 0, 3e-7",
        "tx,ty,tz,tux,tuy,tuz\n0.1,-0.2,0.03,0.4,-0.5,0.6\n1,2,-3,0,0,3e-7",
        "# made by hand\n\n0.1,-0.2,0.03,0.4,-0.5,0.6\n\n#tx\n  # more\n1,2,-3,0,0,3e-7\n\n",
        "# a note\ntx ty tz tux tuy tuz\n0.1,-0.2,0.03,0.4,-0.5,0.6\n1,2,-3,0,0,3e-7",
        "\ufeff0.1,-0.2,0.03,0.4,-0.5,0.6\r\n1,2,-3,0,0,3e-7\r\n",
    ],
    ids=["commas", "semicolons", "blanks", "header", "comments", "comment and header", "Windows"],
)
def test_starts_from_csv_reads(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    T_wd, T_wc = starts_from_csv(file, WORKSPACE)
    assert torch.equal(T_wd, reference_pose(0.6).expand(2, 4, 4))
    expected = T_wd @ lie.pose_from_vector(torch.tensor([A, B], dtype=torch.float64))
    assert torch.equal(T_wc, expected)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1,2,3,4,5,6\n1,2,3,4,5\n", "line 2: 5 values"),
        ("1,2,3,4,5,6,7", "line 1: 7 values"),
        ("# note\n\ntx,ty,tz,tux,tuy,tuz\n1,2,3,4,5,x\n", "line 4: .*'x'"),
        ("1,2,3,4,5,6\ntx,ty,tz,tux,tuy,tuz\n", "line 2: .*'tx'"),
        ("tx,ty\ntx,ty\n", "line 2: .*'tx'"),
        ("1,2,3,4,5,6\n\n1,2,nan,4,5,6", "line 3: .*not finite"),
        ("inf,2,3,4,5,6", "line 1: .*not finite"),
        ("nan,2,3,4,5,6", "line 1: .*not finite"),
        ("1e999,2,3,4,5,6", "line 1: .*not finite"),
        ("1,2,3,4,5,6\n0,0,0,1e200,0,0", "line 2: "),
        ("", "no start"),
        ("\n\n", "no start"),
        ("# a comment alone\n", "no start"),
        ("tx,ty,tz,tux,tuy,tuz\n", "no start"),
    ],
)
def test_bad_starts_are_one_line_about_the_place(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=named) as error:
        starts_from_csv(file, WORKSPACE)
    assert is_one_line_about(file, error.value)


def test_a_binary_file_a_missing_one_and_a_folder_are_one_line(file: Path) -> None:
    file.write_bytes(b"\x89PNG\r\n\x1a\n\xff\x00")
    for path, named in (
        (file, "not a text file"),
        (file.with_name("missing.csv"), "no such"),
        (file.parent, "no such"),
    ):
        with pytest.raises(InputError, match=named) as error:
            starts_from_csv(path, WORKSPACE)
        assert is_one_line_about(path, error.value)


def test_draw_starts_takes_the_first_n_lines(file: Path) -> None:
    file.write_text("0,0,0,0,0,0\n0.1,0,0,0,0,0\n0.2,0,0,0,0,0\n")
    T_wd, T_wc = draw_starts(str(file), 2, POSTER, CAMERA, WORKSPACE, seed=0)
    assert T_wd.shape == (2, 4, 4)
    assert T_wc[:, 0, 3].tolist() == [0, 0.1]


vectors = st.lists(st.tuples(*[st.floats(-10, 10)] * 3, *[st.floats(-1.8, 1.8)] * 3), min_size=1, max_size=5)


@FUZZ
@given(vectors, st.sampled_from([",", ";", " ", ", ", "\t"]), st.booleans())
def test_vectors_come_back_from_a_file(file: Path, rows: list[tuple[float, ...]], separator: str, header: bool) -> None:
    lines = ["tx,ty,tz,tux,tuy,tuz"] * header + [separator.join(map(repr, row)) for row in rows]
    file.write_text("\n".join(lines))
    T_wd, T_wc = starts_from_csv(file, WORKSPACE)
    found = lie.vector_from_pose(lie.inverse(T_wd) @ T_wc)
    torch.testing.assert_close(found, torch.tensor(rows, dtype=torch.float64), rtol=0, atol=1e-14)


numbers = st.sampled_from(["0", "1", "-2.5", "1e300", "1e-320", "1_0", "٣", "nan", "tx", ""])
nearly_csv = st.lists(st.lists(numbers, min_size=6, max_size=7).map(",".join), max_size=3).map("\n".join)


@FUZZ
@given(
    (st.text(max_size=100) | nearly_csv).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=100)
)
def test_any_file_gives_starts_or_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    found = starts_or_error(file)
    if isinstance(found, SiameError):
        assert is_one_line_about(file, found)
    else:
        assert len(found[0]) == len(found[1]) > 0
        assert torch.isfinite(found[1]).all()
