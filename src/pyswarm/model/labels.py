"""Immutable dicts, for labels and options: equal by value, hashable, shared without fear.

A value class must not hold what somebody else can change, and a hundred thousand tasks should share
the one empty dict. So every mapping in the model becomes a :class:`FrozenDict` when it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that refuses every change. ``dict(frozen)`` is a changeable copy."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("labels and options are immutable: make a new dict from them")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> FrozenDict[K, V]:
        return self

    def __deepcopy__(self, memo: Any) -> FrozenDict[K, V]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


Labels = Mapping[str, str]

no_labels: Labels = FrozenDict()
"""The empty mapping: the default of every field of labels or options."""
