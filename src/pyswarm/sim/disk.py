"""The simulated disk of one node: what is synced survives a crash, what is not may be lost.

A write takes a while; until then it is neither confirmed nor safe. A crash keeps everything
confirmed and, of the writes under way, a prefix drawn from the seed (the disk may have got further
than it told). Small records and task records are kept as they are written.

While a disk is full nothing gets on it. A write of the log is refused, and so is what was begun
after it, until the one that failed is given again; a small record is written with the next one that
finds room, and before the log.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import attrs

from pyswarm.agent import SavedTask
from pyswarm.env import Rng
from pyswarm.model import Task, TaskStatus
from pyswarm.node import NodeRecord, RecoveredLog
from pyswarm.node.record import RECORD
from pyswarm.raft import Entry, HardState, Ready, Snapshot

BETWEEN_S = 1e-6
"""Between the answers to two writes, so that they come in order."""


@attrs.frozen(kw_only=True)
class DiskFaults:
    """How long writes take."""

    sync_min_s: float = 0.0005
    sync_max_s: float = 0.003
    stall: float = 0.0
    """Chance that a write takes up to ``stall_max_s``."""
    stall_max_s: float = 0.5


class Outcome(Enum):
    """What became of a write."""

    SAFE = "safe"
    FULL = "no space left on device"
    DROPPED = "its log was dropped meanwhile"


class SimulatedDisk:
    """One node's disk; it outlives the node's crashes."""

    def __init__(self, faults: DiskFaults, rng: Rng) -> None:
        self.faults = faults
        self.is_full = False
        """Nothing can be written until there is room again."""
        self._rng = rng
        self._refused: int | None = None
        self._unsaved: dict[str, bytes | None] = {}
        self._unsaved_tasks: dict[str, SavedTask | None] = {}
        self._pending: deque[Ready] = deque()
        self._dropped: list[Ready] = []
        self._blobs: dict[str, bytes] = {}
        self._tasks: dict[str, SavedTask] = {}
        self._hard_state = HardState()
        self._snapshot: Snapshot | None = None
        self._entries: list[Entry] = []
        self._last_done = 0.0

    def write(self, now: float, ready: Ready) -> float:
        """Begin a write; the time at which it is done (after all earlier ones)."""
        self._pending.append(ready)
        faults, rng = self.faults, self._rng
        if faults.stall and rng.chance(faults.stall):
            takes = rng.uniform(faults.sync_min_s, faults.stall_max_s)
        else:
            takes = rng.uniform(faults.sync_min_s, faults.sync_max_s)
        self._last_done = max(self._last_done + BETWEEN_S, now + takes)
        return self._last_done

    def done(self, ready: Ready) -> Outcome:
        """The oldest write under way has ended."""
        for place, dropped in enumerate(self._dropped):
            if dropped is ready:
                del self._dropped[place]
                return Outcome.DROPPED
        assert self._pending[0] is ready, "writes are done in order"
        self._pending.popleft()
        if self._refused not in (None, ready.number):
            return Outcome.FULL
        self._refused = ready.number if self.is_full else None
        if self.is_full:
            return Outcome.FULL
        self._catch_up()
        self._store(ready)
        return Outcome.SAFE

    def crash(self) -> None:
        """Lose power: of the writes under way a prefix survives."""
        survive = self._rng.below(len(self._pending) + 1)
        if self.is_full or self._refused is not None:
            survive = 0
        if survive:
            self._catch_up()
        self._unsaved.clear()
        self._unsaved_tasks.clear()
        self._refused = None
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
        self._unsaved[name] = data
        self._catch_up()

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        """Keep or forget what the agent knows of a task."""
        saved = None if task is None or status is None else SavedTask(task, status)
        self._unsaved_tasks[task_id] = saved
        self._catch_up()

    def _catch_up(self) -> None:
        """Write the records that wait for room."""
        if self.is_full:
            return
        for name, data in self._unsaved.items():
            if data is None:
                self._blobs.pop(name, None)
            else:
                self._blobs[name] = data
        for task_id, saved in self._unsaved_tasks.items():
            if saved is None:
                self._tasks.pop(task_id, None)
            else:
                self._tasks[task_id] = saved
        self._unsaved.clear()
        self._unsaved_tasks.clear()

    def drop_log(self) -> None:
        """The member left for good; what is under way means nothing any more."""
        self._dropped.extend(self._pending)
        self._pending.clear()
        self._refused = None
        self._hard_state, self._snapshot, self._entries = HardState(), None, []

    def wipe(self) -> None:
        """Forget all of a swarm."""
        self.drop_log()
        self._blobs.clear()
        self._tasks.clear()

    @property
    def record(self) -> NodeRecord | None:
        """What the node remembers of itself."""
        blob = self._blobs.get(RECORD)
        return None if blob is None else NodeRecord.from_bytes(blob)

    @property
    def tasks(self) -> dict[str, SavedTask]:
        """What the agent had saved."""
        return dict(self._tasks)

    @property
    def last_index(self) -> int:
        """Up to where the log is safe."""
        if self._entries:
            return self._entries[-1].index
        return self._snapshot.index if self._snapshot is not None else 0

    @property
    def hard_state(self) -> HardState:
        """Term and vote, as far as they are safe."""
        return self._hard_state

    def log(self, member_id: int) -> RecoveredLog:
        """The log as a restarted member reads it."""
        return RecoveredLog(member_id, self._hard_state, self._snapshot, tuple(self._entries))
