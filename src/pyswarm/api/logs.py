"""Logs of services, tasks and containers: what may be asked, and how lines are framed.

Unless the task has a terminal, each line is a frame: one byte for the stream (1 stdout, 2 stderr),
three zeros, the length in four bytes, the line. A line begins with its time and with where it is
from, if these were asked for::

    2026-11-22T18:14:21.494908634Z com.docker.swarm.node.id=…,….task.id=… the text

What cannot be read is no longer an answer of its own: a frame of stream 3 at the end says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote_plus

from pyswarm.api.asks import Live, LogsMissing, Read, ReadLogs
from pyswarm.api.errors import Refused
from pyswarm.api.filters import is_true
from pyswarm.api.local import LogWish
from pyswarm.api.lookup import find
from pyswarm.api.messages import ApiVersion, Conversation, HttpRequest, Route, Streamed
from pyswarm.api.rendering import log_time_text
from pyswarm.api.versions import as_recorded
from pyswarm.errors import NotFound
from pyswarm.model import Service, Task
from pyswarm.store import Reader

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED_SINCE: ApiVersion = (1, 42)
"""Before, all streams were called raw."""

STDOUT, STDERR, SYSTEM = b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0"
TAIL = 'tail value must be a positive integer or "all"'
NEGATIVE_TAIL = "negative tail values not supported"


# -- what is asked


def check_streams(request: HttpRequest) -> None:
    """Refuse a request for no stream at all: before anything else, as Docker does."""
    if is_true(request.param("stdout")) or is_true(request.param("stderr")):
        return
    if as_recorded(request.version):
        raise Refused(500, "Bad parameters: you must choose at least one stream")
    raise Refused(400, "must specify at least one of 'stdout' or 'stderr'")


def wish_of(request: HttpRequest, *, may_end: bool = True) -> LogWish:
    """Which lines are wanted; ``Refused`` for what cannot be understood. ``may_end``: whether
    ``until`` is looked at, which it is for containers alone."""
    until = request.param("until") if may_end else ""
    return LogWish(
        stdout=is_true(request.param("stdout")),
        stderr=is_true(request.param("stderr")),
        follow=is_true(request.param("follow")),
        tail=_tail(request.param("tail")),
        since=_moment(request, "since"),
        until=_moment(request, "until") if until else None,
    )


def _tail(text: str) -> int | None:
    if text in ("", "all"):
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Refused(500, TAIL)
    if text[0] == "-":
        raise Refused(500, NEGATIVE_TAIL)
    return int(digits)


def _moment(request: HttpRequest, name: str) -> float:
    """Seconds since the epoch, with a fraction perhaps."""
    text = request.param(name)
    if not text:
        return 0.0
    try:
        value = Decimal(text)
        if value.is_finite() and abs(value) < 10**12 and "e" not in text.lower():
            return float(value)
    except InvalidOperation:
        pass
    why = f'strconv.ParseInt: parsing "{text}": invalid syntax'
    if as_recorded(request.version):
        raise Refused(500, f"could not parse {name} timestamp: {why}")
    raise Refused(400, f'invalid value for "{name}": {why}')


# -- how it is told


def streamed(request: HttpRequest, source: Any, *, tty: bool) -> Streamed:
    """The answer: lines of ``source`` in frames, or raw where they come from a terminal."""
    stamped = is_true(request.param("timestamps"))
    details = _from if is_true(request.param("details")) else None
    framed = not tty and request.version >= MULTIPLEXED_SINCE
    return Streamed(
        source,
        encoder(timestamps=stamped, details=details, framed=not tty),
        content_type=MULTIPLEXED if framed else RAW,
    )


def attached(request: HttpRequest, source: Any, *, tty: bool) -> Streamed:
    """The same for a client that attaches: the connection is the answer."""
    framed = not tty and request.version >= MULTIPLEXED_SINCE
    return Streamed(
        source,
        encoder(timestamps=False, details=None, framed=not tty),
        content_type=MULTIPLEXED if framed else RAW,
        takes_over=True,
    )


def encoder(
    *, timestamps: bool, details: Callable[[Any], str] | None, framed: bool
) -> Callable[[Any], bytes]:
    """What makes bytes of a line. ``details`` says of a line where it is from."""

    def encode(line: Any) -> bytes:
        if isinstance(line, LogsMissing):
            return _framed(SYSTEM, _missing(line)) if framed else _missing(line)
        text: bytes = line.data + b"\n"
        if details is not None:
            text = details(line).encode() + b" " + text
        if timestamps:
            text = log_time_text(line.time).encode() + b" " + text
        if not framed:
            return text
        return _framed(STDERR if line.stream == "stderr" else STDOUT, text)

    return encode


def _framed(head: bytes, text: bytes) -> bytes:
    return head + len(text).to_bytes(4, "big") + text


def _missing(end: LogsMissing) -> bytes:
    return f"Error grabbing logs: rpc error: code = Unknown desc = {end.why}\n".encode()


def _from(line: Any) -> str:
    """Where a line is from; a container's own has nothing to say."""
    if not hasattr(line, "service_id"):
        return ""
    words = {"node": line.node_id, "service": line.service_id, "task": line.task_id}
    return ",".join(
        f"com.docker.swarm.{name}.id={quote_plus(value)}" for name, value in words.items()
    )


# -- of services and tasks


def of_service(request: HttpRequest, reference: str) -> Conversation:
    """The lines of a service's tasks, with those it gets meanwhile if ``follow``."""
    check_streams(request)

    def which(reader: Reader, live: Live) -> Service:
        service: Service = find(reader, live, "service", reference)
        return service

    service: Service = yield Read(which)

    def tasks(reader: Reader) -> Iterable[Task]:
        if reader.service(service.id) is None:
            raise NotFound(f"service {service.id} not found")
        return reader.tasks_of_service(service.id)

    container = service.spec.task.container
    source = ReadLogs(tasks=tasks, wish=wish_of(request, may_end=False))
    return streamed(request, source, tty=container is not None and container.tty)


def of_task(request: HttpRequest, reference: str) -> Conversation:
    """The lines of one task, until it has ended if ``follow``."""
    check_streams(request)

    def which(reader: Reader, live: Live) -> Task:
        task: Task = find(reader, live, "task", reference)
        return task

    task: Task = yield Read(which)

    def tasks(reader: Reader) -> Iterable[Task]:
        found = reader.task(task.id)
        return () if found is None else (found,)

    container = task.spec.container
    source = ReadLogs(tasks=tasks, task_id=task.id, wish=wish_of(request, may_end=False))
    return streamed(request, source, tty=container is not None and container.tty)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/services/{id}/logs", of_service),
    Route("GET", "/tasks/{id}/logs", of_task),
)
