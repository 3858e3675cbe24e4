"""A node's disk, as its runtime uses it: the log, a few small records, the agent's tasks.

The same over a directory and over memory (``state_dir=None``): both are a
:class:`~pyswarm.runtime.storage.StateDirectory`. A :class:`MemoryDirectory` outlives a node that
crashes, so a node can be started again from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import attrs
import msgpack
import trio

from pyswarm.agent import SavedTask
from pyswarm.env import Entropy, system_entropy
from pyswarm.model import Identity, Task, TaskStatus
from pyswarm.model.wire import decode_trusted, encode
from pyswarm.node import NodeRecord, RecoveredLog
from pyswarm.node.record import RECORD
from pyswarm.raft import HardState, Ready, Snapshot
from pyswarm.runtime.storage import (
    Batch,
    FileDirectory,
    LogStorage,
    MemoryDirectory,
    MissingFile,
    StateDirectory,
)
from pyswarm.runtime.storage import Identity as LogIdentity
from pyswarm.runtime.storage.disk import SyncTimes
from pyswarm.runtime.tls.keyfiles import certificate_store
from pyswarm.secretstore import UnlockKey

TASK_PREFIX = "task/"
"""Names of the agent's records."""
LOG = "log"
"""Name of the record that says: something is in the log. A member whose log has gone has forgotten
its votes, and must not be taken for one that never voted."""

Done = Callable[[BaseException | None], None]
"""Told None once it is on disk, or what went wrong; called on the node's loop."""


@attrs.frozen
class Remembered:
    """What a disk held when it was opened. ``record`` None: no node ever lived here."""

    record: NodeRecord | None = None
    log: RecoveredLog | None = None
    tasks: dict[str, SavedTask] = attrs.field(factory=dict)


class Disk:
    """One node's state. Writes are queued and done in order, on the directory's own thread."""

    def __init__(self, directory: StateDirectory) -> None:
        self.directory = directory
        self.certificates = certificate_store(directory)
        self.notes = directory.notes
        """What was cut or cleared away, if a write was torn when the last life ended."""
        self._identity: Identity | None = None
        self._log: LogStorage | None = None
        self._log_is_noted = directory.state.load(LOG) is not None
        self._state_is_behind = False
        self._held = 0
        self._refused: tuple[int, BaseException] | None = None

    def load(self) -> Remembered:
        """What is here. Blocking; once, before anything is written. Raises ``MissingFile``, what
        :meth:`.FileStorage.load` raises, and ``InvalidArgument`` for a record of no node."""
        blob = self.directory.state.load(RECORD)
        if blob is None:
            if self.directory.has_log():
                raise MissingFile("state")  # whose log is it?
            return Remembered()
        record = NodeRecord.from_bytes(blob)
        self.belongs_to(record.identity)
        log: RecoveredLog | None = None
        if record.member_id:
            if self._log_is_noted and not self.directory.has_log():
                raise MissingFile("raft")
            found = self._open_log().load()
            # A seat that was taken and not yet written to has its epoch from the record.
            state = HardState(epoch=record.epoch) if found.is_empty else found.hard_state
            log = RecoveredLog(record.member_id, state, found.snapshot, found.entries)
            self.notes += found.notes
        return Remembered(record, log, dict(self._load_tasks()))

    def _load_tasks(self) -> list[tuple[str, SavedTask]]:
        found = []
        for name in self.directory.state.names(TASK_PREFIX):
            blob = self.directory.state.load(name)
            if blob is not None:
                task, status = msgpack.unpackb(blob, strict_map_key=False)
                saved = SavedTask(decode_trusted(Task, task), decode_trusted(TaskStatus, status))
                found.append((name.removeprefix(TASK_PREFIX), saved))
        return found

    def belongs_to(self, identity: Identity) -> None:
        """Whose disk this is: the log is bound to its node and swarm."""
        self._identity = identity

    def _open_log(self) -> LogStorage:
        assert self._identity is not None, "whose log?"
        identity = LogIdentity(self._identity.swarm_id, self._identity.node_id)
        self._log = self.directory.log(identity)
        return self._log

    def persist(self, ready: Ready, done: Done) -> None:
        """Write a Ready's snapshot, hard state and entries, in that order, and sync.

        After an error nothing is taken until the Ready that failed is given again.
        """
        if self._refused is not None and self._refused[0] != ready.number:
            done(self._refused[1])
        elif self._state_is_behind or self._held:
            self._persist_behind_state(ready, done)
        else:
            self._submit(ready, done)

    def _submit(self, ready: Ready, done: Done) -> None:
        batch = Batch(ready.hard_state, ready.entries, ready.snapshot)
        # What is for others has not left yet: with their work before them, they do not wait for
        # this disk.
        log = self._new_log()
        told = done if self._log_is_noted else partial(self._written_first, log, done)
        log.submit(batch, told, prompt=not ready.messages)

    def _written_first(self, log: LogStorage, done: Done, error: BaseException | None) -> None:
        if error is None and self._log is log and not self._log_is_noted:
            self._log_is_noted = True
            self.save(LOG, b"")
        done(error)

    def _new_log(self) -> LogStorage:
        if self._log is None:
            # A new seat. What an earlier one may have left does not count: see ``NodeRecord``.
            self._log = self._open_log()
            self._log.start_empty()
        return self._log

    def _persist_behind_state(self, ready: Ready, done: Done) -> None:
        """The node's record could not be written: the log waits for it. A member whose vote is on
        disk while its seat is not would be given that seat again, and vote again."""
        self._held += 1
        self._refused = None

        def then(error: BaseException | None) -> None:
            self._held -= 1
            self._noted(error)
            if error is None and self._refused is None:
                self._submit(ready, done)
                return
            if self._refused is None:
                assert error is not None
                self._refused = (ready.number, error)
            done(self._refused[1])

        self.directory.state.save(RECORD, self.directory.state.load(RECORD) or b"", then)

    def _noted(self, error: BaseException | None) -> None:
        self._state_is_behind = error is not None

    def save_snapshot(self, snapshot: Snapshot, keep_old: int, done: Done) -> None:
        """Write a snapshot ahead, beside the log; a Ready that brings it makes it count."""
        self._new_log().save_snapshot(snapshot, done, keep_old=keep_old)

    async def wrap_keys(self, unlock_key: UnlockKey | None, version: int) -> bool:
        """See :meth:`~.storage.StateDirectory.rewrap`; the node's own key is encrypted alike."""

        async def rewrap() -> bool:
            return await self.directory.rewrap(unlock_key, version)

        return await self.certificates.follow(unlock_key, rewrap)

    def save(self, name: str, data: bytes | None) -> None:
        """Keep a small record under ``name``, or forget it. What cannot be written now is written
        with the next change, and before the log."""
        if data is None:
            self.directory.state.delete(name, self._noted)
        else:
            self.directory.state.save(name, data, self._noted)

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        """Keep what the agent must know of a task after a restart, or forget it."""
        if task is None or status is None:
            self.save(TASK_PREFIX + task_id, None)
        else:
            self.save(TASK_PREFIX + task_id, msgpack.packb([encode(task), encode(status)]))

    def drop_log(self) -> None:
        """This member left for good: its log goes, after what was queued before."""
        self._log = self._refused = None
        if self._log_is_noted:
            self._log_is_noted = False
            self.save(LOG, None)
        self.directory.drop_log()

    async def forget(self) -> None:
        """The node left its swarm: nothing of it stays here."""
        self.drop_log()
        for name in self.directory.state.names():
            self.directory.state.delete(name)
        self.certificates.forget()
        await self.directory.rewrap(None, 0)

    @property
    def sync_times(self) -> SyncTimes | None:
        """How long writes took; None in memory."""
        return self.directory.disk.times if isinstance(self.directory, FileDirectory) else None

    async def aclose(self) -> None:
        """Finish what is queued and let go of the directory."""
        with trio.CancelScope(shield=True):
            await self.directory.aclose()


def open_disk(
    state_dir: str | os.PathLike[str] | MemoryDirectory | None,
    *,
    unlock_key: UnlockKey | None = None,
    entropy: Entropy = system_entropy,
) -> tuple[Disk, Remembered]:
    """The disk at ``state_dir`` (None: in memory, forgotten with the process), and what it holds.

    Blocking; to be called on the loop that the node will run on. Raises what
    :meth:`FileDirectory.open` and :meth:`FileStorage.load` raise, and then holds on to nothing.
    """
    directory: StateDirectory
    if state_dir is None:
        directory = MemoryDirectory().open()
    elif isinstance(state_dir, MemoryDirectory):
        directory = state_dir.open()
    else:
        directory = FileDirectory.open(state_dir, unlock_key=unlock_key, entropy=entropy)
    disk = Disk(directory)
    try:
        return disk, disk.load()
    except BaseException:
        if isinstance(directory, FileDirectory):
            directory.close()
        raise
