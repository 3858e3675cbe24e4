"""Which handler answers a request: one table per resource, kept in its module as ``ROUTES``.

A pattern's ``{name}`` is one part of the path, ``{name...}`` any number of them (image names have
slashes). What the Engine API has and a node without containers cannot do is 501 with a sentence;
anything else is 404 ``page not found``, wrong methods included, as Docker has it. ``OPTIONS`` are
asked of any path, and answered with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from pyswarm.api import (
    containers,
    distribution,
    execs,
    images,
    logs,
    networks,
    nodes,
    payloads,
    plugins,
    services,
    swarm,
    system,
    tasks,
    usage,
    volumes,
)
from pyswarm.api.errors import TASKS_ONLY, Refused
from pyswarm.api.messages import ApiVersion, Conversation, Handler, HttpRequest, Response, Route
from pyswarm.api.versions import MAX_VERSION, supported

TABLES: tuple[tuple[Route, ...], ...] = (
    system.ROUTES,
    swarm.ROUTES,
    nodes.ROUTES,
    services.ROUTES,
    tasks.ROUTES,
    payloads.ROUTES,
    networks.ROUTES,
    distribution.ROUTES,
    logs.ROUTES,
    containers.ROUTES,
    execs.ROUTES,
    images.ROUTES,
    volumes.ROUTES,
    plugins.ROUTES,
    usage.ROUTES,
)

NOT_HERE = frozenset(
    {
        *("build", "checkpoints", "commit", "containers", "exec", "grpc", "images"),
        *("plugins", "session", "volumes"),
    }
)
"""Heads of the Engine API's other paths."""

QUERY_FIELDS_MAX = 100
"""No request of the API has more than a dozen."""

KNOWN_TARGETS = 256
KNOWN_TARGET_MAX = 256
"""Targets that are kept, taken apart: the last ones, of so many characters each. Clients mostly
repeat themselves."""

PAGE_NOT_FOUND = "page not found"
_VERSIONED = re.compile(r"/v(\d{1,4})\.(\d{1,4})(/.*)?")
PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")
"""In a pattern."""


class Match(NamedTuple):
    """Who answers, and the parts of the path that the handler takes."""

    handler: Handler
    params: tuple[str, ...]


class _Pattern(NamedTuple):
    expression: re.Pattern[str]
    route: Route


class Router:
    """Tables of routes, made quick to search."""

    def __init__(self, tables: Iterable[Iterable[Route]]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[_Pattern]] = {}
        for table in tables:
            for route in table:
                self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.pattern:
            assert (route.method, route.pattern) not in self._exact, f"two routes {route.pattern}"
            self._exact[route.method, route.pattern] = route
            return
        text, end = "", 0
        for part in PARAMETER.finditer(route.pattern):
            text += re.escape(route.pattern[end : part.start()])
            text += "(.+)" if part[2] else "([^/]+)"
            end = part.end()
        expression = re.compile(text + re.escape(route.pattern[end:]))
        patterns = self._patterns.setdefault((route.method, _head(route.pattern)), [])
        patterns.append(_Pattern(expression, route))

    def find(self, method: str, path: str, version: ApiVersion) -> Match:
        """Who answers ``path`` (without version prefix and query)."""
        if method == "OPTIONS":
            return Match(options, ())
        exact = self._exact.get((method, path))
        if exact is not None and exact.since <= version:
            return Match(exact.handler, ())
        for pattern, route in self._patterns.get((method, _head(path)), ()):
            found = pattern.fullmatch(path)
            if found is not None and route.since <= version:
                return Match(route.handler, found.groups())
        if _head(path) in NOT_HERE:
            raise Refused(501, f"{method} {path}: {TASKS_ONLY}")
        raise Refused(404, PAGE_NOT_FOUND)


def options(request: HttpRequest) -> Conversation:
    """Empty, of every path: other origins are allowed nothing."""
    yield from ()
    return Response(200, content_type="")


def _head(path: str) -> str:
    return path[1:].partition("/")[0]


def request_of(
    method: str, target: str, headers: Mapping[str, str], body: bytes = b""
) -> HttpRequest:
    """A request as handlers see it: version and query split off, percent signs decoded.

    Raises ``Refused`` for a version that is not spoken here, or a query of too many parts.
    """
    read = _known_target if len(target) <= KNOWN_TARGET_MAX else _read_target
    path, version, query = read(target)
    return HttpRequest(method, path, version, query, headers, body)


def _read_target(target: str) -> tuple[str, ApiVersion, Mapping[str, tuple[str, ...]]]:
    """Path, version and query."""
    path, _, text = target.partition("?")
    if not path.startswith("/") and "://" in path:  # the form for proxies names the host again
        path = "/" + path.partition("://")[2].partition("/")[2]
    found = _VERSIONED.fullmatch(path)
    version = MAX_VERSION
    if found is not None:
        version, path = supported(found[1], found[2]), found[3] or "/"
    if "%" in path:
        path = unquote(path)
    return path, version, MappingProxyType(_query(text))


_known_target = lru_cache(KNOWN_TARGETS)(_read_target)


def _query(text: str) -> dict[str, tuple[str, ...]]:
    if not text:
        return {}
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Refused(400, f"more than {QUERY_FIELDS_MAX} query parameters") from None
    return {name: tuple(values) for name, values in found.items()}


ROUTER = Router(TABLES)


def route(request: HttpRequest) -> Match:
    """Who answers; ``Refused`` where nobody does."""
    return ROUTER.find(request.method, request.path, request.version)
