"""What a :class:`~pyswarm.runtime.raftnode.RaftNode` says to the other members, and when.

A message costs its sender about as much as its receiver, and none is free. So *news* wait a moment:
that something is committed, the followers learn by the next append. Whoever was answered just now
may propose at once; only if nobody does, the news go by themselves.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack

from pyswarm.raft import MemberID, Replica
from pyswarm.raft.message import AppendEntries, Heartbeat, Message
from pyswarm.raft.wire import to_form
from pyswarm.runtime.raftaddresses import Addresses
from pyswarm.runtime.rafttransport import RaftTransport

LONE_WAITERS = 4
"""Proposals under way with which peers are answered at once; with more it is worth a round of the
loop to hear all that they say."""

PUMP_ENTRIES = 128
"""Proposals that are sent on at once, while more are being made: so with very many callers the
followers and the disks work on the first ones meanwhile."""


class Frame(IntEnum):
    """What a frame brings."""

    MESSAGE = 0
    """A replica's message."""
    FORWARD = 1
    """A proposal, to the leader."""
    ANSWER = 2
    """What became of it."""


class Peers:
    """The others, as one member speaks to them."""

    __slots__ = ("_addresses", "_news", "_replica", "_transport")

    def __init__(self, replica: Replica, transport: RaftTransport, addresses: Addresses) -> None:
        self._replica = replica
        self._transport = transport
        self._addresses = addresses
        self._news: dict[MemberID, Heartbeat] = {}

    @property
    def has_news(self) -> bool:
        """True while somebody has to be told of a commit."""
        return bool(self._news)

    def send(self, address: str, kind: Frame, content: Any) -> None:
        """One frame, which leaves with the next ``flush``."""
        self._transport.send(address, msgpack.packb((self._transport.address, kind, content)))

    def post(self, messages: tuple[Message, ...]) -> None:
        """A replica's messages, which leave with the next ``flush``; the news later."""
        for message in messages:
            cls = type(message)
            if cls is Heartbeat and not message.round:  # type: ignore[attr-defined]
                self._news[message.to] = message  # type: ignore[assignment]
                continue
            if cls is AppendEntries:
                self._news.pop(message.to, None)  # it says the same, or more
            self._transmit(message)

    def flush(self) -> None:
        """Let everything leave but the news."""
        self._transport.flush()

    def spread_news(self) -> None:
        """Let the news leave."""
        for message in self._news.values():
            self._transmit(message)
        self._news.clear()
        self._transport.flush()

    def _transmit(self, message: Message) -> None:
        address = self._addresses.of(message.to, self._replica.configuration)
        if address is not None:
            self.send(address, Frame.MESSAGE, to_form(message))
