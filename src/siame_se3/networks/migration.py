"""Models of earlier format versions, brought to this one: a step a version, each with the values that its version had in its code."""

from __future__ import annotations

import json
from collections.abc import Callable

from siame_se3.errors import ModelError

VERSION = 2
Settings = dict[str, str]
Names = dict[str, str]

# What version 1 had as constants in its code; version 2 keeps them in the file.
CONSTANTS_OF_1 = {
    "input": {
        "luma": [0.299, 0.587, 0.114],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "contrast_floor": 0.02,
        "contrast_cells": 5,
    },
    "homography": {
        "hidden": 128,
        "log_scale": [-4.0, 1.0],
        "fit": {"rounds": 5, "kernel": 5.0, "prior": 0.55, "stiffness": [1.0, 100.0], "units": [2.0, 10.0]},
    },
    "matching": {
        "hidden": 64,
        "sharpness": 3.0,
        "sharpness_rate": 10.0,
        "step": 0.1,
        "log_scale": [-6.0, 2.0],
        "fit": {"rounds": 5, "kernel": 5.0, "prior": 1.0, "stiffness": [1.0, 10.0], "units": [2.0, 10.0]},
    },
}


def _from_1(settings: Settings, names: Names) -> tuple[Settings, Names]:
    """The constants come into the file; the layers that refine matches have another name."""
    network = json.loads(settings["network"])
    settings = {**settings, "network": json.dumps({**CONSTANTS_OF_1, **network})}
    return settings, {name.replace("matching.mend.", "matching.refine."): stored for name, stored in names.items()}


STEPS: dict[int, Callable[[Settings, Names], tuple[Settings, Names]]] = {1: _from_1}


def version_of(settings: Settings) -> int:
    """The format version that a file says.

    Raises:
        ModelError: none, or a newer one than this package reads.
    """
    text = settings.get("version", "")
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6) or int(text) < 1:
        raise ModelError(f"says no format version ({text[:20]!r}); the file is damaged")
    if int(text) > VERSION:
        raise ModelError(f"has format version {text}, this siame-se3 reads up to {VERSION}; update siame-se3")
    return int(text)


def migrated(settings: Settings, names: Names) -> tuple[Settings, Names]:
    """A file's settings, and by the names of today's weights those that the file has for them."""
    for version in range(version_of(settings), VERSION):
        settings, names = STEPS[version](settings, names)
    return settings, names
