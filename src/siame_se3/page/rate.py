"""How many images a second reach a browser while a law runs?

    python -m siame_se3.page.rate [--law handoff dvs-light] [--seconds 20]

The page at 224 px, with one visitor that takes all it gets; each law moves a camera home from one start after the other. Only the seconds in which it
moves count. Beside the rate stand the processor's time that law, camera and page took for each image, and the load of the machine, which counts this
program too: on a machine that has other work, the time an image says more than the rate.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.networks import checkpoint
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.setup import Setup
from siame_se3.page.simulation import Simulation
from siame_se3.page.watcher import Watcher

_SPAN = 1.0  # [s] of each count


def measured(law: str, seconds: float) -> dict[str, Any]:
    """One law's row."""
    show = Simulation(Setup(bundled_print(), model=checkpoint.load(bundled(BUNDLED_MODEL)), law=law))
    page = Page(show, PageConfig(port=0, rate=30.0))
    watcher = Watcher(page.url)
    counts: list[float] = []
    costs: list[float] = []
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not show.moving:
                show.another_start()
                show.start()
                time.sleep(0.5)
                continue
            began, before, used = time.monotonic(), watcher.images, time.process_time()
            time.sleep(_SPAN)
            if show.moving and watcher.images > before:
                counts.append((watcher.images - before) / (time.monotonic() - began))
                costs.append((time.process_time() - used) / (watcher.images - before))
    finally:
        watcher.close()
        page.close()
    return {
        "law": law,
        "seconds counted": len(counts),
        "images/s, median": round(statistics.median(counts), 1) if counts else "never moved for a second",
        "least": round(min(counts), 1) if counts else "",
        "processor's time an image": f"{1e3 * statistics.median(costs):.0f} ms" if costs else "",
        "kB an image": round(watcher.bytes / max(1, watcher.images) / 1e3, 1),
        "load of the machine": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    }


def main() -> None:
    """All laws that are asked for."""
    options = parser(__doc__)
    options.add_argument("--law", nargs="*", default=["handoff", "dvs-light"])
    options.add_argument("--seconds", type=float, default=20.0, help="for each law")
    given = options.parse_args()
    rows = {law: lambda law=law: measured(law, given.seconds) for law in given.law}
    table(given, rows, choices=("law",))


if __name__ == "__main__":
    run_script(main)
