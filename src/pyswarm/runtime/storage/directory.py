"""A node's directory: the lock, the keys, the small state and the log, and one thread for all.

::

    lock        held (flock) as long as the node lives
    keys        the ring of data keys, wrapped by the unlock key while autolock is on
    state       the journal of the node's small state
    raft/       a manager's log: manifest, segments (.wal), snapshots (.snap)

A copy of the directory of a stopped node is a backup of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from pyswarm.env import Entropy, system_entropy
from pyswarm.runtime.storage.disk import Deliver, DiskThread
from pyswarm.runtime.storage.errors import DirectoryInUse, disk_errors, read_errors
from pyswarm.runtime.storage.files import Files, SystemFiles, checked_path, remove_file
from pyswarm.runtime.storage.filestorage import FileStorage
from pyswarm.runtime.storage.keys import KeyRing
from pyswarm.runtime.storage.protocol import BlobStorage, Done, Identity, LogStorage
from pyswarm.runtime.storage.statefile import StateFile
from pyswarm.runtime.storage.wal import SEGMENT_BYTES
from pyswarm.secretstore import UnlockKey


class StateDirectory(Protocol):
    """All that a node keeps."""

    @property
    def state(self) -> BlobStorage:
        """The node's small state."""
        ...

    def log(self, identity: Identity) -> LogStorage:
        """The log of ``identity``, to be loaded."""
        ...

    def has_log(self) -> bool:
        """True if a log was ever written here."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was cut of the small state when it was read."""
        ...

    def drop_log(self, done: Done | None = None) -> None:
        """Forget the log and all snapshots, after what was submitted before: this node is no
        manager any more."""
        ...

    @property
    def unlock_key(self) -> UnlockKey | None:
        """What the data keys are wrapped by now, and were at the end of a directory that was let
        go of; None: they lie in clear."""
        ...

    @property
    def unlock_key_version(self) -> int:
        """The version of the swarm object that ``unlock_key`` came from; 0 if none said it."""
        ...

    async def rewrap(self, unlock_key: UnlockKey | None, version: int) -> bool:
        """Wrap the data keys by ``unlock_key`` (None: not at all) from now on; see
        :meth:`.keys.KeyRing.rewrap`. True if the node should take a snapshot soon, so that an old
        data key can be forgotten: also when an earlier life began this and did not end it."""
        ...

    async def aclose(self) -> None:
        """Write what waits and let go of the directory."""
        ...


class FileDirectory:
    """A :class:`StateDirectory` on disk. Made by :meth:`open`."""

    def __init__(
        self, path: Path, lock: int, ring: KeyRing, files: Files, deliver: Deliver | None
    ) -> None:
        self.path = path
        self.ring = ring
        self.disk = DiskThread(deliver)
        self._lock = lock
        self._files = files
        self._log: FileStorage | None = None
        self._state = StateFile(path / "state", ring, self.disk, files=files)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        unlock_key: UnlockKey | None = None,
        unlock_key_version: int = 0,
        entropy: Entropy = system_entropy,
        files: Files | None = None,
        deliver: Deliver | None = None,
    ) -> FileDirectory:
        """Take hold of ``path``; make it if it is not there. Blocking. ``unlock_key_version`` is
        noted in a new directory: an older key than that never replaces ``unlock_key``.

        Raises ``DirectoryInUse``, ``StorageLocked``, ``WrongUnlockKey``, ``WrongDataKey``,
        ``NewerFormat``, ``DamagedRecords``, ``MissingFile``, ``ReadFailed``, ``DiskFull`` and
        ``WriteFailed``; the directory is as it was then.
        """
        path = checked_path(path, "state_dir")
        files = files or SystemFiles()
        with disk_errors(f"the state directory {path}"):
            files.make_directory(path)
            lock = hold(path / "lock")
        try:
            with read_errors():
                ring = open_ring(path, files, unlock_key, entropy, unlock_key_version)
                return cls(path, lock, ring, files, deliver)
        except BaseException:
            os.close(lock)
            raise

    @staticmethod
    def is_locked(path: str | os.PathLike[str]) -> bool:
        """True if the directory exists and needs an unlock key. Raises ``NewerFormat``,
        ``DamagedRecords`` and ``ReadFailed``."""
        keys = checked_path(path, "state_dir") / "keys"
        with read_errors():
            return keys.exists() and KeyRing.is_locked(keys, SystemFiles())

    @staticmethod
    def is_blank(path: str | os.PathLike[str]) -> bool:
        """True if no node ever kept anything there. Raises ``ReadFailed``."""
        with read_errors():
            return is_blank(SystemFiles().list(Path(path)))

    @staticmethod
    def wipe(path: str | os.PathLike[str]) -> None:
        """Remove a node's state, readable or not: it left its swarm. Blocking. The keys go first:
        what a stop in the middle leaves can be read by nobody. Raises ``DirectoryInUse``,
        ``WriteFailed``."""
        path, files = Path(path), SystemFiles()
        if not path.exists():
            return
        with disk_errors("the state directory"):
            lock = hold(path / "lock")
            try:
                remove_file(files, path / "keys")
                for below in (path / "certificates", path / "raft"):
                    for name in files.list(below):
                        remove_file(files, below / name)
                    with contextlib.suppress(FileNotFoundError):
                        below.rmdir()
                remove_file(files, path / "state")
                files.sync_directory(path)
            finally:
                os.close(lock)

    @property
    def state(self) -> StateFile:
        """The node's small state."""
        return self._state

    def log(self, identity: Identity, *, segment_bytes: int = SEGMENT_BYTES) -> FileStorage:
        """The log of ``identity``; one at a time."""
        self._log = FileStorage(
            self.path / "raft",
            identity,
            self.ring,
            self.disk,
            files=self._files,
            segment_bytes=segment_bytes,
            cleared=self._forget_keys,
        )
        return self._log

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`StateDirectory`."""
        return tuple(self._state.notes)

    def has_log(self) -> bool:
        """True if a log was ever written here."""
        with read_errors():
            return "manifest" in self._files.list(self.path / "raft")

    def drop_log(self, done: Done | None = None) -> None:
        """See :class:`StateDirectory`. The manifest goes last: until then it is a log with missing
        parts, which nobody opens by mistake."""
        log, self._log = self._log, None

        def remove() -> None:
            if log is not None:
                log.close_blocking()
            raft = self.path / "raft"
            with disk_errors("the state directory"):
                names = self._files.list(raft)
                for name in sorted(names, key=lambda name: name == "manifest"):
                    remove_file(self._files, raft / name)
                if names:
                    self._files.sync_directory(raft)

        self.disk.run(remove, done)

    @property
    def unlock_key(self) -> UnlockKey | None:
        """See :class:`StateDirectory`."""
        return self.ring.kek

    @property
    def unlock_key_version(self) -> int:
        """See :class:`StateDirectory`."""
        return self.ring.kek_version

    async def rewrap(self, unlock_key: UnlockKey | None, version: int) -> bool:
        """See :class:`StateDirectory`."""

        def rewrap() -> None:
            if self.ring.rewrap(unlock_key, version) and self._log is not None:
                self._log.roll()

        await self._run(rewrap)
        return await self._leave_old_keys()

    async def _leave_old_keys(self) -> bool:
        """Do without the old data keys, if there are any; True if the log still needs one."""
        if len(self.ring.ids) > 1:
            await self._run(self._move_state)
            await self._run(self._forget_keys)
        return len(self.ring.ids) > 1 and self._log is not None

    def _move_state(self) -> None:
        if self.state.key_id != self.ring.current_id:
            self.state.rewrite()

    def _forget_keys(self) -> None:
        """On the disk's thread: drop the data keys that no file needs."""
        needed = {self.state.key_id}
        if self._log is not None:
            needed |= self._log.data_keys_in_use()
        elif self.has_log():
            return  # not loaded: who knows what it needs
        self.ring.forget(needed)

    async def _run(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the disk's thread and raise what it raises."""
        ended = trio.Event()
        errors: list[BaseException] = []
        self.disk.run(job, collecting(ended, errors))
        await ended.wait()
        if errors:
            raise errors[0]

    async def aclose(self) -> None:
        """See :class:`StateDirectory`."""
        await self.disk.aclose()
        self._release()

    def close(self) -> None:
        """The same, blocking, for those without a loop."""
        self.disk.close()
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            if self._log is not None:
                self._log.close_blocking()
            self._state.close_blocking()
            lock, self._lock = self._lock, -1
            os.close(lock)


def collecting(ended: trio.Event, errors: list[BaseException]) -> Done:
    """A ``done`` that notes the error and sets ``ended``."""

    def done(error: BaseException | None) -> None:
        if error is not None:
            errors.append(error)
        ended.set()

    return done


def hold(path: Path) -> int:
    """Lock the file ``path`` until it is closed or the process ends.

    Raises ``DirectoryInUse``. The lock belongs to the open file: a second node of one process is
    refused like another process.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DirectoryInUse(str(path.parent)) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_ring(
    path: Path, files: Files, unlock_key: UnlockKey | None, entropy: Entropy, version: int
) -> KeyRing:
    """The ring of ``path``; a new one if nothing was written there yet."""
    if is_blank(files.list(path)):
        return KeyRing.create(
            path / "keys", files, kek=unlock_key, kek_version=version, entropy=entropy
        )
    return KeyRing.load(path / "keys", files, kek=unlock_key, entropy=entropy)


def is_blank(names: list[str]) -> bool:
    """True if nothing of a node is among the ``names`` of a directory."""
    return not {"keys", "state", "raft"} & set(names)
