"""The network between nodes, as the node's runtime sees it; and one without sockets.

A *transport* brings messages from node to node and vouches for the sender's identity. Messages are
immutable values; one may get lost, late or twice, never changed. :class:`MemoryNetwork` joins the
nodes of one process: it hands the values over as they are, also between the trio loops of different
threads, and can be cut and healed, which is what tests of failure want.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from pyswarm.errors import AlreadyExists, InvalidArgument
from pyswarm.model import Identity
from pyswarm.node import SessionBroken

Receive = Callable[[Identity | None, str, Any], None]
"""``receive(sender's identity, sender's address, message)``; called in any thread."""

OnBroken = Callable[[SessionBroken], None]
"""Told that the line to an address broke, or that it could not be reached, and why."""


class Endpoint(Protocol):
    """One node's place in a network."""

    @property
    def addr(self) -> str:
        """Where others reach this node."""
        ...

    def send(self, addr: str, message: Any, node_id: str = "") -> bool:
        """Hand ``message`` to the network; False if nobody is there. With a ``node_id`` it goes to
        that node or to nobody, whoever may listen at ``addr``."""
        ...

    def serving(self, on_broken: OnBroken) -> AbstractAsyncContextManager[None]:
        """Be reachable as long as the block lasts; ``on_broken`` is told of lines that broke, on
        the node's loop."""
        ...

    def close(self) -> None:
        """Nobody reaches this node any more."""
        ...


class Network(Protocol):
    """What joins nodes."""

    def attach(
        self, addr: str | None, identity: Callable[[], Identity | None], receive: Receive
    ) -> Endpoint:
        """A place at ``addr`` (None: any free one); raises ``AlreadyExists`` if it is taken."""
        ...


class MemoryNetwork:
    """Joins the nodes of one process, without sockets.

    It vouches for their identity: what a node's own machine says it is. Safe to use from several
    threads. ``cut(a, b)`` loses every message between two addresses until ``heal``.
    """

    def __init__(self) -> None:
        self._endpoints: dict[str, MemoryEndpoint] = {}
        self._cuts: dict[tuple[str, str], None] = {}
        self._next = 0

    def attach(
        self, addr: str | None, identity: Callable[[], Identity | None], receive: Receive
    ) -> MemoryEndpoint:
        """A place in this network; ``addr`` None takes ``memory:1``, ``memory:2`` …"""
        if addr is None:
            addr = self._free_addr()
        if not addr:
            raise InvalidArgument("invalid empty address")
        if addr in self._endpoints:
            raise AlreadyExists(f"address {addr} is in use in this network")
        endpoint = MemoryEndpoint(self, addr, identity, receive)
        self._endpoints[addr] = endpoint
        return endpoint

    def _free_addr(self) -> str:
        while True:
            self._next += 1
            addr = f"memory:{self._next}"
            if addr not in self._endpoints:
                return addr

    @property
    def addrs(self) -> tuple[str, ...]:
        """Where somebody listens now."""
        return tuple(self._endpoints)

    def cut(self, one: str, other: str) -> None:
        """Lose everything between two addresses, both ways."""
        self._cuts[one, other] = self._cuts[other, one] = None

    def isolate(self, addr: str) -> None:
        """Cut ``addr`` off from everyone."""
        for other in self._endpoints:
            if other != addr:
                self.cut(addr, other)

    def heal(self) -> None:
        """Undo every cut."""
        self._cuts.clear()

    def deliver(self, sender: MemoryEndpoint, addr: str, message: Any) -> bool:
        """Bring a message to whoever listens at ``addr``."""
        if (sender.addr, addr) in self._cuts:
            return True
        endpoint = self._endpoints.get(addr)
        if endpoint is None:
            return False
        endpoint.receive(sender.identity(), sender.addr, message)
        return True

    def detach(self, endpoint: MemoryEndpoint) -> None:
        """Nobody listens there any more."""
        if self._endpoints.get(endpoint.addr) is endpoint:
            del self._endpoints[endpoint.addr]

    def __repr__(self) -> str:
        return f"<MemoryNetwork nodes={len(self._endpoints)}>"


class MemoryEndpoint:
    """One node's place in a :class:`MemoryNetwork`."""

    def __init__(
        self,
        network: MemoryNetwork,
        addr: str,
        identity: Callable[[], Identity | None],
        receive: Receive,
    ) -> None:
        self._network = network
        self._addr = addr
        self.identity = identity
        self.receive = receive

    @property
    def addr(self) -> str:
        """Where others reach this node."""
        return self._addr

    def send(self, addr: str, message: Any, node_id: str = "") -> bool:
        """Hand ``message`` over; False if nobody listens at ``addr``."""
        return self._network.deliver(self, addr, message)

    def serving(self, on_broken: OnBroken) -> AbstractAsyncContextManager[None]:
        """Nothing to do: no line here breaks by itself."""
        return nullcontext()

    def close(self) -> None:
        """Nobody reaches this node any more."""
        self._network.detach(self)
