"""Mutable twins of the value classes: how frozen objects are built and copied fast.

A twin has the slots of its value class in the same order, but can be assigned to. An object is
built on the twin with plain assignments and then becomes a value by having its ``__class__`` set;
CPython allows that between classes of one layout (which is why our values have no slot for weak
references). Copying functions are generated once per class, as straight-line code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import attrs

_twins: dict[type, type] = {}
_copiers: dict[type, Callable[[Any], Any]] = {}


def twin_of(cls: type) -> type:
    """The mutable class with the slots of the frozen class ``cls``."""
    twin = _twins.get(cls)
    if twin is None:
        slots = vars(cls)["__slots__"]
        twin = type(f"Mutable{cls.__name__}", (), {"__slots__": slots})
        _twins[cls] = twin
    return twin


def copier_of(cls: type) -> Callable[[Any], Any]:
    """A generated function: a value of ``cls`` → its copy as a (still mutable) twin."""
    try:
        return _copiers[cls]
    except KeyError:
        names = [field.name for field in attrs.fields(cls)]
        lines = ["def copy(old):", "    new = Twin()"]
        lines += [f"    new.{name} = old.{name}" for name in names]
        lines += ["    return new"]
        scope: dict[str, Any] = {"Twin": twin_of(cls)}
        exec("\n".join(lines), scope)
        copier = _copiers[cls] = cast("Callable[[Any], Any]", scope["copy"])
        return copier
