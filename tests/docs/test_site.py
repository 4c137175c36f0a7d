"""The documentation site: its pages are those of docs, it builds without a warning, and it opens without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import siame_se3
from docs_helpers import NOTEBOOKS, ROOT

BUILDS = find_spec("material") is not None and find_spec("mkdocstrings") is not None


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    whole: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return whole


def pages_of(nav: Any) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(part)]


def test_the_navigation_has_every_page_once(settings: dict[str, Any]) -> None:
    """Those of docs, and those that docs/site/hooks.py takes from elsewhere."""
    there = [page.name for page in (ROOT / "docs").glob("*.md")]
    there += [f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS]
    there += [f"assets/{card.name}" for card in (ROOT / "src" / "siame_se3" / "assets").glob("*.md")]
    assert len(NOTEBOOKS) == 2
    assert sorted(pages_of(settings["nav"])) == sorted([*there, "index.md", "contributing.md"])


def test_the_api_page_has_every_public_name() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: (siame_se3[\w.]+)$", text, re.MULTILINE)
    errors = re.findall(r"members: \[(.*)\]", text)[0].split(", ")
    assert len(shown) == len(set(shown))
    places = [
        f"siame_se3.{place.replace(':', '.') if ':' in place else f'{place}.{name}'}"
        for name, place in siame_se3._PLACES.items()
        if place != "errors"
    ]
    assert sorted(set(shown) - {"siame_se3.errors"}) == sorted(places)
    known = vars(siame_se3.errors)
    assert set(errors) == {
        name for name, thing in known.items() if isinstance(thing, type) and issubclass(thing, siame_se3.SiameError)
    }


def test_light_and_dark(settings: dict[str, Any]) -> None:
    """By the reader's setting, in the colours of the figures."""
    from siame_se3.analysis.style import BLUE, RED

    assert [palette["scheme"] for palette in settings["theme"]["palette"]] == ["default", "slate"]
    sheet = (ROOT / "docs" / "site" / "site.css").read_text(encoding="utf-8")
    assert f"--md-typeset-a-color: {BLUE.lower()}" in sheet
    assert f"--md-accent-fg-color: {RED.lower()}" in sheet


@pytest.mark.slow
@pytest.mark.skipif(not BUILDS, reason="pip install '.[docs]'")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "site" / "notebooks" / NOTEBOOKS[0].name).is_file()
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(?:https?:)?//|<link[^>]*\shref=\"?(?:https?:)?//")
    for page in (tmp_path / "site").rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert loads.search(html) is None, page
        words = re.sub(r"<(pre|code)\b.*?</\1>|<[^>]+>", "", html, flags=re.DOTALL)
        assert not re.search(r"^\s*\||\]\(|\*\*", words, re.MULTILINE), f"{page}: Markdown that was not understood"
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet
