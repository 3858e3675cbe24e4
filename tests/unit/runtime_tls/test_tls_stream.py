"""TLS over a TCP stream: large amounts both ways, the end of it, and who is not believed."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from pyswarm.ca import RootCA
from pyswarm.model import Identity, Role
from pyswarm.runtime.tls import Credentials
from pyswarm.runtime.tls.stream import TlsStream

NOW = time.time()
ROOT = RootCA.create(NOW)
LARGE = bytes(range(256)) * 8192  # 2 MiB: more than any buffer between the two


def credentials(root: RootCA = ROOT) -> Credentials:
    return Credentials.signed_by(root, Identity("node", Role.MANAGER, "swarm"), NOW, 3600.0)


@asynccontextmanager
async def pair(client: RootCA = ROOT) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """(server, client), before the handshake."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.2"))[0]
    async with listener:
        there = await trio.open_tcp_stream(*listener.socket.getsockname())
        here = await listener.accept()
    one = TlsStream(here, credentials().server_context(), server=True)
    other = TlsStream(there, credentials(client).client_context())
    try:
        yield one, other
    finally:
        await trio.aclose_forcefully(one)
        await trio.aclose_forcefully(other)


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    async with pair() as (one, other):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.do_handshake)
            nursery.start_soon(other.do_handshake)
        yield one, other


async def received(stream: TlsStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive_some(65536)
    return data


async def test_much_goes_both_ways_at_once() -> None:
    async with joined() as (one, other):
        got = []

        async def take(stream: TlsStream) -> None:
            got.append(await received(stream, len(LARGE)))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for stream in (one, other):
                    nursery.start_soon(take, stream)
                    nursery.start_soon(stream.send_all, LARGE)
        assert got == [LARGE, LARGE]
        assert one.getpeercert()
        assert other.getpeercert()


async def test_a_close_is_told_behind_the_last_words() -> None:
    async with joined() as (one, other):
        await one.send_all(b"bye")
        await one.aclose()
        assert await received(other, 3) == b"bye"
        assert await other.receive_some(10) == b""
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some(10)


async def test_a_line_that_breaks_is_no_end() -> None:
    async with joined() as (one, other):
        await one.transport_stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await other.receive_some(10)


async def test_what_is_no_tls_breaks_the_connection() -> None:
    async with joined() as (one, other):
        await one.transport_stream.send_all(b"GET / HTTP/1.1\r\n\r\n" * 10)
        with pytest.raises(trio.BrokenResourceError) as refused:
            await other.receive_some(10)
        assert isinstance(refused.value.__cause__, ssl.SSLError)


async def test_a_stranger_is_not_believed_and_hears_why() -> None:
    problems: dict[str, BaseException | None] = {}

    async def shake(name: str, stream: TlsStream) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some(10)  # in TLS 1.3 the client's certificate is looked at last
        except trio.BrokenResourceError as problem:
            problems[name] = problem.__cause__
            await stream.aclose()

    async with pair(client=RootCA.create(NOW)) as (server, client):
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shake, "server", server)
                nursery.start_soon(shake, "client", client)
    assert isinstance(problems["client"], ssl.SSLCertVerificationError)
    assert isinstance(problems["server"], ssl.SSLError)
    assert "alert" in str(problems["server"])
