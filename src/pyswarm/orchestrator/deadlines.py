"""Moments at which something is due: one for each key, the earliest first.

A heap with lazy deletion: moving or dropping a deadline leaves its old entry in the heap, where it
is skipped. Keys due at the same moment come in their own order, so nothing depends on when a
deadline was set.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", str, tuple[int, str])

_SLACK = 64
"""Stale heap entries that are tolerated beside as many live ones before the heap is made anew."""


class Deadlines(Generic[K]):
    """Keys with the cluster time at which each is due."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, K]] = []

    def set(self, key: K, at: float) -> None:
        """``key`` is due at ``at``, whatever was said before."""
        if self._at.get(key) == at:
            return
        self._at[key] = at
        heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(when, known) for known, when in self._at.items()]
            heapify(self._heap)

    def discard(self, key: K) -> None:
        """``key`` is not due any more."""
        self._at.pop(key, None)

    def pop_due(self, now: float) -> list[K]:
        """The keys due by ``now``, which are forgotten; earliest first."""
        due: list[K] = []
        while (at := self.next()) is not None and at <= now:
            _, key = heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap:
            at, key = self._heap[0]
            if self._at.get(key) == at:
                return at
            heappop(self._heap)
        return None

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def __len__(self) -> int:
        return len(self._at)
