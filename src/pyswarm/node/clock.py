"""Cluster time: the leader's clock, which never goes back.

At taking office it starts at the stamp of the last entry or the wall clock, whichever is later, and
from there advances with the local monotonic clock: a wall clock that is set back, or a new leader
whose clock is behind, never makes a deadline pass twice.
"""

from __future__ import annotations


class ClusterClock:
    """Converts the node's monotonic clock to cluster time and back."""

    __slots__ = ("_offset",)

    def __init__(self, stamp: float, wall: float, now: float) -> None:
        self._offset = max(stamp, wall) - now

    def at(self, now: float) -> float:
        """Cluster time at monotonic ``now``."""
        return self._offset + now

    def monotonic(self, at: float) -> float:
        """The monotonic time of a moment of cluster time."""
        return at - self._offset
