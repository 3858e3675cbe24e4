"""Events: what changed in the swarm, as Docker's ``events`` tells it.

Every write of a node, service, network, secret or config is an event of scope ``swarm``; an update
carries the old and new values of what people watch for. Tasks and the swarm itself make none.
Leadership and reachability are in no store, so an update of a node does not tell of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

from pyswarm.api.asks import Follow
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of, has_labels
from pyswarm.api.messages import Conversation, HttpRequest, Streamed
from pyswarm.api.rendering import document, nanoseconds
from pyswarm.api.versions import as_recorded
from pyswarm.model import Node, Service
from pyswarm.store import Change, Commit

KINDS = ("node", "service", "network", "secret", "config")
Changed: TypeAlias = Iterator[tuple[str, str, str]]
"""Attribute, old and new value ("" where there was none)."""

NAME_FILTERS = (*KINDS, "container", "image", "plugin", "volume", "daemon")
"""Filters by the name or id of what an event is about."""


def events(request: HttpRequest) -> Conversation:
    """The stream, from ``since`` until ``until``."""
    since, until = _time_of(request, "since"), _time_of(request, "until")
    if since is not None and until is not None and since > until:
        raise Refused(
            400,
            f"`since` time ({request.param('since')}) cannot be after `until` time "
            f"({request.param('until')})",
        )
    if since is None and until is not None:
        since = 0.0
    wanted = filters_of(request, None)
    yield from ()
    return Streamed(Follow(KINDS, since, until), partial(encode, wanted))


_TIME = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?")


def _time_of(request: HttpRequest, name: str) -> float | None:
    """A Unix time, ``seconds`` or ``seconds.nanoseconds``; None where nothing is said."""
    text = request.param(name)
    if not text:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        status = 500 if as_recorded(request.version) else 400
        raise Refused(status, f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return float(text)


def encode(wanted: Filters, commit: Commit) -> bytes:
    """The events of one entry that a client wants to see, one line each."""
    found = (event_of(commit, change) for change in commit.changes)
    return b"".join(document(event) for event in found if matches(event, wanted))


def event_of(commit: Commit, change: Change) -> dict[str, Any]:
    """One change as an event."""
    action = "create" if change.old is None else "remove" if change.new is None else "update"
    shown = change.old if change.new is None else change.new
    attributes = {"name": _name(shown)}
    if action == "update" and (differ := _DIFFER.get(change.kind)) is not None:
        for name, old, new in differ(change.old, change.new):
            if old:
                attributes[f"{name}.old"] = old
            attributes[f"{name}.new"] = new
    nanos = nanoseconds(commit.stamp)
    return {
        "Type": change.kind,
        "Action": action,
        "Actor": {"ID": change.id, "Attributes": dict(sorted(attributes.items()))},
        "scope": "swarm",
        "time": nanos // 10**9,
        "timeNano": nanos,
    }


def _name(thing: Any) -> str:
    if isinstance(thing, Node):
        return thing.spec.name or (thing.description.hostname if thing.description else "")
    return str(thing.spec.name)


def _service(old: Service, new: Service) -> Changed:
    if (before := _image(old)) != (after := _image(new)):
        yield "image", before, after
    if (count := _replicas(old)) != (wanted := _replicas(new)) and count and wanted:
        yield "replicas", count, wanted
    state, now = _update_state(old), _update_state(new)
    if state != now and now:
        yield "updatestate", state, now


def _image(service: Service) -> str:
    container = service.spec.task.container
    return container.image if container is not None else ""


def _replicas(service: Service) -> str:
    replicas = getattr(service.spec.mode, "replicas", None)
    return "" if replicas is None else str(replicas)


def _update_state(service: Service) -> str:
    status = service.update_status
    return "" if status is None else str(status.state)


def _node(old: Node, new: Node) -> Changed:
    if old.spec.availability is not new.spec.availability:
        yield "availability", str(old.spec.availability), str(new.spec.availability)
    if old.role is not new.role:
        yield "role", str(old.role), str(new.role)
    if old.state is not new.state:
        yield "state", str(old.state), str(new.state)


_DIFFER: Mapping[str, Any] = {"service": _service, "node": _node}


def matches(event: Mapping[str, Any], wanted: Filters) -> bool:
    """Whether an event meets every filter: names and ids by their beginning, the rest exactly."""
    actor = event["Actor"]
    for name, values in wanted.items():
        if name == "type" and event["Type"] not in values:
            return False
        if name == "event" and event["Action"] not in values:
            return False
        if name == "scope" and event["scope"] not in values:
            return False
        if name == "label" and not has_labels(actor["Attributes"], values):
            return False
        if name in NAME_FILTERS and not _is_about(actor, values):
            return False
    return True


def _is_about(actor: Mapping[str, Any], values: tuple[str, ...]) -> bool:
    names = (actor["ID"], actor["Attributes"].get("name", ""))
    return any(name.startswith(value) for name in names for value in values)
