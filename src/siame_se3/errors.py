"""The one error that a user may see as a single line."""

from __future__ import annotations


class SiameError(ValueError):
    """Bad input. The message is one line that names the input and the mend."""
