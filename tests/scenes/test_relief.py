"""Photos on meshes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from siame_se3.errors import InputError, SceneError, SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.scenes import relief_mesh
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.relief import Relief
from siame_se3.scenes.relief_mesh import Mesh
from siame_se3.scenes.relief_random import KINDS, Kind
from siame_se3.scenes.types import check_scene

CAMERA = Camera.from_focal(300, 224).resized(64)


def views(n: int = 4, seed: int = 3, tilt: float = 0.15) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(p * torch.tensor([0.05, 0.05, 0.05, tilt, tilt, 0.5]))


def box(photo: Scene, top: float = 0.15) -> Relief:
    outline = relief_mesh.box_outline(0.03, -0.02, 0.2, 0.1, 0.3)
    return Relief(photo, Mesh.joined([relief_mesh.table(photo), relief_mesh.solid(photo, outline, top)]))


# -- the flat limit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0.5, "mean", "edge"])
@pytest.mark.parametrize("antialias", [True, False])
def test_without_heights_it_is_the_print(photo: Scene, fill: str | float, antialias: bool) -> None:
    photo = replace(photo, fill=fill)  # type: ignore[arg-type]
    T_wc = views(6)
    image, mask = photo.render(CAMERA, T_wc, antialias)
    for flat in (Relief(photo, relief_mesh.table(photo)), Relief.over(photo, torch.zeros(30, 40))):
        seen, where = flat.render(CAMERA, T_wc, antialias)
        torch.testing.assert_close(seen, image, rtol=0, atol=2e-4)
        assert torch.equal(where, mask)
        torch.testing.assert_close(flat.depth(CAMERA, T_wc), photo.depth(CAMERA, T_wc), rtol=1e-6, atol=0)
        torch.testing.assert_close(flat.distance(T_wc), photo.distance(T_wc), rtol=0, atol=0)


def test_a_raised_plane_is_the_print_nearer_by_as_much(photo: Scene) -> None:
    T_wc = views(4)
    raised = Relief.over(photo, torch.full((30, 40), 0.1))
    nearer = T_wc.clone()
    nearer[:, 2, 3] += 0.1
    inner = raised.depth(CAMERA, T_wc)[:, 20:44, 20:44]
    torch.testing.assert_close(inner, photo.depth(CAMERA, nearer)[:, 20:44, 20:44], rtol=1e-6, atol=0)
    seen, expected = (scene.render(CAMERA, T, False)[0] for scene, T in ((raised, T_wc), (photo, nearer)))
    torch.testing.assert_close(seen[:, :, 20:44, 20:44], expected[:, :, 20:44, 20:44], rtol=0, atol=2e-4)


# -- the promises of a scene ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*((kind,) for kind in KINDS), KINDS], ids=str)
def test_drawn_reliefs_are_scenes(photo: Scene, kind: tuple[Kind, ...]) -> None:
    scene = Relief.drawn(photo, 0.15, 5, kind)
    check_scene(scene, views())
    T_wc = torch.eye(4, dtype=torch.float64)[None].repeat(1, 1, 1)
    T_wc[:, 2, 3] = -2.0
    nearest = float(scene.depth(Camera.from_focal(300, 224), T_wc).nan_to_num(9).min())
    assert nearest == pytest.approx(2.0 - 0.15, abs=2e-3)  # the highest is as high as was asked


def test_drawn_reliefs_depend_on_their_seed_alone(photo: Scene) -> None:
    a, b, c = (Relief.drawn(photo, 0.15, seed).depth(CAMERA, views()) for seed in (1, 1, 2))
    assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert not torch.equal(a.nan_to_num(), c.nan_to_num())


def ray_cast(mesh: Mesh, camera: Camera, T_wc: Tensor) -> Tensor:
    """Depths by intersecting each pixel's ray with each triangle (Moeller and Trumbore 1997); NaN for none."""
    rays = camera.rays(camera.pixel_grid().reshape(-1, 2)) @ T_wc[:3, :3].T
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    across, down, away = b - a, c - a, T_wc[:3, 3] - a
    p = torch.linalg.cross(rays[:, None], down[None])
    determinant = (across * p).sum(-1)
    first = (away * p).sum(-1) / determinant
    q = torch.linalg.cross(away, across)
    second = (rays[:, None] * q).sum(-1) / determinant
    Z = (down * q).sum(-1) / determinant
    hit = (first >= 0) & (second >= 0) & (first + second <= 1) & (Z > 0) & (determinant.abs() > 1e-12)
    nearest = torch.where(hit, Z, torch.inf).amin(1)
    return torch.where(nearest.isinf(), torch.nan, nearest).reshape(camera.size).float()


@pytest.mark.parametrize("seed", range(3))
def test_depths_are_those_of_rays_through_triangles(photo: Scene, seed: int) -> None:
    camera = replace(CAMERA.resized(48), fx=70.0, cx=20.3)
    scene = Relief.drawn(photo, 0.2, seed, ("box", "cylinder", "step"))
    for T_wc in views(2, seed, tilt=0.4):
        found, expected = scene.depth(camera, T_wc), ray_cast(scene.mesh, camera, T_wc)
        assert torch.equal(found.isnan(), expected.isnan())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0, equal_nan=True)


def test_there_are_no_cracks(photo: Scene) -> None:
    """Thousands of triangles of a pixel or less, and large ones that reach behind the camera: each pixel sees one."""
    rough = torch.rand(90, 120, generator=torch.Generator().manual_seed(0)) * 0.03
    scene = Relief.over(photo, rough, cells=120)
    for focal in (60.0, 250.0):
        assert bool(scene.depth(Camera.from_focal(focal, 97, 61), views(3)).isfinite().all())
    T_wc = torch.eye(4, dtype=torch.float64)
    T_wc[2, 3] = -0.1
    T_wc = T_wc @ lie.pose_from_vector(
        torch.tensor([0.0, 0, 0, 1.45, 0, 0], dtype=torch.float64)
    )  # towards the horizon
    Z, expected = scene.depth(CAMERA, T_wc), photo.depth(CAMERA, T_wc)
    assert bool(Z[expected < 0.3].isfinite().all())
    assert bool(Z.isnan().any())


def test_what_is_behind_a_box_is_hidden(photo: Scene) -> None:
    T_wc = views(1)[0]
    with_box, without = box(photo), Relief(photo, relief_mesh.table(photo))
    Z, table = with_box.depth(CAMERA, T_wc), without.depth(CAMERA, T_wc)
    assert bool((table * (1 + 1e-6) >= Z).all())
    assert 0.05 < float((0.9 * table > Z).float().mean()) < 0.5


def test_a_scene_from_behind_shows_nothing(photo: Scene) -> None:
    T_wc = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    T_wc[2, 3] = 0.6
    image, mask = box(photo).render(CAMERA, T_wc)
    assert not bool(mask.any())
    assert float(image.max()) == 0
    assert bool(box(photo).depth(CAMERA, T_wc).isnan().all())


def test_edges_are_means_over_their_pixels(photo: Scene) -> None:
    """Against an image of four times as many pixels along a side."""
    T_wc, scene = views(1)[0], box(photo)
    fine = scene.render(CAMERA.resized(256), T_wc, False)[0]
    mean = fine.reshape(3, 64, 4, 64, 4).mean((2, 4))
    smooth, hard = scene.render(CAMERA, T_wc)[0], scene.render(CAMERA, T_wc, False)[0]
    Z = scene.depth(CAMERA, T_wc)
    edge = torch.zeros(64, 64, dtype=torch.bool)
    edge[:, 1:] |= (Z[:, 1:] - Z[:, :-1]).abs() > 0.05
    error = [float((image - mean).abs().mean(0)[edge].mean()) for image in (smooth, hard)]
    assert error[0] < 0.75 * error[1]


def test_a_view_is_the_same_in_any_batch(photo: Scene) -> None:
    scene, T_wc = Relief.drawn(photo, 0.1, 1), views(5).reshape(5, 1, 4, 4)
    images, masks = scene.render(CAMERA, T_wc)
    assert images.shape == (5, 1, 3, 64, 64)
    for k in range(5):
        image, mask = scene.render(CAMERA, T_wc[k, 0])
        torch.testing.assert_close(image, images[k, 0], rtol=0, atol=1e-6)
        assert torch.equal(mask, masks[k, 0])
    empty, none = scene.render(CAMERA, T_wc[:0])
    assert empty.shape == (0, 1, 3, 64, 64)
    assert none.shape == (0, 1, 64, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpu_gives_the_same(photo: Scene) -> None:
    scene, T_wc = Relief.drawn(photo, 0.1, 1), views(5)
    torch.testing.assert_close(
        scene.depth(CAMERA, T_wc.cuda()).cpu(), scene.depth(CAMERA, T_wc), rtol=1e-5, atol=0, equal_nan=True
    )
    images = scene.render(CAMERA, T_wc.cuda())[0].cpu()
    assert float((images - scene.render(CAMERA, T_wc)[0]).abs().mean()) < 1e-4


# -- from files and views ---------------------------------------------------------------------------------------------


def test_height_maps_of_files(photo: Scene, tmp_path: Path) -> None:
    levels = 0.1 * torch.rand(30, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = levels / levels.max() * 0.1
    np.save(tmp_path / "map.npy", levels.numpy())
    Image.fromarray((65535 * levels / 0.1).round().numpy().astype(np.uint16)).save(tmp_path / "map.png")
    expected = Relief.over(photo, levels).depth(CAMERA, views())
    metres = Relief.read(photo, tmp_path / "map.npy")
    torch.testing.assert_close(metres.depth(CAMERA, views()), expected, rtol=1e-6, atol=0)
    picture = Relief.read(photo, tmp_path / "map.png", tallest=0.1)
    torch.testing.assert_close(picture.depth(CAMERA, views()), expected, rtol=0, atol=1e-5)
    half = Relief.read(photo, tmp_path / "map.npy", tallest=0.05)
    torch.testing.assert_close(
        half.depth(CAMERA, views()), Relief.over(photo, levels / 2).depth(CAMERA, views()), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 4, 2)), "height map in metres"),
        (np.zeros((1, 4)), "height map in metres"),
        (np.array([["a", "b"], ["c", "d"]]), "height map in metres"),
        (np.full((4, 4), -0.1), "below 0"),
        (np.full((4, 4), np.nan), "below 0"),
        (np.array([[object(), 1], [1, 1]]), "NumPy array"),
    ],
)
def test_bad_height_maps_are_refused(photo: Scene, tmp_path: Path, values: np.ndarray, words: str) -> None:
    np.save(tmp_path / "map.npy", values, allow_pickle=True)
    with pytest.raises(InputError, match=words):
        Relief.read(photo, tmp_path / "map.npy")


def test_a_picture_of_heights_needs_a_height(photo: Scene, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 128, np.uint8)).save(tmp_path / "map.png")
    for tallest in (None, -1.0, float("nan")):
        with pytest.raises(SceneError, match="highest place"):
            Relief.read(photo, tmp_path / "map.png", tallest)
    for name in ("no-such.png", "no-such.npy"):
        with pytest.raises(SiameError, match=f"{name}: no such file"):
            Relief.read(photo, tmp_path / name, 0.1)
    (tmp_path / "text.npy").write_text("heights")
    with pytest.raises(InputError, match="not a NumPy array"):
        Relief.read(photo, tmp_path / "text.npy")


def test_a_view_of_a_depth_camera_as_a_scene(photo: Scene) -> None:
    """From where it was taken it shows what was seen; from beside it what a camera there sees of that; the rest is masked."""
    world, T_wd = box(photo), views(1)[0]
    image, Z = world.render(CAMERA, T_wd)[0], world.depth(CAMERA, T_wd)
    scene, T_sd = Relief.from_view(image, Z, CAMERA, "goal")
    seen, mask = scene.render(CAMERA, T_sd, False)
    assert 0.85 < float(mask.float().mean()) < 1
    torch.testing.assert_close(seen[:, mask], image[:, mask], rtol=0, atol=2e-4)
    torch.testing.assert_close(scene.depth(CAMERA, T_sd)[mask], Z[mask], rtol=1e-5, atol=0)
    motion = lie.pose_from_vector(torch.tensor([0.03, -0.02, 0.03, 0.05, -0.05, 0.2], dtype=torch.float64))
    beside, mask = scene.render(CAMERA, T_sd @ motion, False)
    depth, expected = scene.depth(CAMERA, T_sd @ motion)[mask], world.depth(CAMERA, T_wd @ motion)[mask]
    assert float(((depth / expected - 1).abs() < 1e-3).float().mean()) > 0.95
    assert float((beside - world.render(CAMERA, T_wd @ motion)[0])[:, mask].abs().mean()) < 0.05
    check_scene(
        scene,
        T_sd
        @ lie.pose_from_vector(
            0.05 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ),
    )


@pytest.mark.skipif(os.environ.get("SIAME_CHECK_TYPES") == "1", reason="the type checker refuses it first")
def test_views_that_are_none_are_refused(photo: Scene) -> None:
    image, Z = torch.rand(3, 64, 64), torch.full((64, 64), 0.5)
    for arguments in ((image, Z[:32]), (image[:, :32], Z)):
        with pytest.raises(SceneError, match="those of one camera"):
            Relief.from_view(*arguments, CAMERA)
    with pytest.raises(SceneError, match="no depth is known"):
        Relief.from_view(image, Z * torch.nan, CAMERA)
    lonely = torch.full((64, 64), torch.nan)
    lonely[5, 5] = 0.5
    with pytest.raises(SceneError, match="without a surface"):
        Relief.from_view(image, lonely, CAMERA)
