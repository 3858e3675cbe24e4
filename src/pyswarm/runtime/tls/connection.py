"""One TLS connection between two nodes, used both ways.

Three tasks: the writer takes fragments from the queue, the reader hands over whole messages, and
the keeper sees to it that a silent line is either alive or given up (*half open*: the other host is
gone and nobody said so). Whatever goes wrong ends the connection; the network makes another one.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from pyswarm.errors import InvalidArgument
from pyswarm.model import Identity
from pyswarm.runtime.tls import wire
from pyswarm.runtime.tls.credentials import peer_of
from pyswarm.runtime.tls.exchange import Hello, Ping
from pyswarm.runtime.tls.frames import FRAGMENT_BYTES_MAX, FrameReader, SendQueue
from pyswarm.runtime.tls.stream import TlsStream

HANDSHAKE_S = 5.0
"""TLS, and one message each way: some milliseconds, unless someone only holds the line."""

KEEPALIVE_S = 3.0
"""After so long without a word from here, the other side is told that we live."""

SILENT_S = 10.0
"""A peer that says nothing for so long is gone: it would have sent three signs of life."""

STALL_S = 20.0
"""A peer that takes no 64 KiB in so long is not worth waiting for."""

IDLE_S = 300.0
"""A connection that carried no message for so long is closed; the next message opens another."""

STRANGER_S = 30.0
"""A peer without a certificate has so long to say what it wants and hear the answer."""

RETIRE_S = 1.0
"""A connection that another one replaces still takes what is under way to here."""

CLOSE_S = 0.2
"""How long TLS may take to say that it ends."""

DRAIN_S = 1.0
"""How long a node that stops waits for its last words to leave."""

READ_BYTES = 64 * 1024

Broken = (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, OSError)


class Refused(Exception):
    """The peer may not be here: its certificate, its first message, or what it said."""


class Connection:
    """A connection that stands; ``identity`` is what the peer's certificate says, if it has one."""

    def __init__(self, stream: TlsStream, *, dialed: bool) -> None:
        self.stream = stream
        self.dialed = dialed
        self.identity: Identity | None = None
        self.valid_until = float("inf")
        self.leaf = b""
        """The peer's certificate, DER."""
        self.hello = Hello()
        self.queue = SendQueue()
        self.addr = ""
        """Where messages from here are said to come from."""
        self.retired = False
        self.began = trio.current_time()
        self.last_heard = self.began
        self.last_said = self.began
        self.last_message = self.began
        self._news = trio.Event()
        self._is_writing = False
        self._reader = FrameReader(wire.STRANGER_BYTES_MAX)
        self._scope = trio.CancelScope()
        self._early: list[bytes] = []

    # -- beginning

    async def begin(self, hello: Hello, *, now: float) -> None:
        """Handshake, and each side's first message. Raises ``Refused`` and :data:`Broken`."""
        with trio.move_on_after(HANDSHAKE_S):
            await self.stream.do_handshake()
            self._read_certificate(now)
            self.put(hello)
            await self._write_waiting()
            self.hello = await self._first_message()
            return
        raise Refused("the handshake took too long")

    def _read_certificate(self, now: float) -> None:
        der = self.stream.getpeercert()
        if not der or self.stream.context.verify_mode is ssl.CERT_NONE:
            return
        self.leaf = der
        self.identity, self.valid_until = peer_of(der)
        if now > self.valid_until:
            raise Refused("the certificate has expired")
        self._reader.limit = wire.MESSAGE_BYTES_MAX

    async def _first_message(self) -> Hello:
        while not self._early:
            self._early += self._reader.feed(await self._receive())
        _, found = wire.decode(self._early.pop(0), wire.STRANGER_BYTES_MAX)
        if not isinstance(found, Hello):
            raise Refused("the first message is no hello")
        return found

    async def _receive(self) -> bytes:
        data = await self.stream.receive_some(READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("the peer closed the connection")
        self.last_heard = trio.current_time()
        return data

    # -- sending

    def put(self, message: Any) -> bool:
        """Queue a message; False if there is no room."""
        return self.put_bytes(wire.kind_of(type(message)).lane(message), wire.encode(message))

    def put_bytes(self, lane: wire.Lane, data: bytes) -> bool:
        """The same with what is encoded already."""
        taken = self.queue.put(lane, data)
        self._news.set()
        return taken

    def wake(self) -> None:
        """The queue was filled by someone else."""
        self._news.set()

    async def _write_waiting(self) -> None:
        while chunk := self._next_chunk():
            self._is_writing = True
            with trio.move_on_after(STALL_S) as stalled:
                await self.stream.send_all(chunk)
            self._is_writing = False
            if stalled.cancelled_caught:
                raise trio.BrokenResourceError("the peer takes nothing")
            self.last_said = trio.current_time()

    def _next_chunk(self) -> bytes:
        """Small fragments leave together, a large one alone."""
        parts, size = [], 0
        while size < FRAGMENT_BYTES_MAX // 2 and (fragment := self.queue.next_fragment()):
            parts.append(fragment)
            size += len(fragment)
        return b"".join(parts)

    # -- life

    async def run(
        self, take: Callable[[Connection, bytes], None], wall: Callable[[], float]
    ) -> None:
        """Until it ends, by whoever's doing; never raises but for cancellation.

        ``take`` gets every message; it raises ``Refused`` or ``InvalidArgument`` to end this.
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                for task in (self._read, self._write):
                    nursery.start_soon(self._until_broken, task, take)
                await self._keep(wall)
                nursery.cancel_scope.cancel()

    async def _until_broken(self, task: Any, take: Any) -> None:
        try:
            await task(take)
        except (*Broken, Refused, InvalidArgument):
            pass
        self._scope.cancel()

    async def _read(self, take: Callable[[Connection, bytes], None]) -> None:
        early, self._early = self._early, []
        for message in early:
            take(self, message)
        while True:
            for message in self._reader.feed(await self._receive()):
                take(self, message)

    async def _write(self, _: object) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self._write_waiting()
            if self.retired and not self.queue:
                await trio.sleep(RETIRE_S)
                return

    async def _keep(self, wall: Callable[[], float]) -> None:
        """Signs of life, and the end of what has none."""
        while True:
            await trio.sleep(KEEPALIVE_S / 2)
            now = trio.current_time()
            if now - self.last_heard > SILENT_S or now - self.last_message > IDLE_S:
                return
            if self.identity is None and now - self.began > STRANGER_S:
                return
            if wall() > self.valid_until:
                return
            if now - self.last_said >= KEEPALIVE_S and not self.queue:
                self.put(Ping())

    def retire(self) -> None:
        """Another connection to this peer is used from now on: end what was begun, and close."""
        self.retired = True
        self._news.set()

    def cancel(self) -> None:
        """End it now."""
        self._scope.cancel()

    async def drain(self) -> None:
        """Let what waits leave, for :data:`DRAIN_S` at most."""
        with trio.move_on_after(DRAIN_S):
            while self._has_words():  # noqa: ASYNC110 - once, at the end of a node
                await trio.sleep(0.005)

    def _has_words(self) -> bool:
        return bool(self.queue or self._is_writing) and not self._scope.cancel_called

    async def close(self) -> None:
        """Close the socket, politely where that takes no time."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CLOSE_S), suppress(*Broken):
                await self.stream.aclose()
            await trio.aclose_forcefully(self.stream.transport_stream)
