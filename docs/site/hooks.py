"""What the site has besides docs/*.md: the README as its first page, CONTRIBUTING, the model cards, and the notebooks as pages.

Each has one source, where it is read without the site too; here links are turned to where the site has their target.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
CARDS = "src/siame_se3/assets/"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    pages = {"index.md": _at_root("README.md"), "contributing.md": _at_root("CONTRIBUTING.md")}
    pages |= {f"assets/{card.name}": card.read_text(encoding="utf-8") for card in (ROOT / CARDS).glob("*.md")}
    for notebook in (ROOT / "docs" / "notebooks").glob("*.ipynb"):
        pages[f"notebooks/{notebook.stem}.md"] = page_of(
            json.loads(notebook.read_text(encoding="utf-8")), notebook.name
        )
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Model cards and notebooks are pages here."""
    return markdown.replace(f"](../{CARDS}", "](assets/").replace(".ipynb)", ".md)")


def _at_root(name: str) -> str:
    """A page of the repository's root, with links as from docs/."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return text.replace("](docs/", "](").replace(f"]({CARDS}", "](assets/")


def page_of(notebook: dict[str, Any], name: str) -> str:
    """A notebook as Markdown: its texts, its code, and what the code printed where that was kept."""
    parts = [f'<a href="{name}" download>Download this notebook</a>']
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [_output(output) for output in cell["outputs"]]
    title = next(i for i, part in enumerate(parts) if part.startswith("# "))
    parts[0], parts[title] = parts[title], parts[0]
    return "\n\n".join(filter(None, parts)) + "\n"


def _output(output: dict[str, Any]) -> str:
    """A picture, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        png = re.sub(r"\s", "", "".join(data["image/png"]))
        return f"![what this cell draws](data:image/png;base64,{png})"
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
    return f"```text\n{text}\n```" if text else ""
