"""Folders of experiments -> one report: their pages, with tables that sort and figures inside."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from siame_se3.analysis import html
from siame_se3.analysis.html import Html
from siame_se3.files import hardware, read_bytes, read_text

_MOST_PICTURE = 20_000_000  # bytes
_KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def bench_page(folders: Sequence[Path], command: str) -> str:
    """The report of experiments.

    Args:
        folders: of each experiment, with the report.md that it wrote and its figures.
        command: the command line.

    Raises:
        InputError: a page cannot be read.
    """
    parts = [part for folder in folders for part in experiment(folder)]
    parts.append(html.section("Command", html.command(command)))
    names = ", ".join(folder.name for folder in folders)
    return html.page(f"Experiments: {names}", f"{hardware()}, {time.strftime('%Y-%m-%d')}", parts)


def experiment(folder: Path) -> list[Html]:
    """A section for each heading of an experiment's page."""
    found: list[Html] = []
    pieces = re.split(r"^(#{1,2} .*)$", read_text(folder / "report.md"), flags=re.MULTILINE)
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        found.append(html.section(title.lstrip("# "), *markdown(text, folder)))
    return found


def markdown(text: str, folder: Path) -> list[Html]:
    """What the pages of experiments are made of: paragraphs, lists, tables, code, links, and pictures of the folder."""
    parts: list[Html] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        picture = re.fullmatch(r"!\[(.*)\]\(([\w.-]+)\)", block.strip())
        if picture and (folder / picture[2]).suffix in _KINDS and (folder / picture[2]).is_file():
            content = read_bytes(folder / picture[2], _MOST_PICTURE)
            parts.append(html.figure(content, _KINDS[(folder / picture[2]).suffix], picture[1]))
        elif all(line.startswith("|") for line in lines) and len(lines) > 1:
            parts.append(_table(lines))
        elif all(line.startswith("- ") for line in lines) and lines:
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            parts.append(Html(f"<ul>{items}</ul>"))
        elif block.strip():
            parts.append(Html(f"<p>{_inline(block)}</p>"))
    return parts


def _table(lines: Sequence[str]) -> Html:
    head, _, *body = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    names = [name + "\u200b" * head[:k].count(name) for k, name in enumerate(head)]  # columns of one name are two
    return html.table([dict(zip(names, row, strict=False)) | dict.fromkeys(names[len(row) :], "") for row in body])


def _inline(text: str) -> str:
    """Code and links of one block; all else is text."""
    found = html.text(" ".join(text.split())).code
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", found)
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", found)  # a report stands alone: what it links to is elsewhere
