"""The benchmark's laws by name: controller, camera, gain and patience; and the paper's row to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.laws.photometric import DVS
from siame_se3.laws.registry import controller_for
from siame_se3.laws.types import Controller
from siame_se3.networks.checkpoint import Model
from siame_se3.servo.config import ServoConfig


@dataclass(frozen=True)
class PaperRow:
    """Of Table I: end errors over the converged, convergence, path errors [cm, deg, %]."""

    t: str
    r: str
    converged: float
    path_t: float
    path_r: float


@dataclass(frozen=True)
class BenchLaw:
    """One row.

    Attributes:
        title: as tables name it.
        make: the controller, from the row's network (None where it needs none).
        network: its recipe in `networks`, '' for none.
        size: side of the images [px].
        gain: lambda [1/s] at 25 frames a second.
        iterations: a run ends after this many.
        paper: the paper's row, if it has one.
    """

    title: str
    make: Callable[[Model | None], Controller]
    network: str = ""
    size: int = 224
    gain: float = 10.0
    iterations: int = 150
    paper: PaperRow | None = None

    @property
    def camera(self) -> Camera:
        """The paper's field of view."""
        return default_camera(self.size)

    @property
    def config(self) -> ServoConfig:
        """Of the loop."""
        return ServoConfig(gain=self.gain, max_iterations=self.iterations)


def _photometric(coefficients: int = 0) -> Callable[[Model | None], Controller]:
    return lambda model: DVS(coefficients=coefficients)


def _named(law: str) -> Callable[[Model | None], Controller]:
    return lambda model: controller_for(law, model)


LAWS: dict[str, BenchLaw] = {
    "dvs": BenchLaw("DVS", _photometric(), "", 112, 15.0, 300, PaperRow("0.2 ± 1.5", "0.1 ± 0.9", 34.8, 2.19, 1.97)),
    "dct20": BenchLaw(
        "DCT-VS, k = 20",
        _photometric(20),
        "",
        112,
        15.0,
        300,
        PaperRow("0.01 ± 0.001", "0.004 ± 0.003", 38.6, 1.41, 1.12),
    ),
    "dct100": BenchLaw("DCT-VS, k = 100", _photometric(100), "", 112, 15.0, 300),
    "dvs-light": BenchLaw("DVS, light fitted", _named("dvs-light"), "", 112, 10.0, 150),
    "ibvs-orb": BenchLaw(
        "IBVS, ORB points", _named("ibvs-orb"), paper=PaperRow("2.3 ± 4.6", "2.7 ± 7.1", 43.4, 2.49, 2.8)
    ),
    "ibvs-sift": BenchLaw("IBVS, SIFT points", _named("ibvs-sift")),
    "pbvs-sift": BenchLaw("PBVS, SIFT points", _named("pbvs-sift")),
    "pbvs-orb": BenchLaw("PBVS, ORB points", _named("pbvs-orb")),
    "absolute-pose": BenchLaw(
        "pose of one image, Eq. 5 (the paper: VGG)",
        *(_named("neural"), "absolute-pose", 112),
        paper=PaperRow("5.4 ± 2.0", "3.43 ± 1.65", 76.9, 5.08, 3.28),
    ),
    "siame-SE(3)": BenchLaw(
        *("Siame-SE(3), Eq. 5", _named("neural"), "siame-SE(3)", 112),
        paper=PaperRow("1.12 ± 0.43", "0.79 ± 0.3", 98.0, 1.05, 0.74),
    ),
    "siame-se(3)-two": BenchLaw(
        *("Siame-se(3), two weights", _named("neural"), "siame-se(3)-two", 112),
        paper=PaperRow("1.27 ± 0.44", "0.94 ± 0.3", 97.8, 1.15, 0.85),
    ),
    "siame-se(3)": BenchLaw(
        *("Siame-se(3), Eq. 6", _named("neural"), "siame-se(3)", 112),
        paper=PaperRow("1.0 ± 0.48", "0.75 ± 0.3", 98.9, 1.08, 0.77),
    ),
    "handoff": BenchLaw("Siame-se(3), then photometric (hand-off)", _named("handoff"), "siame-se(3)", 112),
    "siame-se(3)-robust": BenchLaw(
        "Siame-se(3), trained for noise and blur", _named("neural"), "siame-se(3)-robust", 112
    ),
    "handoff-robust": BenchLaw("trained for noise and blur, hand-off", _named("handoff"), "siame-se(3)-robust", 112),
    "siame-se(3)-wide": BenchLaw("Siame-se(3), trained for far starts", _named("neural"), "siame-se(3)-wide", 112),
    "handoff-wide": BenchLaw("trained for far starts, hand-off", _named("handoff"), "siame-se(3)-wide", 112),
}
