"""The house: imports go one way (a room uses those before it), files and functions are short, nothing heavy is imported early.

`python tests/test_imports.py` prints the rooms.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import siame_se3
from imports_helpers import FILES, HOUSE, ROOMS, files_used, inside, reached, room_of, rooms_used, syntax_of, table

HEAVY = {"torch", "torchvision", "timm", "numpy", "cv2", "openvino", "matplotlib", "PIL", "yaml", "tyro", "onnx"}
FILE_LINES, FUNCTION_LINES = 300, 60
# What is longer, each with its reason.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

each_file = pytest.mark.parametrize("path", FILES, ids=inside)


@each_file
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room}: a new room; give it its place in ROOMS"
    later = {used for used in rooms_used(path) if used not in ROOMS[: ROOMS.index(room) + 1]}
    assert not later, f"{path.name} imports {later}, which come after {room}\n{table()}"


@pytest.mark.slow
def test_rooms_use_those_before_them() -> None:
    """The same in one picture: every room's uses stand above it."""
    print(f"\n{table()}")
    for path in FILES:
        for used in rooms_used(path):
            assert ROOMS.index(used) <= ROOMS.index(room_of(path)), f"{inside(path)} uses {used}\n{table()}"


def test_no_file_reaches_itself() -> None:
    """Within a room there is no circle either."""
    for path in FILES:
        back = [other for other in files_used(path) if path in reached(other)]
        assert not back, f"{inside(path)} and {', '.join(map(inside, back))} import each other"


def test_every_room_is_there() -> None:
    assert {room_of(path) for path in FILES} | {"page"} == set(ROOMS)


def test_imports_are_found() -> None:
    """The tests above see what they should."""
    assert {"geometry", "images", "networks", "laws"} <= rooms_used(HOUSE / "laws" / "neural.py")
    assert {"laws", "servo", "analysis"} <= rooms_used(HOUSE / "cli" / "servo.py")
    assert HOUSE / "geometry" / "camera.py" in files_used(HOUSE / "geometry" / "plane.py")
    assert HOUSE / "errors.py" in reached(HOUSE / "geometry" / "plane.py")
    assert len(FILES) > 20


@each_file
def test_files_are_one_thing(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    allowed = room_of(path) == "cli" or inside(path) in LONG_FILES
    assert lines <= FILE_LINES or allowed, f"{inside(path)}: {lines} lines; split it, or give a reason in LONG_FILES"


def functions(path: Path) -> dict[str, int]:
    """Lines of each function and method, 'room/file.py:Class.method'; from `def` to its end."""
    found: dict[str, int] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    assert child.end_lineno is not None
                    found[f"{inside(path)}:{name}"] = child.end_lineno - child.lineno + 1
                walk(child, f"{name}.")
            else:
                walk(child, prefix)

    walk(syntax_of(path), "")
    return found


@each_file
def test_functions_are_short(path: Path) -> None:
    long = {name: n for name, n in functions(path).items() if n > FUNCTION_LINES and name not in LONG_FUNCTIONS}
    assert not long, f"{long} lines; split them, or give a reason in LONG_FUNCTIONS"


def test_exceptions_are_still_needed() -> None:
    lines = {inside(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert [name for name in LONG_FILES if lines.get(name, 0) <= FILE_LINES] == []
    sizes = {name: n for path in FILES for name, n in functions(path).items()}
    assert [name for name in LONG_FUNCTIONS if sizes.get(name, 0) <= FUNCTION_LINES] == []


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


@pytest.mark.parametrize("name", siame_se3.__all__)
def test_public_names_are_no_modules(name: str) -> None:
    """Also after their rooms are imported, one of which is called as its function is."""
    import siame_se3.servo.loop

    assert callable(getattr(siame_se3, name))


def test_servo_is_the_function_and_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    import siame_se3.servo.loop as loop

    calls: list[tuple[tuple[int, ...], dict[str, int]]] = []
    monkeypatch.setattr(loop, "servo", lambda *a, **k: calls.append((a, k)))
    siame_se3.servo(1, 2, report=3)
    assert calls == [((1, 2), {"report": 3})]
    assert siame_se3.servo.loop is loop


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = siame_se3.nothing


if __name__ == "__main__":
    print(table())
