"""Request bodies: JSON, checked against a shape, with the texts of Go's parser.

Clients show these texts to people, so they are Go's: a syntax error names the character, a value of
a wrong type the field (``json: cannot unmarshal string into Go struct field
ReplicatedService.Mode.Replicated.Replicas of type uint64``). A shape says what a body may hold::

    REPLICATED = Struct("swarm.ReplicatedService", Replicas=UINT64)

Unknown fields are left out, names match in any case of letters, null is the same as left out. What
comes back is plain: dicts by the shape's names, lists, str, int, float, bool, bytes.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from pyswarm.api import gojson
from pyswarm.api.errors import Refused
from pyswarm.api.messages import ApiVersion, HttpRequest
from pyswarm.api.versions import as_recorded

EMPTY_BODY = "got EOF while reading request body"


class WrongType(Exception):
    """A value is not of its shape; the text is Go's."""


class Shape:
    """What a JSON value may be. ``go`` is the type's name in Go."""

    go: str = "interface {}"

    def take(self, value: Any, where: str) -> Any:
        """The value as it is used; ``where`` is ``Struct.Path.Of.Field``, "" at the top."""
        return value

    def refuse(self, value: Any, where: str) -> NoReturn:
        """Say that ``value`` cannot be this."""
        place = f"struct field {where}" if where else "value"
        raise WrongType(
            f"json: cannot unmarshal {self.named(value)} into Go {place} of type {self.go}"
        )

    def named(self, value: Any) -> str:
        """How Go calls the offending value."""
        return gojson.kind_of(value)


class _Text(Shape):
    go = "string"

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not str:
            self.refuse(value, where)
        return value


class _Bool(Shape):
    go = "bool"

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not bool:
            self.refuse(value, where)
        return value


@attrs.frozen
class _Integer(Shape):
    go: str
    least: int
    most: int

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not int or not self.least <= value <= self.most:
            self.refuse(value, where)
        return value

    def named(self, value: Any) -> str:
        if type(value) in (int, float):
            return f"number {json.dumps(value)}"
        return gojson.kind_of(value)


class _Float(Shape):
    go = "float64"

    def take(self, value: Any, where: str) -> Any:
        if type(value) not in (int, float):
            self.refuse(value, where)
        return value


class _Bytes(Shape):
    """Base64 in JSON, bytes here."""

    go = "[]uint8"

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not str:
            self.refuse(value, where)
        plain = value.replace("\r", "").replace("\n", "")
        try:
            data = binascii.a2b_base64(plain, strict_mode=True)
            if len(plain) % 4 == 0:  # Python lets surplus padding pass
                return data
        except ValueError:
            pass
        place = gojson.wrong_base64_at(plain)
        raise WrongType(f"illegal base64 data at input byte {place}")


ANY = Shape()
STRING = _Text()
BOOL = _Bool()
FLOAT = _Float()
BYTES = _Bytes()
INT = _Integer("int", -(2**63), 2**63 - 1)
INT64 = _Integer("int64", -(2**63), 2**63 - 1)
UINT64 = _Integer("uint64", 0, 2**64 - 1)
UINT32 = _Integer("uint32", 0, 2**32 - 1)
DURATION = _Integer("time.Duration", -(2**63), 2**63 - 1)
"""Nanoseconds."""


@attrs.frozen
class List(Shape):
    """A list of one shape. ``pointers``: in Go it holds pointers, which its type says."""

    item: Shape
    pointers: bool = False

    @property
    def go(self) -> str:  # type: ignore[override]
        return f"[]{'*' * self.pointers}{self.item.go}"

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not list:
            self.refuse(value, where)
        take = self.item.take
        return [None if one is None else take(one, where) for one in value]


@attrs.frozen
class Map(Shape):
    """An object whose keys are free and whose values are texts; null is the empty one."""

    item: Shape

    @property
    def go(self) -> str:  # type: ignore[override]
        return f"map[string]{self.item.go}"

    def take(self, value: Any, where: str) -> Any:
        if type(value) is not dict:
            self.refuse(value, where)
        take = self.item.take
        return {key: "" if one is None else take(one, where) for key, one in value.items()}


class Struct(Shape):
    """An object with known fields. ``go`` is its full name: ``swarm.ServiceSpec``."""

    def __init__(self, go: str, fields: Mapping[str, Shape] | None = None, **more: Shape) -> None:
        self.go = go
        self.fields: dict[str, Shape] = {**(fields or {}), **more}
        self._short = go.rpartition(".")[2]
        self._known = {name.lower(): name for name in self.fields}

    def take(self, value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            self.refuse(value, where)
        path = where.partition(".")[2]
        before = f"{self._short}.{path}." if path else f"{self._short}."
        taken: dict[str, Any] = {}
        for key, one in value.items():
            name = key if key in self.fields else self._known.get(key.lower())
            if name is not None and one is not None:
                taken[name] = self.fields[name].take(one, before + name)
        return taken


def decode(request: HttpRequest, shape: Struct) -> dict[str, Any]:
    """The request's body; ``Refused`` with 400 where it is not what ``shape`` says."""
    recorded = as_recorded(request.version)
    if not recorded:
        _check_content_type(request)
    if not request.body.strip():
        if recorded:
            raise Refused(400, EMPTY_BODY)
        return {}
    try:
        value, end = gojson.parse(request.body)
        if not recorded and end < len(request.body):
            raise Refused(400, "unexpected content after JSON")
        return {} if value is None else shape.take(value, "")
    except (gojson.BadJson, WrongType) as problem:
        raise Refused(400, json_text(str(problem), request.version)) from None


def json_text(text: str, version: ApiVersion) -> str:
    """The parser's text as an engine of that version gives it."""
    return text if as_recorded(version) else f"invalid JSON: {text}"


_JSON_TYPE = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)


def _check_content_type(request: HttpRequest) -> None:
    said = request.headers.get("content-type", "")
    if (said or request.body) and not _JSON_TYPE.fullmatch(said.strip()):
        raise Refused(400, f"unsupported Content-Type header ({said}): must be 'application/json'")
