"""A node's disk, as its runtime sees it: the log, a few small records, the agent's tasks.

:class:`MemoryDisk` keeps everything in the process: for ``state_dir=None``. It outlives a node that
crashes, so a node can be started again from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from pyswarm.agent import SavedTask
from pyswarm.model import Task, TaskStatus
from pyswarm.node import NodeRecord, RecoveredLog
from pyswarm.node.record import RECORD
from pyswarm.raft import Entry, HardState, Ready, Snapshot

Done = Callable[[BaseException | None], None]
"""Told None once it is on disk, or what went wrong; called on the node's loop."""


@attrs.frozen
class Remembered:
    """What a disk held when it was opened."""

    record: NodeRecord | None = None
    log: RecoveredLog | None = None
    tasks: dict[str, SavedTask] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()


class Disk(Protocol):
    """Where a node's state lives. Writes are queued and done in order."""

    def persist(self, ready: Ready, done: Done) -> None:
        """Write a Ready's snapshot, hard state and entries, in that order, and sync."""
        ...

    def save(self, name: str, data: bytes | None) -> None:
        """Keep a small record under ``name``, or forget it."""
        ...

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        """Keep what the agent must know of a task after a restart, or forget it."""
        ...

    def drop_log(self) -> None:
        """This member left for good: its log goes."""
        ...

    async def aclose(self) -> None:
        """Finish what is queued and let go of the directory."""
        ...


class MemoryDisk:
    """A disk that forgets with the process. ``done`` is called at once: nothing can be lost."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._tasks: dict[str, SavedTask] = {}
        self._hard_state = HardState()
        self._snapshot: Snapshot | None = None
        self._entries: list[Entry] = []

    def persist(self, ready: Ready, done: Done) -> None:
        if ready.snapshot is not None:
            self._take_snapshot(ready.snapshot)
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.entries:
            self._append(ready.entries)
        done(None)

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        """Entries behind a snapshot of our own log stay; another's replaces everything."""
        base = self._entries[0].index if self._entries else snapshot.index + 1
        place = snapshot.index - base
        if 0 <= place < len(self._entries) and self._entries[place].term == snapshot.term:
            del self._entries[: place + 1]
        elif not self._entries or self._entries[0].index != snapshot.index + 1:
            self._entries.clear()
        self._snapshot = snapshot

    def _append(self, entries: tuple[Entry, ...]) -> None:
        if self._entries:
            del self._entries[max(0, entries[0].index - self._entries[0].index) :]
        self._entries.extend(entries)

    def save(self, name: str, data: bytes | None) -> None:
        if data is None:
            self._blobs.pop(name, None)
        else:
            self._blobs[name] = data

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        if task is None or status is None:
            self._tasks.pop(task_id, None)
        else:
            self._tasks[task_id] = SavedTask(task, status)

    def drop_log(self) -> None:
        self._hard_state, self._snapshot = HardState(), None
        self._entries.clear()

    def load(self) -> Remembered:
        """What is here now."""
        blob = self._blobs.get(RECORD)
        if blob is None:
            return Remembered()
        record = NodeRecord.from_bytes(blob)
        log = None
        if record.member_id:
            log = RecoveredLog(
                record.member_id, self._hard_state, self._snapshot, tuple(self._entries)
            )
        return Remembered(record, log, dict(self._tasks))

    async def aclose(self) -> None:
        """Nothing is open."""
