"""Imports go one way: a room uses those before it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import siame_se3

HOUSE = Path(siame_se3.__file__).parent
ROOMS = [
    *("errors", "files", "geometry", "images", "scenes", "networks", "laws", "plants", "servo", "training"),
    *("commissioning", "analysis", "experiments", "page", "cli"),
]
FILES = sorted(path for path in HOUSE.rglob("*.py") if path not in (HOUSE / "__init__.py", HOUSE / "__main__.py"))
HEAVY = {"torch", "torchvision", "timm", "numpy", "cv2", "openvino", "matplotlib", "PIL", "yaml", "tyro", "onnx"}


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All in a file, those in functions too; not those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from imports(ast.Module([other], []))
        else:
            yield from imports(child)


def rooms_used(path: Path) -> set[str]:
    package = ["siame_se3", *path.relative_to(HOUSE).parts[:-1]]
    modules: list[str] = []
    for found in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(found, ast.Import):
            modules += [alias.name for alias in found.names]
        else:
            above = package[: len(package) - found.level + 1] if found.level else []
            start = ".".join([*above, *([found.module] if found.module else [])])
            modules += [f"{start}.{alias.name}" for alias in found.names]
    return {m.split(".")[1] for m in modules if m.startswith("siame_se3.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room}: a new room; give it its place in ROOMS"
    later = {used for used in rooms_used(path) if used not in ROOMS[: ROOMS.index(room) + 1]}
    assert not later, f"{path.name} imports {later}, which come after {room}"


def test_every_room_is_there() -> None:
    assert {room_of(path) for path in FILES} | {"page"} == set(ROOMS)


def test_imports_are_found() -> None:
    """The test above sees what it should."""
    assert {"geometry", "images", "networks", "laws"} <= rooms_used(HOUSE / "laws" / "neural.py")
    assert {"networks", "servo", "analysis"} <= rooms_used(HOUSE / "cli" / "servo.py")
    assert len(FILES) > 20


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, siame_se3; print(sorted({HEAVY!r} & set(sys.modules)), dir(siame_se3) != [])"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HOUSE.parent)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["[]", "True"]


@pytest.mark.parametrize("name", siame_se3.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(siame_se3, name) is not None
    assert name in dir(siame_se3)


def test_former_names_are_there_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="siame_se3.FlyingCameras now"):
        former = siame_se3.HomographyPlant
    assert former is siame_se3.FlyingCameras


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = siame_se3.nothing
