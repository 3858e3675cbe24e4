"""Every class of the model, filled with anything its types allow, survives each of its forms."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.model import (
    KINDS,
    Labels,
    Request,
    SecretSpec,
    ServiceSpec,
    Task,
    from_dict,
    replace,
    session,
    to_dict,
)
from pyswarm.model.parse import parse_bytes, parse_duration, parse_ports
from pyswarm.model.validate import is_image_reference, validate_name
from pyswarm.model.wire import decode, decode_trusted, differ_of, encode, patch

text = st.text(max_size=5)
st.register_type_strategy(str, text)
st.register_type_strategy(bytes, st.binary(max_size=5))
st.register_type_strategy(int, st.integers(0, 2**40))
st.register_type_strategy(float, st.floats(0, 1e9))
labels = st.dictionaries(text, text, max_size=2)


def _values(cls: Any) -> st.SearchStrategy[Any]:
    """Objects of a class, some fields given and the others left to their defaults."""
    given_fields, optional = {}, {}
    hints = attrs.resolve_types(cls)
    for field in attrs.fields(hints):
        strategy = _contents(field.type)
        if field.default is attrs.NOTHING:
            given_fields[field.name] = strategy
        else:
            optional[field.name] = strategy
    return st.deferred(
        lambda: st.fixed_dictionaries(given_fields, optional=optional).map(lambda f: cls(**f))
    )


def _contents(hint: Any) -> st.SearchStrategy[Any]:
    import types
    import typing

    if hint == Labels:
        return labels
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([_contents(each) for each in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_contents(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(_contents, arguments))
    if origin is not None:
        return st.dictionaries(text, st.integers() | text, max_size=2).filter(_fits)
    if hint is type(None):
        return st.none()
    return _values(hint) if attrs.has(hint) else st.from_type(hint)


def _tables(contents: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(text, contents)


def _fits(mapping: dict[str, Any]) -> bool:
    return all(not isinstance(n, int) or abs(n) < 2**63 for n in mapping.values())


CLASSES: list[Any] = [*KINDS.values(), Request, session.Assignments, session.ReportStatus]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_forms(cls: Any, data: st.DataObject) -> None:
    value = data.draw(_values(cls))
    packed = msgpack.unpackb(msgpack.packb(encode(value)), strict_map_key=False)
    assert decode(cls, packed) == value
    assert decode_trusted(cls, packed) == value
    assert from_dict(cls, json.loads(json.dumps(to_dict(value)))) == value
    assert hash(value) == hash(decode(cls, packed))
    repr(value)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(_values(Task), _values(Task))
def test_a_difference_makes_the_one_into_the_other(old: Task, new: Task) -> None:
    packed = msgpack.unpackb(msgpack.packb(differ_of(Task)(old, new)), strict_map_key=False)
    patched = patch(old, packed)
    patched.__class__ = Task
    assert patched == new
    fields = {field.name: getattr(new, field.name) for field in attrs.fields(Task)}
    assert replace(old, **fields) == new


@given(
    st.recursive(st.none() | st.integers() | text, lambda s: st.lists(s) | st.dictionaries(text, s))
)
def test_any_json_is_read_or_refused(data: Any) -> None:
    for cls in (ServiceSpec, SecretSpec):
        try:
            from_dict(cls, data)
        except InvalidArgument:
            pass
        try:
            decode(cls, data)
        except InvalidArgument:
            pass


@given(st.text(alphabet="0123456789.-:/@ abcghikmnpstuµGM", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_duration, parse_bytes, parse_ports, lambda t: validate_name("service", t)):
        try:
            read(text)
        except SwarmError:
            pass
    is_image_reference(text)
