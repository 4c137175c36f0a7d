"""The learned law: v = f(S(I) - S(I*)), S(I*) computed once in `aim`. The network is run by an engine (see `networks.engines`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.crop import square_box
from siame_se3.geometry.plane import pose_from_homography
from siame_se3.images.contrast import contrast
from siame_se3.images.crop import network_images
from siame_se3.laws.goal_depth import GoalDepth
from siame_se3.laws.pnp import pose_of_weighted
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import image_faults, images_of, standing_still
from siame_se3.networks import engines
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.engines import Engine

_FEWEST = 12  # cells with a depth that give a pose


@dataclass(frozen=True)
class Neural:
    """Controller of a trained network; `from_model` is the way to one.

    Attributes:
        engine: what runs it.
        output: what the network gives: 'velocity' (Siame-se(3)), or 'pose' (Siame-SE(3)), with PBVS on top.
        focal_ratio: focal length / image side of the camera it was trained for, checked against the view's (0: not known).
        unit_distance: for a network of many scenes, whose translation goes with the distance of the scene: the distance that it was
            trained at [m]. Its translation is scaled by the goal's depth over this, where that depth is known. 0 for a network of
            its own scene, whose size it knows.
    """

    engine: Engine
    output: Literal["velocity", "pose"] = "velocity"
    focal_ratio: float = 0.0
    unit_distance: float = 0.0
    needs = frozenset({"image"})

    def __post_init__(self) -> None:
        require_types(self, "neural")

    @staticmethod
    def from_model(model: Model, engine: str = "auto") -> Neural:
        """The controller of a model, with all that the model says of its output and camera.

        Args:
            model: as `load_model` gives it.
            engine: see `engines.engine_for`.
        """
        config = model.network.config
        return Neural(
            engines.engine_for(model.network, engine),
            config.output,
            model.camera.fx / model.camera.width,
            model.distance if model.scales_with_distance else 0.0,
        )

    def fits(self, camera: Camera) -> bool:
        """Whether a camera's field of view is about that of the training."""
        return not self.focal_ratio or 0.8 < _focal_ratio(camera) / self.focal_ratio < 1.25

    def aim(self, target: View) -> tuple[Law, NeuralState]:
        """Compute and keep S(I*).

        Raises:
            LawError: no image, or another field of view than the network was trained for.
        """
        images = images_of(target, "neural")
        camera = target.camera
        if camera is not None and not self.fits(camera):
            raise LawError(
                f"camera: focal length / image side is {_focal_ratio(camera):.2f}, the model was trained for {self.focal_ratio:.2f}; "
                "train one for this camera",
                *("camera", "fov"),
            )
        images = network_images(images, self.engine.image_size)
        scale = torch.ones(len(images), dtype=torch.float64)
        if self.unit_distance and target.distance is not None:
            scale = target.distance.double().cpu() / self.unit_distance
        relief = None if camera is None or not self.unit_distance else GoalDepth.of(target, "neural")
        state = NeuralState(self.engine.embed(images), contrast(images), scale, relief)
        return (self.law if relief is None or camera is None else _ReliefLaw(self, camera)), state

    def law(self, view: View, state: NeuralState) -> tuple[Output, NeuralState]:
        """Velocity; a fault where the image is not finite, or has no contrast beside the goal image's."""
        images, faults = self._images(view, state)
        return Output.of(*standing_still(self._velocity(images, state), faults)), state

    def _images(self, view: View, state: NeuralState) -> tuple[Float[Tensor, "n 3 s s"], tuple[str, ...]]:
        """As the network takes them, and what is wrong with each."""
        images = network_images(images_of(view, "neural", goals=len(state.s_desired)), self.engine.image_size)
        faults = image_faults(images, desired=state.contrast)
        return (images.nan_to_num(0.0) if any(faults) else images), faults

    def _velocity(self, images: Float[Tensor, "n 3 s s"], state: NeuralState) -> Float[Tensor, "n 6"]:
        y = self.engine.step(images, state.s_desired).double().cpu()
        v = pbvs_velocity(lie.pose_from_vector(y)) if self.output == "pose" else y
        return torch.cat((v[:, :3] * state.scale[:, None], v[:, 3:]), 1)

    def poses(
        self, images: Float[Tensor, "n 3 h w"], state: NeuralState, camera: Camera
    ) -> Float[Tensor, "n 4 4"] | None:
        """T_cd [m] that the image's cells agree on, each of which is at the depth that the goal image has where the cell is in it; NaN where too few
        of them have one. None of a network that does not find where cells are, or without a goal with depth.

        Args:
            camera: of both images.
        """
        found = self.engine.between(network_images(images, self.engine.image_size), state.s_desired)
        if found is None or state.relief is None:
            return None
        n, k = found.scale.shape
        side = math.isqrt(k)
        top, left, square = square_box(*images.shape[-2:])
        cell = (torch.arange(side, dtype=torch.float64) + 0.5) * square / side - 0.5
        v, u = torch.meshgrid(cell + top, cell + left, indexing="ij")
        rays = camera.rays(torch.stack((u, v), -1).reshape(k, 2))[:, :2]
        middle = torch.tensor([left, top], dtype=torch.float64) + (square - 1) / 2
        pixels = found.points.double().cpu().mT * square / 2 + middle
        Z, known = state.relief.at(pixels)
        points = camera.rays(pixels) * Z[..., None]
        weight = known / (found.scale.double().cpu() * square / 2 / camera.fx).square()
        start = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
        # of the homography, as of a plane square to the goal's view
        H = torch.linalg.inv(found.H.double().cpu())
        focal = 2 * camera.fx / square
        N = torch.tensor([1 / focal, 1 / focal, 1.0], dtype=torch.float64)
        G = torch.linalg.inv(N[:, None] * H / N)
        unit = torch.tensor([1.0, 0, 1, 0], dtype=torch.float64)
        R_wc, t_wc = pose_from_homography(G, unit, 1.0)
        distance = (weight * Z).sum(1) / weight.sum(1).clamp(min=1e-12)
        start[:, :3, :3] = R_wc.mT
        start[:, :3, 3] = -(R_wc.mT @ (t_wc + t_wc.new_tensor([0, 0, 1]))[..., None])[..., 0] * distance[:, None]
        T_cd = pose_of_weighted(points, rays.expand(n, k, 2), weight, start)
        return torch.where(((weight > 0).sum(1) >= _FEWEST)[:, None, None], T_cd, torch.nan)

    def homographies(self, images: Float[Tensor, "n 3 h w"], state: NeuralState) -> Float[Tensor, "n 3 3"] | None:
        """From the desired images' pixels to those of the current ones (n, 3, 3), float64; None of a network that finds none."""
        between = self.engine.between(network_images(images, self.engine.image_size), state.s_desired)
        if between is None:
            return None
        found = between.H
        top, left, side = square_box(*images.shape[-2:])
        middle = (side - 1) / 2
        to_unit = torch.tensor(
            [[2 / side, 0, -2 * (left + middle) / side], [0, 2 / side, -2 * (top + middle) / side], [0, 0, 1]],
            dtype=torch.float64,
        )
        H = torch.linalg.inv(to_unit) @ torch.linalg.inv(found.double().cpu()) @ to_unit
        return H / H[:, 2:, 2:]


@dataclass(frozen=True)
class _ReliefLaw:
    """Of a goal with depth: the pose that the cells agree on, and PBVS."""

    controller: Neural
    camera: Camera

    def __call__(self, view: View, state: NeuralState) -> tuple[Output, NeuralState]:
        """Velocity; a fault as `Neural.law`'s, and where too few cells see what has a depth."""
        c = self.controller
        images, faults = c._images(view, state)
        T_cd = c.poses(images_of(view, "neural").nan_to_num(0.0), state, self.camera)
        v = c._velocity(images, state) if T_cd is None else pbvs_velocity(lie.inverse(T_cd.nan_to_num(0.0)))
        if T_cd is not None:
            lost = T_cd.isnan().any(2).any(1).tolist()
            faults = tuple(
                fault or ("the image shows too little of the goal that has a depth" if few else "")
                for fault, few in zip(faults, lost, strict=True)
            )
        return Output.of(*standing_still(v, faults)), state


@dataclass(frozen=True, eq=False)
class NeuralState(State):
    """Of each run: S(I*), the contrast of I*, the scale of the translation, and the depth of the goal image where there is a map."""

    s_desired: Float[Tensor, "n d"]
    contrast: Float[Tensor, "n"]
    scale: Float[Tensor, "n"]
    relief: GoalDepth | None = None
    FIXED: ClassVar[frozenset[str]] = frozenset({"s_desired", "contrast", "scale", "relief"})


def _focal_ratio(camera: Camera) -> float:
    """Focal length over the image's shorter side."""
    return camera.fx / min(camera.width, camera.height)
