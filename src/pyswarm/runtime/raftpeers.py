"""What a :class:`~pyswarm.runtime.raftnode.RaftNode` says to the other members, and when.

A message costs its sender about as much as its receiver, and none is free. So *news* wait a moment:
that something is committed, the followers learn by the next append. Whoever was answered just now
may propose at once; only if nobody does, the news go by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import msgpack
import trio

from pyswarm.errors import SwarmError
from pyswarm.raft import MemberID, Replica
from pyswarm.raft.message import AppendEntries, Heartbeat, Message
from pyswarm.raft.wire import to_form
from pyswarm.runtime.raftaddresses import Addresses
from pyswarm.runtime.raftgreeting import DiskLost, Greeting, Greetings
from pyswarm.runtime.rafttransport import RaftTransport
from pyswarm.runtime.storage.protocol import Lasting, LogStorage

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
    GREETING = 3
    """Who speaks: see :mod:`~pyswarm.runtime.raftgreeting`."""
    REFUSAL = 4
    """To a member that greets by another disk than before: it is not heard."""


_GREETING, _REFUSAL = int(Frame.GREETING), int(Frame.REFUSAL)  # quick to compare, for each frame


class Peers:
    """The others, as one member speaks to them."""

    __slots__ = ("_addresses", "_greetings", "_news", "_replica", "_transport")

    def __init__(
        self,
        replica: Replica,
        transport: RaftTransport,
        addresses: Addresses,
        storage: LogStorage,
    ) -> None:
        self._replica = replica
        disk = storage.instance if isinstance(storage, Lasting) else b""
        self._greetings = Greetings(replica.id, disk)
        self._transport = transport
        self._addresses = addresses
        self._news: dict[MemberID, Heartbeat] = {}

    @property
    def has_news(self) -> bool:
        """True while somebody has to be told of a commit."""
        return bool(self._news)

    def send(self, address: str, kind: Frame, content: Any, *, to: MemberID | None = None) -> None:
        """One frame, which leaves with the next ``flush``; to a peer that has not greeted, when it
        has. ``to``: which member is there, that may say its address otherwise."""
        frame = msgpack.packb((self._transport.address, kind, content))
        met = self._greetings.met
        if address in met or (to is not None and to in met.values()):
            self._transport.send(address, frame)
        else:
            self._greetings.hold(address, frame)
            self._greet(address)

    def _greet(self, address: str) -> None:
        if self._greetings.should_ask(address, trio.current_time()):
            self._introduce(address, Frame.GREETING, self._greetings.greeting(asks=True))

    def _introduce(self, address: str, kind: Frame, content: Any) -> None:
        self._transport.send(address, msgpack.packb((self._transport.address, kind, content)))

    @property
    def refused(self) -> Mapping[str, SwarmError]:
        """Why peers are not heard, by address."""
        return MappingProxyType(self._greetings.refused)

    def speaker(self, address: str, kind: object, content: Any) -> MemberID | None:
        """Which member says this; None if it is no more than greetings, or if the peer is to greet
        first. Raises ``DiskLost`` where this member is refused by its disk, and
        ``InvalidArgument``."""
        id = self._greetings.met.get(address)
        if kind == _GREETING:
            self._greeted(address, content)
        elif kind == _REFUSAL:
            if self._greetings.is_ours(content):
                raise DiskLost(self._replica.id)
        elif id is not None:
            return id
        elif type(address) is str and address not in self._greetings.refused:
            self._greet(address)
        return None

    def _greeted(self, address: str, greeting: Greeting) -> None:
        """The peer is greeted back if it asked, and told what waits for it, or why it is not
        heard."""
        greetings = self._greetings
        try:
            is_heard = greetings.take(address, greeting)
        except DiskLost:
            self._introduce(address, Frame.REFUSAL, greeting[3])
            return
        if greeting[1]:
            self._introduce(address, Frame.GREETING, greetings.greeting(asks=False))
        if is_heard:
            for frame in greetings.release(address):
                self._transport.send(address, frame)

    def post(self, messages: tuple[Message, ...]) -> None:
        """A replica's messages, which leave with the next ``flush``; the news later. A peer's leave
        before the next one's are packed: it has the longer way."""
        before = messages[0].to if messages else 0
        for message in messages:
            if message.to != before:
                self._transport.flush()
                before = message.to
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
            self.send(address, Frame.MESSAGE, to_form(message), to=message.to)
