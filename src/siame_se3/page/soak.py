"""Does a page stay as it is for hours: its memory, what waits, and what its visitors get?

    python -m siame_se3.page.soak [--minutes 30] [--clients 3]

Two laws move cameras home again and again under changing disturbances. Of the visitors, one is slow, and one closes its tab and comes back each
minute. Memory is read after the first tenth of the time, in which everything is built, and at the end.
"""

from __future__ import annotations

import os
import statistics
import time
from itertools import count
from pathlib import Path
from typing import Any

from siame_se3.experiments.script import bundled_print, parser, run_script, table
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.networks import checkpoint
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.disturb import KINDS
from siame_se3.page.setup import Setup
from siame_se3.page.simulation import Simulation
from siame_se3.page.watcher import Watcher

_REST, _STAY = 2.0, 60.0  # [s] between starts at least, and until the tab is closed
_SLOW = 0.1  # [s] that the slow visitor takes for a message


def soaked(minutes: float, clients: int) -> dict[str, Any]:
    """The only row."""
    show = Simulation(Setup(bundled_print(), model=checkpoint.load(bundled(BUNDLED_MODEL)), second="ibvs-sift"))
    page = Page(show, PageConfig(port=0))
    watchers = [Watcher(page.url, _SLOW if k == 1 else 0.0) for k in range(clients)]
    readings: list[tuple[float, dict[str, int]]] = []
    began = time.monotonic()
    try:
        for number in count():
            now = time.monotonic() - began
            if now > 60 * minutes:
                break
            if not show.moving:
                show.disturb(frozenset(kind for k, kind in enumerate(KINDS) if number >> k & 1))
                show.another_start()
                show.start()
            if clients > 2 and int(now / _STAY) > int((now - _REST) / _STAY):
                watchers.pop().close()
                watchers.append(Watcher(page.url))
            readings.append((_memory(), page.waiting))
            if number % 15 == 0:
                print(f"  {now / 60:.1f} min: {readings[-1][0] / 1e6:.1f} MB, {readings[-1][1]}", flush=True)
            time.sleep(_REST)
        return _row(minutes, clients, readings, watchers, page)
    finally:
        for watcher in watchers:
            watcher.close()
        page.close()


def _row(
    minutes: float, clients: int, readings: list[tuple[float, dict[str, int]]], watchers: list[Watcher], page: Page
) -> dict[str, Any]:
    tenth = max(1, len(readings) // 10)
    first, last = readings[tenth : 2 * tenth] or readings, readings[-tenth:]
    memory = [statistics.median(m for m, _ in part) for part in (first, last)]
    queues = {name: [max(q[name] for _, q in part) for part in (first, last)] for name in first[0][1]}
    return {
        "minutes": f"{minutes:g}",
        "clients": clients,
        "memory, start / end": f"{memory[0] / 1e6:.1f} / {memory[1] / 1e6:.1f} MB",
        "growth": f"{100 * (memory[1] / memory[0] - 1):+.2f} %",
        **{f"{name}, start / end": f"{a} / {b}" for name, (a, b) in queues.items()},
        "images of the first visitor": watchers[0].images,
        "all visitors still served": "yes" if all(watcher.alive for watcher in watchers) else "no",
        "fault": page.fault or "none",
    }


def _memory() -> float:
    """Of this process, resident [bytes]; nan where the system does not say."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return float("nan")


def main() -> None:
    """The row."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--clients", type=int, default=3)
    given = options.parse_args()
    table(given, {"soak": lambda: soaked(given.minutes, max(1, given.clients))})


if __name__ == "__main__":
    run_script(main)
