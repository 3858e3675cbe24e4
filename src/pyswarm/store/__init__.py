"""Versioned objects: tables, indexes, transactions, changes, watches, forks, snapshots."""

from __future__ import annotations

from pyswarm.store.change import Change as Change
from pyswarm.store.change import Commit as Commit
from pyswarm.store.reader import Reader as Reader
from pyswarm.store.records import REQUESTS_MAX as REQUESTS_MAX
from pyswarm.store.records import expire_requests as expire_requests
from pyswarm.store.snapshot import SnapshotReader as SnapshotReader
from pyswarm.store.snapshot import SnapshotWriter as SnapshotWriter
from pyswarm.store.store import Store as Store
from pyswarm.store.transaction import TURN_CHANGES_MAX as TURN_CHANGES_MAX
from pyswarm.store.transaction import Savepoint as Savepoint
from pyswarm.store.transaction import Transaction as Transaction
from pyswarm.store.watch import HISTORY_CHANGES_MAX as HISTORY_CHANGES_MAX
from pyswarm.store.watch import Watch as Watch

__all__ = [
    "HISTORY_CHANGES_MAX",
    "REQUESTS_MAX",
    "TURN_CHANGES_MAX",
    "Change",
    "Commit",
    "Reader",
    "Savepoint",
    "SnapshotReader",
    "SnapshotWriter",
    "Store",
    "Transaction",
    "Watch",
    "expire_requests",
]
