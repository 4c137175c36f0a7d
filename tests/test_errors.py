"""Numbers in settings: what `require_number` lets pass, and the line that it says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from siame_se3.errors import InputError, SiameError, require_number
from siame_se3.experiments.fuzz import samples
from siame_se3.files import from_dict


@dataclass(frozen=True)
class Setting:
    gain: Any


@pytest.mark.parametrize("value", [0.5, 1, 1.0, np.float64(0.25), np.int64(1)])
def test_numbers_within_the_limits_pass(value: object) -> None:
    require_number(Setting(value), "gain", 0, 1, open_low=True)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), np.nan, True, "1", None, [1.0], 1 + 0j, 10**5000],
    ids=["nan", "inf", "-inf", "numpy", "bool", "text", "none", "list", "complex", "too many digits"],
)
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"^gain is .*; give a finite number at least 0"):
        require_number(Setting(value), "gain", 0, None)


def test_limits_are_open_or_closed_as_said() -> None:
    require_number(Setting(0.0), "gain", 0)
    require_number(Setting(1.0), "gain", high=1)
    for value, open_low, open_high in [(0.0, True, False), (1.0, False, True)]:
        with pytest.raises(InputError) as caught:
            require_number(Setting(value), "gain", 0, 1, open_low=open_low, open_high=open_high)
        assert caught.value.settings == ("gain",)


def test_the_line_names_value_limits_and_the_attribute_in_words() -> None:
    with pytest.raises(InputError) as caught:
        require_number(Setting(-2.0), "gain", 0, 5, open_low=True, what="the servo gain")
    assert str(caught.value) == "the servo gain is -2.0; give a finite number above 0 and at most 5"


def test_whole_numbers() -> None:
    require_number(Setting(3.0), "gain", whole=True)
    with pytest.raises(InputError, match=r"gain is 2\.5; give a whole number at least 1"):
        require_number(Setting(2.5), "gain", 1, whole=True)


def numbers_in(value: Any, replaced: float) -> Iterator[tuple[str, Any]]:
    """A setting's value with one number in it replaced, wherever that is: in itself, in a tuple, in a part's field."""
    if isinstance(value, float):
        yield "", replaced
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from ((f".{key}{where}", value | {key: other}) for where, other in numbers_in(part, replaced))
    elif isinstance(value, tuple):
        for k, part in enumerate(value):
            for where, other in numbers_in(part, replaced):
                yield f"[{k}]{where}", (*value[:k], other, *value[k + 1 :])


SETTINGS = [
    pytest.param(kind, changed, id=f"{name}{where}-{replaced}")
    for name, kind in samples.options().items()
    for replaced in (math.nan, math.inf)
    for where, changed in numbers_in(dataclasses.asdict(kind()), replaced)
]


@pytest.mark.parametrize(("kind", "changed"), SETTINGS)
def test_no_setting_of_any_kind_takes_what_is_not_finite(kind: type, changed: dict[str, Any]) -> None:
    with pytest.raises(SiameError):
        from_dict(kind, changed, "settings")
