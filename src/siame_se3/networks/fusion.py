"""Fusions: f of the paper's Fig. 1, how S(I) and S(I*) become the output. A class each; it says which pooling's S(I) it reads.

A new fusion is a class here, its name in `FUSIONS` and in `config.FusionName`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from siame_se3.errors import ModelError
from siame_se3.geometry.plane import in_frame, pose_between, pose_from_homography, rotation_vector
from siame_se3.networks.attention import PairMatching
from siame_se3.networks.homography import homography_of
from siame_se3.networks.matching import Matches, Matching
from siame_se3.networks.pooling import POOLINGS, ContextPool, DescriptorPool, HomographyPool, Pooling, VectorPooling

if TYPE_CHECKING:
    from siame_se3.networks.config import NetworkConfig
    from siame_se3.networks.siamese import SiameseNetwork


def regressor(inputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them, to six numbers."""
    layers: list[nn.Module] = []
    for a, b in pairwise((inputs, *hidden, 6)):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Fusion(ABC):
    """From S(I) and S(I*) to the output in units of `output_scale`: a velocity at gain 1, or c*Tc as (t, theta u).

    It has no weights of its own: they are in modules of the network (`parts`), so that a file names them as Fig. 1 does.

    Attributes:
        reads: the pooling whose S(I) it takes.
        outputs: what it can give.
        scales_with_distance: whether its translation is in units of the training's distance to the scene.
    """

    reads: ClassVar[type[Pooling]] = VectorPooling  # type: ignore[type-abstract]  # to compare with, not to build
    outputs: ClassVar[tuple[str, ...]] = ("velocity", "pose")
    scales_with_distance: ClassVar[bool] = False

    def __init__(self, network: SiameseNetwork) -> None:
        self.network = network

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        """The network's modules that hold its weights, in the order in which their initial ones are drawn."""
        return {"head": regressor(pool.size, config.head)}

    @classmethod
    def check(cls, config: NetworkConfig) -> None:
        """Refuse another pooling or output than it can use.

        Raises:
            ModelError: the two do not go together.
        """
        fitting = [name for name, pooling in POOLINGS.items() if issubclass(pooling, cls.reads)]
        if config.pooling not in fitting:
            raise ModelError(
                f"network: fusion '{config.fusion}' does not read pooling '{config.pooling}'; give pooling {' or '.join(fitting)}",
                "network.pooling",
                "network.fusion",
            )
        if config.output not in cls.outputs:
            raise ModelError(
                f"network: fusion '{config.fusion}' gives no {config.output}; give output {' or '.join(cls.outputs)}",
                "network.output",
            )

    @abstractmethod
    def regress(self, s: Float[Tensor, "*B d"], s_desired: Float[Tensor, "*B d"]) -> Float[Tensor, "*B 6"]:
        """The output for S(I) and S(I*)."""

    @abstractmethod
    def regress_pairs(self, s: Float[Tensor, "n d"], current: Tensor, desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress(s[current], s[desired])` for many pairs of few views, with what can be shared done once a view."""


class HeadFusion(Fusion):
    """A head reads S(I) and S(I*). With `zero_at_goal`, what it says at the goal is taken off."""

    @abstractmethod
    def inputs(self, s: Tensor, s_desired: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads, and what it would read at the goal."""

    @abstractmethod
    def shares(self, s: Tensor, own: Tensor, first: nn.Linear) -> tuple[Tensor, Tensor]:
        """Of each view, as the desired one: its share of the first layer, and the layer at the goal (or one for all)."""

    def regress(self, s: Tensor, s_desired: Tensor) -> Tensor:
        head = self.network.head
        x, at_goal = self.inputs(s, s_desired)
        y = head(x)
        return y - head(at_goal) if self.network.config.zero_at_goal else y

    def regress_pairs(self, s: Tensor, current: Tensor, desired: Tensor) -> Tensor:
        first, rest = self.network.head[0], self.network.head[1:]
        assert isinstance(first, nn.Linear)
        own = s @ first.weight[:, : s.shape[1]].T
        theirs, at_goal = self.shares(s, own, first)
        y = rest((own + first.bias)[current] + theirs[desired])
        if not self.network.config.zero_at_goal:
            return y
        zero = rest(at_goal)
        return y - (zero if len(zero) == 1 else zero[desired])


class DifferenceFusion(HeadFusion):
    """S(I) - S(I*) (the paper's)."""

    def inputs(self, s: Tensor, s_desired: Tensor) -> tuple[Tensor, Tensor]:
        x = s - s_desired
        return x, torch.zeros_like(x)  # of x's shape, so that at the goal both go through the very same arithmetic

    def shares(self, s: Tensor, own: Tensor, first: nn.Linear) -> tuple[Tensor, Tensor]:
        return -own, first.bias[None]


class ConcatenationFusion(HeadFusion):
    """S(I) and S(I*), one after the other (the paper's ablation)."""

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        return {"head": regressor(2 * pool.size, config.head)}

    def inputs(self, s: Tensor, s_desired: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat((s, s_desired.expand_as(s)), -1), torch.cat((s_desired, s_desired), -1)

    def shares(self, s: Tensor, own: Tensor, first: nn.Linear) -> tuple[Tensor, Tensor]:
        theirs = s @ first.weight[:, s.shape[1] :].T
        return theirs, own + theirs + first.bias


class RelativeFusion(HeadFusion):
    """S(I) - S(I*) with S(I*) beside it, so that the output can depend on where the goal is."""

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        return {"head": regressor(2 * pool.size, config.head)}

    def inputs(self, s: Tensor, s_desired: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat((s - s_desired, s_desired.expand_as(s)), -1)
        return x, torch.cat((torch.zeros_like(s_desired), s_desired), -1)

    def shares(self, s: Tensor, own: Tensor, first: nn.Linear) -> tuple[Tensor, Tensor]:
        context = s @ first.weight[:, s.shape[1] :].T
        return context - own, context + first.bias


class AbsoluteFusion(Fusion):
    """Not siamese: the head says the pose of one image in the scene; the output is the pose between two of them (Bateux et al. 2018)."""

    outputs = ("pose",)

    def _between(self, y: Tensor, y_desired: Tensor) -> Tensor:
        """c*Tc from poses in the scene, all in units of the output scale."""
        scale = self.network.scale
        return pose_between(y_desired * scale, y * scale) / scale

    def regress(self, s: Tensor, s_desired: Tensor) -> Tensor:
        head = self.network.head
        return self._between(head(s), head(s_desired).expand(*s.shape[:-1], 6))

    def regress_pairs(self, s: Tensor, current: Tensor, desired: Tensor) -> Tensor:
        y = self.network.head(s)
        return self._between(y[current], y[desired])


class GeometricFusion(Fusion):
    """No layers: the camera's pose is read from each homography, and the output follows from the two by Eq. 3."""

    reads = HomographyPool

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        return {"head": nn.Sequential()}

    def poses(self, s: Float[Tensor, "*B 8"]) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3"]]:
        """R and t [m] of T_wc that S(I) says."""
        pool = self.network.pool
        assert isinstance(pool, HomographyPool)
        return pose_from_homography(homography_of(s, pool.units), self.network.rays, self.network.config.half_width)

    def _towards(self, R_d: Tensor, t_d: Tensor, R_c: Tensor, t_c: Tensor) -> Tensor:
        """From the poses of the desired and the current camera: Eq. 3, -R_c^T (t_c - t_d) and -theta u of R_d^T R_c; or c*Tc."""
        apart = t_c - t_d
        turn = rotation_vector(R_d.transpose(-1, -2) @ R_c)
        pose = self.network.config.output == "pose"
        y = torch.cat((in_frame(R_d if pose else R_c, apart), turn), -1)
        return (y if pose else -y) / self.network.scale

    def regress(self, s: Tensor, s_desired: Tensor) -> Tensor:
        R, t = self.poses(s)
        R_desired, t_desired = self.poses(s_desired)
        return self._towards(R_desired.expand_as(R), t_desired.expand_as(t), R, t)

    def regress_pairs(self, s: Tensor, current: Tensor, desired: Tensor) -> Tensor:
        R, t = self.poses(s)
        return self._towards(R[desired], t[desired], R[current], t[current])


class MatchingFusion(Fusion):
    """The two images' cells are matched, and a head reads the homography between them (see `Matching`)."""

    reads: ClassVar[type[Pooling]] = DescriptorPool
    scales_with_distance = True

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        matching = Matching(config.squeeze, config.side, config.matching)
        return {"matching": matching, "head": regressor(matching.size, config.head)}

    def _head(self, h: Float[Tensor, "n 8"]) -> Float[Tensor, "n 6"]:
        y = self.network.head(h)
        return y - self.network.head(torch.zeros_like(h)) if self.network.config.zero_at_goal else y

    def regress(self, s: Tensor, s_desired: Tensor) -> Tensor:
        return self._head(self.network.matching(s, s_desired))

    def regress_pairs(self, s: Tensor, current: Tensor, desired: Tensor) -> Tensor:
        return self.regress_matches(self.network.matching.match(s[current], s[desired]), s, desired)

    def regress_matches(self, found: Matches, s: Float[Tensor, "n d"], desired: Tensor) -> Float[Tensor, "p 6"]:
        """`regress_pairs` from what `Matching.match` found for the pairs."""
        matching = self.network.matching
        own, back = desired.unique(return_inverse=True)
        return self._head(matching.fit(found.points, found.log_scale) - matching.still(s[own])[back])


class PlaneFusion(MatchingFusion):
    """As 'matching', of cells that look at the other image first, and without a head: the output is Eq. 3 of the pose that the homography is,
    for a desired camera that looks at the plane square on, one unit of distance away. Where it does not, zero is zero still."""

    reads = ContextPool

    @classmethod
    def parts(cls, config: NetworkConfig, pool: Pooling) -> dict[str, nn.Module]:
        matching = PairMatching(config.side, config.squeeze, config.attention, config.matching)
        return {"matching": matching, "head": nn.Sequential()}

    @classmethod
    def check(cls, config: NetworkConfig) -> None:
        super().check(config)
        if len({*config.output_scale[:3]}) > 1 or {*config.output_scale[3:]} != {1.0}:
            raise ModelError(
                f"network: output_scale {config.output_scale}; with fusion 'plane' give the distance three times, and 1 three times",
                "network.output_scale",
            )

    def _head(self, h: Float[Tensor, "n 8"]) -> Float[Tensor, "n 6"]:
        rays = self.network.rays
        a, b, c, d = rays.unbind(0)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        on_plane = torch.stack((a, zero, b, zero, c, d, zero, zero, one)).reshape(3, 3)  # at distance 1
        R, t = pose_from_homography(on_plane @ homography_of(h, self.network.matching.units), rays, 1.0)
        apart = t + torch.stack((zero, zero, one))  # t_c - t_d
        turn = rotation_vector(R)
        if self.network.config.output == "pose":
            return torch.cat((apart, turn), -1)
        return -torch.cat((in_frame(R, apart), turn), -1)

    def correspondence(self, s: Float[Tensor, "n d"], s_desired: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
        """The homography from current image points to desired ones (9 numbers), where each of the k cells of the current image is in the desired one
        (k numbers along x, k along y), and the log of its scale of error (k); all in [-1, 1]^2."""
        matching = self.network.matching
        found = matching.match(s, s_desired)
        H = homography_of(matching.fit(found.points, found.log_scale), matching.units)
        return torch.cat([x.flatten(1) for x in (H, found.points, found.log_scale)], 1)

    def regress(self, s: Tensor, s_desired: Tensor) -> Tensor:
        return self.regress_matches(self.network.matching.match(s, s_desired), s, s_desired)

    def regress_pairs(self, s: Tensor, current: Tensor, desired: Tensor) -> Tensor:
        return self.regress(s[current], s[desired])

    def regress_matches(self, found: Matches, s: Float[Tensor, "n d"], desired: Tensor) -> Float[Tensor, "p 6"]:
        return self._head(self.network.matching.fit(found.points, found.log_scale))


FUSIONS: dict[str, type[Fusion]] = {
    "geometric": GeometricFusion,
    "matching": MatchingFusion,
    "plane": PlaneFusion,
    "difference": DifferenceFusion,
    "concatenation": ConcatenationFusion,
    "relative": RelativeFusion,
    "absolute": AbsoluteFusion,
}
