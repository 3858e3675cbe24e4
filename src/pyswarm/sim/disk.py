"""The simulated disk of one node: what is synced survives a crash, what is not may be lost.

A write takes a while; until then it is neither confirmed nor safe. A crash keeps everything
confirmed and, of the writes under way, a prefix drawn from the seed (the disk may have got further
than it told). Small records and task records are kept as they are written.
"""

from __future__ import annotations

from collections import deque

import attrs

from pyswarm.agent import SavedTask
from pyswarm.env import Rng
from pyswarm.model import Task, TaskStatus
from pyswarm.node import NodeRecord, RecoveredLog
from pyswarm.node.record import RECORD
from pyswarm.raft import Entry, HardState, Ready, Snapshot


@attrs.frozen(kw_only=True)
class DiskFaults:
    """How long writes take."""

    sync_min_s: float = 0.0005
    sync_max_s: float = 0.003
    stall: float = 0.0
    """Chance that a write takes up to ``stall_max_s``."""
    stall_max_s: float = 0.5


class SimulatedDisk:
    """One node's disk; it outlives the node's crashes."""

    def __init__(self, faults: DiskFaults, rng: Rng) -> None:
        self.faults = faults
        self._rng = rng
        self._pending: deque[Ready] = deque()
        self._dropped: list[Ready] = []
        self._blobs: dict[str, bytes] = {}
        self._tasks: dict[str, SavedTask] = {}
        self._hard_state = HardState()
        self._snapshot: Snapshot | None = None
        self._entries: list[Entry] = []
        self._last_done = 0.0

    def write(self, now: float, ready: Ready) -> float:
        """Begin a write; the time at which it is done (never before an earlier one)."""
        self._pending.append(ready)
        faults, rng = self.faults, self._rng
        if faults.stall and rng.chance(faults.stall):
            takes = rng.uniform(faults.sync_min_s, faults.stall_max_s)
        else:
            takes = rng.uniform(faults.sync_min_s, faults.sync_max_s)
        self._last_done = max(self._last_done, now + takes)
        return self._last_done

    def done(self, ready: Ready) -> bool:
        """The oldest write under way is safe now; False if its log was dropped meanwhile."""
        for place, dropped in enumerate(self._dropped):
            if dropped is ready:
                del self._dropped[place]
                return False
        assert self._pending[0] is ready, "writes are done in order"
        self._store(self._pending.popleft())
        return True

    def crash(self) -> None:
        """Lose power: of the writes under way a prefix survives."""
        survive = self._rng.below(len(self._pending) + 1)
        for _ in range(survive):
            self._store(self._pending.popleft())
        self._pending.clear()
        self._dropped.clear()
        self._last_done = 0.0

    def _store(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self._take_snapshot(ready.snapshot)
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.entries:
            first = ready.entries[0].index
            self._entries = [entry for entry in self._entries if entry.index < first]
            self._entries.extend(ready.entries)

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        held = any(e.index == snapshot.index and e.term == snapshot.term for e in self._entries)
        own = not self._entries or self._entries[0].index == snapshot.index + 1
        if held or own:
            self._entries = [entry for entry in self._entries if entry.index > snapshot.index]
        else:
            self._entries = []
        self._snapshot = snapshot

    def save(self, name: str, data: bytes | None) -> None:
        """Keep or forget a small record."""
        if data is None:
            self._blobs.pop(name, None)
        else:
            self._blobs[name] = data

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        """Keep or forget what the agent knows of a task."""
        if task is None or status is None:
            self._tasks.pop(task_id, None)
        else:
            self._tasks[task_id] = SavedTask(task, status)

    def drop_log(self) -> None:
        """The member left for good; what is under way means nothing any more."""
        self._dropped.extend(self._pending)
        self._pending.clear()
        self._hard_state, self._snapshot, self._entries = HardState(), None, []

    @property
    def record(self) -> NodeRecord | None:
        """What the node remembers of itself."""
        blob = self._blobs.get(RECORD)
        return None if blob is None else NodeRecord.from_bytes(blob)

    @property
    def tasks(self) -> dict[str, SavedTask]:
        """What the agent had saved."""
        return dict(self._tasks)

    def log(self, member_id: int) -> RecoveredLog:
        """The log as a restarted member reads it."""
        return RecoveredLog(member_id, self._hard_state, self._snapshot, tuple(self._entries))
