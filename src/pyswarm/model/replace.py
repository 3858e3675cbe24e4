"""Changed copies of immutable values, fast where there are many of them.

A frozen class refuses assignment, so the usual way to a changed copy runs the whole constructor
again (some 6 µs for a task). Here a copy is built on the class's mutable twin (see
:mod:`pyswarm.model.twins`) in half a microsecond.

Nothing is validated or converted on this way for the hot classes (tasks, nodes, services): whoever
replaces a field of those hands in a value of the right type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import attrs

from pyswarm.model.objects import Node, Service, Task, TaskStatus
from pyswarm.model.twins import copier_of

T = TypeVar("T")

HOT_CLASSES: tuple[type, ...] = (Task, Node, Service, TaskStatus)
"""Classes whose :func:`replace` skips the constructor, because turns and agents change them by
thousands."""


def stamped(value: T, version: int, created_at: float, updated_at: float) -> T:
    """A copy of a stored object with its version and times set."""
    cls = value.__class__
    new = copier_of(cls)(value)
    new.version = version
    new.created_at = created_at
    new.updated_at = updated_at
    new.__class__ = cls
    return cast("T", new)


def replace(value: T, **changes: Any) -> T:
    """A copy of ``value`` with some fields changed.

    Those of :data:`HOT_CLASSES` are copied without validation; everything else goes through its
    constructor and may raise :class:`~pyswarm.errors.InvalidArgument`.
    """
    cls = value.__class__
    if cls not in HOT_CLASSES:
        return cast("T", attrs.evolve(cast("Any", value), **changes))
    new = copier_of(cls)(value)
    for name, field in changes.items():
        setattr(new, name, field)
    new.__class__ = cls
    return cast("T", new)


_comparers: dict[type, Callable[[Any, Any], bool]] = {}
_bookkeeping = ("version", "created_at", "updated_at")
_volatile = ("state", "desired_state", "node_id", "status_at", "err", "message")


def _comparer_of(cls: type) -> Callable[[Any, Any], bool]:
    names = [f.name for f in attrs.fields(cls) if f.name not in _bookkeeping]
    names.sort(key=lambda name: name not in _volatile)  # stable: what changes most comes first
    tests = [f"(a.{name} is b.{name} or a.{name} == b.{name})" for name in names]
    scope: dict[str, Any] = {}
    exec("def same(a, b):\n    return (" + "\n        and ".join(tests) + ")", scope)
    comparer = _comparers[cls] = cast("Callable[[Any, Any], bool]", scope["same"])
    return comparer


def unchanged(one: T, other: T) -> bool:
    """Whether two objects of one class say the same, version and times aside."""
    cls = one.__class__
    return (_comparers.get(cls) or _comparer_of(cls))(one, other)
