"""The snapshots of one member of a :class:`~pyswarm.runtime.raftnode.RaftNode` group.

One is taken not before the log has grown by what the last one had (dissertation, 5.1.3), so that
the cost of a commit does not grow with the state; and by each member at its own time, so that the
disks of a majority are always free of it.

The state machine's part is done a slice a step, whether a snapshot is taken or a leader's becomes
the state; then the disk has it in slices of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from pyswarm.errors import InvalidArgument
from pyswarm.raft import Replica, Snapshot
from pyswarm.runtime.statemachine import AnyStateMachine, restore, take
from pyswarm.runtime.storage.protocol import LogStorage

ENTRY_BYTES = 128
"""What an entry takes in memory besides its command."""


class Snapshots:
    """One member's, from its start on: taken every ``every`` entries, or later. ``news`` is called
    when the replica has something to say of one."""

    __slots__ = (
        "_every",
        "_grown",
        "_index",
        "_is_saving",
        "_machine",
        "_news",
        "_phase",
        "_replica",
        "_restoring",
        "_size",
        "_storage",
        "_taking",
        "installed",
        "taken",
    )

    def __init__(
        self,
        machine: AnyStateMachine,
        replica: Replica,
        storage: LogStorage,
        every: int,
        news: Callable[[], None],
    ) -> None:
        if every < 1:
            raise InvalidArgument(f"snapshot_entries must be at least 1, not {every}")
        self._machine = machine
        self._replica = replica
        self._storage = storage
        self._every = every
        self._news = news
        self._phase = replica.id * every * 2 // 5
        self._index = replica.applied_index
        self._size = self._grown = 0
        self._taking: tuple[int, Generator[None, None, tuple[bytes, ...]]] | None = None
        self._is_saving = False
        self._restoring: tuple[int, Iterator[None]] | None = None
        self.taken = 0
        self.installed = 0
        """Received from a leader."""

    @property
    def is_at_work(self) -> bool:
        """True while there is a slice for :meth:`step`."""
        return self._taking is not None or self._restoring is not None

    def applied(self, entries: int, size: int) -> None:
        """So many more entries, with commands of ``size`` bytes together."""
        self._grown += size + ENTRY_BYTES * entries

    def take_if_due(self, index: int) -> None:
        """Begin one if it is time, everything up to ``index`` being applied, and no more."""
        if self._is_due(index):
            self._grown = 0
            self._taking = (index, take(self._machine))
            self._take_on(*self._taking)

    def _is_due(self, index: int) -> bool:
        phase, every = self._phase, self._every
        due = (index + phase) // every > (self._index + phase) // every
        busy = self._is_saving or self.is_at_work
        return due and not busy and self._grown >= self._size

    def restore(self, snapshot: Snapshot) -> None:
        """Begin to make a leader's ``snapshot`` the state; one that is being taken is given up."""
        self._taking = None
        self._restoring = (snapshot.index, restore(self._machine, snapshot.chunks))

    def step(self) -> int | None:
        """The next slice. The snapshot's index if it was the last one of a leader's. Raises what
        the machine raises."""
        if self._restoring is not None:
            index, slices = self._restoring
            if next(slices, self) is not self:
                return None
            self._restoring = None
            self._index = index
            self.installed += 1
            return index
        if self._taking is not None:
            self._take_on(*self._taking)
        return None

    def _take_on(self, index: int, slices: Generator[None, None, tuple[bytes, ...]]) -> None:
        try:
            next(slices)
        except StopIteration as end:
            self._taking = None
            self._save(self._replica.snapshot_at(index, end.value))

    def _save(self, snapshot: Snapshot) -> None:
        self._is_saving = True
        self._size = snapshot.size

        def saved(error: BaseException | None) -> None:
            self._is_saving = False
            self._index = max(self._index, snapshot.index)
            if error is None:
                self.taken += 1
                self._replica.compact(snapshot)
                self._news()

        self._storage.save_snapshot(snapshot, saved)
