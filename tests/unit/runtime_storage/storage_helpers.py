"""A log storage driven without a loop: every answer is waited for."""

from __future__ import annotations

import threading
from pathlib import Path

from storage_crash_files import QuietFiles

from pyswarm.env import Rng
from pyswarm.raft import Configuration, Entry, EntryKind, HardState, Member, Snapshot
from pyswarm.runtime.storage import Batch, DiskThread, FileStorage, Identity, KeyRing, Recovered
from pyswarm.runtime.storage.files import Files

IDENTITY = Identity("swarm1", "node1")


def entry(index: int, term: int = 1, data: bytes | None = None) -> Entry:
    return Entry(index, term, EntryKind.NORMAL, data if data is not None else b"e%d" % index)


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(entry(index, term) for index in range(first, last + 1))


def snapshot(index: int, term: int = 1, chunks: tuple[bytes, ...] = (b"state",)) -> Snapshot:
    return Snapshot(index, term, Configuration((Member(1),), 2), chunks)


def batch(*log: Entry, term: int | None = None, snap: Snapshot | None = None) -> Batch:
    return Batch(HardState(term) if term else None, log, snap)


class Log:
    """A :class:`FileStorage` whose writes are done on the calling thread."""

    def __init__(
        self,
        directory: Path,
        *,
        sealed: bool = True,
        files: Files | None = None,
        segment_bytes: int = 64 * 1024,
        identity: Identity = IDENTITY,
        seed: int = 1,
    ) -> None:
        files = files or QuietFiles()  # no plug is pulled here: a sync would only cost time
        ring = None
        if sealed:
            keys, entropy = directory / "keys", Rng(seed).bytes
            if keys.exists():
                ring = KeyRing.load(keys, files, entropy=Rng(f"{seed} again").bytes)
            else:
                files.make_directory(directory)
                ring = KeyRing.create(keys, files, entropy=entropy)
        self.ring = ring
        self.storage = FileStorage(
            directory / "raft",
            identity,
            ring,
            DiskThread(lambda job: job()),
            files=files,
            segment_bytes=segment_bytes,
        )
        self.recovered: Recovered = self.storage.load()

    def write(self, *batches: Batch) -> BaseException | None:
        """One group."""
        error = self.storage.write(list(batches))
        self.storage.tidy()
        return error

    def put(self, *batches: Batch) -> None:
        error = self.write(*batches)
        assert error is None, error

    def close(self) -> None:
        self.storage.close_blocking()


class Answers:
    """Collects ``done`` calls made on the disk's thread."""

    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []
        self.changed = threading.Condition()

    def __call__(self, error: BaseException | None) -> None:
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    def wait(self, count: int) -> list[BaseException | None]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.errors) >= count, timeout=30)
        return self.errors
