"""Reports in a browser, where there is one: nothing fails, paths turn, rows choose a run, columns sort, the slider moves the camera."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from siame_se3.analysis import frames, html_run
from siame_se3.geometry.camera import Camera
from siame_se3.laws.pose import PBVS
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.simulation import Task, simulate

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

FIRST = "<script>window.errors = []; addEventListener('error', (e) => errors.push(e.message));"
FIRST += "window.requestAnimationFrame = (draw) => setTimeout(draw, 16);</script>"  # a browser without a window draws no frames
LAST = """<script>
const look = async () => {
  const later = () => new Promise((done) => setTimeout(done, 120));
  const canvas = document.getElementById("paths"), charts = [...document.querySelectorAll("canvas[data-chart]")];
  const found = {};
  const changed = async (name, act, of = canvas) => {
    await later();
    const before = of.toDataURL();
    act();
    await later();
    found[name] = of.toDataURL() !== before;
  };
  const pointer = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: x, clientY: y, bubbles: true }));
  canvas.setPointerCapture = () => {};
  await later();
  found.drawn = [canvas, ...charts].map((c) => new Set(c.getContext("2d").getImageData(0, 0, c.width, c.height).data).size > 8);
  found.metre = parseFloat(canvas.dataset.scale) / Math.min(canvas.clientWidth, canvas.clientHeight);
  await changed("turns", () => { pointer("pointerdown", 100, 100); pointer("pointermove", 160, 120); pointer("pointerup", 160, 120); });
  await changed("stays", () => pointer("pointermove", 200, 200));
  await changed("key", () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" })));
  await changed("slides", () => { const s = document.getElementById("at"); s.value = 0.3; s.dispatchEvent(new Event("input")); });
  const row = document.querySelector('tr[data-run="2"]');
  await changed("chooses", () => row.click(), charts[0]);
  found.shown = document.querySelector(".which").textContent;
  found.marked = row.classList.contains("on");
  const column = () => [...document.querySelectorAll("tbody tr")].map((r) => parseFloat(r.cells[1].textContent));
  document.querySelectorAll("th")[1].click();
  found.rising = column();
  document.querySelectorAll("th")[1].click();
  found.falling = column();
  document.getElementById("play").click();
  found.playing = document.getElementById("play").textContent;
  found.wide = document.documentElement.scrollWidth <= innerWidth;
  found.errors = window.errors;
  return found;
};
addEventListener("load", () => look().catch((error) => String(error)).then((found) => {
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
}));
</script>"""


@pytest.mark.parametrize("width", [1280, 480])
def test_a_report_in_a_browser(width: int, tmp_path: Path, scene: Scene, camera: Camera) -> None:
    task = Task(scene, camera, runs=5, seed=5)
    trajectory, _, _ = simulate(PBVS(), task, ServoConfig(gain=8.0, max_iterations=30), {"law": "pbvs"}, quiet=True)
    page = html_run.run_page(trajectory, frames.strip_of(task, trajectory, 1), scene, camera, 1)
    path = tmp_path / "page.html"
    path.write_text(page.replace("<main>", FIRST + "<main>").replace("</body>", LAST + "</body>"), encoding="utf-8")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    words += [f"--window-size={width},1600", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    assert BROWSER is not None
    done = subprocess.run([BROWSER, *words], capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stdout[-500:]
    found = json.loads(html.unescape(match[1]))
    assert found["errors"] == []
    assert found["drawn"] == [True] * 5
    # print and cameras are a metre across and high, and fill nine tenths of the drawing: the scale bar's metre is about as long
    assert 0.5 < found["metre"] < 1.5
    assert [found[name] for name in ("turns", "stays", "key", "slides", "chooses")] == [True, False, True, True, True]
    assert (found["shown"], found["marked"], found["playing"], found["wide"]) == ("2", True, "Pause", True)
    assert found["rising"] == sorted(found["rising"])
    assert found["falling"] == sorted(found["rising"], reverse=True)
