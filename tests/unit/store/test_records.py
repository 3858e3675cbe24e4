"""Request records: ten minutes, 65,536 of them, a bounded number a turn."""

from __future__ import annotations

import pytest

from pyswarm.machine import Because
from pyswarm.model import RequestRecord
from pyswarm.store import Store, expire_requests, records

WHY = Because("test")


def _store(*times: float) -> Store:
    store = Store()
    for version, now in enumerate(times, 1):
        tx = store.begin(version, now)
        tx.create(RequestRecord(f"r{version}"), WHY)
        store.install(tx)
    return store


def test_old_records_go_after_ten_minutes() -> None:
    store = _store(0.0, 10.0, 599.0)
    tx = store.begin(9, 609.9)
    assert expire_requests(tx, tx.now) == 1
    assert [record.id for record in tx.all("request")] == ["r2", "r3"]
    assert expire_requests(tx, tx.now) == 0


def test_too_many_records_go_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "REQUESTS_MAX", 3)
    tx = _store(1.0, 2.0, 3.0, 4.0, 5.0).begin(9, 6.0)
    assert expire_requests(tx, tx.now) == 2
    assert [record.id for record in tx.all("request")] == ["r3", "r4", "r5"]


def test_a_turn_is_not_filled_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "EXPIRED_PER_TURN_MAX", 2)
    tx = _store(1.0, 2.0, 3.0).begin(9, 9999.0)
    assert [expire_requests(tx, tx.now) for _ in range(3)] == [2, 1, 0]
    assert not list(tx.all("request"))
