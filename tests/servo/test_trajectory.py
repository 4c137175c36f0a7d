from __future__ import annotations

import dataclasses
import io
import json
import math
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from siame_se3.errors import InputError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws.types import View
from siame_se3.servo.trajectory import Trajectory

FUZZ = settings(derandomize=True, deadline=None, max_examples=200)
SETTINGS = {"law": "pbvs", "servo": {"gain": 5.0}, "camera": None, "note": "naïve, 漢字"}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trajectory_of(*shape: int, steps: int = 4) -> Trajectory:
    n = math.prod(shape)
    return Trajectory(
        T_wc=lie.exp(randn(steps + 1, *shape, 6)),
        T_wd=lie.exp(randn(*shape, 6, seed=1)),
        twist=randn(steps, *shape, 6, seed=2),
        applied=randn(steps, *shape, 6, seed=3),
        active=randn(steps, *shape, seed=4) > 0,
        stage=(randn(steps, *shape, seed=6) > 0).long(),
        iterations=torch.arange(n).reshape(shape),
        reason=["settled"] * n,
        step_seconds=randn(steps, seed=5).abs(),
        dt=0.04,
        settings=SETTINGS,
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "good.npz"
    trajectory_of(3).save(path)
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("view") / "bad.npz"


def view_of(*shape: int) -> View:
    return View(torch.rand(*shape, 3, 4, 5), lie.exp(randn(*shape, 6)), randn(*shape).abs(), Camera.from_focal(5, 5, 4))


@pytest.mark.parametrize(
    ("without", "provides"),
    [((), {"image", "pose", "depth"}), (("image",), {"pose", "depth"}), (("T_wc", "depth"), {"image"}), (("image", "T_wc", "depth"), set())],
)  # fmt: skip
def test_view_provides_what_is_there(without: tuple[str, ...], provides: set[str]) -> None:
    assert dataclasses.replace(view_of(2), **dict.fromkeys(without)).provides == provides


@pytest.mark.parametrize(
    ("index", "shape"),
    [(0, (2,)), (slice(1, 3), (2, 2)), (torch.tensor([2, 0]), (2, 2)), ((torch.tensor([2, 0]), torch.tensor([1, 1])), (2,))],
)  # fmt: skip
def test_index_takes_runs_from_all_parts(index: Any, shape: tuple[int, ...]) -> None:
    view = view_of(3, 2)
    part = view[index]
    assert part.image is not None
    assert part.T_wc is not None
    assert part.depth is not None
    assert view.image is not None
    assert view.T_wc is not None
    assert part.image.shape == (*shape, 3, 4, 5)
    assert part.T_wc.shape == (*shape, 4, 4)
    assert part.depth.shape == shape
    assert torch.equal(part.image, view.image[index])
    assert torch.equal(part.T_wc, view.T_wc[index])
    assert part.camera is view.camera


def test_index_leaves_out_what_is_not_there() -> None:
    part = View(T_wc=lie.exp(randn(3, 6)))[1:]
    assert part.provides == {"pose"}


def test_error_norms_are_those_of_the_pose_between() -> None:
    trajectory = trajectory_of(6)
    t, r = trajectory.error_norms
    assert t.shape == r.shape == (5, 6)
    T_dc = torch.linalg.inv(trajectory.T_wd) @ trajectory.T_wc
    torch.testing.assert_close(t, T_dc[..., :3, 3].norm(dim=-1), rtol=1e-9, atol=0)
    trace = T_dc[..., 0, 0] + T_dc[..., 1, 1] + T_dc[..., 2, 2]
    torch.testing.assert_close(r.cos(), (trace - 1) / 2, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(1,), (6,)], ids=str)
@pytest.mark.parametrize("steps", [0, 4])
def test_trajectory_comes_back_as_it_was(tmp_path: Path, shape: tuple[int, ...], steps: int) -> None:
    trajectory = trajectory_of(*shape, steps=steps)
    trajectory.save(tmp_path / "runs.npz")
    again = Trajectory.load(tmp_path / "runs.npz")
    for f in dataclasses.fields(Trajectory):
        ours, theirs = getattr(trajectory, f.name), getattr(again, f.name)
        if isinstance(ours, Tensor):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
        else:
            assert ours == theirs
    assert [p.name for p in tmp_path.iterdir()] == ["runs.npz"]


def test_poses_that_are_not_known_come_back(tmp_path: Path) -> None:
    trajectory = dataclasses.replace(trajectory_of(2), T_wd=torch.full((2, 4, 4), math.nan, dtype=torch.float64))
    trajectory.save(tmp_path / "runs.npz")
    assert bool(Trajectory.load(tmp_path / "runs.npz").T_wd.isnan().all())


def test_a_scene_whose_file_s_name_is_no_utf8_can_be_read_back(tmp_path: Path) -> None:
    """It was written, and then refused as a damaged file."""
    trajectory = dataclasses.replace(trajectory_of(2), settings={"scene": "caf\udce9.jpg", "law": "naïve δ"})
    trajectory.save(tmp_path / "runs.npz")
    assert Trajectory.load(tmp_path / "runs.npz").settings == {"scene": "caf?.jpg", "law": "naïve δ"}


def test_the_name_is_kept_as_given(tmp_path: Path) -> None:
    trajectory_of(2).save(tmp_path / "runs")
    assert (tmp_path / "runs").is_file()
    assert Trajectory.load(tmp_path / "runs").reason == ["settled"] * 2


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.npz"
    trajectory_of(2).save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        dataclasses.replace(trajectory_of(2), settings={"tensor": torch.zeros(1)}).save(path)
    assert path.read_bytes() == before


def assert_refused(path: Path) -> None:
    with pytest.raises(SiameError) as caught:
        Trajectory.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.npz")
    assert_refused(tmp_path)


@given(st.binary(max_size=300))
@FUZZ
def test_random_bytes_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(content)
    assert_refused(bad)


@given(st.binary(max_size=100))
@FUZZ
def test_bytes_that_begin_as_a_zip_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(b"PK\x03\x04" + content)
    assert_refused(bad)


@given(st.binary(max_size=100))
@FUZZ
def test_bytes_that_begin_as_an_array_are_refused(bad: Path, content: bytes) -> None:
    bad.write_bytes(b"\x93NUMPY\x01\x00" + content)
    assert_refused(bad)


@given(st.data())
@FUZZ
def test_damaged_files_never_give_another_error(good: Path, bad: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    bad.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        Trajectory.load(bad)
    except SiameError as error:
        assert str(error).startswith(f"{bad}: ")
        assert len(str(error).splitlines()) == 1


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {k: file[k] for k in file.files}


PARTS = [f.name for f in dataclasses.fields(Trajectory) if "Tensor" in str(f.type) and "None" not in str(f.type)]


@pytest.mark.parametrize("key", ["json", *PARTS])
def test_file_without_a_part_is_refused(good: Path, bad: Path, key: str) -> None:
    arrays = arrays_of(good)
    del arrays[key]
    with bad.open("wb") as stream:
        np.savez(stream, **arrays)
    assert_refused(bad)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"settings": {}, "reason": [], "dt": 1, "more": 2}']
)
def test_file_with_other_json_is_refused(good: Path, bad: Path, text: str) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | {"json": np.array(text)})
    assert_refused(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"T_wc": np.zeros((5, 3, 4))},
        {"T_wc": np.zeros((4, 3, 4, 4))},
        {"T_wd": np.zeros((2, 4, 4))},
        {"twist": np.zeros((4, 3, 5))},
        {"active": np.zeros((4, 2), dtype=bool)},
        {"iterations": np.zeros(4, dtype=np.int64)},
        {"T_wc": np.array(["text"])},
    ],
    ids=lambda change: next(f"{k} {v.shape}" for k, v in change.items()),
)
def test_parts_that_do_not_fit_are_refused(good: Path, bad: Path, change: dict[str, np.ndarray]) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | change)
    assert_refused(bad)


def test_pickles_are_refused(good: Path, bad: Path) -> None:
    with bad.open("wb") as stream:
        np.savez(stream, **arrays_of(good) | {"twist": np.array([json], dtype=object)[:0]})
    assert_refused(bad)


def saved(path: Path, good: Path, **changes: Any) -> Path:
    """The good file with other arrays, or with other values in its JSON."""
    arrays = arrays_of(good)
    meta = json.loads(str(arrays["json"]))
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            meta[name] = value
    with path.open("wb") as stream:
        np.savez(stream, **arrays | {"json": np.array(json.dumps(meta))})
    return path


def refusal(path: Path) -> str:
    assert_refused(path)
    with pytest.raises(InputError) as caught:
        Trajectory.load(path)
    return str(caught.value)


CAMERA = dataclasses.asdict(Camera.from_focal(150, 56))
SETTING: list[tuple[dict[str, Any], str]] = [
    ({"camera": 3}, "camera"),
    ({"camera": {**CAMERA, "fx": "150"}}, "fx"),
    ({"camera": {**CAMERA, "fx": math.nan}}, "fx"),
    ({"camera": {**CAMERA, "width": 1e3}}, "width"),
    ({"camera": {**CAMERA, "width": 12_000, "height": 12_000}}, "67 million pixels"),
    ({"camera": {**CAMERA, "lens": 1}}, "lens"),
    ({"scene": 7}, "scene is 7"),
    ({"scene": ["photo.png"]}, "scene"),
    ({"width": "0.8"}, "width is '0.8'"),
    ({"width": math.inf}, "width is inf"),
    ({"width": True}, "width is True"),
    ({"fill": 0}, "fill is 0"),
    ({"servo": []}, "servo"),
    ({"servo": {"gain": "5"}}, "gain is '5'"),
    ({"servo": {"gain": math.nan}}, "gain"),
    ({"servo": {"gain": 5.0, "speed": 1}}, "speed"),
    ({"law": 3}, "law is 3"),
    ({"command": ["siame"]}, "command"),
    ({"seconds": "long"}, "seconds is 'long'"),
]


@pytest.mark.parametrize(("change", "words"), SETTING, ids=[str(change)[:40] for change, _ in SETTING])
def test_settings_of_other_types_are_refused(good: Path, bad: Path, change: dict[str, Any], words: str) -> None:
    assert words in refusal(saved(bad, good, settings={**SETTINGS, **change}))


def test_settings_may_lack_and_may_have_more(good: Path, bad: Path) -> None:
    """A live run knows no scene; what a later version notes is kept."""
    full = {"camera": {**CAMERA, "distortion": []}, "scene": "photo.png", "fill": "mean", "more": {"a": [math.nan]}}
    for kept in ({}, full):
        assert repr(Trajectory.load(saved(bad, good, settings=kept)).settings) == repr(kept)


@pytest.mark.parametrize("dt", [0, -0.04, math.nan, math.inf, "0.04", None, True, [0.04], 1e30])
def test_time_steps_that_are_none_are_refused(good: Path, bad: Path, dt: Any) -> None:
    assert "time step" in refusal(saved(bad, good, dt=dt))


@pytest.mark.parametrize("reason", ["abc", ["settled"], ["settled", "settled", 3], None, {"0": "settled"}])
def test_reasons_that_do_not_fit_are_refused(good: Path, bad: Path, reason: Any) -> None:
    assert "reason" in refusal(saved(bad, good, reason=reason))


@pytest.mark.parametrize("name", ["T_wc", "T_wd"])
@pytest.mark.parametrize("entry", [(0, 0), (1, 3), (3, 3), (3, 0)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -7e7])
def test_poses_that_are_none_are_refused(
    good: Path, bad: Path, name: str, entry: tuple[int, int], value: float
) -> None:
    T = arrays_of(good)[name]
    T[(-1, *entry) if name == "T_wd" else (2, 1, *entry)] = value
    assert f"{name} has what is no pose" in refusal(saved(bad, good, **{name: T}))


def test_reflections_are_refused(good: Path, bad: Path) -> None:
    T = arrays_of(good)["T_wd"]
    T[0, :3, :3] *= -1
    assert "no pose" in refusal(saved(bad, good, T_wd=T))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("T_wc", "c16"), ("T_wc", "i8"), ("twist", "U8"), ("active", "u1"), ("active", "f8"), ("stage", "f8"), ("stage", "M8[s]"), ("iterations", "?"), ("step_seconds", "m8[s]")],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(good: Path, bad: Path, name: str, dtype: str) -> None:
    array = arrays_of(good)[name]
    other = array.astype("i8").astype(dtype) if dtype[0] in "Mm" else array.astype(dtype)
    assert f"{name} of type" in refusal(saved(bad, good, **{name: other}))


def test_other_sizes_and_byte_orders_of_a_kind_are_read(good: Path, bad: Path) -> None:
    arrays = arrays_of(good)
    changes = {
        "T_wc": arrays["T_wc"].astype(">f8"),
        "twist": arrays["twist"].astype("f4"),
        "stage": arrays["stage"].astype("<i2"),
    }
    trajectory = Trajectory.load(saved(bad, good, **changes))
    assert (trajectory.T_wc.dtype, trajectory.twist.dtype, trajectory.stage.dtype) == (
        torch.float64,
        torch.float64,
        torch.int64,
    )
    assert np.array_equal(trajectory.T_wc.numpy(), arrays["T_wc"])


@pytest.mark.parametrize(("name", "value"), [("iterations", -1), ("stage", -2), ("stage", 2**40)])
def test_counts_that_cannot_be_are_refused(good: Path, bad: Path, name: str, value: int) -> None:
    array = arrays_of(good)[name]
    array.reshape(-1)[0] = value
    assert name in refusal(saved(bad, good, **{name: array}))


def test_twists_that_are_not_known_are_read_and_infinite_ones_refused(good: Path, bad: Path) -> None:
    applied = arrays_of(good)["applied"]
    applied[1, 0] = math.nan
    assert bool(Trajectory.load(saved(bad, good, applied=applied)).applied[1, 0].isnan().all())
    applied[1, 0, 2] = math.inf
    assert "applied beyond" in refusal(saved(bad, good, applied=applied))


def test_versions(good: Path, bad: Path) -> None:
    """The first files had none; a later one is read if it has what this one needs, else its version is named."""
    arrays = arrays_of(good)
    meta = json.loads(str(arrays["json"]))
    assert meta.pop("version") == 1
    with bad.open("wb") as stream:
        np.savez(stream, **arrays | {"json": np.array(json.dumps(meta))})
    assert Trajectory.load(bad).reason == ["settled"] * 3
    assert Trajectory.load(saved(bad, good, version=2, more=[1])).reason == ["settled"] * 3
    assert "newer siame-se3 (version 2)" in refusal(saved(bad, good, version=2, dt="0.04 s"))
    assert "damaged" in refusal(saved(bad, good, dt="0.04 s"))


def test_text_that_cannot_be_written_is_refused(good: Path, bad: Path) -> None:
    refusal(saved(bad, good, settings={"command": "\ud800"}))


def test_a_file_that_unpacks_to_gigabytes_is_refused_unread(bad: Path) -> None:
    """9 kB that once took 4 GB: here each array's header is all there is of it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (31_000_000, 1, 4, 4)}
    )
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("T_wc.npy", stream.getvalue())
        archive.getinfo("T_wc.npy").file_size = 31_000_000 * 128
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "3968 MB" in refusal(bad)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 50_000  # kB


def sure_trajectory(n: int = 3, steps: int = 4, seed: int = 7) -> Trajectory:
    """With confidences and covariances, of which one run's is not known."""
    root = randn(n, 6, 6, seed=seed)
    covariance = root @ root.mT
    covariance[0] = torch.nan
    confidence = randn(steps, n, seed=seed + 1).float()
    confidence[-1, 0] = torch.nan
    return dataclasses.replace(trajectory_of(n, steps=steps), confidence=confidence, covariance=covariance)


def test_how_sure_a_law_was_comes_back(tmp_path: Path) -> None:
    saved = sure_trajectory()
    saved.save(tmp_path / "runs.npz")
    again = Trajectory.load(tmp_path / "runs.npz")
    for name in ("confidence", "covariance"):
        ours, theirs = getattr(saved, name), getattr(again, name)
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0, equal_nan=True)


def test_files_without_it_are_those_of_before(good: Path) -> None:
    """A law that says nothing adds nothing to the file, and a file of an older version, which has neither, is read."""
    assert not {"confidence", "covariance"} & set(arrays_of(good))
    again = Trajectory.load(good)
    assert again.confidence is None
    assert again.covariance is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("confidence", np.zeros((4, 2), np.float32), "confidence of shape"),
        ("confidence", np.zeros((4, 3), np.int64), "confidence of type"),
        ("confidence", np.full((4, 3), 1e9, np.float32), "confidence beyond"),
        ("covariance", np.zeros((3, 6)), "covariance of shape"),
        ("covariance", -np.eye(6)[None].repeat(3, 0), "variances below 0"),
        ("covariance", 1e9 * np.eye(6)[None].repeat(3, 0), "covariance beyond"),
    ],
)
def test_nonsense_of_how_sure_it_was_is_refused(
    tmp_path: Path, bad: Path, name: str, value: np.ndarray, words: str
) -> None:
    sure_trajectory().save(tmp_path / "sure.npz")
    arrays = arrays_of(tmp_path / "sure.npz")
    arrays[name] = value
    np.savez(bad, **arrays)  # type: ignore[arg-type]  # names of arrays
    with pytest.raises(InputError, match=words):
        Trajectory.load(bad)


def test_joined_runs_keep_how_sure_they_were() -> None:
    first = dataclasses.replace(sure_trajectory(1, 3), reason=["a"])
    second, silent = sure_trajectory(1, 5, seed=20), trajectory_of(1, steps=2)
    both = Trajectory.joined([first, silent, second])
    assert first.confidence is not None
    assert second.confidence is not None
    assert both.confidence is not None
    assert both.covariance is not None
    torch.testing.assert_close(both.confidence[:3, 0], first.confidence[:, 0], rtol=0, atol=0, equal_nan=True)
    assert bool(both.confidence[3:, 0].isnan().all())
    assert bool(both.confidence[:, 1].isnan().all())
    torch.testing.assert_close(both.confidence[:, 2], second.confidence[:, 0], rtol=0, atol=0, equal_nan=True)
    assert both.covariance.shape == (3, 6, 6)
    assert bool(both.covariance[1].isnan().all())
    assert Trajectory.joined([silent, silent]).confidence is None


def test_joined_runs_are_a_batch_that_ends_when_the_last_does() -> None:
    def made(T: int, seed: int, *batch: int) -> Trajectory:
        g = torch.Generator().manual_seed(seed)
        T_wc = lie.exp(torch.randn(T + 1, *batch, 6, generator=g, dtype=torch.float64))
        twist = torch.randn(T, *batch, 6, generator=g, dtype=torch.float64)
        active, stage = torch.ones(T, *batch, dtype=torch.bool), torch.zeros(T, *batch, dtype=torch.long)
        iterations = torch.full(batch, T)
        seconds = torch.full((T,), 0.001 * (seed + 1), dtype=torch.float64)
        return Trajectory(
            T_wc, T_wc[-1], twist, twist / 2, active, stage, iterations, [f"run {seed}"], seconds, 0.04, {"a": 1}
        )

    runs = [made(3, 0, 1), made(5, 1, 1)]
    both = Trajectory.joined(runs)
    assert both.T_wc.shape == (6, 2, 4, 4)
    assert torch.equal(both.T_wc[:4, 0], runs[0].T_wc[:, 0])
    assert torch.equal(both.T_wc[4:, 0], runs[0].T_wc[-1].expand(2, 4, 4))
    assert torch.equal(both.twist[:, 1], runs[1].twist[:, 0])
    assert float(both.twist[3:, 0].abs().max()) == 0
    assert both.active[:, 0].tolist() == [True] * 3 + [False] * 2
    assert both.stage[:, 0].tolist() == [0] * 3 + [-1] * 2
    assert both.iterations.tolist() == [3, 5]
    assert both.reason == ["run 0", "run 1"]
    torch.testing.assert_close(both.step_seconds, torch.tensor([0.0015] * 3 + [0.002] * 2, dtype=torch.float64))
