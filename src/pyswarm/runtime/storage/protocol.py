"""What a replica's driver asks of a disk, whatever the disk is.

``submit`` never raises, and waits no longer than handing over takes: the answer comes through
``done``, on the loop that the storage was opened for, in the order of submission; ``done(None)``
says that this batch *and all before it* are on disk. After ``done(error)`` nothing of that batch
counts as written, and nothing else is taken until that same batch is submitted again: what was
submitted before the driver heard of it, or out of order, fails with the same error. So the driver
keeps what failed and submits all of it again, in order (``DiskFull``: when there is room), or stops
(``WriteFailed``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

from pyswarm.raft.entry import Entry, HardState
from pyswarm.raft.snapshot import Snapshot

if TYPE_CHECKING:
    from pyswarm.runtime.storage.disk import SyncTimes

Done = Callable[[BaseException | None], None]


@attrs.frozen
class Identity:
    """Whose log it is: a swarm and a node of it."""

    cluster: str
    member: str

    def __str__(self) -> str:
        return f"node {self.member} of swarm {self.cluster}"


@attrs.frozen
class Batch:
    """What one Ready wants on disk, in this order: snapshot, hard state, entries.

    Entries replace whatever the log has from the first one's index.
    """

    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    snapshot: Snapshot | None = None


@attrs.frozen
class Recovered:
    """What a restarted member knows. ``entries`` follow the snapshot without a gap."""

    hard_state: HardState = HardState()
    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    """For a log: what was cut or cleared away."""

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever written."""
        return self == Recovered(notes=self.notes)


class LogStorage(Protocol):
    """Hard state, entries and the latest snapshot of one member."""

    def load(self) -> Recovered:
        """All of it. Blocking; to be called once, before the first ``submit``."""
        ...

    def start_empty(self) -> None:
        """In place of ``load``: begin a log of nothing, whatever an earlier one left."""
        ...

    def submit(self, batch: Batch, done: Done, *, prompt: bool = False) -> None:
        """Write ``batch`` after all before it. With ``prompt``, ``done`` may be called before this
        returns: a storage may find that writing at once is quicker than handing over."""
        ...

    def save_snapshot(self, snapshot: Snapshot, done: Done, *, keep_old: int = 0) -> None:
        """Write a snapshot ahead, in slices between batches, so that none waits for it.

        A batch that brings the same snapshot afterwards only has to mark it. From then on the
        ``keep_old`` snapshots before it stay, with the log from the oldest of them on.
        """
        ...

    async def aclose(self) -> None:
        """Write what waits, and stop."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A storage that measures its disk."""

    @property
    def sync_times(self) -> SyncTimes:
        """A histogram; see :class:`~.disk.SyncTimes`."""
        ...


INSTANCE_BYTES = 16
"""So many drawn at random are never drawn again."""


@runtime_checkable
class Lasting(Protocol):
    """A storage that can be told from another one of the same member."""

    @property
    def instance(self) -> bytes:
        """Random bytes that were drawn for this storage, and are kept as long as what is in it."""
        ...


class BlobStorage(Protocol):
    """A node's small state by name: its identity, its agent's tasks.

    A name without a slash is a fact about the node itself. It is on disk before anything that is
    submitted to the directory afterwards, the log included: a node that votes and then forgets its
    seat would be given it anew, and vote again. Names with a slash (``task/<id>``) may be overtaken
    by the log, which takes everything that waits in one group.
    """

    def load(self, name: str) -> bytes | None:
        """The latest blob saved under ``name``, on disk or not yet."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """Names in use that begin with ``prefix``, in order."""
        ...

    def save(self, name: str, data: bytes, done: Done | None = None) -> None:
        """Keep ``data`` under ``name``."""
        ...

    def delete(self, name: str, done: Done | None = None) -> None:
        """Forget ``name``, if it is there."""
        ...

    async def flush(self) -> None:
        """Wait until all that was saved before is on disk. Raises what the disk raised."""
        ...
