"""Settled state: every object of the swarm as of the last installed entry.

A store changes in one way only: a transaction is decided on top of it and then installed whole. The
leader installs its own overlay (:meth:`Store.install`); everybody else applies the entry's log form
(:meth:`Store.apply`), which gives the same store. Readers never see half an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from pyswarm.model.objects import KINDS, Swarm
from pyswarm.store.change import Change, Commit
from pyswarm.store.entry import decode_entry, encode_entry
from pyswarm.store.reader import Reader
from pyswarm.store.snapshot import SnapshotReader, SnapshotWriter, digest
from pyswarm.store.table import Table
from pyswarm.store.transaction import TURN_CHANGES_MAX, Transaction
from pyswarm.store.watch import HISTORY_CHANGES_MAX, History, Watch


class Store(Reader):
    """Tables of immutable objects. ``version`` is the index of the last installed entry,
    ``stamp`` its cluster time (seconds since the Unix epoch)."""

    __slots__ = ("_history", "_tables", "stamp", "version")

    def __init__(self, *, history_changes_max: int = HISTORY_CHANGES_MAX) -> None:
        self.version = 0
        self.stamp = 0.0
        self._tables = {kind: Table(kind) for kind in KINDS}
        self._history = History(0, history_changes_max)

    @property
    def as_of(self) -> tuple[float, int]:
        return self.stamp, self.version

    # -- writing

    def begin(
        self, version: int, now: float, *, changes_max: int = TURN_CHANGES_MAX
    ) -> Transaction:
        """Open a transaction whose writes get ``version`` and are stamped ``now``."""
        assert version > self.version, (version, self.version)
        return Transaction(
            self._tables,
            based_on=self.version,
            version=version,
            now=float(now),
            changes_max=changes_max,
        )

    def fork(self, now: float) -> Transaction:
        """A transaction for a what-if: never installed. Use it before the store moves on."""
        return Transaction(
            self._tables,
            based_on=self.version,
            version=self.version + 1,
            now=float(now),
            is_fork=True,
        )

    def install(self, tx: Transaction) -> Commit:
        """Settle a transaction that was decided on top of this very state."""
        assert not tx.is_fork, "a fork is never installed"
        assert tx.based_on == self.version, "the store moved on since this transaction began"
        return self._settle(tx.version, tx.now, tx.overlays)

    def _settle(
        self, version: int, stamp: float, overlays: Mapping[str, Mapping[str, Change]]
    ) -> Commit:
        changes: list[Change] = []
        for kind, overlay in overlays.items():
            if overlay:
                self._tables[kind].install(overlay, changes)
        self.version = version
        self.stamp = max(stamp, self.stamp)
        commit = Commit(version, stamp, tuple(changes))
        self._history.append(commit)
        return commit

    def encode(self, tx: Transaction) -> bytes:
        """The log form of a transaction: what :meth:`apply` takes on every other member."""
        return encode_entry(tx.overlays, tx.now, tx.get)

    def apply(self, version: int, data: bytes) -> Commit:
        """Settle an entry that somebody else decided on top of this very state.

        Raises :class:`~pyswarm.errors.InvalidArgument` on garbage and unknown formats, and
        :class:`~pyswarm.errors.Internal` when the entry does not fit this state; the store is then
        as it was.
        """
        assert version > self.version, (version, self.version)
        entry = decode_entry(data, version, self.get)
        return self._settle(version, entry.stamp, entry.overlays)

    # -- whole states

    def digest(self) -> str:
        """A hash of all contents: members compare it at equal versions. Order does not count."""
        return digest(self._rows())

    def snapshot(self) -> SnapshotWriter:
        """This state, to be written in slices; it stays as it is while the store moves on."""
        return SnapshotWriter(self.version, self.stamp, self._rows())

    @classmethod
    def restore(cls, chunks: Iterable[bytes]) -> Store:
        """The store that a snapshot was taken of; its history of changes begins empty.

        Raises :class:`~pyswarm.errors.InvalidArgument` when the chunks are not a whole snapshot.
        To restore slice by slice use :class:`~pyswarm.store.snapshot.SnapshotReader`.
        """
        reader = SnapshotReader()
        for chunk in chunks:
            reader.feed(chunk)
        return reader.finish()

    def add_restored(self, kind: str, objects: Iterable[Any]) -> None:
        """For a snapshot's reader: put objects back as they were."""
        self._tables[kind].restore(objects)

    def restored(self, version: int, stamp: float) -> None:
        """For a snapshot's reader: everything is there."""
        self.version = version
        self.stamp = stamp
        self._history = History(version, self._history.changes_max)

    def _rows(self) -> dict[str, dict[str, Any]]:
        return {kind: table.rows for kind, table in self._tables.items()}

    # -- reading

    def get(self, kind: str, id: str) -> Any:
        return self._tables[kind].rows.get(id)

    def all(self, kind: str) -> Iterator[Any]:
        return iter(self._tables[kind].rows.values())

    def count(self, kind: str) -> int:
        return len(self._tables[kind].rows)

    @property
    def has_swarm(self) -> bool:
        """As every reader's; looked at several times in each step of a node."""
        return bool(self._tables["swarm"].rows)

    @property
    def swarm(self) -> Swarm:
        """The same."""
        rows = self._tables["swarm"].rows
        assert rows, "no swarm object yet"
        (found,) = rows.values()
        return cast("Swarm", found)

    def ids_with_prefix(self, kind: str, prefix: str) -> list[str]:
        return self._tables[kind].ids_with_prefix(prefix)

    def select(self, kind: str, index: str, key: Any) -> list[Any]:
        table = self._tables[kind]
        rows = table.rows
        return [rows[id] for id in table.index(index).ids(key)]

    # -- watching

    def watch(
        self,
        after: int | None = None,
        kinds: Collection[str] | None = None,
        *,
        wake: Callable[[], None] | None = None,
    ) -> Watch:
        """What is committed after version ``after`` (default: from now on).

        Raises :class:`~pyswarm.errors.Compacted` when the history does not reach back that far,
        and :class:`~pyswarm.errors.ResourceExhausted` when too many watches are open.
        """
        return Watch(self._history, after=after, version=self.version, kinds=kinds, wake=wake)

    @property
    def compacted(self) -> int:
        """Watches can resume after any version from this one on."""
        return self._history.compacted
