"""Text for people: what came from a network made fit for a terminal, sources without their passwords, and twists in words."""

from __future__ import annotations

import math
import re

from jaxtyping import Float
from torch import Tensor


def printable(text: object, most: int = 300) -> str:
    """One line without control characters: terminals obey some of them, and anybody on a network may send them.

    Args:
        text: anything; its str() is taken.
        most: characters that are kept.
    """
    whole = str(text)
    kept = "".join(c if c.isprintable() else " " for c in whole[: most + 1]).strip()
    return kept if len(whole) <= most else f"{kept[:most]}... ({len(whole)} characters)"


_USER = re.compile(r"(?<=://)[^/?#\s]*@")
_SECRET = re.compile(r"([?&][^=&#\s]*(?:pass|pwd|token|secret)[^=&#\s]*=)[^&#\s]*", re.IGNORECASE)


def without_password(text: object) -> str:
    """The same, with *** for what lets somebody in, in each URL: its user and password (rtsp://***@10.0.0.5/1), and passwords and tokens of its query."""
    return _SECRET.sub(r"\1***", _USER.sub("***@", str(text)))


def format_twist(v: Float[Tensor, "6"]) -> str:
    """A twist [m/s, rad/s] in cm/s and deg/s."""
    t, r = v[:3].tolist(), v[3:].tolist()
    translation = " ".join(f"{100 * x:+.1f}" for x in t)
    return f"{translation} cm/s, {' '.join(f'{math.degrees(x):+.1f}' for x in r)} deg/s"
