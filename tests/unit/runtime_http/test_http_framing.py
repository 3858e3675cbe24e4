"""HTTP over a stream in memory, in virtual time: order, bounds, and what bad clients get."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import attrs
import h11
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.api.errors import answer_to
from pyswarm.api.messages import Response, Streamed
from pyswarm.api.rendering import answer as json_answer
from pyswarm.errors import NotFound
from pyswarm.runtime import http
from pyswarm.runtime.http import HttpServer, Streaming

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body: bytes, *headers: str) -> bytes:
    more = "".join(f"{one}\r\n" for one in headers)
    head = f"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def echo(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Says what it was asked."""
    if target == "/bug":
        raise LookupError("a bug")
    if target == "/missing":
        return answer_to(NotFound("nothing there"))
    if target == "/split":
        return Response(200, headers=(("X", "a\r\nb"),))
    if target == "/empty":
        return Response(204, content_type="")
    return json_answer({"method": method, "target": target, "size": len(body)})


Talk = Callable[[Any], Awaitable[None]]


def serve(talk: Talk, respond: Any = echo) -> HttpServer:
    """Run ``talk(client's end)`` against a server, in virtual time."""
    server = HttpServer(respond, (("Server", "Docker/x (linux)"),), clock=lambda: 1e9)

    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, theirs)
            await talk(ours)
            await ours.aclose()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert server.bodies_bytes == 0
    return server


async def rest(stream: Any) -> bytes:
    """All until the server closes the connection."""
    found = b""
    while data := await stream.receive_some(65536):
        found += data
    return found


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


def read_all(data: bytes, *methods: str) -> list[Answer]:
    """The answers in ``data``, to requests of these methods."""
    found = []
    for method in methods:
        conn = h11.Connection(h11.CLIENT)
        conn.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        conn.send(h11.EndOfMessage())
        conn.receive_data(data)
        head: Any = None
        body = b""
        while True:
            event = conn.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), event
        found.append(Answer(head.status_code, dict(head.headers), body))
        data = conn.trailing_data[0]
    assert not data
    return found


def exchanged(sent: bytes, *methods: str, respond: Any = echo) -> list[Answer]:
    """The answers to ``sent``, which ends the client's side."""
    got = b""

    async def talk(stream: Any) -> None:
        nonlocal got
        await stream.send_all(sent)
        await stream.send_eof()
        got = await rest(stream)

    serve(talk, respond)
    return read_all(got, *methods)


def test_requests_of_one_connection_are_answered_in_order() -> None:
    sent = GET + post(b"abc") + GET.replace(b"/x", b"/missing") + GET.replace(b"/x", b"/empty")
    first, second, third, fourth = exchanged(sent, "GET", "POST", "GET", "GET")
    assert json.loads(first.body) == {"method": "GET", "target": "/x", "size": 0}
    assert json.loads(second.body)["size"] == 3
    assert (third.status, json.loads(third.body)) == (404, {"message": "nothing there"})
    assert (fourth.status, fourth.body, b"content-length" in fourth.headers) == (204, b"", False)
    assert first.headers[b"server"] == b"Docker/x (linux)"
    assert first.headers[b"date"] == b"Sun, 09 Sep 2001 01:46:40 GMT"


def test_a_head_request_has_the_headers_alone() -> None:
    (answer,) = exchanged(GET.replace(b"GET", b"HEAD"), "HEAD")
    assert (answer.body, int(answer.headers[b"content-length"]) > 0) == (b"", True)


def test_http_1_0_and_close_end_the_connection() -> None:
    for sent in (GET.replace(b"1.1", b"1.0"), GET.replace(b"Host", b"Connection: close\r\nHost")):
        (answer,) = exchanged(sent + GET, "GET")
        assert answer.headers[b"connection"] == b"close"


def test_the_same_answer_says_whether_its_connection_goes_on() -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = exchanged(GET + GET + last, "GET", "GET", "GET")
    assert [answer.headers.get(b"connection") for answer in answers] == [None, None, b"close"]
    assert len({answer.body for answer in answers}) == 1


def test_chunks_come_in() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    (answer,) = exchanged(head + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", "POST")
    assert json.loads(answer.body)["size"] == 7


def test_a_client_may_wait_for_the_word_to_go_on() -> None:
    async def talk(stream: Any) -> None:
        head, body = post(b"abc", "Expect: 100-continue")[:-3], b"abc"
        await stream.send_all(head)
        said = await stream.receive_some(65536)
        assert said.startswith(b"HTTP/1.1 100 ")
        await stream.send_all(body)
        assert b'"size":3' in await stream.receive_some(65536)

    serve(talk)


def test_a_bug_is_told_without_its_story(caplog: pytest.LogCaptureFixture) -> None:
    first, second = exchanged(GET.replace(b"/x", b"/bug") + GET, "GET", "GET")
    assert (first.status, second.status) == (500, 200)
    assert b"LookupError" not in first.body
    assert "LookupError" in caplog.text


def test_an_answer_that_cannot_be_sent_ends_its_connection_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert exchanged(GET.replace(b"/x", b"/split") + GET) == []
    assert "LocalProtocolError" in caplog.text


def test_who_asks_for_another_protocol_is_answered_in_this_one() -> None:
    first, second = exchanged(GET[:-2] + b"Upgrade: tcp\r\n\r\n" + GET, "GET", "GET")
    assert (first.status, second.status) == (200, 200)


def test_a_client_that_sends_on_still_hears_why_not() -> None:
    async def talk(stream: Any) -> None:
        await stream.send_all(b"rubbish\r\n\r\n")
        assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 400 ")
        await stream.send_all(b"more")
        began = trio.current_time()
        await rest(stream)
        assert trio.current_time() - began == pytest.approx(http.LINGER_S)

    serve(talk)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 3 * http.HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 3 * http.HEAD_BYTES_MAX, 431),
        (post(b"")[:-2].replace(b"0", b"99999999999") + b"\r\n" + b"a" * 5_000_000, 413),
    ],
)
def test_bad_framing_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    (answer,) = exchanged(sent, "GET")
    assert answer.status == status
    assert answer.headers[b"connection"] == b"close"
    assert json.loads(answer.body)["message"]


def test_bodies_being_read_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODIES_BYTES_MAX", 10)
    assert [one.status for one in exchanged(post(b"a" * 10), "POST")] == [200]
    assert [one.status for one in exchanged(post(b"a" * 11), "POST")] == [503]


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"", http.IDLE_TIMEOUT_S),
        (b"GET / HT", http.HEAD_TIMEOUT_S),
        (GET, http.IDLE_TIMEOUT_S),
        (GET + b"GET / HT", http.HEAD_TIMEOUT_S),
        (post(b"abcdef")[:-3], http.BODY_TIMEOUT_S),
    ],
)
def test_slow_clients_are_cut_off(sent: bytes, seconds: float) -> None:
    async def talk(stream: Any) -> None:
        if sent:
            await stream.send_all(sent)
        began = trio.current_time()
        await rest(stream)
        assert trio.current_time() - began == pytest.approx(seconds)

    serve(talk)


def test_a_connection_in_use_is_not_idle() -> None:
    async def talk(stream: Any) -> None:
        for _ in range(3):
            await trio.sleep(http.IDLE_TIMEOUT_S * 0.9)
            await stream.send_all(GET)
            assert await stream.receive_some(65536)
        began = trio.current_time()
        await rest(stream)
        assert trio.current_time() - began == pytest.approx(
            http.IDLE_TIMEOUT_S, abs=http.IDLE_SLACK_S
        )

    serve(talk)


def test_dripping_bytes_does_not_extend_the_time_of_a_head() -> None:
    async def talk(stream: Any) -> None:
        async def drip() -> None:
            for char in b"GET /" + b"a" * 1000:
                await stream.send_all(bytes([char]))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            await rest(stream)
            assert trio.current_time() == pytest.approx(http.HEAD_TIMEOUT_S, abs=2)
            nursery.cancel_scope.cancel()

    serve(talk)


def test_a_handler_may_take_its_time() -> None:
    async def slow(*_: Any) -> Response:
        await trio.sleep(http.BODY_TIMEOUT_S * 3)
        return json_answer("done")

    (answer,) = exchanged(post(b"abc"), "POST", respond=slow)
    assert json.loads(answer.body) == "done"


def test_a_handler_has_all_of_its_time_on_a_connection_that_idled() -> None:
    async def slow(*_: Any) -> Response:
        await trio.sleep(http.IDLE_TIMEOUT_S * 0.9)
        return json_answer("done")

    async def talk(stream: Any) -> None:
        await trio.sleep(http.IDLE_TIMEOUT_S * 0.9)
        await stream.send_all(GET)
        assert b"done" in await stream.receive_some(65536)

    serve(talk, slow)


# -- streams


class Ticks:
    """Numbers, one a second."""

    def __init__(self, count: int | None, error: Exception | None = None) -> None:
        self.closed = False
        self._left = count
        self._error = error

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        await trio.sleep(1)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise self._error or StopAsyncIteration
        return 7

    async def aclose(self) -> None:
        self.closed = True


def streaming(ticks: Ticks) -> Any:
    head = Streamed(None, lambda tick: b"" if ticks._left == 1 else b"%d\n" % tick)

    async def respond(*_: Any) -> Streaming:
        return Streaming(head, ticks)

    return respond


def test_a_stream_is_written_in_chunks_and_another_request_may_follow() -> None:
    ticks = Ticks(3)
    first, second = read_stream(ticks, GET + GET)
    assert first.headers[b"transfer-encoding"] == b"chunked"
    assert first.body == b"7\n7\n"
    assert (second.status, ticks.closed) == (200, True)


def read_stream(ticks: Ticks, sent: bytes) -> list[Answer]:
    respond = streaming(ticks)
    calls = 0

    async def first_streams(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return await (respond if calls == 1 else echo)(*arguments)

    found: list[Answer] = []

    async def talk(stream: Any) -> None:
        await stream.send_all(sent)
        data = b""
        while b'"target"' not in data:
            data += await stream.receive_some(65536)
        found.extend(read_all(data, "GET", "GET"))

    serve(talk, first_streams)
    return found


def test_a_client_that_goes_away_ends_its_stream() -> None:
    ticks = Ticks(None)

    async def talk(stream: Any) -> None:
        await stream.send_all(GET)
        await stream.receive_some(65536)

    serve(talk, streaming(ticks))
    assert ticks.closed


def test_a_stream_that_fails_is_left_without_its_end(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks(2, NotFound("gone"))

    async def talk(stream: Any) -> None:
        await stream.send_all(GET)
        data = await rest(stream)
        assert not data.endswith(b"0\r\n\r\n")
        assert data.count(b"7\n") == 1

    serve(talk, streaming(ticks))
    assert ticks.closed
    assert "gone" in caplog.text


# -- whatever comes


PIECES = [
    *(GET, post(b"{}"), b"\r\n", b"GET ", b"HTTP/1.1", b"Host: h\r\n", GET[:-2], post(b"{}")[:-4]),
    *(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffff\r\n"),
    *(b"Content-Length: 9999999999\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: Upgrade\r\nUpgrade: tcp\r\n", b"X: " + b"x" * 70_000 + b"\r\n"),
]


@settings(max_examples=60 if settings.default.derandomize else 5000)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(PIECES)), max_size=8))
def test_no_bytes_make_the_server_fail(parts: list[bytes]) -> None:
    async def talk(stream: Any) -> None:
        await stream.send_all(b"".join(parts))
        await stream.send_eof()
        data = await rest(stream)
        assert not data or data.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in data

    serve(talk)
