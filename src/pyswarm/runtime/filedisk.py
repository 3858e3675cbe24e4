"""A node's disk in a real directory: :class:`~pyswarm.runtime.disk.Disk` on ``storage``.

Two orders matter beyond what ``storage`` gives by itself.

The node's record says which seat it has in the log. It is on disk before the first write to that
log: a member that voted and forgot its seat would be given it anew, and vote again. And it says
that the seat is gone before the log is removed.

When a Ready could not be written, none after it counts as written before it is: everything else is
refused until the node hands in that one again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from logging import getLogger

import msgpack

from pyswarm.agent import SavedTask
from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import Task, TaskStatus
from pyswarm.model.wire import decode_trusted, encode
from pyswarm.node import NodeRecord, RecoveredLog
from pyswarm.node.record import RECORD
from pyswarm.raft import HardState, Ready
from pyswarm.runtime.disk import Remembered
from pyswarm.runtime.storage import Batch, Done, FileDirectory, FileStorage, Identity, MissingFile
from pyswarm.runtime.storage.disk import Deliver
from pyswarm.secretstore import UnlockKey

TASKS = "tasks/"
"""Blobs of the agent's tasks are named by their ids behind this."""
TASK_FORMAT = 1

_log = getLogger("pyswarm.storage")

OnError = Callable[[str, BaseException], None]
"""Told what could not be saved, and why."""


def log_error(what: str, error: BaseException) -> None:
    """Where nobody listens: a line in the log."""
    _log.error("cannot save %s: %s", what, error)


class FileDisk:
    """The directory of one node. Made by :meth:`open`; then ``load``, once."""

    def __init__(self, directory: FileDirectory, on_error: OnError = log_error) -> None:
        self.directory = directory
        self._on_error = on_error
        self._log: FileStorage | None = None
        self._drops_log = False
        self._refused_from: int | None = None
        """Number of the first Ready that was not written, and everything behind it."""

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        unlock_key: UnlockKey | None = None,
        entropy: Entropy = system_entropy,
        deliver: Deliver | None = None,
        on_error: OnError = log_error,
    ) -> FileDisk:
        """Take hold of ``path``. Blocking; raises what ``FileDirectory.open`` raises."""
        directory = FileDirectory.open(
            path, unlock_key=unlock_key, entropy=entropy, deliver=deliver
        )
        return cls(directory, on_error)

    def load(self) -> Remembered:
        """What the node must know when it starts again. Blocking; changes nothing.

        Raises what ``FileStorage.load`` raises. A directory without record and log is a new one.
        """
        state = self.directory.state
        notes = list(state.notes)
        blob = state.load(RECORD)
        if blob is None:
            if self.directory.has_log():
                raise MissingFile("state")
            return Remembered(notes=tuple(notes))
        record = NodeRecord.from_bytes(blob)
        log = None
        if record.member_id:
            recovered = self._open_log(record).load()
            hard_state = recovered.hard_state
            if recovered.is_empty:
                hard_state = HardState(epoch=record.epoch)
            log = RecoveredLog(record.member_id, hard_state, recovered.snapshot, recovered.entries)
            notes += recovered.notes
        elif self.directory.has_log():
            self._drops_log = True
            notes.append("the log of a seat that was given up is removed")
        return Remembered(record, log, self._load_tasks(), tuple(notes))

    def _open_log(self, record: NodeRecord) -> FileStorage:
        identity = Identity(record.identity.swarm_id, record.identity.node_id)
        self._log = self.directory.log(identity)
        return self._log

    def _load_tasks(self) -> dict[str, SavedTask]:
        state = self.directory.state
        return {
            name.removeprefix(TASKS): decode_task(state.load(name) or b"")
            for name in state.names(TASKS)
        }

    # -- what a node asks

    def persist(self, ready: Ready, done: Done) -> None:
        """See :class:`~pyswarm.runtime.disk.Disk`."""
        number = ready.number
        if self._refused_from is not None and number > self._refused_from:
            refusal = FailedPrecondition(
                f"Ready {self._refused_from} was not written: it comes first"
            )
            self.directory.disk.run(lambda: None, lambda _: done(refusal))
            return
        self._refused_from = None

        def written(error: BaseException | None) -> None:
            if error is not None:
                first = self._refused_from
                self._refused_from = number if first is None else min(first, number)
            done(error)

        batch = Batch(ready.hard_state, ready.entries, ready.snapshot)
        self._current_log().submit(batch, written)

    def _current_log(self) -> FileStorage:
        if self._log is None:
            blob = self.directory.state.load(RECORD)
            assert blob is not None, "a node saves its record before it writes its log"
            self._remove_dropped_log()
            self._open_log(NodeRecord.from_bytes(blob)).start_empty()
        assert self._log is not None
        return self._log

    def save(self, name: str, data: bytes | None) -> None:
        """See :class:`~pyswarm.runtime.disk.Disk`."""
        done = self._reporting(f"record {name!r}")
        self.directory.state.update({name: data}, done, in_order=True)
        if name == RECORD:
            self._remove_dropped_log()

    def save_task(self, task_id: str, task: Task | None, status: TaskStatus | None) -> None:
        """See :class:`~pyswarm.runtime.disk.Disk`."""
        data = None if task is None or status is None else encode_task(task, status)
        done = self._reporting(f"task {task_id}")
        self.directory.state.update({TASKS + task_id: data}, done)

    def _reporting(self, what: str) -> Done:
        def done(error: BaseException | None) -> None:
            if error is not None:
                self._on_error(what, error)

        return done

    def drop_log(self) -> None:
        """See :class:`~pyswarm.runtime.disk.Disk`. Done behind the record that follows."""
        self._drops_log = True

    def _remove_dropped_log(self) -> None:
        if self._drops_log:
            self._drops_log = False
            self._log = None
            self._refused_from = None
            self.directory.drop_log(self._reporting("that the log is gone"))

    async def rewrap(self, unlock_key: UnlockKey | None, version: int) -> bool:
        """Wrap the data keys by ``unlock_key`` from now on (None: by none); ``version`` is that of
        the swarm object that says so. True if the log should be compacted soon: then the data key
        that had lain here in clear is forgotten."""
        return await self.directory.rewrap(unlock_key, version)

    async def aclose(self) -> None:
        """See :class:`~pyswarm.runtime.disk.Disk`."""
        self._remove_dropped_log()
        await self.directory.aclose()


def encode_task(task: Task, status: TaskStatus) -> bytes:
    """A task as the agent keeps it."""
    data: bytes = msgpack.packb((TASK_FORMAT, encode(task), encode(status)))
    return data


def decode_task(data: bytes) -> SavedTask:
    """The inverse. Raises ``InvalidArgument``."""
    try:
        number, task, status = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidArgument("a saved task cannot be read") from error
    if number != TASK_FORMAT:
        raise InvalidArgument(f"a saved task has format {number}, this version reads {TASK_FORMAT}")
    return SavedTask(decode_trusted(Task, task), decode_trusted(TaskStatus, status))
