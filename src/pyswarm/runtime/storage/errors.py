"""Why a directory is not opened, or something is not written. Nothing on disk was changed then."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pyswarm.errors import FailedPrecondition, Locked, ResourceExhausted, Unavailable
from pyswarm.raft.records import DamagedRecords as DamagedRecords
from pyswarm.raft.records import NewerFormat as NewerFormat

LOCKED = (
    "Swarm is encrypted and needs to be unlocked before it can be used. "
    'Please use "docker swarm unlock" to unlock it.'
)


class StorageLocked(Locked):
    """The data keys are wrapped by the unlock key, and none was given."""

    def __init__(self) -> None:
        super().__init__(LOCKED, hint="open it with unlock_key='SWMKEY-1-…'")


class WrongUnlockKey(Locked):
    """The unlock key given is not the one that wraps the data keys."""

    def __init__(self) -> None:
        super().__init__(
            "swarm could not be unlocked: invalid key provided",
            hint="a manager that was down while the key was rotated still has the one before",
        )


class WrongDataKey(FailedPrecondition):
    """The file was sealed under a data key that is not in this directory's ring."""

    def __init__(self, name: str, key_id: int) -> None:
        super().__init__(
            f"{name} is sealed under data key {key_id}, which is not the one in the key ring",
            hint="the file `keys` belongs to another directory, or to an older copy of this one",
            details={"file": name, "key_id": key_id},
        )


class MissingFile(FailedPrecondition):
    """A segment, a snapshot or the manifest that the rest relies on is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is missing",
            hint="copy the whole directory of a stopped manager, or none of it",
            details={"file": name},
        )


class OtherNode(FailedPrecondition):
    """The directory holds the log of another node, or of another swarm."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name} belongs to {found}, not to {expected}",
            details={"file": name, "found": found, "expected": expected},
        )


class DirectoryInUse(FailedPrecondition):
    """Another process (or another node of this one) has the directory open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is in use by another process",
            hint="stop the other node, or give this one a state_dir of its own",
            details={"path": path},
        )


class DiskFull(ResourceExhausted):
    """There is no room. What was to be written is not; writing works again when there is."""


class WriteFailed(Unavailable):
    """The disk failed. What lies there is uncertain: the storage takes no more until reopened."""


class ReadFailed(Unavailable):
    """The disk does not give out what lies there (an I/O error, a missing permission)."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class disk_errors:
    """Turns an ``OSError`` into ``DiskFull`` or ``WriteFailed``. (A class, since each commit passes
    through one: a generator in its place costs three times as much.)"""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None: ...

    def __exit__(self, cls: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            if error.errno in _FULL:
                raise DiskFull(f"cannot write {self.what}: {reason}") from error
            raise WriteFailed(f"cannot write {self.what}: {reason}", outcome="unknown") from error


@contextmanager
def read_errors() -> Iterator[None]:
    """Turns an ``OSError`` into ``ReadFailed``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReadFailed(f"cannot read {error.filename or 'the disk'}: {reason}") from error
