"""A node as the front door's verbs see it: ask, look, wait; wherever the node's loop runs.

Nothing outside this module and ``founding`` touches the running node directly. A verb that looks
hands over a *question*, a function of the store: it is asked in the node's own loop, between two
commits, so it sees one version of everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from pyswarm.errors import DeadlineExceeded, FailedPrecondition, SwarmError, Unavailable
from pyswarm.model import Sealed
from pyswarm.node.lookup import find, list_objects
from pyswarm.node.machine import NOT_A_MANAGER
from pyswarm.runtime.disk import Disk
from pyswarm.runtime.front.logdesk import LogDesk
from pyswarm.runtime.front.loops import Loop
from pyswarm.runtime.images import ImageResolver
from pyswarm.runtime.node import REQUEST_TIMEOUT_S, RunningNode
from pyswarm.runtime.storage import StateDirectory
from pyswarm.runtime.waiter import checked_timeout
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Store

T = TypeVar("T")

READ_TIMEOUT_S = REQUEST_TIMEOUT_S
"""How long a read waits for a leader that can vouch for it."""


class Member:
    """One running node and the loop it runs in."""

    def __init__(self, node: RunningNode, loop: Loop, nursery: trio.Nursery, disk: Disk) -> None:
        self.node = node
        self.loop = loop
        self.nursery = nursery
        """For what goes on in the background, in the node's loop, as long as it runs."""
        self.desk = LogDesk(node, nursery)
        self.images: ImageResolver | None = None
        """Who is asked what a tag stands for, when a service's image is set."""
        self._disk = disk

    # -- who

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self.node.machine.node_id

    @property
    def addr(self) -> str:
        """Where other nodes find this one."""
        return self.node.machine.config.addr

    @property
    def is_leader(self) -> bool:
        """Whether this node leads now."""
        return self.node.machine.is_leader

    @property
    def make_scheduler(self) -> MakeScheduler:
        """What this node places with."""
        return self.node.machine.config.make_scheduler

    async def crash(self) -> None:
        """Stop at once, as if the process had died: for tests of failure."""

        async def crash() -> None:
            self.node.crash()

        await self.loop.run(crash)

    async def wait_stopped(self) -> str:
        """Until the node has stopped by itself; why."""
        return (await self.loop.run(self.node.wait_halted)).reason

    @property
    def is_manager(self) -> bool:
        """Whether this node holds a seat now."""
        return self.node.machine.manager is not None

    @property
    def directory(self) -> StateDirectory:
        """Where the node keeps what it must not forget; to be used in the node's loop."""
        return self._disk.directory

    async def forget(self) -> None:
        """Once the node has left: nothing of the swarm stays on its disk."""
        await self.loop.run(self._disk.forget)

    # -- asking for changes

    async def request(self, body: Any, *, timeout: float | None = None) -> Any:
        """Have a command done by the leader; its typed error is raised here."""
        limit = REQUEST_TIMEOUT_S if timeout is None else timeout
        return await self.loop.run(self._request, body, limit)

    async def _request(self, body: Any, timeout_s: float) -> Any:
        return await self.node.request(body, timeout_s=timeout_s)

    async def call(self, body: Any) -> Any:
        """Ask the machine itself for something that is no command."""
        return await self.loop.run(self.node.call, body)

    async def seal(self, data: bytes) -> Sealed:
        """Seal a payload before it enters a request; once the swarm's key is known here."""

        async def seal() -> Sealed:
            await self.node.barrier()
            return self.node.seal(data)

        return await self.loop.run(seal)

    async def open_sealed(self, sealed: Sealed) -> bytes:
        """Open a payload; for managers only."""

        async def unseal() -> bytes:
            return self.node.open_sealed(sealed)

        return await self.loop.run(unseal)

    # -- looking

    async def read(self, question: Callable[[Store], T], *, stale: bool = False) -> T:
        """Ask the store. Linearizable, unless ``stale``: then this member's own state at once."""

        async def ask() -> T:
            if stale:
                return question(self.node.store)
            return question(await self.node.barrier(timeout_s=READ_TIMEOUT_S))

        return await self.loop.run(ask)

    async def find(self, kind: str, reference: str, *, stale: bool = False) -> Any:
        """The one object meant by an id, a name or a unique prefix of an id."""
        if not isinstance(reference, str):
            reference = str(getattr(reference, "id", reference))
        return await self.read(
            lambda store: find(store, kind, reference, self_id=self.node_id), stale=stale
        )

    async def list(self, kind: str, filters: dict[str, Any], *, stale: bool = False) -> list[Any]:
        """The objects of a kind that meet every filter."""
        plain = {key: getattr(value, "id", value) for key, value in filters.items()}
        return await self.read(
            lambda store: list_objects(store, kind, plain, self_id=self.node_id), stale=stale
        )

    # -- waiting

    async def wait_until(
        self,
        look: Callable[[Store], T | None],
        *,
        timeout: float | None = None,
        late: Callable[[], SwarmError] | None = None,
    ) -> T:
        """Look after each commit until ``look`` finds something; raise ``late()`` after
        ``timeout`` seconds (default: ``DeadlineExceeded``)."""

        async def wait() -> T:
            while (found := look(self.node.store)) is None:
                self.check_alive()
                await self.node.wait_changed()
            return found

        return await self.loop.run(limited, wait, timeout, late)

    def check_alive(self) -> None:
        """Raise ``Unavailable`` if the node has stopped: nothing will change here any more."""
        if self.node.halted is not None:
            raise Unavailable(f"this node has stopped: {self.node.halted.reason}")

    def check_manager(self) -> None:
        """Raise ``FailedPrecondition`` on a worker."""
        if not self.is_manager:
            raise FailedPrecondition(NOT_A_MANAGER)


async def limited(
    wait: Callable[[], Awaitable[T]],
    timeout: float | None,
    late: Callable[[], SwarmError] | None = None,
) -> T:
    """``await wait()`` for at most ``timeout`` seconds (None: for ever). Raises ``late()``, and
    ``InvalidArgument`` for what is no time-out."""
    if timeout is None:
        return await wait()
    with trio.move_on_after(checked_timeout(timeout)) as scope:
        return await wait()
    assert scope.cancelled_caught
    raise late() if late is not None else DeadlineExceeded(f"not within {timeout:g} s")
