"""Each global name that a function uses is there: linters cannot tell, as jaxtyping's axes look like names that are not."""

from __future__ import annotations

import builtins
import dis
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

import siame_se3

ROOT = Path(siame_se3.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__main__.py")


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def missing(source: str, namespace: dict[str, object]) -> set[str]:
    used = {
        step.argval
        for code in codes(compile(source, "module", "exec", dont_inherit=True))
        for step in dis.get_instructions(code)
        if step.opname == "LOAD_GLOBAL"
    }
    return {name for name in used if name not in namespace and not hasattr(builtins, name)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_global_names_are_there(path: Path) -> None:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert not str(error.name).startswith("siame_se3"), error
        pytest.skip(f"{error.name} is not installed")
    assert not missing(path.read_text(encoding="utf-8"), vars(module))


def test_a_missing_name_is_found() -> None:
    assert missing("def f() -> int:\n    return g(len([]))\n", {}) == {"g"}
    assert not missing("def g(x): return x\ndef f() -> int:\n    return g(1)\n", {"g": 1})
