"""The siamese network (paper, Sec. IV): S(I) by a shared backbone, v = f(S(I) - S(I*)). Knows no files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import SiameError

POOLINGS = ("average", "spatial")
FUSIONS = ("difference", "concatenation", "relative")
OUTPUTS = ("velocity", "pose")


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is; saved in its checkpoint.

    Attributes:
        backbone: any timm model that gives feature maps; 'efficientnet_b3' is the paper's, 'resnet10t' fits a CPU.
        image_size: side of the square input [px].
        colour: False makes the input grey (luma).
        pooling: 'average' over the last map (the paper's), or 'spatial': the map keeps its places (squeezed to
            `squeeze` channels, flattened, projected to `embedding`), which tells where things are, not only what.
        stride: with spatial pooling, which feature map [px of input per cell].
        squeeze: with spatial pooling, channels kept.
        embedding: with spatial pooling, length of S(I).
        fusion: 'difference' S(I) - S(I*) (the paper's); 'concatenation' (its ablation); 'relative': the difference
            with S(I*) beside it, so that the velocity can depend on where the goal is.
        head: hidden layers of the regressor; the paper's are (1024, 256).
        output: 'velocity' (Siame-se(3)), or 'pose' (Siame-SE(3)): c*Tc as (t, theta u), with PBVS on top.
        zero_at_goal: head(e) - head(0), so that equal images command exactly zero.
        output_scale: one unit of the head's output [m x 3, rad x 3].
        pretrained: start from timm's ImageNet weights (downloaded by timm).
    """

    backbone: str = "resnet10t"
    image_size: int = 112
    colour: bool = True
    pooling: Literal["average", "spatial"] = "spatial"
    stride: int = 16
    squeeze: int = 64
    embedding: int = 256
    fusion: Literal["difference", "concatenation", "relative"] = "relative"
    head: tuple[int, ...] = (512, 256)
    output: Literal["velocity", "pose"] = "velocity"
    zero_at_goal: bool = True
    output_scale: tuple[float, ...] = (0.1, 0.1, 0.1, 0.2, 0.2, 0.2)
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
        for name in ("colour", "zero_at_goal", "pretrained"):
            if not isinstance(getattr(self, name), bool):
                refuse(name, "true or false")
        if not isinstance(self.head, tuple) or not all(isinstance(n, int) and n > 0 for n in self.head):
            refuse("head", "whole numbers above 0")
        scale = self.output_scale
        if (
            not isinstance(scale, tuple)
            or len(scale) != 6
            or not all(isinstance(x, (int, float)) and 0 < x < 1e6 for x in scale)
        ):
            refuse("output_scale", "six numbers above 0")

    @staticmethod
    def paper() -> NetworkConfig:
        """Siame-se(3) as published: EfficientNet-B3 at 224 px, ImageNet weights, 1536 -> 1024 -> 256 -> 6."""
        return NetworkConfig(
            "efficientnet_b3",
            224,
            pooling="average",
            fusion="difference",
            head=(1024, 256),
            zero_at_goal=False,
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
            return model, int(cast(int, model.num_features))
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


class SiameseNetwork(nn.Module):
    """S and f of the paper's Fig. 1.

    Images are RGB in [0, 1], float32, of `config.image_size`; the normalisation is inside.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, channels = _backbone(config)
        self.channels = channels
        self.pool: nn.Module = nn.Identity()
        features = channels
        if config.pooling == "spatial":
            side = -(-config.image_size // config.stride)
            self.pool = _Spatial(channels, side * side, config.squeeze, config.embedding)
            features = config.embedding
        sizes = [features * (1 if config.fusion == "difference" else 2), *config.head, 6]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.head = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(config.output_scale), persistent=False)

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c y x"] | Float[Tensor, "n c"]:
        """The backbone's last map (spatial pooling), or its pooled vector, float32."""
        if self.config.colour:
            x = (images - self.mean) / self.std
        else:
            luma = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
            x = (luma - self.mean.mean()) / self.std.mean()
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

    def command(self, s: Float[Tensor, "*B d"], s_desired: Float[Tensor, "*B d"]) -> Float[Tensor, "*B 6"]:
        """The output in m and rad: velocity at gain 1, or for output 'pose' c*Tc as (t, theta u)."""
        return self.regress(s, s_desired).float() * self.scale

    def forward(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n 6"]:
        """One servo step: current images and stored S(I*) to the command."""
        return self.command(self.embed(images), s_desired)
