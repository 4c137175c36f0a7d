"""Where the page is served, and to whom."""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass

from siame_se3.errors import InputError, require_number
from siame_se3.files import require_types

_LEAST_TOKEN = 8  # characters


@dataclass(frozen=True)
class PageConfig:
    """Where the page is served, and to whom.

    Attributes:
        host: address to serve it at; any other than this machine's own (127.0.0.1, localhost, ::1) asks visitors for a token.
        port: of that address; 0 for any that is free.
        token: that visitors have to give, at least eight letters, digits, - or _; '' for a new one where one is needed.
        rate: images a second that are sent at most; they are sent only when they are new.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    rate: float = 25.0

    def __post_init__(self) -> None:
        require_types(self, "page")
        require_number(self, "port", 0, 65535, whole=True)
        require_number(self, "rate", 0, 60, open_low=True)
        if not self.host or not re.fullmatch(r"[\w.:-]+", self.host):
            raise InputError(f"page: {self.host!r} is no address; give one such as 127.0.0.1 or 0.0.0.0", "host")
        if self.token and not re.fullmatch(rf"[\w-]{{{_LEAST_TOKEN},}}", self.token, re.ASCII):
            raise InputError(
                f"page: a token needs at least {_LEAST_TOKEN} letters, digits, - or _; give another, or none for a new one",
                "token",
            )

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def token_asked_for(self) -> str:
        """The token that visitors have to give: the one given, a new one where the page can be reached from outside, or '' for none."""
        return self.token or ("" if self.local else secrets.token_urlsafe(16))
