"""What the parts of a network are: input, fit of homographies, pooling, matching, attention. `NetworkConfig` holds them."""

from __future__ import annotations

from dataclasses import dataclass, field

from siame_se3.images.luma import LUMA
from siame_se3.networks.checks import number, numbers, ordered, part, refuse, whole

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
class AttentionConfig:
    """Pooling 'context' and fusion 'plane' (see `attention`).

    Attributes:
        width: numbers of a cell.
        heads: of the attention.
        own: layers in which the cells of one image look at each other.
        rounds: in which they look at the other image's cells, and then again at each other.
    """

    width: int = 128
    heads: int = 4
    own: int = 2
    rounds: int = 3

    def __post_init__(self) -> None:
        for name in ("width", "heads"):
            whole(self, "network.attention", name, 1, 4096)
        for name in ("own", "rounds"):
            whole(self, "network.attention", name, 0, 64)
        if self.width % (4 * self.heads):
            refuse(self, "network.attention", "width", f"a multiple of 4 x heads ({4 * self.heads})")
