"""Writes of a turn: what a caller is promised (design.md, laws 4 and 5)."""

from __future__ import annotations

import pytest

from pyswarm.errors import AlreadyExists, NotFound, OutOfSequence
from pyswarm.machine import Because
from pyswarm.model import (
    Node,
    NodeDescription,
    Service,
    ServiceSpec,
    Swarm,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.store import TURN_CHANGES_MAX, Store, Transaction

WHY = Because("test")
SPEC = ServiceSpec("web", TaskSpec())


def _store() -> Store:
    store = Store()
    tx = store.begin(3, 100.0)
    tx.create(Service("s1", SPEC), WHY)
    for number in range(1, 4):
        tx.create(Task(f"t{number}", "s1", SPEC.task, slot=number), WHY)
    store.install(tx)
    return store


def _shut(tx: Transaction, id: str) -> Task:
    task = tx.task(id)
    assert task is not None
    return tx.update(replace(task, desired_state=TaskState.SHUTDOWN), Because("shut", (id,)))


def test_writes_are_stamped_with_version_and_cluster_time() -> None:
    store = _store()
    tx = store.begin(7, 200.0)
    shut, new = _shut(tx, "t1"), tx.create(Task("t4", "s1", SPEC.task), WHY)
    assert (shut.version, shut.created_at, shut.updated_at) == (7, 100.0, 200.0)
    assert (new.version, new.created_at, new.updated_at) == (7, 200.0, 200.0)
    untouched = tx.task("t2")
    assert untouched is not None and untouched.version == 3


def test_an_object_given_to_create_is_left_alone() -> None:
    given = Task("t9", "s1", SPEC.task)
    _store().begin(4, 1.0).create(given, WHY)
    assert given.version == 0


def test_settled_readers_see_nothing_before_the_install() -> None:
    store = _store()
    tx = store.begin(4, 200.0)
    _shut(tx, "t1")
    tx.delete("task", "t2", WHY)
    assert [task.desired_state for task in store.tasks()] == [TaskState.RUNNING] * 3
    commit = store.install(tx)
    assert [task.id for task in store.tasks()] == ["t1", "t3"]
    assert (store.version, store.stamp) == (commit.version, commit.stamp) == (4, 200.0)


def test_compare_and_swap() -> None:
    store = _store()
    tx = store.begin(4, 200.0)
    service = tx.service("s1")
    assert service is not None
    changed = replace(service, pending_delete=True)
    with pytest.raises(OutOfSequence, match=r"^update out of sequence$"):
        tx.update(changed, WHY, expect=2)
    tx.update(changed, WHY, expect=3)
    with pytest.raises(OutOfSequence):  # the second update of one turn
        tx.update(replace(changed, pending_delete=False), WHY, expect=3)
    assert len(tx.changes()) == 1


def test_an_update_that_changes_nothing_is_no_write() -> None:
    tx = _store().begin(4, 200.0)
    task = tx.task("t1")
    assert task is not None
    assert tx.update(replace(task), WHY) is task
    assert tx.update(replace(task, version=99, updated_at=5.0), WHY) is task
    assert tx.is_empty and tx.room == TURN_CHANGES_MAX


@pytest.mark.parametrize("name", ["web", "WEB", "Web"])
def test_names_are_unique_whatever_the_case(name: str) -> None:
    tx = _store().begin(4, 200.0)
    with pytest.raises(AlreadyExists, match="already exists"):
        tx.create(Service("s2", ServiceSpec(name, TaskSpec())), WHY)
    other = tx.create(Service("s2", ServiceSpec("db", TaskSpec())), WHY)
    with pytest.raises(AlreadyExists):
        tx.update(replace(other, spec=ServiceSpec(name, TaskSpec())), WHY)
    tx.delete("service", "s1", WHY)
    tx.update(replace(other, spec=ServiceSpec(name, TaskSpec())), WHY)
    found = tx.by_name("service", "wEb")
    assert found is not None and found.id == "s2"


def test_what_is_missing_or_taken_is_refused() -> None:
    tx = _store().begin(4, 200.0)
    with pytest.raises(AlreadyExists):
        tx.create(Task("t1", "s1", SPEC.task), WHY)
    with pytest.raises(NotFound):
        tx.update(Task("t9", "s1", SPEC.task), WHY)
    with pytest.raises(NotFound):
        tx.delete("task", "t9", WHY)
    tx.delete("task", "t1", WHY)
    with pytest.raises(NotFound):
        tx.delete("task", "t1", WHY)
    assert len(tx.changes_since(0)) == 1


def test_change_is_update_of_a_changed_copy() -> None:
    store = _store()
    one, other = store.begin(4, 200.0), store.begin(4, 200.0)
    task = one.task("t1")
    assert task is not None
    assert one.change(task, WHY, slot=1) is task and one.is_empty
    changed = one.change(task, WHY, node_id="n1", state=TaskState.ASSIGNED)
    again = one.change(changed, WHY, state=TaskState.RUNNING)
    copy = replace(task, node_id="n1", state=TaskState.RUNNING)
    assert again == other.update(copy, WHY) and type(again) is Task
    assert (changed.state, task.node_id) == (TaskState.ASSIGNED, "")
    assert len(one.changes_since(0)) == 2 and one.changes() == other.changes()


def test_the_raw_log_and_the_net_changes() -> None:
    """A task created and placed in one turn is one change, because of its creation."""
    tx = _store().begin(4, 200.0)
    mark = tx.mark()
    task = tx.create(Task("t4", "s1", SPEC.task), Because("scale-up"))
    tx.update(replace(task, node_id="n1"), Because("place"))
    _shut(tx, "t1")
    tx.create(Task("t5", "s1", SPEC.task), WHY)
    tx.delete("task", "t5", WHY)
    raw = tx.changes_since(mark)
    assert [change.id for change in raw] == ["t4", "t4", "t1", "t5", "t5"]
    net = tx.changes()
    assert [(change.id, change.because.code) for change in net] == [
        ("t4", "scale-up"),
        ("t1", "shut"),
    ]
    assert net[0].old is None and net[0].new.node_id == "n1"
    assert repr(net[0]) == "<task t4 created: scale-up>"


def test_deleted_and_made_again_is_one_update() -> None:
    store = _store()
    tx = store.begin(4, 200.0)
    tx.delete("task", "t1", WHY)
    tx.create(Task("t1", "s1", SPEC.task, slot=9), Because("again"))
    (change,) = tx.changes()
    assert change.old.slot == 1 and change.new.slot == 9 and change.because.code == "again"
    assert change.new.created_at == 200.0
    store.install(tx)
    assert store.count("task") == 3 and len(store.tasks_of_slot("s1", 9)) == 1


def test_savepoints_nest() -> None:
    tx = _store().begin(4, 200.0)
    outer = tx.savepoint()
    _shut(tx, "t1")
    inner = tx.savepoint()
    tx.delete("task", "t1", WHY)
    tx.delete("task", "t2", WHY)
    assert tx.count("task") == 1
    tx.rollback(inner)
    task = tx.task("t1")
    assert task is not None and task.desired_state is TaskState.SHUTDOWN
    tx.rollback(outer)
    assert tx.is_empty and tx.changes() == () and tx.count("task") == 3


def test_indexes_follow_writes_after_a_roll_back() -> None:
    tx = _store().begin(4, 200.0)
    savepoint = tx.savepoint()
    for number in range(4, 7):
        tx.create(Task(f"t{number}", "s1", SPEC.task, slot=1), WHY)
    assert len(tx.tasks_of_slot("s1", 1)) == 4
    tx.rollback(savepoint)
    tx.create(Task("t7", "s1", SPEC.task, slot=1), WHY)
    assert [task.id for task in tx.tasks_of_slot("s1", 1)] == ["t1", "t7"]


def test_callers_may_write_while_they_iterate() -> None:
    tx = _store().begin(4, 200.0)
    _shut(tx, "t3")
    for task in tx.tasks():
        tx.delete("task", task.id, WHY)
        tx.create(Task(task.id + "x", "s1", SPEC.task), WHY)
    assert [task.id for task in tx.tasks()] == ["t1x", "t2x", "t3x"]


def test_room_counts_down_and_is_no_wall() -> None:
    tx = _store().begin(4, 200.0, changes_max=2)
    for id in ("t1", "t2", "t3"):
        _shut(tx, id)
    assert tx.room == -1
    assert len(tx.changes()) == 3


def test_one_transaction_is_installed_on_what_it_saw() -> None:
    store = _store()
    first, second = store.begin(4, 200.0), store.begin(5, 200.0)
    store.install(first)
    with pytest.raises(AssertionError):
        store.install(second)
    with pytest.raises(AssertionError):
        store.begin(4, 200.0)


def test_a_fork_is_never_installed_and_leaves_nothing() -> None:
    store = _store()
    digest = store.digest()
    fork = store.fork(300.0)
    _shut(fork, "t1")
    with pytest.raises(AssertionError, match="fork"):
        store.install(fork)
    assert store.digest() == digest and len(fork.changes()) == 1


def test_the_swarm_object() -> None:
    store = Store()
    assert not store.has_swarm
    with pytest.raises(AssertionError):
        _ = store.swarm
    tx = store.begin(1, 1.0)
    tx.create(Swarm("c1"), WHY)
    assert tx.swarm.id == "c1" and tx.has_swarm


def test_hostnames_need_not_be_unique() -> None:
    tx = Store().begin(1, 1.0)
    for id in ("n1", "n2"):
        tx.create(Node(id, description=NodeDescription(hostname="Box")), WHY)
    assert [node.id for node in tx.nodes_by_hostname("box")] == ["n1", "n2"]


def test_prefixes_follow_many_creations_and_deletions() -> None:
    store = Store()
    ids = [f"{number:03d}" for number in range(200)]
    store.ids_with_prefix("node", "")
    for version, id in enumerate(ids, 1):
        tx = store.begin(version, 1.0)
        tx.create(Node(id), WHY)
        store.install(tx)
    assert store.ids_with_prefix("node", "01") == [f"01{digit}" for digit in range(10)]
    tx = store.begin(store.version + 1, 1.0)
    for id in ids[:150]:
        tx.delete("node", id, WHY)
    store.install(tx)
    assert store.ids_with_prefix("node", "") == ids[150:]
