"""What the experiments that are run as `python -m siame_se3.experiments.NAME` share: options, and a table whose rows are kept.

A row that is in the file of kept rows is not run again, so a stopped experiment goes on; processes may share the rows out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from siame_se3.analysis.report import markdown
from siame_se3.errors import InputError, SiameError
from siame_se3.experiments.pages import header
from siame_se3.experiments.runner import shard_of
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.registry import coffee

Row = dict[str, Any]
_NAME, _MADE = "row", "made with"  # entries of a kept row that are in no table: its name, and the options


def parser(doc: str | None, keep: str = "--keep", default: Path | None = None) -> argparse.ArgumentParser:
    """Options of a script: its docstring, the file of kept rows, the shard.

    Args:
        keep: name of the option of the file.
        default: the file where none is given; None for no file.
    """
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "JSON lines, a row each: those in it are not run again, the others are added"
    options.add_argument(keep, dest="keep", type=Path, default=default, help=text)
    options.add_argument(
        "--shard", type=_shard, default=(0, 1), help="k/n: only the k-th (from 0) of n shares of the rows"
    )
    return options


def add_photos_root(options: argparse.ArgumentParser) -> None:
    """The option --photos-root, of scripts that take the list's photos."""
    options.add_argument("--photos-root", type=Path, default=Path("/"), help="where Debian's packages are unpacked")


def _shard(text: str) -> tuple[int, int]:
    try:
        return shard_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_script(main: Callable[[], None]) -> None:
    """Run a script: one clear line for bad input, exit status 2, and for Ctrl-C, 130."""
    try:
        main()
    except SiameError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"stopped{stop}", file=sys.stderr)
        sys.exit(130)


def table(
    options: argparse.Namespace, rows: Mapping[str, Callable[[], Row]], choices: tuple[str, ...] = ()
) -> list[Row]:
    """Run the rows of this shard that are not kept yet; print the header, each row as it ends, and the table of all that are there.

    Args:
        options: of `parser`.
        rows: by name, how to make each.
        choices: options that only choose which rows there are; all others have to be those that kept rows were made with.

    Raises:
        KeyboardInterrupt: Ctrl-C; it says in which row, and where the others are.
    """
    print(header(), flush=True)
    made = {k: str(v) for k, v in sorted(vars(options).items()) if k not in ("keep", "shard", *choices)}
    done = {} if options.keep is None else kept(options.keep, made)
    mine, shards = options.shard
    for k, (name, make) in enumerate(rows.items()):
        if name in done or k % shards != mine:
            continue
        try:
            done[name] = make()
        except KeyboardInterrupt:
            kept_in = (
                "; rows are kept with --keep FILE"
                if options.keep is None
                else f"; the same command goes on from {options.keep}"
            )
            raise KeyboardInterrupt(f" at row {name}{kept_in}") from None
        print(json.dumps(done[name]), flush=True)
        if options.keep is not None:
            add(options.keep, {**done[name], _NAME: name, _MADE: made})
    found = [done[name] for name in rows if name in done]
    print(markdown(found))
    return found


def kept(path: Path, made: Mapping[str, str]) -> dict[str, Row]:
    """Kept rows by name. A line that a killed process left half is passed over, and its row run again.

    Raises:
        InputError: a row was made with other options.
    """
    found: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = dict(json.loads(line))
            name = row.pop(_NAME, None) or str(next(iter(row.values())))  # before 0.2 a row's name was its first column
        except (ValueError, TypeError, StopIteration):
            continue
        if (other := row.pop(_MADE, made)) != made:
            field = next(k for k in {**made, **other} if made.get(k) != other.get(k))
            raise InputError(
                f"{path}: '{name}' was made with {field} {other.get(field)}, now {made.get(field)}; give another file, or remove it"
            )
        found[name] = row
    return found


def add(path: Path, row: Row) -> None:
    """Add a line in one write: processes that share the rows out share the file too, so it is not written again as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
        torn = stream.read(1) not in (b"", b"\n")
        stream.write(b"\n" * torn + json.dumps(row).encode() + b"\n")


def median(values: Float[Tensor, "n"]) -> float:
    """Of values, of an even count the mean of the two in the middle (PyTorch's own is the lower one); NaN of none, and where one is NaN."""
    return float(values.double().quantile(0.5)) if len(values) else math.nan


def bundled_print() -> Scene:
    """The experiments' print: the bundled photo, 0.8 m wide."""
    return coffee()


def skimage_photo(name: str) -> Path:
    """A photo that the package scikit-image carries."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name
