"""How much of the processor a container leaves to this process."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def own_cores() -> list[int]:
    """The numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def quota(cgroup: Path = CGROUP) -> int | None:
    """How many cores' time the control group may use (docker --cpus 2), rounded up; None where that is no limit, or not known.

    Args:
        cgroup: its folder, of version 2 or 1.
    """
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # of version 2, of version 1
        try:
            words = " ".join((cgroup / name).read_text(encoding="ascii") for name in files).split()
            used, period = (int(word) for word in words)
        except (OSError, ValueError):  # no such file, or 'max'
            continue
        if used > 0 and period > 0:  # -1: no limit
            count = math.ceil(used / period)
            return count if count < len(own_cores()) else None
    return None
