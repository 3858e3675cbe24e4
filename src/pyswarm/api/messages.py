"""What comes in and what goes out, free of sockets: one request, one response.

``Streamed`` is a response whose body is made as it happens (events, logs): the runtime opens what
``source`` asks for, and writes what ``encode`` makes of each item until the stream or the client
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

import attrs

ApiVersion: TypeAlias = tuple[int, int]
"""``(1, 41)``."""


@attrs.frozen
class HttpRequest:
    """One request, its body read in full and within the limits."""

    method: str
    path: str
    """Without the ``/v1.41`` prefix and the query; percent-decoded."""
    version: ApiVersion
    """What the path's prefix said; the newest known one where there is none."""
    query: Mapping[str, tuple[str, ...]] = {}
    headers: Mapping[str, str] = {}
    """Names in lower case."""
    body: bytes = b""

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name, ())
        return values[0] if values else default


@attrs.frozen
class Response:
    """One whole answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Streamed:
    """An answer that goes on: written item by item, in chunks."""

    source: Any
    """The ask (:mod:`pyswarm.api.asks`) whose answer is an asynchronous iterator."""
    encode: Callable[[Any], bytes]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    takes_over: bool = False
    """The connection becomes the stream, as clients that attach expect it: no chunks, and no
    further request."""


Conversation: TypeAlias = Generator[Any, Any, Response | Streamed]
Handler: TypeAlias = Callable[..., Conversation]
"""``handler(request, *path_parameters)``."""


@attrs.frozen
class Route:
    """One entry of a resource's ``ROUTES``: who answers a method and a path, and since when."""

    method: str
    pattern: str
    """``/services/{id}/update``; ``{name...}`` takes slashes too."""
    handler: Handler
    since: ApiVersion = (1, 24)
    """The API version that brought it; older clients do not see it."""
