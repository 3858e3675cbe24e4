"""JSON and times as Go's encoder writes them, and rendered objects that are kept.

Objects are immutable, so what one looks like in JSON never changes either: :class:`Rendered` keeps
the bytes by the very object, and a list of thousands is one join.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from pyswarm.api.messages import Response

RENDERED_MAX = 20_000
"""Objects whose JSON is kept: a service has some 2 kB, so about 40 MB at most."""

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's time that was never set."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def fragment(value: Any) -> bytes:
    """A JSON value; keys in the order given, no blanks."""
    text = _dumps(value)
    if "\u2028" in text or "\u2029" in text:
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode("utf-8", "replace")


def document(value: Any) -> bytes:
    """A JSON value as a whole body: Go's encoder ends it with a newline."""
    return fragment(value) + b"\n"


def array(items: Iterable[bytes]) -> bytes:
    """A whole body: a list of values that are rendered already."""
    return b"[" + b",".join(items) + b"]\n"


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, document(value))


def created(id: str) -> Response:
    """The answer to who had an object made; nothing in an id needs an escape."""
    return Response(201, b'{"ID":"%b"}\n' % id.encode())


def time_text(seconds: float) -> str:
    """Cluster time as Go writes it (RFC 3339, UTC, no zeros at the end); 0 is Go's zero time."""
    if not seconds:
        return ZERO_TIME
    at = _EPOCH + timedelta(microseconds=round(seconds * 1e6))
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{at.microsecond:06}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def log_time_text(seconds: float) -> str:
    """A time as it stands before a line of a log: with all nine digits."""
    at = _EPOCH + timedelta(microseconds=round(seconds * 1e6))
    return at.strftime("%Y-%m-%dT%H:%M:%S") + f".{at.microsecond:06}000Z"


def nanoseconds(seconds: float) -> int:
    """A duration, or a time since the epoch, in Go's unit; exact to the microsecond."""
    return round(seconds * 1e6) * 1000


class Rendered:
    """The JSON of objects, by identity: as long as an object is the same, so are its bytes."""

    __slots__ = ("_kept", "_max")

    def __init__(self, kept_max: int = RENDERED_MAX) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Any, bytes]] = {}
        self._max = kept_max

    def of(self, thing: Any, render: Callable[..., Any], *arguments: Any) -> bytes:
        """``fragment(render(thing, *arguments))``, made once. The arguments must be hashable."""
        key = (id(thing), render, *arguments)
        found = self._kept.get(key)
        if found is not None and found[0] is thing:
            return found[1]
        data = fragment(render(thing, *arguments))
        if len(self._kept) >= self._max:
            self._drop()
        self._kept[key] = (thing, data)
        return data

    def _drop(self) -> None:
        """Half of them, the ones made first: what is still in use is made again."""
        for key in list(self._kept)[: len(self._kept) // 2]:
            del self._kept[key]
