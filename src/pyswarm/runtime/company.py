"""Whether somebody has company: others who come at the same time for the same.

What is done for several together costs less for each: requests share a turn and a write to the
disk, and answers that leave together wake a client's process once. But a round of the loop passes
until the others have come, and who is alone should not wait for nobody.
"""

from __future__ import annotations

LATELY_S = 0.005
"""Who came so long ago is gone. A request takes less."""


class Company:
    """Remembers who came last, and when two met."""

    __slots__ = ("_came_at", "_last", "_met_at")

    def __init__(self) -> None:
        self._last: object = None
        self._came_at = self._met_at = float("-inf")

    def has(self, who: object, now: float) -> bool:
        """``who`` comes; whether anybody else came lately, or has just met somebody."""
        if who != self._last and now < self._came_at + LATELY_S:
            self._met_at = now
        self._last, self._came_at = who, now
        return now < self._met_at + LATELY_S
