"""How members of a :class:`~pyswarm.runtime.raftnode.RaftNode` group reach each other.

A transport carries frames to addresses and promises nothing: a frame may be lost, and sending never
waits. :class:`MemoryTransport` joins members of one process, :class:`TcpTransport` processes, with
TLS where contexts are given. Whoever can connect is believed, so across machines give contexts that
verify both sides.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

import trio

from pyswarm.errors import InvalidArgument
from pyswarm.raft.wire import MESSAGE_BYTES_MAX

Receive = Callable[[bytes], None]

QUEUE_FRAMES_MAX = 1024
"""Frames waiting for one peer; beyond that they are dropped, as a network would."""
FRAME_BYTES_MAX = MESSAGE_BYTES_MAX + 4096
_LENGTH_BYTES = 4
RECONNECT_SECONDS = 0.1
CONNECT_TIMEOUT_SECONDS = 2.0


class RaftTransport(Protocol):
    """Carries frames between addresses."""

    @property
    def address(self) -> str:
        """Where this member is reached."""
        ...

    def send(self, address: str, frame: bytes) -> None:
        """Try to deliver ``frame``. Never waits, never raises."""
        ...

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hand every frame that arrives to ``receive``, until cancelled."""
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
            trio.lowlevel.current_trio_token().run_sync_soon(receive, frame)

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
        self._queues: dict[str, trio.MemorySendChannel[bytes]] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    def send(self, address: str, frame: bytes) -> None:
        """See :class:`RaftTransport`."""
        if self._nursery is None:
            return
        queue = self._queues.get(address)
        if queue is None:
            queue, waiting = trio.open_memory_channel[bytes](QUEUE_FRAMES_MAX)
            self._queues[address] = queue
            self._nursery.start_soon(self._deliver, address, waiting)
        try:
            queue.send_nowait(frame)
        except trio.WouldBlock:
            pass  # lost: Raft sends what matters again

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See :class:`RaftTransport`. Raises ``OSError`` if the address cannot be listened on."""

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, receive)

        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                listeners = await trio.open_tcp_listeners(self._port, host=self._host)
                nursery.start_soon(trio.serve_listeners, serve, listeners)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._queues.clear()

    async def _serve(self, stream: trio.SocketStream, receive: Receive) -> None:
        """One incoming connection, until it ends or says something that is no frame."""
        tls = self._server_tls
        secured = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
        buffer = bytearray()
        try:
            async with secured:
                while chunk := await secured.receive_some(256 * 1024):
                    buffer += chunk
                    take_frames(buffer, receive)
        except (OSError, ssl.SSLError, trio.BrokenResourceError, InvalidArgument):
            return

    async def _deliver(self, address: str, queue: trio.MemoryReceiveChannel[bytes]) -> None:
        """Connect, and again; what could not be delivered is lost."""
        while True:
            try:
                stream = await self._connect(address)
            except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.TooSlowError):
                drain(queue)
                await trio.sleep(RECONNECT_SECONDS)
                continue
            try:
                async with stream:
                    while True:
                        await stream.send_all(with_length(await queue.receive(), queue))
            except (OSError, ssl.SSLError, trio.BrokenResourceError):
                drain(queue)

    async def _connect(self, address: str) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        host, port = split_address(address)
        with trio.fail_after(CONNECT_TIMEOUT_SECONDS):
            stream = await trio.open_tcp_stream(host, port)
            if self._client_tls is None:
                return stream
            hostname = self._server_hostname or host
            secured = trio.SSLStream(stream, self._client_tls, server_hostname=hostname)
            await secured.do_handshake()
            return secured


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` → (host, port). Raises ``InvalidArgument``."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidArgument(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def with_length(frame: bytes, queue: trio.MemoryReceiveChannel[bytes]) -> bytes:
    """``frame`` and all that waits behind it, for one write."""
    frames = [frame]
    while True:
        try:
            frames.append(queue.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            break
    return b"".join([len(one).to_bytes(_LENGTH_BYTES, "big") + one for one in frames])


def take_frames(buffer: bytearray, receive: Receive) -> None:
    """Hand over the whole frames at the head of ``buffer`` and remove them."""
    offset = 0
    while len(buffer) - offset >= _LENGTH_BYTES:
        length = int.from_bytes(buffer[offset : offset + _LENGTH_BYTES], "big")
        if length > FRAME_BYTES_MAX:
            raise InvalidArgument(f"a frame of {length} bytes")
        end = offset + _LENGTH_BYTES + length
        if end > len(buffer):
            break
        receive(bytes(buffer[offset + _LENGTH_BYTES : end]))
        offset = end
    del buffer[:offset]


def drain(queue: trio.MemoryReceiveChannel[bytes]) -> None:
    """Lose what waits."""
    while True:
        try:
            queue.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return
