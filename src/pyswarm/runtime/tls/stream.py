"""TLS over a TCP stream, with as few turns of the loop as there are reads and writes.

trio's own ``SSLStream`` passes locks and checkpoints on every way, some four task switches a
message: more than all else that a small message costs. Here TLS is Python's ``SSLObject`` between
two memory buffers, and what there is to wait for is the socket alone. One task may read and another
one write at the same time, no more.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any

import trio

RECEIVE_BYTES = 64 * 1024


class TlsStream(trio.abc.AsyncResource):
    """A connection on ``transport_stream``, the server's side of it or the client's.

    What goes wrong is a ``trio.BrokenResourceError``, with the ``ssl.SSLError`` as its cause.
    """

    def __init__(
        self, transport_stream: trio.SocketStream, context: ssl.SSLContext, *, server: bool = False
    ) -> None:
        self.transport_stream = transport_stream
        self.context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)

    async def do_handshake(self) -> None:
        """To be awaited before anything else."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take_in()
            except ssl.SSLError as problem:
                with suppress(trio.BrokenResourceError):
                    await self._flush()  # the alert says why
                raise trio.BrokenResourceError("TLS: the handshake failed") from problem
            else:
                await self._flush()
                return

    def getpeercert(self) -> bytes | None:
        """What the peer showed, DER."""
        return self._tls.getpeercert(binary_form=True)

    async def receive_some(self, max_bytes: int) -> bytes:
        """What has arrived; nothing once the peer has closed."""
        while True:
            try:
                return self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                # What TLS itself wants to say now leaves before the next words of ours.
                await self._take_in()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as problem:
                raise trio.BrokenResourceError("TLS: what came cannot be read") from problem

    async def send_all(self, data: bytes) -> None:
        """Until the kernel has taken all of ``data``. Cancelled, the connection is broken."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as problem:
            raise trio.BrokenResourceError("TLS: nothing can be sent any more") from problem
        await self._flush()

    async def aclose(self) -> None:
        """Say that this is the end, and close the socket without waiting for an answer."""
        try:
            with suppress(ssl.SSLError, ValueError):
                self._tls.unwrap()
            with suppress(*_GONE):
                await self._flush()
        finally:
            await self.transport_stream.aclose()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.transport_stream.send_all(self._outgoing.read())

    async def _take_in(self) -> None:
        data: Any = await self.transport_stream.receive_some(RECEIVE_BYTES)
        if not data:
            raise trio.BrokenResourceError("the peer closed the connection")
        self._incoming.write(data)


_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
