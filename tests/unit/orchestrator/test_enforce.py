"""The enforcer: who must leave a node that changed."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model.objects import Node, NodeDescription, Service, Task
from pyswarm.model.replace import replace
from pyswarm.model.resources import NANO, GenericResource, ResourceRequirements, Resources
from pyswarm.model.specs import ContainerSpec, NodeSpec, Placement, ServiceSpec, TaskSpec
from pyswarm.model.states import Availability, NodeState, TaskState
from pyswarm.orchestrator.enforce import Enforcer
from pyswarm.store import Store

WHY = Because("test")
ZONE = Placement(constraints=("node.labels.zone==a",))


class Swarm:
    def __init__(self, *objects: Any) -> None:
        self.store = Store()
        self.version = 0
        self.enforcer = Enforcer.rebuild(self.store, 0.0)
        assert self.turn(*objects) == []

    def turn(self, *objects: Any) -> list[str]:
        """One turn that writes ``objects``; the tasks that were rejected in it."""
        self.version += 1
        tx = self.store.begin(self.version, 100.0 + self.version)
        for obj in objects:
            exists = tx.get(type(obj).__name__.lower(), obj.id) is not None
            (tx.update if exists else tx.create)(obj, WHY)
        mark = tx.mark()
        self.enforcer.reconcile(tx, tx.changes_since(0), tx.now, Rng(1))
        rejected = [change.id for change in tx.changes_since(mark)]
        for id in rejected:
            task = tx.task(id)
            assert task is not None and task.state is TaskState.REJECTED
            assert task.message == "task rejected by constraint enforcer"
            assert task.err == "assigned node no longer meets constraints"
            assert task.status_at == tx.now
        self.store.install(tx)
        fork = self.store.fork(1000.0)
        Enforcer.rebuild(self.store, 1000.0).reconcile(fork, (), 1000.0, Rng(1))
        assert fork.is_empty
        return rejected


def node(zone: str = "a", cpus: int = 4, gpus: Any = (), **more: Any) -> Node:
    generic = (GenericResource("gpu", names=gpus),) if isinstance(gpus, tuple) and gpus else ()
    if isinstance(gpus, int):
        generic = (GenericResource("gpu", gpus),)
    description = NodeDescription("host", resources=Resources(cpus * NANO, 1 << 30, generic))
    spec = NodeSpec(labels={"zone": zone}, availability=more.pop("is_", Availability.ACTIVE))
    return Node("n", spec, state=NodeState.READY, description=description, **more)


def task(id: str, placement: Placement = ZONE, cpus: int = 0, **more: Any) -> Task:
    reserved = ResourceRequirements(reservations=Resources(cpus * NANO))
    spec = TaskSpec(container=ContainerSpec("i"), resources=reserved, placement=placement)
    more = {"state": TaskState.RUNNING, "node_id": "n", **more}
    return Task(id, "s", spec, spec_version=1, slot=1, **more)


def service(placement: Placement) -> Service:
    return Service("s", ServiceSpec("web", TaskSpec(ContainerSpec("i"), placement=placement)))


def test_a_label_that_is_taken_away() -> None:
    swarm = Swarm(node(), task("t"), task("free", Placement()), service(ZONE))
    assert swarm.turn(node("b")) == ["t"]
    assert swarm.turn(node("c")) == []


@pytest.mark.parametrize("is_", [Availability.PAUSE, Availability.DRAIN])
def test_nodes_that_are_not_active_are_left_alone_until_they_are(is_: Availability) -> None:
    swarm = Swarm(node(), task("t"))
    assert swarm.turn(node("b", is_=is_)) == []
    assert swarm.turn(node("b")) == ["t"]


@pytest.mark.parametrize(
    "more",
    [
        {"desired_state": TaskState.SHUTDOWN},
        {"desired_state": TaskState.READY, "state": TaskState.FAILED},
        {"state": TaskState.COMPLETE},
    ],
)
def test_tasks_that_are_over_are_left_alone(more: dict[str, Any]) -> None:
    assert Swarm(node(), task("t", **more)).turn(node("b")) == []


def test_who_relaxed_a_constraint_loses_no_task_by_it() -> None:
    swarm = Swarm(node(), task("t"), service(Placement()))
    assert swarm.turn(node("b")) == []
    assert swarm.turn(service(Placement(constraints=("node.labels.zone==c",)))) == ["t"]


def test_tightening_a_constraint_is_the_updates_affair() -> None:
    swarm = Swarm(node(), task("t", Placement()), service(Placement()))
    assert swarm.turn(service(ZONE), node("b")) == []


def test_of_tasks_that_fit_no_longer_together_the_older_stay() -> None:
    swarm = Swarm(node(), *[task(f"t{n}", cpus=1) for n in range(4)])
    assert swarm.turn(node(cpus=2)) == ["t2", "t3"]


@pytest.mark.parametrize(
    ("gpus", "rejected"),
    [
        (("g0", "g1"), []),
        (("g1",), ["t0"]),
        (("g0", "g2"), ["t1"]),
        ((), ["t0", "t1"]),
        (5, ["t0", "t1"]),
    ],
)
def test_named_resources_that_are_gone(gpus: Any, rejected: list[str]) -> None:
    tasks = [
        task(f"t{n}", assigned_generic=(GenericResource("gpu", names=(f"g{n}",)),))
        for n in range(2)
    ]
    assert Swarm(node(gpus=("g0", "g1")), *tasks).turn(node(gpus=gpus)) == rejected


def test_counted_resources_that_are_gone() -> None:
    tasks = [task(f"t{n}", assigned_generic=(GenericResource("gpu", 2),)) for n in range(2)]
    assert Swarm(node(gpus=4), *tasks).turn(node(gpus=3)) == ["t1"]


def test_a_change_that_does_not_matter_is_not_looked_at() -> None:
    swarm = Swarm(node(), task("t"))
    known = swarm.store.node("n")
    assert known is not None
    assert swarm.turn(replace(known, message="heartbeat failure")) == []
    assert swarm.enforcer.wake_at() is None
