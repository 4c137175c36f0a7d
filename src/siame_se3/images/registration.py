"""Depth maps in another raster: of the camera that takes the image, rectified, cropped, resized. No depth is ever a mixture of two surfaces.

NaN is a pixel whose depth is not known, before and after. A depth camera beside the image's camera sees other parts hidden: what it does not
see stays NaN.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.crop import square_box

_ALIKE = 0.02  # two depths that differ by less than this share are of one surface
_MOST_SPREAD = 8  # pixels a side that one depth pixel may cover
_OVERLAP = 0.05  # by which it covers more on each side, as what a lens or a turn makes of squares leaves gaps [px]
_NEAREST = 0.01  # [m]


def registered(
    depth: Float[np.ndarray, "h w"],
    depth_camera: Camera,
    camera: Camera,
    T_ci: Float[Tensor, "4 4"] | None = None,
) -> Float[np.ndarray, "height width"]:
    """The depth map as another camera would have it.

    Each depth pixel is moved to the other camera and covers there what it covered; of several that cover a pixel the nearest counts. A pixel
    that none covers gets a depth where two neighbours on opposite sides have about the same.

    Args:
        depth: along the depth camera's axis [m], NaN where it is not known.
        depth_camera: intrinsics of the depth map, with distortion if it has any.
        camera: of the result, a pinhole: its distortion is not applied.
        T_ci: the depth camera (the infrared one) in the camera's frame [m]; None where both are one, in two rasters.

    Raises:
        InputError: the map has not its camera's size.
    """
    if depth.shape != depth_camera.size:
        raise InputError(
            f"depth map of {depth.shape[1]} x {depth.shape[0]} px; its camera has {depth_camera.width} x {depth_camera.height}",
            "camera",
        )
    pinhole = replace(camera, distortion=())
    moved = T_ci is not None and not torch.equal(T_ci.double(), torch.eye(4, dtype=torch.float64))
    if not moved and pinhole == depth_camera:
        return depth.astype(np.float32)
    T = np.eye(4) if T_ci is None else T_ci.double().numpy()
    v, u = np.nonzero(np.isfinite(depth))
    Z = depth[v, u].astype(np.float64)
    low, z = _projected(np.stack((u - 0.5, v - 0.5), 1), Z, depth_camera, pinhole, T)
    high, _ = _projected(np.stack((u + 0.5, v + 0.5), 1), Z, depth_camera, pinhole, T)
    return _filled(_covered(np.minimum(low, high) - _OVERLAP, np.maximum(low, high) + _OVERLAP, z, pinhole.size))


def _projected(
    pixels: np.ndarray, Z: np.ndarray, depth_camera: Camera, camera: Camera, T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where points at depth Z [m], seen at these pixels of the depth camera, are in the other's image (n, 2), and their depth there."""
    X = (_rays(depth_camera, pixels) * Z[:, None]) @ T[:3, :3].T + T[:3, 3]
    z = X[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = X[:, 0] / z, X[:, 1] / z
    return np.stack((camera.fx * x + camera.cx, camera.fy * y + camera.cy), 1), z


def _rays(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Points at z = 1 m seen at pixels (n, 2), through the lens."""
    K = camera.K.numpy()
    if not any(camera.distortion):
        return np.c_[(pixels - K[:2, 2]) / K[[0, 1], [0, 1]], np.ones(len(pixels))]
    import cv2

    d = np.asarray(camera.distortion)
    points = np.ascontiguousarray(pixels[:, None])
    if camera.distortion_model in ("equidistant", "fisheye"):
        straight = cv2.fisheye.undistortPoints(points, K, d)
    else:
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 20, 1e-6)
        straight = cv2.undistortPoints(points, K, d, None, None, None, stop)  # type: ignore[call-overload]  # OpenCV's stubs know no None
    return np.c_[np.asarray(straight).reshape(-1, 2), np.ones(len(pixels))]


def _covered(low: np.ndarray, high: np.ndarray, z: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The nearest of the depths z (n,) at each pixel whose centre is within [low, high) (n, 2); NaN where there is none."""
    h, w = size
    good = (z > _NEAREST) & np.isfinite(low).all(1) & np.isfinite(high).all(1)
    good &= (high > -0.5).all(1) & (low < (w - 0.5, h - 0.5)).all(1)
    order = np.flatnonzero(good)[np.argsort(-z[good], kind="stable")]  # far first: the last one written is the nearest
    first = np.ceil(low[order]).astype(np.int64)
    count = np.clip(np.ceil(high[order]).astype(np.int64) - first, 0, _MOST_SPREAD)
    z = z[order].astype(np.float32)
    found = np.full(h * w, np.inf, np.float32)
    for down in range(count[:, 1].max(initial=0)):
        for across in range(count[:, 0].max(initial=0)):
            x, y = first[:, 0] + across, first[:, 1] + down
            here = (across < count[:, 0]) & (down < count[:, 1]) & (x >= 0) & (y >= 0) & (x < w) & (y < h)
            layer = np.full(h * w, np.inf, np.float32)
            layer[y[here] * w + x[here]] = z[here]
            np.minimum(found, layer, out=found)
    return np.where(np.isinf(found), np.float32(np.nan), found).reshape(h, w)


def _filled(depth: np.ndarray) -> np.ndarray:
    """Pixels of unknown depth between two opposite neighbours of about the same depth get their mean."""
    padded = np.pad(depth, 1, constant_values=np.nan)
    result = depth.copy()
    for a, b in ((padded[1:-1, :-2], padded[1:-1, 2:]), (padded[:-2, 1:-1], padded[2:, 1:-1])):
        fill = np.isnan(result) & (np.abs(a - b) <= _ALIKE * np.minimum(a, b))
        result[fill] = ((a + b) / 2)[fill]
    return result


def square_depth(depth: Float[np.ndarray, "h w"], camera: Camera) -> Float[np.ndarray, "s s"]:
    """A depth map in the raster of a camera's pictures as they come, as the rectified centred square that laws see of them.

    Raises:
        InputError: another size than the camera's.
    """
    straight = registered(depth, camera, camera)
    top, left, side = square_box(*straight.shape)
    return straight[top : top + side, left : left + side]


def resized(depth: Float[Tensor, "*B h w"], height: int, width: int) -> Float[Tensor, "*B height width"]:
    """The depth at the pixels' centres of the same view in another size.

    Where the four pixels around a centre are of one surface their inverse depths are interpolated, which is exact on a plane; elsewhere, at
    edges and holes, the nearest pixel counts alone.
    """
    h, w = depth.shape[-2:]
    if (h, w) == (height, width):
        return depth
    y, x = (_places(n, m, depth.device) for n, m in ((h, height), (w, width)))
    y0, x0 = y.floor().long().clamp(0, max(0, h - 2)), x.floor().long().clamp(0, max(0, w - 2))
    y1, x1 = (y0 + 1).clamp(max=h - 1), (x0 + 1).clamp(max=w - 1)
    b, a = ((y - y0).to(depth.dtype)[:, None], (x - x0).to(depth.dtype))
    around = torch.stack([depth[..., rows[:, None], columns] for rows in (y0, y1) for columns in (x0, x1)])
    weights = torch.stack([p * q for p in (1 - b, b) for q in (1 - a, a)]).reshape(
        4, *[1] * (depth.ndim - 2), height, width
    )
    least, most = around.min(0).values, around.max(0).values  # NaN where one of them is
    smooth = 1 / (weights / around).sum(0)
    nearest = depth[..., y.round().long()[:, None], x.round().long()]
    return torch.where((most - least) <= _ALIKE * least, smooth, nearest)


def _places(n: int, m: int, device: torch.device) -> Float[Tensor, "m"]:
    """Where the m pixels of the new size have their centres among the n of the old one, in whole and parts of these."""
    return ((torch.arange(m, dtype=torch.float64, device=device) + 0.5) * n / m - 0.5).clamp(0, n - 1)


def network_depth(depth: Float[Tensor, "*B h w"], size: int) -> Float[Tensor, "n s s"]:
    """Depth of the images that `crop.network_images` gives of the same views: the largest centred square, `size` px; leading axes flattened."""
    top, left, side = square_box(*depth.shape[-2:])
    flat = depth[..., top : top + side, left : left + side].reshape(-1, side, side)
    return resized(flat, size, size)
