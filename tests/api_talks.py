"""Talking to handlers of the Engine API without a socket: asks are answered from a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pyswarm.api.errors import answer_to
from pyswarm.api.messages import Response, Streamed
from pyswarm.api.routes import request_of, route
from pyswarm.errors import SwarmError

JSON = {"content-type": "application/json"}


def talk(
    method: str, target: str, body: Any = None, answers: Mapping[Any, Any] | None = None
) -> tuple[Response | Streamed, list[Any]]:
    """The answer, and what was asked for. ``answers``: by class of ask, for ``Host`` by verb; an
    exception is raised at the ask, a function is called with it."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    asked: list[Any] = []
    try:
        request = request_of(method, target, JSON if raw else {}, raw)
        handler, params = route(request)
        conversation = handler(request, *params)
        ask = next(conversation)
        while True:
            asked.append(ask)
            found = (answers or {})[getattr(ask, "verb", type(ask))]
            value = found(ask) if callable(found) else found
            if isinstance(value, SwarmError):
                ask = conversation.throw(value)
            else:
                ask = conversation.send(value)
    except StopIteration as end:
        return end.value, asked
    except SwarmError as error:
        return answer_to(error), asked


def told(answer: Response | Streamed) -> tuple[int, Any]:
    """Status and decoded body; of an error its message."""
    assert isinstance(answer, Response)
    if not answer.body:
        return answer.status, None
    found = json.loads(answer.body)
    return answer.status, found["message"] if answer.status >= 400 else found
