"""Dataclasses from JSON: strictly by their types."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from siame_se3.errors import InputError, LawError
from siame_se3.files import from_dict
from siame_se3.geometry.camera import Camera
from siame_se3.networks.config import NetworkConfig


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise LawError(f"rate is {self.rate}; give 0 to 1", "rate")


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    on: bool = True
    kind: Literal["a", "b", 2] = "a"
    sizes: tuple[int, ...] = ()
    pair: tuple[float, str] = (0.0, "")
    inner: Inner = field(default_factory=Inner)
    inners: tuple[Inner, ...] = ()
    perhaps: Inner | None = None
    either: float | str = 0.0
    table: dict[str, Any] = field(default_factory=dict)
    anything: Any = None


FULL = {
    "name": "x",
    "count": 3,
    "on": False,
    "kind": 2,
    "sizes": [1, 2],
    "pair": [1, "y"],
    "inner": {"rate": 1},
    "inners": [{"rate": 0.25}, {}],
    "perhaps": {"rate": 0.125},
    "either": "edge",
    "table": {"a": [1]},
    "anything": [None],
}


def test_all_types_are_taken() -> None:
    made = from_dict(Outer, FULL, "file")
    assert made == Outer(
        *(
            "x",
            3,
            False,
            2,
            (1, 2),
            (1, "y"),
            Inner(1),
            (Inner(0.25), Inner()),
            Inner(0.125),
            "edge",
            {"a": [1]},
            [None],
        )
    )
    assert from_dict(Outer, {"name": "x", "perhaps": None}, "file") == Outer("x")


@pytest.mark.parametrize(
    "value", [NetworkConfig.paper(), NetworkConfig(), Camera.from_focal(300, 224), Outer("x", perhaps=Inner(0.25))]
)
def test_what_was_written_comes_back(value: Any) -> None:
    assert from_dict(type(value), json.loads(json.dumps(dataclasses.asdict(value))), "file") == value


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": 3}, "name is 3; give a text"),
    ({"count": 1.0}, "count is 1.0; give a whole number"),
    ({"count": True}, "count is True; give a whole number"),
    ({"count": "1"}, "count is '1'; give a whole number"),
    ({"on": 1}, "on is 1; give true or false"),
    ({"kind": "c"}, "kind is 'c'; give 'a' or 'b' or 2"),
    ({"kind": True}, "kind is True"),
    ({"kind": ["a"]}, "kind is"),
    ({"sizes": 3}, "sizes is 3; give a list of whole numbers"),
    ({"sizes": [1, "2"]}, "sizes is '2'; give a whole number"),
    ({"pair": [1]}, "pair has 1 values; give 2"),
    ({"pair": [1, 2]}, "pair is 2; give a text"),
    ({"inner": 3}, "inner: 3 where the fields of Inner belong"),
    ({"inner": {"rate": "0.5"}}, "inner: rate is '0.5'; give a number"),
    ({"inner": {"rate": None}}, "inner: rate is None; give a number"),
    ({"inner": {"rate": True}}, "inner: rate is True; give a number"),
    ({"inner": {"rate": 2}}, "inner: rate is 2; give 0 to 1"),
    ({"inner": {"rate": float("nan")}}, "inner: rate is nan"),
    ({"inner": {"speed": 2}}, "inner: unknown field 'speed' of Inner; it needs a newer siame-se3"),
    ({"perhaps": 3}, "perhaps is 3; give"),
    ({"either": [1]}, "either is [1]; give a number or a text"),
    ({"table": []}, "table is []"),
    ({"self": 1}, "unknown field 'self'"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_other_types_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        from_dict(Outer, {"name": "x"} | change, "run.npz")
    assert str(caught.value).startswith("run.npz: ")
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("values", [[], None, 3, "x", [["name", "x"]]])
def test_what_are_no_fields_is_refused(values: Any) -> None:
    with pytest.raises(InputError, match="where the fields of Outer belong"):
        from_dict(Outer, values, "file")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InputError, match=r"^file: no 'name' of Outer"):
        from_dict(Outer, {}, "file")


def test_the_error_of_a_class_keeps_its_kind_and_its_settings() -> None:
    with pytest.raises(LawError, match=r"^file: inner: rate is 2") as caught:
        from_dict(Outer, {"name": "x", "inner": {"rate": 2}}, "file")
    assert caught.value.settings == ("rate",)


def test_values_without_end_are_shown_short() -> None:
    nested: Any = ["x"] * 9
    for _ in range(12):
        nested = [nested] * 9
    with pytest.raises(InputError) as caught:
        from_dict(Outer, {"name": nested, "x" * 10_000: 1}, "file")
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError) as caught:
        from_dict(Outer, {"name": nested}, "file")
    assert len(str(caught.value)) < 200
