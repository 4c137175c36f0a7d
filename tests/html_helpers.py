"""Pages of HTML, parsed: well formed, and nothing in them that a network or a user's text could add."""

from __future__ import annotations

import re
from html.parser import HTMLParser

ATTACK = "</script><script>alert(1)</script><img src=http://evil/x onerror=alert(2)>\"'&\ud800\u2028"
VOID = {"meta", "img", "input", "br"}


class Parsed(HTMLParser):
    """A page by its tags: all that are opened are closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.data = self.script = self.style = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script" and self.found[-1][1].get("id") == "data":
            self.data += data
        elif inside == "script":
            self.script += data
        elif inside == "style":
            self.style += data
        elif data.strip():
            self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def stands_alone(page: str) -> Parsed:
    """The page, parsed; it loads nothing."""
    parsed = Parsed(page)
    assert page.startswith("<!doctype html>")
    assert not parsed.all("link")
    for _, attributes in parsed.found:
        for name in ("src", "href", "action", "data", "srcset", "style", "poster"):
            assert re.fullmatch(r"data:.*|color:[\w()-]+|#.*|", attributes.get(name) or "", re.DOTALL)
    for code in (parsed.script, parsed.style):
        assert len(code) > 1000
        assert not re.findall(
            r"https?:|@import|url\(|fetch|XMLHttpRequest|WebSocket|importScripts|sendBeacon|innerHTML", code
        )
    for tag in ("img", "script", "iframe", "source", "video", "object", "embed"):
        for attributes in parsed.all(tag):
            assert (attributes.get("src") or "data:").startswith("data:")
    assert all(not name.startswith("on") for _, attributes in parsed.found for name in attributes)
    return parsed
