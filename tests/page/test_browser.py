"""The page in a headless Chromium, as a person uses it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from browser import CHROMIUM, Browser, wait_for
from siame_se3.geometry import lie
from siame_se3.geometry.camera import default_camera
from siame_se3.images.encode import write_picture
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.setup import Setup
from siame_se3.page.simulation import Simulation
from siame_se3.page.space import pose_of
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium"),
]
PATIENCE = 60.0  # [s]: both cores draw in software


@pytest.fixture(scope="module")
def page(photo: Scene) -> Iterator[Page]:
    pytest.importorskip("viser")
    config = ServoConfig(gain=4.0, max_iterations=3000)
    show = Simulation(Setup(photo, default_camera(224), law="ibvs-sift", servo=config))
    page = Page(show, PageConfig(port=0))
    yield page
    page.close()


@pytest.fixture(scope="module")
def browser(page: Page) -> Iterator[Browser]:
    browser = Browser(1300, 800)
    try:
        browser.open(page.url)
        wait_for(lambda: "STOP" in browser.text() and "at rest" in browser.text(), PATIENCE, "the page")
        yield browser
    finally:
        browser.close()


@pytest.fixture
def show(page: Page) -> Iterator[Simulation]:
    assert isinstance(page.show, Simulation)
    yield page.show
    page.show.stop()
    assert page.fault == ""


def error_mm(show: Simulation) -> float:
    T_dc = lie.inverse(show.goal_pose) @ show.worlds[0].T_wc
    return 1e3 * float(lie.error_norms(T_dc)[0])


def pixel_of(browser: Browser, page: Page, point: Tensor) -> tuple[float, float]:
    """Where the browser draws a point of the world (x, y, z) [px]."""
    (client,) = page.clients.values()
    camera = client.camera
    T_wv = pose_of(camera.wxyz, camera.position)
    x, y, z = (lie.inverse(T_wv) @ torch.cat((point, torch.ones(1, dtype=torch.float64))))[:3].tolist()
    f = 0.5 * camera.image_height / math.tan(0.5 * camera.fov)
    left = browser.js("document.querySelector('canvas').getBoundingClientRect().x")
    return left + 0.5 * camera.image_width + f * x / z, 0.5 * camera.image_height + f * y / z


def drag_along_z(browser: Browser, page: Page, show: Simulation, share: float) -> None:
    """Pull the camera's blue arrow, by a share of the arrow's length."""
    T, length = show.worlds[0].T_wc, page.grip_length
    middle, tip = (pixel_of(browser, page, T[:3, 3] + reach * T[:3, 2]) for reach in (0.0, 0.8 * length))
    browser.drag(tip, (tip[0] + share * (tip[0] - middle[0]), tip[1] + share * (tip[1] - middle[1])))


def test_start_converges_and_the_images_are_new(browser: Browser, page: Page, show: Simulation) -> None:
    before = browser.js("document.querySelector('img[src^=\"blob:\"]').src")
    assert error_mm(show) > 50
    browser.click("Start")
    wait_for(lambda: show.moving, PATIENCE)
    wait_for(lambda: not show.moving, PATIENCE, "the end of the run")
    assert error_mm(show) < 5
    wait_for(lambda: browser.js("document.querySelector('img[src^=\"blob:\"]').src") != before, PATIENCE)
    wait_for(lambda: "settled" in browser.text(), PATIENCE)


def test_dragging_the_camera_away_brings_it_home(browser: Browser, page: Page, show: Simulation) -> None:
    before = show.worlds[0].T_wc
    drag_along_z(browser, page, show, -0.7)
    start = show.start_pose
    moved = lie.inverse(before) @ start
    assert float(moved[2, 3]) < -0.03, "it was not dragged upwards"
    torch.testing.assert_close(moved[:3, :3], torch.eye(3, dtype=torch.float64), atol=1e-3, rtol=0)
    # it begins by itself, some time after the drag
    wait_for(lambda: float((show.worlds[0].T_wc - start).abs().max()) > 0.03, PATIENCE, "a motion")
    wait_for(lambda: page.idle and not show.moving, PATIENCE, "the end of the run")
    assert error_mm(show) < 5


@pytest.mark.parametrize("way", ["button", "key", "key after the dark switch"])
def test_stop_stands_still_and_says_so(browser: Browser, page: Page, show: Simulation, way: str) -> None:
    browser.click("Another start")
    wait_for(lambda: page.idle and error_mm(show) > 5, PATIENCE)
    browser.click("Start")
    if "switch" in way:  # it has the focus then
        browser.js(f"({browser.button('dark or light (yours alone)')}).focus()")
        browser.click("dark or light (yours alone)")
        assert browser.js("document.activeElement.tagName") == "BUTTON", "in a field Esc does nothing"
    wait_for(lambda: bool(show.tracks[0].plant.asked.any()) and show.moving, PATIENCE)
    if way == "button":
        browser.click("STOP")
    else:
        browser.key("Escape", 27)
    wait_for(lambda: not show.moving, 10)
    T = show.worlds[0].T_wc
    time.sleep(0.3)
    assert torch.equal(show.worlds[0].T_wc, T)
    wait_for(lambda: "'stop' was said" in browser.text(), PATIENCE)
    if "switch" in way:
        browser.click("dark or light (yours alone)")  # as it was


def test_a_photo_is_dropped_in(browser: Browser, page: Page, show: Simulation, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (45, 60, 3)).astype(np.uint8)
    write_picture(tmp_path / "my wall.png", cv2.resize(pixels, (600, 450), interpolation=cv2.INTER_CUBIC))
    browser.give_file(tmp_path / "my wall.png")
    wait_for(lambda: "my wall, simulated" in browser.text(), PATIENCE, "the new scene")
    assert show.worlds[0].scene.name == "my wall"
    assert error_mm(show) > 50
    browser.click("Start")
    wait_for(lambda: show.moving, PATIENCE)
    wait_for(lambda: not show.moving, PATIENCE)
    assert error_mm(show) < 10


def test_what_is_no_photo_is_one_notice(browser: Browser, show: Simulation, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear camera,")
    scene = show.worlds[0].scene
    browser.give_file(tmp_path / "letter.jpg")
    wait_for(lambda: "letter.jpg: not a" in browser.text(), PATIENCE, "the notice")
    assert show.worlds[0].scene is scene


def test_light_and_dark_are_each_visitor_s_own(browser: Browser, page: Page, show: Simulation) -> None:
    scheme = "document.documentElement?.getAttribute('data-mantine-color-scheme')"
    other = Browser(700, 500)
    try:
        other.open(page.url)
        wait_for(lambda: "dark or light" in other.text(), PATIENCE)
        browser.click("dark or light (yours alone)")
        wait_for(lambda: browser.js(scheme) == "dark", PATIENCE)
        assert other.js(scheme) == "light"
        browser.call("Page.reload")
        wait_for(lambda: browser.js(scheme) == "dark", PATIENCE, "it is not remembered")
    finally:
        other.close()
    wait_for(lambda: len(page.clients) == 1, PATIENCE)
    assert "STOP" in browser.text()


def test_a_narrow_window_has_all_of_it(browser: Browser, show: Simulation) -> None:
    browser.resize(390, 800, mobile=True)
    wait_for(lambda: "STOP" in browser.text(), PATIENCE)
    assert browser.js("document.documentElement.scrollWidth") <= 390
    button = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'STOP').getBoundingClientRect()"
    left, right, height = (browser.js(f"({button}).{side}") for side in ("left", "right", "height"))
    assert 0 <= left < right <= 390
    assert height > 45
