"""One member's log and snapshots in a directory: :class:`~.protocol.LogStorage` on real files.

The loop's side hands batches to the disk's thread; the thread's side (``write`` and what it calls)
owns the files. They share nothing but the queue. After a batch that could not be written nothing is
taken but that same batch: whatever was submitted before the driver heard of the failure, and
whatever it submits out of order, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

from pyswarm.env import system_entropy
from pyswarm.errors import SwarmError
from pyswarm.raft.records import HEADER_BYTES, damaged
from pyswarm.raft.snapshot import Snapshot
from pyswarm.runtime.storage.disk import DiskThread, SyncTimes
from pyswarm.runtime.storage.errors import WriteFailed, disk_errors, read_errors
from pyswarm.runtime.storage.files import Files, SystemFiles, replace_file
from pyswarm.runtime.storage.keys import KeyRing
from pyswarm.runtime.storage.protocol import INSTANCE_BYTES, Batch, Done, Identity, Recovered
from pyswarm.runtime.storage.snapshots import SnapshotFiles
from pyswarm.runtime.storage.wal import SEGMENT_BYTES, WriteAheadLog, segment_name

INSTANCE = "instance"
"""The file that tells this log from another one of the same member."""

PROMPT_ENTRIES_MAX = 4
PROMPT_BYTES_MAX = 16 * 1024
"""A batch beyond either has company: then the loop has something better to do than to wait for a
disk, and the way to the disk's thread is shared by all."""
RECORDS_BYTES = 1024
"""More than what a small batch takes in a file besides its entries' data."""


class FileStorage:
    """The log of ``identity`` in ``directory``.

    ``ring`` None writes without seals. ``load`` must be called before the first ``submit``.
    ``cleared`` is called on the disk's thread when files were removed (old data keys may go then).
    """

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        ring: KeyRing | None,
        disk: DiskThread,
        *,
        files: Files | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        cleared: Callable[[], None] | None = None,
    ) -> None:
        self.directory = directory
        self.identity = identity
        self.ring = ring
        self.disk = disk
        self._files = files or SystemFiles()
        self._wal = WriteAheadLog(directory, identity, ring, self._files, segment_bytes)
        self._snapshots = SnapshotFiles(directory, identity, ring, self._files)
        self._snapshot_keys: dict[tuple[int, int], int] = {}  # (index, term) → data key, as saved
        self._saving: dict[tuple[int, int], Generator[object, None, None]] = {}
        self._cleared = cleared or (lambda: None)
        self._loaded = False
        self._keep_old = 0
        self._newest: Snapshot | None = None  # marked on disk, and not yet cleared up behind
        # On the thread: the first batch that was not written, and why.
        self._refused: tuple[Batch, BaseException] | None = None

    @property
    def sync_times(self) -> SyncTimes:
        """How long the disk took, for all that is written through it."""
        return self.disk.times

    @property
    def instance(self) -> bytes:
        """See :class:`~.protocol.Lasting`. Blocking: drawn, and put beside the log, when it is
        asked for the first time. Raises ``ReadFailed``, ``DiskFull`` and ``WriteFailed``."""
        with read_errors():
            if INSTANCE in self._files.list(self.directory):
                return self._files.read(self.directory / INSTANCE)
        drawn = system_entropy(INSTANCE_BYTES)
        with disk_errors("the log"):
            self._files.make_directory(self.directory)
            replace_file(self._files, self.directory / INSTANCE, drawn)
        return drawn

    def load(self) -> Recovered:
        """Everything that was written, and nothing is changed.

        Raises ``DamagedRecords``, ``MissingFile``, ``OtherNode``, ``NewerFormat``, ``WrongDataKey``
        and ``ReadFailed``.
        """
        assert not self._loaded, "a storage is loaded once"
        with read_errors():
            return self._load()

    def _load(self) -> Recovered:
        wal = self._wal
        wal.read()
        snapshot = None
        base = 0
        if wal.mark is not None:
            base = wal.mark.snapshot_index
            key = (base, wal.mark.snapshot_term)
            snapshot, self._snapshot_keys[key] = self._snapshots.read(*key)
        entries, wal.entries = wal.entries, []
        if entries and entries[0].index > base + 1:
            name = segment_name(wal.segments[0].sequence)
            raise damaged(name, HEADER_BYTES, f"entries from {base + 1} are missing")
        behind = max(0, base + 1 - entries[0].index) if entries else 0
        self._loaded = True
        return Recovered(wal.hard_state, snapshot, tuple(entries[behind:]), tuple(wal.notes))

    def start_empty(self) -> None:
        """In place of ``load``: a log of nothing, whatever may lie there."""
        assert not self._loaded, "a storage is loaded once"
        self._loaded = True

    def submit(self, batch: Batch, done: Done, *, prompt: bool = False) -> None:
        """See :class:`~.protocol.LogStorage`."""
        assert self._loaded, "load() comes first"
        if not (prompt and self._is_small(batch) and self.disk.write_here(self, batch, done)):
            self.disk.submit(self, batch, done)

    def _is_small(self, batch: Batch) -> bool:
        """True if it is one short write, into the segment as it is."""
        if batch.snapshot is not None or len(batch.entries) > PROMPT_ENTRIES_MAX:
            return False
        size = 0
        for entry in batch.entries:
            size += len(entry.data)
        return size <= PROMPT_BYTES_MAX and self._wal.has_room(size + RECORDS_BYTES)

    def save_snapshot(self, snapshot: Snapshot, done: Done, *, keep_old: int = 0) -> None:
        """See :class:`~.protocol.LogStorage`. Old snapshots go all the same while there is an old
        data key to get rid of."""
        assert self._loaded, "load() comes first"
        slices = self._save_in_slices(snapshot)

        def begin() -> None:
            self._keep_old = keep_old
            self._saving.setdefault((snapshot.index, snapshot.term), slices)

        self.disk.run(begin)
        self.disk.run_in_slices(slices, done)

    async def aclose(self) -> None:
        """Write what waits and close the log's files. The disk stays."""
        import trio

        closed = trio.Event()
        self.disk.run(self._wal.close, lambda error: closed.set())
        with trio.CancelScope(shield=True):
            await closed.wait()

    def close_blocking(self) -> None:
        """Close the log's files: on the disk's thread, or once it has ended. A snapshot that is
        being saved is given up."""
        for slices in list(self._saving.values()):
            slices.close()
        self._wal.close()

    # -- on the disk's thread

    def write(self, items: list[Batch]) -> BaseException | None:
        """One group."""
        if self._refused is not None:
            first, error = self._refused
            if isinstance(error, WriteFailed) or items[0] != first:
                return error
        newest = self._newest
        try:
            for batch in items:
                if batch.snapshot is not None:
                    self._save(batch.snapshot)
                    newest = batch.snapshot
            self._wal.write(items)
        except Exception as error:
            if not isinstance(error, SwarmError):
                broken = WriteFailed(f"cannot write the log: {error}", outcome="unknown")
                broken.__cause__ = error
                error = broken
            self._refused = (items[0], error)
            return error
        self._refused = None
        self._newest = newest
        return None

    def tidy(self) -> None:
        """Clear away what the last snapshot stands for: several syncs that no commit waits for."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._clear_behind(newest)

    def _save(self, snapshot: Snapshot) -> None:
        key = (snapshot.index, snapshot.term)
        for _ in self._saving.get(key) or self._save_in_slices(snapshot):
            pass

    def _save_in_slices(self, snapshot: Snapshot) -> Generator[object, None, None]:
        key = (snapshot.index, snapshot.term)
        try:
            if key not in self._snapshot_keys:
                self._snapshot_keys[key] = yield from self._snapshots.save_in_slices(snapshot)
        finally:
            self._saving.pop(key, None)

    def _clear_behind(self, snapshot: Snapshot) -> None:
        """Remove what ``snapshot``, whose mark is on disk, stands for. What cannot be removed now
        will be by the next one."""
        key = (snapshot.index, snapshot.term)
        one_key = self.ring is None or len(self.ring.ids) == 1
        try:
            if self._keep_old and one_key and (older := self._snapshots.before(key[0])):
                key = older[-self._keep_old :][0]
            self._wal.drop(key[0])
            self._snapshots.remove_older(*key)
            kept = {other: id for other, id in self._snapshot_keys.items() if other >= key}
            self._snapshot_keys = kept
            self._cleared()
        except (SwarmError, OSError) as error:
            self._wal.notes.append(str(error))

    def roll(self) -> None:
        """Go on in a new segment, under the current data key (on the disk's thread)."""
        self._wal.roll()

    def data_keys_in_use(self) -> set[int]:
        """Ids of the data keys that some file of the log needs (on the disk's thread)."""
        ids = {segment.key_id for segment in self._wal.segments}
        return ids | set(self._snapshot_keys.values())
