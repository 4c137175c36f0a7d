"""What the tests of README, docs and notebooks share: their pages, their blocks, and the commands of siame in them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


class Found(NamedTuple):
    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Whatever is written as a command of siame: in indented and fenced blocks, and between backticks; without its comment."""
    joined = re.sub(r" *\\\n +", " ", text)
    lines = [line for block in blocks(joined, "(?:sh|bash|console)?") for line in block.splitlines()]
    lines += [line[4:] for line in joined.splitlines() if line.startswith("    ")]
    spans = [
        " ".join(span.split())
        for span in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", joined, flags=re.M | re.S))
    ]
    found = []
    for line in [*lines, *spans]:
        for part in line.removeprefix("$ ").split("&&"):
            words = shlex.split(part, comments=True) if part.strip().startswith(("siame ", "torchrun ")) else []
            if "siame_se3.cli" in words:
                words = ["siame", *words[words.index("siame_se3.cli") + 1 :]]
            if len(words) > 1:
                found.append(shlex.join(words))
    return found


def read(notebook: Path) -> dict[str, Any]:
    """A notebook's JSON."""
    whole: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    return whole


def cells(notebook: Path, kind: str) -> list[str]:
    """The texts of a notebook's cells of a kind."""
    return ["".join(cell["source"]) for cell in read(notebook)["cells"] if cell["cell_type"] == kind]


ALL = [Found(page.name, text) for page in PAGES for text in dict.fromkeys(commands(page.read_text(encoding="utf-8")))]
