"""A connection that becomes a stream (``Upgrade: tcp``), over real sockets in virtual time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import trio
import trio.testing

from pyswarm.api.messages import Response, Streamed
from pyswarm.runtime.http import HttpServer, Streaming
from pyswarm.runtime.listen import SocketStream

HEAD = b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


class Source:
    """Writes a number every second, and knows when it was closed."""

    def __init__(self) -> None:
        self.closed = False
        self.fed: list[bytes] = []
        self.slow = trio.Event()

    async def respond(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response | Streaming:
        if target == "/plain":
            return Response(200, b"plain", "text/plain")
        head = Streamed(None, lambda item: b"%d," % item, content_type="raw", takes_over=True)
        return Streaming(head, self.items(), self.feed if target == "/fed" else None)

    async def feed(self, data: bytes) -> None:
        self.fed.append(data)
        if data == b"slow":
            await self.slow.wait()

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
                await trio.sleep(1.0)
        finally:
            self.closed = True


def serve(talk: Callable[[SocketStream], Awaitable[None]], source: Source | None = None) -> Source:
    """``talk(client's end)``; the server's task must end by itself once the client is gone."""
    source = source or Source()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        server = HttpServer(source.respond, clock=lambda: 1e9)
        client = SocketStream(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, SocketStream(theirs))
            await talk(client)
            await client.aclose()
        assert theirs.fileno() == -1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))
    return source


async def until(stream: SocketStream, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        data = await stream.receive_some(65536)
        assert data, found
        found += data
    return found


def test_the_connection_is_the_stream() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.send_all(HEAD + b"what nobody reads")
        got = await until(stream, b"2,")
        head, _, rest = got.partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 101 UPGRADED",
            b"Content-Type: raw",
            b"Connection: Upgrade",
            b"Upgrade: tcp",
        ]
        assert rest == b"0,1,2,"

    assert serve(talk).closed


def test_who_does_not_ask_for_it_gets_it_too() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.send_all(b"POST /x HTTP/1.1\r\nHost: h\r\n\r\n")
        got = await until(stream, b"1,")
        assert got == b"HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\n0,1,"

    assert serve(talk).closed


def test_a_client_that_is_done_with_sending_still_listens() -> None:
    async def talk(stream: SocketStream) -> None:
        sock: Any = stream._socket
        await stream.send_all(HEAD)
        sock.shutdown(socket.SHUT_WR)
        await until(stream, b"5,")

    assert serve(talk).closed  # and it is noticed when it goes


def test_what_has_nothing_to_hand_over_is_answered_as_ever() -> None:
    async def talk(stream: SocketStream) -> None:
        for _ in range(2):
            await stream.send_all(HEAD.replace(b"/x", b"/plain"))
            assert (await until(stream, b"\r\n\r\nplain")).startswith(b"HTTP/1.1 200 OK\r\n")

    serve(talk)


def test_what_the_client_sends_is_fed_to_the_stream() -> None:
    """Also what came with the head, and that it was all; as fast as the stream takes it."""
    source = Source()

    async def talk(stream: SocketStream) -> None:
        await stream.send_all(HEAD.replace(b"/x", b"/fed") + b"slow")
        await until(stream, b"0,")
        await stream.send_all(b"more")
        await until(stream, b"3,")
        assert source.fed == [b"slow"]
        source.slow.set()
        await until(stream, b"5,")
        assert source.fed == [b"slow", b"more"]
        stream._socket.shutdown(socket.SHUT_WR)
        await until(stream, b"7,")
        assert source.fed == [b"slow", b"more", b""]

    serve(talk, source)
    assert source.closed
