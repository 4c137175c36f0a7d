"""Write the README's Table I from the CSV of `siame bench table1`.

    python -m siame_se3.experiments.readme_table siame-bench/table1/table1.csv

copies the CSV to docs/table1.csv and writes the table between the README's two marks.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

from siame_se3.analysis.report import markdown
from siame_se3.errors import InputError
from siame_se3.experiments.script import run_script
from siame_se3.files import atomically, write_text

ROOT = Path(__file__).resolve().parents[3]  # of the checkout
BEGIN, END = "<!-- table1: by python -m siame_se3.experiments.readme_table -->", "<!-- end of table1 -->"


def table(path: Path) -> str:
    """The README's columns of a table1.csv."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))

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


def filled(readme: str, text: str) -> str:
    """The README with the table between its marks."""
    head, rest = readme.split(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Copy the CSV if one is given, and write the README's table.

    Raises:
        InputError: this is no checkout with a README.
    """
    kept, readme = ROOT / "docs" / "table1.csv", ROOT / "README.md"
    if not readme.is_file():
        raise InputError(f"{readme}: no such file; run this in a checkout of the project")
    if len(sys.argv) > 1:
        atomically(kept, lambda partial: shutil.copyfile(sys.argv[1], partial))
    text = filled(readme.read_text(encoding="utf-8"), table(kept))
    write_text(readme, text)


if __name__ == "__main__":
    run_script(main)
