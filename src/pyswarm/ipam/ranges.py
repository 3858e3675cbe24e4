"""A set of integers as disjoint, sorted, half-open ranges.

This is the free list of a pool: what has never been given is one range however large, so the
16 million subnets of a pool cost as much as one, and finding the lowest free one does not look at
those that are taken. Adding and removing bisects; the lists are flat integers, and moving their
tail is a ``memmove``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Ranges:
    """Integers as ranges ``[low, high)``; neighbours that touch are merged."""

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []

    def add(self, low: int, high: int) -> None:
        """Put ``[low, high)`` in; what is in already stays."""
        if low >= high:
            return
        lows, highs = self._lows, self._highs
        first = bisect_left(highs, low)  # the first range that ends at or after low
        after = bisect_right(lows, high)  # one past the last that starts at or before high
        if first < after:
            low = min(low, lows[first])
            high = max(high, highs[after - 1])
        lows[first:after] = (low,)
        highs[first:after] = (high,)

    def remove(self, low: int, high: int) -> None:
        """Take ``[low, high)`` out; what is not in is no matter."""
        if low >= high:
            return
        lows, highs = self._lows, self._highs
        first = bisect_right(highs, low)  # the first range that ends after low
        after = bisect_left(lows, high)  # one past the last that starts before high
        if first >= after:
            return
        if first + 1 == after and lows[first] == low and highs[first] > high:
            lows[first] = high  # the common case: the lowest of a range is taken
            return
        keep_lows = [lows[first]] if lows[first] < low else []
        keep_highs = [low] if keep_lows else []
        if highs[after - 1] > high:
            keep_lows.append(high)
            keep_highs.append(highs[after - 1])
        lows[first:after] = keep_lows
        highs[first:after] = keep_highs

    def lowest(self, low: int, high: int) -> int | None:
        """The lowest member in ``[low, high)``."""
        at = bisect_right(self._highs, low)
        if at == len(self._lows):
            return None
        found = max(self._lows[at], low)
        return found if found < high else None

    def highest(self, low: int, high: int) -> int | None:
        """The highest member in ``[low, high)``."""
        at = bisect_left(self._lows, high) - 1
        if at < 0:
            return None
        found = min(self._highs[at], high) - 1
        return found if found >= low else None

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._highs, number)
        return at < len(self._lows) and self._lows[at] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._lows, self._highs, strict=True)

    def __len__(self) -> int:
        """How many ranges there are (not how many members)."""
        return len(self._lows)

    def count(self) -> int:
        """How many members there are."""
        return sum(self._highs) - sum(self._lows)

    def __repr__(self) -> str:
        return f"<Ranges {' '.join(f'{low}-{high - 1}' for low, high in self)}>"
