"""Each checker is shown what it must find, and what it must let pass."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model import (
    Availability,
    Endpoint,
    Global,
    NetworkAttachment,
    Node,
    NodeDescription,
    NodeSpec,
    NodeState,
    PortConfig,
    PublishMode,
    Replicated,
    ResourceRequirements,
    Resources,
    Service,
    ServiceSpec,
    Swarm,
    Task,
    TaskSpec,
    TaskState,
    VirtualIP,
    replace,
)
from pyswarm.node import Observed, Published
from pyswarm.sim import Violation, check_settled, check_view
from pyswarm.sim.checkers import ForwardOnly, OneLeaderPerTerm, SameCommits, check_twins
from pyswarm.store import Change, Commit, Store

WHY = Because("test")


# -- checkers of histories


@attrs.define
class FakeHost:
    name: str
    machine: Any = None


class FakeMachine:
    """A manager whose store has this digest at this version."""

    manager = True

    def __init__(self, version: int, digest: str) -> None:
        self.store = self
        self.version = version
        self._digest = digest

    def digest(self) -> str:
        return self._digest


A, B = FakeHost("a", FakeMachine(0, "")), FakeHost("b", FakeMachine(0, ""))


def elected(term: int) -> Observed:
    return Observed("leader.elected", {"term": term})


def published(version: int, *changes: Change, stamp: float = 0.0) -> Published:
    return Published(Commit(version, stamp or float(version), changes))


def moved(old: TaskState, new: TaskState, **changes: Any) -> Change:
    one = Task(id="t", spec=TaskSpec(), service_id="s", slot=1, state=old)
    return Change("task", one, replace(one, state=new, **changes), WHY)


def found(checker: Any, *seen: tuple[FakeHost, Any]) -> list[str]:
    return [v.invariant for host, effect in seen for v in checker.observe(1.0, host, effect)]


def test_one_leader_a_term() -> None:
    fine = [(A, elected(1)), (B, elected(2)), (A, elected(3)), (A, elected(3))]
    assert found(OneLeaderPerTerm(), *fine) == []
    other = Observed("leader.resigned", {"term": 1})
    assert found(OneLeaderPerTerm(), (A, elected(1)), (B, other)) == []
    assert found(OneLeaderPerTerm(), (A, elected(1)), (B, elected(1))) == ["one leader a term"]


def test_equal_commits() -> None:
    one, two = moved(TaskState.NEW, TaskState.PENDING), moved(TaskState.NEW, TaskState.ASSIGNED)
    assert found(SameCommits(), (A, published(1, one)), (B, published(1, one))) == []
    assert found(SameCommits(), (A, published(1, one)), (A, published(2, two))) == []
    assert found(SameCommits(), (A, published(1, one)), (B, published(1, two))) == ["equal commits"]
    assert found(SameCommits(), (A, published(1, one)), (B, published(1))) == ["equal commits"]
    other_time = published(1, one, stamp=9.0)
    assert found(SameCommits(), (A, published(1, one)), (B, other_time)) == ["equal commits"]
    assert found(SameCommits(), (A, Published(None, restored=True))) == []


def test_equal_digests() -> None:
    a, b = FakeHost("a", FakeMachine(16, "x")), FakeHost("b", FakeMachine(16, "y"))
    checker = SameCommits(digest_every=16)
    assert found(checker, (a, published(16)), (a, published(16))) == []
    assert found(checker, (b, published(16))) == ["equal digests"]
    gone_on = FakeHost("c", FakeMachine(17, "z"))
    assert found(checker, (gone_on, published(16))) == [], "looked at too late to say"


def test_states_only_grow() -> None:
    running, shut = TaskState.RUNNING, TaskState.SHUTDOWN
    assert found(ForwardOnly(), (A, published(1, moved(TaskState.NEW, running)))) == []
    assert found(ForwardOnly(), (A, published(1, moved(shut, running)))) == ["states only grow"]
    stopping = moved(running, running, desired_state=shut)
    assert found(ForwardOnly(), (A, published(1, stopping))) == []
    wanted = stopping.new
    assert wanted is not None
    undone = Change("task", wanted, replace(wanted, desired_state=running), WHY)
    assert found(ForwardOnly(), (A, published(1, undone))) == ["states only grow"]
    deleted = Change("task", wanted, None, WHY)
    assert found(ForwardOnly(), (A, published(1, deleted))) == []


def test_time_never_goes_back() -> None:
    checker = ForwardOnly()
    assert found(checker, (A, published(1, stamp=5.0)), (A, published(2, stamp=5.0))) == []
    assert found(checker, (B, published(1, stamp=4.0))) == [], "an old version on another member"
    assert found(checker, (B, published(3, stamp=4.9))) == ["time"]


# -- checkers of a store


def store_of(*objects: Any) -> Store:
    store = Store()
    tx = store.begin(1, 1.0)
    tx.create(Swarm(id="swarm"), WHY)
    for one in objects:
        tx.create(one, WHY)
    store.install(tx)
    return store


def service(id: str = "s", **changes: Any) -> Service:
    mode = changes.pop("mode", Replicated(1))
    return Service(id=id, spec=ServiceSpec(name=id, task=TaskSpec(), mode=mode), **changes)


def task(id: str, **changes: Any) -> Task:
    given = {
        "spec": TaskSpec(),
        "service_id": "s",
        "slot": 1,
        "node_id": "n",
        "state": TaskState.RUNNING,
        "desired_state": TaskState.RUNNING,
    }
    return Task(id=id, **{**given, **changes})


def node(id: str = "n", **changes: Any) -> Node:
    return Node(id=id, **{"state": NodeState.READY, **changes})


def at(address: str, network: str = "net") -> tuple[NetworkAttachment, ...]:
    return (NetworkAttachment(network, (address,)),)


def vip(address: str, *ports: PortConfig) -> Endpoint:
    return Endpoint(virtual_ips=(VirtualIP("net", address),), ports=ports)


PORT = PortConfig(80, 8080)
HALF = TaskSpec(resources=ResourceRequirements(reservations=Resources(nano_cpus=600_000_000)))
ONE_CPU = NodeDescription(hostname="n", resources=Resources(nano_cpus=1_000_000_000))
DRAINED = NodeSpec(availability=Availability.DRAIN)

GOOD: dict[str, tuple[Any, ...]] = {
    "a service as it should be": (service(), node(), task("t")),
    "one address in two networks": (
        node(),
        task("a", networks=at("10.0.0.3/24")),
        task("b", slot=2, networks=at("10.0.0.3/24", "other")),
        service(mode=Replicated(2)),
    ),
    "an address that is free again": (
        service(),
        node(),
        task(
            "a",
            networks=at("10.0.0.3/24"),
            state=TaskState.FAILED,
            desired_state=TaskState.SHUTDOWN,
        ),
        task("b", networks=at("10.0.0.3/24")),
    ),
    "host ports": (
        service("a", mode=Replicated(0), endpoint=vip("10.0.0.2/24", host_port := attrs.evolve(
            PORT, publish_mode=PublishMode.HOST))),
        service("b", mode=Replicated(0), endpoint=vip("10.0.0.4/24", host_port)),
    ),
    "a task that waits for a node": (
        service(),
        task("t", node_id="", state=TaskState.PENDING, err="no suitable node (1 node not ready)"),
    ),
    "a global service": (
        service(mode=Global()),
        node(),
        node("m"),
        task("a", slot=0),
        task("b", slot=0, node_id="m"),
    ),
    "what a drained node still has": (
        service(mode=Replicated(0)),
        node(spec=DRAINED),
        task("t", desired_state=TaskState.SHUTDOWN),
    ),
}  # fmt: skip

BAD: dict[str, tuple[str, tuple[Any, ...]]] = {
    "two tasks": (
        "addresses",
        (node(), task("a", networks=at("10.0.0.3/24")), task("b", networks=at("10.0.0.3/16"))),
    ),
    "a task and a service": (
        "addresses",
        (service(endpoint=vip("10.0.0.3/24")), node(), task("a", networks=at("10.0.0.3/24"))),
    ),
    "a task and a node": (
        "addresses",
        (node(attachments=at("10.0.0.3/24")), task("a", networks=at("10.0.0.3/24"))),
    ),
    "two services": (
        "ports",
        (
            service("a", mode=Replicated(0), endpoint=vip("10.0.0.2/24", PORT)),
            service("b", mode=Replicated(0), endpoint=vip("10.0.0.4/24", PORT)),
        ),
    ),
    "no node": ("references", (task("t", node_id="gone"),)),
    "too much": (
        "reservations",
        (node(description=ONE_CPU), task("a", spec=HALF), task("b", spec=HALF)),
    ),
    "a slot twice": ("slots", (service(mode=Replicated(2)), node(), task("a"), task("b"))),
    "one too many": ("slots", (service(), node(), task("a"), task("b", slot=2))),
    "one too few": ("slots", (service(mode=Replicated(2)), node(), task("a"))),
    "one that does not run": ("slots", (service(), node(), task("a", state=TaskState.STARTING))),
    "two on a node": (
        "slots",
        (service(mode=Global()), node(), task("a", slot=0), task("b", slot=0)),
    ),
    "on a lost node": (
        "lost nodes",
        (service(), node(state=NodeState.DOWN), task("t")),
    ),
    "on a drained node": ("lost nodes", (service(), node(spec=DRAINED), task("t"))),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_right(case: str) -> None:
    assert check_settled(store_of(*GOOD[case])) == []


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong(case: str) -> None:
    invariant, objects = BAD[case]
    store = store_of(*objects)
    always = ("addresses", "ports", "references", "reservations")
    violations = check_view(store) if invariant in always else check_settled(store)
    assert {one.invariant for one in violations} == {invariant}
    if invariant not in always:
        assert check_view(store) == [], "it may be so for a while"
    assert str(violations[0]).startswith(f"{invariant}: ")


# -- twins


class Counts:
    """Decides from what the store says (or, if it cheats, from what it remembers)."""

    def __init__(self, due: float | None = None) -> None:
        self.due = due

    @classmethod
    def rebuild(cls, view: Any, now: float) -> Counts:
        return cls()

    def reconcile(self, tx: Any, changed: Any, now: float, rng: Rng) -> None:
        pass

    def wake_at(self) -> float | None:
        return self.due


class Writes(Counts):
    def reconcile(self, tx: Any, changed: Any, now: float, rng: Rng) -> None:
        one = tx.node("n")
        if one is not None and not one.message:
            tx.update(replace(one, message="seen"), Because("seen"))

    @classmethod
    def rebuild(cls, view: Any, now: float) -> Counts:
        return cls(due=now)


class Wakes(Counts):
    @classmethod
    def rebuild(cls, view: Any, now: float) -> Counts:
        return cls(due=now + 5.0)


def test_twins() -> None:
    store, rng = store_of(node()), Rng(1)
    assert check_twins(store, 2.0, [Counts()], rng) == []
    [wrote] = check_twins(store, 2.0, [Writes()], rng)
    assert wrote == Violation("twins", "a rebuilt reconciler writes node n: seen")
    [missed] = check_twins(store, 2.0, [Wakes()], rng)
    assert "Wakes wakes at None, rebuilt at 7.0" in str(missed)
    assert check_twins(store, 2.0, [Wakes(due=7.0)], rng) == []
    assert check_twins(store, 2.0, [Wakes(due=6.0)], rng) == [], "waking in vain is allowed"
    assert check_twins(store, 2.0, [Writes(due=2.0)], rng) == [], "it is due: it will write"
    assert store.node("n").message == "", "nothing is written for good"
