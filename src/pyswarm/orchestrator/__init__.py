"""What tasks should exist: one reconciler a file.

A reconciler looks at what changed and writes what should follow into the open transaction; the
leader's turn calls them all (``order.RECONCILERS``) until none writes any more. Nothing they hold
is more than a cache: ``rebuild`` makes one from a store that decides the same.

Read ``task`` first (what a task is, when a slot is alive), then ``replicated`` and ``restart``,
``update`` (rolling updates), ``allocate`` (addresses and ports), ``reaper``; ``reasons`` lists
every reason a change is made for.
"""

from __future__ import annotations

from .reasons import CODES as CODES
from .reasons import sentence as sentence

__all__ = ["CODES", "sentence"]
