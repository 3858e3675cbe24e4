"""Small parts of Engine JSON that every conversion needs: presence, durations, annotations.

Docker's structs leave a field out when it is empty (*omitempty*) or when its pointer is nil; both
are a few keywords here, so that a rendered object reads like the struct it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from pyswarm.api.rendering import time_text
from pyswarm.model.labels import Labels, no_labels

E = TypeVar("E", bound=Enum)

NANOSECONDS = 1_000_000_000


def omitempty(**fields: Any) -> dict[str, Any]:
    """The fields that are not empty: no ``""``, 0, false, ``[]`` or ``{}``."""
    return {key: content for key, content in fields.items() if content}


def nonnull(**fields: Any) -> dict[str, Any]:
    """The fields that are not nil; empty ones stay."""
    return {key: content for key, content in fields.items() if content is not None}


def seconds(nanoseconds: int) -> float:
    """A Go duration in our unit."""
    return nanoseconds / NANOSECONDS


def seconds_or_none(nanoseconds: int | None) -> float | None:
    """The same of a pointer."""
    return None if nanoseconds is None else nanoseconds / NANOSECONDS


def duration(amount: float) -> int:
    """Seconds as a Go duration; exact for what came in as one, up to some weeks."""
    return round(amount * NANOSECONDS)


def duration_or_none(amount: float | None) -> int | None:
    """The same for a pointer."""
    return None if amount is None else duration(amount)


def number(amount: float) -> float:
    """A float as Go writes it: without a fraction where there is none."""
    return int(amount) if amount == int(amount) else amount


def quoted(text: str) -> str:
    """``%q``."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def member(kind: type[E], word: str, default: E) -> E:
    """The member of an enum that a word in any case names; ``default`` for any other word."""
    lowered = word.lower()
    return next((one for one in kind if str(one) == lowered), default)


def labelled(name: str, labels: Labels) -> dict[str, Any]:
    """A spec's head: the name if there is one, and labels, which are never left out."""
    return {**omitempty(Name=name), "Labels": dict(labels)}


def driver(name: str, options: Labels) -> dict[str, Any]:
    """A driver and its options."""
    return omitempty(Name=name, Options=dict(options))


def head(obj: Any) -> dict[str, Any]:
    """What every object of the swarm begins with: id, version and times."""
    return {
        "ID": obj.id,
        "Version": version(obj.version),
        "CreatedAt": time_text(obj.created_at),
        "UpdatedAt": time_text(obj.updated_at),
    }


def version(index: int) -> dict[str, int]:
    """A version; index 0 is left out."""
    return {"Index": index} if index else {}


def host_of(addr: str) -> str:
    """An address without its port."""
    host, colon, port = addr.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        return addr  # no port, or a bare IPv6 address
    return host.removeprefix("[").removesuffix("]")


def text_map(content: Mapping[str, str]) -> dict[str, str]:
    """A map in order of its keys, as Go writes it."""
    return dict(sorted(content.items()))


def _without_null(content: Any) -> Any:
    """A null in a list of strings is the empty one."""
    return [one or "" for one in content] if isinstance(content, list) else content


class Said:
    """A decoded struct of a body: what it says of a field, or the zero of the field's type."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def text(self, key: str) -> str:
        """A string."""
        found: str = self._fields.get(key, "")
        return found

    def number(self, key: str) -> Any:
        """An integer or a float."""
        return self._fields.get(key, 0)

    def flag(self, key: str) -> bool:
        """A bool."""
        found: bool = self._fields.get(key, False)
        return found

    def data(self, key: str) -> bytes:
        """Bytes."""
        found: bytes = self._fields.get(key, b"")
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        found = self._fields.get(key)
        return tuple(one or "" for one in found) if found else ()

    def map(self, key: str) -> Mapping[str, str]:
        """A map of strings."""
        return self._fields.get(key) or no_labels

    def plain(self, names: Mapping[str, str]) -> dict[str, Any]:
        """What was said of the fields in ``names``, by the names that these give them."""
        fields = self._fields
        return {name: _without_null(fields[key]) for key, name in names.items() if key in fields}

    def each(self, key: str) -> list[Said]:
        """A list of structs."""
        found = self._fields.get(key)
        return [Said(one or {}) for one in found] if found else []

    def struct(self, key: str) -> Said:
        """A struct by value: never nil."""
        return Said(self._fields.get(key, {}))

    def pointer(self, key: str) -> Said | None:
        """A struct by pointer: None where nothing was said."""
        return Said(self._fields[key]) if key in self._fields else None

    def given(self, key: str) -> Any:
        """A scalar by pointer: None where nothing was said."""
        return self._fields.get(key)
