"""Write the tables that README and docs publish, from the CSV files beside them.

    python -m siame_se3.experiments.published siame-bench/table1/table1.csv siame-bench/relief/relief.csv siame-bench/real/two_photos.csv

copies the files to docs/ and writes each table between its two marks; without files it writes the tables again.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from siame_se3.analysis.report import markdown
from siame_se3.errors import InputError
from siame_se3.experiments.fault_trials import TITLES
from siame_se3.experiments.relief import CNS_R, CNS_T, DEPTH_TITLES
from siame_se3.experiments.script import run_script
from siame_se3.files import MOST_OWN, atomically, parse_json, read_csv_table, read_text, write_text

ROOT = Path(__file__).resolve().parents[3]  # of the checkout
COLUMNS = (
    *(
        "law",
        "converged [%]",
        "t, converged [cm]",
        "r, converged [deg]",
        "t, all [cm]",
        "r, all [deg]",
        "path t [cm]",
        "path r [deg]",
    ),
    *("step [ms]", "paper: converged [%]", "paper: t [cm]", "paper: r [deg]", "paper: path"),
)
ALIGNED = 1.0  # of the image's width [%]
STRICT_T, STRICT_R = 2e-3, 0.2  # [m, deg]
LAWS = {"auto+light": "`auto`, then photometric", "auto": "`auto`", "handoff": "`auto`, then photometric"}


def table1(path: Path) -> str:
    """The published columns of a table1.csv.

    Raises:
        InputError: it is none.
    """
    rows = read_csv_table(path, COLUMNS, "give the CSV of a whole Table I")

    def mean(*values: str) -> str:
        t, r = (value.split(" ± ")[0] for value in values)
        return "-" if "-" in (t, r) else f"{t} cm, {r} deg"

    return markdown(
        [
            {
                "law": row["law"],
                "converged": f"{row['converged [%]']} %",
                "end error, converged": mean(row["t, converged [cm]"], row["r, converged [deg]"]),
                "end error, all": mean(row["t, all [cm]"], row["r, all [deg]"]),
                "path error": mean(row["path t [cm]"], row["path r [deg]"]),
                "step [ms]": row["step [ms]"],
                "paper: converged": "-" if (rate := row["paper: converged [%]"]) == "-" else f"{rate} %",
                "paper: end error": mean(row["paper: t [cm]"], row["paper: r [deg]"]),
                "paper: path error": row["paper: path"],
            }
            for row in rows
        ]
    )


def real(path: Path) -> str:
    """A row of each law of a two_photos.csv; pairs with one photo on both sides are no two photos, and left out.

    Raises:
        InputError: it is none.
    """
    rows = read_csv_table(
        path,
        ("folder", "law", "goal", "world", "end_align"),
        "give the two_photos.csv of 'bench real'",
        most_bytes=MOST_OWN,
    )
    found = []
    for law, own in _by([row for row in rows if row["goal"] != row["world"]], "law"):
        ends = [float(row["end_align"]) for row in own]
        pairs = [[float(row["end_align"]) < ALIGNED for row in pair] for _, pair in _by(own, "folder", "goal", "world")]
        found.append(
            {
                "law": LAWS.get(law, law),
                "runs": str(len(ends)),
                "pairs of photos": str(len(pairs)),
                f"aligned within {ALIGNED:g} % of the image": _share(end < ALIGNED for end in ends),
                "worst pair": f"{100 * min(sum(pair) / len(pair) for pair in pairs):.1f} %",
                "median": f"{statistics.median(ends):.2f} %",
            }
        )
    return markdown(found)


def relief(path: Path) -> str:
    """A row of each law and kind of depth of a relief.csv.

    Raises:
        InputError: it is none.
    """
    columns = ("law", "depth", "goal_distance_m", "end_t_m", "end_r_deg", "ms")
    rows = read_csv_table(path, columns, "give the relief.csv of 'bench relief'")
    found = []
    for names, own in _by(rows, "law", "depth"):
        law, depth = names.split("\n")
        ends = [(float(row["end_t_m"]), float(row["end_r_deg"]), float(row["goal_distance_m"])) for row in own]
        found.append(
            {
                "law": LAWS.get(law, law),
                "depth of the goal": DEPTH_TITLES[depth],  # type: ignore[index]  # a name that is none raises
                "scenes": str(len(own)),
                f"within {100 * CNS_T:g} % and {CNS_R:g} deg (CNS)": _share(
                    t < CNS_T * Z and r < CNS_R for t, r, Z in ends
                ),
                f"within {1e3 * STRICT_T:g} mm and {STRICT_R:g} deg": _share(
                    t < STRICT_T and r < STRICT_R for t, r, _ in ends
                ),
                "median": f"{_metres(statistics.median(t for t, _, _ in ends))}",
            }
        )
    return markdown(found)


def faults(path: Path) -> str:
    """A row of each fault of what `experiments.faults --keep FILE` kept.

    Raises:
        InputError: it is none.
    """
    rows = {}
    for line in read_text(path).splitlines():
        row = parse_json(line, str(path))
        rows[row.get("fault")] = row
    if unknown := [kind for kind in rows if kind not in TITLES]:
        raise InputError(f"{path}: a row '{unknown[0]}' is no fault; give the file of 'experiments.faults --keep'")
    columns = ("limit", "standing still after, median / most", "within limit + 100 ms")
    more = ("moved again by itself", "restart converges (1 mm, 0.1 deg)", "reason given")
    return markdown(
        [
            {"fault": TITLES[kind]} | {name: str(rows[kind][name]) for name in (*columns, *more)}
            for kind in TITLES
            if kind in rows
        ]
    )


def _by(rows: list[dict[str, str]], *columns: str) -> list[tuple[str, list[dict[str, str]]]]:
    """Rows that are alike in these columns, in the order of the first of each."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault("\n".join(row[name] for name in columns), []).append(row)
    return list(groups.items())


def _share(good: Iterable[bool]) -> str:
    each = list(good)
    return f"{100 * sum(each) / len(each):.1f} %"


def _metres(t: float) -> str:
    """In millimetres; next to nothing as such."""
    return "below 0.001 mm" if t < 1e-6 else f"{1e3 * t:.3f} mm" if t < 1e-2 else f"{1e3 * t:.0f} mm"


# file in docs/, what makes its table, and the pages that have it
TABLES: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "table1.csv": (table1, ("docs/results.md",)),
    "two_photos.csv": (real, ("README.md",)),
    "relief.csv": (relief, ("README.md", "docs/relief.md")),
    "faults.jsonl": (faults, ("docs/safety.md",)),
}


def marks(name: str) -> tuple[str, str]:
    """Before and behind the table of a file."""
    return f"<!-- {name}: by python -m siame_se3.experiments.published -->", f"<!-- end of {name} -->"


def filled(page: str, name: str, text: str) -> str:
    """A page with a table between its marks.

    Raises:
        InputError: it does not have each of them once.
    """
    begin, end = marks(name)
    if (page.count(begin), page.count(end)) != (1, 1) or page.index(begin) > page.index(end):
        raise InputError(f"no place for the table of {name}; put '{begin}' and '{end}' there, once each")
    head, rest = page.split(begin)
    return f"{head}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Copy the CSV files that are given, and write all tables.

    Raises:
        InputError: this is no checkout, or a file that has no place; what was there is kept.
    """
    if not (ROOT / "docs").is_dir():
        raise InputError(f"{ROOT}: no docs; run this in a checkout of the project")
    given = {Path(name).name: Path(name) for name in sys.argv[1:]}
    if unknown := sorted(set(given) - set(TABLES)):
        raise InputError(f"{given[unknown[0]]}: no page has its table; give files named {', '.join(TABLES)}")
    pages: dict[Path, str] = {}
    for name, (made, places) in TABLES.items():
        text = made(given.get(name, ROOT / "docs" / name))
        for place in places:
            page = ROOT / place
            pages[page] = filled(pages.get(page) or page.read_text(encoding="utf-8"), name, text)
    for name, source in given.items():
        atomically(ROOT / "docs" / name, partial(shutil.copyfile, source))
    for page, text in pages.items():
        write_text(page, text)


if __name__ == "__main__":
    run_script(main)
