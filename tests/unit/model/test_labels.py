"""Immutable dicts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from pyswarm.model import FrozenDict


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("a", "c"),
        lambda d: d.__delitem__("a"),
        lambda d: d.update(b="c"),
        lambda d: d.clear(),
        lambda d: d.pop("a"),
        lambda d: d.popitem(),
        lambda d: d.setdefault("z", "c"),
        lambda d: d.__ior__({"z": "c"}),
    ],
)
def test_every_change_is_refused(change: Callable[[Any], Any]) -> None:
    labels = FrozenDict({"a": "b"})
    with pytest.raises(TypeError, match="immutable"):
        change(labels)
    assert labels == {"a": "b"}


def test_equal_and_hashable_by_value() -> None:
    one, other = FrozenDict({"a": "b", "c": "d"}), FrozenDict({"c": "d", "a": "b"})
    assert one == other == {"a": "b", "c": "d"} and hash(one) == hash(other)
    assert copy.copy(one) is one and copy.deepcopy(one) is one
    assert pickle.loads(pickle.dumps(one)) == one
    assert msgpack.unpackb(msgpack.packb(one)) == one
    assert (one | {"e": "f"})["e"] == "f"
