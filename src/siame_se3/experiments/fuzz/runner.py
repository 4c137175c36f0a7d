"""Cases of all readers in turn, their table, and the command."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siame_se3.analysis.report import markdown
from siame_se3.experiments import fuzz
from siame_se3.experiments.fuzz.worker import ACCEPTED, KINDS, REFUSED, Case, Limits, results, spoilt
from siame_se3.files import hardware, write_csv_rows, write_text

TABLE = "siame_se3.experiments.fuzz.readers"


@dataclass
class Tally:
    """What came of all."""

    cases: list[Case] = field(default_factory=list)  # those that failed
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # by reader and kind
    seconds: dict[str, float] = field(default_factory=dict)  # the longest by reader
    memory: dict[str, float] = field(default_factory=dict)  # the most by reader

    def add(self, case: Case) -> None:
        """Count one."""
        counts = self.counts.setdefault(case.reader, dict.fromkeys(KINDS, 0))
        counts[case.kind] += 1
        self.seconds[case.reader] = max(case.seconds, self.seconds.get(case.reader, 0.0))
        self.memory[case.reader] = max(case.memory, self.memory.get(case.reader, 0.0))
        if case.kind not in (ACCEPTED, REFUSED):
            self.cases.append(case)

    def rows(self) -> list[dict[str, Any]]:
        """The table: a line a reader, and their sum."""

        def row(name: str, counts: dict[str, int], seconds: float, memory: float) -> dict[str, Any]:
            measured = {"longest [s]": round(seconds, 2), "most memory [MB]": round(memory / 1e6)}
            return {"reader": name, "cases": sum(counts.values()), **counts, **measured}

        lines = [row(name, self.counts[name], self.seconds[name], self.memory[name]) for name in sorted(self.counts)]
        total = {kind: sum(counts[kind] for counts in self.counts.values()) for kind in KINDS}
        most = max(self.seconds.values(), default=0.0), max(self.memory.values(), default=0.0)
        return [*lines, row("all", total, *most)]


def prepare(table: str, readers: Sequence[str], folder: Path) -> None:
    """Make the valid files that cases are spoilt from, in a folder a reader."""
    made = importlib.import_module(table).READERS
    for reader in readers:
        (folder / reader).mkdir()
        for k, content in enumerate(made[reader].make(folder)):
            (folder / reader / f"{k:03d}").write_bytes(content)


def run(
    table: str,
    readers: Sequence[str],
    numbers: Sequence[int],
    seed: int,
    limits: Limits,
    jobs: int = 1,
    until: float = math.inf,
) -> Tally:
    """Run cases of all readers in turn, `jobs` workers beside each other.

    Args:
        table: the module whose READERS are meant.
        numbers: of the cases; each is of the reader at its place in turn.
        until: no case begins after this time of `time.monotonic` [s].
    """
    tally = Tally()
    cases = [(readers[number % len(readers)], number) for number in numbers]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        folder = Path(name)
        prepare(table, readers, folder)

        def share(k: int) -> list[Case]:
            return list(results(table, folder, cases[k::jobs], seed, limits, until))

        for found in pool.map(share, range(jobs)):
            for case in found:
                tally.add(case)
    return tally


def write(tally: Tally, folder: Path, note: str) -> str:
    """Write summary.md, summary.csv and failures.csv; give the table as text."""
    rows = tally.rows()
    text = markdown(rows)
    write_text(folder / "summary.md", f"# Fuzz of all readers\n\n{note}\n\n{text}\n")
    failed = [{"case": f"{c.reader}/{c.number}", "what": c.kind, "detail": c.detail} for c in tally.cases]
    for name, table in (("summary.csv", rows), ("failures.csv", failed)):
        header = list(table[0]) if table else ["case", "what", "detail"]
        write_csv_rows(folder / name, header, [list(row.values()) for row in table])
    return text


def again(table: str, case: str, seed: int) -> None:
    """Run one case in this process and show what it raises."""
    reader, _, number = case.rpartition("/")
    module = importlib.import_module(table)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(table, [reader], folder)
        print(module.READERS[reader].read(spoilt(module, folder, reader, int(number), seed)))


def main(arguments: Sequence[str] | None = None) -> int:
    """All readers, or those named; the exit status is 1 if a case failed."""
    parser = argparse.ArgumentParser(description=fuzz.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="how many, of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", default="0/1", help="k/n: only the k-th (from 0) of n shares")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no case begins after this time [s]")
    parser.add_argument("--jobs", type=int, default=1, help="workers beside each other")
    parser.add_argument("--readers", nargs="*", default=[], help="only these")
    parser.add_argument(
        "--out", type=Path, default=Path("siame-fuzz"), help="folder of summary.md, summary.csv, failures.csv"
    )
    parser.add_argument("--case", help="READER/NUMBER: run this one here, and show what it raises")
    options = parser.parse_args(arguments)
    if options.case:
        again(TABLE, options.case, options.seed)
        return 0
    readers = options.readers or sorted(importlib.import_module(TABLE).READERS)
    mine, shares = map(int, options.share.split("/"))
    began = time.monotonic()
    numbers = range(mine, options.cases, shares)
    tally = run(TABLE, readers, numbers, options.seed, Limits(), options.jobs, began + options.seconds)
    command = " ".join(["python -m siame_se3.experiments.fuzz", *(sys.argv[1:] if arguments is None else arguments)])
    note = f"`{command}`, {hardware()}, {time.strftime('%Y-%m-%d')}, {time.monotonic() - began:.0f} s"
    print(write(tally, options.out, note))
    for case in tally.cases[:20]:
        print(f"{case.reader}/{case.number}: {case.kind} {case.detail}")
    return 1 if tally.cases else 0
