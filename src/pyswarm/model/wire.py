"""Values as plain data for msgpack: numbers for fields, and only what differs from the default.

For each class an encoder, a decoder and a comparer are generated from the annotations when first
used, as straight-line code. A value becomes a dict: position of the field in its class → content.
Enums become their value, tuples lists, labels dicts, nested values dicts, and a value of a union
``[name of the class, dict]``. So fields may be added at the end of a class and old data still
reads; where one was removed, the next says its number (:func:`~pyswarm.model.value.numbered`). A
field or class that this version does not know is refused by name.

There are two decoders. The *checked* one runs the constructor: for what comes from another node.
The *trusted* one builds on the mutable twin: for our own log and snapshots, which are sealed and
were checked when they were written. Both raise :class:`~pyswarm.errors.InvalidArgument` on garbage.

Fields named as ``apart`` are left to the caller: encoders leave them out, and decoders take their
content as it is. The store's log form uses that for what tasks share with their service.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from sys import intern
from typing import Any, TypeVar

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.labels import FrozenDict, no_labels
from pyswarm.model.twins import copier_of, twin_of

T = TypeVar("T")
Function = Callable[..., Any]
Names = tuple[str, ...]


def encode(value: Any) -> dict[int, Any]:
    """The plain data of a value: what differs from the defaults of its class."""
    data: dict[int, Any] = encoder_of(value.__class__)(value)
    return data


def decode(cls: type[T], data: Any) -> T:
    """A value from what another node sent; checked by its constructor."""
    return _guarded(cls, decoder_of(cls, trusted=False), data)


def decode_trusted(cls: type[T], data: Any) -> T:
    """A value from our own log or snapshot."""
    return _guarded(cls, decoder_of(cls, trusted=True), data)


def _guarded(cls: type[T], decoder: Function, data: Any) -> T:
    try:
        return decoder(data)  # type: ignore[no-any-return]
    except MALFORMED as error:
        raise InvalidArgument(f"malformed {cls.__name__}: {error!r}") from error


MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError)
"""What a decoder raises on data of the wrong shape; callers turn it into an error of the tree."""


def patch(old: T, data: Mapping[int, Any], apart: Names = ()) -> Any:
    """The (still mutable) copy of ``old`` with the encoded fields of ``data`` in place."""
    cls = old.__class__
    setters = _setters.get((cls, apart)) or _make_setters(cls, apart)
    new = copier_of(cls)(old)
    for number, content in data.items():
        name, decoder = setters[number]
        setattr(new, name, content if decoder is None else decoder(content))
    return new


# -- per class, made once

_encoders: dict[tuple[type, Names], Function] = {}
_differs: dict[tuple[type, Names], Function] = {}
_decoders: dict[tuple[type, bool, Names], Function] = {}
_setters: dict[tuple[type, Names], dict[int, tuple[str, Function | None]]] = {}


def field_number(cls: type, name: str) -> int:
    """The number that stands for a field."""
    return {field.name: number for number, field in _counted(cls)}[name]


def encoder_of(cls: type, apart: Names = ()) -> Function:
    """``encode(value) -> dict`` for a class."""
    return _encoders.get((cls, apart)) or _make_encoder(cls, apart)


def differ_of(cls: type, apart: Names = ()) -> Function:
    """``differ(old, new) -> dict``: the fields of ``new`` that are not as in ``old``."""
    return _differs.get((cls, apart)) or _make_differ(cls, apart)


def decoder_of(cls: type, *, trusted: bool, apart: Names = ()) -> Function:
    """``decode(dict) -> value`` for a class."""
    return _decoders.get((cls, trusted, apart)) or _make_decoder(cls, trusted, apart)


def _make_encoder(cls: Any, apart: Names) -> Function:
    scope: dict[str, Any] = {}
    lines = ["def encode(o):", "    out = {}"]
    for number, field, hint in _numbered(cls):
        if field.name in apart:
            continue
        put = f"out[{number}] = {_call(scope, f'e{number}', _encode_content(hint))}"
        lines.append(f"    v = o.{field.name}")
        if field.default is attrs.NOTHING:
            lines.append(f"    {put}")
        else:
            scope[f"d{number}"] = field.default
            lines.append(f"    if v is not d{number} and v != d{number}: {put}")
    function = _encoders[cls, apart] = _compile([*lines, "    return out"], scope, "encode")
    return function


def _make_differ(cls: Any, apart: Names) -> Function:
    scope: dict[str, Any] = {}
    lines = ["def differ(old, new):", "    out = {}"]
    for number, field, hint in _numbered(cls):
        name = field.name
        if name in apart:
            continue
        put = f"out[{number}] = {_call(scope, f'e{number}', _encode_content(hint))}"
        lines += [f"    v = new.{name}", f"    w = old.{name}"]
        lines += [f"    if v is not w and v != w: {put}"]
    function = _differs[cls, apart] = _compile([*lines, "    return out"], scope, "differ")
    return function


def _make_decoder(cls: Any, trusted: bool, apart: Names) -> Function:
    numbered = _numbered(cls)
    by_twin = trusted and "__weakref__" not in cls.__slots__
    scope: dict[str, Any] = {"Class": cls, "known": frozenset(n for n, _, _ in numbered)}
    scope |= {"Twin": twin_of(cls) if by_twin else None, "refuse": _refuse_field}
    lines = ["def decode(d):", "    if not d.keys() <= known: refuse(Class, d)"]
    lines += ["    o = Twin()"] if by_twin else []
    for number, field, hint in numbered:
        name = field.name
        decoder = None if name in apart else _decode_content(hint, name, trusted)
        content = _call(scope, f"e{number}", decoder, f"d[{number}]")
        target = f"o.{name}" if by_twin else f"v{number}"
        if field.default is attrs.NOTHING:
            lines.append(f"    {target} = {content}")
        else:
            scope[f"d{number}"] = field.default
            lines.append(f"    {target} = {content} if {number} in d else d{number}")
    if by_twin:
        lines += ["    o.__class__ = Class", "    return o"]
    else:
        lines.append(f"    return Class({', '.join(f'v{n}' for n, _, _ in numbered)})")
    function = _decoders[cls, trusted, apart] = _compile(lines, scope, "decode")
    return function


def _make_setters(cls: Any, apart: Names) -> dict[int, tuple[str, Function | None]]:
    setters = _setters[cls, apart] = {
        number: (
            field.name,
            None if field.name in apart else _decode_content(hint, field.name, trusted=True),
        )
        for number, field, hint in _numbered(cls)
    }
    return setters


def _numbered(cls: Any) -> list[tuple[int, Any, Any]]:
    """Number, attribute and annotation of each field."""
    hints = typing.get_type_hints(cls)
    return [(number, field, hints[field.name]) for number, field in _counted(cls)]


def _counted(cls: type) -> Iterator[tuple[int, Any]]:
    number = -1
    for field in attrs.fields(cls):
        number = field.metadata.get("number", number + 1)
        yield number, field


def _compile(lines: list[str], scope: dict[str, Any], name: str) -> Function:
    exec("\n".join(lines), scope)
    function: Function = scope[name]
    return function


def _call(scope: dict[str, Any], name: str, function: Function | None, content: str = "v") -> str:
    """The expression for a content: as it is, or through ``function``."""
    if function is None:
        return content
    scope[name] = function
    return f"{name}({content})"


def _refuse_field(cls: type, data: Mapping[Any, Any]) -> None:
    known = [number for number, _ in _counted(cls)]
    unknown = [number for number in data if number not in known]
    raise InvalidArgument(
        f"{cls.__name__}: unknown field {unknown[0]!r}",
        hint="this was written by a newer version of pyswarm",
    )


# -- from an annotation to the functions of its contents (None: as it is)

_AS_IT_IS: tuple[Any, ...] = (str, int, float, bool, bytes, Any)


def _options(hint: Any) -> tuple[bool, tuple[Any, ...]]:
    """Whether None is allowed, and what else."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return False, (hint,)
    arguments = typing.get_args(hint)
    others = tuple(argument for argument in arguments if argument is not type(None))
    return len(others) < len(arguments), others


def _encode_content(hint: Any) -> Function | None:
    is_optional, options = _options(hint)
    if len(options) > 1:
        function: Function | None = _encode_one_of
    else:
        function = _encode_plain(options[0])
    if function is None or not is_optional:
        return function
    inner = function
    return lambda content: None if content is None else inner(content)


def _encode_one_of(content: Any) -> list[Any]:
    return [content.__class__.__name__, encoder_of(content.__class__)(content)]


def _encode_plain(hint: Any) -> Function | None:
    origin = typing.get_origin(hint)
    if hint is float:
        return float  # what is equal is written alike, be it 5 or 5.0
    if hint in _AS_IT_IS or (origin is not None and issubclass(origin, Mapping)):
        return None
    if origin is tuple:
        arguments = typing.get_args(hint)
        parts = [_encode_content(part) for part in arguments if part is not Ellipsis]
        if not any(parts):
            return None
        if arguments[-1] is Ellipsis:
            inner = parts[0]
            assert inner is not None
            return lambda content: [inner(part) for part in content]
        return lambda content: [
            part if function is None else function(part)
            for function, part in zip(parts, content, strict=True)
        ]
    if issubclass(hint, Enum):
        return lambda content: content.value
    return lambda content: encoder_of(hint)(content)


def _decode_content(hint: Any, name: str, trusted: bool) -> Function | None:
    is_optional, options = _options(hint)
    if len(options) > 1:
        function: Function | None = _decode_one_of(options, trusted)
    else:
        function = _decode_plain(options[0], name, trusted)
    if function is None or not is_optional:
        return function
    inner = function
    return lambda content: None if content is None else inner(content)


def _decode_one_of(classes: tuple[type, ...], trusted: bool) -> Function:
    by_name = {cls.__name__: cls for cls in classes}

    def decode_union(content: Any) -> Any:
        tag, data = content
        cls = by_name.get(tag)
        if cls is None:
            raise InvalidArgument(f"unknown class {tag!r}")
        return decoder_of(cls, trusted=trusted)(data)

    return decode_union


def _decode_plain(hint: Any, name: str, trusted: bool) -> Function | None:
    if hint in _AS_IT_IS:
        # Ids and messages recur in a hundred thousand tasks: let them share one string.
        return intern if hint is str and (name.endswith("_id") or name == "message") else None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _decode_tuple(arguments, trusted)
    if origin is not None:
        return _decode_labels if arguments == (str, str) else _decode_mapping
    if issubclass(hint, Enum):
        return {member.value: member for member in hint}.__getitem__
    return lambda content: decoder_of(hint, trusted=trusted)(content)


def _decode_tuple(arguments: tuple[Any, ...], trusted: bool) -> Function:
    parts = [_decode_content(part, "", trusted) for part in arguments if part is not Ellipsis]
    if arguments[-1] is Ellipsis:
        inner = parts[0]
        if inner is None:
            return tuple
        return lambda content: tuple([inner(part) for part in content])
    return lambda content: tuple(
        part if function is None else function(part)
        for function, part in zip(parts, content, strict=True)
    )


def _decode_labels(content: Any) -> Any:
    return FrozenDict(content) if content else no_labels


def _decode_mapping(content: Any) -> Any:
    return FrozenDict(content)
