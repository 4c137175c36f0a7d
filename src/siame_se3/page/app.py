"""The page: viser's server with its views, and the thread that looks and sends."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from siame_se3.analysis.style import BLUE
from siame_se3.errors import SiameError
from siame_se3.page import style
from siame_se3.page.access import Access
from siame_se3.page.calls import Call, LatestCalls
from siame_se3.page.config import PageConfig
from siame_se3.page.controls import Controls
from siame_se3.page.curves import CurveView
from siame_se3.page.images import ImageView
from siame_se3.page.memory import give_back
from siame_se3.page.photo_controls import PhotoControls
from siame_se3.page.server import end, own_address, reached_at, served
from siame_se3.page.show import Show
from siame_se3.page.simulated_controls import SimulatedControls
from siame_se3.page.simulation import Simulation
from siame_se3.page.space import Pose, SpaceView
from siame_se3.page.track import Now
from siame_se3.page.visitors import Visitors
from siame_se3.plants.robots.threads import Worker

log = logging.getLogger(__name__)

_OF_TRACKS, _OF_PAGE = 4, 2  # lines that are shown of what was said
_SLOW = 0.2  # [s] between updates of curves, paths and the frusta's images
_TRIM = 30.0  # [s] between times that free memory is given back
_WIDE, _CURVES = 390, 310  # of the panels of controls and of curves [px]


class Page:
    """A page that shows and drives a `Show`, until it is closed.

    Args:
        show: what is shown; closing the page closes it.
        config: where it is served.
        size: distance of the goal from the scene, which the drawing is scaled by [m].

    Raises:
        InputError: viser is not installed, the port is taken, or the address is none of this machine.
    """

    def __init__(self, show: Show, config: PageConfig | None = None, size: float = 0.6) -> None:
        self.show, self.config = show, config or PageConfig()
        self.token = self.config.token_asked_for()
        self._server = served(self.config, Access(self.config.host, self.config.local, self.token))
        self._calls = LatestCalls("page: calls", self._say)
        self._said: deque[str] = deque(maxlen=_OF_PAGE)
        self._closed = threading.Event()
        self._visitors = Visitors(self._server, show)
        self._nows: list[Now] = []  # what was shown last
        self._build(size)
        self._looking = Worker("page: look", self._look)
        if not show.simulated:  # a robot whose page does not show or stop it any more does not go on
            show.tracks[0].plant.watch(lambda: self.fault)

    @property
    def port(self) -> int:
        """Where it is served."""
        return int(self._server.get_port())

    @property
    def url(self) -> str:
        """To be opened in a browser, with the token where one is asked for."""
        return self._url(reached_at(self.config.host))

    @property
    def url_elsewhere(self) -> str:
        """For other machines, where it is served to them all; '' where it is not, or this machine's address is not known."""
        wildcard = self.config.host != reached_at(self.config.host)
        return self._url(found) if wildcard and (found := own_address(self.config.host)) else ""

    def _url(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def fault(self) -> str:
        """Why the page does not work any more; '' where it does."""
        return self._looking.fault or self._calls.fault

    @property
    def waiting(self) -> dict[str, int]:
        """Lengths of what could grow: calls that wait, and messages that are kept for browsers."""
        return {"calls": len(self._calls), **self._visitors.kept}

    @property
    def said(self) -> tuple[str, ...]:
        """The last lines that it has shown to all."""
        return tuple(self._said)

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has been done."""
        return self._calls.wait(0)

    @property
    def grip_length(self) -> float:
        """Of the arrows that a camera is dragged by [m]."""
        return self._space.grip_length

    @property
    def clients(self) -> dict[int, Any]:
        """viser's handles of the visitors, by number."""
        return dict(self._server.get_clients())

    @property
    def images_sent(self) -> int:
        """Until now."""
        return self._images.sent

    def _build(self, size: float) -> None:
        server, show = self._server, self.show
        gui = server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, brand_color=style.rgb(BLUE))
        gui.set_panel_label("siame")
        self._controls = Controls(server, show, self._ask, self._calls.drop, self._visitors.presence)
        self._simulated = self._photo = None
        if isinstance(show, Simulation):
            show.hear(self._say)
            self._simulated = SimulatedControls(server, show, self._ask)
            self._photo = PhotoControls(server, show, self._ask, self._calls)
        self._controls.add_lines()
        self._images = ImageView(server, self._controls.note)
        curves = gui.add_panel()
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_WIDE)
        curves.dock_left()
        curves.set_width(_CURVES)
        self._curves = CurveView(server, curves.add_tab("Errors"), curves.add_tab("Twist"))
        self._space = SpaceView(server, show.tracks[0].plant.camera, size)
        if isinstance(show, Simulation):
            self._space.let_drag(lambda phase, T: self._dragged(show, phase, T))

    def _dragged(self, show: Simulation, phase: str, T: Pose) -> None:
        """A visitor drags the first camera: all stop, follow, and come home when it is let go."""
        if phase == "start":
            self._controls.stop()
        self._ask("place", lambda: show.place(T), self._space.dragging)
        if phase == "end":
            self._ask("start", show.start, None)

    def _ask(self, name: str, call: Call, visitor: int | None) -> None:
        """See `controls.Ask`."""

        def failed(text: str) -> None:
            if not self._visitors.tell(visitor, text):
                self._say(text)

        self._calls.post(name, call, failed)

    def _say(self, text: str) -> None:
        """Show a line to all."""
        if text:
            self._said.append(text)

    def _look(self) -> None:
        """The thread that looks and sends: never more often than asked for, and only what is new."""
        due = slow = trimmed = 0.0
        while not self._closed.is_set():
            now = time.monotonic()
            due = max(due + 1 / self.config.rate, now)
            self._send(full := now >= slow)
            if full:
                slow = now + _SLOW
            if now - trimmed > _TRIM:
                trimmed = now
                self._calls.post("memory", give_back)
            self._closed.wait(max(0.0, due - time.monotonic()))

    def _send(self, full: bool) -> None:
        """One look. `full`: with what changes slowly."""
        tracks = tuple(self.show.tracks)
        try:
            nows: list[Now] = [track.look() for track in tracks]
        except SiameError as error:  # a camera that fails: it is said beside its last image, and the page stays
            if str(error) not in self._said:
                self._say(str(error))
            if len(self._nows) != len(tracks):
                self._nows = [track.unseen() for track in tracks]
            nows = [replace(now, moving=track.moving) for now, track in zip(self._nows, tracks, strict=True)]
        self._nows = nows
        if not self._visitors:  # nobody sees it: the next visitor gets what is new then
            return
        with self._server.atomic():
            self._images.update(tracks, nows)
            if self._simulated and tracks[0].world:
                self._space.show(tracks[0].world.scene)
            self._space.update(tracks, nows, images=full)
            if full:
                self._curves.update(tracks)
                self._space.draw_paths(tracks)
                of_tracks = [line for track in tracks for line in track.lines]
                self._controls.update(nows, [*of_tracks[-_OF_TRACKS:], *self._said])
                self._images.say(tracks, nows, self.show.paused)
                if self._simulated and self._photo:
                    self._simulated.update()
                    self._photo.update()
                    if self.idle:
                        self._simulated.settle()

    def run(self) -> None:
        """Serve until Ctrl-C, or until something of the page fails.

        Raises:
            SiameError: that is the case.
        """
        while not self._closed.wait(0.5):
            if self.fault:
                raise SiameError(self.fault)

    def close(self) -> None:
        """Stop what moves, and end the page."""
        self.show.stop()
        self._looking.expect_end()
        self._closed.set()
        self._looking.join(5)
        if self._photo:
            self._photo.close()
        self._calls.close()
        end(self._server)
        self.show.close()
