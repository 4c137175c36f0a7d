"""What a training's batches are made of: the settings `--data`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types
from siame_se3.scenes.conditions import Augmentation

MOST_RELIEF = 0.5  # of the distance: higher, and cameras that are nearer than usual would be inside


@dataclass(frozen=True)
class DataConfig:
    """What a batch is.

    Attributes:
        views: images in a group.
        scenes: in a group, which share its views out evenly; only views of one scene are pairs.
        groups: independent groups a batch, each with its own scenes and batch statistics; processes share them out.
        near: share of a group's views that are neighbours of others, at a log-uniform distance, so that pairs close to
            the goal are seen; 0 for none.
        near_weight: weight of the pairs of a view and its neighbour in the loss, others having 1.
        near_orbit: share of the neighbours that are moved around the point they look at (see `views.near_views`).
        near_alike: share of the neighbours that are under the same light and patch as the view they belong to. A small
            motion cannot be seen under two lights; without this the law learns to command nothing near the goal.
        near_smallest: least of those distances, as a share of the offsets' spread.
        near_largest: largest of them.
        pairs: 'all' ordered pairs of a group, or 'paper': each view paired with one start of its own.
        most_pairs: of all pairs, only so many of each scene in a group: those of a view and its neighbour, and some of the others; 0 for all.
        spread: each view's offset from its reference is the Gaussian's, scaled by a factor uniform between these: (1, 1)
            is the paper's; a wider range has a heavier tail, for starts that are far.
        starts: where current views are: 'table1', around each other, or 'wide': half of a group's views are spread as far starts are
            (`views.wide_views`), and the desired views are the others. For all pairs.
        teacher: law that gives the velocities: pbvs, ibvs or 2.5d.
        augmentation: at full strength.
        relief: the highest that anything under a photo stands out, as a share of the distance to it (`relief_random.varied_parts`): each scene
            of a group has a relief of its own, of a height uniform up to this, and new ones in each step; 0 for flat scenes.
        relief_rate: share of a group's scenes that have one, where `relief` is not 0; the others are flat.
        denoise: the photos' noise is estimated and taken out of them before the training.
        curriculum: share of the training over which the augmentation's strength, the reliefs' height (and, with several scenes, their
            number) ramp up.

    Raises:
        InputError: options that make no batch.
    """

    views: int = 64
    groups: int = 1
    near: float = 0.2
    near_weight: float = 10.0
    near_orbit: float = 0.5
    near_alike: float = 0.5
    near_smallest: float = 0.01
    near_largest: float = 0.5
    pairs: Literal["all", "paper"] = "all"
    most_pairs: int = 0
    scenes: int = 1
    spread: tuple[float, float] = (0.2, 1.5)
    starts: Literal["table1", "wide"] = "table1"
    teacher: Literal["pbvs", "ibvs", "2.5d"] = "pbvs"
    augmentation: Augmentation = field(default_factory=Augmentation)
    denoise: bool = False
    curriculum: float = 0.1
    relief: float = 0.0
    relief_rate: float = 0.5

    @property
    def neighbours(self) -> int:
        """Of a scene's views in a group: half of them at most, each needs one that it belongs to."""
        n = self.views // self.scenes
        return min(round(self.near * n), n // 2)

    def __post_init__(self) -> None:
        require_types(self, "data")
        for name in ("near_weight", "near_largest"):
            require_number(self, name, 0)
        for name in ("near_orbit", "near_alike", "curriculum", "relief_rate"):
            require_number(self, name, 0, 1)
        if not 0 <= self.relief <= MOST_RELIEF:
            raise InputError(
                f"data: relief {self.relief}; give a share of the distance from 0 to {MOST_RELIEF}", "data.relief"
            )
        if not 0 <= self.spread[0] <= self.spread[1] < math.inf:
            raise InputError(f"data: spread {self.spread}; give two factors, the smaller first", "data.spread")
        if self.views < 2 or self.groups < 1:
            raise InputError(
                f"data: {self.views} views, {self.groups} groups; give at least 2 views and 1 group",
                *("data.views", "data.groups"),
            )
        if (
            not 1 <= self.scenes <= self.views // 2
            or self.views % self.scenes
            or (self.scenes > 1 and self.pairs == "paper")
        ):
            raise InputError(
                f"data: {self.views} views of {self.scenes} scenes in a group; give a number of scenes by which the views can be shared out, two views "
                "or more each, with pairs 'all'",
                *("data.scenes", "data.views", "data.pairs"),
            )
        if not 0 <= self.near <= 0.5:
            raise InputError(
                f"data: near {self.near}; give a share from 0 to 0.5 (each neighbour needs a view of its own)",
                "data.near",
            )
        if self.starts == "wide" and self.pairs == "paper":
            raise InputError("data: starts 'wide' are for pairs 'all'; give these", "data.pairs", "data.starts")
        if self.starts == "wide" and self.near > 1 / 3:
            raise InputError(f"data: starts 'wide' with near {self.near}; give a third at most", "data.near")
        if self.most_pairs < 0 or (self.most_pairs and self.pairs == "paper"):
            raise InputError(
                f"data: most_pairs {self.most_pairs}; give a number of pairs 'all', or 0 for all of them",
                "data.most_pairs",
            )
        if not 0 < self.near_smallest <= self.near_largest:
            raise InputError(
                f"data: near_smallest {self.near_smallest}, near_largest {self.near_largest}; give shares above 0, the smallest first",
                *("data.near_smallest", "data.near_largest"),
            )
