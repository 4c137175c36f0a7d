"""Scene: a model of MuJoCo (extra `mujoco`), at rest: any MJCF file, or objects on a table (`mujoco_objects`).

The world's frame is MuJoCo's, seen from above with z into the table: (x, -y, -z).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from siame_se3.errors import SceneError
from siame_se3.geometry.camera import Camera
from siame_se3.scenes.mujoco_render import Offscreen, load_mujoco


class MujocoScene:
    """A model of MuJoCo as it stands.

    Args:
        model, data: MuJoCo's.
        name: for reports.
        width, height: extent along x and y [m], from the world's origin half to each side.

    Raises:
        InputError: MuJoCo is not installed.
        SceneError: an extent that is none.
    """

    def __init__(self, model: Any, data: Any, name: str, width: float, height: float | None = None) -> None:
        height = width if height is None else height
        if not (0 < width < float("inf") and 0 < height < float("inf")):
            raise SceneError(f"{name}: an extent of {width} x {height} m; give metres above 0", "width")
        self.model, self.data = model, data
        self.name, self.width, self.height = name, float(width), float(height)
        self._offscreen = Offscreen(model)

    @staticmethod
    def from_file(path: str | Path, width: float | None = None) -> MujocoScene:
        """An MJCF file, in its first keyframe if it has one.

        Args:
            path: with all that it refers to beside it.
            width: extent along x and y [m]; None for MuJoCo's own measure of the model.

        Raises:
            InputError: MuJoCo is not installed.
            SceneError: no such file, or none that MuJoCo reads.
        """
        path = Path(path)
        if not path.is_file():
            raise SceneError(f"{path}: no such file; give an MJCF file of MuJoCo")
        mujoco = load_mujoco()
        try:
            model = mujoco.MjModel.from_xml_path(str(path))
        except ValueError as error:
            raise SceneError(f"{path}: not a model that MuJoCo reads ({' '.join(str(error).split())[:200]})") from None
        data = mujoco.MjData(model)
        if model.nkey:
            mujoco.mj_resetDataKeyframe(model, data, 0)
        mujoco.mj_forward(model, data)
        return MujocoScene(model, data, path.stem, width if width is not None else 2 * float(model.stat.extent))

    def render(
        self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"], antialias: bool = True
    ) -> tuple[Float[Tensor, "*B 3 h w"], Bool[Tensor, "*B h w"]]:
        """What cameras at T_wc see, four samples a pixel, and which pixels see anything. `antialias` is always so."""
        images, Z = self._offscreen.colours(self.data, camera, T_wc.reshape(-1, 4, 4))
        batch = T_wc.shape[:-2]
        mask = Z.isfinite().reshape(*batch, *camera.size)
        return images.reshape(*batch, 3, *camera.size).to(T_wc.device), mask.to(T_wc.device)

    def distance(self, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B"]:
        """From each camera along its optical axis to the plane z = 0, which things stand on [m]."""
        return -T_wc[..., 2, 3] / T_wc[..., 2, 2]

    def depth(self, camera: Camera, T_wc: Float[Tensor, "*B 4 4"]) -> Float[Tensor, "*B h w"]:
        """Along z of what each pixel's centre sees [m]; NaN where that is nothing."""
        Z = self._offscreen.depths(self.data, camera, T_wc.reshape(-1, 4, 4))
        Z = torch.where(Z.isinf(), torch.nan, Z)
        return Z.reshape(*T_wc.shape[:-2], *camera.size).to(T_wc.device)

    def close(self) -> None:
        """Free the renderers."""
        self._offscreen.close()
