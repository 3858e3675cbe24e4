"""How members of a :class:`~pyswarm.runtime.raftnode.RaftNode` group reach each other.

A transport carries frames to addresses and promises nothing: a frame may be lost, and sending never
waits. :class:`MemoryTransport` joins members of one process, :class:`TcpTransport` processes, with
TLS where contexts are given. Whoever can connect is believed, so across machines give contexts that
verify both sides.

Frames leave at ``flush``: all that one round of the node's work has for a peer is one TLS write and
one system call, made at once and not by another task. A commit of a single proposal passes four
such hops, and a hop through tasks and trio's own TLS stream costs more than a sync of the disk.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from pyswarm.errors import InvalidArgument
from pyswarm.raft.wire import MESSAGE_BYTES_MAX
from pyswarm.runtime.rafttls import Channel, accept_channel, open_channel

Receive = Callable[[Sequence[bytes]], None]
"""Takes the frames that arrived together. Never raises."""

QUEUE_BYTES_MAX = 2 * MESSAGE_BYTES_MAX
"""Waiting for one peer; beyond that frames are dropped, as a network would. It holds a whole window
of appends."""
FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + 4096
_LENGTH_BYTES = 4
RECONNECT_SECONDS = 0.1
CONNECT_TIMEOUT_SECONDS = 2.0
LINKS_MAX = 256
"""Peers that are sent to at once. Peers say their addresses themselves: none may fill the memory
by claiming many."""
INCOMING_MAX = 256
"""Connections accepted at once: each member has one, so the rest are strangers or leftovers."""


class RaftTransport(Protocol):
    """Carries frames between addresses."""

    @property
    def address(self) -> str:
        """Where this member is reached."""
        ...

    def send(self, address: str, frame: bytes) -> None:
        """Try to deliver ``frame``, at the next ``flush`` or before. Never waits, never raises."""
        ...

    def flush(self) -> None:
        """Let everything leave that was sent since the last time. Never waits, never raises."""
        ...

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hand the frames that arrive to ``receive``, until cancelled."""
        ...


class MemoryTransport:
    """Members of one process: those made with the same ``hub`` (a dict) reach each other."""

    def __init__(self, hub: dict[str, Receive], address: str) -> None:
        self._hub = hub
        self._address = address

    @property
    def address(self) -> str:
        """The name in the hub."""
        return self._address

    def send(self, address: str, frame: bytes) -> None:
        """See :class:`RaftTransport`."""
        receive = self._hub.get(address)
        if receive is not None and self._address in self._hub:
            trio.lowlevel.current_trio_token().run_sync_soon(receive, (frame,))

    def flush(self) -> None:
        """Nothing: frames have left when they were sent."""

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See :class:`RaftTransport`."""
        self._hub[self._address] = receive
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            del self._hub[self._address]


class Link:
    """The way to one peer: what waits for it, and the connection while there is one."""

    __slots__ = ("channel", "frames", "stuck", "waiting_bytes")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        """Each behind its length."""
        self.waiting_bytes = 0
        self.channel: Channel | None = None
        self.stuck = trio.Event()
        """Set while the peer takes no more, or the connection has failed: the task's turn."""

    def add(self, frame: bytes) -> None:
        if self.waiting_bytes + len(frame) > QUEUE_BYTES_MAX and self.frames:
            return  # lost: Raft sends what matters again
        self.frames += (len(frame).to_bytes(_LENGTH_BYTES, "big"), frame)
        self.waiting_bytes += len(frame)

    def flush(self) -> None:
        """Send what waits, unless the task is at it."""
        channel = self.channel
        if channel is None or self.stuck.is_set() or not self.frames:
            return
        data = b"".join(self.frames)
        self.drop()
        try:
            if not channel.send(data):
                self.stuck.set()
        except OSError:
            channel.broken = True
            self.stuck.set()

    def drop(self) -> None:
        """Nothing waits any more."""
        self.frames.clear()
        self.waiting_bytes = 0

    async def feed(self, channel: Channel) -> None:
        """Help a slow peer, until the connection fails."""
        self.channel = channel
        try:
            while True:
                self.flush()
                await self.stuck.wait()
                await channel.drain()
                self.stuck = trio.Event()
        finally:
            self.channel = None
            self.stuck = trio.Event()


class TcpTransport:
    """Frames over TCP, one connection a direction; each is its length (4 bytes) and its content."""

    def __init__(
        self,
        address: str,
        *,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> None:
        assert (server_tls is None) == (client_tls is None), "TLS both ways, or not at all"
        self._host, self._port = split_address(address)
        self._address = address
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._server_hostname = server_hostname
        self._links: dict[str, Link] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    def send(self, address: str, frame: bytes) -> None:
        """See :class:`RaftTransport`."""
        link = self._links.get(address) or self._new_link(address)
        if link is not None:
            link.add(frame)

    def _new_link(self, address: str) -> Link | None:
        """The way to ``address``; None if it is no address, or there are too many already."""
        try:
            place = split_address(address)
        except InvalidArgument:
            return None
        if self._nursery is None or len(self._links) >= LINKS_MAX:
            return None
        link = self._links[address] = Link()
        self._nursery.start_soon(self._deliver, address, place, link)
        return link

    def flush(self) -> None:
        """See :class:`RaftTransport`."""
        for link in self._links.values():
            if link.frames:
                link.flush()

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See :class:`RaftTransport`. Raises ``OSError`` if the address cannot be listened on."""
        limit = trio.CapacityLimiter(INCOMING_MAX)

        async def serve(stream: trio.SocketStream) -> None:
            try:
                limit.acquire_nowait()
            except trio.WouldBlock:
                return
            try:
                await self._serve(stream, receive)
            finally:
                limit.release()

        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                listeners = await trio.open_tcp_listeners(self._port, host=self._host)
                nursery.start_soon(trio.serve_listeners, serve, listeners)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._links.clear()

    async def _serve(self, stream: trio.SocketStream, receive: Receive) -> None:
        """One incoming connection, until it ends or says something that is no frame."""
        buffer = bytearray()
        with contextlib.suppress(OSError, trio.TooSlowError, InvalidArgument):
            with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                channel = await accept_channel(stream, self._server_tls)
            with channel:
                while chunk := await channel.receive():
                    buffer += chunk
                    if frames := take_frames(buffer):
                        receive(frames)

    async def _deliver(self, address: str, place: tuple[str, int], link: Link) -> None:
        """Connect, and again while there is something to deliver; what could not be is lost."""
        host, port = place
        name = self._server_hostname or host
        while link.frames:
            try:
                with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
                    channel = await open_channel(host, port, self._client_tls, name)
            except (OSError, trio.TooSlowError):
                link.drop()
                await trio.sleep(RECONNECT_SECONDS)
                continue
            with channel:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(until_closed, channel, nursery.cancel_scope)
                    with contextlib.suppress(OSError):
                        await link.feed(channel)
                    nursery.cancel_scope.cancel()
        if self._links.get(address) is link:
            del self._links[address]


async def until_closed(channel: Channel, scope: trio.CancelScope) -> None:
    """A peer says nothing on this connection but that it closes it."""
    with contextlib.suppress(OSError):
        while await channel.receive():
            pass
    scope.cancel()


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` → (host, port). Raises ``InvalidArgument``."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidArgument(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def take_frames(buffer: bytearray) -> list[bytes]:
    """The whole frames at the head of ``buffer``, which are removed there. Raises
    ``InvalidArgument``."""
    frames: list[bytes] = []
    offset, size = 0, len(buffer)
    while size - offset >= _LENGTH_BYTES:
        length = int.from_bytes(buffer[offset : offset + _LENGTH_BYTES], "big")
        if length > FRAME_BYTES_MAX:
            raise InvalidArgument(f"a frame of {length} bytes")
        end = offset + _LENGTH_BYTES + length
        if end > size:
            break
        frames.append(bytes(buffer[offset + _LENGTH_BYTES : end]))
        offset = end
    del buffer[:offset]
    return frames
