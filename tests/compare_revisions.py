#!/usr/bin/env python3
"""Compare two revisions: do they give the same results, and is the new one as fast?

    python tests/compare_revisions.py OLD/src NEW/src --what results
    python tests/compare_revisions.py OLD/src NEW/src --what speed --repeats 5

Both run through the command line, each in a process of its own with PYTHONPATH set to the revision, on the CPU. The sources may be two
work trees of this repository; the environment must have what both need.

results (one thread): `siame servo` (the hand-off), `siame servo --law neural --perturb`, `siame bench table1 --quick` (rows that need no
training: a training of half a minute depends on the machine), and a short training. CSV columns are equal to 1e-6, relative or absolute,
whichever is larger, but for times; words are equal; each of the model's tensors is equal bit for bit, whatever its name.

speed: the demo, a short training, and a single step of each law (step_ms, as `siame servo` measures it, one camera). Pairs of runs, old and
new in turn; medians, and the median ratio within the pairs, which a busy machine disturbs less.

Exit status: 0 equal (no slower than --tolerance), 1 not.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

TOLERANCE = 1e-6
TIMES = ("_ms", "[ms]", "_s", "[s]", "seconds", "img_s", "hours", "minutes")  # columns that end so are times
UNTRAINED = [
    "dvs",
    "dct20",
    "dct100",
    "dvs-light",
    "ibvs-orb",
    "ibvs-sift",
    "pbvs-orb",
    "pbvs-sift",
    "siame-se(3)",
    "handoff",
]
LAWS = [
    "handoff",
    "neural",
    "dvs",
    "dvs-light",
    "dct",
    "pbvs-sift",
    "pbvs-orb",
    "ibvs-sift",
    "ibvs-orb",
    "pbvs",
    "ibvs",
    "2.5d",
]

# Several commands in one process: what an import takes is not what a law takes.
MANY = """
import contextlib, io, json, sys
from siame_se3.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["siame", *command]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main()
    except SystemExit as end:
        if end.code not in (None, 0, 1):
            raise
"""


def run(source: Path, commands: list[list[str]], threads: int) -> tuple[float, float]:
    """Run commands of one revision in one process; seconds by the clock, and of the processor."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MANY, json.dumps(commands)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{source}: {commands}\n{done.stderr[-3000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def apart(a: str, b: str) -> float:
    """Difference of two cells: of numbers, relative where they are above 1; of words, none or infinite."""
    try:
        x, y = float(a), float(b)
    except ValueError:
        return 0.0 if a == b else math.inf
    if x == y or (math.isnan(x) and math.isnan(y)):
        return 0.0
    return abs(x - y) / max(1.0, abs(x), abs(y)) if math.isfinite(x - y) else math.inf


def compare_tables(old: Path, new: Path) -> list[str]:
    """What differs between two CSVs, one line a column."""
    a, b = read(old), read(new)
    if len(a) != len(b):
        return [f"{len(a)} rows, now {len(b)}"]
    columns = [name for name in (a[0] if a else {}) if not name.endswith(TIMES)]
    found = []
    for name in columns:
        if b and name not in b[0]:
            found.append(f"{name}: no such column now")
            continue
        off = [apart(x[name], y[name]) for x, y in zip(a, b, strict=True)]
        rows = [k for k, value in enumerate(off) if value > TOLERANCE]
        if rows:
            where = ", ".join(f"{k}: {a[k][name]} now {b[k][name]}" for k in rows[:3])
            found.append(f"{name}: {len(rows)} of {len(a)} rows differ, by {max(off):.3g} at most (row {where})")
    return found


def tensors(path: Path) -> dict[str, tuple[str, str]]:
    """Name, and (shape and type, digest) of each tensor of a safetensors file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: (f"{t['dtype']} {t['shape']}", hashlib.sha256(data[slice(*(start + k for k in t["data_offsets"]))]).hexdigest())
        for name, t in header.items()
    }  # fmt: skip


def compare_models(old: Path, new: Path) -> list[str]:
    """What differs between two models' weights, bit for bit; names may differ."""
    a, b = tensors(old), tensors(new)
    missing = Counter(a.values()) - Counter(b.values())
    found = [f"{name} ({value[0]}): no tensor of these bits now" for name, value in a.items() if missing[value] > 0]
    added = sum((Counter(b.values()) - Counter(a.values())).values())
    return found + ([f"{added} tensors that were not there"] if added else [])


Comparison = Callable[[Path, Path], list[str]]


def results(old: Path, new: Path, options: argparse.Namespace, photo: Path) -> bool:
    """Run each command with both revisions, one thread, and compare what they write."""
    n, short = str(options.runs), ["--gain", "10"]
    train = ["train", str(photo), "--seed", "5", "--steps", str(options.steps), "--device", "cpu", "--eval-runs", "4"]
    table1 = ["bench", "table1", "--quick", "--laws", *UNTRAINED]
    table1 += ["--runs", n] if options.runs < 24 else []
    commands: dict[str, tuple[list[str], str, Comparison]] = {
        "servo": (["servo", "--runs", n, "--seed", "21", *short, "--out"], "runs.csv", compare_tables),
        "servo neural, perturbed": (
            ["servo", "--law", "neural", "--runs", n, "--seed", "22", *short, "--perturb", "--max-iterations", "60", "--out"],
            "runs.csv",
            compare_tables,
        ),
        "bench table1 --quick": ([*table1, "--out"], "*.csv", compare_tables),
        "training": ([*train, "--train.evaluations", "1", "--out"], "model.safetensors", compare_models),
    }  # fmt: skip
    equal = True
    for name, (command, pattern, compare) in commands.items():
        if options.only and options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            places = [Path(folder) / "old", Path(folder) / "new"]
            for source, place in zip((old, new), places, strict=True):
                place.mkdir()
                run(source, [[*command, str(place if "*" in pattern else place / pattern)]], threads=1)
            files = [{p.name: p for p in place.rglob(pattern)} for place in places]
            found = [f"{file}: not written now" for file in sorted(set(files[0]) - set(files[1]))]
            for file in sorted(set(files[0]) & set(files[1])):
                found += [f"{file}: {line}" for line in compare(files[0][file], files[1][file])]
            equal = equal and bool(files[0]) and not found
            print(f"{name}: {'equal' if files[0] and not found else 'DIFFERENT'} ({len(files[0])} files)", flush=True)
            print("".join(f"    {line}\n" for line in found), end="", flush=True)
    return equal


def step_times(source: Path, laws: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Time of a single step of each law [ms], one camera, median of its iterations."""
    with tempfile.TemporaryDirectory() as folder:
        many = [
            *("--runs", "1", "--seed", "3", "--gain", "4", "--max-iterations", str(options.iterations)),
            *("--settle-v", "1e-9", "--settle-w", "1e-9"),
        ]
        files = {law: Path(folder) / f"{law}.csv" for law in laws}
        commands = [["servo", "--law", law, *many, "--out", str(file)] for law, file in files.items()]
        run(source, commands, options.threads)
        return {f"step of {law} [ms]": float(read(file)[0]["step_ms"]) for law, file in files.items()}


def speed(old: Path, new: Path, options: argparse.Namespace, photo: Path) -> bool:
    """Pairs of runs, old and new in turn; medians and ratios."""
    times: dict[str, list[tuple[float, float]]] = {}
    for k in range(options.repeats):
        measured: list[dict[str, float]] = [{}, {}]
        for which in (0, 1) if k % 2 == 0 else (1, 0):
            source = (old, new)[which]
            with tempfile.TemporaryDirectory() as folder:
                demo = ["demo", "--runs", str(min(options.runs, 256)), "--out", folder]
                model = str(Path(folder) / "model.safetensors")
                train = ["train", str(photo), "--seed", "5", "--device", "cpu", "--eval-runs", "4", "--out", model]
                commands = {
                    "demo": demo,
                    f"training of {options.steps} steps": [*train, "--steps", str(options.steps)],
                }
                for name, command in commands.items():
                    if not options.only or options.only in name:
                        wall, cpu = run(source, [command], options.threads)
                        measured[which] |= {f"{name} [s]": wall, f"{name} [CPU s]": cpu}
            laws = [law for law in LAWS if options.only in f"step of {law}"]
            measured[which] |= step_times(source, laws, options) if laws else {}
        for name, value in measured[0].items():
            times.setdefault(name, []).append((value, measured[1][name]))
    fast = True
    print(f"{'':34}{'old':>10}{'new':>10}{'new/old':>9}   of {options.repeats} pairs, {options.threads} threads")
    for name, pairs in times.items():
        before, after = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
        ratio = statistics.median(b / a for a, b in pairs)
        slower = ratio > 1 + options.tolerance and "CPU" not in name
        fast = fast and not slower
        print(f"{name:34}{before:10.3f}{after:10.3f}{ratio:9.3f}{'   SLOWER' if slower else ''}")
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="folder in which the old `siame_se3` lies")
    parser.add_argument("new", type=Path, help="folder in which the new one lies")
    parser.add_argument("--what", choices=("results", "speed"), default="results")
    parser.add_argument("--only", default="", help="only what has this in its name: 'training', 'step of dvs'")
    parser.add_argument("--runs", type=int, default=1000, help="starts of each command")
    parser.add_argument("--steps", type=int, default=200, help="of the training")
    parser.add_argument("--iterations", type=int, default=60, help="of each law, whose median step is taken")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of timed runs")
    parser.add_argument("--threads", type=int, default=2, help="of timed runs")
    parser.add_argument("--tolerance", type=float, default=0.05, help="share by which a median ratio may be above 1")
    options = parser.parse_args()
    old, new = options.old.resolve(), options.new.resolve()
    for source in (old, new):
        if not (source / "siame_se3" / "__init__.py").is_file():
            parser.error(f"{source}: no package siame_se3 in this folder")
    compare = results if options.what == "results" else speed
    sys.exit(0 if compare(old, new, options, old / "siame_se3" / "assets" / "coffee.jpg") else 1)


if __name__ == "__main__":
    main()
