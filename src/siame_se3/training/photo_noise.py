"""What is noise in a photo is not taught as texture: another picture of the place has its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.images.noise import noise_level, without_noise
from siame_se3.scenes.planar import Scene

LEAST = 1 / 255  # standard deviation of noise that is left as it is: a grey level of an 8-bit photo
_TEXELS = 2.0  # a view's pixel has at least so many along its side: finer ones are averaged first, which is what a view does with them


def cleaned(scene: Scene, camera: Camera, distance: float) -> tuple[Scene, Float[Tensor, "3"]]:
    """A scene without its photo's noise, and that noise's standard deviation in each colour [share of the range].

    It is measured and taken out at the resolution that a camera at this distance needs; a photo with less than `LEAST` of it there stays as it
    is, and so does detail that is too fine to be seen from there.

    Args:
        camera: of the training's views.
        distance: from which it looks at the scene, usually [m].
    """
    texels_a_pixel = scene.texture.shape[-1] / scene.width * distance / camera.fx
    levels = scene.pyramid(torch.device("cpu"))
    texture = levels[min(max(0, math.floor(math.log2(texels_a_pixel / _TEXELS))), len(levels) - 1)]
    noise = noise_level(texture, scene.fill_colour)
    if float(noise.max()) < LEAST:
        return scene, noise
    taken = texture - without_noise(texture, noise)
    if taken.shape != scene.texture.shape:
        taken = F.interpolate(taken[None], size=scene.texture.shape[-2:], mode="bilinear", align_corners=False)[0]
    return replace(scene, texture=(scene.texture - taken).clamp(0, 1)), noise


def all_cleaned(
    scenes: Sequence[Scene], camera: Camera, distance: float, say: Callable[[str], None]
) -> tuple[list[Scene], list[list[float]]]:
    """`cleaned` of each scene, with a line of what was done; and the noise of each."""
    found, levels = [], []
    for scene in scenes:
        clean, noise = cleaned(scene, camera, distance)
        found.append(clean)
        levels.append([round(sigma, 5) for sigma in noise.tolist()])
        red, green, blue = (255 * noise).tolist()
        if clean is scene:
            say(f"photo {scene.name}: noise below one grey level; the photo is taught as it is")
        else:
            say(
                f"photo {scene.name}: noise of {red:.1f}, {green:.1f} and {blue:.1f} grey levels (red, green, blue; standard deviation) is taken out of "
                "the photo: another picture of the place does not have it"
            )
    return found, levels
