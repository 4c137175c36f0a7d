from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import siame_se3.scenes.render
from poses_helpers import AWAY, around, frontal
from siame_se3.errors import SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import depth, plane_from_pixel
from siame_se3.scenes import views
from siame_se3.scenes.planar import Extent, Fill, Scene
from siame_se3.scenes.poses import Workspace
from siame_se3.scenes.render import render, render_prints

VISP = Path(__file__).parents[1] / "data" / "visp"
CAMERA = Camera.from_focal(240, 224)
SMALL = Camera(70.0, 75.0, 30.0, 25.0, 64, 48)
SHAPES = [(), (1,), (3, 2)]


def smooth_scene(extent: Extent = "edges", fill: Fill = 0.0) -> Scene:
    """Colour noise blurred so that 1/32 of a texel, OpenCV 4's step, is less than a grey level."""
    noise = np.random.default_rng(0).random((150, 200, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 4)
    texture = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return Scene(torch.from_numpy(texture).permute(2, 0, 1).contiguous(), 0.8, 0.5, fill=fill, extent=extent)


def white_scene(fill: Fill = 0.0) -> Scene:
    return Scene(torch.ones(3, 60, 80), 0.4, 0.3, fill=fill)


@pytest.fixture(scope="module")
def coffee() -> Scene:
    return Scene.from_photo(VISP / "coffee.png", 1.2, extent="centres")


def pixels_from_texels(scene: Scene, camera: Camera, T_wc: np.ndarray) -> np.ndarray:
    """The homography by hand: texel to plane [m], plane to camera, camera to pixel."""
    h, w = scene.texture.shape[1:]
    if scene.extent == "edges":
        to_plane = np.array([[scene.width / w, 0, (0.5 / w - 0.5) * scene.width], [0, scene.height / h, 0], [0, 0, 1]])
        to_plane[1, 2] = (0.5 / h - 0.5) * scene.height
    else:
        to_plane = np.diag([scene.width / (w - 1), scene.height / (h - 1), 1])
        to_plane[:2, 2] = -scene.width / 2, -scene.height / 2
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    R, t = T_wc[:3, :3], T_wc[:3, 3]
    return K @ np.column_stack((R.T[:, 0], R.T[:, 1], -R.T @ t)) @ to_plane


def bytes_of(image: Tensor) -> np.ndarray:
    return (255 * image.double()).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("camera", [CAMERA, SMALL], ids=["square", "offset"])
@pytest.mark.parametrize("extent", ["edges", "centres"])
def test_opencv_warps_the_same_image(extent: Extent, camera: Camera) -> None:
    scene, T_wc = smooth_scene(extent), torch.cat((frontal(0.6)[None], around(6)))
    texture = 255 * scene.texture.permute(1, 2, 0).numpy()
    images, masks = render(scene, camera, T_wc, antialias=False)
    for T, image, mask in zip(T_wc.numpy(), images, masks.numpy(), strict=True):
        H = pixels_from_texels(scene, camera, T)
        warped = cv2.warpPerspective(texture, H, (camera.width, camera.height), flags=cv2.INTER_LINEAR)
        inner = cv2.erode(mask.astype(np.uint8), np.ones((11, 11)), borderValue=1) > 0
        assert inner.mean() > 0.15
        assert np.abs(bytes_of(image) - warped)[inner].max() < 0.5
        assert not image.permute(1, 2, 0)[torch.from_numpy(~mask)].any()


@pytest.mark.parametrize("extent", ["edges", "centres"])
def test_mask_is_where_pixels_see_the_print(extent: Extent) -> None:
    scene, T_wc = smooth_scene(extent), around(8)
    h, w = scene.texture.shape[1:]
    edge = 0.5 if extent == "edges" else 0.0
    v, u = np.mgrid[:224, :224]
    for antialias in (False, True):
        masks = render(scene, CAMERA, T_wc, antialias)[1].numpy()
        assert 0.2 < masks.mean() < 0.95
        for T, mask in zip(T_wc.numpy(), masks, strict=True):
            H = np.linalg.inv(pixels_from_texels(scene, CAMERA, T))
            x, y, z = np.einsum("ij,jhw->ihw", H, np.stack((u, v, 1.0 + 0 * u)))
            x, y = x / z, y / z
            margin = np.minimum((w - 1) / 2 + edge - abs(x - (w - 1) / 2), (h - 1) / 2 + edge - abs(y - (h - 1) / 2))
            clear = abs(margin) > 1e-3
            assert np.array_equal(mask[clear], margin[clear] > 0)


@pytest.mark.parametrize(("name", "start"), [("desired", None), ("init-medium-0", 0), ("init-medium-7", 7)])
def test_visp_draws_the_same_image(coffee: Scene, name: str, start: int | None) -> None:
    """ViSP truncates to whole grey levels, so it is 0 to 1 below; its last row and column are not drawn."""
    starts = torch.from_numpy(np.loadtxt(VISP / "medium.csv", delimiter=","))
    T_wc = frontal(0.6) if start is None else frontal(0.6) @ lie.pose_from_vector(starts[start])
    drawn = np.asarray(Image.open(VISP / f"{name}.png"), dtype=float)
    image, _ = render(coffee, CAMERA, T_wc, antialias=False)
    above = bytes_of(image)[:-1, :-1] - drawn[:-1, :-1, None]
    assert above.min() > -0.001
    assert above.max() < 1.01  # 1.0015 on an Intel Xeon


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batches_equal_their_items(shape: tuple[int, ...], antialias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siame_se3.scenes.render, "_CHUNK_PIXELS", 4 * SMALL.width * SMALL.height)
    scene, T = smooth_scene(), around(*shape)
    images, masks = render(scene, SMALL, T, antialias)
    assert images.shape == (*shape, 3, 48, 64)
    assert images.dtype == torch.float32
    assert masks.shape == (*shape, 48, 64)
    assert masks.dtype == torch.bool
    for index in np.ndindex(*shape):
        image, mask = render(scene, SMALL, T[index], antialias)
        torch.testing.assert_close(images[index], image, rtol=0, atol=1e-5)
        assert torch.equal(masks[index], mask)


def test_an_empty_batch() -> None:
    images, masks = render(smooth_scene(), SMALL, torch.zeros(0, 4, 4, dtype=torch.float64))
    assert images.shape == (0, 3, 48, 64)
    assert masks.shape == (0, 48, 64)


def test_antialias_changes_nothing_close_by() -> None:
    """Below one texel a pixel, all but the print's border is plain bilinear."""
    scene, T = smooth_scene(), around(6, distance=0.4)
    smooth, mask = render(scene, CAMERA, T)
    plain, same_mask = render(scene, CAMERA, T, antialias=False)
    assert torch.equal(mask, same_mask)
    inner = torch.from_numpy(
        np.stack([cv2.erode(m, np.ones((5, 5)), borderValue=1) for m in mask.numpy().astype(np.uint8)])
    )
    assert float(inner.float().mean()) > 0.5
    assert float(((smooth - plain).abs() * inner[:, None]).max()) == 0


@pytest.mark.parametrize("distance", [0.6, 1, 2])
def test_antialias_takes_a_far_checkerboards_moire(distance: float) -> None:
    v, u = np.mgrid[:600, :600] // 3
    board = torch.from_numpy(((u + v) % 2).astype(np.float32)).expand(3, -1, -1).contiguous()
    scene = Scene(board, 0.6, 0.6, fill="mean")
    T = frontal(distance) @ lie.pose_from_vector(torch.tensor([0, 0, 0, 0.1, 0.05, 0.2], dtype=torch.float64))
    far, mask = render(scene, SMALL, T)
    plain, _ = render(scene, SMALL, T, antialias=False)
    assert float(plain[0][mask].std()) > 0.3
    assert float(far[0][mask].std()) < 0.02
    assert float(far[0][mask].mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("distance", [0.6, 2])
@pytest.mark.parametrize("roll", [0.0, 0.4])
def test_antialias_keeps_the_prints_area(distance: float, roll: float) -> None:
    T = frontal(distance) @ lie.pose_from_vector(torch.tensor([0.003, 0.001, 0, 0, 0, roll], dtype=torch.float64))
    image, _ = render(white_scene(), CAMERA, T)
    area = 0.4 * 0.3 * (240 / distance) ** 2
    assert float(image[0].double().sum()) == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize("antialias", [False, True])
def test_image_is_continuous_in_the_pose(coffee: Scene, antialias: bool) -> None:
    T = torch.cat((around(6, distance=0.5), around(6, distance=1.5)))
    generator = torch.Generator().manual_seed(1)
    step = torch.nn.functional.normalize(torch.randn(12, 3, generator=generator, dtype=torch.float64), dim=1) * 1e-5
    moved = T.clone()
    moved[:, :3, 3] += step
    scene = coffee if antialias else Scene(coffee.texture, 8.0, 5.0)
    before, after = (render(scene, CAMERA, x, antialias)[0] for x in (T, moved))
    change = (before - after).abs().amax((1, 2, 3))
    assert float(change.max()) < 0.01
    assert float(change.min()) > 0


@pytest.mark.parametrize("level", [0, 1, 2])
def test_pyramid_levels_meet(level: int) -> None:
    """At 2^level texels a pixel the sampled levels change; the image does not jump."""
    noise = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    scene = Scene(noise, 0.5, 0.5)
    distance = 2**level * CAMERA.fx * scene.width / 256
    turn = lie.pose_from_vector(torch.tensor([0.0007, 0.0004, 0, 0, 0, 0.3], dtype=torch.float64))
    near, far = (render(scene, CAMERA, frontal(distance * (1 + s)) @ turn)[0] for s in (-1e-6, 1e-6))
    assert float((near - far).abs().max()) < 1e-3


@pytest.mark.parametrize("texels_per_pixel", [0.7, 1.5, 2, 3, 4, 7])
def test_pyramid_levels_lie_in_place(texels_per_pixel: float) -> None:
    """A ramp keeps its values on the plane, whatever levels show it."""
    u, v = (torch.arange(512) + 0.5) / 512, (torch.arange(384) + 0.5) / 384
    ramps = torch.stack((u.expand(384, -1), v[:, None].expand(-1, 512), torch.zeros(384, 512)))
    scene = Scene(ramps, 0.512, 0.384)
    turn = lie.pose_from_vector(torch.tensor([0.003, 0.002, 0, 0, 0, 0.3], dtype=torch.float64))
    T = frontal(texels_per_pixel * 0.001 * CAMERA.fx) @ turn
    image, mask = render(scene, CAMERA, T)
    pixels = torch.cat((CAMERA.pixel_grid(), torch.ones(224, 224, 1)), -1).double()
    x, y, z = (pixels @ plane_from_pixel(CAMERA, T).mT).unbind(-1)
    expected = torch.stack((x / z / 0.512, y / z / 0.384, 0 * x - 0.5)) + 0.5
    inner = mask & ((expected[:2] - 0.5).abs().amax(0) < 0.47)
    assert int(inner.sum()) > 1000
    assert float((image - expected).abs()[:, inner].max()) < 1e-4


@pytest.mark.parametrize("texels_per_pixel", [2, 3, 4])
def test_antialias_is_nearly_the_mean_over_each_pixel(texels_per_pixel: int) -> None:
    """Details of a pixel's size are kept: the difference is a share of the image's own contrast."""
    noise = np.random.default_rng(0).random((512, 512, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), texels_per_pixel), None, 0, 1, cv2.NORM_MINMAX)
    scene = Scene(torch.from_numpy(texture).permute(2, 0, 1).contiguous(), 0.512, 0.512)
    camera = Camera.from_focal(240, 64)
    turn = lie.pose_from_vector(torch.tensor([0.0007, 0.0004, 0, 0, 0, 0.3], dtype=torch.float64))
    T = frontal(texels_per_pixel * 0.001 * camera.fx) @ turn
    fine, _ = render(scene, camera.resized(8 * 64), T, antialias=False)
    mean = torch.nn.functional.avg_pool2d(fine, 8)
    image, _ = render(scene, camera, T)
    assert float((image - mean).std() / mean.std()) < 0.15


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("fill", [0.0, 0.25, (0.1, 0.2, 0.3), "mean"])
def test_fill_lies_beyond_the_print(fill: Any, antialias: bool) -> None:
    scene = smooth_scene(fill=fill)
    image, mask = render(scene, SMALL, frontal(1.2), antialias)
    outside = cv2.dilate(mask.numpy().astype(np.uint8), np.ones((5, 5))) == 0
    assert outside.mean() > 0.3
    colours = image.permute(1, 2, 0)[torch.from_numpy(outside)]
    torch.testing.assert_close(colours, scene.fill_colour.expand_as(colours), rtol=0, atol=1e-7)


@pytest.mark.parametrize("antialias", [False, True])
def test_edge_fill_goes_on_with_the_border(antialias: bool) -> None:
    texture = torch.full((3, 60, 80), 0.5)
    texture[:, :, 0], texture[:, :, -1] = 0.2, 0.9
    scene = Scene(texture, 0.4, 0.3, fill="edge")
    image, mask = render(scene, CAMERA, frontal(0.8), antialias)
    assert not mask[:, [0, -1]].any()
    torch.testing.assert_close(image[:, :, 0], torch.full((3, 224), 0.2), rtol=0, atol=1e-6)
    torch.testing.assert_close(image[:, :, -1], torch.full((3, 224), 0.9), rtol=0, atol=1e-6)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("fill", [0.25, "edge", "mean"])
def test_a_camera_that_cannot_see_the_front_sees_fill(fill: Any, antialias: bool) -> None:
    behind = frontal(-0.6)
    T = torch.stack((behind, behind @ AWAY, frontal(0.6) @ AWAY, frontal(0.0), frontal(0.0) @ AWAY))
    scene = smooth_scene(fill=fill)
    images, masks = render(scene, SMALL, T, antialias)
    assert not masks.any()
    torch.testing.assert_close(images, scene.fill_colour[:, None, None].expand_as(images), rtol=0, atol=1e-7)


@pytest.mark.parametrize("antialias", [False, True])
def test_beyond_the_horizon_is_fill(antialias: bool) -> None:
    """A camera that looks along the plane sees it in one half of the image."""
    T = frontal(0.05) @ lie.pose_from_vector(torch.tensor([0, 0, 0, math.pi / 2, 0, 0], dtype=torch.float64))
    image, mask = render(white_scene(fill=0.5), CAMERA, T, antialias)
    sees_plane = torch.isfinite(depth(CAMERA, T))
    assert mask.any()
    assert not (mask & ~sees_plane).any()
    assert float((image - 0.5).abs()[:, ~sees_plane].max()) == 0
    assert torch.isfinite(image).all()


def test_prints_rendered_together_are_those_rendered_alone() -> None:
    camera, generator = Camera.from_focal(40, 32), torch.Generator().manual_seed(0)
    textures = torch.rand(3, 3, 48, 64, generator=generator)
    fills: list[Any] = [0.3, "mean", "edge"]
    prints = [Scene(x, 0.8, 0.6, "print", fill) for x, fill in zip(textures, fills, strict=True)]
    poses = views.training_views(12, prints[0], camera, Workspace(), generator)
    together = render_prints(prints, camera, poses)
    alone = [render(one, camera, part)[0] for one, part in zip(prints, poses.split(4), strict=True)]
    assert torch.equal(together, torch.cat(alone))
    with pytest.raises(SceneError, match="of one size"):
        render_prints([*prints, Scene(textures[0], 0.7, 0.6)], camera, poses)
    with pytest.raises(SceneError, match="as many poses each"):
        render_prints(prints, camera, poses[:11])
