"""As much HTTP as a registry needs: one request, one answer, one connection, a bound on all of it.

h11 reads and writes the protocol; it comes with the ``registry`` extra and is loaded here, with the
first request.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

import attrs
import trio

from pyswarm.errors import FailedPrecondition, ResourceExhausted, Unavailable

BODY_BYTES_MAX = 4 * 1024 * 1024
"""What registries limit manifests to."""

REDIRECTS_MAX = 5
CHUNK_BYTES = 65536


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = attrs.field(repr=False)


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    may_be_plain: bool = False,
) -> Answer:
    """One answer, after redirects. Neither an ``Authorization`` nor a body goes to another host.

    Raises ``Unavailable`` where nobody answers or what answers is not HTTP, ``ResourceExhausted``
    for too large a body, and ``FailedPrecondition`` for plain HTTP where it is not allowed.
    """
    sent = dict(headers or {})
    for _ in range(REDIRECTS_MAX):
        answer = await _once(url, method, sent, body, tls, may_be_plain)
        location = answer.headers.get("location")
        if answer.status not in (301, 302, 303, 307, 308) or not location:
            return answer
        target = urljoin(url, location)
        if urlsplit(target).netloc != urlsplit(url).netloc:
            if body:  # it may hold credentials
                raise _unavailable(method, url, "it leads to another host")
            sent.pop("Authorization", None)
        url = target
    raise _unavailable(method, url, "too many redirects")


async def _once(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext | None,
    may_be_plain: bool,
) -> Answer:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FailedPrecondition(f"unsupported address: {url.partition('?')[0]}")
    if parts.scheme == "http" and not may_be_plain:
        raise FailedPrecondition(f"{parts.netloc} would be asked without TLS")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        stream: trio.abc.Stream = await trio.open_tcp_stream(parts.hostname, port)
        if parts.scheme == "https":
            context = tls or ssl.create_default_context()
            stream = trio.SSLStream(
                stream, context, server_hostname=parts.hostname, https_compatible=True
            )
    except (OSError, ValueError) as error:
        raise _unavailable(method, url, _why_not_reached(error, parts)) from error
    async with stream:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        all_headers = {"Host": parts.netloc, "User-Agent": "pyswarm", **headers}
        all_headers |= {"Connection": "close"}
        if body or method in ("POST", "PUT", "PATCH"):
            all_headers["Content-Length"] = str(len(body))
        try:
            return await _exchange(stream, method, target, all_headers, body)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            raise _unavailable(method, url, _reason(error)) from error


def _unavailable(method: str, url: str, why: str) -> Unavailable:
    """As Go words it; what a query says of the user is nobody's business."""
    return Unavailable(f'{method.capitalize()} "{url.partition("?")[0]}": {why}')


def _why_not_reached(error: BaseException, parts: SplitResult) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {parts.hostname}: no such host"
    if isinstance(cause, OSError) and cause.errno:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return f"dial tcp {parts.hostname}:{port}: connect: {os.strerror(cause.errno).lower()}"
    return _reason(error)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    return str(cause) or type(cause).__name__


async def _exchange(
    stream: trio.abc.Stream, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    import h11

    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method=method, target=target, headers=list(headers.items()))
    data = connection.send(request) or b""
    if body:
        data += connection.send(h11.Data(data=body)) or b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
    answer: h11.Response | None = None
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(CHUNK_BYTES)))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > BODY_BYTES_MAX:
                    raise ResourceExhausted(f"more than {BODY_BYTES_MAX} bytes in an answer")
            elif isinstance(event, h11.EndOfMessage):
                break
    except h11.RemoteProtocolError as error:
        raise Unavailable(f"what answered does not speak HTTP: {error}") from error
    assert answer is not None
    named = {name.decode().lower(): value.decode("latin-1") for name, value in answer.headers}
    return Answer(answer.status_code, named, b"".join(parts))
