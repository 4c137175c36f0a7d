"""The siamese network (paper, Sec. IV): S(I) by a shared backbone, v = f(S(I) - S(I*)). Knows no files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.camera import Camera
from siame_se3.errors import SiameError
from siame_se3.homography import HomographyPool, pose_between, pose_from_homography, rotation_vector
from siame_se3.matching import CellDescriptors, Matches, Matching

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


def _backbone(config: NetworkConfig) -> tuple[nn.Module, int]:
    """A module images -> feature map, and the map's channels."""
    import timm

    channels = 3 if config.colour else 1
    try:
        if config.pooling == "average":
            model = timm.create_model(
                config.backbone, pretrained=config.pretrained, in_chans=channels, num_classes=0, global_pool="avg"
            )
            features = (
                getattr(model, "head_hidden_size", None) or model.num_features
            )  # VGG's is after its two linear layers
            return model, int(cast(int, features))
        probe = timm.create_model(config.backbone, pretrained=False, in_chans=channels, features_only=True)
        reductions = cast(Any, probe).feature_info.reduction()
        if config.stride not in reductions:
            raise SiameError(f"backbone '{config.backbone}' has no map of stride {config.stride}; it has {reductions}")
        index = len(reductions) - 1 - reductions[::-1].index(config.stride)
        model = timm.create_model(
            config.backbone, pretrained=config.pretrained, in_chans=channels, features_only=True, out_indices=(index,)
        )
        return model, int(cast(Any, model).feature_info.channels()[0])
    except (RuntimeError, AttributeError, TypeError) as error:
        if "Unknown model" in str(error):
            import difflib

            close = difflib.get_close_matches(config.backbone, timm.list_models(), 3)
            hint = f"; did you mean {', '.join(close)}?" if close else "; 'timm.list_models()' names them"
            raise SiameError(f"unknown backbone '{config.backbone}'{hint}") from None
        raise SiameError(f"backbone '{config.backbone}' cannot be built: {str(error).splitlines()[0]}") from None


class _Spatial(nn.Module):
    """Feature map -> vector that keeps the places: 1x1 convolution, flatten, linear."""

    def __init__(self, channels: int, cells: int, squeeze: int, embedding: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.project = nn.Linear(squeeze * cells, embedding)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.relu(self.squeeze(x)).flatten(1))


def local_contrast(x: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c h w"]:
    """Each pixel less the mean of its neighbourhood (about side x side), over the contrast there (all channels' together).

    A slow gain and bias, as lamps and exposure make them, cancel; contrasts under 2 % of the range, which are noise, stay
    small. Means are taken on a fifth of the neighbourhood's resolution and interpolated: they are smooth, and it is quick.
    """
    k = max(1, round(side / 5))

    def mean(z: Tensor) -> Tensor:
        cells = F.avg_pool2d(F.avg_pool2d(z, k, ceil_mode=True), 5, 1, 2, count_include_pad=False)
        smooth = F.interpolate(cells, scale_factor=float(k), mode="bilinear", align_corners=False)
        return smooth[..., : z.shape[-2], : z.shape[-1]]

    x = x - mean(x)
    return x * torch.rsqrt(mean(x.square().mean(1, keepdim=True)) + 0.02**2)


class SiameseNetwork(nn.Module):
    """S and f of the paper's Fig. 1.

    Images are RGB in [0, 1], float32, of `config.image_size`; the normalisation is inside.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    rays: Tensor
    matching: Matching  # of that fusion only

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, channels = _backbone(config)
        self.channels = channels
        self.pool: nn.Module = nn.Identity()
        features = channels
        side = -(-config.image_size // config.stride)
        if config.pooling == "spatial":
            self.pool = _Spatial(channels, side * side, config.squeeze, config.embedding)
            features = config.embedding
        elif config.pooling == "homography":
            self.pool = HomographyPool(channels, side)
            features = HomographyPool.SIZE
        elif config.pooling == "descriptors":
            self.pool = CellDescriptors(channels, config.squeeze)
            self.matching = Matching(config.squeeze, side)
            features = Matching.SIZE
        alone = config.fusion in ("difference", "absolute", "matching")
        sizes = [features * (1 if alone else 2), *config.head, 6]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.head = nn.Sequential(*(layers[:-1] if config.fusion != "geometric" else ()))
        self.register_buffer("rays", torch.tensor(config.rays), persistent=False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(config.output_scale), persistent=False)

    def weights_for(self, config: NetworkConfig) -> dict[str, Tensor]:
        """What a network of another config takes over: all, or all but the head's where that is another."""
        same = all(getattr(self.config, name) == getattr(config, name) for name in ("fusion", "head", "output"))
        return {name: w for name, w in self.state_dict().items() if same or not name.startswith("head.")}

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c y x"] | Float[Tensor, "n c"]:
        """The backbone's last map (spatial pooling), or its pooled vector, float32."""
        c, x, mean, std = self.config, images, self.mean, self.std
        if not c.colour:
            x = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
            mean, std = mean.mean(), std.mean()
        x = local_contrast(x, round(c.local_contrast * c.image_size)) if c.local_contrast > 0 else (x - mean) / std
        x = self.backbone(x.contiguous(memory_format=torch.channels_last))
        x = x[0] if isinstance(x, (list, tuple)) else x
        return x.float()

    def pooled(self, features: Tensor) -> Float[Tensor, "n d"]:
        """S(I) from `features`. Near the goal S(I) - S(I*) is a small difference of large numbers: float32 from here on."""
        with torch.autocast(features.device.type, enabled=False):
            return self.pool(features)

    def embed(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """S(I)."""
        return self.pooled(self.features(images))

    def regress(self, s: Float[Tensor, "*B d"], s_desired: Float[Tensor, "*B d"]) -> Float[Tensor, "*B 6"]:
        """f: what the head says of S(I) and S(I*), in units of `output_scale`."""
        fusion = self.config.fusion
        if fusion == "geometric":
            with torch.autocast(s.device.type, enabled=False):
                R, t = self.poses(s.float())
                R_desired, t_desired = self.poses(s_desired.float())
                return self._towards(R_desired.expand_as(R), t_desired.expand_as(t), R, t)
        if fusion == "absolute":
            with torch.autocast(s.device.type, enabled=False):
                return self._between(self.head(s.float()), self.head(s_desired.float()).expand(*s.shape[:-1], 6))
        if fusion == "matching":
            with torch.autocast(s.device.type, enabled=False):
                return self._steer(self.matching(s.float(), s_desired.float()))
        if fusion == "difference":
            x = s - s_desired
            at_goal = torch.zeros_like(x)  # of x's shape, so that at the goal both go through the very same arithmetic
        else:
            context = s_desired.expand_as(s)
            x = torch.cat((s if fusion == "concatenation" else s - s_desired, context), -1)
            first = s_desired if fusion == "concatenation" else torch.zeros_like(s_desired)
            at_goal = torch.cat((first, s_desired), -1)
        with torch.autocast(x.device.type, enabled=False):
            y = self.head(x.float())
            return y - self.head(at_goal.float()) if self.config.zero_at_goal else y

    def regress_pairs(self, s: Float[Tensor, "n d"], current: Tensor, desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress(s[current], s[desired])` for many pairs of few views: the first layer, linear, is run once a view."""
        if self.config.fusion == "geometric":
            R, t = self.poses(s)
            return self._towards(R[desired], t[desired], R[current], t[current])
        if self.config.fusion == "absolute":
            y = self.head(s)
            return self._between(y[current], y[desired])
        if self.config.fusion == "matching":
            return self.regress_matches(self.matching.match(s[current], s[desired]), s, desired)
        first, rest = self.head[0], self.head[1:]
        assert isinstance(first, nn.Linear)
        d = s.shape[1]
        a = s @ first.weight[:, :d].T
        if self.config.fusion == "difference":
            b, at_goal = -a, first.bias[None]
        elif self.config.fusion == "relative":
            context = s @ first.weight[:, d:].T
            b, at_goal = context - a, context + first.bias
        else:
            b = s @ first.weight[:, d:].T
            at_goal = a + b + first.bias
        y = rest((a + first.bias)[current] + b[desired])
        if not self.config.zero_at_goal:
            return y
        zero = rest(at_goal)
        return y - (zero if len(zero) == 1 else zero[desired])

    def regress_matches(self, found: Matches, s: Float[Tensor, "n d"], desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress_pairs` from what `matching` found for the pairs; for fusion 'matching'."""
        own, back = desired.unique(return_inverse=True)
        return self._steer(self.matching.fit(found.points, found.log_scale) - self.matching.still(s[own])[back])

    def _steer(self, h: Float[Tensor, "n 8"]) -> Float[Tensor, "n 6"]:
        """What the head says of a homography."""
        y = self.head(h)
        return y - self.head(torch.zeros_like(h)) if self.config.zero_at_goal else y

    def poses(self, s: Float[Tensor, "*B 8"]) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3"]]:
        """R and t of T_wc that S(I) tells; for homography pooling."""
        assert isinstance(self.pool, HomographyPool)
        h = s / self.pool.units
        H = torch.cat((h, torch.ones_like(h[..., :1])), -1).unflatten(-1, (3, 3))
        return pose_from_homography(H, self.rays, self.config.half_width)

    def _towards(self, R_d: Tensor, t_d: Tensor, R_c: Tensor, t_c: Tensor) -> Float[Tensor, "*B 6"]:
        """The output, in units of `output_scale`, from the poses of desired and current camera: Eq. 3, or c*Tc."""
        apart = t_c - t_d
        turn = rotation_vector(R_d.transpose(-1, -2) @ R_c)
        if self.config.output == "pose":
            y = torch.cat(((R_d.transpose(-1, -2) @ apart[..., None]).squeeze(-1), turn), -1)
        else:
            y = -torch.cat(((R_c.transpose(-1, -2) @ apart[..., None]).squeeze(-1), turn), -1)
        return y / self.scale

    def _between(self, y: Float[Tensor, "*B 6"], y_desired: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 6"]:
        """c*Tc, in units of `output_scale`, of poses in the scene, in the same."""
        return pose_between(y_desired * self.scale, y * self.scale) / self.scale

    def command(self, s: Float[Tensor, "*B d"], s_desired: Float[Tensor, "*B d"]) -> Float[Tensor, "*B 6"]:
        """The output in m and rad: velocity at gain 1, or for output 'pose' c*Tc as (t, theta u)."""
        return self.regress(s, s_desired).float() * self.scale

    def forward(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n 6"]:
        """One servo step: current images and stored S(I*) to the command."""
        return self.command(self.embed(images), s_desired)
