"""The one error that a user may see as a single line."""

from __future__ import annotations


class SiameError(Exception):
    """Bad input. The message is one line that names the input and the mend.

    Not a ValueError: the command line's parser would put a frame of its own around that.
    """
