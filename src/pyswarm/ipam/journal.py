"""The undo log that lets a refused change leave nothing behind.

Whoever decides in a transaction takes a checkpoint, leases what it needs, and either commits or
rolls back to the checkpoint. Between the two every change notes its exact inverse here; rolling
back runs the inverses, newest first, so the state afterwards is the state before, cursors included.
Outside of a checkpoint nothing is noted and nothing is paid. One journal may be shared by a pool,
its subnets and the ports, so that one rollback undoes them together.

Checkpoints nest: they are positions in one list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Undo = Callable[..., object]


class Journal:
    """A list of inverses, recorded while a checkpoint is open."""

    __slots__ = ("_recording", "_undos")

    def __init__(self) -> None:
        self._undos: list[tuple[Undo, tuple[Any, ...]]] = []
        self._recording = False

    def checkpoint(self) -> int:
        """Start (or go on) noting changes; the mark to give to :meth:`rollback`."""
        self._recording = True
        return len(self._undos)

    def note(self, undo: Undo, *args: Any) -> None:
        """``undo(*args)`` takes back a change just made. Callers may add their own."""
        if self._recording:
            self._undos.append((undo, args))

    def rollback(self, mark: int) -> None:
        """Take back everything since :meth:`checkpoint` returned ``mark``; older notes stay."""
        assert self._recording and 0 <= mark <= len(self._undos), "no such checkpoint is open"
        undos = self._undos
        while len(undos) > mark:
            undo, args = undos.pop()
            undo(*args)

    def commit(self) -> None:
        """Everything stands: forget all checkpoints and stop noting."""
        self._undos.clear()
        self._recording = False

    def __len__(self) -> int:
        return len(self._undos)
