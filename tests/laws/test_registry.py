from __future__ import annotations

from pathlib import Path

import pytest

from siame_se3.errors import LawError
from siame_se3.laws.registry import LAWS, REGISTRY, controller_for
from siame_se3.laws.types import Controller

MODULE = '''
class Straight:
    """A controller without options."""
    needs = frozenset({"pose"})
    def aim(self, target):
        return None

class Learned:
    needs = frozenset({"image"})
    def __init__(self, model, engine):
        self.model, self.engine = model, engine
    @classmethod
    def from_model(cls, model, engine):
        return cls(model, engine)
    def aim(self, target):
        return None

straight = Straight()
def made():
    return straight
NUMBER = 3
def wrong():
    return 3
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_laws.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_laws", raising=False)


@pytest.mark.parametrize("name", LAWS)
def test_our_laws_are_controllers(name: str) -> None:
    assert isinstance(REGISTRY.load(name), type)
    if name != "neural":
        assert isinstance(controller_for(name, engine="torch"), Controller)


def test_names_stay() -> None:
    assert (
        *("auto", "handoff", "neural", "dvs", "dvs-light", "dct", "pbvs-sift", "pbvs-orb", "ibvs-sift", "ibvs-orb"),
        *("pbvs", "ibvs", "2.5d"),
    ) == LAWS


@pytest.mark.parametrize("name", ["Straight", "straight", "made"])
def test_a_law_of_another_module(name: str) -> None:
    """Its class, an object, or what makes one."""
    assert type(controller_for(f"my_laws:{name}")).__name__ == "Straight"


def test_a_law_that_needs_a_model() -> None:
    model = object()
    controller = controller_for("my_laws:Learned", model, "torch")  # type: ignore[arg-type]  # any object will do here
    assert vars(controller) == {"model": model, "engine": "torch"}
    with pytest.raises(LawError, match="needs a model") as error:
        controller_for("my_laws:Learned")
    assert error.value.settings == ("model",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("neural", "needs a model"),
        ("hand-off", "did you mean handoff"),
        ("my_laws:NUMBER", "int is not a controller"),
        ("my_laws:wrong", "int lacks `needs` or `aim`"),
        ("my_laws:missing", "has no missing"),
    ],
)
def test_what_is_no_law(name: str, words: str) -> None:
    with pytest.raises(LawError, match=words):
        controller_for(name)
