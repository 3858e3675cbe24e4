"""The placer in turns: what it writes, what it leaves alone, and that it forgets nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model.objects import Network, NetworkAttachment, Node, NodeDescription, Plugin, Task
from pyswarm.model.replace import replace
from pyswarm.model.resources import NANO, ResourceRequirements, Resources
from pyswarm.model.specs import NetworkSpec, NodeSpec, Placement, Preference, TaskSpec
from pyswarm.model.states import Availability, NodeState, TaskState
from pyswarm.orchestrator.place import Placer
from pyswarm.scheduler import NodeInfo, Scheduler, TaskGroup
from pyswarm.scheduler.shape import Shape
from pyswarm.store import Store

WHY = Because("test")


class Swarm:
    """A store, a placer that lives long, and turns."""

    def __init__(self, room: int = 4096) -> None:
        self.store = Store()
        self.version = 0
        self.room = room
        self.placer = Placer.rebuild(self.store, 0.0)

    def turn(self, *objects: Any, delete: tuple[tuple[str, str], ...] = ()) -> int:
        """One turn that writes ``objects``; how many changes the placer made."""
        self.version += 1
        tx = self.store.begin(self.version, 100.0 + self.version)
        tx.changes_max = self.room
        for obj in objects:
            exists = tx.get(type(obj).__name__.lower(), obj.id) is not None
            (tx.update if exists else tx.create)(obj, WHY)
        for kind, id in delete:
            tx.delete(kind, id, WHY)
        mark, made, first = 0, 0, True
        while first or mark < tx.mark():
            changed, mark = tx.changes_since(mark), tx.mark()
            made += 0 if first else len(changed)
            first = False
            self.placer.reconcile(tx, changed, tx.now, Rng(1))
        self.store.install(tx)
        self.check_twin()
        return made

    def check_twin(self) -> None:
        """One made from the store has nothing to add (law 15)."""
        if self.placer.wake_at() is None:
            fork = self.store.fork(1000.0)
            Placer.rebuild(self.store, 1000.0).reconcile(fork, (), 1000.0, Rng(1))
            assert fork.is_empty

    def task(self, id: str) -> Task:
        found = self.store.task(id)
        assert found is not None
        return found

    def places(self) -> dict[str, str]:
        return {task.id: task.node_id for task in self.store.tasks()}


def node(id: str, **more: Any) -> Node:
    description = NodeDescription(f"host-{id}", resources=Resources(4 * NANO, 1 << 30))
    more = {"state": NodeState.READY, "description": description, **more}
    return Node(id, **more)


def task(id: str, slot: int = 1, cpus: int = 0, **more: Any) -> Task:
    reserved = ResourceRequirements(reservations=Resources(cpus * NANO))
    more = {"spec": TaskSpec(resources=reserved), "state": TaskState.PENDING, **more}
    return Task(id, "web", spec_version=1, slot=slot, **more)


def test_writes_what_swarm_writes() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t"), task("g", 0, node_id="a"))
    placed, confirmed = swarm.task("t"), swarm.task("g")
    assert (placed.state, placed.node_id, placed.err) == (TaskState.ASSIGNED, "a", "")
    assert placed.message == "scheduler assigned task to node"
    assert placed.status_at == 101.0 and placed.version == 1
    assert confirmed.state is TaskState.ASSIGNED
    assert confirmed.message == "scheduler confirmed task can run on preassigned node"


def test_a_new_task_waits_for_the_allocator() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t", state=TaskState.NEW))
    assert swarm.task("t").state is TaskState.NEW
    swarm.turn(replace(swarm.task("t"), state=TaskState.PENDING))
    assert swarm.task("t").node_id == "a"


def test_the_reason_is_written_once_and_anew_when_it_changes() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t", cpus=8))
    assert swarm.task("t").err == "no suitable node (insufficient resources on 1 node)"
    assert swarm.task("t").state is TaskState.PENDING
    assert swarm.turn() == 0
    assert swarm.turn(node("b", state=NodeState.DOWN)) == 1
    assert swarm.task("t").err == (
        "no suitable node (1 node not available for new tasks; insufficient resources on 1 node)"
    )
    assert swarm.turn(task("other", 2)) == 1


def test_what_waits_is_tried_again_when_something_is_freed() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t1", 1, 3), task("t2", 2, 3))
    assert swarm.places() == {"t1": "a", "t2": ""}
    swarm.turn(replace(swarm.task("t1"), desired_state=TaskState.SHUTDOWN))
    assert swarm.places()["t2"] == ""  # to be shut down is not to be gone
    swarm.turn(replace(swarm.task("t1"), state=TaskState.SHUTDOWN))
    assert swarm.places()["t2"] == "a" and swarm.task("t2").err == ""


def test_what_waits_is_not_looked_at_while_nothing_could_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swarm = Swarm()
    swarm.turn(node("a"), *[task(f"t{n}", n, 3) for n in range(1, 5)])
    asked: list[Any] = []
    place = Scheduler._place

    def spy(self: Scheduler, group: Any, *rest: Any) -> None:
        if self is swarm.placer.scheduler:  # and not its twin
            asked.append(group.key)
        place(self, group, *rest)

    monkeypatch.setattr(Scheduler, "_place", spy)
    swarm.turn()
    swarm.turn(Network("n", NetworkSpec("net")))
    swarm.turn(replace(swarm.task("t1"), message="starting"))
    assert asked == []
    swarm.turn(replace(swarm.task("t1"), state=TaskState.COMPLETE))
    assert asked


def test_a_preassigned_task_waits_for_its_node() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("g", 0, cpus=2, node_id="b"))
    assert swarm.task("g").state is TaskState.PENDING and swarm.task("g").err == ""
    swarm.turn(node("b", spec=NodeSpec(availability=Availability.PAUSE)))
    assert swarm.task("g").err == "1 node not available for new tasks"
    swarm.turn(node("b"))
    assert (swarm.task("g").state, swarm.task("g").err) == (TaskState.ASSIGNED, "")


def test_a_task_that_ends_before_it_has_a_node() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t", cpus=8))
    swarm.turn(replace(swarm.task("t"), desired_state=TaskState.SHUTDOWN))
    assert (swarm.task("t").state, swarm.task("t").err) == (TaskState.SHUTDOWN, "")


def test_respects_the_turns_room_and_stays_due() -> None:
    swarm = Swarm(room=8)
    swarm.turn(node("a"), node("b"), *[task(f"t{n}", n) for n in range(1, 7)])
    turns = 0
    while swarm.placer.wake_at() is not None:
        swarm.turn()
        turns += 1
    assert turns == 1
    assert sorted(swarm.places().values()) == ["a"] * 3 + ["b"] * 3


def test_a_removed_node_and_its_tasks() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), task("t1", 1), task("t2", 2))
    swarm.turn(node("b"), delete=(("node", "a"),))
    swarm.turn(task("t3", 3), delete=(("task", "t1"),))
    assert swarm.places() == {"t2": "a", "t3": "b"}
    swarm.turn(node("a"), task("t4", 4))
    assert swarm.places()["t4"] in ("a", "b")


def test_tasks_avoid_a_node_on_which_they_failed_five_times() -> None:
    swarm = Swarm()
    swarm.turn(node("a"), node("b"), *[task(f"x{n}", n, node_id="b") for n in range(10, 13)])
    failed = [
        task(f"f{n}", n, node_id="a", state=TaskState.FAILED, status_at=100.0) for n in range(1, 6)
    ]
    swarm.turn(*failed[:4])
    swarm.turn(task("t1", 1))
    assert swarm.places()["t1"] == "a"  # four failures are not looked at
    swarm.turn(failed[4])
    swarm.turn(task("t2", 2))
    assert swarm.places()["t2"] == "b"
    swarm.version = 1000  # more than five minutes later
    swarm.turn(task("t3", 3))
    assert swarm.places()["t3"] == "a"


def test_a_task_needs_the_plugin_of_its_network() -> None:
    swarm = Swarm()
    plugins = (Plugin("Network", "weave"),)
    weave = node("b", description=NodeDescription("host-b", plugins=plugins))
    other = node("a", description=NodeDescription("host-a", plugins=(Plugin("Network", "x"),)))
    attached = task("t", networks=(NetworkAttachment("net"),))
    swarm.turn(Network("net", NetworkSpec("net", driver="weave")), other, attached)
    assert swarm.task("t").err == "no suitable node (missing plugin on 1 node)"
    swarm.turn(weave)
    assert swarm.places()["t"] == "b"


def test_branches_level_again_after_one_was_full() -> None:
    """A branch without room is passed over, and taken up again when it has room."""
    swarm = Swarm()
    spec = TaskSpec(
        resources=ResourceRequirements(reservations=Resources(2 * NANO)),
        placement=Placement(preferences=(Preference("node.labels.rack"),)),
    )
    racks = {"a": "1", "b": "2", "c": "2"}
    nodes = [node(id, spec=NodeSpec(labels={"rack": rack})) for id, rack in racks.items()]
    swarm.turn(*nodes, *[task(f"t{n}", n, spec=spec) for n in range(1, 6)])
    assert sorted(swarm.places().values()) == ["a", "a", "b", "b", "c"]
    on_a = [id for id, at in swarm.places().items() if at == "a"]
    swarm.turn(*[replace(swarm.task(id), state=TaskState.COMPLETE) for id in on_a])
    swarm.turn(task("t6", 6, spec=spec), task("t7", 7, spec=spec))
    assert (swarm.places()["t6"], swarm.places()["t7"]) == ("a", "a")
    swarm.turn(task("t8", 8, spec=spec))
    assert swarm.places()["t8"] == "c"


class Asked:
    """Counts what filters are asked, by filter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler) -> None:
        self.count = 0
        self.scheduler = scheduler
        for name in ("has_room", "class_fit", "named", "admits", "ports_free", "fits"):
            self._spy(monkeypatch, name)

    def _spy(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        method = getattr(Shape, name)

        def spy(shape: Shape, info: NodeInfo) -> Any:
            if self.scheduler.by_id.get(info.id) is info:  # and not one of the twin's
                self.count += 1
            return method(shape, info)

        monkeypatch.setattr(Shape, name, spy)

    def take(self) -> int:
        count, self.count = self.count, 0
        return count


def test_filters_are_evaluated_only_when_something_that_could_help_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand tasks of ten services wait for memory on a hundred nodes; nobody looks again until
    something they could use changes, and then at that node alone."""
    swarm = Swarm()
    few = ResourceRequirements(reservations=Resources(memory_bytes=2 << 30))
    waiting = [
        Task(f"w{n}", f"s{n % 10}", TaskSpec(resources=few), spec_version=1, slot=n,
             state=TaskState.PENDING)
        for n in range(1000)
    ]  # fmt: skip
    nodes = [node(f"n{n:02}") for n in range(100)]
    swarm.turn(*nodes, task("plain"), task("big", 2, 4), *waiting)
    assert sum(not at for at in swarm.places().values()) == 1000
    asked = Asked(monkeypatch, swarm.placer.scheduler)

    def looked_at(*objects: Any, delete: tuple[tuple[str, str], ...] = ()) -> int:
        swarm.turn(*objects, delete=delete)
        return asked.take()

    assert looked_at() == 0
    assert looked_at(Network("n", NetworkSpec("net"))) == 0
    assert looked_at(replace(swarm.task("big"), state=TaskState.RUNNING)) == 0
    assert looked_at(replace(swarm.task("big"), desired_state=TaskState.SHUTDOWN)) == 0
    ended = replace(swarm.task("plain"), state=TaskState.COMPLETE)
    assert looked_at(ended) == 0  # it held nothing that they need
    assert looked_at(replace(nodes[5], version=0, created_at=0.0)) == 0  # a write of no change
    assert 0 < looked_at(replace(swarm.task("big"), state=TaskState.SHUTDOWN)) < 10
    assert 0 < looked_at(replace(nodes[3], spec=NodeSpec(labels={"a": "b"}))) < 10
    more = NodeDescription("large", resources=Resources(memory_bytes=6 << 30))
    assert 0 < looked_at(replace(nodes[7], description=more)) < 50  # by ten services, of this node
    assert sorted(at for at in swarm.places().values() if at)[-3:] == ["n07"] * 3
    assert looked_at(delete=(("node", "n42"),)) < 10


def test_what_a_limit_of_replicas_keeps_waiting_is_tried_when_its_own_tasks_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swarm = Swarm()
    spec = TaskSpec(placement=Placement(max_replicas=1))
    other = Task("other", "db", TaskSpec(), spec_version=1, slot=1, state=TaskState.PENDING)
    swarm.turn(node("a"), node("b"), other, *[task(f"t{n}", n, spec=spec) for n in range(1, 5)])
    assert sorted(at for id, at in swarm.places().items() if id != "other") == ["", "", "a", "b"]
    tried: list[Any] = []
    place = Scheduler._place

    def spy(self: Scheduler, group: Any, *rest: Any) -> None:
        if self is swarm.placer.scheduler:
            tried.append(group.key)
        place(self, group, *rest)

    monkeypatch.setattr(Scheduler, "_place", spy)
    swarm.turn(replace(swarm.task("other"), state=TaskState.COMPLETE))
    swarm.turn(replace(node("b"), spec=NodeSpec(labels={"x": "y"})))
    assert tried == []
    gone = next(id for id, at in swarm.places().items() if at == "a" and id != "other")
    swarm.turn(replace(swarm.task(gone), desired_state=TaskState.SHUTDOWN))
    assert tried and sorted(swarm.places().values()).count("") == 1


class BesideDatabase:
    """Only where a task of the service ``db`` is."""

    name = "beside db"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return any(task.service_id == "db" for task in node.tasks.values())

    def explain(self, nodes: int) -> str:
        return f"no database on {nodes} nodes"

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        return f"{node.name} has no database"


def test_a_filter_of_ones_own_may_wait_for_company() -> None:
    swarm = Swarm()
    swarm.placer = Placer(Scheduler(filters=[BesideDatabase()]))
    swarm.check_twin = lambda: None  # type: ignore[method-assign]
    swarm.turn(node("a"), node("b"), task("t"), task("g", 0, node_id="b"))
    assert swarm.task("t").err == "no suitable node (no database on 2 nodes)"
    assert swarm.task("g").err == "no database on 1 nodes"
    db = Task("db", "db", TaskSpec(), node_id="b", state=TaskState.RUNNING)
    swarm.turn(db)
    assert swarm.places() == {"t": "b", "g": "b", "db": "b"}
