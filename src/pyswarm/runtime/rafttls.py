"""One TCP connection, with TLS or without, that is written to without waiting.

trio's own streams make a write a task's business: locks, checkpoints, a task switch each way. Here
``send`` encrypts and hands over to the kernel at once, from ordinary code; what the kernel does not
take stays in ``pending`` until somebody awaits ``drain``. TLS is Python's ``SSLObject`` between two
memory buffers, so that certificates, versions and ciphers are the context's affair.
"""

from __future__ import annotations

import socket
import ssl

import trio

READ_BYTES = 64 * 1024
"""Of one read, into a buffer that is kept: to allocate as much for each message would cost as much
as to be woken up by it."""
RECORD_BYTES = 16 * 1024
"""What one TLS record holds at most (RFC 8446, 5.1)."""


class Channel:
    """The connection. ``receive`` and ``drain`` each belong to one task. Closed by ``with``."""

    __slots__ = (
        "broken",
        "ended",
        "incoming",
        "outgoing",
        "pending",
        "sock",
        "tls",
        "wire",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = b""
        """Bytes for the wire that the kernel has not taken."""
        self.broken = False
        """A write has failed; ``drain`` says so to the task."""
        self.ended = False
        """The peer has said over TLS that nothing more will come."""
        self.tls: ssl.SSLObject | None = None
        self.wire = memoryview(bytearray(READ_BYTES))
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    async def secure(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """Make it TLS: the server's side if there is no name. Raises ``ssl.SSLError``."""
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._write(self.outgoing.read())
                await self.drain()
                if not await self._take_in():
                    raise ConnectionResetError("closed during the handshake") from None
            finally:
                if self.outgoing.pending:
                    self._write(self.outgoing.read())
        await self.drain()

    def send(self, data: bytes) -> bool:
        """Send ``data``; False if a part of it waits for ``drain``. Raises ``OSError``."""
        if self.tls is None:
            return self._write(data)
        taken = self.tls.write(data)
        while taken < len(data):  # it takes a record at a time
            taken += self.tls.write(memoryview(data)[taken:])
        return self._write(self.outgoing.read())

    def _write(self, data: bytes) -> bool:
        if self.pending:
            data = self.pending + data
        try:
            taken = self.sock.send(data)
        except BlockingIOError:
            taken = 0
        if taken == len(data):
            self.pending = b""
            return True
        self.pending = data[taken:]
        return False

    async def drain(self) -> None:
        """Until the kernel has taken everything. Raises ``OSError`` if it does not."""
        if self.broken:
            raise BrokenPipeError("the connection has failed")
        while self.pending:
            await trio.lowlevel.wait_writable(self.sock)
            try:
                self.pending = self.pending[self.sock.send(self.pending) :]
            except BlockingIOError:
                continue

    async def receive(self) -> bytes:
        """What has arrived; nothing once the peer has closed. Raises ``OSError``."""
        if self.tls is None:
            return bytes(self.wire[: await self._take()])
        while True:
            if data := self._decrypted():
                return data
            if self.ended or not await self._take_in():
                return b""

    def _decrypted(self) -> bytes:
        """What there is in whole records."""
        tls, incoming = self.tls, self.incoming
        assert tls is not None
        parts: list[bytes] = []
        try:
            while incoming.pending or tls.pending():  # to ask in vain costs an exception
                part = tls.read(RECORD_BYTES)
                if not part:
                    self.ended = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass  # a part of a record, or TLS's own business
        except ssl.SSLZeroReturnError:
            self.ended = True
        if self.outgoing.pending:  # keys are changed
            self._write(self.outgoing.read())
        return b"".join(parts)

    async def _take_in(self) -> bool:
        """Bytes from the wire for TLS; False at the end."""
        size = await self._take()
        self.incoming.write(self.wire[:size])
        return size > 0

    async def _take(self) -> int:
        """Bytes from the wire into ``wire``; how many."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv_into(self.wire)
            except BlockingIOError:
                continue


async def open_channel(
    host: str, port: int, context: ssl.SSLContext | None, server_hostname: str
) -> Channel:
    """Connect. Raises ``OSError`` (``ssl.SSLError`` is one)."""
    channel = taken_over(await trio.open_tcp_stream(host, port))
    return await secured(channel, context, server_hostname)


async def accept_channel(stream: trio.SocketStream, context: ssl.SSLContext | None) -> Channel:
    """The server's side of a connection that was accepted. Raises ``OSError``."""
    return await secured(taken_over(stream), context, None)


async def secured(channel: Channel, context: ssl.SSLContext | None, name: str | None) -> Channel:
    """``channel``, with TLS if there is a context; closed if that fails."""
    try:
        if context is not None:
            await channel.secure(context, name)
        return channel
    except BaseException:
        channel.__exit__()
        raise


def taken_over(stream: trio.SocketStream) -> Channel:
    """The connection of ``stream``, as an ordinary socket that never blocks."""
    sock = stream.socket
    own = socket.fromfd(sock.fileno(), sock.family, sock.type)
    own.setblocking(False)
    sock.close()
    return Channel(own)
