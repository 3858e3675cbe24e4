"""The scheduler against one that is obviously right, after any sequence of changes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import InvalidArgument
from pyswarm.model.objects import Endpoint, Node, NodeDescription, Plugin, Task
from pyswarm.model.replace import replace
from pyswarm.model.resources import (
    NANO,
    GenericResource,
    Platform,
    ResourceRequirements,
    Resources,
)
from pyswarm.model.specs import (
    EndpointSpec,
    LogDriver,
    NodeSpec,
    Placement,
    PortConfig,
    Preference,
    TaskSpec,
)
from pyswarm.model.states import Availability, NodeState, PublishMode, Role, TaskState
from pyswarm.scheduler import BinPack, Decision, Scheduler, parse_plan, plan, planfile

_source = importlib.util.spec_from_file_location(
    "scheduler_reference", Path(__file__).with_name("scheduler_reference.py")
)
assert _source is not None and _source.loader is not None
_module = importlib.util.module_from_spec(_source)
_source.loader.exec_module(_module)
Reference: Any = _module.Reference

scheduler_module = importlib.import_module("pyswarm.scheduler.scheduler")
journal_module = importlib.import_module("pyswarm.scheduler.journal")
pools_module = importlib.import_module("pyswarm.scheduler.pools")

NOW = 1000.0
STATES = st.sampled_from([NodeState.READY] * 5 + [NodeState.DOWN])
AVAILABILITIES = st.sampled_from([Availability.ACTIVE] * 5 + [Availability.DRAIN])


@st.composite
def node_objects(draw: st.DrawFn, number: int) -> Node:
    generic = draw(
        st.sampled_from(
            [
                (),
                (GenericResource("gpu", 2),),
                (GenericResource("gpu", names=("red", "green", "blue")),),
            ]
        )
    )
    labels = {
        key: draw(st.sampled_from(["a", "b", "c", ""]))
        for key in ("zone", "rack")
        if draw(st.booleans())
    }
    logs = draw(st.sampled_from([(), (Plugin("Log", "syslog"),), (Plugin("Log", "gelf"),)]))
    return Node(
        id=f"n{number}",
        spec=NodeSpec(labels=labels, availability=draw(AVAILABILITIES)),
        role=draw(st.sampled_from(list(Role))),
        state=draw(STATES),
        addr=f"10.0.0.{number + 1}",
        description=NodeDescription(
            hostname=f"host-{number}",
            platform=Platform(draw(st.sampled_from(["linux", "linux", "plan9"]))),
            resources=Resources(draw(st.integers(0, 6)) * NANO, 8 << 30, generic),
            plugins=logs,
        ),
    )


CONSTRAINTS = (
    "node.labels.zone==a",
    "node.labels.zone!=b",
    "node.role==worker",
    "node.hostname==HOST-1",
    "node.id!=n0",
    "node.ip==10.0.0.0/30",
)


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    gpu = draw(st.sampled_from([0, 0, 0, 1, 2]))
    reserved = Resources(
        draw(st.sampled_from([0, 0, NANO // 2, 2 * NANO])),
        draw(st.sampled_from([0, 0, 1 << 30, 3 << 30])),
        (GenericResource("gpu", gpu),) if gpu else (),
    )
    some = st.lists(st.sampled_from(CONSTRAINTS), max_size=2, unique=True)
    wanted = draw(st.sampled_from([[], [], ["zone"], ["zone", "rack"], ["rack"]]))
    return TaskSpec(
        resources=ResourceRequirements(reservations=reserved),
        placement=Placement(
            constraints=tuple(draw(st.one_of(st.just([]), some))),
            preferences=tuple(Preference(f"node.labels.{label}") for label in wanted),
            max_replicas=draw(st.sampled_from([0, 0, 0, 1, 2])),
            platforms=draw(st.sampled_from([(), (), (Platform("linux"),)])),
        ),
        log_driver=draw(st.sampled_from([None, None, LogDriver("syslog")])),
    )


ENDPOINTS = st.sampled_from(
    [
        None,
        None,
        None,
        Endpoint(ports=(PortConfig(80, 8080, publish_mode=PublishMode.HOST),)),
        Endpoint(EndpointSpec(), (PortConfig(80, 9090, publish_mode=PublishMode.HOST),)),
    ]
)


class World:
    """The same changes told to both; what the real one decides is told to nobody else."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.real = Scheduler()
        self.reference = Reference()
        self.now = NOW
        self.made = 0
        self.services: list[tuple[TaskSpec, Endpoint | None]] = [
            (draw(specs()), draw(ENDPOINTS)) for _ in range(3)
        ]
        for number in range(draw(st.integers(1, 5))):
            self.put_node(draw(node_objects(number)))

    def put_node(self, node: Node) -> None:
        self.reference.nodes[node.id] = node
        self.real.upsert_node(node)

    def put_task(self, task: Task) -> None:
        self.reference.tasks[task.id] = task
        self.real.upsert_task(task)

    def some_node(self) -> Node | None:
        nodes = list(self.reference.nodes.values())
        return self.draw(st.sampled_from(nodes)) if nodes else None

    def some_task(self) -> Task | None:
        tasks = list(self.reference.tasks.values())
        return self.draw(st.sampled_from(tasks)) if tasks else None

    def create_tasks(self) -> None:
        number = self.draw(st.integers(0, len(self.services) - 1))
        spec, endpoint = self.services[number]
        for _ in range(self.draw(st.integers(1, 6))):
            self.made += 1
            node = self.some_node() if self.draw(st.integers(0, 7)) == 0 else None
            self.put_task(
                Task(
                    id=f"t{self.made:03}",
                    service_id=f"s{number}",
                    spec=spec,
                    created_at=self.now,
                    spec_version=1,
                    slot=0 if node else self.made,
                    node_id=node.id if node else "",
                    state=TaskState.PENDING,
                    endpoint=endpoint,
                )
            )

    def end_task(self) -> None:
        task = self.some_task()
        if task is not None and task.state > TaskState.PENDING:
            state = self.draw(st.sampled_from([TaskState.FAILED, TaskState.COMPLETE]))
            self.put_task(replace(task, state=max(task.state, state), status_at=self.now))

    def fail_slot(self) -> None:
        """Five failures on one node: it is to be avoided."""
        task = self.some_task()
        if task is not None and task.node_id and task.slot:
            for _ in range(5):
                self.made += 1
                failed = replace(
                    task, id=f"t{self.made:03}", state=TaskState.FAILED, status_at=self.now
                )
                self.put_task(failed)

    def stop_task(self) -> None:
        task = self.some_task()
        if task is not None and task.state >= TaskState.ASSIGNED:
            self.put_task(replace(task, desired_state=TaskState.SHUTDOWN))

    def remove_task(self) -> None:
        task = self.some_task()
        if task is not None:
            del self.reference.tasks[task.id]
            self.real.remove_task(task.id)

    def change_node(self) -> None:
        node = self.some_node()
        if node is not None:
            self.put_node(self.draw(node_objects(int(node.id[1:]))))

    def remove_node(self) -> None:
        node = self.some_node()
        if node is not None:
            del self.reference.nodes[node.id]
            self.real.remove_node(node.id)

    def add_node(self) -> None:
        number = self.draw(st.integers(0, 7))
        self.put_node(self.draw(node_objects(number)))

    def pass_time(self) -> None:
        self.now += self.draw(st.sampled_from([1.0, 200.0, 300.0]))

    def decide(self, limit: int | None = None) -> None:
        before = dict(self.reference.tasks)
        while True:
            decisions = self.real.schedule(self.now, limit or 1 << 30)
            for decision in decisions:
                before[decision.old.id] = decision.new
                self.real.upsert_task(decision.new)  # the store tells it back
            if not decisions and not self.real.is_due:
                break
        self.reference.schedule(self.now)
        assert {t.id: shown(t) for t in before.values()} == {
            t.id: shown(t) for t in self.reference.tasks.values()
        }

    def twin(self) -> Scheduler:
        """A scheduler that sees the outcome alone."""
        twin = Scheduler()
        for node in self.reference.nodes.values():
            twin.upsert_node(node)
        for task in self.reference.tasks.values():
            twin.upsert_task(task)
        return twin


def shown(task: Task) -> tuple[object, ...]:
    return (task.node_id, task.state, task.err, task.message, task.assigned_generic)


STEPS = (
    World.create_tasks,
    World.create_tasks,
    World.end_task,
    World.fail_slot,
    World.stop_task,
    World.remove_task,
    World.change_node,
    World.remove_node,
    World.add_node,
    World.pass_time,
)


def steps(world: World) -> Iterator[None]:
    for _ in range(world.draw(st.integers(1, 8))):
        for step in world.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4)):
            step(world)
        yield


@settings(max_examples=200)
@given(st.data())
def test_decides_as_the_reference_after_any_changes(data: st.DataObject) -> None:
    world = World(data.draw)
    for _ in steps(world):
        world.decide()
        assert world.twin().schedule(world.now) == []


@settings(max_examples=200)
@given(st.data())
def test_decides_as_the_reference_when_it_forgets_early(data: st.DataObject) -> None:
    """With the limits set so low that every structure is used, evicted and filled anew."""
    with (
        mock.patch.object(scheduler_module, "SKIPPED_MAX", 0),
        mock.patch.object(scheduler_module, "POOL_ENTRIES_MIN", data.draw(st.integers(0, 20))),
        mock.patch.object(scheduler_module, "POOL_ENTRIES_PER_NODE", 0),
        mock.patch.object(scheduler_module, "SHAPES_MAX", 1),
        mock.patch.object(scheduler_module, "NODES_PER_CLASS_MIN", 0),
        mock.patch.object(scheduler_module, "CLASSES_SLACK", 0),
        mock.patch.object(journal_module, "ENTRIES_MIN", -10),
        mock.patch.object(pools_module, "SLACK", 0),
    ):
        world = World(data.draw)
        for _ in steps(world):
            world.decide()
            assert world.twin().schedule(world.now) == []


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3))
def test_in_small_bites_nothing_is_lost(data: st.DataObject, limit: int) -> None:
    """A turn has room for some decisions only; the rest stays due and nothing is lost."""
    world = World(data.draw)
    for _ in steps(world):
        before = {task.id for task in world.reference.waiting()}
        decided: dict[str, Task] = {}
        decisions: list[Decision] | None = None
        while decisions or decisions is None or world.real.is_due:
            decisions = world.real.schedule(world.now, limit)
            assert len(decisions) <= limit
            for decision in decisions:
                decided[decision.old.id] = decision.new
                world.real.upsert_task(decision.new)
                world.reference.tasks[decision.new.id] = decision.new
        assert set(decided) <= before
        assert world.twin().schedule(world.now) == []


@settings(max_examples=100)
@given(st.data())
def test_never_over_committed_and_constraints_never_violated(data: st.DataObject) -> None:
    world = World(data.draw)
    for _ in steps(world):
        seen = {id for id, t in world.reference.tasks.items() if t.state > TaskState.PENDING}
        world.decide()
        for task in world.reference.tasks.values():
            if task.id in seen or task.state is not TaskState.ASSIGNED:
                continue
            node = world.reference.nodes[task.node_id]
            assert world.reference.is_ready(node, task)
            assert world.reference.is_constraints(node, task)
            on = world.reference.on(node)
            reserved = [t.spec.resources.reservations for t in on]
            own, offer = task.spec.resources.reservations, node.description.resources
            if own.nano_cpus:
                assert sum(r.nano_cpus for r in reserved) <= offer.nano_cpus
            if own.memory_bytes:
                assert sum(r.memory_bytes for r in reserved) <= offer.memory_bytes
            assert_generic(own.generic, task, on, offer)
            limit = task.spec.placement.max_replicas
            same = [t for t in on if t.service_id == task.service_id]
            active = [t for t in same if t.desired_state <= TaskState.COMPLETE]
            assert not limit or len(active) <= limit
            published = [p.published_port for t in on if t.endpoint for p in t.endpoint.ports]
            for port in task.endpoint.ports if task.endpoint else ():
                assert published.count(port.published_port) == 1


def assert_generic(
    wished: tuple[GenericResource, ...], task: Task, on: list[Task], offer: Resources
) -> None:
    """The task has what it wished for, all of it the node's and nobody else's."""
    held = {g.kind: g.count or len(g.names) for g in task.assigned_generic}
    assert held == {g.kind: g.count for g in wished}
    for resource in offer.generic:
        of_kind = [g for t in on for g in t.assigned_generic if g.kind == resource.kind]
        names = [name for g in of_kind for name in g.names]
        assert len(names) == len(set(names))
        mine = [g for g in task.assigned_generic if g.kind == resource.kind]
        for got in mine:
            assert set(got.names) <= set(resource.names)
            if not resource.names:
                assert sum(g.count for g in of_kind) <= resource.count


@settings(max_examples=100)
@given(st.integers(1, 9), st.integers(0, 60), st.randoms(use_true_random=False))
def test_spread_is_even_and_the_order_of_equal_nodes_does_not_matter(
    nodes: int, replicas: int, shuffle: Any
) -> None:
    listed = [{"name": f"node-{number}"} for number in range(nodes)]
    document = {"nodes": listed, "services": [{"name": "web", "replicas": replicas}]}
    first = sorted(parse_plan(document).run().counts("web").values())
    assert first[-1] - first[0] <= 1 and sum(first) == replicas
    shuffle.shuffle(listed)
    assert sorted(parse_plan(document).run().counts("web").values()) == first


@settings(max_examples=60)
@given(st.data())
def test_rejections_name_exactly_the_nodes_that_fail(data: st.DataObject) -> None:
    world = World(data.draw)
    nodes = list(world.reference.nodes.values())
    spec, endpoint = world.services[0]
    task = Task("t", "s", spec, spec_version=1, slot=1, state=TaskState.PENDING, endpoint=endpoint)
    made = plan(nodes, [], existing=[task])
    expected: dict[str, list[str]] = {}
    for node in nodes:
        name = world.reference.rejected_by(node, task)
        if name is not None:
            expected.setdefault(name, []).append(node.hostname)
    if made.assignments:
        assert len(nodes) > sum(map(len, expected.values()))
    else:
        rejections = made.pending[0].rejections
        found = {key: [r.node for r in nodes] for key, nodes in rejections.items()}
        assert found == expected
        assert all(r.missing for rejected in rejections.values() for r in rejected)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=8),
    st.integers(0, 30),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_spread_is_within_one_task_of_even_whenever_capacity_allows(
    made: list[tuple[int, int]], replicas: int, over_racks: bool, shuffle: Any
) -> None:
    """Whoever has two tasks less than another is full; and the order of equal nodes is no matter.

    With a preference this holds between racks, and within each rack between its nodes.
    """
    listed: list[dict[str, Any]] = [
        {"name": f"n{number}", "cpus": cpus, "labels": {"rack": str(rack)}}
        for number, (rack, cpus) in enumerate(made)
    ]
    service: dict[str, Any] = {"name": "web", "replicas": replicas, "reserve_cpu": 1}
    if over_racks:
        service["preferences"] = ["spread=node.labels.rack"]

    def placed() -> list[tuple[str, int, int]]:
        answer = parse_plan({"nodes": listed, "services": [service]}).run()
        counts = answer.counts("web")
        rows = [(n["labels"]["rack"], n["cpus"], counts[n["name"]]) for n in listed]
        assert sum(counts.values()) == min(replicas, sum(cpus for _, cpus in made))
        assert len(answer.pending) == replicas - sum(counts.values())
        return sorted(rows)

    def assert_level(rows: list[tuple[int, int]]) -> None:
        for capacity, tasks in rows:
            assert tasks <= capacity
            assert tasks == capacity or all(other <= tasks + 1 for _, other in rows)

    rows = placed()
    racks = dict.fromkeys(rack for rack, _, _ in rows)
    parts = [[(c, t) for r, c, t in rows if r == rack] for rack in racks]
    if over_racks:
        for part in parts:
            assert_level(part)
        assert_level([(sum(c for c, _ in part), sum(t for _, t in part)) for part in parts])
    else:
        assert_level([(capacity, tasks) for _, capacity, tasks in rows])
    shuffle.shuffle(listed)
    totals = sorted(sum(t for _, t in part) for part in parts)
    again = placed()
    if over_racks:
        others = [[(c, t) for r, c, t in again if r == rack] for rack in racks]
        assert sorted(sum(t for _, t in part) for part in others) == totals
    else:
        assert sorted(t for _, _, t in again) == sorted(t for _, _, t in rows)


KEYS = (*planfile.TOP_KEYS, *planfile.NODE_KEYS, *planfile.SERVICE_KEYS, *planfile.EXISTING_KEYS)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["512M", "1GiB", "8500:80/tcp@host", "spread=node.labels.x", "a", "global"]),
    st.sampled_from([10**400, -1, "node.id==a", "x=y", "Log/x", "linux/amd64", 10**9]),
)
ANYTHING = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "nodes": st.lists(
                st.one_of(
                    ANYTHING,
                    st.fixed_dictionaries(
                        {"name": st.sampled_from("abc")},
                        optional={key: ANYTHING for key in planfile.NODE_KEYS if key != "name"},
                    ),
                ),
                max_size=2,
            ),
            "existing": ANYTHING,
            "services": st.lists(
                st.fixed_dictionaries(
                    {"name": st.sampled_from("st")},
                    optional={key: ANYTHING for key in planfile.SERVICE_KEYS if key != "name"},
                ),
                max_size=2,
            ),
            "strategy": st.one_of(ODD, st.just("binpack")),
        },
    )
)
def test_any_document_is_read_or_refused_with_its_place(document: dict[str, Any]) -> None:
    try:
        parse_plan(document, "file")
    except InvalidArgument as error:
        assert str(error).startswith("file: ")
        assert error.details["file"] == "file"
        assert len(str(error)) < 400


class SlowBinPack(BinPack):
    """The same scores without the promise that goes with them."""

    by_shape = False


class Packing(World):
    """Two schedulers that pack: one keeps the nodes in order, one scores them all each time."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.slow = Scheduler(strategy=SlowBinPack())
        self.fast = Scheduler(strategy=BinPack())
        super().__init__(draw)

    def put_node(self, node: Node) -> None:
        self.reference.nodes[node.id] = node
        for scheduler in (self.slow, self.fast):
            scheduler.upsert_node(node)

    def put_task(self, task: Task) -> None:
        self.reference.tasks[task.id] = task
        for scheduler in (self.slow, self.fast):
            scheduler.upsert_task(task)

    def remove_task(self) -> None:
        task = self.some_task()
        if task is not None:
            del self.reference.tasks[task.id]
            self.slow.remove_task(task.id)
            self.fast.remove_task(task.id)

    def remove_node(self) -> None:
        node = self.some_node()
        if node is not None:
            del self.reference.nodes[node.id]
            self.slow.remove_node(node.id)
            self.fast.remove_node(node.id)

    def decide(self, limit: int | None = None) -> None:
        while True:
            slow, fast = self.slow.schedule(self.now), self.fast.schedule(self.now)
            assert [shown(d.new) for d in slow] == [shown(d.new) for d in fast]
            for decision in fast:
                self.put_task(decision.new)
            if not fast:
                break


@settings(max_examples=100)
@given(st.data(), st.sampled_from([64, 0]))
def test_packing_in_order_is_packing_by_looking_at_all(data: st.DataObject, slack: int) -> None:
    strategy_module = importlib.import_module("pyswarm.scheduler.strategy")
    with (
        mock.patch.object(strategy_module, "SLACK", slack),
        mock.patch.object(scheduler_module, "POOL_ENTRIES_MIN", slack),
        mock.patch.object(scheduler_module, "POOL_ENTRIES_PER_NODE", slack),
    ):
        world = Packing(data.draw)
        steps_of = [step for step in STEPS if step not in (World.remove_task, World.remove_node)]
        for _ in range(data.draw(st.integers(1, 8))):
            more = [*steps_of, Packing.remove_task, Packing.remove_node]
            for step in data.draw(st.lists(st.sampled_from(more), min_size=1, max_size=4)):
                step(world)  # type: ignore[operator]
            world.decide()
