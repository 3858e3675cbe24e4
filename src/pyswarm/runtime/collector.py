"""Keeping the garbage collector away from what lives long.

A manager's store is hundreds of thousands of objects that stay. Python's collector knows no better
than to look at all of them again in every full collection: some 0.25 µs each, so a few 100,000
tasks are a pause that followers may take for a lost leader. They are values without cycles, which
the collector never frees anyway; reference counts do. So the process is told to look at them no
more: what has survived a collection is frozen (:func:`gc.freeze`), once the node is loaded and at
intervals, which costs next to nothing. Seldom, and not while the node leads, everything is thawed,
collected in full and frozen again, for the odd cycle that was frozen while it lived.

The collector belongs to the whole process, so an embedder has to ask for this (``tune_gc=True``).
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

FREEZE_EVERY_S = 30.0
"""What came since is collected and frozen: some 100,000 objects on a busy manager, a few ms."""

THAW_EVERY_S = 3600.0
"""A full collection of all that was ever frozen: a pause, so seldom, and never as leader."""


async def keep_frozen(
    leads: Callable[[], bool],
    *,
    every_s: float = FREEZE_EVERY_S,
    thaw_every_s: float = THAW_EVERY_S,
) -> None:
    """Freeze now and at intervals, until cancelled; then leave the collector as it was."""
    try:
        thawed = trio.current_time()
        while True:
            gc.collect()
            gc.freeze()
            await trio.sleep(every_s)
            if trio.current_time() - thawed >= thaw_every_s and not leads():
                thawed = trio.current_time()
                gc.unfreeze()
    finally:
        gc.unfreeze()
