"""What a training (see `driver`) reports, calls on the way, and gives at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from siame_se3.networks.checkpoint import Model
from siame_se3.networks.siamese import SiameseNetwork


@dataclass
class Progress:
    """What the loop reports.

    Attributes:
        step, steps: made, and in all.
        loss: of the step.
        groups: mean error of each loss group [m or rad], and of 'where' [half scene widths] or 'match' [half images].
        lr: share of the peak learning rate.
        seconds: of training since the (first) start; pauses, evaluations and saving left out.
        images: rendered so far.
        shares: of the time: sample, render, augment, teacher.
    """

    step: int
    steps: int
    loss: float
    groups: dict[str, float]
    lr: float
    seconds: float
    images: int
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Callbacks:
    """What is called on the way, by the first process only.

    Attributes:
        report: every `train.log_every` steps.
        evaluate: `train.evaluations` times, with a copy of the network as it would be kept (in eval mode, on the training's device, the
            callback's own) and what `report` gets; True ends the training there. What it takes is not counted as training time.
        at: when to evaluate, as shares of the steps; None: `train.evaluations` times, evenly.
        pause: asked before each step; True saves the state and stops the training there, to go on another time (`Paused`).
        card: more entries of the model's card, asked for at the end.
        rehearse: how long an evaluation of this (untrained) network takes, estimated [s]; where it is given, the evaluations count as part
            of a budget in minutes.
        say: what is done now, a line at a time.
        kept: what the callbacks have found out so far, as JSON has it: saved with the state, and put back into it when the training goes on.
    """

    report: Callable[[Progress], None] = lambda progress: None
    evaluate: Callable[[SiameseNetwork, Progress], bool | None] | None = None
    at: tuple[float, ...] | None = None
    pause: Callable[[], bool] = lambda: False
    card: Callable[[], dict[str, Any]] = dict
    rehearse: Callable[[SiameseNetwork], float] | None = None
    say: Callable[[str], None] = lambda line: None
    kept: dict[str, Any] = field(default_factory=dict)


class Paused(Exception):
    """A training stopped because `Callbacks.pause` said so; its state is saved, and the same call goes on from it."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A training that ended: the model, the steps made, and the seconds that they took."""

    model: Model
    steps: int
    seconds: float
