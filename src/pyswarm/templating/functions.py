"""The functions a template may call: Go's own, and ``join``, ``upper`` and ``lower``.

Each takes what the template gives it and returns plain data, or raises :class:`Failure`; the engine
says where. ``and`` and ``or`` are not here: they look at no more of their arguments than they must,
so they belong to the translation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote_plus

from pyswarm.templating.formats import sprintf
from pyswarm.templating.values import Failure, inner, is_true, type_of

Function = Callable[..., object]

MANY = 1 << 30
"""No upper bound of arguments."""


def text_of(value: object) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise Failure(f"wrong type for value; expected string; got {type_of(value)}")
    return value


def number_of(value: object) -> int:
    """A value that must be a whole number, to index with."""
    if isinstance(value, bool) or not isinstance(value, int):
        if value is None:
            raise Failure("cannot index slice/array with nil")
        raise Failure(f"cannot index slice/array with type {type_of(value)}")
    return value


def octets(value: str) -> bytes:
    """Text as the bytes that Go counts and indexes."""
    return value.encode("utf-8", "surrogateescape")


def text_from(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def length(value: object) -> int:
    if isinstance(value, str):
        return len(octets(value))
    if isinstance(value, (Mapping, Sequence)):
        return len(value)
    raise Failure("len of nil pointer" if value is None else f"len of type {type_of(value)}")


def index(value: object, *keys: object) -> object:
    """``index x 1 "a"``: x[1]["a"]; what a map does not hold is empty."""
    for key in keys:
        value = _indexed(value, key)
    return value


def _indexed(value: object, key: object) -> object:
    if value is None:
        raise Failure("index of untyped nil")
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise Failure(f"value has type {type_of(key)}; should be string")
        return value.get(key, "" if type_of(value) == "map[string]string" else None)
    if isinstance(value, (str, Sequence)):
        row: Sequence[object] = octets(value) if isinstance(value, str) else value
        position = number_of(key)
        if not 0 <= position < len(row):
            raise Failure(f"index out of range: {position}")
        return row[position]
    raise Failure(f"can't index item of type {type_of(value)}")


def cut(value: object, *bounds: object) -> object:
    """``slice x 1 2``: x[1:2]."""
    if value is None:
        raise Failure("slice of untyped nil")
    if not isinstance(value, (str, Sequence)):
        raise Failure(f"can't slice item of type {type_of(value)}")
    if len(bounds) > 3 - isinstance(value, str):
        what = "cannot 3-index slice a string" if isinstance(value, str) else "too many slice"
        raise Failure(what if isinstance(value, str) else f"{what} indexes: {len(bounds)}")
    row: Sequence[object] = octets(value) if isinstance(value, str) else value
    numbers = [number_of(bound) for bound in bounds]
    for number in numbers:
        if not 0 <= number <= len(row):
            raise Failure(f"index out of range: {number}")
    start, end = (*numbers, *(0, len(row))[len(numbers) :])[:2] if len(numbers) < 2 else numbers[:2]
    if start > end:
        raise Failure(f"invalid slice index: {start} > {end}")
    part = row[start:end]
    return text_from(part) if isinstance(part, bytes) else part


def _basic(value: object) -> str:
    kind = type_of(value)
    if kind not in ("bool", "int", "float64", "string"):
        raise Failure("invalid type for comparison")
    return kind


def equal(first: object, *others: object) -> bool:
    """Whether the first is equal to any of the others."""
    if not others:
        raise Failure("missing argument for comparison")
    if first is None or None in others:
        return any(first is other for other in others)
    kind = _basic(first)
    for other in others:
        if _basic(other) != kind:
            raise Failure("incompatible types for comparison")
        if first == other:
            return True
    return False


def less(first: object, second: object) -> bool:
    kind = _basic(first)
    if kind != _basic(second):
        raise Failure("incompatible types for comparison")
    if kind == "bool":
        raise Failure("invalid type for comparison")
    return bool(first < second)  # type: ignore[operator]


def written(*values: object) -> str:
    """``print``: a space between two values of which neither is text."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(inner(value))
    return "".join(parts)


def written_line(*values: object) -> str:
    return " ".join(map(inner, values)) + "\n"


def formatted(form: object, *values: object) -> str:
    return sprintf(text_of(form), values)


def join(separator: object, *parts: object) -> str:
    """Swarm's own: the first argument goes between the others."""
    return text_of(separator).join(map(text_of, parts))


_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026"}
_JS |= {"=": "\\u003D"} | {chr(n): f"\\u{n:04X}" for n in range(32)}


def escaped(table: dict[str, str]) -> Function:
    """A function that prints its arguments with some characters replaced."""
    codes = str.maketrans(table)
    return lambda *values: written(*values).translate(codes)


BUILTINS: Mapping[str, tuple[Function, int, int]] = {
    "not": (lambda value: not is_true(value), 1, 1),
    "len": (length, 1, 1),
    "index": (index, 1, MANY),
    "slice": (cut, 1, MANY),
    "print": (written, 0, MANY),
    "printf": (formatted, 1, MANY),
    "println": (written_line, 0, MANY),
    "html": (escaped(_HTML), 0, MANY),
    "js": (escaped(_JS), 0, MANY),
    "urlquery": (lambda *values: quote_plus(octets(written(*values)), safe=""), 0, MANY),
    "eq": (equal, 1, MANY),
    "ne": (lambda first, second: not equal(first, second), 2, 2),
    "lt": (less, 2, 2),
    "le": (lambda first, second: less(first, second) or equal(first, second), 2, 2),
    "gt": (lambda first, second: not less(first, second) and not equal(first, second), 2, 2),
    "ge": (lambda first, second: not less(first, second), 2, 2),
    "join": (join, 1, MANY),
    "upper": (lambda text: text_of(text).upper(), 1, 1),
    "lower": (lambda text: text_of(text).lower(), 1, 1),
}
"""Name → function, and how many arguments it takes at least and at most."""

LAZY = ("and", "or")
