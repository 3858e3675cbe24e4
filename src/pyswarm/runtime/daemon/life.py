"""One node in the background: from its preparation to its end, whoever waits meanwhile.

Preparing may take long (a join that nobody answers), and the node outlives the call that began it.
A :class:`Life` runs in the host's nursery; callers wait for its beginning or its end, and may stop
waiting at any point without changing what it does.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from pyswarm.errors import SwarmError, Unavailable
from pyswarm.node.manager import MANAGERS
from pyswarm.runtime.front.entering import at_once, entered
from pyswarm.runtime.front.founding import Prepare, Prepared, Settings
from pyswarm.runtime.front.member import Member

FAILED, LEFT, STOPPED = "failed", "left", "stopped"
"""How a life ends: by an error, by leaving its swarm, because it was told to."""


RETRY_S = 1.0
"""Between two tries to join when no manager answers; each takes its own time beside."""


class Life:
    """One node of this host."""

    def __init__(
        self,
        settings: Settings,
        prepare: Prepare,
        *,
        on_begin: Callable[[Member], None],
        on_end: Callable[[Life, Member | None], None],
    ) -> None:
        self._settings = settings
        self._prepare = prepare
        self._on_begin = on_begin
        self._on_end = on_end
        self._began = trio.Event()
        self._stop = trio.Event()
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self.has_begun = False
        """Whether there was a node at all."""
        self.member: Member | None = None
        """The node, once it runs and until it has stopped."""
        self.reason = ""
        """Why it ended: ``left``, ``removed``, ``stopped``, ``failed``, ``crashed``."""
        self.error: SwarmError | None = None

    async def run(self) -> None:
        """Prepare, run, and end. Raises nothing but what is a bug."""
        try:
            with self._scope:
                await self._live()
        except SwarmError as error:
            self.error, self.reason = error, FAILED
        finally:
            member, self.member = self.member, None
            self.reason = self.reason or STOPPED
            self._ended.set()
            self._began.set()
            self._on_end(self, member)

    async def _live(self) -> None:
        async with entered(self._settings, self._prepare, at_once) as member:
            self.member, self.has_begun = member, True
            self._on_begin(member)
            self._began.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._halted, member, nursery.cancel_scope)
                await self._stop.wait()
                nursery.cancel_scope.cancel()
            halted = member.node.halted
            if halted is not None:
                self.reason, self.error = halted.reason, halted.error

    async def _halted(self, member: Member, scope: trio.CancelScope) -> None:
        """A node that left is held until it is told to end: its disk is still to be emptied."""
        if (await member.node.wait_halted()).reason != LEFT:
            scope.cancel()

    async def wait_began(self) -> Member:
        """The node, running. Raises what preparing it raised."""
        await self._began.wait()
        if self.member is None:
            raise self.error or Unavailable("the node was stopped before it began")
        return self.member

    async def end(self) -> None:
        """Stop the node cleanly, or its preparation at once; until it is over."""
        self._stop.set()
        if not self._began.is_set():
            self._scope.cancel()
        await self._ended.wait()


def insisting(prepare: Prepare) -> Prepare:
    """Join again and again while nobody answers. What a swarm answers is an answer, also that it
    has no leader."""

    async def insist() -> Prepared:
        while True:
            try:
                return await prepare()
            except Unavailable as error:
                if MANAGERS in error.details:
                    raise
            await trio.sleep(RETRY_S)

    return insist
