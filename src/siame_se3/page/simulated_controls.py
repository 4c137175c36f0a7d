"""The page's controls for simulated cameras: time, start poses, laws, gain, limits, disturbances."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from siame_se3.errors import InputError
from siame_se3.page.controls import Ask
from siame_se3.page.disturb import KINDS
from siame_se3.page.setup import NO_LAW, page_laws
from siame_se3.page.simulation import Simulation

_GAINS = (0.5, 20.0, 0.5)  # from, to, step [1/s]
_SPEEDS, _ROTATIONS = (0.02, 1.0, 0.02), (5.0, 170.0, 5.0)  # [m/s], [deg/s]


class SimulatedControls:
    """See the file.

    Args:
        server: viser's.
        show: the simulation.
        ask: see `Ask`.
    """

    def __init__(self, server: Any, show: Simulation, ask: Ask) -> None:
        self._show, self._ask = show, ask
        self._paused = False
        self._build_time(server.gui)
        self._build_laws(server.gui)
        self._build_disturbances(server.gui)

    def _build_time(self, gui: Any) -> None:
        self._pause = gui.add_button("Pause", icon="player-pause")
        reset = gui.add_button("Back to the start", icon="arrow-back-up")
        another = gui.add_button("Another start", icon="dice")

        @self._pause.on_click
        async def _(event: Any) -> None:
            self._show.pause(not self._show.paused)  # which does not wait

        @reset.on_click
        async def _(event: Any) -> None:
            self._ask("place", self._show.reset, event.client_id)

        @another.on_click
        async def _(event: Any) -> None:
            self._ask("place", self._show.another_start, event.client_id)

    def _build_laws(self, gui: Any) -> None:
        setup, servo = self._show.setup, self._show.config
        laws = tuple(dict.fromkeys((*page_laws(), setup.law, *([setup.second] if setup.second != NO_LAW else []))))
        with gui.add_folder("Law"):
            self._law = gui.add_dropdown("law", laws, initial_value=setup.law)
            self._second = gui.add_dropdown("beside it", (NO_LAW, *laws), initial_value=setup.second)
            gain = gui.add_slider("gain [1/s]", *_GAINS, initial_value=_within(servo.gain, _GAINS))
            v = gui.add_slider("limit [m/s]", *_SPEEDS, initial_value=_within(servo.max_v, _SPEEDS))
            w = gui.add_slider(
                "limit [deg/s]", *_ROTATIONS, initial_value=_within(math.degrees(servo.max_w), _ROTATIONS)
            )

        def chosen(law: str) -> str:
            """One of the list: a browser may send anything, and a law may be code."""
            if law not in (NO_LAW, *laws):
                raise InputError(f"{law[:40]}: no law of this page")
            return law

        @self._law.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                law = event.target.value
                self._ask("law", lambda: self._show.set_law(chosen(law)), event.client_id)

        @self._second.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                law = event.target.value
                self._ask("second law", lambda: self._show.set_second(chosen(law)), event.client_id)

        def follow() -> None:
            speed, rotation = _within(v.value, _SPEEDS), math.radians(_within(w.value, _ROTATIONS))
            gain_now = _within(gain.value, _GAINS)
            self._show.set_servo(replace(self._show.config, gain=gain_now, max_v=speed, max_w=rotation))

        for slider in (gain, v, w):

            @slider.on_update
            async def _(event: Any) -> None:
                if event.client is not None:
                    self._ask("gain and limits", follow, event.client_id)

    def _build_disturbances(self, gui: Any) -> None:
        with gui.add_folder("Disturbances"):
            boxes = {kind: gui.add_checkbox(kind, False) for kind in KINDS}

        def disturb() -> None:
            self._show.disturb(frozenset(kind for kind, box in boxes.items() if box.value))

        for box in boxes.values():

            @box.on_update
            async def _(event: Any) -> None:
                if event.client is not None:
                    self._ask("disturbances", disturb, event.client_id)

    def update(self) -> None:
        """Show what has changed."""
        if self._show.paused != self._paused:
            self._paused = self._show.paused
            self._pause.label = "Go on" if self._paused else "Pause"

    def settle(self) -> None:
        """Where nothing is asked for any more, the lists show the laws that are: one that could not be taken is shown no longer."""
        tracks = tuple(self._show.tracks)
        self._law.value = tracks[0].law
        self._second.value = tracks[1].law if len(tracks) > 1 else NO_LAW


def _within(value: float, span: tuple[float, float, float]) -> float:
    """A number of a slider, which a browser may send as it likes."""
    low, high, _ = span
    return min(high, max(low, value)) if math.isfinite(value) else low
