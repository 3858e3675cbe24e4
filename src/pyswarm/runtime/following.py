"""Commits as they are installed here, for a client that follows events: the swarm may come and go.

The client's stream outlives membership: on a node in no swarm nothing comes, and once it founds or
joins one its changes do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Self

import trio

from pyswarm.api.asks import Follow
from pyswarm.api.hosting import HostRefusal
from pyswarm.env import Clock
from pyswarm.errors import Compacted
from pyswarm.runtime.front import Member
from pyswarm.store import Commit, Store, Watch

NO_SWARM_PAUSE_S = 1.0
"""How soon a stream that was opened outside a swarm notices that there is one."""


class Following:
    """An asynchronous iterator over commits. Raises ``Compacted`` for a reader that is too slow,
    and after a snapshot replaced the store."""

    def __init__(self, member: Callable[[], Member], ask: Follow, clock: Clock) -> None:
        self._member = member
        self._ask = ask
        self._clock = clock
        self._since = ask.since
        self._until = math.inf if ask.until is None else ask.until
        self._store: Store | None = None
        self._watch: Watch | None = None
        self._ready: deque[Commit] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Commit:
        while not self._ready:
            member = self._current()
            self._take(member)
            if self._ready:
                break
            left = self._until - self._clock.realtime()
            if left <= 0:
                raise StopAsyncIteration
            with trio.move_on_after(left):
                if member is None:
                    await trio.sleep(NO_SWARM_PAUSE_S)
                else:
                    await member.node.wait_changed()
        commit = self._ready.popleft()
        if commit.stamp > self._until:
            raise StopAsyncIteration
        return commit

    async def aclose(self) -> None:
        """Let go of the place in the history."""
        self._drop()

    def _current(self) -> Member | None:
        """The node while it is a manager that runs."""
        try:
            member = self._member()
        except HostRefusal:
            member = None
        if member is None or member.node.halted is not None:
            self._drop()
            return None
        return member

    def _take(self, member: Member | None) -> None:
        if member is None:
            return
        store = member.node.store
        if self._watch is None:
            after = store.version if self._since is None else store.compacted
            self._store, self._watch = store, store.watch(after, self._ask.kinds)
        elif store is not self._store:
            raise Compacted("a snapshot replaced the store", hint="list the objects and watch anew")
        begin = self._since or 0.0
        self._ready.extend(one for one in self._watch.take() if one.stamp >= begin)

    def _drop(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = self._store = None
