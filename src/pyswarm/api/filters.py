"""The ``filters`` of a list: one query value, a JSON object of names and what each may be.

``{"name": ["a", "b"]}``, or as older clients write it ``{"name": {"a": true}}``. Values of one
filter are alternatives, of labels each must hold; different filters must all hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from pyswarm.api import gojson
from pyswarm.api.errors import Refused
from pyswarm.api.messages import HttpRequest
from pyswarm.api.versions import as_recorded

Filters: TypeAlias = Mapping[str, tuple[str, ...]]


def filters_of(request: HttpRequest, accepted: Collection[str] | None) -> Filters:
    """The filters of a request; ``Refused`` with 400 for one that is not ``accepted`` (None: all
    are)."""
    text = request.param("filters")
    if not text:
        return {}
    try:
        found = _values(gojson.parse_whole(text.encode("utf-8", "replace")))
    except gojson.BadJson as problem:
        raise Refused(400, _told(request, str(problem))) from None
    for name in found:
        if accepted is not None and name not in accepted:
            word = "Invalid" if as_recorded(request.version) else "invalid"
            raise Refused(400, f"{word} filter '{name}'")
    return found


def _told(request: HttpRequest, text: str) -> str:
    return text if as_recorded(request.version) else "invalid filter"


def _values(value: Any) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise gojson.BadJson(_not_a("map[string]map[string]bool", value))
    return {name: _alternatives(one) for name, one in value.items()}


def _alternatives(value: Any) -> tuple[str, ...]:
    match value:
        case None:
            return ()
        case list() if all(isinstance(one, str) for one in value):
            return tuple(value)
        case dict() if all(isinstance(one, bool) for one in value.values()):
            return tuple(value)
    raise gojson.BadJson(_not_a("map[string]bool", value))


def _not_a(go: str, value: Any) -> str:
    return f"json: cannot unmarshal {gojson.kind_of(value)} into Go value of type {go}"


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
