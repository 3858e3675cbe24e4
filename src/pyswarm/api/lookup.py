"""Finding an object the way people name it, and the filters that all lists have in common.

A reference is an exact id, else an exact name, else the only one whose id begins so. The engine
looks up before it asks the managers, so these refusals have no prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pyswarm.api.asks import Live
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, strict_bool
from pyswarm.api.messages import HttpRequest
from pyswarm.store import Reader

ANY_CASE = ("secret", "config")
"""Kinds whose names are found in any case of letters, as with Docker; others as they are written.
"""


def find(reader: Reader, live: Live, kind: str, reference: str) -> Any:
    """The one object meant; ``Refused`` with 404 or, where it is ambiguous, 400."""
    found = reader.get(kind, reference)
    matches = [found] if found is not None else _by_name(reader, kind, reference)
    if not matches:
        ids = reader.ids_with_prefix(kind, reference)
        matches = [reader.get(kind, one) for one in ids]
    matches = [one for one in matches if not getattr(one, "internal", False)]
    if not matches:
        raise Refused(404, f"{kind} {reference} not found")
    if len(matches) > 1:
        raise Refused(400, f"{kind} {reference} is ambiguous ({len(matches)} matches found)")
    return matches[0]


def _by_name(reader: Reader, kind: str, name: str) -> list[Any]:
    if kind == "node":
        return [node for node in reader.nodes_by_hostname(name) if node.hostname == name]
    if kind == "task":
        task = reader.task(name.rpartition(".")[2])
        return [task] if task is not None and task.name == name else []
    found = reader.by_name(kind, name)
    if found is None or (found.spec.name != name and kind not in ANY_CASE):
        return []
    return [found]


def found(kind: str, reference: str) -> Callable[[Reader, Live], Any]:
    """The question for one object, as it is stored."""
    return lambda reader, live: find(reader, live, kind, reference)


def in_order(objects: Iterable[Any]) -> list[Any]:
    """In order of ids, as Docker lists."""
    return sorted(objects, key=lambda one: one.id)


def begins(values: Sequence[str], text: str) -> bool:
    """Whether ``text`` begins with one of the filter's values; without any it does."""
    return not values or any(text.startswith(value) for value in values)


def labels_match(values: Sequence[str], labels: Mapping[str, str]) -> bool:
    """Whether all of ``key``, ``key=`` (any value) or ``key=value`` hold."""
    for one in values:
        key, _, value = one.partition("=")
        if key not in labels or (value and labels[key] != value):
            return False
    return True


def common(filters: Filters, id: str, name: str, labels: Mapping[str, str]) -> bool:
    """The filters ``id`` and ``name`` (prefixes) and ``label``."""
    return (
        begins(filters.get("id", ()), id)
        and begins(filters.get("name", ()), name)
        and labels_match(filters.get("label", ()), labels)
    )


def flag(request: HttpRequest, name: str) -> bool:
    """A bool of the query as Go reads it; left out it is false, ``Refused`` where it is none."""
    text = request.param(name)
    if not text:
        return False
    value = strict_bool(text)
    if value is None:
        why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
        raise Refused(400, f"invalid value for {name}: {text}: {why}")
    return value
