"""Numbers handed out one after the other, the freed ones late.

Swarm gives addresses, dynamic ports and VXLAN ids *serially*: the search for a free number starts
after the last one handed out and wraps at the end. A peer that still believes in a number's old
holder then meets its new one as late as possible.

The numbers taken are bits of integers of 1,024, in a dictionary by chunk: a chunk nobody uses does
not exist, so a /8 or an IPv6 /64 costs nothing until it is used, and 100,000 addresses fit in some
tens of kilobytes. The chunks that have room are :class:`Ranges`, so full ones are skipped at
once, and a search looks at two chunks at most before it wraps. A number asked for by name does not
move the cursor (as in Docker): it says nothing about where the search stands.
"""

from __future__ import annotations

from .journal import Journal
from .ranges import Ranges

CHUNK = 1024
"""Bits a chunk: an operation copies 128 bytes, and a full /16 is 64 chunks."""
_FULL = (1 << CHUNK) - 1


class Serial:
    """The numbers of a window ``[low, high)`` by turn; any number by name."""

    __slots__ = ("_count", "_cursor", "_journal", "_open", "_taken", "high", "low")

    def __init__(self, low: int, high: int, journal: Journal | None = None) -> None:
        assert 0 <= low <= high
        self.low = low
        self.high = high
        self._cursor = low
        self._count = 0
        self._taken: dict[int, int] = {}
        self._open = Ranges()  # the chunks of the window that have room
        self._open.add(low // CHUNK, -(-high // CHUNK))
        self._journal = journal if journal is not None else Journal()

    @property
    def cursor(self) -> int:
        """Where the next search starts."""
        return self._cursor

    @cursor.setter
    def cursor(self, number: int) -> None:
        self._journal.note(self._set_cursor, self._cursor)
        self._set_cursor(number)

    def _set_cursor(self, number: int) -> None:
        self._cursor = number if self.low <= number < self.high else self.low

    def take_next(self) -> int | None:
        """The next free number from the cursor on, wrapping; None when all are taken."""
        found = self._find(self._cursor, self.high)
        if found is None:
            found = self._find(self.low, self._cursor)
            if found is None:
                return None
        self._set(found)
        self._journal.note(self._untake_next, found, self._cursor)
        self._set_cursor(found + 1)
        return found

    def take(self, number: int) -> bool:
        """Take this one, inside the window or not; False when it is taken."""
        if number in self:
            return False
        self._set(number)
        self._journal.note(self._clear, number)
        return True

    def give_back(self, number: int) -> bool:
        """It is free again; False when it was not taken."""
        if number not in self:
            return False
        self._clear(number)
        self._journal.note(self._set, number)
        return True

    def __contains__(self, number: int) -> bool:
        return bool(self._taken.get(number // CHUNK, 0) >> number % CHUNK & 1)

    def __len__(self) -> int:
        """How many are taken."""
        return self._count

    def _find(self, low: int, high: int) -> int | None:
        """The lowest free number in ``[low, high)``, which lies in the window."""
        chunk, offset = divmod(low, CHUNK)
        free = ~self._taken.get(chunk, 0) >> offset  # infinitely many ones above the chunk
        found = low + (free & -free).bit_length() - 1
        if found >= (chunk + 1) * CHUNK:
            later = self._open.lowest(chunk + 1, -(-high // CHUNK))
            if later is None:
                return None
            free = ~self._taken.get(later, 0)
            found = later * CHUNK + (free & -free).bit_length() - 1
        return found if found < high else None

    def _set(self, number: int) -> None:
        chunk, offset = divmod(number, CHUNK)
        bits = self._taken.get(chunk, 0) | 1 << offset
        self._taken[chunk] = bits
        self._count += 1
        if bits == _FULL:
            self._open.remove(chunk, chunk + 1)

    def _clear(self, number: int) -> None:
        chunk, offset = divmod(number, CHUNK)
        before = self._taken[chunk]
        bits = before & ~(1 << offset)
        if bits:
            self._taken[chunk] = bits
        else:
            del self._taken[chunk]
        self._count -= 1
        if before == _FULL and self.low // CHUNK <= chunk < -(-self.high // CHUNK):
            self._open.add(chunk, chunk + 1)

    def _untake_next(self, number: int, cursor: int) -> None:
        self._clear(number)
        self._cursor = cursor
