"""The package as a graph of files: who imports whom, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_spec = find_spec("siame_se3")
assert _spec is not None
assert _spec.origin is not None
HOUSE = Path(_spec.origin).parent
ROOMS = [
    *("errors", "files", "geometry", "images", "scenes", "networks", "laws", "plants", "servo", "training"),
    *("commissioning", "analysis", "experiments", "page", "cli"),
]
FILES = sorted(path for path in HOUSE.rglob("*.py") if path not in (HOUSE / "__init__.py", HOUSE / "__main__.py"))


def inside(path: Path) -> str:
    """A file's path in the package."""
    return path.relative_to(HOUSE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """Name in the package: 'geometry.lie'."""
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


@cache
def syntax_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


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


def names_used(path: Path) -> set[str]:
    """Names of the package that a file imports: 'geometry.lie', 'geometry.camera.Camera'."""
    package = ["siame_se3", *path.relative_to(HOUSE).parts[:-1]]
    names: list[str] = []
    for found in imports(syntax_of(path)):
        if isinstance(found, ast.Import):
            names += [alias.name for alias in found.names]
        else:
            above = package[: len(package) - found.level + 1] if found.level else []
            start = ".".join([*above, *([found.module] if found.module else [])])
            names += [f"{start}.{alias.name}" for alias in found.names]
    return {name.removeprefix("siame_se3.") for name in names if name.startswith("siame_se3.")}


def rooms_used(path: Path) -> set[str]:
    return {name.split(".")[0] for name in names_used(path)}


@cache
def files_used(path: Path) -> frozenset[Path]:
    """Files of the package that a file imports."""
    by_module = {module_of(other): other for other in FILES}
    names = {name if name in by_module else name.rpartition(".")[0] for name in names_used(path)}
    return frozenset(by_module[m] for m in names if m in by_module) - {path}


@cache
def reached(path: Path, but: frozenset[str] = frozenset()) -> frozenset[Path]:
    """A file, and all that it imports, directly or not; without the modules `but`, and what is reached through them alone."""
    seen, todo = {path}, [path]
    while todo:
        new = {other for other in files_used(todo.pop()) - seen if module_of(other) not in but}
        seen |= new
        todo += new
    return frozenset(seen)


def table() -> str:
    """The rooms in their order: files, lines, and the rooms that each one uses."""
    lines = [f"{'room':14}{'files':>6}{'lines':>7}  uses"]
    for room in ROOMS:
        files = [path for path in FILES if room_of(path) == room]
        used = set().union(*(rooms_used(path) for path in files)) - {room}
        count = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        uses = " ".join(other for other in ROOMS if other in used) or "-"
        lines.append(f"{room:14}{len(files):6}{count:7}  {uses}")
    return "\n".join(lines)
