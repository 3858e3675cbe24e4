"""What makes a class of the model a *value*: checks at construction and a compact ``repr``.

``@value`` goes above ``@attrs.frozen``. From the annotations of the fields it generates, when the
first object is made, a constructor that

* refuses a value of the wrong kind with :class:`~pyswarm.errors.InvalidArgument`, naming class,
  field and value (never the value of a field that is kept out of reprs);
* takes what is convenient: a list for a tuple, a dict for labels, the word for an enum
  (``"stop-first"``), an integer for a duration in seconds;
* is fast: the checks are one comparison of classes a field, and the fields are set on the mutable
  twin (see :mod:`pyswarm.model.replace`), not one by one through the frozen class.

``@trusted_value`` leaves the checks out (mappings are frozen all the same): for classes that only
pyswarm's own code makes, by the hundred thousand. Rules that look at more than one field are in
:mod:`pyswarm.model.validate`.

A field may carry rules of its own as metadata: ``at_least(0, "Docker's sentence")``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from math import isfinite
from typing import Any, TypeVar

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.labels import FrozenDict, no_labels
from pyswarm.model.states import UNKNOWN_WORDS
from pyswarm.model.twins import twin_of

T = TypeVar("T")
Convert = Callable[[Any], Any]

INT_MAX = 2**63 - 1
"""Integers are 64 bits wide in the log and on the wire."""

SHOWN_CHARACTERS_MAX = 200
"""How much of a wrong value an error shows."""

NAMED_CLASSES_MAX = 5
"""How many of the classes that would do an error names."""

_become = object.__setattr__


def value(cls: type[T]) -> type[T]:
    """Make a frozen attrs class a checked value of the model."""
    return _prepare(cls, checked=True)


def trusted_value(cls: type[T]) -> type[T]:
    """The same without the checks, for what only pyswarm itself makes."""
    return _prepare(cls, checked=False)


def at_least(limit: int, sentence: str = "") -> dict[str, Any]:
    """Metadata: a number below ``limit`` is refused, with ``sentence`` if there is one."""
    return {"at_least": limit, "sentence": sentence}


def numbered(number: int) -> dict[str, Any]:
    """Metadata: the number that stands for the field on disks, since others before it are gone."""
    return {"number": number}


def _prepare(cls: type[T], *, checked: bool) -> type[T]:
    def first_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init = _constructor(cls, checked)
        setattr(cls, "__init__", init)  # noqa: B010
        init(self, *args, **kwargs)

    setattr(cls, "__init__", first_init)  # noqa: B010
    setattr(cls, "__repr__", value_repr)  # noqa: B010
    return cls


def value_repr(self: Any) -> str:
    """Only what differs from the defaults; no payloads, bytes by their number."""
    shown = []
    for field in attrs.fields(self.__class__):
        content = getattr(self, field.name)
        if not field.repr or (field.default is not attrs.NOTHING and content == field.default):
            continue
        shown.append(f"{field.name}={_shown(content)}")
    return f"{self.__class__.__name__}({', '.join(shown)})"


def _shown(content: Any) -> str:
    if isinstance(content, bytes):
        return f"<{len(content)} bytes>"
    return str(content) if isinstance(content, Enum) else repr(content)


# -- the generated constructor

_QUICK = {str: "str", int: "int", float: "float", bool: "bool", bytes: "bytes"}
_BEYOND = {int: f" or not {-INT_MAX} <= {{0}} <= {INT_MAX}", float: " or {0} - {0}"}
"""What else a number of the right class may be that is refused: too large, infinite, none."""


def _constructor(cls: Any, checked: bool) -> Callable[..., None]:
    fields = attrs.fields(cls)
    scope: dict[str, Any] = {"Class": cls, "Twin": twin_of(cls), "become": _become}
    hints = typing.get_type_hints(cls)
    parameters, checks = [], []
    for field in fields:
        name = field.name
        if field.default is attrs.NOTHING:
            parameters.append(name)
        else:
            scope[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        if checked or _is_mapping(hints[name]):  # what is shared must not change, trusted or not
            checks.append(_check_line(cls, field, hints[name], scope))
    lines = [f"def __init__({', '.join(['self', *parameters])}):", *checks]
    lines += ["    become(self, '__class__', Twin)"]
    lines += [f"    self.{field.name} = {field.name}" for field in fields]
    lines += ["    self.__class__ = Class"]
    exec("\n".join(lines), scope)
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return any(map(_is_mapping, typing.get_args(hint)))
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _check_line(cls: type, field: Any, hint: Any, scope: dict[str, Any]) -> str:
    name = field.name
    convert = _field_converter(cls, field, hint)
    scope[f"convert_{name}"] = convert
    call = f"{name} = convert_{name}({name})"
    if hint in _QUICK and not field.metadata:
        test = f"{name}.__class__ is not {_QUICK[hint]}"
        return f"    if {test}{_BEYOND.get(hint, '').format(name)}: {call}"
    tests = [] if field.default is attrs.NOTHING else [f"{name} is not default_{name}"]
    exact = None if field.metadata else _exact_class(hint)
    if exact is not None:
        scope[f"exact_{name}"] = exact
        tests.append(f"{name}.__class__ is not exact_{name}")
    return f"    if {' and '.join(tests)}: {call}" if tests else f"    {call}"


def _exact_class(hint: Any) -> type | None:
    """The class whose own objects pass for ``hint`` as they are, if there is one."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        others = [argument for argument in arguments if argument is not type(None)]
        return _exact_class(others[0]) if len(others) == 1 else None
    if origin is not None:
        return FrozenDict if _is_mapping(hint) else None
    return hint if isinstance(hint, type) and hint not in _SIMPLE else None


def _field_converter(cls: type, field: Any, hint: Any) -> Convert:
    convert = converter(hint)
    where, is_shown, metadata = f"{cls.__name__}.{field.name}", field.repr, field.metadata

    def checked(content: Any) -> Any:
        try:
            result = convert(content)
        except WrongKindError as wrong:
            raise _refusal(where, content if is_shown else None, wrong) from None
        limit = metadata.get("at_least")
        if limit is not None and result is not None and result < limit:
            sentence = metadata["sentence"] or f"{where} must be at least {limit}, not {result}"
            raise InvalidArgument(sentence, details={"field": where, "value": result})
        return result

    return checked


class WrongKindError(Exception):
    """A content of the wrong kind. ``sentence`` is the whole message where Docker has one."""

    def __init__(self, wanted: str, sentence: str = "") -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.sentence = sentence


def _refusal(where: str, content: Any, wrong: WrongKindError) -> InvalidArgument:
    shown = "" if content is None else f", not {repr(content)[:SHOWN_CHARACTERS_MAX]}"
    text = wrong.sentence or f"{where} must be {wrong.wanted}{shown}"
    details = {"field": where}
    if content is not None:
        details["value"] = repr(content)[:SHOWN_CHARACTERS_MAX]
    return InvalidArgument(text, details=details)


# -- from an annotation to a converter


def converter(hint: Any) -> Convert:
    """The function that checks and converts a content for an annotation."""
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is not None and issubclass(origin, Mapping):
        return _labels if arguments == (str, str) else _mapping
    if issubclass(hint, Enum):
        return _enum(hint)
    return _instance((hint,))


def _string(content: Any) -> str:
    if isinstance(content, str) and not isinstance(content, Enum):
        return str(content)
    raise WrongKindError("a string")


def _integer(content: Any) -> int:
    if content.__class__ is not int:
        if isinstance(content, bool) or not isinstance(content, int):
            raise WrongKindError("an integer")
        content = int(content)
    if not -INT_MAX <= content <= INT_MAX:
        raise WrongKindError("an integer of 64 bits")
    return int(content)


def _float(content: Any) -> float:
    if isinstance(content, bool) or not isinstance(content, (int, float)):
        raise WrongKindError("a number")
    try:
        number = float(content)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise WrongKindError("a finite number")
    return number


def _bool(content: Any) -> bool:
    if content.__class__ is not bool:
        raise WrongKindError("true or false")
    return bool(content)


def _bytes(content: Any) -> bytes:
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise WrongKindError("bytes")
    return bytes(content)


def _anything(content: Any) -> Any:
    return content


_SIMPLE: dict[Any, Convert] = {
    str: _string,
    int: _integer,
    float: _float,
    bool: _bool,
    bytes: _bytes,
    Any: _anything,
}


def _labels(content: Any) -> Mapping[str, str]:
    if content.__class__ is FrozenDict:
        return content
    if not isinstance(content, Mapping):
        raise WrongKindError("a mapping of strings to strings")
    for key, text in content.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise WrongKindError("a mapping of strings to strings")
    # In order of key, so that equal labels are written alike on every member.
    return FrozenDict(sorted(content.items())) if content else no_labels


def _mapping(content: Any) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping):
        raise WrongKindError("a mapping")
    return content if content.__class__ is FrozenDict else FrozenDict(content)


def _enum(cls: type[Enum]) -> Convert:
    def convert(content: Any) -> Enum:
        if content.__class__ is cls:
            return content
        if isinstance(content, str):
            word = content.lower() if issubclass(cls, IntEnum) else content
            for member in cls:
                if str(member) == word:
                    return member
        elif issubclass(cls, IntEnum) and isinstance(content, int):
            try:
                return cls(content)
            except ValueError:
                pass
        words = ", ".join(str(member) for member in cls)
        raise WrongKindError(f"one of {words}", _unknown_word(cls, content))

    return convert


def _unknown_word(cls: type[Enum], content: Any) -> str:
    sentence = UNKNOWN_WORDS.get(cls)
    if sentence is None or not isinstance(content, str):
        return ""
    quoted = '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return sentence.replace("%q", quoted).replace("%s", content)


def _instance(classes: tuple[type, ...]) -> Convert:
    names = [cls.__name__ for cls in classes]
    if len(names) > NAMED_CLASSES_MAX:
        names[NAMED_CLASSES_MAX:] = ["another of the kind"]
    wanted = f"a {' or '.join(names)}"

    def convert(content: Any) -> Any:
        if not isinstance(content, classes):
            raise WrongKindError(wanted)
        return content

    return convert


def _union(arguments: tuple[Any, ...]) -> Convert:
    others = tuple(argument for argument in arguments if argument is not type(None))
    inner = converter(others[0]) if len(others) == 1 else _instance(others)
    if len(others) == len(arguments):
        return inner
    return lambda content: None if content is None else inner(content)


def _tuple(arguments: tuple[Any, ...]) -> Convert:
    is_list = len(arguments) == 2 and arguments[1] is Ellipsis
    inner = [converter(argument) for argument in arguments if argument is not Ellipsis]

    def convert(content: Any) -> tuple[Any, ...]:
        if not isinstance(content, (tuple, list)):
            raise WrongKindError("a list")
        if is_list:
            return tuple(map(inner[0], content))
        if len(content) != len(inner):
            raise WrongKindError(f"a list of {len(inner)}")
        return tuple(check(part) for check, part in zip(inner, content, strict=True))

    return convert
