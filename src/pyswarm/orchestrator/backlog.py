"""What is still to be looked at: each key once, the smallest first.

Reconcilers take up what they have noted in the order of the keys, so that nothing depends on when
it was noted, and stop where the turn has no room left. Sorting all that is noted would cost every
such turn what the whole backlog is long (all tasks, after a rack went down); a heap costs what is
taken up. What is noted is put into it when the first key is asked for: many at once by sorting,
few by pushing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)

_FEW = 8
"""Up to this fraction of the heap is pushed; more is sorted in, which is cheaper then."""

_SLACK = 64
"""Stale entries tolerated beside as many live ones before the heap is made anew."""


class Backlog(Generic[K]):
    """A set of keys that gives back the smallest first."""

    __slots__ = ("_fresh", "_heap", "_noted")

    def __init__(self) -> None:
        self._noted: dict[K, None] = {}
        self._heap: list[K] = []  # noted keys, and dropped ones, which are skipped
        self._fresh: list[K] = []  # noted since, not in the heap yet

    def add(self, key: K) -> None:
        """Note a key; once is enough."""
        if key not in self._noted:
            self._noted[key] = None
            self._fresh.append(key)

    def update(self, keys: Iterable[K]) -> None:
        """Note several."""
        for key in keys:
            self.add(key)

    def discard(self, key: K) -> None:
        """It need not be looked at any more."""
        self._noted.pop(key, None)

    def first(self) -> K | None:
        """The smallest key, which stays; None when there is none."""
        if self._fresh:
            self._merge()
        heap, noted = self._heap, self._noted
        while heap:
            if heap[0] in noted:
                return heap[0]
            heappop(heap)
        return None

    def pop(self) -> K | None:
        """Take the smallest key; None when there is none."""
        key = self.first()
        if key is not None:
            heappop(self._heap)
            del self._noted[key]
        return key

    def _merge(self) -> None:
        heap, fresh = self._heap, self._fresh
        if len(heap) + len(fresh) > 2 * len(self._noted) + _SLACK:
            heap[:] = sorted(self._noted)
        elif len(fresh) > len(heap) // _FEW:
            heap += fresh
            heap.sort()
        else:
            for key in fresh:
                heappush(heap, key)
        fresh.clear()

    def __contains__(self, key: K) -> bool:
        return key in self._noted

    def __len__(self) -> int:
        return len(self._noted)

    def __iter__(self) -> Iterator[K]:
        """The keys in order."""
        return iter(sorted(self._noted))
