"""Compaction, snapshots, and starting again from a disk."""

from __future__ import annotations

import pytest

from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import SwarmSpec, TaskState, replace, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.node import NodeRecord
from pyswarm.node.snapshots import SnapshotRestorer, SnapshotTaker, restore
from pyswarm.store import Store
from pyswarm.store import snapshot as store_snapshot
from unit.node.bench import Bench


def small_log(interval: int = 8, keep: int = 0) -> SwarmSpec:
    spec = SwarmSpec()
    raft = replace(spec.raft, snapshot_interval=interval, log_entries_for_slow_followers=keep)
    return replace(spec, raft=raft)


def create(bench: Bench, *names: str, via: str = "m1") -> None:
    for name in names:
        bench.ask(via, CreateService(service_spec(name, image="web", replicas=2)))


def numbered(first: int, last: int) -> list[str]:
    return [f"s{number}" for number in range(first, last)]


def test_a_follower_that_was_away_installs_a_snapshot() -> None:
    bench = Bench.formed(3, spec=small_log())
    bench.cut_off("m3")
    create(bench, *numbered(0, 15))
    leader = bench["m1"].node.manager.replica
    assert leader.status().first_index > bench["m3"].store.version + 1, "the log alone is too short"
    old_store = bench["m3"].store
    bench.settle()
    assert bench["m3"].store is not old_store
    assert bench["m3"].store.count("service") == 15
    bench.check()
    create(bench, "after", via="m3")
    bench.settle()
    bench.check()


def test_a_snapshot_is_decoded_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the follower hears its leader, and keeps the store it had."""
    monkeypatch.setattr(store_snapshot, "SLICE_OBJECTS_MAX", 1)
    bench = Bench.formed(3, spec=small_log())
    bench.cut_off("m3")
    create(bench, *numbered(0, 15))
    old_store, follower = bench["m3"].store, bench["m3"].node.manager
    decode, moments = SnapshotRestorer.step, []

    def step(restorer: SnapshotRestorer) -> Store | None:
        assert follower.store is old_store and follower.is_restoring
        moments.append(bench.now)
        return decode(restorer)

    monkeypatch.setattr(SnapshotRestorer, "step", step)
    bench.heal()
    bench.wait_until(lambda: len(moments) > 5)
    term = follower.replica.term
    bench.settle()
    assert len(moments) > 30 and len(set(moments)) > 5, "over many steps"
    assert follower.replica.term == term, "and nobody called an election"
    assert not follower.is_restoring
    assert bench["m3"].store.count("service") == 15
    bench.check()


def test_a_follower_that_installed_a_snapshot_can_lead() -> None:
    bench = Bench.formed(3, spec=small_log())
    bench.cut_off("m3")
    create(bench, *numbered(0, 15))
    bench.settle()
    bench.crash("m1")
    bench.wait_until(lambda: bench.leader() is not None)
    leader = bench.leader()
    assert leader is not None
    if leader.name != "m3":
        leader.node.manager.replica.transfer_leadership()
        bench.wait_until(lambda: bench["m3"].leads)
    create(bench, "after", via="m3")
    assert bench["m3"].store.count("service") == 16
    bench.start("m1")
    bench.settle()
    bench.check()


@pytest.mark.parametrize("interval", [0, 4, 10_000])
def test_everything_comes_back_from_disk(interval: int) -> None:
    """One manager alone: what was confirmed is there again, from snapshot and log."""
    bench = Bench.formed(1, spec=small_log(interval))
    create(bench, *numbered(0, 10))
    bench.wait(1.0)
    digest, version = bench["m1"].store.digest(), bench["m1"].store.version
    term = bench["m1"].office.term
    bench.crash("m1")
    bench.start("m1")
    bench.wait_until(lambda: bench["m1"].store.version >= version)
    if bench["m1"].store.version == version:
        assert bench["m1"].store.digest() == digest
    bench.wait_until(lambda: bench["m1"].leads)
    assert bench["m1"].office.term > term
    assert bench["m1"].store.count("service") == 10
    bench.wait(20.0)
    tasks = [t for t in bench["m1"].store.tasks() if t.desired_state is TaskState.RUNNING]
    assert len(tasks) == 20
    assert all(task.state is TaskState.RUNNING for task in tasks)
    create(bench, "after")


def test_all_managers_crash_and_come_back() -> None:
    bench = Bench.formed(3, spec=small_log())
    create(bench, *numbered(0, 10))
    bench.settle()
    for name in ("m1", "m2", "m3"):
        bench.crash(name)
    for name in ("m3", "m2", "m1"):
        bench.start(name)
    leader = bench.settle()
    assert leader.store.count("service") == 10
    bench.check()


def test_what_was_not_synced_is_lost_and_nobody_misses_it() -> None:
    bench = Bench.formed(3)
    bench["m3"].is_disk_held = True
    create(bench, "web")
    bench.crash("m3")
    bench["m3"].is_disk_held = False
    bench.start("m3")
    bench.settle()
    assert bench["m3"].store.by_name("service", "web") is not None
    bench.check()


def test_snapshots_are_cut_and_put_together() -> None:
    bench = Bench.formed(1)
    create(bench, *numbered(0, 3))
    store = bench["m1"].store
    taker = SnapshotTaker(store, store.version)
    steps = 0
    while not taker.step():
        steps += 1
    assert steps > 1
    assert restore(taker.chunks).digest() == store.digest()
    whole = b"".join(taker.chunks)
    tiny = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    assert restore(tiny).digest() == store.digest()
    with pytest.raises(InvalidArgument, match="in the middle"):
        restore([whole[:-3]])


def test_the_node_remembers_itself() -> None:
    bench = Bench.formed(2, 1)
    record = bench["m2"].disk.record
    assert record is not None
    assert record.member_id == 2
    assert record.identity == bench["m2"].identity
    assert NodeRecord.from_bytes(record.to_bytes()) == record
    worker = bench["w1"].disk.record
    assert worker is not None
    assert worker.member_id == 0
    assert {one.addr for one in worker.managers} == {"m1", "m2"}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"format": 1, "node_id": 3}'])
def test_a_record_that_cannot_be_read(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        NodeRecord.from_bytes(data)


def test_a_record_of_another_format() -> None:
    with pytest.raises(InvalidArgument, match="format 2, this version reads 1"):
        NodeRecord.from_bytes(b'{"format": 2}')


@pytest.mark.parametrize("syncs", range(8))
def test_a_founder_that_crashes_while_founding(syncs: int) -> None:
    """Either the swarm is there, or the node says that it never was and stops."""
    bench = Bench()
    station = bench.found("m1", is_disk_held=True)
    for _ in range(syncs):
        if station.unsynced:
            bench.sync("m1")
    bench.crash("m1")
    station.is_disk_held = False
    bench.start("m1")
    bench.wait(5.0)
    if station.halted:
        assert station.halted == "failed"
        assert isinstance(station.halt_error, FailedPrecondition)
        assert str(station.halt_error) == "This node stopped before its swarm was founded."
        assert syncs < 3
    else:
        assert station.leads
        assert station.store.has_swarm
        assert syncs > 0
