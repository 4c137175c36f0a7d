"""The centred part of an image, in whole pixels: one rule for cameras and for pixels."""

from __future__ import annotations


def square_box(height: int, width: int) -> tuple[int, int, int]:
    """(top, left, side) [px] of the largest centred square; of an odd rest the larger half is on the right and below."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side
