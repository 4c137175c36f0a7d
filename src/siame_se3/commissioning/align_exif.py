"""What a photo's EXIF says of its lens, and how far that is to be believed."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

_DIAGONAL = math.hypot(36, 24)  # of a 35 mm film's frame [mm]
_SENSORS = 3.0, 60.0  # diagonals that sensors have, from a phone's to medium format [mm]
_WHOLE = 4 / 3, 3 / 2  # ratios of sides that sensors have; others are cut from them
ASPECT = 0.01  # by which a ratio of sides may differ from another one
GUESSED = 0.25  # standard deviation of a focal length that is a guess, as a share of it
_KNOWN, _CUT = (
    0.03,
    0.15,
)  # of one that EXIF says: of a whole sensor, and where the entries may be those before a part was cut out
_TAGS = {
    "film": 0xA405,  # FocalLengthIn35mmFilm
    "focal": 0x920A,
    "resolution": 0xA20E,  # FocalPlaneXResolution
    "unit": 0xA210,
    "width": 0xA002,  # PixelXDimension
    "height": 0xA003,
    "zoom": 0xA404,  # DigitalZoomRatio; 0 for none
}


@dataclass(frozen=True)
class Focal:
    """A focal length.

    Attributes:
        share: over the picture's diagonal.
        spread: its standard deviation, as a share of it.
        zoom: digital zoom, at least 1.
    """

    share: float
    spread: float = _KNOWN
    zoom: float = 1.0

    @property
    def known(self) -> str:
        """Where it is from, in words."""
        if self.zoom > 1:
            return f"EXIF, with a digital zoom of {self.zoom:.3g} that may be in it or not"
        return "EXIF, of a picture that may be a part" if self.spread > _KNOWN else "EXIF"


def focal_by_exif(data: bytes, size: tuple[int, ...]) -> Focal | None:
    """The focal length that a picture's EXIF says; None where it says none, or the picture was cropped since.

    Cameras do not agree on whether their entries have a digital zoom in them: the middle of both is taken then, on a scale of ratios, and is a
    guess. Pictures that are not 4:3 or 3:2 are parts of a sensor, and the entries often the whole one's.

    Args:
        data: the file.
        size: of the picture (height, width), upright or not [px].
    """
    number = _entries(data)
    if number is None:
        return None
    aspect = max(size) / min(size)
    sides = sorted((number["width"], number["height"]))
    if sides[0] > 0 and abs(sides[1] / sides[0] / aspect - 1) > ASPECT:
        return None  # cropped after it was taken
    film, focal, resolution = number["film"], number["focal"], number["resolution"]
    share = film / _DIAGONAL
    if film <= 0 and min(focal, resolution, sides[0]) > 0:
        diagonal = math.hypot(*sides) / (resolution / {3.0: 10.0, 4.0: 1.0}.get(number["unit"], 25.4))  # [mm]
        if not _SENSORS[0] <= diagonal <= _SENSORS[1]:
            return None  # no sensor: the sides were written again when the picture was made smaller, the resolution was not
        share = focal / diagonal
    if not 0.1 < share < 50:
        return None
    zoom = max(1.0, number["zoom"])
    if zoom > 1:
        return Focal(share * math.sqrt(zoom), max(GUESSED, math.log(zoom) / 2), zoom)
    whole = any(abs(aspect / ratio - 1) <= ASPECT for ratio in _WHOLE)
    return Focal(share, _KNOWN if whole else _CUT)


def _entries(data: bytes) -> dict[str, float] | None:
    """Of `_TAGS`, 0 for none; None where there is no EXIF that can be read."""
    import warnings

    from PIL import Image

    from siame_se3.images.headers import PILLOW_FORMATS

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as picture:
            tags = picture.getexif().get_ifd(0x8769)
            return {name: _number(tags.get(tag)) for name, tag in _TAGS.items()}
    except Exception:  # EXIF may hold anything, and Pillow's readers raise what they like: the lens is not known then
        return None


def _number(value: object) -> float:
    """Of an EXIF entry; 0 for none."""
    try:
        found = float(value)  # type: ignore[arg-type]  # Pillow gives int, a rational, bytes or what the file says
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return found if math.isfinite(found) else 0.0
