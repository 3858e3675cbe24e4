"""What a template works on: Go's kinds of values, as plain Python data.

A struct is a :class:`Struct`, a map any mapping, the rest str, int, float, bool, None and lists.
Nothing else gets in, and no attribute of any of them is ever read: a field is looked up here, by
name, in data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyswarm.templating.lexer import go_quote


class Struct:
    """Named fields that are known in advance; ``type_name`` is what errors call it."""

    __slots__ = ("fields", "type_name")

    def __init__(self, type_name: str, /, **fields: object) -> None:
        self.type_name = type_name
        self.fields = fields

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


class Failure(Exception):
    """Why a function or a look-up cannot go on; the engine adds where."""


def type_of(value: object) -> str:
    """The name that Go has for a value's type."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case Struct():
            return value.type_name
        case Mapping():
            plain = all(isinstance(one, str) for one in value.values())
            return "map[string]string" if plain else "map[string]interface {}"
        case Sequence():
            plain = all(isinstance(one, str) for one in value)
            return "[]string" if plain else "[]interface {}"
    raise Failure(f"a value of the kind {type(value).__name__} has no place in a template")


def field_of(value: object, name: str) -> object:
    """``.name`` of a value, with ``missingkey=error``."""
    match value:
        case Struct():
            if name in value.fields:
                return value.fields[name]
        case Mapping():
            if name in value:
                return value[name]
            raise Failure(f"map has no entry for key {go_quote(name)}")
        case None:
            raise Failure(f"nil data; no entry for key {go_quote(name)}")
    raise Failure(f"can't evaluate field {name} in type {type_of(value)}")


def is_true(value: object) -> bool:
    """What ``if`` makes of a value: empty things, zero and nil are false, structs are true."""
    return bool(value)


def show(value: object) -> str:
    """A value as it is printed."""
    return "<no value>" if value is None else inner(value)


def inner(value: object) -> str:
    """A value as it is printed inside another one."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return show_float(value)
        case Struct():
            return "{" + " ".join(map(inner, value.fields.values())) + "}"
        case Mapping():
            entries = (f"{inner(key)}:{inner(value[key])}" for key in sorted(value))
            return "map[" + " ".join(entries) + "]"
        case Sequence():
            return "[" + " ".join(map(inner, value)) + "]"
    raise Failure(f"can't print a value of the kind {type(value).__name__}")


def show_float(value: float) -> str:
    """The shortest form, with an exponent below 1e-4 and from 1e21 on."""
    if value != value or abs(value) == float("inf"):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(repr(value), "NaN")
    digits, _, exponent = f"{value!r}e".partition("e")
    size = abs(value)
    if size != 0 and (size < 1e-4 or size >= 1e21):
        digits, _, exponent = repr(value).partition("e")
        if not exponent:
            digits, _, exponent = f"{value:e}".partition("e")
            digits = digits.rstrip("0").rstrip(".")
        sign = exponent[0] if exponent[0] in "+-" else "+"
        return f"{digits.removesuffix('.0')}e{sign}{exponent.lstrip('+-').zfill(2)}"
    if exponent.rstrip("e"):
        return f"{value:.0f}"
    return digits.removesuffix(".0")
