"""How the page looks: the colours of the figures, light and dark, and the little HTML that viser has no element for."""

from __future__ import annotations

import html
import math

from siame_se3.analysis.report import small
from siame_se3.analysis.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from siame_se3.page.track import Now, Track
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.safety import Safety

GOAL = GREEN  # as in the figures
TRACKS = (BLUE, ORANGE)
TWISTS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)  # vx, vy, vz, wx, wy, wz
OLD = 2.0  # [s]: of an image that is older its age is shown
FAINT = "rgba(138, 143, 152, 0.25)"  # of grids, on white and on black

# A button that follows <i class="siame-large"> is large; what is said is in rows of equal height, so that nothing jumps.
SHEET = f"""<style>
div:has(> i.siame-large) + div button {{ height: 3.4em !important; font-size: 1.15rem; }}
.siame {{ margin: 0 0.75em 0.6em; font-size: 0.86rem; line-height: 1.5; }}
.siame b {{ font-weight: 600; }}
.siame .dot {{ display: inline-block; width: 0.75em; height: 0.75em; border-radius: 50%; margin-right: 0.45em; }}
.siame .numbers {{ font-variant-numeric: tabular-nums; opacity: 0.85; min-height: 1.5em; }}
.siame .note {{ opacity: 0.75; }}
.siame .dry {{ background: {ORANGE}; color: #000; padding: 0.2em 0.6em; border-radius: 4px; font-weight: 600; }}
.siame .names {{ display: flex; gap: 2%; text-align: center; }}
.siame .names span {{ flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.siame ol {{ margin: 0; padding-left: 1.2em; opacity: 0.85; min-height: 3em; overflow-wrap: anywhere; }}
</style>"""


def rgb(colour: str) -> tuple[int, int, int]:
    """Of '#rrggbb', 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def block(content: str) -> str:
    """HTML in the page's own style."""
    return f'<div class="siame">{content}</div>'


def dot(colour: str) -> str:
    """A disc in the colour of what it stands beside."""
    return f'<span class="dot" style="background:{colour}"></span>'


def heading(title: str) -> str:
    """The page's title; a dry run is hard to miss."""
    name, dry, rest = title.partition(", DRY RUN")
    return block(
        f"<b>{html.escape(name)}</b>" + (f' <span class="dry">DRY RUN{html.escape(rest)}</span>' if dry else "")
    )


def _number(value: float, digits: int, unit: str) -> str:
    return "" if math.isnan(value) else f"{small(value, digits)} {unit}"


def state_of(track: Track, now: Now, colour: str, paused: bool) -> str:
    """What a track does, in two rows."""
    state = "paused" if now.moving and paused else "moving" if now.moving else "at rest"
    if OLD < (age := track.image_age) < math.inf:
        state += f', <span class="dry">no image for {age:.0f} s</span>'
    sure = track.session.confidence
    numbers = (
        _number(now.sample.error_t, 1 if now.sample.error_t >= 10 else 2, "mm"),
        _number(now.sample.error_r, 2, "deg"),
        _number(now.sample.difference, 1, "grey levels"),
        "" if sure is None else f"confidence {sure:.2f}",
    )
    where = " &nbsp; ".join(filter(None, numbers)) or "no goal yet: press 'This view is the goal'"
    return block(f'{dot(colour)}<b>{html.escape(track.law)}</b>: {state}<div class="numbers">{where}</div>')


def names_of(track: Track, colour: str) -> str:
    """What the images of a track's row are."""
    return block(
        f'<div class="names"><span>{dot(GOAL)}goal</span><span>{dot(colour)}{html.escape(track.law)}</span>'
        f"<span>{dot(GREY)}difference</span></div>"
    )


def settings_of(config: ServoConfig, safety: Safety) -> str:
    """Gain and limits of a robot, which its terminal was given."""
    v, w = safety.max_twist[:3], [math.degrees(x) for x in safety.max_twist[3:]]
    limits = f"at most {max(v):g} m/s and {max(w):.3g} deg/s about each axis"
    reach = f", within {safety.reach:g} m of the start" if safety.reach else ""
    return block(f'<span class="note">gain {config.gain:g} /s; {limits}{reach}</span>')


def lines_of(lines: list[str]) -> str:
    """What was said, the newest first."""
    return block("<ol>" + "".join(f"<li>{html.escape(line)}</li>" for line in reversed(lines)) + "</ol>")
