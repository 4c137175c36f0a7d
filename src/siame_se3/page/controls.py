"""The page's controls for any robot: what it is, stop, start, goal, what was said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from siame_se3.page import style
from siame_se3.page.calls import Call
from siame_se3.page.show import Show
from siame_se3.page.track import Now


@runtime_checkable
class Ask(Protocol):
    """Asks for a call on behalf of a visitor, who is shown what goes wrong with it."""

    def __call__(self, name: str, call: Call, visitor: int | None) -> None:
        """`name` replaces what still waits under it; `visitor` is None for nobody in particular."""


class Controls:
    """See the file.

    Args:
        server: viser's.
        show: what is driven.
        ask: see `Ask`.
        drop: takes back all calls that wait.
        presence: see `Visitors`.
    """

    def __init__(
        self,
        server: Any,
        show: Show,
        ask: Ask,
        drop: Callable[[], None],
        presence: Callable[[int | None], Callable[[], str]],
    ) -> None:
        self._show, self._ask, self._drop, self._gui, self._presence = show, ask, drop, server.gui, presence
        gui = server.gui
        self._sheet = gui.add_html(style.SHEET)
        self._title = gui.add_html(style.heading(show.title))
        self._large = gui.add_html('<i class="siame-large"></i>')
        self._stop = gui.add_button(
            "STOP",
            color="red",
            icon="hand-stop",
            hint="At once, whatever is being computed; also the key Esc"
            + (", while no field has the focus" if show.simulated else ""),
        )
        self._start = gui.add_button("Start", color="green", icon="player-play")
        self._goal = gui.add_button("This view is the goal", icon="target")
        self.note = gui.add_html("", visible=False)
        self._shown: dict[str, Any] = {}
        if not show.simulated:
            session = show.tracks[0].session
            gui.add_html(style.settings_of(session.config, session.safety))
        self._key = gui.add_command("Stop", description="all that moves", hotkey="escape", icon="hand-stop")
        self._react()

    def _react(self) -> None:
        """What the buttons do. These callbacks run on viser's event loop, and do not wait: stop is called there and then."""

        @self._stop.on_click
        async def _(event: Any) -> None:
            self.stop()

        @self._key.on_trigger
        async def _(event: Any) -> None:
            self.stop()

        @self._start.on_click
        async def _(event: Any) -> None:
            visitor, pressed, absent = event.client_id, time.monotonic(), self._presence(event.client_id)
            self._ask("start", lambda: self._show.start(visitor, time.monotonic() - pressed, absent), visitor)

        @self._goal.on_click
        async def _(event: Any) -> None:
            pressed, absent = time.monotonic(), self._presence(event.client_id)
            self._ask("goal", lambda: self._show.goal_here(time.monotonic() - pressed, absent), event.client_id)

    def stop(self) -> None:
        """Stop at once; what was asked for before does not count any more."""
        self._drop()
        self._show.stop()

    def update(self, nows: list[Now], said: list[str]) -> None:
        """Show what has changed."""
        moving = any(now.moving for now in nows)
        barred = self._show.barred()
        self._set("title", self._show.title, lambda title: _content(self._title, style.heading(title)))
        self._set("start", moving or bool(barred), lambda off: setattr(self._start, "disabled", off))
        self._set("goal", moving or bool(barred), lambda off: setattr(self._goal, "disabled", off))
        self._set("note", barred, self._show_note)
        self._set("said", tuple(said), self._show_said)

    def add_lines(self) -> None:
        """Where what was said stands: after all other controls."""
        self._lines = self._gui.add_html("")

    def _show_said(self, said: tuple[str, ...]) -> None:
        self._lines.content = style.lines_of(list(said)) if said else ""

    def _show_note(self, text: str) -> None:
        self.note.content, self.note.visible = style.block(f'<span class="note">{text}</span>'), bool(text)

    def _set(self, name: str, value: Any, change: Callable[[Any], None]) -> None:
        """Change what a browser shows, only where it is another value than the last."""
        if name not in self._shown or self._shown[name] != value:
            self._shown[name] = value
            change(value)


def _content(handle: Any, text: str) -> None:
    handle.content = text
