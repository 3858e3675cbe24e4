"""Snapshots of the store: taken slice by slice, cut into the log's chunks, put together again.

The store encodes at most 500 objects a slice, so that no turn waits long.

A member's snapshot goes through three stages: it is *taken*, a slice a step; *saved* ahead by the
disk, between the log's writes; and then it *counts*: the log in memory is cut, and a Ready marks it
on disk, which by now costs next to nothing.

A snapshot that a leader sent is decoded the same way, a slice a step. Until it is whole the member
goes on hearing and answering its peers, and keeps the store it had.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyswarm.node.effects import SaveSnapshot
from pyswarm.node.outbox import Outbox
from pyswarm.raft import Replica, SlicePacker, Snapshot, unpack_slices
from pyswarm.store import SnapshotReader, Store

SAVE_RETRY_S = 10.0
"""After a snapshot that could not be saved (a full disk): how long until another is taken."""


class SnapshotTaker:
    """A snapshot under way: call :meth:`step` until it is done."""

    def __init__(self, store: Store, index: int) -> None:
        self.index = index
        """The entry the snapshot stands for."""
        self._slices = iter(store.snapshot().chunks())
        self._packer = SlicePacker()

    def step(self) -> bool:
        """Encode one slice; True once all are done."""
        slice_ = next(self._slices, None)
        if slice_ is None:
            return True
        self._packer.add(slice_)
        return False

    @property
    def chunks(self) -> tuple[bytes, ...]:
        """All chunks, once it is done."""
        return self._packer.chunks()


class SnapshotRestorer:
    """A leader's snapshot on its way to become the store: call :meth:`step` until that is there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._slices = unpack_slices(snapshot.chunks)
        self._reader = SnapshotReader()

    def step(self) -> Store | None:
        """Decode one slice, of some milliseconds; the store once all are done."""
        slice_ = next(self._slices, None)
        if slice_ is None:
            return self._reader.finish()
        self._reader.feed(slice_)
        return None


class Snapshots:
    """When one member takes a snapshot of its store, and what becomes of it."""

    def __init__(self, replica: Replica, out: Outbox, index: int) -> None:
        self.index = index
        """The entry that the last snapshot stands for."""
        self.count = 0
        """Snapshots taken in this life."""
        self._replica = replica
        self._out = out
        self._taker: SnapshotTaker | None = None
        self._saving: Snapshot | None = None
        self._needed: int | None = None
        self._not_before = float("-inf")
        self._looked_at = -1
        self._keep_entries = 0

    @property
    def is_taking(self) -> bool:
        """True while there is a slice to encode."""
        return self._taker is not None

    def need(self, index: int) -> None:
        """A snapshot that covers ``index`` is needed as soon as that is applied."""
        self._needed = max(index, self._needed or 0)
        self._looked_at = -1

    def work(self, store: Store, now: float) -> None:
        """Begin one if it is due, or encode the next slice of the one under way."""
        taker = self._taker
        if taker is None:
            if self._saving is None and self._is_due(store, now):
                self._taker = SnapshotTaker(store, self._replica.applied_index)
        elif taker.step():
            self._taker = None
            self._saving = self._replica.snapshot_at(taker.index, taker.chunks)
            settings = store.swarm.spec.raft
            self._keep_entries = settings.log_entries_for_slow_followers
            keep_old = settings.keep_old_snapshots
            self._out.add(SaveSnapshot(self._saving, self._replica.id, keep_old))

    def _is_due(self, store: Store, now: float) -> bool:
        applied = self._replica.applied_index
        if applied == self._looked_at or now < self._not_before or not store.has_swarm:
            return False
        self._looked_at = applied  # what makes one due comes with an entry
        if applied <= self.index:
            return False
        if self._needed is not None and applied >= self._needed:
            return True
        interval = store.swarm.spec.raft.snapshot_interval
        return bool(interval) and applied >= self.index + interval

    def saved(self, index: int, error: str | None, now: float) -> None:
        """The disk has the snapshot at ``index``, or no room for it."""
        snapshot = self._saving
        if snapshot is None or snapshot.index != index:
            return
        self._saving = None
        if error is not None:
            self._not_before = now + SAVE_RETRY_S
            self._looked_at = -1
            self._out.observe("snapshot.failed", "error", index=index, error=error)
            return
        self._replica.compact(snapshot, self._keep_entries)
        self._now_at(index)
        self.count += 1
        self._out.observe("log.compacted", index=index, size_bytes=snapshot.size)

    def replaced(self, index: int) -> None:
        """A leader's snapshot at ``index`` took the place of the whole store."""
        self._taker = self._saving = None
        self._now_at(index)

    def _now_at(self, index: int) -> None:
        self.index = index
        if self._needed is not None and index >= self._needed:
            self._needed = None


def restore(chunks: Iterable[bytes]) -> Store:
    """The store a snapshot holds."""
    return Store.restore(unpack_slices(chunks))
