"""Why the baselines of Table I differ from the paper's rows: the same starts with other options, fewer runs.

    python -m siame_se3.experiments.baselines [--runs 100] [--orb-runs 40]

Prints converged runs, end error of the converged, path error against PBVS, and the mean distance from the nearest point of the
straight line to the desired camera (which no lag changes).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from siame_se3.analysis import metrics
from siame_se3.experiments.evaluation import mean_end
from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.geometry.camera import default_camera
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import Controller
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate

PHOTOMETRIC = {
    "DVS": (DVS(), 300),
    "DVS, 1500 iterations": (DVS(), 1500),
    "DCT-VS, k = 20": (DVS(coefficients=20), 300),
    "DCT-VS, 1500 iterations": (DVS(coefficients=20), 1500),
    "DCT-VS, mu 0.001": (DVS(coefficients=20, mu=1e-3), 1500),
    "DCT-VS, Gauss-Newton, mean L": (DVS("gauss-newton", "mean", coefficients=20), 1500),
}
ORB = {
    "ORB, 400 points": MatchedPoints("ibvs", "orb"),
    "ORB, 100 points": MatchedPoints("ibvs", "orb", features=100),
    "ORB, 50 points": MatchedPoints("ibvs", "orb", features=50),
    "ORB, L current": MatchedPoints("ibvs", "orb", "current"),
    "ORB, L desired": MatchedPoints("ibvs", "orb", "desired"),
}


def line(name: str, law: Controller, size: int, gain: float, iterations: int, runs: int) -> dict[str, Any]:
    """One variant."""
    task = Task(bundled_print(), default_camera(size), runs=runs, seed=42)
    trajectory, _, _ = simulate(law, task, ServoConfig(gain=gain, max_iterations=iterations))
    rows = metrics.rows(trajectory)
    s, good = metrics.summary(rows), [row.run for row in rows if row.converged]
    p = trajectory.T_wc[..., :3, 3]
    way = trajectory.T_wd[:, :3, 3] - p[0]
    share = (((p - p[0]) * way).sum(-1) / way.square().sum(-1)).clamp(0, 1)
    off = (p - p[0] - share[..., None] * way).norm(dim=-1)[1:] * trajectory.active
    nearest = off.sum(0) / trajectory.active.sum(0).clamp(min=1)
    return {
        "law": name,
        "runs": str(runs),
        "converged": f"{s.converged_percent:.1f} %",
        "end error": mean_end(s, 3),
        "path error": f"{100 * s.path_t_m:.2f} cm" if good else "-",
        "from the straight line": f"{100 * float(nearest[good].mean()):.2f} cm" if good else "-",
    }


def main() -> None:
    """Both tables as one."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=100)
    options.add_argument("--orb-runs", type=int, default=40)
    given = options.parse_args()
    rows = {name: partial(line, name, law, 112, 15.0, its, given.runs) for name, (law, its) in PHOTOMETRIC.items()}
    rows |= {name: partial(line, name, law, 224, 10.0, 150, given.orb_runs) for name, law in ORB.items()}
    small = "ORB, 112 px"
    rows[small] = partial(line, small, MatchedPoints("ibvs", "orb"), 112, 10.0, 150, given.orb_runs)
    table(given, rows)


if __name__ == "__main__":
    run_script(main)
