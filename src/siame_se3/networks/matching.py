"""Fusion 'matching': which cell of the desired image shows what each cell of the current one shows, and the homography between the two.

Compare Rocco, Arandjelovic and Sivic 2017, "Convolutional neural network architecture for geometric matching": descriptors of both images, all
their correlations, a transformation from these. What is learned is how to distinguish places, not where they are in one scene. So one network
serves many scenes, and scenes that it has never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from siame_se3.networks.homography import HomographyFit
from siame_se3.networks.part_configs import MatchingConfig


@dataclass(frozen=True)
class Matches:
    """Of n pairs of images with k = y x cells. (Exporters trace this: sizes are traced numbers there, which no type checker can compare.)

    Attributes:
        points: (n, 2, y, x), where in the desired image each cell of the current one is, in [-1, 1]^2, and beyond it where it is not in it.
        log_scale: (n, y, x), log of its scale of error.
        log_p: (n, k, k), log probability that a cell (first axis) shows what a cell of the desired image (second) does.
    """

    points: Tensor
    log_scale: Tensor
    log_p: Tensor


class Matching(HomographyFit):
    """The homography between two images from their cells' descriptors, less that between the desired one and itself.

    Each cell's point is the mean of the desired image's cells under its correlations' softmax. Near the goal that hardly changes with the
    motion: each cell looks most like itself. So a few layers refine it, which see the probabilities and what is in the cell beside what is in those
    that it was matched with, of its neighbours too (5 x 5 cells); they also say how sure it is. The prior is no motion.
    """

    def __init__(self, length: int, side: int, config: MatchingConfig | None = None) -> None:
        config = config or MatchingConfig()
        super().__init__(side, config.fit)
        self.config, hidden = config, config.hidden
        self.length, self.more, self.side = length, length // 2, side
        self.temperature = nn.Parameter(torch.tensor(config.sharpness / config.sharpness_rate))
        self.place = nn.Conv2d(side * side, hidden, 1)
        self.within = nn.Conv2d(2 * self.more, hidden, 1)
        self.refine = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU()),
            nn.Conv2d(hidden, 3, 3, padding=1),
        )
        last = self.refine[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def match(self, s: Tensor, s_desired: Tensor) -> Matches:
        """Where the cells of current images (n, d) are in the desired ones (n, d)."""
        a, b = (x.unflatten(1, (self.length + self.more, self.side * self.side)) for x in (s, s_desired))
        alike = a[:, : self.length].transpose(1, 2) @ b[:, : self.length]
        log_p = (alike * torch.exp(self.config.sharpness_rate * self.temperature)).log_softmax(2)
        p = log_p.exp()
        mean = (p @ self.uv[:2].T).transpose(1, 2).unflatten(2, (self.side, self.side))
        matched = (p @ b[:, self.length :].transpose(1, 2)).transpose(1, 2)
        within = torch.cat((a[:, self.length :], matched), 1).unflatten(2, (self.side, self.side))
        # (cell, its probabilities) is the memory layout that convolutions like best: channels last
        more = self.refine(self.place(p.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)) + self.within(within))
        return Matches(mean + self.config.step * more[:, :2], more[:, 2].clamp(*self.config.log_scale), log_p)

    def still(self, s_desired: Tensor) -> Tensor:
        """(n, 8): the homography between an image and itself: next to none, and what is not none is the cells' bias."""
        found = self.match(s_desired, s_desired)
        return self.fit(found.points, found.log_scale)

    def forward(self, s: Tensor, s_desired: Tensor) -> Tensor:
        """(n, 8): H - 1 of the homography from the current image to the desired one, in `units`; zero for equal images."""
        found = self.match(s, s_desired)
        return self.fit(found.points, found.log_scale) - self.still(s_desired)
