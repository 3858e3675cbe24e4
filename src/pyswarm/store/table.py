"""One kind's objects by id, with their indexes: settled state only.

Rows keep the order of creation, on every member the same; a snapshot keeps it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyswarm.store.change import Change
from pyswarm.store.indexes import LAZY_INDEXES, Index, PrefixIndex, standing_indexes


class Table:
    """Rows and indexes of one kind."""

    __slots__ = ("_active", "_indexes", "_prefixes", "kind", "rows")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows: dict[str, Any] = {}
        self._indexes = standing_indexes(kind)
        self._active = tuple(self._indexes.values())
        self._prefixes: PrefixIndex | None = None

    def index(self, name: str) -> Index:
        """The index of that name, built now if nobody asked before."""
        index = self._indexes.get(name)
        if index is None:
            index = Index(LAZY_INDEXES[self.kind, name])
            for obj in self.rows.values():
                index.add(obj)
            self._indexes[name] = index
            self._active = tuple(self._indexes.values())
        return index

    def ids_with_prefix(self, prefix: str) -> list[str]:
        """The ids that begin with ``prefix``, in order."""
        if self._prefixes is None:
            self._prefixes = PrefixIndex(self.rows)
        return self._prefixes.find(prefix, self.rows)

    def restore(self, objects: Iterable[Any]) -> None:
        """Take in objects of a snapshot, in its order."""
        for obj in objects:
            self.rows[obj.id] = obj
            for index in self._active:
                index.add(obj)

    def install(self, overlay: Mapping[str, Change], out: list[Change]) -> None:
        """Take over net changes, appending to ``out`` those that are one."""
        rows, active, prefixes = self.rows, self._active, self._prefixes
        for id, change in overlay.items():
            _, old, new, _ = change
            if new is None:
                if old is None:
                    continue  # created and deleted again within the turn
                del rows[id]
                for index in active:
                    index.discard(old)
            elif old is None:
                rows[id] = new
                for index in active:
                    index.add(new)
                if prefixes is not None:
                    prefixes.add(id)
            else:
                rows[id] = new
                for index in active:
                    index.move(old, new)
            out.append(change)
