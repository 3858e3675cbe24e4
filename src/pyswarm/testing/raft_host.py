"""What a simulated member of a Raft cluster stands on: a disk that forgets, and a register.

Used by :mod:`pyswarm.testing.raft_sim`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.raft import Entry, HardState, MemberID, Ready, Replica, Role, Snapshot

TICK_MS = 50


@attrs.frozen(kw_only=True)
class Faults:
    """What may go wrong in one history; probabilities, and mean intervals in milliseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ms: int = 10
    slow: float = 0.0
    """Share of messages that take twenty times longer, and so are overtaken."""
    partition_ms: int = 0
    crash_ms: int = 0
    disk_ms: int = 5
    disk_stall: float = 0.0
    churn_ms: int = 0
    transfer_ms: int = 0
    compact_entries: int = 30
    full_ms: int = 0
    """Between two disks that have no room for a while."""

    @classmethod
    def drawn(cls, rng: Rng) -> Faults:
        """A mix, different for every seed; some kinds are left out now and then."""

        def maybe(value: Any) -> Any:
            return value if rng.chance(0.7) else type(value)()

        return cls(
            loss=maybe(rng.uniform(0.0, 0.15)),
            duplication=maybe(rng.uniform(0.0, 0.1)),
            delay_ms=1 + rng.below(40),
            slow=maybe(rng.uniform(0.0, 0.05)),
            partition_ms=maybe(1000 + rng.below(5000)),
            crash_ms=maybe(300 + rng.below(4000)),
            disk_ms=1 + rng.below(rng.choice((15, 150))),
            disk_stall=maybe(rng.uniform(0.0, 0.04)),
            churn_ms=maybe(500 + rng.below(3000)),
            transfer_ms=maybe(1000 + rng.below(5000)),
            compact_entries=8 + rng.below(80),
            full_ms=maybe(1000 + rng.below(5000)),
        )


@attrs.define
class Disk:
    """What survives a crash, and the writes under way."""

    hard_state: HardState = attrs.field(factory=HardState)
    snapshot: Snapshot | None = None
    entries: list[Entry] = attrs.field(factory=list)
    queue: deque[Ready] = attrs.field(factory=deque)
    full_until: int = 0
    """In milliseconds: it takes nothing before."""

    def write(self, ready: Ready, entries_max: int | None = None) -> None:
        """Stores a Ready by its rules; with ``entries_max`` only the beginning of it."""
        if ready.snapshot is not None:
            self.store_snapshot(ready.snapshot)
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        for entry in ready.entries[:entries_max]:
            if self.entries and entry.index <= self.entries[-1].index:
                del self.entries[max(0, entry.index - self.entries[0].index) :]
            self.entries.append(entry)

    def store_snapshot(self, snapshot: Snapshot) -> None:
        """Entries stay if they hold the snapshot's last one; otherwise all of them go."""
        self.snapshot = snapshot
        if self.entries:
            at = snapshot.index - self.entries[0].index
            held = 0 <= at < len(self.entries) and self.entries[at].term == snapshot.term
            if not held:
                self.entries.clear()
            else:
                del self.entries[: max(0, at - 5)]


@attrs.define
class Waiting:
    """A client's operation under way."""

    client: int
    kind: str
    value: object
    begin: int
    term: int = 0


class Host:
    """A member with its disk and its copy of the register."""

    def __init__(self, id: MemberID, disk: Disk) -> None:
        self.id = id
        self.disk = disk
        self.replica: Replica | None = None
        self.life = 0
        """Counts restarts: what was under way in an earlier life is void."""
        self.value: object = None
        self.log: list[bytes] = []
        self.applied = 0
        self.compacted = 0
        self.writes: dict[int, Waiting] = {}
        self.reads: dict[int, Waiting] = {}
        self.role = Role.FOLLOWER
        self.tick_ms = TICK_MS

    def load(self, snapshot: Snapshot | None) -> None:
        """Replaces the register by the snapshot's."""
        data = b"".join(snapshot.chunks) if snapshot else b""
        self.log = [line for line in data.split(b"\n") if line]
        self.value = self.log[-1] if self.log else None
        self.applied = self.compacted = snapshot.index if snapshot else 0
