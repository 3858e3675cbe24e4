"""What a manager does about its disk's answers: snapshots saved ahead, writes refused, keys
wrapped; and what a swarm that was forced to begin anew makes of its managers."""

from __future__ import annotations

import pytest

from pyswarm.errors import Unavailable
from pyswarm.model import NodeState, Role, SwarmSpec, replace, service_spec
from pyswarm.model.requests import CreateService, LeaveNode, UpdateNode, UpdateSwarm
from pyswarm.node import KeysWrapped, Persisted, SnapshotSaved
from pyswarm.node.manager import DISK_RETRY_S
from pyswarm.node.seats import context
from pyswarm.node.snapshots import SAVE_RETRY_S
from pyswarm.raft import HardState, Ready, force_new_cluster
from unit.node.bench import Bench, Station


def small_log(interval: int = 8, keep: int = 0, keep_old: int = 0) -> SwarmSpec:
    spec = SwarmSpec()
    raft = replace(
        spec.raft,
        snapshot_interval=interval,
        log_entries_for_slow_followers=keep,
        keep_old_snapshots=keep_old,
    )
    return replace(spec, raft=raft)


def create(bench: Bench, first: int, last: int, via: str = "m1") -> None:
    for number in range(first, last):
        bench.ask(via, CreateService(service_spec(f"s{number}", image="web", replicas=0)))


def events(station: Station, name: str) -> int:
    return sum(one.event == name for one in station.events)


# -- snapshots


def test_the_log_is_cut_only_when_the_snapshot_is_saved() -> None:
    bench = Bench.formed(3, spec=small_log())
    m1 = bench["m1"]
    create(bench, 0, 4)
    m1.is_disk_held = True
    create(bench, 4, 20)  # the other two are a majority
    assert len(m1.snapshots) == 1, "one at a time"
    index, _ = m1.snapshots[0]
    raft = m1.node.manager.replica.status()
    assert raft.snapshot_index < index and raft.first_index <= index
    assert m1.store.count("service") == 20, "turns go on"
    m1.is_disk_held = False
    bench.pump()
    raft = m1.node.manager.replica.status()
    assert raft.snapshot_index >= index and raft.first_index > index
    bench.check()


def test_a_snapshot_that_cannot_be_saved_is_tried_again_later() -> None:
    bench = Bench.formed(3, spec=small_log())
    m1 = bench["m1"]
    m1.is_disk_held = True
    create(bench, 0, 12)
    index, seat = m1.snapshots.popleft()
    before = m1.node.manager.replica.status().snapshot_index
    bench.step("m1", SnapshotSaved(index, seat, "no room"))
    assert events(m1, "snapshot.failed") == 1
    create(bench, 12, 24)
    assert not m1.snapshots, "not at once"
    assert m1.node.manager.replica.status().snapshot_index == before
    m1.is_disk_held = False
    bench.wait(SAVE_RETRY_S + 1)
    assert m1.node.manager.replica.status().snapshot_index > index
    bench.check()


def test_an_answer_about_another_snapshot_means_nothing() -> None:
    bench = Bench.formed(1, spec=small_log(interval=10_000))
    seat = bench["m1"].node.manager.replica.id
    bench.step("m1", SnapshotSaved(3, seat))
    assert bench["m1"].node.manager.replica.status().snapshot_index == 0


# -- writes that are refused


def refuse(bench: Bench, name: str, *, is_final: bool = False) -> list[int]:
    """The disk refuses all that it holds; the numbers of what it was."""
    station = bench[name]
    readies, station.unsynced = list(station.unsynced), type(station.unsynced)()
    station.disk._pending.clear()
    for ready in readies:
        bench.step(name, Persisted(ready.number, station.seat, "no room", is_final))
    return [ready.number for ready in readies]


def test_what_was_refused_is_given_again_in_order() -> None:
    """The rest waits behind it, however much there is and however often it comes."""
    bench = Bench.formed(3)
    m3 = bench["m3"]
    m3.is_disk_held = True
    create(bench, 0, 3)
    refused = refuse(bench, "m3")
    assert refused == sorted(refused) and m3.node.manager.disk_error == "no room"
    create(bench, 3, 9)
    assert not m3.unsynced, "nothing is submitted before what was refused"
    bench.wait(DISK_RETRY_S + 0.2)
    again = [ready.number for ready in m3.unsynced]
    assert again[: len(refused)] == refused and again == sorted(again) and len(again) > len(refused)
    assert refuse(bench, "m3") == again
    assert events(m3, "disk.failed") == 1, "said once"
    bench.wait(DISK_RETRY_S + 0.2)
    m3.is_disk_held = False
    bench.settle()
    assert m3.node.manager.disk_error == "" and events(m3, "disk.recovered") == 1
    assert m3.store.count("service") == 9
    log = m3.disk.log(3)
    assert [entry.index for entry in log.entries] == list(range(1, log.entries[-1].index + 1))
    bench.crash("m3")
    bench.start("m3")
    bench.settle()
    bench.check()


def test_nothing_is_written_twice_because_a_refusal_came_late() -> None:
    """Given again behind later writes it would cut their entries off, after they were promised."""
    bench = Bench.formed(3)
    m3 = bench["m3"]
    m3.is_disk_held = True
    create(bench, 0, 3)
    (first, *others), m3.unsynced = list(m3.unsynced), type(m3.unsynced)()
    m3.disk._pending.clear()
    assert others
    bench.step("m3", Persisted(first.number, m3.seat, "no room"))
    bench.wait(DISK_RETRY_S + 0.2)
    assert [ready.number for ready in m3.unsynced][:2] == [first.number, others[0].number]
    for ready in others:  # a slow disk's last words
        bench.step("m3", Persisted(ready.number, m3.seat, "no room"))
    m3.is_disk_held = False
    bench.pump()
    assert m3.node.manager.disk_error == ""
    m3.is_disk_held = True
    create(bench, 3, 6)
    waiting = [ready.number for ready in m3.unsynced]
    bench.wait(2 * DISK_RETRY_S)
    now_waiting = [ready.number for ready in m3.unsynced]
    assert waiting and now_waiting == sorted(set(now_waiting))
    m3.is_disk_held = False
    bench.settle()
    bench.check()


def test_a_member_that_cannot_write_neither_leads_nor_stands() -> None:
    bench = Bench.formed(3)
    m1 = bench["m1"]
    m1.is_disk_held = True
    token = bench.send("m1", CreateService(service_spec("web", image="web")))
    bench.pump()
    if not m1.unsynced:
        bench.wait(0.5)
    refuse(bench, "m1")
    assert not m1.leads
    bench.answer("m1", token)
    bench.wait_until(lambda: bench["m2"].leads or bench["m3"].leads)
    for name in ("m2", "m3"):
        bench.crash(name)
    for _ in range(10):
        bench.wait(2.0)
        refuse(bench, "m1")
    assert m1.node.manager.replica.role.name == "FOLLOWER", "it does not stand for election"
    error = bench.error("m1", bench.send("m1", CreateService(service_spec("x", image="web"))))
    assert isinstance(error, Unavailable)
    assert "this one does not lead: no room" in error.hint
    assert error.details["reachable"] == 1 and error.details["managers"] == 3


def test_a_disk_that_failed_is_given_nothing_more() -> None:
    bench = Bench.formed(3)
    m3 = bench["m3"]
    m3.is_disk_held = True
    create(bench, 0, 2)
    assert refuse(bench, "m3", is_final=True)
    create(bench, 2, 6)
    bench.wait(5 * DISK_RETRY_S)
    assert not m3.unsynced and m3.store.count("service") == 6
    m3.is_disk_held = False
    bench.crash("m3")
    bench.start("m3")
    bench.settle()
    bench.check()


# -- keys


def lock(bench: Bench, key: bytes, via: str = "m1") -> int:
    swarm = bench[via].store.swarm
    spec = replace(swarm.spec, autolock=bool(key))
    body = UpdateSwarm(swarm.version, spec, rotate_unlock_key=key or None)
    version: int = bench.ask(via, body).version
    bench.settle()
    return version


def test_every_manager_wraps_its_keys_and_no_worker() -> None:
    bench = Bench.formed(3, workers=1)
    founded = bench["m1"].wrapped
    assert founded is not None and founded[0] == b""
    version = lock(bench, b"k" * 32)
    for name in ("m1", "m2", "m3"):
        assert bench[name].wrapped == (b"k" * 32, version)
    assert bench["w1"].wrapped is None
    bench["m2"].wrapped = None
    create(bench, 0, 3)
    assert bench["m2"].wrapped is None, "said once"
    bench.crash("m2")
    bench.start("m2")
    bench.settle()
    assert bench["m2"].wrapped == (b"k" * 32, version), "and at the start of each life"
    version = lock(bench, b"", via="m2")
    assert bench["m3"].wrapped == (b"", version)


def test_a_snapshot_from_the_leader_brings_the_key() -> None:
    bench = Bench.formed(3, spec=small_log())
    bench.cut_off("m3")
    swarm = bench["m1"].store.swarm
    spec = replace(swarm.spec, autolock=True)
    bench.ask("m1", UpdateSwarm(swarm.version, spec, rotate_unlock_key=b"k" * 32))
    create(bench, 0, 15)
    assert bench["m3"].wrapped is not None and bench["m3"].wrapped[0] == b""
    bench.settle()
    assert bench["m3"].wrapped is not None and bench["m3"].wrapped[0] == b"k" * 32


def test_a_demoted_manager_is_unlocked() -> None:
    bench = Bench.formed(3)
    lock(bench, b"k" * 32)
    node = bench["m1"].store.node("node-m1")
    assert node is not None
    m3 = next(one for one in bench["m1"].store.nodes() if one.addr == "m3")
    spec = replace(m3.spec, desired_role=Role.WORKER)
    bench.ask("m1", UpdateNode(m3.id, m3.version, spec))
    bench.wait_until(lambda: bench["m3"].node.manager is None)
    assert bench["m3"].wrapped == (b"", 0)


def test_old_data_keys_go_with_a_snapshot() -> None:
    bench = Bench.formed(1, spec=small_log(interval=10_000))
    manager = bench["m1"].node.manager
    create(bench, 0, 3)
    last = manager.replica.last_index
    bench.step("m1", KeysWrapped(False))
    bench.wait(1.0)
    assert manager.snapshots.count == 0
    bench.step("m1", KeysWrapped(True))
    bench.wait(1.0)
    assert manager.snapshots.count == 1 and manager.replica.status().snapshot_index >= last
    bench.wait(1.0)
    assert manager.snapshots.count == 1


# -- a new cluster by force


@pytest.mark.parametrize("leaves", [False, True])
def test_a_forced_swarm_dismisses_the_lost_managers(leaves: bool) -> None:
    bench = Bench.formed(3, workers=1)
    create(bench, 0, 2)
    others = [one.id for one in bench["m3"].store.nodes() if one.addr in ("m1", "m2")]
    if leaves:
        bench.ask("m1", LeaveNode(others[1], True))
        bench.wait_until(lambda: bench["m3"].store.node(others[1]).manager is None)
    for name in ("m1", "m2", "m3"):
        bench.crash(name)
    m3 = bench["m3"]
    record = m3.disk.record
    assert record is not None
    log = m3.disk.log(record.member_id)
    forced = force_new_cluster(
        record.member_id,
        log.hard_state,
        log.snapshot,
        log.entries,
        epoch=7,
        context=context(record.identity.node_id, "m3"),
    )
    ready = Ready(0, forced.hard_state, forced.entries)
    m3.disk.write(bench.now, ready)
    m3.disk.done(ready)
    bench.start("m3")
    bench.wait_until(lambda: m3.leads and m3.store.node(others[0]).role is Role.WORKER)
    for id in others:
        node = m3.store.node(id)
        assert node.spec.desired_role is Role.WORKER and node.manager is None
        assert not node.left_seat
    own = m3.store.node(record.identity.node_id)
    assert own.manager is not None and own.manager.epoch == 7
    assert own.spec.desired_role is Role.MANAGER
    assert m3.store.count("service") == 2
    down = [NodeState.DOWN] * 2
    bench.wait_until(lambda: [m3.store.node(id).state for id in others] == down)
    worker = next(one for one in m3.store.nodes() if one.addr == "w1")
    assert worker.state is NodeState.READY, "the worker found its manager again"
    assert len(m3.node.manager.replica.configuration.members) == 1
    # An old manager that comes back all the same is of another epoch: nobody listens to it.
    bench.start("m1")
    bench.start("m2")
    bench.wait(5.0)
    assert m3.leads and m3.node.manager.replica.term >= forced.hard_state.term
    create(bench, 2, 3, via="m3")
    assert m3.store.count("service") == 3
    assert HardState(epoch=7).epoch == m3.node.manager.replica.epoch


def test_who_has_just_started_gives_the_others_time_to_be_heard() -> None:
    """Or a manager that starts again would call its swarm lost before anyone could answer."""
    bench = Bench.formed(3)
    bench.crash("m3")
    bench.cut_off("m1", "m2")
    bench.start("m3")
    error = bench["m3"].node.manager.no_leader()
    assert error.details == {"reachable": 3, "managers": 3, "outcome": "not_applied"}
    bench.wait(3.0)
    assert bench["m3"].node.manager.no_leader().details["reachable"] == 1
