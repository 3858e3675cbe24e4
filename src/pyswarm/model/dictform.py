"""Values as readable dicts, for JSON and YAML: enums as words, bytes in base64, defaults left out.

The form carries a ``format`` number; a newer one is refused. Reading says where something is wrong
(``$.task.container.env``). This is for files and people: the log and the wire have their own,
tighter form in :mod:`pyswarm.model.wire`. A swarm's dict holds its keys: treat it like its state
directory.
"""

from __future__ import annotations

import base64
import binascii
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.value import WrongKindError
from pyswarm.model.value import converter as content_converter

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

FORMAT = 1
"""The version of the dict form."""


def to_dict(value: Any) -> dict[str, Any]:
    """The dict form of any value of the model."""
    data: dict[str, Any] = _converter().unstructure(value)
    if "format" in data:  # a field of that name makes way for ours
        data[_own_format(value.__class__)] = data.pop("format")
    return {"format": FORMAT, **data}


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """The value of class ``cls`` that a dict describes.

    A missing ``format`` counts as the current one. Raises
    :class:`~pyswarm.errors.InvalidArgument`, with the path of what is wrong.
    """
    if not isinstance(data, Mapping):
        raise InvalidArgument(f"$ must be a mapping, not {data!r}", details={"field": "$"})
    fields = dict(data)
    found = fields.pop("format", FORMAT)
    if found != FORMAT:
        raise InvalidArgument(
            f"unknown format {found!r} of a {cls.__name__}",
            hint=f"this version of pyswarm reads format {FORMAT}",
        )
    if _own_format(cls) in fields:
        fields["format"] = fields.pop(_own_format(cls))
    try:
        return _converter().structure(fields, cls)
    except Exception as error:
        raise _refusal(cls, error) from error


def _own_format(cls: type) -> str:
    return f"{cls.__name__.lower()}_format"


def _refusal(cls: type, error: Exception) -> InvalidArgument:
    path, cause = "$", error
    while isinstance(cause, ExceptionGroup):
        inner = cause.exceptions[0]
        path += _step(inner)
        cause = inner
    if isinstance(cause, InvalidArgument):
        details = {**cause.details, "path": path}
        return InvalidArgument(f"{path}: {cause.message}", hint=cause.hint, details=details)
    text = str(cause)
    if isinstance(cause, KeyError):
        path, text = f"{path.removesuffix(f'.{cause.args[0]}')}.{cause.args[0]}", "is missing"
    elif extra := getattr(cause, "extra_fields", None):
        owner: Any = cause.cl  # type: ignore[attr-defined]
        path, text = f"{path}.{min(extra)}", f"{owner.__name__} has no such field"
    elif isinstance(cause, (TypeError, AttributeError)):
        text = "must be a mapping or a list"
    return InvalidArgument(f"{path}: {text or f'no {cls.__name__}'}", details={"path": path})


def _step(error: Exception) -> str:
    """What the converter noted about the place of an error: ``.field`` or ``[3]``."""
    from cattrs.errors import AttributeValidationNote, IterableValidationNote

    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""


# -- the converter, made once and only when somebody asks


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True, omit_if_default=True)
    for plain in (str, int, float, bool):
        # Checked as constructors do: a cast would take "3" for a number.
        converter.register_structure_hook(plain, _checked)
    converter.register_structure_hook(bytes, _read_bytes)
    converter.register_unstructure_hook(bytes, lambda raw: base64.b64encode(raw).decode())
    converter.register_structure_hook_func(_is_enum, _checked)
    converter.register_unstructure_hook_func(_is_enum, str)
    converter.register_structure_hook_func(_is_mapping, _checked)
    converter.register_unstructure_hook_func(_is_mapping, dict)
    converter.register_structure_hook_func(_is_union, _read)
    converter.register_unstructure_hook_func(_is_union, _write_union)
    return converter


def _checked(content: Any, hint: Any) -> Any:
    try:
        return content_converter(hint)(content)
    except WrongKindError as wrong:
        text = wrong.sentence or f"must be {wrong.wanted}, not {content!r}"
        raise InvalidArgument(text) from None


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _classes(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return ()
    return tuple(option for option in typing.get_args(hint) if attrs.has(option))


def _is_union(hint: Any) -> bool:
    return len(_classes(hint)) > 1


def _write_union(content: Any) -> Any:
    if content is None:
        return None
    return {"type": content.__class__.__name__, **_converter().unstructure(content)}


def _read(data: Any, hint: Any) -> Any:
    """One of several classes, by its ``type``."""
    if data is None and type(None) in typing.get_args(hint):
        return None
    by_name = {cls.__name__: cls for cls in _classes(hint)}
    tag = data.get("type") if isinstance(data, Mapping) else None
    if tag not in by_name:
        raise InvalidArgument(f"type must be one of {', '.join(by_name)}, not {tag!r}")
    rest = {name: content for name, content in data.items() if name != "type"}
    return _converter().structure(rest, by_name[tag])


def _read_bytes(content: Any, _: Any) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidArgument(f"must be base64: {error}") from None
