"""The log form: small, complete, and refused by name when it is not ours."""

from __future__ import annotations

import msgpack
import pytest

from pyswarm.env import Rng
from pyswarm.errors import Internal, InvalidArgument
from pyswarm.ids import new_id
from pyswarm.machine import Because
from pyswarm.model import (
    ContainerSpec,
    Node,
    NodeSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.store import Store, Transaction

WHY = Because("test", ("web", 3, 0.5))
CONTAINER = ContainerSpec("host", env=("A=" + "b" * 300,))
SPEC = ServiceSpec("web", TaskSpec(CONTAINER), labels={"a": "b"})
SERVICE = "s" * 25
TASKS = 50


def _pair() -> tuple[Store, Store]:
    leader, follower = Store(), Store()
    tx = leader.begin(1, 100.0)
    tx.create(Service(SERVICE, SPEC), WHY)
    _settle(tx, leader, follower)
    return leader, follower


def _settle(tx: Transaction, leader: Store, follower: Store) -> bytes:
    data = leader.encode(tx)
    assert leader.install(tx) == follower.apply(tx.version, data)
    assert leader.digest() == follower.digest()
    return data


def _tasks(tx: Transaction, spec: TaskSpec) -> list[Task]:
    rng = Rng(1)
    return [
        tx.create(
            Task(
                new_id(rng), SERVICE, spec, slot=n, service_name="web", service_labels=SPEC.labels
            ),
            WHY,
        )
        for n in range(TASKS)
    ]


def test_tasks_name_their_spec_and_follow_it_when_it_becomes_the_previous() -> None:
    leader, follower = _pair()
    tx = leader.begin(2, 101.0)
    _tasks(tx, SPEC.task)
    data = _settle(tx, leader, follower)
    assert len(data) < TASKS * 70
    tx = leader.begin(3, 102.0)
    service = tx.service(SERVICE)
    assert service is not None
    spec = replace(SPEC, task=TaskSpec(ContainerSpec("host2")))
    tx.update(replace(service, spec=spec, previous_spec=service.spec), WHY)
    for task in tx.tasks():
        tx.update(replace(task, state=TaskState.RUNNING, node_id="n1"), WHY)
    _settle(tx, leader, follower)
    held = follower.service(SERVICE)
    assert held is not None and held.previous_spec is not None
    assert all(task.spec is held.previous_spec.task for task in follower.tasks())
    assert all(task.service_labels is held.previous_spec.labels for task in follower.tasks())


def test_a_spec_that_no_service_holds_is_written_once() -> None:
    leader, follower = _pair()
    tx = leader.begin(2, 101.0)
    _tasks(tx, TaskSpec(ContainerSpec("other", env=("A=" + "c" * 300,))))
    data = _settle(tx, leader, follower)
    assert data.count(b"c" * 300) == 1
    specs = [task.spec for task in follower.tasks()]
    assert all(spec is specs[0] for spec in specs)
    chunks = list(follower.snapshot().chunks())
    assert b"".join(chunks).count(b"c" * 300) == 1


def test_a_change_is_its_fields() -> None:
    leader, follower = _pair()
    tx = leader.begin(2, 101.0)
    _tasks(tx, SPEC.task)
    _settle(tx, leader, follower)
    tx = leader.begin(3, 102.0)
    for task in tx.tasks():
        tx.update(replace(task, state=TaskState.RUNNING, status_at=102.0), WHY)
    assert len(_settle(tx, leader, follower)) < TASKS * 50


def test_tasks_of_a_service_that_goes_in_the_same_entry() -> None:
    leader, follower = _pair()
    tx = leader.begin(2, 101.0)
    _tasks(tx, SPEC.task)
    _settle(tx, leader, follower)
    tx = leader.begin(3, 102.0)
    tx.delete("service", SERVICE, WHY)
    for task in tx.tasks():
        tx.update(replace(task, desired_state=TaskState.REMOVE), WHY)
    tx.create(Task("late", SERVICE, SPEC.task), WHY)
    _settle(tx, leader, follower)
    assert len({id(task.spec) for task in follower.tasks() if task.id != "late"}) == 1


def test_reasons_survive() -> None:
    leader, follower = _pair()
    tx = leader.begin(2, 101.0)
    tx.delete("service", SERVICE, Because("because", ("x", 1, 2.5)))
    commit = follower.apply(2, leader.encode(tx))
    assert commit.changes[0].because == Because("because", ("x", 1, 2.5))


def _entry(*groups: object) -> bytes:
    return b"pswe\x01" + msgpack.packb([1.0, [["why"]], [], list(groups)])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no entry"),
        (b"pswe", "no entry"),
        (b"nonsense", "no entry"),
        (b"pswe\x63rest", "unknown format 99"),
        (b"pswe\x01", "malformed entry"),
        (b"pswe\x01\xc1", "malformed entry"),
        (_entry() + b"more", "malformed entry"),
        (_entry(["pod", []]), "unknown kind of object 'pod'"),
        (_entry(["node", [[0, {0: "n1", 77: 1}]]]), "Node: unknown field 77"),
        (_entry(["node", [[5, {0: "n1"}]]]), "malformed entry"),
        (_entry(["node", [[0, {}]]]), "malformed entry"),
        (_entry(["task", [[0, {0: "t1", 1: "nowhere", 2: 0}]]]), "not there"),
        (_entry(["task", [[0, {0: "t1", 1: "nowhere", 2: 7}]]]), "malformed entry"),
        (_entry(["service", [[0, {0: "s2", 1: {0: "x", 1: {}, 2: ["Pod", {}]}}]]]), "'Pod'"),
    ],
)
def test_garbage_is_refused(data: bytes, text: str) -> None:
    _, follower = _pair()
    digest = follower.digest()
    with pytest.raises(InvalidArgument, match=text):
        follower.apply(2, data)
    assert (follower.version, follower.digest()) == (1, digest)


@pytest.mark.parametrize(
    "item", [[0, "s9"], [0, "s9", {}], [0, {0: SERVICE, 1: {0: "web", 1: {}}}]]
)
def test_an_entry_that_does_not_fit_is_a_broken_invariant(item: list[object]) -> None:
    _, follower = _pair()
    with pytest.raises(Internal, match="entry 2"):
        follower.apply(2, _entry(["service", [item]]))


def test_equal_is_written_alike() -> None:
    """Whole seconds and the order of labels make no difference between members."""
    leader, follower = _pair()
    tx = leader.begin(2, 101)
    tx.create(Node("n1", NodeSpec(labels={"a": "1", "b": "2"}), down_at=5), WHY)
    tx.create(Task("t1", SERVICE, SPEC.task, start_after=5.0), WHY)
    _settle(tx, leader, follower)
    tx = leader.begin(3, 102)
    node, task = tx.node("n1"), tx.task("t1")
    assert node is not None and task is not None
    tx.update(replace(node, spec=NodeSpec(labels={"b": "2", "a": "1"}), addr="x"), WHY)
    tx.update(replace(task, start_after=5, message="x"), WHY)
    _settle(tx, leader, follower)
