"""What happened to nodes, for structures that catch up when they are used next.

Orders of nodes are kept for many shapes and services at once. Telling each of them of every change
would make a change as dear as there are orders. So a change is written down once, and each reader
remembers how far it has read. The journal is bounded: a reader that stayed away too long is told
so and builds itself anew, which costs no more than reading so many changes would have.
"""

from __future__ import annotations

ENTRIES_MIN = 1024  # what a journal keeps at least, however few nodes there are


class Journal:
    """Indexes of changed nodes, oldest first, with a bounded memory."""

    __slots__ = ("entries", "start")

    def __init__(self) -> None:
        self.entries: list[int] = []
        self.start = 0

    @property
    def end(self) -> int:
        """The position after the last entry: where a reader that is up to date stands."""
        return self.start + len(self.entries)

    def append(self, index: int) -> None:
        self.entries.append(index)

    def trim(self, nodes: int) -> None:
        """Forget all if there is more to read than it would cost to look at every node."""
        if len(self.entries) > ENTRIES_MIN + 2 * nodes:
            self.start += len(self.entries)
            self.entries.clear()

    def since(self, position: int) -> list[int] | None:
        """What changed since ``position``, each node once; None if that is forgotten."""
        if position < self.start:
            return None
        entries = self.entries[position - self.start :]
        return list(dict.fromkeys(entries)) if len(entries) > 1 else entries
