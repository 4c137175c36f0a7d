"""MuJoCo's renderer without a window: colours and depths of cameras of any intrinsics.

An OpenGL context belongs to one thread: each `Offscreen` has a thread of its own for it, so that any thread may ask for images, and closing it
frees all that it held.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SceneError, SiameError
from siame_se3.files.optional import needs
from siame_se3.geometry.camera import Camera

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""Our world (z into the table, y down) to MuJoCo's (z up), and our camera to MuJoCo's; its own inverse."""

_SAMPLES = 4  # a pixel, of colours
_Result = TypeVar("_Result")


def load_mujoco() -> ModuleType:
    """The module, set up to render without a display.

    Raises:
        InputError: it is not installed.
        SceneError: its OpenGL library cannot be loaded.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        mujoco = needs("mujoco", "mujoco")
    except SiameError:
        raise
    except Exception as error:  # of the OpenGL library that MUJOCO_GL names: PyOpenGL raises what it likes
        raise no_renderer(error) from None
    if importlib.util.find_spec("triton"):
        # Mesa's renderer and PyTorch's Triton both bring LLVM; Python crashes when Triton's is loaded second (torchvision does).
        importlib.import_module("triton")
    return mujoco


def no_renderer(error: Exception) -> SceneError:
    """That nothing can be rendered here, and what helps."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return SceneError(
        f"MuJoCo cannot render here ({reason}); install Mesa's EGL (apt install libegl-mesa0 libgl1), and set MUJOCO_GL=egl before Python "
        "starts (or OSMesa: libosmesa6, MUJOCO_GL=osmesa)"
    )


class _Worker:
    """A thread that does one thing after the other. It is a daemon, so that it still works when Python ends and what it holds is freed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="mujoco-renderer", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], _Result]) -> _Result:
        """The result of a job; its error, if it raises one.

        Raises:
            SceneError: after `end`.
        """
        if not self._thread.is_alive():
            raise SceneError("a renderer that is closed: make the scene again")
        future: Future[_Result] = Future()
        self._jobs.put((job, future))
        return future.result()

    def end(self) -> None:
        """Let the thread end."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            try:
                future.set_result(job())
            except BaseException as error:  # the caller's
                future.set_exception(error)


class Offscreen:
    """Renderers of one model, of some image sizes.

    Args:
        model: MuJoCo's; its offscreen buffer grows as needed.
    """

    def __init__(self, model: Any) -> None:
        self._mujoco = load_mujoco()
        self._model = model
        self._worker = _Worker()
        self._renderers: dict[tuple[int, int, bool], Any] = {}
        self._finalizer = weakref.finalize(self, _close, self._worker, self._renderers)

    def colours(self, data: Any, camera: Camera, T_wc: Float[Tensor, "n 4 4"]) -> tuple[Tensor, Tensor]:
        """RGB in [0, 1] (n, 3, h, w), four samples a pixel, and the depth of one of them (n, h, w) [m], infinite where there is nothing.

        Args:
            data: MuJoCo's state of the model.
            camera: intrinsics; distortion is not simulated.
            T_wc: in our world.

        Raises:
            SceneError: MuJoCo cannot render here.
        """
        taken = [self._worker.do(partial(self._shoot, data, camera, T, False)) for T in T_wc.cpu().numpy()]
        h, w = camera.size
        images = np.stack([image for image, _ in taken]) if taken else np.zeros((0, h, w, 3), np.uint8)
        depths = np.stack([depth for _, depth in taken]) if taken else np.zeros((0, h, w), np.float32)
        return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255), torch.from_numpy(depths)

    def depths(self, data: Any, camera: Camera, T_wc: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n h w"]:
        """Along z at each pixel's centre [m], infinite where there is nothing; else as `colours`."""
        taken = [self._worker.do(partial(self._shoot, data, camera, T, True))[1] for T in T_wc.cpu().numpy()]
        return torch.from_numpy(np.stack(taken) if taken else np.zeros((0, *camera.size), np.float32))

    def close(self) -> None:
        """Free the renderers; nothing can be rendered after it."""
        self._finalizer()

    def _renderer(self, size: tuple[int, int], exact: bool) -> Any:
        """Of a size (h, w), for depths at pixels' centres (exact) or smooth colours; in the thread."""
        if (*size, exact) not in self._renderers:
            view = self._model.vis
            view.global_.offheight, view.global_.offwidth = size
            view.quality.offsamples = 0 if exact else _SAMPLES
            try:
                made = self._mujoco.Renderer(self._model, *size)
            except Exception as error:  # of the OpenGL library, of many kinds
                raise no_renderer(error) from None
            self._renderers[*size, exact] = made
        return self._renderers[*size, exact]

    def _shoot(self, data: Any, camera: Camera, T_wc: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        """Colours and depths of one camera; in the thread."""
        renderer = self._renderer(camera.size, exact)
        renderer.update_scene(data)
        T = FLIP @ T_wc @ FLIP
        scene = renderer.scene
        near, far = _place(scene, camera, T)
        if exact:  # without lights and textures
            scene.flags[self._mujoco.mjtRndFlag.mjRND_SEGMENT] = True
        image, Z = np.empty((*camera.size, 3), np.uint8), np.empty(camera.size, np.float32)
        renderer._gl_context.make_current()
        rect = self._mujoco.MjrRect(0, 0, camera.width, camera.height)
        self._mujoco.mjr_render(rect, scene, renderer._mjr_context)
        self._mujoco.mjr_readPixels(image, Z, rect, renderer._mjr_context)
        # The buffer is 1 at the near plane and 0 at the far one, linear in 1/Z.
        inverse = Z[::-1].astype(np.float64) * (1 / near - 1 / far) + 1 / far
        return image[::-1], np.where(Z[::-1] > 0, 1 / inverse, np.inf).astype(np.float32)


def _place(scene: Any, camera: Camera, T: np.ndarray) -> tuple[float, float]:
    """Put a scene's camera (both eyes of it, and its headlight) at a pose in MuJoCo's world; its near and far planes [m]."""
    near, far = float(scene.camera[0].frustum_near), float(scene.camera[0].frustum_far)
    left, right = (x * near / camera.fx for x in (-0.5 - camera.cx, camera.width - 0.5 - camera.cx))
    top, bottom = (y * near / camera.fy for y in (camera.cy + 0.5, camera.cy + 0.5 - camera.height))
    for lens in scene.camera:
        lens.pos, lens.forward, lens.up = T[:3, 3], -T[:3, 2], T[:3, 1]
        lens.frustum_center, lens.frustum_width = (left + right) / 2, (right - left) / 2
        lens.frustum_bottom, lens.frustum_top = bottom, top
    for light in scene.lights[: scene.nlight]:
        if light.headlight:
            light.pos, light.dir = T[:3, 3], -T[:3, 2]
    return near, far


def _close(worker: _Worker, renderers: dict[tuple[int, int, bool], Any]) -> None:
    """Free renderers in their thread, and end it."""

    def free() -> None:
        for renderer in renderers.values():
            renderer.close()
        renderers.clear()

    worker.do(free)
    worker.end()
