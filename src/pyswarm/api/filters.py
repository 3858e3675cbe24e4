"""The ``filters`` of a list: one query value, a JSON object of names and what each may be.

``{"name": ["a", "b"]}``, or as older clients write it ``{"name": {"a": true}}``. Values of one
filter are alternatives, of labels each must hold; different filters must all hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from pyswarm.api import gojson
from pyswarm.api.errors import Refused
from pyswarm.api.messages import HttpRequest
from pyswarm.api.versions import as_recorded

Filters: TypeAlias = Mapping[str, tuple[str, ...]]


def filters_of(
    request: HttpRequest, accepted: Collection[str] | None, *, malformed: int = 500
) -> Filters:
    """The filters of a request; ``Refused`` with 400 for one that is not ``accepted`` (None: all
    are). ``malformed`` is what an engine of 1.41 answered where they are no filters at all: 500 but
    for services."""
    text = request.param("filters")
    if not text:
        return {}
    recorded = as_recorded(request.version)
    try:
        found = _values(gojson.parse_whole(text.encode("utf-8", "replace")))
    except gojson.BadJson as problem:
        raise (
            Refused(malformed, str(problem)) if recorded else Refused(400, "invalid filter")
        ) from None
    for name in found:
        if accepted is not None and name not in accepted:
            raise Refused(400, f"{'Invalid' if recorded else 'invalid'} filter '{name}'")
    return found


def _values(value: Any) -> dict[str, tuple[str, ...]]:
    """Of the two ways to write them, the one that all filters of the request are written in."""
    if value is None:
        return {}
    if isinstance(value, dict):
        with suppress(TypeError):
            return {name: _listed(one) for name, one in value.items()}
    problem = _why_no_flags(value)
    if problem:
        raise gojson.BadJson(f"json: cannot unmarshal {problem}")
    return {name: tuple(one or ()) for name, one in value.items()}


def _listed(value: Any) -> tuple[str, ...]:
    """``["a", "b"]``; raises ``TypeError`` where it is no list of texts."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str | None) for one in value):
        raise TypeError
    return tuple(one or "" for one in value)


def _why_no_flags(value: Any) -> str:
    """What Go finds first in the way of ``{"name": {"a": true}}``; "" where that is what it is."""
    if not isinstance(value, dict):
        return _not_a("map[string]map[string]bool", value)
    for one in value.values():
        if one is not None and not isinstance(one, dict):
            return _not_a("map[string]bool", one)
        for flag in (one or {}).values():
            if not isinstance(flag, bool | None):
                return _not_a("bool", flag)
    return ""


def _not_a(go: str, value: Any) -> str:
    return f"{gojson.kind_of(value)} into Go value of type {go}"


def has_labels(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether every one of ``key`` or ``key=value`` holds."""
    for one in wanted:
        key, equals, value = one.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


# -- other values of a query


def is_true(text: str) -> bool:
    """Docker's loose reading of a flag."""
    return text.strip().lower() not in ("", "0", "no", "false", "none")


_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def strict_bool(text: str) -> bool | None:
    """Go's reading of a flag: None where it is none."""
    return _BOOLS.get(text)


UINT64_MAX = 2**64 - 1


def version_of(request: HttpRequest, kind: str) -> int:
    """The ``version`` of an update; ``Refused`` with 400 where it is no unsigned integer.

    ``kind`` is the word of the text: ``invalid service version 'x': …``.
    """
    text = request.param("version")
    problem = ""
    if not (text.isascii() and text.isdigit()):
        problem = "invalid syntax"
    elif len(text) > 20 or int(text) > UINT64_MAX:
        problem = "value out of range"
    if not problem:
        return int(text)
    if kind in ("secret", "config"):
        raise Refused(400, f"invalid {kind} version")
    why = f'strconv.ParseUint: parsing "{text}": {problem}'
    raise Refused(400, f"invalid {kind} version '{text}': {why}")
