"""N free-flying cameras in front of a scene, all in one batch. Exact: the camera is where its twists bring it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import InputError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.plane import plane_from_pixel
from siame_se3.laws.types import View
from siame_se3.plants import mismatch as mismatches
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.mismatch import Mismatch
from siame_se3.scenes import planar
from siame_se3.scenes.conditions import Augmentation, Conditions, apply, draw, draw_patches
from siame_se3.scenes.render import render
from siame_se3.scenes.types import Scene

_GOAL, _ON_THE_WAY = (
    7_000_000_001,
    7_500_000_001,
)  # between the seeds of a run's conditions, of its goal's depths and of those after it


class FlyingCameras:
    """Cameras over a scene; T_wc <- T_wc exp(v dt), then render.

    Args:
        scene: of any kind.
        camera: intrinsics of the images.
        dt: time between steps [s].
        conditions: lamps, gain, bias, patch and noise of the current views, drawn once a run and kept while it lasts
            (the noise is new at each step, also of a camera that stands still); None for none. The desired view is taken without them. Lamps light what stands out of the plane z = 0 as if
            it were painted on the plane.
        seed: of the conditions; each run draws its own, so that a run is the same in any batch.
        first_run: number of the first run, for a run served alone.
        device: where to render.
        mismatch: how camera and scene differ from what the views say; None for not at all.
        depth_camera: measures the depth of each pixel of all views (`DepthCamera.ideal()` for true ones); None for views with one number, the distance to
            the plane z = 0.

    Raises:
        InputError: a mismatch of a plane's over a scene that is none, or beside a depth camera.
    """

    provides = frozenset({"image", "pose", "depth"})
    T_tc = None

    def __init__(
        self,
        scene: Scene,
        camera: Camera,
        dt: float = 0.04,
        conditions: Augmentation | None = None,
        seed: int = 0,
        first_run: int = 0,
        device: torch.device | str = "cpu",
        mismatch: Mismatch | None = None,
        depth_camera: DepthCamera | None = None,
    ) -> None:
        if mismatch is not None and (mismatch.card or mismatch.gloss) and not isinstance(scene, planar.Scene):
            raise InputError(f"flying cameras: a card or gloss is of a print's, and {scene.name} is none; leave it out")
        if mismatch is not None and depth_camera is not None:
            raise InputError("flying cameras: a depth camera measures what a mismatch is about; give one of them")
        self.scene, self.camera, self.dt = scene, camera, dt
        self._augmentation, self._seed, self._first = conditions, seed, first_run
        self._device = torch.device(device)
        self._mismatch, self._depth_camera = mismatch, depth_camera
        self._T_wc: Tensor | None = None
        self._images: Tensor | None = None
        self._depths: Tensor | None = None
        self._conditions: Conditions | None = None
        self._generators: list[torch.Generator] = []
        self._depth_generators: list[torch.Generator] = []
        self._ended: Tensor | None = None

    def look(self, T_wc: Float[Tensor, "*B 4 4"]) -> View:
        """What cameras at T_wc see, without conditions, with depths as the depth camera has them: for desired views."""
        flat, batch = T_wc.reshape(-1, 4, 4), T_wc.shape[:-2]
        images, _ = self._render(flat.to(self._device), torch.arange(len(flat)), None)
        depths = self._measured(flat, self._new_generators(len(flat), _GOAL))
        return self._view(
            images.reshape(*batch, *images.shape[1:]),
            T_wc,
            None if depths is None else depths.reshape(*batch, *depths.shape[1:]),
        )

    def _new_generators(self, runs: int, purpose: int = 0) -> list[torch.Generator]:
        """One a run, the same whatever batch it is in."""
        return [torch.Generator().manual_seed(self._seed * 1_000_003 + self._first + k + purpose) for k in range(runs)]

    def _measured(self, T_wc: Tensor, generators: Sequence[torch.Generator]) -> Tensor | None:
        """Depth maps of cameras at T_wc; None without a depth camera."""
        if self._depth_camera is None:
            return None
        return self._depth_camera.measure(self.scene.depth(self.camera, T_wc.to(self._device)), self.camera, generators)

    def _render(self, poses: Tensor, runs: Tensor, twist: Tensor | None) -> tuple[Tensor, Tensor]:
        """Images without conditions, and plane_from_pixel."""
        if self._mismatch is None:
            return render(self.scene, self.camera, poses)[0], plane_from_pixel(self.camera, poses)
        numbers = runs + self._first
        return mismatches.images(self._mismatch, self.scene, self.camera, poses, numbers, self._seed, twist)

    def _view(self, images: Tensor, T_wc: Tensor, depths: Tensor | None) -> View:
        return View(images, T_wc, self.scene.distance(T_wc) if depths is None else depths, self.camera)

    def reset(self, start: Float[Tensor, "n 4 4"] | None) -> View:
        """Put one camera at each start pose and look.

        Raises:
            InputError: no start poses.
        """
        if start is None:
            raise InputError("flying cameras: no start pose; give camera poses T_wc")
        self._T_wc = start.clone()
        self._ended = torch.zeros(len(start), dtype=torch.bool)
        if self._augmentation is not None:
            generators = self._new_generators(len(start))
            size = (self.scene.width, self.scene.height)
            drawn = [draw(1, self._augmentation, size, g) for g in generators]
            self._conditions = Conditions(
                **{name: torch.cat([getattr(d, name) for d in drawn]) for name in vars(drawn[0])}
            ).to(self._device)
            self._generators = generators
        self._images = self._look_at(start, torch.arange(len(start)), None)
        self._depth_generators = self._new_generators(len(start), _ON_THE_WAY)
        self._depths = self._measured(start, self._depth_generators)
        return self._view(self._images, self._T_wc, self._depths)

    def _look_at(self, T_wc: Tensor, runs: Tensor, twist: Tensor | None) -> Tensor:
        images, homographies = self._render(T_wc.to(self._device), runs, twist)
        if self._conditions is None or self._augmentation is None:
            return images
        if self._augmentation.each_frame:
            drawn = [draw_patches(1, self._augmentation, self._generators[int(r)]) for r in runs]
            self._conditions.patch[runs] = torch.cat(drawn).to(self._device)
        parts = [
            apply(images[k], self._conditions[runs[k]], homographies[k], [self._generators[int(r)] for r in runs[k]])
            for k in torch.arange(len(runs)).split(128)
        ]
        return torch.cat(parts) if parts else images

    def runs_ended(self, runs: Bool[Tensor, "n"]) -> None:
        """These cameras keep the view that they have: no frame is taken of one that stands."""
        self._ended = runs.cpu()

    @property
    def _renews(self) -> bool:
        """Whether a camera that stands sees another frame at each step."""
        a, m = self._augmentation, self._mismatch
        blurs = m is not None and m.exposure > 0  # while it moves
        return blurs or self._depth_camera is not None or (a is not None and (a.noise > 0 or a.each_frame))

    def step(self, v: Float[Tensor, "n 6"]) -> tuple[View, Float[Tensor, "n 6"]]:
        """Move and look; cameras with a zero twist keep their pose, and their image but for what is new in each frame: noise, a patch,
        a depth camera's; and no motion blur.

        Raises:
            InputError: before `reset`.
        """
        if self._T_wc is None or self._images is None or self._ended is None:
            raise InputError("flying cameras: step before reset; call reset(start) first")
        v = v.double().cpu()
        if self._mismatch is not None and self._mismatch.size != 1:
            v = v / v.new_tensor([self._mismatch.size] * 3 + [1.0] * 3)
        looks = ((v != 0).any(1) | (~self._ended & self._renews)).nonzero()[:, 0]
        if len(looks):
            twist = v[looks]
            T_wc, images = self._T_wc.clone(), self._images.clone()
            T_wc[looks] = T_wc[looks] @ lie.exp(twist * self.dt)
            images[looks] = self._look_at(T_wc[looks], looks, twist)
            self._T_wc, self._images = T_wc, images
            measured = self._measured(T_wc[looks], [self._depth_generators[k] for k in looks.tolist()])
            if self._depths is not None and measured is not None:
                self._depths = self._depths.index_put((looks.to(measured.device),), measured)
        return self._view(self._images, self._T_wc, self._depths), v

    def stop(self) -> None:
        """Cameras here have no inertia: nothing to do."""

    def close(self) -> None:
        """Nothing is held."""
