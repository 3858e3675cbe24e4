"""Watches: bounded, resumable, whole entries."""

from __future__ import annotations

import pytest

from pyswarm.errors import Compacted
from pyswarm.machine import Because
from pyswarm.model import Node, RequestRecord
from pyswarm.store import Store

WHY = Because("test")


def _commit(store: Store, *ids: str) -> None:
    tx = store.begin(store.version + 1, 1.0)
    for id in ids:
        tx.create(Node(id), WHY)
    tx.create(RequestRecord(f"r{tx.version}"), WHY)
    store.install(tx)


def test_a_watch_begins_now_unless_told() -> None:
    store = Store()
    _commit(store, "n1")
    watch, earlier = store.watch(), store.watch(0)
    _commit(store, "n2")
    assert [commit.version for commit in watch.take()] == [2]
    assert [commit.version for commit in earlier.take()] == [1, 2]
    assert watch.take() == [] and watch.version == 2


def test_only_some_kinds() -> None:
    store = Store()
    watch = store.watch(kinds=["node"])
    _commit(store, "n1", "n2")
    _commit(store)
    (commit,) = watch.take()
    assert [change.id for change in commit.changes] == ["n1", "n2"]
    assert watch.version == 2  # resuming goes on after what was left out, too


def test_a_part_at_a_time() -> None:
    store = Store()
    watch = store.watch()
    for number in range(5):
        _commit(store, f"n{number}")
    assert [len(watch.take(2)) for _ in range(4)] == [2, 2, 1, 0]


def test_waking() -> None:
    store, woken = Store(), []
    watch = store.watch(wake=lambda: woken.append(1))
    _commit(store, "n1")
    watch.close()
    _commit(store, "n2")
    assert woken == [1]


def test_a_slow_watcher_is_ended() -> None:
    store = Store(history_changes_max=6)
    watch, quick = store.watch(), store.watch()
    for number in range(6):
        _commit(store, f"n{number}")
        quick.take()
    for _ in range(2):
        with pytest.raises(Compacted) as caught:
            watch.take()
    assert caught.value.details == {"after": 0, "compacted": store.compacted}
    with pytest.raises(Compacted):
        store.watch(0)
    assert len(store.watch(store.compacted).take()) == 3


def test_history_is_empty_after_a_snapshot() -> None:
    store = Store()
    _commit(store, "n1")
    restored = Store.restore(store.snapshot().chunks())
    with pytest.raises(Compacted):
        restored.watch(0)
    watch = restored.watch(1)
    _commit(restored, "n2")
    assert [commit.version for commit in watch.take()] == [2]


def test_a_watch_may_begin_ahead() -> None:
    """A client that saw a newer member than this one gets what comes after what it saw."""
    store = Store()
    watch = store.watch(2)
    for number in range(4):
        _commit(store, f"n{number}")
    assert [commit.version for commit in watch.take()] == [3, 4]
