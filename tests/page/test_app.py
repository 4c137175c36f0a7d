"""The page over its sockets: what visitors get, and that none of them can disturb another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from browser import wait_for
from page_helpers import LAWS, PNG, setup
from siame_se3.errors import RobotError
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model
from siame_se3.page.app import Page
from siame_se3.page.config import PageConfig
from siame_se3.page.photo_controls import PhotoControls
from siame_se3.page.simulation import Simulation
from siame_se3.page.watcher import Watcher
from siame_se3.scenes.planar import Scene
from siame_se3.servo.config import ServoConfig

pytest.importorskip("viser")
FOR_EVER = ServoConfig(gain=1.0, max_iterations=100_000)


@pytest.fixture
def page(scene: Scene, camera: Camera) -> Iterator[Page]:
    """Of a camera that moves for ever as soon as it is started."""
    found = Page(Simulation(setup(scene, camera, law="auto", paced=True, servo=FOR_EVER)), PageConfig(port=0))
    yield found
    assert found.fault == ""
    found.close()


@pytest.fixture
def show(page: Page) -> Simulation:
    assert isinstance(page.show, Simulation)
    return page.show


@pytest.fixture
def watcher(page: Page) -> Iterator[Watcher]:
    found = Watcher(page.url)
    wait_for(lambda: "STOP" in found.buttons and found.images > 0, 20, "the page")
    yield found
    found.close()


def test_buttons_start_and_stop(page: Page, show: Simulation, watcher: Watcher) -> None:
    watcher.press("Start")
    wait_for(lambda: bool(show.tracks[0].plant.asked.any()), 20)
    watcher.press("STOP")
    wait_for(lambda: not show.moving, 20)


def test_images_are_sent_only_where_they_are_new(page: Page, show: Simulation, watcher: Watcher) -> None:
    time.sleep(0.3)
    before = watcher.images
    time.sleep(0.3)
    assert watcher.images == before, "it stands still"
    show.place(show.goal_pose)
    wait_for(lambda: watcher.images == before + 1, 20)


def test_images_are_sent_at_most_at_the_rate(scene: Scene, camera: Camera) -> None:
    show = Simulation(setup(scene, camera, law="auto", servo=FOR_EVER))
    page = Page(show, PageConfig(port=0, rate=10.0))
    watcher = Watcher(page.url)
    wait_for(lambda: watcher.images > 0, 20)
    show.start()
    before, began = page.images_sent, time.monotonic()
    time.sleep(0.6)
    assert 1 <= page.images_sent - before <= 10 * (time.monotonic() - began) + 1
    watcher.close()
    page.close()


def test_a_closed_tab_changes_nothing_for_the_others(page: Page, show: Simulation, watcher: Watcher) -> None:
    other = Watcher(page.url)
    wait_for(lambda: "Start" in other.buttons and len(page.clients) == 2, 20)
    other.press("Start")
    wait_for(lambda: show.moving, 20)
    other.close()
    wait_for(lambda: len(page.clients) == 1, 20)
    before = watcher.images
    wait_for(lambda: watcher.images > before + 3, 20)
    assert show.moving


def test_a_slow_visitor_makes_no_queue_grow(page: Page, show: Simulation, watcher: Watcher) -> None:
    slow = Watcher(page.url, slow=0.2)
    wait_for(lambda: len(page.clients) == 2, 20)
    show.start()
    wait_for(lambda: watcher.images > 3, 20)
    time.sleep(0.3)
    first = page.waiting
    for _ in range(200):
        watcher.press("Back to the start")
    time.sleep(0.5)
    assert page.waiting["calls"] <= 2
    assert page.waiting["page"] <= first["page"] + 20
    assert page.waiting["on their way"] <= 20
    slow.close()


def test_what_fails_is_shown_to_the_one_who_asked(page: Page, show: Simulation, watcher: Watcher) -> None:
    away = show.goal_pose.clone()
    away[0, 3] = 50.0
    show.place(away)
    watcher.press("This view is the goal")
    wait_for(lambda: any("sees nothing" in text for text in watcher.notices), 20)
    assert torch.equal(show.worlds[0].T_wc, away)


def test_a_page_for_others_asks_for_the_token(scene: Scene, camera: Camera) -> None:
    page = Page(Simulation(setup(scene, camera)), PageConfig(port=0, token="a-long-token"))
    assert page.url.endswith("/?token=a-long-token")
    with pytest.raises(RobotError, match="401"):
        Watcher(page.url.partition("?")[0])
    watcher = Watcher(page.url)
    wait_for(lambda: "STOP" in watcher.buttons, 20)
    watcher.close()
    page.close()


def test_a_law_that_is_not_in_the_list_is_refused(page: Page, show: Simulation, watcher: Watcher) -> None:
    """A browser may send any text, and a law's name may be a module of this machine."""
    watcher.choose("law", "antigravity:Flight")
    wait_for(lambda: any("no law of this page" in text for text in watcher.notices), 20)
    assert show.tracks[0].law == "auto"
    wait_for(lambda: watcher.chosen("law") == "auto", 20, "the list shows it no longer")


def test_a_law_that_loads_stays_chosen(scene: Scene, camera: Camera) -> None:
    """The list jumped back to the old one while the new one was built, and nothing said so."""
    built = threading.Event()

    def slow(law: str, model: Model | None) -> object:
        if law == "dvs":
            built.wait(20)
        return LAWS[law]()

    show = Simulation(setup(scene, camera, law="auto", controllers=slow))
    page = Page(show, PageConfig(port=0))
    watcher = Watcher(page.url)
    try:
        wait_for(lambda: "STOP" in watcher.buttons and watcher.images > 0, 20)
        assert watcher.chosen("law") == "auto"
        watcher.choose("law", "dvs")
        wait_for(lambda: "loading dvs ..." in page.said, 20, "what it does")
        time.sleep(0.6)
        assert watcher.chosen("law") == "dvs"
        built.set()
        wait_for(lambda: show.tracks[0].law == "dvs", 20)
    finally:
        built.set()
        watcher.close()
        page.close()


def test_a_camera_that_fails_is_said(
    page: Page, show: Simulation, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page stood still without a word."""

    def fails(after: float, wait: float) -> None:
        raise RobotError("camera 0: gives no frame")

    monkeypatch.setattr(show.tracks[0].plant.camera_source, "latest", fails)
    show.tracks[0].lines.extend(["stands still after 9 iterations: settled"] * 6)  # of runs before
    wait_for(lambda: watcher.shows("camera 0: gives no frame"), 20)


def test_a_file_is_not_kept_after_it_has_been_read(show: Simulation, watcher: Watcher, page: Page) -> None:
    watcher.upload("Drop in a photo", "wall.png", PNG)
    wait_for(lambda: show.title.startswith("wall"), 20)
    assert isinstance(page._photo, PhotoControls)
    assert page._photo._photo.value.content == b""


def test_a_file_that_is_too_large_is_refused_as_it_is_announced(show: Simulation, watcher: Watcher, page: Page) -> None:
    """It was kept whole, of whatever size, and looked at after that."""
    kept = page._server.gui._current_file_upload_states
    watcher.upload("Drop in a photo", "film.mp4", PNG, size=4_000_000_000)
    wait_for(lambda: any("film.mp4: 4000 MB; drop a photo of at most 60 MB" in text for text in watcher.notices), 20)
    wait_for(lambda: watcher.uploaded == 4_000_000_000, 20, "the button, which waits until all has come")
    assert kept == {}
    title = show.title
    watcher.upload("Drop in a photo", "wall.png", PNG)  # the next one is taken
    wait_for(lambda: show.title != title, 20)


def test_only_a_page_for_all_has_an_address_for_others(page: Page) -> None:
    assert page.url.startswith("http://127.0.0.1:")
    assert page.url_elsewhere == ""
