"""Threads for what other processes leave of the processor: two threads that share a core with another process wait for each other most of the time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from siame_se3.files.cores import CGROUP, own_cores, quota

_LEAST = 0.5  # [s] that are looked at
_STAT = Path("/proc/stat")
_by_quota: dict[str, str] = {}  # what `keep_to_quota` has set


def keep_to_quota(cgroup: Path = CGROUP) -> None:
    """Where a container may use fewer cores than it sees, PyTorch and OpenCV take that many threads, unless the user says how many; before either
    is loaded. With one for each core they wait for each other, as the system stops them all when the time is used up."""
    count = quota(cgroup)
    if count is None:
        return
    for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        if name not in os.environ:
            os.environ[name] = _by_quota[name] = str(count)


def threads_said() -> str | None:
    """The number of threads that the user asks for (OMP_NUM_THREADS); None for none."""
    said = os.environ.get("OMP_NUM_THREADS")
    return None if said == _by_quota.get("OMP_NUM_THREADS") else said


class Cores:
    """The processor from now on."""

    def __init__(self, stat: Path = _STAT, cgroup: Path = CGROUP) -> None:
        self._stat = stat
        self._mine = own_cores()
        self.count = quota(cgroup) or len(self._mine)
        """How many this process may use."""
        self._began = self._read()

    def _read(self) -> tuple[float, float, float]:
        """Seconds: of the clock, that the cores of this process were busy, and that this process used them."""
        used = os.times()
        own = used.user + used.system + used.children_user + used.children_system
        busy = 0.0
        try:
            lines = [line.split() for line in self._stat.read_text(encoding="ascii").splitlines()]
        except OSError:
            lines = []  # not Linux: others are not known
        for line in lines:
            if line and line[0].startswith("cpu") and line[0][3:].isdigit() and int(line[0][3:]) in self._mine:
                user, nice, system, _idle, _wait, *rest = map(int, line[1:])
                busy += (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, own

    def free(self) -> int:
        """How many whole cores other processes have left since the beginning, at least 1."""
        time.sleep(max(0.0, self._began[0] + _LEAST - time.monotonic()))
        elapsed, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        others = max(0.0, busy - own) / elapsed
        return max(1, min(self.count, int(len(self._mine) - others + 0.5)))


def only_free(cores: Cores) -> None:
    """Give PyTorch as many threads as cores are free, and say what that costs; not where the user has said how many (OMP_NUM_THREADS), or torchrun."""
    import torch

    threads = torch.get_num_threads()
    if threads < 2 or threads_said() is not None or "RANK" in os.environ:
        return
    free = cores.free()
    if free < threads:
        torch.set_num_threads(free)
        print(
            f"siame: other work keeps this machine's processor busy: training with {free} of {threads} threads, slower than alone; "
            "stop the other work and start again (it goes on where it was), or set OMP_NUM_THREADS",
            file=sys.stderr,
        )
