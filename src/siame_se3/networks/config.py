"""What a network is: `NetworkConfig`, saved in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera

POOLINGS = ("average", "spatial", "homography", "descriptors")


FUSIONS = ("geometric", "matching", "difference", "concatenation", "relative", "absolute")


OUTPUTS = ("velocity", "pose")


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is; saved in its checkpoint.

    Attributes:
        backbone: any timm model that gives feature maps; 'efficientnet_b3' is the paper's, 'resnet10t' fits a CPU.
        image_size: side of the square input [px].
        colour: False makes the input grey (luma).
        local_contrast: side of the neighbourhood, as a share of the image, over which the input is made zero-mean and
            unit-contrast, so that lamps, gain and bias are gone before the first layer; 0 for the image as it is.
        pooling: 'average' over the last map (the paper's); 'spatial': the map keeps its places (squeezed to `squeeze`
            channels, flattened, projected to `embedding`), which tells where things are, not only what; 'homography':
            each cell says which point of the scene it sees and how surely, and S(I) is the homography that fits them
            (see `HomographyPool`), so that cells that are covered or off the print do not count; 'descriptors': each cell's own vector
            (of length `squeeze`), for fusion 'matching'.
        stride: with all poolings but 'average', which feature map [px of input per cell]. Cells of a small stride see
            less of the image, and so err independently.
        squeeze: with spatial pooling, channels kept; with descriptors, their length (each cell has half as many numbers
            more, on what moves within it).
        embedding: with spatial pooling, length of S(I).
        fusion: 'geometric': no layers at all; the camera's pose is read from each of the homographies S(I) and S(I*) (see
            `pose_from_homography`), and the output follows from the two by Eq. 3; 'matching': the two images' cells are matched by their
            descriptors, and the head sees the homography between them (see `matching`), for many scenes and unseen ones; 'difference' S(I) - S(I*) (the paper's); 'concatenation' (its ablation); 'relative': the difference
            with S(I*) beside it, so that the velocity can depend on where the goal is; 'absolute': not siamese, the head says the pose
            of one image in the scene, and the output is the pose between two of them (Bateux et al. 2018).
        head: hidden layers of the regressor; the paper's are (1024, 256).
        output: 'velocity' (Siame-se(3)), or 'pose' (Siame-SE(3)): c*Tc as (t, theta u), with PBVS on top.
        zero_at_goal: head(e) - head(0), so that equal images command exactly zero.
        output_scale: one unit of the head's output [m x 3, rad x 3].
        rays: (a, b, c, d): an image point (u, v) in [-1, 1]^2 is on the ray (a u + b, c v + d, 1). For 'geometric', as `half_width`;
            the trainer sets both from its camera and scenes.
        half_width: of the scene [m].
        pretrained: start from timm's ImageNet weights (downloaded by timm).
    """

    backbone: str = "resnet10t"
    image_size: int = 112
    colour: bool = True
    local_contrast: float = 0.15
    pooling: Literal["average", "spatial", "homography", "descriptors"] = "homography"
    stride: int = 8
    squeeze: int = 64
    embedding: int = 256
    fusion: Literal["geometric", "matching", "difference", "concatenation", "relative", "absolute"] = "relative"
    head: tuple[int, ...] = (512, 256)
    output: Literal["velocity", "pose"] = "velocity"
    zero_at_goal: bool = True
    output_scale: tuple[float, ...] = (0.1, 0.1, 0.1, 0.2, 0.2, 0.2)
    rays: tuple[float, ...] = (112 / 300, 0.0, 112 / 300, 0.0)
    half_width: float = 0.4
    pretrained: bool = False

    def __post_init__(self) -> None:
        def refuse(name: str, wanted: str) -> None:
            raise SiameError(f"network: {name} is {getattr(self, name)!r}; give {wanted}")

        if not isinstance(self.backbone, str) or ":" in self.backbone:
            refuse("backbone", "the name of a timm model ('timm.list_models()' has them)")
        for name in ("image_size", "stride", "squeeze", "embedding"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                refuse(name, "a whole number above 0")
        for name, choices in (("pooling", POOLINGS), ("fusion", FUSIONS), ("output", OUTPUTS)):
            if getattr(self, name) not in choices:
                refuse(name, " or ".join(choices))
        if self.fusion == "absolute" and self.output != "pose":
            raise SiameError("network: fusion 'absolute' gives poses; give --network.output pose too")
        if self.fusion == "geometric" and self.pooling != "homography":
            raise SiameError("network: fusion 'geometric' reads homographies; give --network.pooling homography")
        if (self.fusion == "matching") != (self.pooling == "descriptors"):
            raise SiameError(
                "network: fusion 'matching' and pooling 'descriptors' belong together; give --network.fusion matching --network.pooling descriptors"
            )
        if self.pooling == "descriptors" and self.squeeze < 2:
            refuse("squeeze", "2 or more with descriptors")
        if (
            not isinstance(self.rays, tuple)
            or len(self.rays) != 4
            or not all(isinstance(x, (int, float)) for x in self.rays)
        ):
            refuse("rays", "four numbers")
        if not isinstance(self.half_width, (int, float)) or not 0 < self.half_width < 1e6:
            refuse("half_width", "metres above 0")
        for name in ("colour", "zero_at_goal", "pretrained"):
            if not isinstance(getattr(self, name), bool):
                refuse(name, "true or false")
        if not isinstance(self.head, tuple) or not all(isinstance(n, int) and n > 0 for n in self.head):
            refuse("head", "whole numbers above 0")
        share = self.local_contrast
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 <= share <= 1:
            refuse("local_contrast", "a share of the image from 0 (off) to 1")
        scale = self.output_scale
        if (
            not isinstance(scale, tuple)
            or len(scale) != 6
            or not all(isinstance(x, (int, float)) and 0 < x < 1e6 for x in scale)
        ):
            refuse("output_scale", "six numbers above 0")

    def seen_by(self, camera: Camera, width: float) -> NetworkConfig:
        """The same for a camera and scenes of this width [m]."""
        w, h = camera.width, camera.height
        rays = (
            w / 2 / camera.fx,
            (w / 2 - 0.5 - camera.cx) / camera.fx,
            h / 2 / camera.fy,
            (h / 2 - 0.5 - camera.cy) / camera.fy,
        )
        return replace(self, rays=rays, half_width=width / 2)

    @staticmethod
    def paper() -> NetworkConfig:
        """Siame-se(3) as published: EfficientNet-B3 at 224 px, ImageNet weights, 1536 -> 1024 -> 256 -> 6."""
        return NetworkConfig(
            "efficientnet_b3",
            224,
            local_contrast=0.0,
            pooling="average",
            fusion="difference",
            head=(1024, 256),
            zero_at_goal=False,
            output_scale=(1.0,) * 6,
            pretrained=True,
        )

    @staticmethod
    def vgg_pose() -> NetworkConfig:
        """The pose network that the paper compares with (Bateux et al. 2018): VGG-16 at 224 px, ImageNet weights, 4096 -> 6."""
        return NetworkConfig(
            "vgg16",
            224,
            local_contrast=0.0,
            pooling="average",
            fusion="absolute",
            head=(),
            output="pose",
            output_scale=(1.0,) * 6,
            pretrained=True,
        )
