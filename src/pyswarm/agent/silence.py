"""A node that gets no session, and when that is said.

Without a session nothing else is heard of a worker: its tasks run on, nobody counts it among those
that are ready, and it may be the only one that knows why. So it says so itself: after half a
minute, and again after pauses that double up to an hour. It is said when a round of asking ends, so
that it wakes nobody.

A manager whose line cannot be opened again yet fails without a word: then what was wrong with it
before still counts.
"""

from __future__ import annotations

from pyswarm.agent.vocabulary import SessionMissing

SAID_AFTER_SECONDS = 30.0
"""Longer than an election, and than a manager takes to start again."""
PAUSE_MAX_SECONDS = 3600.0
LOST = "connection lost"


class Silence:
    """One time without a session after the other."""

    __slots__ = ("_asked", "_last", "_pause", "_problems", "_say_at", "_since", "said")

    def __init__(self) -> None:
        self.said: SessionMissing | None = None
        """What was last said of the silence that goes on."""
        self.over()

    def over(self) -> None:
        """There is a session, or none is wanted any more."""
        self.said = None
        self._since: float | None = None
        self._say_at = self._pause = 0.0
        self._asked: dict[str, None] = {}
        self._problems: dict[str, tuple[str, bool]] = {}
        self._last = ""

    def asked(self, now: float, addr: str) -> None:
        """The manager at ``addr`` is asked for a session."""
        self._asked[addr] = None
        if self._since is None:
            self._since = now
            self._pause = SAID_AFTER_SECONDS
            self._say_at = now + self._pause

    def failed(self, addr: str, reason: str, untrusted: bool = False) -> None:
        """It gave none. ``reason`` may be "": as before. ``untrusted``: one of the two ends does
        not trust the other's certificate."""
        if self._since is None:
            return
        if reason or addr not in self._problems:
            self._problems[addr] = (reason or LOST, untrusted)
        self._last = addr

    def due(self, now: float) -> SessionMissing | None:
        """What is to be said now, if anything."""
        if self._since is None or now < self._say_at or not self._last:
            return None
        self._pause = min(2 * self._pause, PAUSE_MAX_SECONDS)
        self._say_at = now + self._pause
        distrust = [one for one in self._problems.values() if one[1]]
        reason, untrusted = distrust[-1] if distrust else self._problems[self._last]
        self.said = SessionMissing(now - self._since, tuple(self._asked), reason, untrusted)
        return self.said
