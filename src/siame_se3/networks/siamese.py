"""The siamese network (paper, Sec. IV): S(I) by a shared backbone, v = f(S(I) - S(I*)). Knows no files."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import SiameError
from siame_se3.geometry.plane import pose_between, pose_from_homography, rotation_vector
from siame_se3.images.contrast import local_contrast
from siame_se3.images.luma import LUMA
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.matching import CellDescriptors, Matches, Matching
from siame_se3.networks.pooling import HomographyPool


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
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
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
