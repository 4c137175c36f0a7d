"""The learned law: v = f(S(I) - S(I*)), S(I*) computed once in `aim`.

The network is run by an engine: PyTorch (GPUs, and where OpenVINO is missing) or OpenVINO (CPUs). `engine_for` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.images.contrast import contrast
from siame_se3.images.crop import network_images
from siame_se3.laws.pose import pbvs_velocity
from siame_se3.laws.types import Advice, View, image_faults, images_of, standing_still
from siame_se3.networks.engines import Engine, engine_for

if TYPE_CHECKING:
    from siame_se3.networks.checkpoint import Model


@dataclass(frozen=True)
class Neural:
    """Controller of a trained network.

    Attributes:
        engine: what runs it.
        output: 'velocity', or 'pose' for Siame-SE(3) with PBVS on top.
        focal_ratio: focal length / image side of the camera it was trained for, checked against the view's (0: not known).
    """

    engine: Engine
    output: Literal["velocity", "pose"] = "velocity"
    focal_ratio: float = 0.0
    needs = frozenset({"image"})

    @classmethod
    def from_model(cls, model: Model, engine: str = "auto") -> Neural:
        """Controller of a trained model: its output and its camera are the network's own."""
        ratio = model.camera.fx / model.camera.width
        return cls(engine_for(model.network, engine), model.network.config.output, ratio)

    def aim(self, target: View) -> NeuralLaw:
        """Compute and keep S(I*)."""
        if target.image is None:
            raise SiameError("neural: the target has no image; give the desired photo")
        camera = target.camera
        if camera is not None and self.focal_ratio:
            ratio = camera.fx / min(camera.width, camera.height)
            if not 0.8 < ratio / self.focal_ratio < 1.25:
                raise SiameError(
                    f"camera: focal length / image side is {ratio:.2f}, the model was trained for {self.focal_ratio:.2f}; "
                    "train one for this camera (siame train --camera or --fov)"
                )
        images = network_images(target.image, self.engine.image_size)
        return NeuralLaw(self, self.engine.embed(images), contrast(images), target.image.shape[:-3])


@dataclass(frozen=True)
class NeuralLaw:
    """See `Neural`."""

    controller: Neural
    s_desired: Float[Tensor, "n d"]
    contrast: Float[Tensor, "n"]  # of the desired images
    batch: torch.Size

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return self.advise(view).v

    def advise(self, view: View) -> Advice:
        """Velocity; a fault where the image is not finite, or has no contrast beside the desired one's."""
        engine = self.controller.engine
        images, batch = images_of(view, "neural")
        images = network_images(images, engine.image_size)
        faults = image_faults(images, desired=self.contrast.reshape(self.batch).expand(batch).reshape(-1))
        s = self.s_desired.reshape(*self.batch, -1).expand(*batch, -1).reshape(len(images), -1)
        if any(faults):
            images = images.nan_to_num(0.0)
        y = engine.step(images, s).double().cpu()
        v = pbvs_velocity(lie.pose_from_vector(y)) if self.controller.output == "pose" else y
        v, faults = standing_still(v, faults)
        return Advice(v.reshape(*batch, 6), faults, self, torch.zeros(len(faults), dtype=torch.long))

    def updated(self, runs: Tensor, part: Any) -> NeuralLaw:
        """Nothing to remember."""
        return self

    def __getitem__(self, index: Any) -> NeuralLaw:
        s = self.s_desired.reshape(*self.batch, -1)[index]
        contrast = self.contrast.reshape(self.batch)[index]
        return NeuralLaw(self.controller, s.reshape(-1, s.shape[-1]), contrast.reshape(-1), s.shape[:-1])
