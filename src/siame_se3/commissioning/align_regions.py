"""Regions of the reference that count, or that are left out, as a person gives them: in the pixels of the file as a viewer shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from siame_se3.commissioning.align_picture import Picture, turned
from siame_se3.errors import InputError

_LEAST = 0.02  # share of the reference that has to be left


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture: left, top, width, height, each a number and whether it is in percent of that side (else in pixels)."""

    values: tuple[tuple[float, bool], ...]
    text: str

    @staticmethod
    def parse(text: str, setting: str) -> Region:
        """Of 'left,top,width,height'.

        Raises:
            InputError: something else.
        """
        try:
            values = tuple(
                (float(part.strip().removesuffix("%")), part.strip().endswith("%")) for part in text.split(",")
            )
        except ValueError:
            values = ()
        fits = len(values) == 4 and all(math.isfinite(v) and v >= 0 for v, _ in values)
        if not fits or not (values[2][0] > 0 and values[3][0] > 0):
            raise InputError(
                f"region {text}: give left,top,width,height in pixels, or each in %, as 10%,0,50%,480", setting
            )
        return Region(values, text)

    def fill(self, mask: np.ndarray, value: int, setting: str) -> None:
        """Set it in a mask (h, w) of the whole picture's size.

        Raises:
            InputError: it is outside the picture.
        """
        h, w = mask.shape
        left, top, width, height = (
            v * n / 100 if percent else v for (v, percent), n in zip(self.values, (w, h, w, h), strict=True)
        )
        if left >= w or top >= h:
            raise InputError(f"region {self.text}: outside the reference of {w} x {h} px; give one inside", setting)
        rows = slice(round(top), max(round(top) + 1, round(top + height)))
        mask[rows, round(left) : max(round(left) + 1, round(left + width))] = value


@dataclass(frozen=True)
class Regions:
    """What counts of a reference: inside any of `roi` (everywhere where there is none), outside all of `ignore`."""

    roi: tuple[Region, ...]
    ignore: tuple[Region, ...]

    @staticmethod
    def parse(roi: tuple[str, ...], ignore: tuple[str, ...]) -> Regions:
        """Of their texts.

        Raises:
            InputError: as `Region.parse`.
        """
        return Regions(
            tuple(Region.parse(text, "roi") for text in roi), tuple(Region.parse(text, "ignore") for text in ignore)
        )

    def mask(self, size: tuple[int, int], quarters: int = 0) -> np.ndarray:
        """255 where a picture counts, 0 where it does not (h, w), uint8, in its raster.

        Args:
            size: of the file's raster (height, width) [px].
            quarters: see `Picture`: regions are those of the picture as it is turned upright.

        Raises:
            InputError: regions outside the picture.
        """
        upright = size[::-1] if quarters % 2 else size
        mask = np.full(upright, 0 if self.roi else 255, np.uint8)
        for region in self.roi:
            region.fill(mask, 255, "roi")
        for region in self.ignore:
            region.fill(mask, 0, "ignore")
        return np.ascontiguousarray(turned(mask, -quarters))

    def counting(self, picture: Picture, mask: np.ndarray | None = None) -> np.ndarray:
        """1 where a picture counts, 0 where it does not (h, w), float32, at the size that it is compared at.

        Args:
            picture: the reference.
            mask: as `mask` gives it, and the source has made of it what it made of the picture; default: that of the picture's own raster.

        Raises:
            InputError: regions outside the picture, or too little of it left.
        """
        if not (self.roi or self.ignore):
            return np.ones(picture.grey.shape, np.float32)
        mask = self.mask(picture.size, picture.quarters) if mask is None else mask
        if picture.rectifies is not None:
            mask = picture.rectifies.rectify(mask)
        small = cv2.resize(mask, picture.grey.shape[::-1], interpolation=cv2.INTER_AREA)
        counts = (small >= 128).astype(np.float32)
        if float(counts.mean()) < _LEAST:
            raise InputError("reference: the regions leave next to nothing of it; give larger ones", "roi", "ignore")
        return counts
