from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from siame_se3.errors import InputError, LawError
from siame_se3.files import registry
from siame_se3.files.optional import needs
from siame_se3.files.registry import Registry

GROUP = "siame_se3.things"


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with two names of its own, and those of a package that is installed beside."""
    declared = EntryPoints(
        [
            EntryPoint("theirs", "json:loads", GROUP),
            EntryPoint("ours", "json:dumps", GROUP),
            EntryPoint("other", "json:load", "siame_se3.others"),
            EntryPoint("gone", "no_such_package.inside:Name", GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: declared.select(group=group))
    return Registry("thing", GROUP, {"ours": "math:floor", "deep": "os:path.join"}, LawError)


def test_names(things: Registry) -> None:
    assert things.names() == ("ours", "deep", "gone", "theirs")


def test_ours_theirs_and_any_other(things: Registry) -> None:
    import json
    import math
    import os.path

    assert things.load("ours") is math.floor  # not what another package declares under our name
    assert things.load("deep") is os.path.join
    assert things.load("theirs") is json.loads
    assert things.load("math:ceil") is math.ceil


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("our", ("thing our: there is none of that name", "did you mean ours?")),
        ("xyz", ("xyz", "ours, deep, gone, theirs", "package.module:Name")),
        ("other", ("other", "none of that name")),
        ("gone", ("thing gone: there is no module no_such_package",)),
        ("no_such_package:Name", ("there is no module no_such_package",)),
        ("math.no_such:Name", ("there is no module math.no_such",)),
        ("math:no_such", ("module math has no no_such",)),
        ("math:", ("module math has no name after the colon",)),
    ],
)
def test_what_is_not_there_is_named(things: Registry, name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(LawError) as error:
        things.load(name)
    assert error.value.settings == ("thing",)
    for word in words:
        assert word in str(error.value)


def test_a_module_that_lacks_something_itself_shows_where(
    things: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking_module.py").write_text("import no_such_package_either\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_either"):
        things.load("lacking_module:Name")


def test_needs_gives_the_module() -> None:
    import json.decoder

    assert needs("json.decoder", "train") is json.decoder


def test_needs_says_why_a_package_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('libfoo.so.1: no such file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"broken_package cannot be loaded \(libfoo\.so\.1: no such file\)"):
        needs("broken_package", "mujoco")


def test_needs_names_package_and_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there_but_lacking.py").write_text("import no_such_package.inside\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("no_such_package.inside", "there_but_lacking"):
        with pytest.raises(InputError) as error:
            needs(module, "ur")
        assert str(error.value) == 'no_such_package is not installed; pip install "siame-se3[ur]"'
