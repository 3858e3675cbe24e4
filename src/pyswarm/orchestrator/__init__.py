"""What tasks should exist: one reconciler a file.

A reconciler looks at what changed and writes what should follow into the open transaction; the
leader's turn calls them all, in the order of ``RECONCILERS``, until none writes any more. Nothing
they hold is more than a cache: ``rebuild`` makes one from a store that decides the same.

Read ``task`` first (what a task is, when a slot is alive), then ``replicated`` and ``restart``,
``update`` (rolling updates), ``allocate`` (addresses and ports), ``reaper``; ``reasons`` lists
every reason a change is made for.
"""

from __future__ import annotations

from .reasons import CODES as CODES
from .reasons import sentence as sentence

__all__ = ["CODES", "RECONCILERS", "sentence"]

# In the order of a round: who wants tasks, who changes them, who serves them, who clears up.
_ORDER = (
    ("replicated", "Replicated"),
    ("global_", "GlobalServices"),
    ("jobs", "Jobs"),
    ("update", "Updates"),
    ("restart", "Restarts"),
    ("enforce", "Enforcer"),
    ("allocate", "Allocator"),
    ("place", "Placer"),
    ("reaper", "Reaper"),
    ("orphan", "Orphans"),
)


def __getattr__(name: str) -> object:
    if name != "RECONCILERS":
        raise AttributeError(name)
    from importlib import import_module

    found = tuple(
        getattr(import_module(f"{__name__}.{module}"), noun) for module, noun in _ORDER
    )
    globals()["RECONCILERS"] = found
    return found
