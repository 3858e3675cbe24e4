"""HTTP/1.1 for local clients: h11 reads and writes the protocol, trio moves the bytes.

One task per connection. A connection is a stream of bytes (``Stream``: receive and send), so the
framing is tested in memory. Requests of one connection are answered in their order, each whole
answer leaves in one send. Everything that a client controls is bounded: head, body, time, and the
number of connections; who goes over a bound is told so and disconnected.

Who answers is a function ``respond(method, target, headers, body)``: a whole :class:`Response`, or
a :class:`Streaming` whose items are written as they come, until the client goes away. A stream may
also take the connection over (``Upgrade: tcp``): then a client that is done with sending still
listens, and what it sends is fed to the stream that wants it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

import attrs
import h11
import trio

from pyswarm.api.errors import BUG, failure
from pyswarm.api.messages import Response, Streamed
from pyswarm.runtime.company import Company

logger = logging.getLogger("pyswarm.api")

HEAD_BYTES_MAX = 64 * 1024
"""Of a request's line and headers, one chunk more or less: registry credentials are the largest, a
few kB."""

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Of one request: gRPC's limit, so Docker's for a spec; a secret has 683 kB at most."""

BODIES_BYTES_MAX = 64 * 1024 * 1024
"""Of all requests being read at a time, so that many slow clients cannot fill the memory."""

HEAD_TIMEOUT_S = 10.0
"""From a request's first byte to the end of its head."""

BODY_TIMEOUT_S = 60.0
"""For the body."""

SEND_TIMEOUT_S = 60.0
"""For a client to take an answer, or one item of a stream."""

IDLE_TIMEOUT_S = 600.0
"""Between two requests of a connection."""

IDLE_SLACK_S = 1.0
"""So much sooner an idle connection may be cut off: its time is not set anew for every request."""

LINGER_S = 1.0
"""After a refusal, how long the client may go on sending what nobody reads."""

CONNECTIONS_MAX = 1024
"""Open connections; further ones wait to be accepted."""

GONE_LOOK_S = 1.0
"""How often a client that is done with sending is looked after."""

CHUNK_BYTES = 64 * 1024
HEADS_MAX = 256
"""Heads of whole answers that are kept for a second."""

_UPGRADED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: %b\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
_TAKEN_OVER = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n"
"""As Docker has them; h11 would frame what follows."""

_REASONS = {int(one): one.phrase.encode() for one in HTTPStatus}

Headers: TypeAlias = Sequence[tuple[str, str]]


class Stream(Protocol):
    """A connection as bytes."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """b"" at the end."""
        ...

    async def send_all(self, data: bytes) -> None: ...

    def has_gone(self) -> bool:
        """Whether the other end neither sends nor reads any more."""
        ...

    async def aclose(self) -> None: ...


@attrs.frozen
class Streaming:
    """An answer that goes on: its head, and what is encoded into its body."""

    head: Streamed
    items: AsyncIterator[Any]
    feed: Callable[[bytes], Awaitable[None]] | None = None
    """Of a stream that took the connection over: who takes what the client sends, b"" at the end.
    Such a client may take the answer as slowly as it likes."""


Respond: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Response | Streaming]]


class TooLarge(Exception):
    """A body goes over a limit: the status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpServer:
    """What the connections of a server share. ``headers`` go with every answer."""

    def __init__(
        self, respond: Respond, headers: Headers = (), *, clock: Callable[[], float]
    ) -> None:
        self.respond = respond
        self.headers = tuple((name.encode(), text.encode()) for name, text in headers)
        self.bodies_bytes = 0
        self.company = Company()
        self._clock = clock
        self._second = -1
        self._heads: dict[tuple[Any, ...], bytes] = {}

    def known_head(self, answer: Response, writer: h11.Connection) -> bytes:
        """The head of a whole answer for a client that may go on asking, as ``writer`` writes it.
        It says the same to all of them: within a second equal ones are written once."""
        second = int(self._clock())
        if self._second != second or len(self._heads) >= HEADS_MAX:
            self._second = second
            self._heads.clear()
        key = (answer.status, answer.content_type, answer.headers, len(answer.body))
        found = self._heads.get(key)
        if found is None:
            head = self.head(answer, len(answer.body))
            found = self._heads[key] = written(writer, head)
        return found

    def head(
        self, answer: Response | Streamed, length: int | None, *, last: bool = False
    ) -> h11.Response:
        """The head of an answer, for h11 to write."""
        date = formatdate(int(self._clock()), usegmt=True).encode()
        headers = [*self.headers, (b"Date", date)]
        if answer.content_type:
            headers.append((b"Content-Type", answer.content_type.encode()))
        for name, text in answer.headers:
            headers.append((name.encode(), text.encode("latin-1", "replace")))
        if length is not None and answer.status != 204:
            headers.append((b"Content-Length", b"%d" % length))
        if last:
            headers.append((b"Connection", b"close"))
        reason = _REASONS.get(answer.status, b"")
        return h11.Response(status_code=answer.status, headers=headers, reason=reason)

    async def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response | Streaming:
        """What the handler says; its bugs are logged and told as such."""
        try:
            return await self.respond(method, target, headers, body)
        except Exception:
            logger.exception("%s %s", method, target.partition("?")[0])
            return failure(500, BUG)

    async def serve(self, stream: Stream) -> None:
        """One connection, until its end."""
        try:
            await _Connection(self, stream).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client went away, or takes nothing
        except Exception:
            logger.exception("a connection was given up")  # it must not end the others
        finally:
            with trio.move_on_after(0, shield=True):
                await stream.aclose()


def written(writer: h11.Connection, event: Any) -> bytes:
    """An event as bytes."""
    data: bytes | None = writer.send(event)
    assert data is not None
    return data


class _Connection:
    def __init__(self, server: HttpServer, stream: Stream) -> None:
        self._server = server
        self._stream = stream
        self._begin(b"", is_closed=False)
        self._scope = trio.CancelScope()
        self._is_timed = False
        self._idles_until = -math.inf
        self._send_timeout_s = SEND_TIMEOUT_S
        self._held = 0
        """Bytes of the body being read, as counted in the server's sum."""

    async def run(self) -> None:
        with self._scope:
            self._take_time(trio.current_time())
            try:
                while await self._one():
                    pass
            finally:
                self._release()

    def _within(self, seconds: float) -> None:
        """From now on: be done within so many seconds, or be cut off."""
        self._scope.deadline = trio.current_time() + seconds
        self._is_timed = True

    def _take_time(self, now: float) -> None:
        """Nothing is being read. No handler takes as long as a connection may idle."""
        until = now + IDLE_TIMEOUT_S
        if self._is_timed or not 0 <= until - self._idles_until <= IDLE_SLACK_S:
            self._scope.deadline = self._idles_until = until
            self._is_timed = False

    # -- one request

    def _begin(self, ahead: bytes, *, is_closed: bool) -> None:
        """Each request has an ``h11.Connection`` of its own, which begins with what was read ahead:
        so a known answer need not be written anew for h11 to know that it is over."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._is_fed = bool(ahead)
        if ahead:
            self._h11.receive_data(ahead)
        if is_closed:
            self._h11.receive_data(b"")

    async def _one(self) -> bool:
        """Read and answer a request; whether another one may follow."""
        try:
            request = await self._head()
            if request is None:
                return False
            body = await self._body()
        except h11.RemoteProtocolError as problem:
            await self._refuse(problem.error_status_hint, str(problem))
            return False
        except TooLarge as problem:
            await self._refuse(problem.status, "the request's body is too large")
            return False
        if request.method == b"CONNECT":
            await self._refuse(400, "this is no proxy")
            return False
        self._take_time(trio.current_time())
        method, target = request.method.decode(), request.target.decode()
        headers = {
            name.decode("ascii").lower(): text.decode("latin-1")
            for name, text in request.headers.raw_items()
        }
        answer = await self._server.answer(method, target, headers, body)
        self._release()
        if isinstance(answer, Response):
            await self._send(answer, has_body=method != "HEAD")
        elif answer.head.takes_over:
            await self._hand_over(answer, headers)
            return False
        elif not await self._send_stream(answer):
            return False
        if self._h11.their_state is not h11.DONE:
            return False
        ahead, is_closed = self._h11.trailing_data
        self._begin(ahead, is_closed=is_closed)
        return True

    async def _head(self) -> h11.Request | None:
        """The next request; None at the end of the connection."""
        if not self._is_fed:
            self._h11.receive_data(await self._stream.receive_some(CHUNK_BYTES))
        while True:
            event = self._h11.next_event()
            if type(event) is h11.Request:
                return event
            if event is not h11.NEED_DATA:
                return None
            if not self._is_timed:
                self._within(HEAD_TIMEOUT_S)
            await self._receive()

    async def _body(self) -> bytes:
        """All of the request's body."""
        parts: list[bytes] = []
        size, is_waiting = 0, False
        while True:
            event = self._h11.next_event()
            if type(event) is h11.EndOfMessage:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if type(event) is h11.Data:
                size += len(event.data)
                self._hold(len(event.data), size)
                parts.append(bytes(event.data))
                continue
            if not is_waiting:
                is_waiting = True
                self._within(BODY_TIMEOUT_S)
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._stream.send_all(written(self._h11, go_on))
            await self._receive()

    def _hold(self, count: int, size: int) -> None:
        """Count bytes that are kept until the request is answered."""
        if size > BODY_BYTES_MAX:
            raise TooLarge(413)
        if self._server.bodies_bytes + count > BODIES_BYTES_MAX:
            raise TooLarge(503)
        self._server.bodies_bytes += count
        self._held += count

    def _release(self) -> None:
        self._server.bodies_bytes -= self._held
        self._held = 0

    async def _receive(self) -> None:
        self._h11.receive_data(await self._stream.receive_some(CHUNK_BYTES))

    # -- one answer

    async def _send(self, answer: Response, *, has_body: bool = True, last: bool = False) -> None:
        server, body = self._server, answer.body
        if last or self._h11.their_state is not h11.DONE:
            data = written(self._h11, server.head(answer, len(body), last=last))
        else:
            data = server.known_head(answer, self._h11)
        if has_body:
            data += body  # as it is: the head says how long it is
        now = trio.current_time()
        if len(data) > CHUNK_BYTES:  # less is taken by the socket at once
            self._within(SEND_TIMEOUT_S)
        if server.company.has(id(self), now):
            await trio.lowlevel.checkpoint()  # all answers of this round leave in the next one
        await self._stream.send_all(data)
        self._take_time(trio.current_time() if self._is_timed else now)

    async def _refuse(self, status: int, text: str) -> None:
        """Say what is wrong with a request, and be done with the connection."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(failure(status, text), last=True)
            # What is closed with unread bytes is reset, and the answer is lost with it.
            self._within(LINGER_S)
            while await self._stream.receive_some(CHUNK_BYTES):
                pass

    async def _send_stream(self, answer: Streaming) -> bool:
        """Whether it came to its end."""
        self._scope.deadline = self._idles_until = math.inf
        async with aclosing(answer.items) as items:  # type: ignore[type-var]
            head = self._server.head(answer.head, None)
            await self._send_part(written(self._h11, head))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_client, nursery.cancel_scope)
                await self._send_items(answer.head, items, is_raw=False)
                nursery.cancel_scope.cancel()
        self._take_time(trio.current_time())
        return self._h11.our_state is h11.DONE

    async def _hand_over(self, answer: Streaming, headers: Mapping[str, str]) -> None:
        """Nothing of HTTP follows the head: 101 for a client that asks for it, and 200 for one that
        simply goes on."""
        self._scope.deadline = math.inf
        async with aclosing(answer.items) as items:  # type: ignore[type-var]
            upgrades = "tcp" in headers.get("upgrade", "").lower()
            head = _UPGRADED if upgrades else _TAKEN_OVER
            await self._send_part(head % answer.head.content_type.encode())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_listener, answer, nursery.cancel_scope)
                if answer.feed is not None:
                    self._send_timeout_s = math.inf
                await self._send_items(answer.head, items, is_raw=True)
                nursery.cancel_scope.cancel()

    async def _send_items(self, head: Streamed, items: AsyncIterator[Any], *, is_raw: bool) -> None:
        """Until the end. Without it, when the source or the client fails: the body stays open, and
        the client sees that there should be more."""
        try:
            async for item in items:
                if data := head.encode(item):
                    if not is_raw:
                        data = written(self._h11, h11.Data(data=data))
                    await self._send_part(data)
            if not is_raw:
                await self._send_part(written(self._h11, h11.EndOfMessage()))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        except Exception as problem:
            logger.warning("a stream ended early: %s", problem)

    async def _send_part(self, data: bytes) -> None:
        with trio.fail_after(self._send_timeout_s):
            await self._stream.send_all(data)

    async def _watch_client(self, scope: trio.CancelScope) -> None:
        """End the stream as soon as nobody reads it any more."""
        ahead = 0
        try:
            while ahead < HEAD_BYTES_MAX:
                data = await self._stream.receive_some(CHUNK_BYTES)
                self._h11.receive_data(data)
                ahead += len(data)
                if not data:
                    break
            else:
                return  # a client that sends so much ahead is noticed when a write fails
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def _watch_listener(self, answer: Streaming, scope: trio.CancelScope) -> None:
        """Read what the stream wants, or nobody, then see that the client is still there."""
        feed = answer.feed or _drop
        try:
            if ahead := self._h11.trailing_data[0]:
                await feed(ahead)
            while data := await self._stream.receive_some(CHUNK_BYTES):
                await feed(data)
            await feed(b"")
            while True:
                if self._stream.has_gone():
                    break
                await trio.sleep(GONE_LOOK_S)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


async def _drop(data: bytes) -> None:
    """What nobody wants."""
