"""Where guesses of the goal's place come from, for the law `auto`: a network for any scene (the image as it is and turned by quarter turns), matched
keypoints, and a search over turns and scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.laws import hypotheses
from siame_se3.laws.goals import GOOD, SURE, Estimate, Goal, aligned, best_of, with_support
from siame_se3.laws.matched import grey_levels, parallel
from siame_se3.laws.neural import Neural, NeuralState
from siame_se3.laws.templates import Pyramid
from siame_se3.laws.types import View

_SPEAKS = 3.0  # a support that chance reaches once in a thousand times


@dataclass(frozen=True, eq=False)
class Answer:
    """What a search in one image has found.

    Attributes:
        best: the best guess.
        followed: how much the image's matches speak for what was followed (see `support.support`).
    """

    best: Estimate
    followed: float


@dataclass(frozen=True, eq=False)
class Guesses:
    """Of some goals.

    Attributes:
        network: of any scene; None for none.
        camera: of the images.
        goals: of all runs.
        known: the network's state for them; None where it is made for other cameras.
    """

    network: Neural | None
    camera: Camera
    goals: tuple[Goal, ...]
    known: NeuralState | None

    def best(
        self, runs: list[int], images: Float[Tensor, "n 3 h w"], now: list[Pyramid], followed: list[np.ndarray | None]
    ) -> dict[int, Answer]:
        """The best guess of some runs' places, verified in their images: first the network's, then those that matches agree on, then all, where those before
        are not good. `followed`: of all runs, T_cd of what they follow, whose support is measured too."""
        grey = {k: grey_of(images[k : k + 1])[0] for k in runs}
        matches = dict(zip(runs, parallel(lambda k: self.goals[k].matches(grey[k]), runs), strict=True))
        found: dict[int, list[Estimate]] = {k: [] for k in runs}

        def tried(some: list[int], guesses: Callable[[int], dict[str, list[np.ndarray]]]) -> None:
            more = parallel(lambda k: aligned(self.goals[k], now[k], guesses(k)), some)
            for k, estimates in zip(some, more, strict=True):
                found[k] += estimates

        def below(score: float) -> list[int]:
            return [k for k in runs if max((guess.score for guess in found[k]), default=-1.0) < score]

        def unsupported(k: int) -> bool:
            """Whether matches speak for none of the sure ones: what repeats itself has such places."""
            sure = [guess for guess in found[k] if guess.score >= SURE]
            return all(guess.support < _SPEAKS for guess in with_support(self.goals[k], sure, matches[k]))

        asked = self._asked_of_network(runs, images, (0,))
        tried(runs, lambda k: {"network": asked.get(k, []), "search": [np.eye(3)]})
        tried([k for k in runs if unsupported(k)], lambda k: {"points": self.goals[k].from_matches(matches[k])})
        poor = below(GOOD)
        turned = self._asked_of_network(poor, images, (1, 2, 3)) if poor else {}
        tried(
            poor,
            lambda k: {
                "search": hypotheses.by_search(self.goals[k].template, now[k]),
                "network": turned.get(k, []),
            },
        )
        best = parallel(lambda k: best_of(self.goals[k], found[k], matches[k]), runs)
        fine = parallel(lambda k, guess: self.goals[k].finely(grey[k], guess), runs, best)
        return {
            k: Answer(guess, self._support(k, matches[k], followed[k])) for k, guess in zip(runs, fine, strict=True)
        }

    def _support(self, k: int, matches: hypotheses.Matches, T_cd: np.ndarray | None) -> float:
        return 0.0 if T_cd is None else self.goals[k].support(matches, T_cd)

    def _asked_of_network(
        self, runs: list[int], images: Tensor, turned: tuple[int, ...]
    ) -> dict[int, list[np.ndarray]]:
        """The network's guesses, of the image turned by these quarter turns: homographies, or poses where the goal has a map of depths."""
        network, h, w = self.network, *self.camera.size
        if network is None or self.known is None or (turned != (0,) and h != w):
            return {}
        chosen = torch.tensor(runs)
        known = self.known[chosen]
        found: dict[int, list[np.ndarray]] = {k: [] for k in runs}
        for turns in turned:
            seen = torch.rot90(images[chosen], turns, (-2, -1)).contiguous()
            back = np.linalg.matrix_power(np.array([[0, -1, w - 1.0], [1, 0, 0], [0, 0, 1]]), turns)
            T_cd = network.poses(seen, known, self.camera)
            if T_cd is not None:
                K, turn = self.camera.K.numpy(), np.eye(4)
                U, _, Vh = np.linalg.svd(np.linalg.inv(K) @ back @ K)
                turn[:3, :3] = (
                    U @ Vh
                )  # a turn about the axis, but for a principal point beside the middle, or pixels that are not square
                guesses = [turn @ T for T in T_cd.numpy()]
            else:
                H = network.homographies(seen, known)
                if H is None and h != w:
                    return {}
                of_plane = self._by_velocity(network, seen, known, runs) if H is None else list(H.numpy())
                guesses = [back @ guess for guess in of_plane]
            for k, guess in zip(runs, guesses, strict=True):
                if np.isfinite(guess).all():
                    found[k].append(guess)
        return found

    def _by_velocity(self, network: Neural, images: Tensor, known: NeuralState, runs: list[int]) -> list[np.ndarray]:
        """Where a network that gives velocities at gain 1 only would go, as homographies of a plane."""
        v = network.law(View(images), known)[0].v
        T_cd = lie.pose(lie.so3_exp(v[:, 3:]), v[:, :3]).numpy()
        return [self.goals[k].plane.homography(T) for k, T in zip(runs, T_cd, strict=True)]


def grey_of(images: Float[Tensor, "n 3 h w"]) -> np.ndarray:
    """Grey images (n, h, w), float32 in [0, 1]."""
    return grey_levels(images).astype(np.float32) / 255
