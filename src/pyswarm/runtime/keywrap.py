"""Autolock on the disk's side: the directory's keys follow the swarm's unlock key.

The machine says which key wraps them now (``WrapKeys``); the last word counts, what it replaced is
not done any more. A full disk is tried again until there is room. When the node stops, what is
still to be done is tried once more: whoever is shown a new unlock key and stops the node at once
will need that key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from pyswarm.errors import SwarmError
from pyswarm.node import Observed, WrapKeys
from pyswarm.runtime.disk import Disk
from pyswarm.runtime.storage import DiskFull
from pyswarm.secretstore import UnlockKey

RETRY_S = 1.0
"""How long to wait for room on the disk."""

LAST_TRY_S = 5.0
"""How long a node that stops may take to write one small file."""


class KeyWrapper:
    """Wraps one node's keys, in the background of its loop."""

    def __init__(
        self, disk: Disk, answer: Callable[[bool], None], observe: Callable[[Observed], None]
    ) -> None:
        self._disk = disk
        self._answer = answer
        self._observe = observe
        self._wanted: WrapKeys | None = None
        self._news = trio.Event()
        self._settled = trio.Event()
        self._settled.set()

    def want(self, effect: WrapKeys) -> None:
        """From now on this key; never waits."""
        self._wanted = effect
        self._news.set()
        if self._settled.is_set():
            self._settled = trio.Event()

    async def settled(self) -> None:
        """Until the last word is on disk."""
        await self._settled.wait()

    @asynccontextmanager
    async def running(self, is_clean: Callable[[], bool]) -> AsyncIterator[None]:
        """Work as long as the block lasts; at its end finish, if the node stops cleanly."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
                if is_clean():
                    with trio.CancelScope(shield=True), trio.move_on_after(LAST_TRY_S):
                        await self._wrap()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if not await self._wrap():
                await trio.sleep(RETRY_S)
                self._news.set()

    async def _wrap(self) -> bool:
        """True unless it has to be tried again."""
        effect = self._wanted
        if effect is None:
            return True
        key = UnlockKey(effect.unlock_key) if effect.unlock_key else None
        try:
            needs_snapshot = await self._disk.wrap_keys(key, effect.version)
        except DiskFull as error:
            self._say(error, "warning")
            return False
        except SwarmError as error:
            self._say(error, "error")  # another try would end alike; the next life begins anew
            needs_snapshot = False
        if self._wanted is not effect:
            return await self._wrap()
        self._wanted = None
        self._settled.set()
        self._answer(needs_snapshot)
        return True

    def _say(self, error: SwarmError, level: str) -> None:
        self._observe(Observed("keys.failed", {"error": str(error)}, level))
