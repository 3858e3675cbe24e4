"""Who came last, of those that are still there.

Addresses and ports are searched for from the one after the last that was given. That place is not
stored: it is the successor of what the most recently created holder has. A holder that is deleted
is not one any more, so the question is asked of the holders that are left. New holders come at the
end nearly always, and what is dropped is skipped when it is met.
"""

from __future__ import annotations

from bisect import insort
from typing import Generic, TypeVar

V = TypeVar("V")
Age = tuple[float, int, str, int, str]
"""When a holder was created, and what orders those of one moment: kind, service, slot, id."""

_SLACK = 64
"""Stale entries tolerated beside as many live ones before the list is made anew."""


class Recent(Generic[V]):
    """Holders by age, each with a value."""

    __slots__ = ("_ages", "_order", "_values")

    def __init__(self) -> None:
        self._ages: dict[str, Age] = {}
        self._values: dict[str, V] = {}
        self._order: list[tuple[Age, str]] = []

    def set(self, holder: str, age: Age, value: V) -> None:
        """``holder``, created at ``age``, has ``value``."""
        self._values[holder] = value
        if self._ages.get(holder) == age:
            return
        self._ages[holder] = age
        insort(self._order, (age, holder))
        if len(self._order) > 2 * len(self._ages) + _SLACK:
            self._order = sorted((old, known) for known, old in self._ages.items())

    def drop(self, holder: str) -> None:
        """``holder`` is gone, or has nothing any more."""
        if self._ages.pop(holder, None) is not None:
            del self._values[holder]

    def last(self) -> V | None:
        """What the most recently created holder has; None when there is none."""
        while self._order:
            age, holder = self._order[-1]
            if self._ages.get(holder) == age:
                return self._values[holder]
            self._order.pop()
        return None
