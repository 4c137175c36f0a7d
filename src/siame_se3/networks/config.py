"""What a network is: `NetworkConfig`. All that changes what a network says is here, and so in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from siame_se3.geometry.camera import Camera
from siame_se3.networks.checks import is_whole, number, numbers, part, refuse, whole
from siame_se3.networks.fusion import FUSIONS
from siame_se3.networks.part_configs import (
    LARGEST_IMAGE,
    LARGEST_LAYER,
    AttentionConfig,
    HomographyConfig,
    InputConfig,
    MatchingConfig,
)
from siame_se3.networks.pooling import POOLINGS

PoolingName = Literal["average", "spatial", "homography", "descriptors", "context"]
FusionName = Literal["geometric", "matching", "plane", "difference", "concatenation", "relative", "absolute"]
OutputName = Literal["velocity", "pose"]


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is; saved in its checkpoint.

    Attributes:
        backbone: any timm model that gives feature maps; 'efficientnet_b3' is the paper's, 'resnet10t' fits a CPU and needs no timm.
        image_size: side of the square input [px].
        colour: False makes the input grey (luma).
        local_contrast: side of the neighbourhood, as a share of the image, over which the input is made zero-mean and
            unit-contrast, so that lamps, gain and bias are gone before the first layer; 0 for the image as it is.
        pooling: how the feature map becomes S(I). 'average' over the last map (the paper's); 'spatial': the map keeps its places
            (squeezed to `squeeze` channels, flattened, projected to `embedding`), which says where things are, not only what;
            'homography': each cell says which point of the scene it sees and how surely, and S(I) is the homography that fits them
            (see `HomographyPool`), so that cells that are covered or off the print do not count; 'descriptors': each cell's own
            vector (of length `squeeze`), for fusion 'matching'; 'context': each cell's vector, with what all others of the image show
            taken in by attention, for fusion 'plane'.
        stride: with all poolings but 'average', which feature map [px of input per cell]. Cells of a small stride see
            less of the image, and so err independently.
        squeeze: with spatial pooling, channels kept; with descriptors, their length (each cell has half as many numbers
            more, on what moves within it); with context, that of the descriptors that fusion 'plane' makes.
        embedding: with spatial pooling, length of S(I).
        fusion: how S(I) and S(I*) become the output. 'geometric': no layers at all; the camera's pose is read from each of the
            homographies S(I) and S(I*) (see `pose_from_homography`), and the output follows from the two by Eq. 3; 'matching': the
            two images' cells are matched by their descriptors, and the head sees the homography between them (see `matching`), for
            many scenes and unseen ones; 'plane': the same of cells that look at the other image first, and no head: the output is the pose
            that the homography is, for a desired camera that looks at the plane square on; 'difference': S(I) - S(I*) (the paper's); 'concatenation': its ablation; 'relative': the
            difference with S(I*) beside it, so that the velocity can depend on where the goal is; 'absolute': not siamese, the head
            says the pose of one image in the scene, and the output is the pose between two of them (Bateux et al. 2018).
        head: hidden layers of the regressor; the paper's are (1024, 256).
        output: 'velocity' (Siame-se(3)), or 'pose' (Siame-SE(3)): c*Tc as (t, theta u), with PBVS on top.
        zero_at_goal: head(e) - head(0), so that equal images command exactly zero.
        output_scale: one unit of the head's output [m x 3, rad x 3].
        rays: (a, b, c, d): an image point (u, v) in [-1, 1]^2 is on the ray (a u + b, c v + d, 1). For 'geometric', as `half_width`;
            the trainer sets both from its camera and scenes.
        half_width: of the scene [m].
        pretrained: start from timm's ImageNet weights (downloaded by timm).
        input: how an image becomes what the backbone sees.
        homography: of pooling 'homography'.
        matching: of fusions 'matching' and 'plane'.
        attention: of pooling 'context' and fusion 'plane'.

    Raises:
        ModelError: a value out of its range, or a pooling and a fusion that do not go together.
    """

    backbone: str = "resnet10t"
    image_size: int = 112
    colour: bool = True
    local_contrast: float = 0.15
    pooling: PoolingName = "homography"
    stride: int = 8
    squeeze: int = 64
    embedding: int = 256
    fusion: FusionName = "relative"
    head: tuple[int, ...] = (512, 256)
    output: OutputName = "velocity"
    zero_at_goal: bool = True
    output_scale: tuple[float, ...] = (0.1, 0.1, 0.1, 0.2, 0.2, 0.2)
    rays: tuple[float, ...] = (112 / 300, 0.0, 112 / 300, 0.0)
    half_width: float = 0.4
    pretrained: bool = False
    input: InputConfig = field(default_factory=InputConfig)
    homography: HomographyConfig = field(default_factory=HomographyConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or ":" in self.backbone:
            refuse(self, "network", "backbone", "the name of a timm model ('timm.list_models()' has them)")
        whole(self, "network", "image_size", 1, LARGEST_IMAGE)
        for name in ("stride", "squeeze", "embedding"):
            whole(self, "network", name, 1, LARGEST_LAYER)
        for name, choices in (("pooling", PoolingName), ("fusion", FusionName), ("output", OutputName)):
            if getattr(self, name) not in get_args(choices):
                refuse(self, "network", name, " or ".join(get_args(choices)))
        for name in ("colour", "zero_at_goal", "pretrained"):
            if not isinstance(getattr(self, name), bool):
                refuse(self, "network", name, "true or false")
        if not isinstance(self.head, tuple) or not all(is_whole(n, 1, LARGEST_LAYER) for n in self.head):
            refuse(self, "network", "head", f"whole numbers from 1 to {LARGEST_LAYER}")
        number(self, "network", "local_contrast", 0.0, 1.0)
        numbers(self, "network", "rays", 4, -1e3, 1e3)
        number(self, "network", "half_width", 1e-6, 1e6)
        numbers(self, "network", "output_scale", 6, 1e-9, 1e4)
        parts = {
            "input": InputConfig,
            "homography": HomographyConfig,
            "matching": MatchingConfig,
            "attention": AttentionConfig,
        }
        for name, kind in parts.items():
            part(self, "network", name, kind)
        POOLINGS[self.pooling].check(self)
        FUSIONS[self.fusion].check(self)

    @property
    def side(self) -> int:
        """Cells along a side of the feature map, with all poolings but 'average'."""
        return -(-self.image_size // self.stride)

    @property
    def scales_with_distance(self) -> bool:
        """Whether the translation is in units of the training's distance to the scene: at D m it is distance / D of the true one."""
        return FUSIONS[self.fusion].scales_with_distance

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
