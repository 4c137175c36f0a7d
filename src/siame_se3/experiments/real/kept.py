"""Whose results are kept: rows and trained networks go by a folder's name, so what its pictures were read from is noted beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from siame_se3.errors import InputError
from siame_se3.experiments.real import one_step, two_photos
from siame_se3.experiments.real.pictures import Folder
from siame_se3.experiments.real.rows import Settings, turn
from siame_se3.files import read_json, write_text

_MOST = 100_000_000  # [bytes]


def check(settings: Settings, folders: Sequence[Folder]) -> None:
    """Refuse folders whose names have results here that were made from other files, and note what these pictures were read from.

    Pictures may be added to a folder and taken from it. Results of an earlier version, which noted nothing, are taken for this folder's: that is
    said.

    Raises:
        InputError: a folder of another place, or one that was corrected since; a note that is damaged.
    """
    path = settings.out / "real" / "folders.json"
    there = {row["folder"] for table in (one_step.table(settings), two_photos.table(settings)) for row in table.rows}
    with turn(path):
        noted = read_json(path, _MOST) if path.is_file() else {}
        if not isinstance(noted, dict) or not all(isinstance(names, dict) for names in noted.values()):
            raise InputError(f"{path}: damaged; remove it if all results beside it are of the folders that you give")
        for folder in folders:
            now = {picture.name: picture.digest for picture in folder.pictures if picture.digest}
            before = noted.get(folder.name, {})
            if folder.name not in there and not (path.parent / "trained" / folder.name).is_dir():
                before = {}
            elif now and not before:
                settings.say(
                    f"{folder.name}: the results in {path.parent} were made before a folder's files were noted; they are taken for this folder's"
                )
            elif now:
                _compare(folder, settings, before, now)
            noted[folder.name] = before | now
        write_text(path, json.dumps({name: names for name, names in noted.items() if names}, indent=1) + "\n")


def _compare(folder: Folder, settings: Settings, before: dict[str, str], now: dict[str, str]) -> None:
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed or not before.keys() & now.keys():
        why = (
            f"another picture, calibration, pose or depth of {changed[0]}"
            if changed
            else f"other pictures, such as {next(iter(before))}"
        )
        raise InputError(
            f"{folder.name}: {settings.out / 'real'} has results of another folder of this name, or of this one before it was changed ({why}); "
            "write to another place, or rename the folder",
            "out",
        )
