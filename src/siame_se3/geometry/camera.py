"""Camera: a rectified pinhole, made from a field of view, intrinsics, or a ROS camera_info YAML.

z forward, x right, y down. The centre of the top-left pixel is (0, 0), so the image covers
[-0.5, width - 0.5] x [-0.5, height - 0.5].
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import CameraError
from siame_se3.files import require_types, write_text
from siame_se3.geometry.camera_info import CameraInfo, info_from_yaml
from siame_se3.geometry.crop import square_box

_OPENCV = (4, 5, 8, 12, 14)  # how many coefficients OpenCV takes, whatever the model is called
_MOST_DISTORTION = 1e6  # a coefficient; more are no lens's
_MODELS = {"plumb_bob": _OPENCV, "rational_polynomial": _OPENCV, "equidistant": (4,), "fisheye": (4,)}


@dataclass(frozen=True)
class Camera:
    """Intrinsics [px] and image size [px]; distortion is used by `rectify` only, all else is pinhole.

    Attributes:
        fx: focal length along x [px].
        fy: and along y [px].
        cx: principal point along x [px], the centre of the top-left pixel being (0, 0).
        cy: and along y [px].
        width: of the image [px].
        height: of the image [px].
        distortion: coefficients in OpenCV's order, empty for none.
        distortion_model: plumb_bob, rational_polynomial or equidistant (ROS names).
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"

    def __post_init__(self) -> None:
        require_types(self, "camera", CameraError)
        if not (self.width >= 2 and self.height >= 2):
            raise CameraError(f"camera: an image of {self.width} x {self.height} px is too small; give at least 2 x 2")
        for name in ("fx", "fy"):
            f = getattr(self, name)
            if not (math.isfinite(f) and f > 0):
                raise CameraError(f"camera: {name} is {f}; give a focal length in pixels above 0")
            if not 1e-6 <= f <= 1e9:
                raise CameraError(f"camera: {name} is {f:g} px, which is no lens's focal length; give pixels")
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise CameraError(f"camera: principal point ({self.cx}, {self.cy}) is not finite; give pixels")
        if not all(math.isfinite(k) for k in self.distortion):
            raise CameraError("camera: a distortion coefficient is not finite; calibrate again")
        if any(abs(k) > _MOST_DISTORTION for k in self.distortion):
            raise CameraError(f"camera: a distortion coefficient is above {_MOST_DISTORTION:g}; calibrate again")
        if any(self.distortion):
            counts = _MODELS.get(self.distortion_model)
            if counts is None:
                raise CameraError(
                    f"camera: unknown distortion_model {self.distortion_model!r}; use one of {', '.join(_MODELS)}"
                )
            if len(self.distortion) not in counts:
                raise CameraError(
                    f"camera: {self.distortion_model} takes {' or '.join(map(str, counts))} coefficients, "
                    f"{len(self.distortion)} given"
                )

    @staticmethod
    def from_focal(focal: float, width: int, height: int | None = None) -> Camera:
        """Square pixels, principal point in the middle; focal [px]."""
        height = width if height is None else height
        return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @staticmethod
    def from_fov(horizontal_fov: float, width: int, height: int | None = None) -> Camera:
        """Square pixels from the horizontal field of view [rad] of the whole image (edge to edge)."""
        if not 0 < horizontal_fov < math.pi:
            raise CameraError(f"camera: a field of view of {horizontal_fov} rad; give one between 0 and pi")
        return Camera.from_focal(width / 2 / math.tan(horizontal_fov / 2), width, height)

    @staticmethod
    def from_info(info: CameraInfo, rectified: bool = False, part: bool = False) -> Camera:
        """The camera that takes the images which a CameraInfo describes.

        Args:
            info: as `camera_info` reads it, from a message or a file.
            rectified: the images are rectified already (a topic `image_rect`).
            part: the images are a part of the sensor's, whose principal point may be anywhere.

        Raises:
            CameraError: not calibrated, or numbers that contradict each other.
        """
        if len(info.k) != 9:
            raise CameraError(f"camera_matrix has {len(info.k)} values; it needs 9, row by row")
        if len(info.p) != 12:
            raise CameraError(f"projection_matrix has {len(info.p)} values; it needs 12, row by row")
        has_k, has_p = any(info.k), any(info.p)
        if not has_k and not has_p:
            raise CameraError("K is zero, the camera is not calibrated; calibrate it, or give its camera_info YAML")
        if rectified and not has_p and any(info.d):
            raise CameraError("P is zero: a rectified image needs it; take the raw image, or calibrate the camera")
        if not all(map(math.isfinite, info.k)):
            fx, _, cx, _, fy, cy = info.k[:6]
            raise CameraError(
                f"K is not finite: fx {fx:g}, fy {fy:g}, principal point ({cx:g}, {cy:g}) px; calibrate again"
            )
        if info.k[6] or info.k[7] or (has_k and info.k[8] != 1):
            raise CameraError("the last row of K is not 0 0 1; give it row by row")
        if info.k[3] or abs(info.k[1]) > 1e-2 * abs(info.k[0]):
            raise CameraError(f"K has a skew of {info.k[1] or info.k[3]:g} px, which is not used; calibrate without it")
        straight = (rectified and has_p) or not has_k
        fx, cx, fy, cy = (info.p[i] for i in (0, 2, 5, 6)) if straight else (info.k[i] for i in (0, 2, 4, 5))
        full = Camera(fx, fy, cx, cy, info.width, info.height, () if straight or rectified else info.d, info.model)
        full._check_lens()
        if not part:
            full._check_centre()
        return full._part(info)

    @staticmethod
    def from_yaml(path: str | Path, rectified: bool = False, part: bool = False) -> Camera:
        """Read a ROS `camera_info` YAML, or what other tools write (see `camera_info.info_from_yaml`).

        Args:
            path: file.
            rectified: the images are rectified already: take P, and no distortion.
            part: as of `from_info`.

        Raises:
            CameraError: no such file, or one that is not a calibration that can be used.
        """
        info = info_from_yaml(Path(path))
        try:
            return Camera.from_info(info, rectified, part)
        except CameraError as error:
            raise CameraError(f"{path}: {error}") from None

    @property
    def projection(self) -> list[float]:
        """P, 3 x 4, row by row [px]."""
        return [self.fx, 0.0, self.cx, 0.0, 0.0, self.fy, self.cy, 0.0, 0.0, 0.0, 1.0, 0.0]

    def to_yaml(self, path: str | Path) -> None:
        """Write a ROS `camera_info` YAML that `from_yaml` reads back."""
        import yaml

        d = list(self.distortion) or [0.0] * 5
        info = {
            "image_width": self.width,
            "image_height": self.height,
            "camera_name": "camera",
            "camera_matrix": {"rows": 3, "cols": 3, "data": self.K.flatten().tolist()},
            "distortion_model": self.distortion_model,
            "distortion_coefficients": {"rows": 1, "cols": len(d), "data": d},
            "rectification_matrix": {"rows": 3, "cols": 3, "data": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]},
            "projection_matrix": {"rows": 3, "cols": 4, "data": self.projection},
        }
        write_text(path, yaml.safe_dump(info, sort_keys=False))

    @property
    def K(self) -> Float[Tensor, "3 3"]:
        """Calibration matrix [px], float64."""
        return torch.tensor([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=torch.float64)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) [px], as image tensors have it."""
        return self.height, self.width

    def project(self, X_c: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 2"]:
        """Pixels (u, v) of points in the camera frame [m]; no distortion. Points need z > 0."""
        x, y = X_c[..., 0] / X_c[..., 2], X_c[..., 1] / X_c[..., 2]
        return torch.stack((self.fx * x + self.cx, self.fy * y + self.cy), -1)

    def rays(self, pixels: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 3"]:
        """Points at z = 1 m seen at pixels (u, v): x = (u - cx)/fx, y = (v - cy)/fy."""
        x = (pixels[..., 0] - self.cx) / self.fx
        y = (pixels[..., 1] - self.cy) / self.fy
        return torch.stack((x, y, torch.ones_like(x)), -1)

    def pixel_grid(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, "h w 2"]:
        """(u, v) of every pixel centre."""
        v, u = torch.meshgrid(
            torch.arange(self.height, dtype=dtype), torch.arange(self.width, dtype=dtype), indexing="ij"
        )
        return torch.stack((u, v), -1)

    def resized(self, width: int, height: int | None = None) -> Camera:
        """The same view with another number of pixels."""
        height = width if height is None else height
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height=height,
        )

    def square(self, size: int | None = None) -> Camera:
        """The largest centred square of the image, without distortion, resized to `size` px: what networks see."""
        top, left, side = square_box(self.height, self.width)
        crop = Camera(self.fx, self.fy, self.cx - left, self.cy - top, side, side)
        return crop if size is None else crop.resized(size)

    def rectify(self, image: np.ndarray) -> np.ndarray:
        """Undistort a frame (height, width, 3) uint8 to this camera's pinhole; same K. OpenCV's models."""
        if image.shape[:2] != self.size:
            raise CameraError(
                f"frame of {image.shape[1]} x {image.shape[0]} px; the camera is calibrated for {self.width} x {self.height}"
            )
        if not any(self.distortion):
            return image
        import cv2

        return cv2.remap(image, *_rectification(self), interpolation=cv2.INTER_LINEAR)

    def _check_lens(self) -> None:
        """Refuse focal lengths that no lens has, or that are of a sensor of the other orientation."""
        if min(self.fx, self.fy) < max(self.width, self.height) / 20:
            raise CameraError(
                f"fx {self.fx:g}, fy {self.fy:g} px see more than any lens at {self.width} x {self.height} px; give pixels, not millimetres"
            )
        if not 0.4 < self.fx / self.fy < 2.5:
            raise CameraError(
                f"fx {self.fx:g} and fy {self.fy:g} px are no camera's: pixels are about square; correct it"
            )
        across, down = (self.cx + 0.5) / self.width, (self.cy + 0.5) / self.height
        turned = (self.cx + 0.5) / self.height, (self.cy + 0.5) / self.width
        if max(abs(x - 0.5) for x in turned) < 0.03 and max(abs(across - 0.5), abs(down - 0.5)) > 0.1:
            raise CameraError(
                f"the principal point ({self.cx:g}, {self.cy:g}) px is the middle of an image of {self.height} x {self.width} px; width and height "
                "are exchanged"
            )

    def _check_centre(self) -> None:
        """Refuse a principal point that no camera of this size has; it belongs to another size, or to nothing."""
        across, down = (self.cx + 0.5) / self.width, (self.cy + 0.5) / self.height  # 0.5 in the middle
        place = f"the principal point ({self.cx:g}, {self.cy:g}) px of an image of {self.width} x {self.height} px"
        if min(across, down) > 0:
            alike = abs(across / down - 1) < 0.06 and abs(across + down - 1) > 0.2 + 1e-9
            if alike or min(across, down) > 0.65 or 0.1 < max(across, down) < 0.35:
                size = f"{2 * across * self.width:.0f} x {2 * down * self.height:.0f}"
                raise CameraError(f"{place} is that of about {size} px; give this size's calibration, or the roi")
        if not (0.05 < across < 0.95 and 0.05 < down < 0.95):
            raise CameraError(f"{place} is far from its middle; calibrate again, or give the roi that the image is")

    def _part(self, info: CameraInfo) -> Camera:
        """The region of interest, binned. Pixel centres: u' = (u - left + 0.5) / binning - 0.5."""
        left, top, width, height = info.roi
        width, height = width or self.width - left, height or self.height - top
        if min(left, top) < 0 or min(width, height) < 1 or left + width > self.width or top + height > self.height:
            raise CameraError(f"a roi of {width} x {height} px at ({left}, {top}) is not inside the sensor; correct it")
        across, down = (max(1, n) for n in info.binning)
        if max(across, down) > 32:
            raise CameraError(f"binning {across} x {down}: more than 32 pixels are one; correct it")
        part = replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)
        if (across, down) == (1, 1):
            return part
        binned = replace(part, width=width // across * across, height=height // down * down)
        return binned.resized(width // across, height // down)


@functools.lru_cache(maxsize=4)
def _rectification(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's maps."""
    import cv2

    K, d, size = camera.K.numpy(), np.asarray(camera.distortion), (camera.width, camera.height)
    undistort = cv2.fisheye if camera.distortion_model in ("equidistant", "fisheye") else cv2
    return undistort.initUndistortRectifyMap(K, d, np.eye(3), K, size, cv2.CV_32FC1)


def default_camera(size: int = 224) -> Camera:
    """The paper's: 224 px, f = 300 px, at another number of pixels."""
    return Camera.from_focal(300, 224).resized(size)
