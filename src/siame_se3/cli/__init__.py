"""siame demo | train | servo | live | check | calibrate | arm | plot | export | doctor | bench: how is it asked for? A file a command.

A command is a dataclass: its fields are the options and their docstrings the help texts, `essential` names the options that
`--help` shows, and calling it runs it and gives its exit status (None: done). A new one also gets its line in commands.py.
"""

from __future__ import annotations

from siame_se3.cli.program import main, parse
from siame_se3.cli.status import Status

__all__ = ["Status", "main", "parse"]
