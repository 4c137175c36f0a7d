"""What a network is: `NetworkConfig`. All that changes what a network says is here, and so in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from siame_se3.geometry.camera import Camera
from siame_se3.images.luma import LUMA
from siame_se3.networks.checks import is_whole, number, numbers, ordered, part, refuse, whole

PoolingName = Literal["average", "spatial", "homography", "descriptors"]
FusionName = Literal["geometric", "matching", "difference", "concatenation", "relative", "absolute"]
OutputName = Literal["velocity", "pose"]
Range = tuple[float, float]

LARGEST_IMAGE, MOST_CELLS, LARGEST_LAYER = 2048, 256, 1 << 16  # [px], along a side, numbers of one layer


@dataclass(frozen=True)
class InputConfig:
    """How an image becomes what the backbone sees.

    Attributes:
        luma: weights of red, green and blue where the input is grey.
        mean: of red, green and blue, taken off without local contrast (ImageNet's).
        std: of red, green and blue, divided by without local contrast (ImageNet's).
        contrast_floor: with local contrast, the contrast that counts as noise [share of the range].
        contrast_cells: with local contrast, cells along a neighbourhood's side from which its mean is taken.
    """

    luma: tuple[float, float, float] = LUMA
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    contrast_floor: float = 0.02
    contrast_cells: int = 5

    def __post_init__(self) -> None:
        for name in ("luma", "mean", "std"):
            numbers(self, "network.input", name, 3, 1e-6 if name == "std" else 0.0, 1.0)
        number(self, "network.input", "contrast_floor", 1e-6, 1.0)
        whole(self, "network.input", "contrast_cells", 1, 99)
        if self.contrast_cells % 2 == 0:
            refuse(self, "network.input", "contrast_cells", "an odd number, so that there is one in the middle")


@dataclass(frozen=True)
class FitConfig:
    """How a homography is fitted to the points that cells see (see `HomographyFit`).

    Attributes:
        rounds: of the re-weighting that weighs down cells which are sure and wrong; not in training.
        kernel: square of the kernel's scale, over the mean square of the image's own residuals.
        prior: h11 = h22 of the homography that holds what no cell knows; its h33 is 1, the others are 0.
        stiffness: of the prior, on the first two rows and on h31 and h32.
        units: S(I) is the first two rows, and h31 and h32, times these: a training's views spread by about 1.
    """

    rounds: int = 5
    kernel: float = 5.0
    prior: float = 0.55
    stiffness: Range = (1.0, 100.0)
    units: Range = (2.0, 10.0)

    def __post_init__(self) -> None:
        whole(self, "fit of homographies", "rounds", 0, 100)
        for name in ("kernel", "prior"):
            number(self, "fit of homographies", name, 1e-6, 1e6)
        for name in ("stiffness", "units"):
            numbers(self, "fit of homographies", name, 2, 1e-6, 1e6)


@dataclass(frozen=True)
class HomographyConfig:
    """Pooling 'homography' (see `HomographyPool`).

    Attributes:
        hidden: channels between the feature map and the cells' points.
        log_scale: least and largest log of a cell's scale of error [log half scene widths].
        fit: of the homography from the image to the scene; its prior is a camera straight above.
    """

    hidden: int = 128
    log_scale: Range = (-4.0, 1.0)
    fit: FitConfig = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        whole(self, "network.homography", "hidden", 1, LARGEST_LAYER)
        ordered(self, "network.homography", "log_scale", -20.0, 20.0)
        part(self, "network.homography", "fit", FitConfig)


@dataclass(frozen=True)
class MatchingConfig:
    """Fusion 'matching' (see `Matching`).

    Attributes:
        hidden: channels of the layers that refine the matches.
        sharpness: log of what the correlations are multiplied by before their softmax, at the start.
        sharpness_rate: its learning rate over the others'.
        step: how far one unit of the refining layers' output moves a match [half images].
        log_scale: least and largest log of a match's scale of error [log half images].
        fit: of the homography between the two images; its prior is no motion.
    """

    hidden: int = 64
    sharpness: float = 3.0
    sharpness_rate: float = 10.0
    step: float = 0.1
    log_scale: Range = (-6.0, 2.0)
    fit: FitConfig = field(default_factory=lambda: FitConfig(prior=1.0, stiffness=(1.0, 10.0)))

    def __post_init__(self) -> None:
        whole(self, "network.matching", "hidden", 1, LARGEST_LAYER)
        number(self, "network.matching", "sharpness", -20.0, 20.0)
        number(self, "network.matching", "sharpness_rate", 1e-3, 1e3)
        number(self, "network.matching", "step", 0.0, 10.0)
        ordered(self, "network.matching", "log_scale", -20.0, 20.0)
        part(self, "network.matching", "fit", FitConfig)


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
            (squeezed to `squeeze` channels, flattened, projected to `embedding`), which tells where things are, not only what;
            'homography': each cell says which point of the scene it sees and how surely, and S(I) is the homography that fits them
            (see `HomographyPool`), so that cells that are covered or off the print do not count; 'descriptors': each cell's own
            vector (of length `squeeze`), for fusion 'matching'.
        stride: with all poolings but 'average', which feature map [px of input per cell]. Cells of a small stride see
            less of the image, and so err independently.
        squeeze: with spatial pooling, channels kept; with descriptors, their length (each cell has half as many numbers
            more, on what moves within it).
        embedding: with spatial pooling, length of S(I).
        fusion: how S(I) and S(I*) become the output. 'geometric': no layers at all; the camera's pose is read from each of the
            homographies S(I) and S(I*) (see `pose_from_homography`), and the output follows from the two by Eq. 3; 'matching': the
            two images' cells are matched by their descriptors, and the head sees the homography between them (see `matching`), for
            many scenes and unseen ones; 'difference': S(I) - S(I*) (the paper's); 'concatenation': its ablation; 'relative': the
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
        matching: of fusion 'matching'.

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
        for name, kind in (("input", InputConfig), ("homography", HomographyConfig), ("matching", MatchingConfig)):
            part(self, "network", name, kind)
        from siame_se3.networks.fusion import FUSIONS
        from siame_se3.networks.pooling import POOLINGS

        POOLINGS[self.pooling].check(self)
        FUSIONS[self.fusion].check(self)

    @property
    def side(self) -> int:
        """Cells along a side of the feature map, with all poolings but 'average'."""
        return -(-self.image_size // self.stride)

    @property
    def scales_with_distance(self) -> bool:
        """Whether the translation is in units of the training's distance to the scene: at D m it is distance / D of the true one."""
        from siame_se3.networks.fusion import FUSIONS

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
