"""A value of a wrong type in any field of any settings is one line about that field: never a TypeError, never taken as it is."""

from __future__ import annotations

import ast
import dataclasses
import os
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from imports_helpers import FILES, room_of, syntax_of
from siame_se3.commissioning.align_picture import Optics
from siame_se3.commissioning.boards import Board
from siame_se3.commissioning.check import Motions
from siame_se3.commissioning.scan import ScanPattern
from siame_se3.commissioning.scan_depth import DepthSettings
from siame_se3.errors import InputError, LawError, SiameError
from siame_se3.experiments.fuzz import samples
from siame_se3.files import require_types
from siame_se3.geometry.camera import Camera
from siame_se3.geometry.camera_info import CameraInfo
from siame_se3.laws.auto import Auto
from siame_se3.laws.handoff import Handoff
from siame_se3.laws.light import LightDVS
from siame_se3.laws.matched import MatchedPoints
from siame_se3.laws.neural import Neural
from siame_se3.laws.photometric import DVS
from siame_se3.laws.pose import PBVS, PointIBVS
from siame_se3.networks.part_configs import AttentionConfig, FitConfig, HomographyConfig, InputConfig, MatchingConfig
from siame_se3.plants.depth_camera import DepthCamera
from siame_se3.plants.robots.checks import HardLimits
from siame_se3.scenes.mujoco_objects import Pile
from siame_se3.scenes.planar import Scene
from siame_se3.servo.limits import AccelerationLimit, AxisAccelerationLimit, AxisSpeedLimit, SpeedLimit
from siame_se3.servo.safety import Safety
from siame_se3.servo.simulation import Task
from siame_se3.training.recipe import Recipe

if os.environ.get("SIAME_CHECK_TYPES") == "1":
    pytest.skip("beartype refuses wrong types before the package sees them", allow_module_level=True)

LENS = Camera(300.0, 300.0, 99.5, 99.5, 200, 200)
K = (300.0, 0.0, 99.5, 0.0, 300.0, 99.5, 0.0, 0.0, 1.0)


def print_() -> Scene:
    return Scene(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)), 0.8, 0.8)


GOOD: dict[str, Callable[[], Any]] = {
    **samples.options(),
    **{
        kind.__name__: kind
        for kind in (
            *(Auto, LightDVS, MatchedPoints, DVS, PointIBVS, HardLimits, Recipe, Motions),
            *(DepthCamera, Pile, ScanPattern, DepthSettings, Optics),
            *(AttentionConfig, FitConfig, HomographyConfig, InputConfig, MatchingConfig),
        )
    },
    "Camera": lambda: LENS,
    "CameraInfo": lambda: CameraInfo(200, 200, K),
    "Scene": print_,
    "SpeedLimit": lambda: SpeedLimit(1.0, 1.0),
    "AccelerationLimit": lambda: AccelerationLimit(1.0, 1.0),
    "AxisSpeedLimit": lambda: AxisSpeedLimit((1.0,) * 6),
    "AxisAccelerationLimit": lambda: AxisAccelerationLimit((1.0,) * 6),
    "Handoff": lambda: Handoff(PBVS(), PBVS()),
    "Neural": lambda: Neural(typing.cast(Any, object())),
    "Task": lambda: Task(print_(), LENS),
}
# Dataclasses that take no argument, and are no settings.
OTHERS = {
    "View": "what a camera sees",
    "RobotState": "what a robot says",
    "Callbacks": "functions",
    "Pace": "what is measured",
    "PBVS": "no fields",
    "Hybrid": "no fields",
    "State": "no fields",
}
SETTINGS_ROOMS = {"geometry", "scenes", "networks", "laws", "plants", "servo", "training", "commissioning"}

WRONG: dict[Any, list[Any]] = {
    float: ["a", None, [1.0], {}, 1j, object(), True],
    int: ["a", None, [1], {}, 2.5, object(), True],
    bool: ["a", None, 2, [], {}],
    str: [3, None, [], {}, object()],
    tuple: ["abcdef", 3, None, {"a": 1}, ("a",) * 6, (None,) * 6, ({},) * 3, object()],
}


def wrong_for(kind: Any) -> list[Any]:
    """Values of other types; none for a type that is not looked at (tensors, protocols)."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return [3, None, [], {}, "no such"]
    if origin in (typing.Union, types.UnionType):
        each = [wrong_for(choice) for choice in choices if choice is not type(None)]
        fits_another = type(None) in choices
        first, *others = each
        return [x for x in first if not (fits_another and x is None) and all(x in other for other in others)]
    if dataclasses.is_dataclass(kind):
        return ["a", None, 3, {}]
    return WRONG.get(tuple if kind is tuple or origin is tuple else kind, [])


FIELDS = [
    pytest.param(name, field.name, id=f"{name}.{field.name}")
    for name, make in GOOD.items()
    for field in dataclasses.fields(make())
    if field.init and wrong_for(typing.get_type_hints(type(make()))[field.name])
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_wrong_type_is_one_line_that_names_the_field(name: str, field: str) -> None:
    good = GOOD[name]()
    for value in wrong_for(typing.get_type_hints(type(good))[field]):
        with pytest.raises(SiameError) as caught:
            dataclasses.replace(good, **{field: value})
        assert "\n" not in str(caught.value)
        assert field in str(caught.value), value


def test_all_settings_are_looked_at() -> None:
    """A public dataclass that can be made without an argument is settings, or stands among the others with a reason."""
    found = set()
    for path in FILES:
        if room_of(path) not in SETTINGS_ROOMS or path.stem == "ros2_messages":
            continue
        for item in syntax_of(path).body:
            if not isinstance(item, ast.ClassDef) or item.name.startswith("_"):
                continue
            made = any("dataclass" in ast.unparse(decorator) for decorator in item.decorator_list)
            fields = [line for line in item.body if isinstance(line, ast.AnnAssign)]
            if made and all(line.value is not None or "ClassVar" in ast.unparse(line.annotation) for line in fields):
                found.add(item.name)
    assert found - set(GOOD) == set(OTHERS)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Safety(max_twist=3), "max_twist is 3; give a list of numbers"),  # type: ignore[arg-type]
        (lambda: Safety(box="a"), "box is 'a'; give a list of numbers"),  # type: ignore[arg-type]
        (lambda: HardLimits(speed="a"), "hard limits: speed is 'a'; give a number"),  # type: ignore[arg-type]
        (lambda: Camera("a", 1.0, 1.0, 1.0, 2, 2), "camera: fx is 'a'; give a number"),  # type: ignore[arg-type]
        (lambda: dataclasses.replace(LENS, width=2.5), "camera: width is 2.5; give a whole number"),
        (lambda: Board(legacy="yes"), "board: legacy is 'yes'; give true or false"),  # type: ignore[arg-type]
        (lambda: Recipe(data={}), "training: data is {}; give a DataConfig"),  # type: ignore[arg-type]
    ],
)
def test_the_line_says_what_is_wrong_where_and_what_to_give(make: Callable[[], Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == line
    assert caught.value.settings == (line.split(" is ")[0].split(": ")[-1],)


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.int64(1), 1])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    assert HardLimits(speed=number).speed == number
    assert dataclasses.replace(LENS, width=np.int32(200)).width == 200


def test_lists_pass_as_tuples_and_the_kind_of_error_is_the_owner_s() -> None:
    @dataclasses.dataclass
    class Owner:
        sizes: tuple[int, int] = (1, 2)

        def __post_init__(self) -> None:
            require_types(self, "owner", LawError)

    assert Owner([3, 4]).sizes == [3, 4]  # type: ignore[arg-type, comparison-overlap]
    with pytest.raises(LawError, match="owner: sizes has 3 values; give 2"):
        Owner((1, 2, 3))  # type: ignore[arg-type]
