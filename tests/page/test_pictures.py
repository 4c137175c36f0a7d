"""The pictures of docs/page.md: SIAME_PICTURES=docs python -m pytest tests/page/test_pictures.py writes them there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM, Browser, wait_for
from siame_se3.files import BUNDLED_MODEL, bundled
from siame_se3.images.decode import read_picture
from siame_se3.networks import checkpoint
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.setup import Setup
from siame_se3.page.simulation import Simulation
from siame_se3.scenes.registry import coffee

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium"),
]
PATIENCE = 90.0  # [s]


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    folder = Path(os.environ.get("SIAME_PICTURES", tmp_path))
    model = checkpoint.load(bundled(BUNDLED_MODEL))
    show = Simulation(Setup(coffee(), model=model, second="dvs"))
    page = Page(show, PageConfig(port=0))
    browser = Browser(1380, 800)
    try:
        browser.open(page.url)
        wait_for(lambda: "STOP" in browser.text() and "at rest" in browser.text(), PATIENCE)
        browser.js("document.querySelector('.mantine-Notification-closeButton')?.click()")
        show.disturb(frozenset({"noise"}))
        browser.click("Start")
        wait_for(lambda: len(show.tracks[0].trace) > 28, PATIENCE)
        show.pause(True)
        _save(browser, folder / "page.png")
        show.pause(False)
        wait_for(lambda: not show.moving or len(show.tracks[0].trace) > 60, PATIENCE)
        show.stop()
        browser.click("dark or light (yours alone)")
        _save(browser, folder / "page-dark.png")
        browser.resize(390, 780, mobile=True)
        _save(browser, folder / "page-narrow.png")
    finally:
        browser.close()
        page.close()


def _save(browser: Browser, path: Path) -> None:
    """A picture of the window, in few colours, and not all white."""
    time.sleep(3)  # what the page draws in software comes late
    browser.screenshot(path)
    pixels = read_picture(path)
    assert float(np.std(pixels)) > 20
    Image.fromarray(pixels).quantize(200).save(path, optimize=True)
    assert path.stat().st_size < 300_000
