"""The type of the fixture `siame`: a command line, run in process -> exit status, standard output, standard error."""

from __future__ import annotations

from collections.abc import Callable

Siame = Callable[..., tuple[int, str, str]]
