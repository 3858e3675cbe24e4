"""A replica's ticks from trio's clock, with as few wake-ups as can be.

Most ticks of an idle member do nothing but count (``Replica.quiet_ticks``). The clock naps through
those and gives them late and together: when the nap is over, or before something happens that
depends on the time. An idle group wakes up for its heartbeats alone.
"""

from __future__ import annotations

import trio

from pyswarm.errors import InvalidArgument
from pyswarm.raft import Replica

SLACK = 0.01
"""A share of a tick by which a timer may be early, in rounding."""


class TickClock:
    """Gives ``replica`` a tick every ``tick_seconds``."""

    __slots__ = ("_given_until", "_nap", "_nap_ticks", "_replica", "_tick_seconds", "_time", "now")

    def __init__(self, replica: Replica, tick_seconds: float) -> None:
        if not tick_seconds > 0:
            raise InvalidArgument(f"tick_seconds must be positive, not {tick_seconds}")
        self._replica = replica
        self._tick_seconds = tick_seconds
        self._given_until = 0.0
        self._nap: trio.CancelScope | None = None
        self._nap_ticks = 1
        self._time = trio.current_time
        self.now = 0.0
        """trio's time when it was looked at last: no longer ago than a nap."""

    def start(self) -> None:
        """Time begins."""
        self._time = trio.lowlevel.current_clock().current_time
        self._given_until = self.now = self._time()

    async def nap(self, *, watchful: bool) -> None:
        """Until the next tick that may do something, and give it; the very next if ``watchful``."""
        self._nap_ticks = self._plan(watchful)
        with trio.CancelScope(deadline=self._end()) as self._nap:
            await trio.sleep_forever()
        self._catch_up()

    def refresh(self) -> None:
        """To be called before anything that depends on the time: the replica gets the ticks that
        are over."""
        if self._nap_ticks > 1:
            self._catch_up()

    def hurry(self, *, watchful: bool) -> None:
        """Something happened: the nap may have to end sooner."""
        if self._nap_ticks > 1:
            plan = self._plan(watchful)
            if plan < self._nap_ticks:
                self._nap_ticks = plan
                if self._nap is not None:
                    self._nap.deadline = self._end()

    def _plan(self, watchful: bool) -> int:
        """After how many ticks to look again. A follower looks one tick before its timeout: after
        a nap that was too long, it still hears what its leader said meanwhile."""
        if watchful:
            return 1
        leads = self._replica.leader == self._replica.id
        return max(1, self._replica.quiet_ticks() + leads)

    def _end(self) -> float:
        return self._given_until + self._nap_ticks * self._tick_seconds

    def _catch_up(self) -> None:
        """A loop that was kept busy does not make up for the ticks it lost: its peers would look
        silent to it for a time in which it did not listen."""
        now = self.now = self._time()
        due = int((now - self._given_until) / self._tick_seconds + SLACK)
        if due > self._nap_ticks:
            due, self._given_until = self._nap_ticks, now
        else:
            self._given_until += due * self._tick_seconds
        self._nap_ticks -= due
        for _ in range(due):
            self._replica.tick()
