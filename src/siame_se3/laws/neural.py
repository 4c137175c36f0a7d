"""The learned law: v = f(S(I) - S(I*)), S(I*) computed once in `aim`. The network is run by an engine (see `networks.engines`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import LawError
from siame_se3.files import require_types
from siame_se3.geometry import lie
from siame_se3.geometry.crop import square_box
from siame_se3.images.contrast import contrast
from siame_se3.images.crop import network_images
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import Law, Output, State, View
from siame_se3.laws.validity import image_faults, images_of, standing_still
from siame_se3.networks import engines
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.engines import Engine


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

    def aim(self, target: View) -> tuple[Law, NeuralState]:
        """Compute and keep S(I*).

        Raises:
            LawError: no image, or another field of view than the network was trained for.
        """
        images = images_of(target, "neural")
        camera = target.camera
        if camera is not None and self.focal_ratio:
            ratio = camera.fx / min(camera.width, camera.height)
            if not 0.8 < ratio / self.focal_ratio < 1.25:
                raise LawError(
                    f"camera: focal length / image side is {ratio:.2f}, the model was trained for {self.focal_ratio:.2f}; "
                    "train one for this camera",
                    *("camera", "fov"),
                )
        images = network_images(images, self.engine.image_size)
        scale = torch.ones(len(images), dtype=torch.float64)
        if self.unit_distance and target.distance is not None:
            scale = target.distance.double().cpu() / self.unit_distance
        return self.law, NeuralState(self.engine.embed(images), contrast(images), scale)

    def law(self, view: View, state: NeuralState) -> tuple[Output, NeuralState]:
        """Velocity; a fault where the image is not finite, or has no contrast beside the goal image's."""
        images = network_images(images_of(view, "neural", goals=len(state.s_desired)), self.engine.image_size)
        faults = image_faults(images, desired=state.contrast)
        if any(faults):
            images = images.nan_to_num(0.0)
        y = self.engine.step(images, state.s_desired).double().cpu()
        v = pbvs_velocity(lie.pose_from_vector(y)) if self.output == "pose" else y
        v = torch.cat((v[:, :3] * state.scale[:, None], v[:, 3:]), 1)
        v, faults = standing_still(v, faults)
        return Output.of(v, faults), state

    def homographies(self, images: Float[Tensor, "n 3 h w"], state: NeuralState) -> Float[Tensor, "n 3 3"] | None:
        """From the desired images' pixels to those of the current ones (n, 3, 3), float64; None of a network that finds none."""
        found = self.engine.between(network_images(images, self.engine.image_size), state.s_desired)
        if found is None:
            return None
        top, left, side = square_box(*images.shape[-2:])
        middle = (side - 1) / 2
        to_unit = torch.tensor(
            [[2 / side, 0, -2 * (left + middle) / side], [0, 2 / side, -2 * (top + middle) / side], [0, 0, 1]],
            dtype=torch.float64,
        )
        H = torch.linalg.inv(to_unit) @ torch.linalg.inv(found.double().cpu()) @ to_unit
        return H / H[:, 2:, 2:]


@dataclass(frozen=True, eq=False)
class NeuralState(State):
    """Of each run: S(I*), the contrast of I*, and the scale of the translation."""

    s_desired: Float[Tensor, "n d"]
    contrast: Float[Tensor, "n"]
    scale: Float[Tensor, "n"]
    FIXED: ClassVar[frozenset[str]] = frozenset({"s_desired", "contrast", "scale"})
