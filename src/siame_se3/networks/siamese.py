"""The siamese network (paper, Sec. IV): S(I) by a shared backbone, v = f(S(I) - S(I*)). Knows no files."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.images.contrast import local_contrast
from siame_se3.networks.backbone import backbone_of
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.fusion import FUSIONS, GeometricFusion, MatchingFusion, PlaneFusion
from siame_se3.networks.matching import Matches, Matching
from siame_se3.networks.pooling import POOLINGS


class SiameseNetwork(nn.Module):
    """S and f of the paper's Fig. 1: `backbone` and `pool` make S(I) of an image, `fusion` the output of S(I) and S(I*).

    Images are RGB in [0, 1], float32, of `config.image_size`; the normalisation is inside.

    Raises:
        ModelError: a backbone that does not exist, lacks the stride, or needs timm where there is none.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    rays: Tensor
    head: nn.Sequential
    matching: Matching  # of that fusion only

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        pooling, fusion = POOLINGS[config.pooling], FUSIONS[config.fusion]
        self.backbone, self.channels = backbone_of(config, pooling.takes_map)
        self.pool = pooling.of(config, self.channels)
        for name, part in fusion.parts(config, self.pool).items():
            self.add_module(name, part)
        self.fusion = fusion(self)
        self.register_buffer("rays", torch.tensor(config.rays), persistent=False)
        self.register_buffer("mean", torch.tensor(config.input.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.input.std)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(config.output_scale), persistent=False)

    @property
    def matches(self) -> bool:
        """Whether the cells of two images are matched (fusions 'matching' and 'plane')."""
        return isinstance(self.fusion, MatchingFusion)

    def weights_for(self, config: NetworkConfig) -> dict[str, Tensor]:
        """What a network of another config takes over: all, or all but the head's where that is another."""
        same = all(getattr(self.config, name) == getattr(config, name) for name in ("fusion", "head", "output"))
        return {name: w for name, w in self.state_dict().items() if same or not name.startswith("head.")}

    def without_head(self) -> SiameseNetwork:
        """One with the same S(I) and fusion 'geometric'; with pooling 'homography'."""
        config = replace(self.config, fusion="geometric", pretrained=False)
        with torch.random.fork_rng(devices=[]):
            network = SiameseNetwork(config).to(self.scale.device)
        network.load_state_dict({name: w for name, w in self.state_dict().items() if not name.startswith("head.")})
        return network.to(memory_format=torch.channels_last)

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c y x"] | Float[Tensor, "n c"]:
        """The backbone's feature map, or with average pooling its pooled vector; float32."""
        c, x, mean, std = self.config, images, self.mean, self.std
        if not c.colour:
            x = (x * x.new_tensor(c.input.luma)[:, None, None]).sum(1, keepdim=True)
            mean, std = mean.mean(), std.mean()
        if c.local_contrast > 0:
            side = round(c.local_contrast * c.image_size)
            x = local_contrast(x, side, c.input.contrast_floor, c.input.contrast_cells)
        else:
            x = (x - mean) / std
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
        """f: the output for S(I) and S(I*), in units of `output_scale`."""
        with torch.autocast(s.device.type, enabled=False):
            return self.fusion.regress(s.float(), s_desired.float())

    def regress_pairs(self, s: Float[Tensor, "n d"], current: Tensor, desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress(s[current], s[desired])` for many pairs of few views, with what can be shared done once a view."""
        return self.fusion.regress_pairs(s, current, desired)

    def regress_matches(self, found: Matches, s: Float[Tensor, "n d"], desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress_pairs` from what `matching` found for the pairs; with fusions 'matching' and 'plane'."""
        assert isinstance(self.fusion, MatchingFusion)
        return self.fusion.regress_matches(found, s, desired)

    def poses(self, s: Float[Tensor, "*B 8"]) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3"]]:
        """R and t [m] of T_wc that S(I) says; with fusion 'geometric'."""
        assert isinstance(self.fusion, GeometricFusion)
        return self.fusion.poses(s)

    def between(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """What relates current images to desired ones, in one tensor, as exporters like it; with fusion 'plane'. `engines.Correspondence` reads it."""
        assert isinstance(self.fusion, PlaneFusion)
        with torch.autocast(images.device.type, enabled=False):
            return self.fusion.correspondence(self.embed(images).float(), s_desired.float())

    def command(self, s: Float[Tensor, "*B d"], s_desired: Float[Tensor, "*B d"]) -> Float[Tensor, "*B 6"]:
        """The output in m and rad: velocity at gain 1, or for output 'pose' c*Tc as (t, theta u)."""
        return self.regress(s, s_desired).float() * self.scale

    def forward(self, images: Float[Tensor, "n 3 h w"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n 6"]:
        """One servo step: current images and stored S(I*) to the command."""
        return self.command(self.embed(images), s_desired)
