"""``/plugins``: there are none, which clients are told rather than that it is not known."""

from __future__ import annotations

from pyswarm.api.errors import Refused
from pyswarm.api.messages import Conversation, HttpRequest, Route
from pyswarm.api.rendering import answer


def list_plugins(request: HttpRequest) -> Conversation:
    """None."""
    yield from ()
    return answer([])


def inspect(request: HttpRequest, name: str) -> Conversation:
    """None of any name: ``docker inspect`` looks here too."""
    yield from ()
    raise Refused(404, f'plugin "{name}" not found')


ROUTES: tuple[Route, ...] = (
    Route("GET", "/plugins", list_plugins),
    Route("GET", "/plugins/{name...}/json", inspect),
)
