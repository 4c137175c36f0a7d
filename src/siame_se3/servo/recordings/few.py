"""A few of any number of things, evenly spread over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Few(Generic[T]):
    """Keeps every one, then every second, every fourth ... so that there are never 2 `most` of them.

    Attributes:
        kept: those that are kept, with their numbers, from 0.
        count: how many there were.
    """

    def __init__(self, most: int) -> None:
        self._most, self._every = most, 1
        self.kept: list[tuple[int, T]] = []
        self.count = 0

    def add(self, make: Callable[[], T]) -> None:
        """The next one; it is made if it is kept."""
        if self.count % self._every == 0:
            self.kept.append((self.count, make()))
        self.count += 1
        if len(self.kept) >= 2 * self._most:
            self._every *= 2
            self.kept = self.kept[::2]

    def spread(self) -> list[tuple[int, T]]:
        """About `most` of those that are kept, the first among them."""
        return self.kept[:: max(1, round(len(self.kept) / self._most))]
