"""What happened: one object's change, and everything that one entry changed.

Both are named tuples, the cheapest immutable values Python has, because a busy turn makes them by
the thousand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pyswarm.machine import Because


class Change(NamedTuple):
    """One object before and after. ``old`` None = created, ``new`` None = deleted."""

    kind: str
    old: Any
    new: Any
    because: Because

    @property
    def id(self) -> str:
        """The id of the object."""
        found: str = (self.old if self.new is None else self.new).id
        return found

    def __repr__(self) -> str:
        verb = "created" if self.old is None else "deleted" if self.new is None else "updated"
        return f"<{self.kind} {self.id} {verb}: {self.because}>"


class Commit(NamedTuple):
    """The net changes of one entry: each object once. ``stamp`` is its cluster time (seconds)."""

    version: int
    stamp: float
    changes: tuple[Change, ...]
