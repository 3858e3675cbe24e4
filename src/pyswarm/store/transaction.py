"""A turn's writes, on top of settled state.

Nothing settled is touched: each kind has an overlay, id → net change, and every question is
answered from the rows with the overlay on top. Beside it runs the raw log of writes in order, which
is what reconcilers read (:meth:`Transaction.changes_since`) and what savepoints undo, newest first.
Indexes are not written here at all: when someone asks by an index, a small delta catches up with
the log from where it stopped, so a turn that only writes pays for no index twice.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from pyswarm.errors import AlreadyExists, NotFound, OutOfSequence
from pyswarm.machine import Because
from pyswarm.model.objects import KINDS, RequestRecord
from pyswarm.model.replace import stamped, unchanged
from pyswarm.model.twins import copier_of
from pyswarm.store.change import Change
from pyswarm.store.indexes import NAMED_KINDS, Keys
from pyswarm.store.reader import Reader
from pyswarm.store.table import Table

T = TypeVar("T")

TURN_CHANGES_MAX = 4096
"""Writes of one turn; the rest waits for the next. Where tasks fail and are replaced, a full turn
is 60 to 100 ms of work (decided, encoded, settled) and a third of a MiB of log: far below an
election timeout, and nothing else happens on the leader meanwhile."""

KIND_OF: dict[type, str] = {cls: kind for kind, cls in KINDS.items()}
"""Class → the kind it is stored as."""

_named = frozenset(NAMED_KINDS)
_new_change = tuple.__new__


class Savepoint(NamedTuple):
    """A place in a transaction's log that it can be rolled back to."""

    mark: int


class Follower(Protocol):
    """Someone who reads a transaction's log as it grows, and must hear when it shrinks."""

    def undo(self, tx: Transaction, mark: int, /) -> None:
        """The writes of ``tx`` from ``mark`` on are being taken back."""


class Delta:
    """What the writes so far change in one index: key → id → is it there now."""

    __slots__ = ("_keys", "_kind", "moves", "position")

    def __init__(self, kind: str, keys: Keys) -> None:
        self._kind = kind
        self._keys = keys
        self.moves: dict[Hashable, dict[str, bool]] = {}
        self.position = 0

    def catch_up(self, log: list[Change]) -> None:
        """Take in the writes since the last time."""
        kind = self._kind
        for place in range(self.position, len(log)):
            change = log[place]
            if change[0] == kind:
                self._move(change[1], change[2])
        self.position = len(log)

    def undo(self, log: list[Change], mark: int) -> None:
        """Take back the writes from ``mark`` on."""
        for place in range(self.position - 1, mark - 1, -1):
            change = log[place]
            if change[0] == self._kind:
                self._move(change[2], change[1])
        self.position = min(self.position, mark)

    def _move(self, old: Any, new: Any) -> None:
        before = self._keys(old) if old is not None else ()
        after = self._keys(new) if new is not None else ()
        if before == after:
            return
        for key in before:
            if key not in after:
                self.moves.setdefault(key, {})[old.id] = False
        for key in after:
            if key not in before:
                self.moves.setdefault(key, {})[new.id] = True


class Transaction(Reader):
    """Read-your-writes on a store; made by ``Store.begin`` or ``Store.fork``.

    ``version`` is what its writes get, ``now`` the cluster time (seconds) they are stamped with.
    """

    __slots__ = (
        "_deltas",
        "_followers",
        "_grown",
        "_log",
        "_overlays",
        "_priors",
        "_tables",
        "based_on",
        "changes_max",
        "is_fork",
        "now",
        "version",
    )

    def __init__(
        self,
        tables: Mapping[str, Table],
        *,
        based_on: int,
        version: int,
        now: float,
        is_fork: bool = False,
        changes_max: int = TURN_CHANGES_MAX,
    ) -> None:
        self._tables = tables
        self._overlays: dict[str, dict[str, Change]] = {kind: {} for kind in tables}
        self._log: list[Change] = []
        self._priors: list[Change | None] = []  # per write, the net change before it
        self._deltas: dict[tuple[str, str], Delta] = {}
        self._followers: list[Follower] = []
        self._grown = dict.fromkeys(tables, 0)
        self.based_on = based_on
        self.version = version
        self.now = now
        self.is_fork = is_fork
        self.changes_max = changes_max

    @property
    def as_of(self) -> tuple[float, int]:
        return self.now, self.version

    # -- writing

    def create(self, obj: T, because: Because) -> T:
        """Add an object; its version and times are set here.

        Raises :class:`~pyswarm.errors.AlreadyExists` when its id, or its name where names are
        unique, is taken.
        """
        kind = KIND_OF[obj.__class__]
        id: str = obj.id  # type: ignore[attr-defined]
        prior = self._overlays[kind].get(id)
        if prior[2] is not None if prior is not None else id in self._tables[kind].rows:
            raise AlreadyExists(f"{kind} {id} already exists")
        if kind in _named:
            self._check_name(kind, obj)
        new = stamped(obj, self.version, self.now, self.now)
        self._grown[kind] += 1
        self._write(kind, id, prior, None, new, because)
        return new

    def update(self, obj: T, because: Because, *, expect: int | None = None) -> T:
        """Put a changed object in the place of the stored one; what is stored then is returned.

        ``expect`` is the version the caller saw: another one raises
        :class:`~pyswarm.errors.OutOfSequence`. An object that says what is stored already is no
        write. Raises :class:`~pyswarm.errors.NotFound` when it is gone and
        :class:`~pyswarm.errors.AlreadyExists` when a new name is taken.
        """
        kind = KIND_OF[obj.__class__]
        id: str = obj.id  # type: ignore[attr-defined]
        prior = self._overlays[kind].get(id)
        current = prior[2] if prior is not None else self._tables[kind].rows.get(id)
        if current is None:
            raise NotFound(f"{kind} {id} not found")
        if expect is not None and current.version != expect:
            raise OutOfSequence("update out of sequence")
        if obj is current or unchanged(obj, current):
            return current  # type: ignore[no-any-return]
        if kind in _named and obj.spec is not current.spec:  # type: ignore[attr-defined]
            self._check_name(kind, obj)
        version, now = self.version, self.now
        if obj.version != version or obj.updated_at != now:  # type: ignore[attr-defined]
            obj = stamped(obj, version, current.created_at, now)
        self._write(kind, id, prior, current, obj, because)
        return obj

    def change(self, obj: T, because: Because, **changes: Any) -> T:
        """``update(replace(obj, **changes), because)`` with one copy less, for hot paths.

        ``obj`` is as this transaction has it. Nothing is validated, whatever its class.
        """
        cls = obj.__class__
        new = copier_of(cls)(obj)
        for name, content in changes.items():
            setattr(new, name, content)
        new.version = self.version
        new.updated_at = self.now
        new.__class__ = cls
        return self.update(cast("T", new), because)

    def delete(self, kind: str, id: str, because: Because) -> None:
        """Remove an object; :class:`~pyswarm.errors.NotFound` when there is none."""
        prior = self._overlays[kind].get(id)
        current = prior[2] if prior is not None else self._tables[kind].rows.get(id)
        if current is None:
            raise NotFound(f"{kind} {id} not found")
        self._grown[kind] -= 1
        self._write(kind, id, prior, current, None, because)

    def _write(
        self, kind: str, id: str, prior: Change | None, old: Any, new: Any, because: Because
    ) -> None:
        change: Change = _new_change(Change, (kind, old, new, because))
        self._log.append(change)
        self._priors.append(prior)
        if prior is not None:
            # The net change keeps what was before the turn, and why a new object was made.
            why = prior[3] if prior[1] is None and new is not None and old is not None else because
            change = Change(kind, prior[1], new, why)
        self._overlays[kind][id] = change

    def _check_name(self, kind: str, obj: Any) -> None:
        holder = self.by_name(kind, obj.spec.name)
        if holder is not None and holder.id != obj.id:
            raise AlreadyExists(f"{kind} {obj.spec.name} already exists")

    # -- the log of writes

    def mark(self) -> int:
        """A place in the log of writes: now."""
        return len(self._log)

    def changes_since(self, mark: int) -> list[Change]:
        """The raw writes since ``mark``, in order; an object may occur more than once."""
        return self._log[mark:]

    def savepoint(self) -> Savepoint:
        """A place to roll back to; savepoints nest."""
        return Savepoint(len(self._log))

    def follow(self, follower: Follower) -> None:
        """Tell ``follower`` of every rollback."""
        self._followers.append(follower)

    def rollback(self, savepoint: Savepoint) -> None:
        """Undo every write since ``savepoint``, as if it had never been."""
        log, mark = self._log, savepoint.mark
        for follower in self._followers:
            follower.undo(self, mark)
        for delta in self._deltas.values():
            delta.undo(log, mark)
        while len(log) > mark:
            change, prior = log.pop(), self._priors.pop()
            kind = change[0]
            if change[1] is None:
                self._grown[kind] -= 1
            elif change[2] is None:
                self._grown[kind] += 1
            if prior is None:
                del self._overlays[kind][change.id]
            else:
                self._overlays[kind][change.id] = prior

    def changes(self) -> tuple[Change, ...]:
        """The net changes, each object once, by kind and then in order of first write."""
        return tuple(
            change
            for overlay in self._overlays.values()
            for change in overlay.values()
            if change[1] is not None or change[2] is not None
        )

    @property
    def overlays(self) -> Mapping[str, Mapping[str, Change]]:
        """Net changes by kind and id: what a store installs and the log form writes."""
        return self._overlays

    @property
    def room(self) -> int:
        """Writes left in this turn's budget; may fall below 0, since requests are not split."""
        return self.changes_max - len(self._log)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not self._log

    # -- reading

    def get(self, kind: str, id: str) -> Any:
        change = self._overlays[kind].get(id)
        return change[2] if change is not None else self._tables[kind].rows.get(id)

    def all(self, kind: str) -> Iterator[Any]:
        rows, overlay = self._tables[kind].rows, self._overlays[kind]
        if not overlay:
            return iter(rows.values())
        return self._merged(rows, overlay)

    @staticmethod
    def _merged(rows: dict[str, Any], overlay: dict[str, Change]) -> Iterator[Any]:
        added = [id for id in overlay if id not in rows]  # fixed now: callers write as they iterate
        for id, obj in rows.items():
            change = overlay.get(id)
            if change is None:
                yield obj
            elif change[2] is not None:
                yield change[2]
        for id in added:
            change = overlay.get(id)
            if change is not None and change[2] is not None:
                yield change[2]

    def count(self, kind: str) -> int:
        return len(self._tables[kind].rows) + self._grown[kind]

    def oldest_requests(self) -> Iterator[RequestRecord]:
        """Request records, oldest first."""
        return cast("Iterator[RequestRecord]", self.all("request"))

    def ids_with_prefix(self, kind: str, prefix: str) -> list[str]:
        overlay, settled = self._overlays[kind], self._tables[kind].ids_with_prefix(prefix)
        if not overlay:
            return settled
        kept = [id for id in settled if id not in overlay]
        written = [id for id, c in overlay.items() if c[2] is not None and id.startswith(prefix)]
        return sorted(kept + written)

    def select(self, kind: str, index: str, key: Any) -> list[Any]:
        table, overlay = self._tables[kind], self._overlays[kind]
        ids, rows = table.index(index).ids(key), table.rows
        if not overlay:
            return [rows[id] for id in ids]
        moved = self._delta(kind, index).moves.get(key)
        if moved is None:
            return [rows[id] if (c := overlay.get(id)) is None else c[2] for id in ids]
        return self._picked(ids, moved, rows, overlay)

    @staticmethod
    def _picked(
        ids: Collection[str],
        moved: dict[str, bool],
        rows: dict[str, Any],
        overlay: dict[str, Change],
    ) -> list[Any]:
        wanted = [id for id in ids if moved.get(id, True)]
        wanted += [id for id, there in moved.items() if there and id not in ids]
        return [rows[id] if (c := overlay.get(id)) is None else c[2] for id in wanted]

    def _delta(self, kind: str, index: str) -> Delta:
        delta = self._deltas.get((kind, index))
        if delta is None:
            delta = Delta(kind, self._tables[kind].index(index).keys)
            self._deltas[kind, index] = delta
        if delta.position != len(self._log):
            delta.catch_up(self._log)
        return delta
