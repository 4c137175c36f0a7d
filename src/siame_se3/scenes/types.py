"""The protocol of scenes, and the test that each must pass."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import require_promise
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera


@runtime_checkable
class Scene(Protocol):
    """Something that cameras look at. Its frame is the world of `T_wc`: origin in its middle, z away from a camera that looks at it.

    Attributes:
        name: for reports.
        width, height: its extent along x and y [m].
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> float: ...

    @property
    def height(self) -> float: ...

    def render(
        self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
    ) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
        """What cameras at T_wc see: RGB in [0, 1], float32, on T_wc's device; and which pixels see the scene."""

    def distance(self, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
        """From each camera along its optical axis to the scene [m]; of one with depth, to the plane z = 0 that its things stand on."""

    def depth(self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
        """Along z of what each pixel's centre sees [m], float32; NaN where that is nothing."""


def check_scene(
    scene: Scene, T_wc: Float[Tensor, "n 4 4"], camera: Camera | None = None, tolerance: float = 0.02
) -> None:
    """Raise AssertionError unless the scene keeps the promises that plants, laws and training rely on.

    Images have their type, shape and range; they are the same in another call and in another batch; distances are those of the
    optical axis; an image turns against the camera's roll, so it is neither mirrored nor has its axes swapped.

    Args:
        scene: to be checked.
        T_wc: poses of cameras that have the scene in front of them; at least two, not all alike.
        camera: a square one with its principal point in the middle; None for one of 64 px.
        tolerance: mean difference allowed between an image and the turned one of a turned camera, in grey levels of [0, 1].
    """
    camera = default_camera(64) if camera is None else camera
    n, (h, w) = len(T_wc), camera.size
    require_promise(min(scene.width, scene.height) > 0, f"{scene.name}: an extent of {scene.width} x {scene.height} m")
    images, mask = scene.render(camera, T_wc)
    require_promise(
        images.shape == (n, 3, h, w), f"{scene.name}: images of shape {tuple(images.shape)}, not {(n, 3, h, w)}"
    )
    require_promise(mask.shape == (n, h, w), f"{scene.name}: a mask of shape {tuple(mask.shape)}, not {(n, h, w)}")
    require_promise(images.dtype == torch.float32, f"{scene.name}: images of {images.dtype}, not float32")
    require_promise(mask.dtype == torch.bool, f"{scene.name}: a mask of {mask.dtype}, not bool")
    require_promise(bool(((images >= 0) & (images <= 1)).all()), f"{scene.name}: values outside [0, 1]")
    require_promise(bool(mask.flatten(1).any(1).all()), f"{scene.name}: a camera that sees nothing of it")
    require_promise(float(images.std(0).max()) > 0, f"{scene.name}: all cameras see the same")
    require_promise(torch.equal(images, scene.render(camera, T_wc)[0]), f"{scene.name}: another image in another call")
    torch.testing.assert_close(scene.render(camera, T_wc[-1:])[0], images[-1:], rtol=0, atol=1e-5)
    depth = scene.depth(camera, T_wc)
    require_promise(depth.shape == (n, h, w), f"{scene.name}: depths of shape {tuple(depth.shape)}, not {(n, h, w)}")
    require_promise(bool((depth[depth.isfinite()] > 0).all()), f"{scene.name}: a depth that is not above 0")
    require_promise(
        bool(depth.isfinite().flatten(1).any(1).all()), f"{scene.name}: a camera that sees nothing has a depth"
    )
    distances = scene.distance(T_wc)
    require_promise(distances.shape == (n,), f"{scene.name}: distances of shape {tuple(distances.shape)}, not {(n,)}")
    require_promise(float(distances.min()) > 0, f"{scene.name}: a distance of {float(distances.min())} m")
    twist = torch.zeros(2, 6, dtype=torch.float64)
    twist[0, 2], twist[1, 5] = 0.1 * float(distances.min()), math.pi / 2
    forward, quarter = lie.exp(twist).to(T_wc)
    torch.testing.assert_close(scene.distance(T_wc @ forward), distances - float(twist[0, 2]), rtol=1e-6, atol=1e-9)
    turned = torch.rot90(scene.render(camera, T_wc @ quarter)[0], -1, (-2, -1))
    error = float((turned - images).abs().mean())
    require_promise(
        error <= tolerance, f"{scene.name}: a camera's roll does not turn its image the other way ({error:.3f})"
    )
