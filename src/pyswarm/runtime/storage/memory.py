"""The same storage without a disk: for swarms in memory, for tests that restart a node.

What is submitted counts once the loop has come round (then ``done`` is called); a node that
"crashes" before that finds on ``load`` what counted by then, as it would on a disk. The object
itself lives as long as its owner: hand it to the node's next life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import trio

from pyswarm.env import system_entropy
from pyswarm.raft.entry import Entry, HardState
from pyswarm.raft.snapshot import Snapshot
from pyswarm.runtime.storage.disk import Deliver
from pyswarm.runtime.storage.protocol import INSTANCE_BYTES, Batch, Done, Identity, Recovered
from pyswarm.secretstore import UnlockKey


class Flusher:
    """Runs everything that was queued when the loop comes round: one wake-up for all of it."""

    def __init__(self, deliver: Deliver | None = None) -> None:
        self._deliver = deliver
        self._queue: list[Callable[[], None]] = []

    def add(self, job: Callable[[], None]) -> None:
        """Run ``job`` soon, after those added before."""
        self._queue.append(job)
        if len(self._queue) == 1:
            deliver = self._deliver or trio.lowlevel.current_trio_token().run_sync_soon
            queue = self._queue
            deliver(lambda: self.flush(queue))

    def flush(self, queue: list[Callable[[], None]] | None = None) -> None:
        """Run what waits now; nothing if ``queue`` has been dropped since."""
        if queue is None or queue is self._queue:
            self._queue, jobs = [], self._queue
            for job in jobs:
                job()

    def drop(self) -> None:
        """A crash: what waits never happens."""
        self._queue = []


class MemoryStorage:
    """A :class:`~.protocol.LogStorage` that survives as long as this object."""

    def __init__(self, deliver: Deliver | None = None) -> None:
        self.instance = system_entropy(INSTANCE_BYTES)
        self._flusher = Flusher(deliver)
        self._hard_state = HardState()
        self._snapshot: Snapshot | None = None
        self._entries: list[Entry] = []

    def __repr__(self) -> str:
        base = self._snapshot.index if self._snapshot else 0
        return f"<MemoryStorage snapshot={base} entries={len(self._entries)}>"

    def load(self) -> Recovered:
        """What counted; what was submitted by an earlier life and did not count is gone."""
        self._flusher.drop()
        return Recovered(self._hard_state, self._snapshot, tuple(self._entries))

    def start_empty(self) -> None:
        """See :class:`~.protocol.LogStorage`."""
        self._flusher.drop()
        self._hard_state, self._snapshot, self._entries = HardState(), None, []

    def submit(self, batch: Batch, done: Done, *, prompt: bool = False) -> None:
        """See :class:`~.protocol.LogStorage`."""

        def write() -> None:
            self._write(batch)
            done(None)

        self._flusher.add(write)

    def save_snapshot(self, snapshot: Snapshot, done: Done, *, keep_old: int = 0) -> None:
        """See :class:`~.protocol.LogStorage`. There is nothing to do ahead."""
        self._flusher.add(lambda: done(None))

    async def aclose(self) -> None:
        """Write what waits."""
        await trio.lowlevel.checkpoint()
        self._flusher.flush()

    def _write(self, batch: Batch) -> None:
        if batch.snapshot is not None:
            self._install(batch.snapshot)
        if batch.hard_state is not None:
            self._hard_state = batch.hard_state
        if batch.entries:
            log = self._entries
            base = self._snapshot.index if self._snapshot else 0
            entries = [entry for entry in batch.entries if entry.index > base]
            first = entries[0].index if entries else 0
            assert first <= base + len(log) + 1, "entries are missing"
            if entries:
                del log[first - base - 1 :]
                log += entries

    def _install(self, snapshot: Snapshot) -> None:
        base = self._snapshot.index if self._snapshot else 0
        behind = snapshot.index - base
        log = self._entries
        if behind > 0:
            holds = behind <= len(log) and log[behind - 1].term == snapshot.term
            self._entries = log[behind:] if holds else []
        self._snapshot = snapshot


class MemoryState:
    """A :class:`~.protocol.BlobStorage` that survives as long as this object."""

    def __init__(self, deliver: Deliver | None = None) -> None:
        self._flusher = Flusher(deliver)
        self._blobs: dict[str, bytes] = {}
        self._durable: dict[str, bytes] = {}

    def load(self, name: str) -> bytes | None:
        """See :class:`~.protocol.BlobStorage`."""
        return self._blobs.get(name)

    def names(self, prefix: str = "") -> list[str]:
        """See :class:`~.protocol.BlobStorage`."""
        return sorted(name for name in self._blobs if name.startswith(prefix))

    def save(self, name: str, data: bytes, done: Done | None = None) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        self.update({name: data}, done)

    def delete(self, name: str, done: Done | None = None) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        self.update({name: None}, done)

    def update(self, changes: Mapping[str, bytes | None], done: Done | None = None) -> None:
        """Save and delete (None) several names at once."""
        changes = dict(changes)
        put(self._blobs, changes)

        def write() -> None:
            put(self._durable, changes)
            if done is not None:
                done(None)

        self._flusher.add(write)

    async def flush(self) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        await trio.lowlevel.checkpoint()
        self._flusher.flush()

    def crash(self) -> None:
        """What was not yet written is gone."""
        self._flusher.drop()
        self._blobs = dict(self._durable)


def put(blobs: dict[str, bytes], changes: Mapping[str, bytes | None]) -> None:
    """Apply ``changes``; None deletes."""
    for name, data in changes.items():
        if data is None:
            blobs.pop(name, None)
        else:
            blobs[name] = data


@attrs.define
class MemoryDirectory:
    """A :class:`~.directory.StateDirectory` without a disk: keep it, and the node can come back."""

    state: MemoryState = attrs.Factory(MemoryState)
    is_open: bool = False
    _logs: dict[Identity, MemoryStorage] = attrs.Factory(dict)

    def open(self) -> MemoryDirectory:
        """Begin a life of the node: what its last one had not written is gone."""
        self.state.crash()
        self.is_open = True
        return self

    def log(self, identity: Identity) -> MemoryStorage:
        """The log of ``identity``, the same one in each life."""
        return self._logs.setdefault(identity, MemoryStorage())

    def has_log(self) -> bool:
        """True if a log was ever written here."""
        return bool(self._logs)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is ever cut in memory."""
        return ()

    def drop_log(self, done: Done | None = None) -> None:
        """Forget the log: this node is no manager any more."""
        self._logs.clear()
        if done is not None:
            done(None)

    @property
    def unlock_key(self) -> UnlockKey | None:
        """Nothing is on disk, so nothing is wrapped."""
        return None

    @property
    def unlock_key_version(self) -> int:
        """The same."""
        return 0

    async def rewrap(self, unlock_key: UnlockKey | None, version: int) -> bool:
        """Nothing is on disk, so nothing is wrapped."""
        await trio.lowlevel.checkpoint()
        return False

    async def aclose(self) -> None:
        """Write what waits. The directory can be opened again."""
        await self.state.flush()
        self.is_open = False
