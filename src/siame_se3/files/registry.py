"""Things by name: our own, those of other packages (entry points), and 'module:Name' for one that no package declares."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from siame_se3.errors import InputError


class Registry:
    """Names, and the objects that they stand for; an object's module is imported when its name is asked for.

    Args:
        kind: what is registered, such as 'law': for messages, and the setting that an error names.
        group: the entry points under which other packages declare theirs, such as 'siame_se3.laws'.
        own: ours, name -> 'module:Name'.
        error: the error of a name that is not known.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str], error: type[InputError] = InputError) -> None:
        self.kind, self.group, self.error = kind, group, error
        self._own = dict(own)

    def names(self) -> tuple[str, ...]:
        """All names: ours first, then those of installed packages in order."""
        return (*self._own, *sorted(set(entry_points(group=self.group).names) - set(self._own)))

    def load(self, name: str) -> Any:
        """The object of a name, or of 'package.module:Name'. Our own names cannot be taken by other packages.

        Raises:
            InputError: (of the registry's kind) no such name, or a module that cannot be imported or has no such object.
        """
        if name in self._own:
            return self._imported(name, self._own[name])
        declared: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=self.group)}
        if name in declared:
            return self._imported(name, declared[name].value)
        if ":" in name:
            return self._imported(name, name)
        names = self.names()
        close = difflib.get_close_matches(name, names, 3)
        hint = (
            f"did you mean {', '.join(close)}?" if close else f"give one of {', '.join(names)}, or package.module:Name"
        )
        raise self.error(f"{self.kind} {name}: there is none of that name; {hint}", self.kind)

    def _imported(self, name: str, place: str) -> Any:
        """The object at 'module:Name'."""
        module, _, path = place.partition(":")
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, and lacks something itself
            raise self.error(f"{self.kind} {name}: there is no module {error.name}", self.kind) from None
        for part in path.split("."):
            if not hasattr(found, part):
                raise self.error(
                    f"{self.kind} {name}: module {module} has no {path or 'name after the colon'}", self.kind
                )
            found = getattr(found, part)
        return found
