"""Write the README's Table I from the CSV of `siame bench table1`.

    python -m siame_se3.experiments.readme_table siame-bench/table1/table1.csv

copies the CSV to docs/table1.csv and writes the table between the README's two marks.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from siame_se3.analysis.report import markdown
from siame_se3.errors import InputError
from siame_se3.experiments.script import run_script
from siame_se3.files import atomically, read_csv_table, write_text

ROOT = Path(__file__).resolve().parents[3]  # of the checkout
BEGIN, END = "<!-- table1: by python -m siame_se3.experiments.readme_table -->", "<!-- end of table1 -->"
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


def table(path: Path) -> str:
    """The README's columns of a table1.csv.

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


def filled(readme: str, text: str) -> str:
    """The README with the table between its marks.

    Raises:
        InputError: it does not have each of them once.
    """
    if (readme.count(BEGIN), readme.count(END)) != (1, 1) or readme.index(BEGIN) > readme.index(END):
        raise InputError(f"README.md: no place for the table; put '{BEGIN}' and '{END}' there, once each")
    head, rest = readme.split(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Copy the CSV if one is given, and write the README's table.

    Raises:
        InputError: this is no checkout with a README, or the CSV is not that of a Table I; the one that was there is kept.
    """
    kept, readme = ROOT / "docs" / "table1.csv", ROOT / "README.md"
    if not readme.is_file():
        raise InputError(f"{readme}: no such file; run this in a checkout of the project")
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else kept
    text = filled(readme.read_text(encoding="utf-8"), table(given))
    if given != kept:
        atomically(kept, lambda partial: shutil.copyfile(given, partial))
    write_text(readme, text)


if __name__ == "__main__":
    run_script(main)
