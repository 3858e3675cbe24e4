"""What placing costs: tasks that wait in the store, until each is ASSIGNED, committed, published.

    python benchmarks/scheduler.py [--nodes N --tasks M [--services S] [--constraints]] [--json]

The workload is that of SwarmKit's own benchmark: N ready nodes without reservations, M tasks, each
of a service of its own (or shared out over S services). A third of the nodes has a network plugin
that the tasks need with ``--constraints``. The clock starts when the tasks are in the store and
runs through turns of the usual budget until all are committed and a watcher has the changes; the
nodes were known before; ``cpu_s`` is the time of the CPU, which is less where the machine was busy
with something else. Without ``--nodes`` a set of rows is measured, further ones among them.
The last line is one JSON object with ``rows``; ``full_collections`` counts full passes of the
garbage collector that fell inside (its pauses are part of the time).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from time import perf_counter, process_time
from typing import Any

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model.objects import Network, NetworkAttachment, Node, NodeDescription, Plugin, Task
from pyswarm.model.replace import replace
from pyswarm.model.resources import NANO, ResourceRequirements, Resources
from pyswarm.model.specs import NetworkSpec, NodeSpec, Placement, Preference, TaskSpec
from pyswarm.model.states import NodeState, TaskState
from pyswarm.orchestrator.place import Placer
from pyswarm.scheduler import BinPack, Explainer, Scheduler
from pyswarm.store import Store

NOW = 1_000_000.0
WHY = Because("benchmark")
PLAIN = TaskSpec()
# SwarmKit (Go) on a machine of this size, seconds by (nodes, tasks, services, constraints).
SWARMKIT = {
    (1_000, 1_000, 0, False): 0.22,
    (1_000, 10_000, 0, False): 1.93,
    (1_000, 100_000, 0, False): 25.0,
    (100_000, 1_000, 0, False): 33.0,
    (1_000, 10_000, 0, True): 2.3,
    (5_000, 100_000, 0, True): 114.0,
    (1_000, 10_000, 100, False): 0.74,
    (1_000, 100_000, 100, False): 9.0,
}

Row = dict[str, Any]


class Collections:
    """Full garbage collections while it is open."""

    def __enter__(self) -> Collections:
        self.count = 0
        gc.callbacks.append(self._saw)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._saw)

    def _saw(self, phase: str, info: dict[str, int]) -> None:
        self.count += phase == "start" and info["generation"] == 2


class World:
    """A store with nodes, a placer that knows them, and a watcher."""

    def __init__(self, nodes: int, *, plugin: bool = False, levels: int = 0, cpus: int = 0) -> None:
        self.store = Store()
        self.version = 0
        tx = self.begin()
        if plugin:
            spec = NetworkSpec("weave", driver="weave")
            tx.create(Network("weave", spec, driver_state={"name": "weave"}), WHY)
        for number in range(nodes):
            tx.create(_node(number, plugin and number % 3 == 0, levels, cpus), WHY)
        self.store.install(tx)
        self.placer = Placer.rebuild(self.store, NOW)
        self.watch = self.store.watch()

    def begin(self) -> Any:
        self.version += 1
        return self.store.begin(self.version, NOW + self.version)

    def add(self, tasks: list[Task]) -> list[Any]:
        """Put tasks into the store; the changes of it."""
        tx = self.begin()
        for task in tasks:
            tx.create(task, WHY)
        changes = list(self.store.install(tx).changes)
        self.watch.take()
        return changes

    def settle(self, changed: list[Any]) -> int:
        """Turns until nothing is left to do; how many."""
        turns = 0
        rng = Rng(1)
        while True:
            tx = self.begin()
            seen = 0
            while True:
                self.placer.reconcile(tx, changed, tx.now, rng)
                changed = tx.changes_since(seen)
                seen = tx.mark()
                if not changed:
                    break
            self.store.install(tx)
            self.watch.take()
            turns += 1
            if self.placer.wake_at() is None:
                return turns

    def timed(self, changed: list[Any]) -> tuple[float, float, int, int]:
        """Seconds on the clock and of the CPU, turns and full collections of settling."""
        gc.collect()
        with Collections() as full:
            start, cpu = perf_counter(), process_time()
            turns = self.settle(changed)
            took, used = perf_counter() - start, process_time() - cpu
        return took, used, turns, full.count

    def assigned(self) -> int:
        return sum(task.state is TaskState.ASSIGNED for task in self.store.tasks())


def _node(number: int, plugin: bool, levels: int, cpus: int) -> Node:
    values = (number % 3, number // 3 % 10, number // 30 % 10)
    labels = {f"level{level}": f"v{values[level]}" for level in range(levels)}
    plugins = (Plugin("Network", "weave"),) if plugin else (Plugin("Network", "other"),)
    return Node(
        f"node{number:06}",
        NodeSpec(labels=labels),
        state=NodeState.READY,
        description=NodeDescription(
            f"host{number}", resources=Resources(cpus * NANO, 64 << 30), plugins=plugins
        ),
    )


def make_tasks(
    number: int, services: int, spec: TaskSpec | None = None, *, plugin: bool = False, base: int = 0
) -> list[Task]:
    """Pending tasks; ``services`` 0: each its own service with a spec of its own."""
    networks = (NetworkAttachment("weave"),) if plugin else ()
    return [
        Task(
            f"task{base + at:07}",
            f"service{base + (at % services if services else at)}",
            spec or (PLAIN if services else TaskSpec()),
            spec_version=1,
            slot=at // services + 1 if services else 1,
            state=TaskState.PENDING,
            networks=networks,
        )
        for at in range(number)
    ]


def swarmkit_row(nodes: int, tasks: int, services: int, plugin: bool) -> Row:
    world = World(nodes, plugin=plugin)
    changes = world.add(make_tasks(tasks, services, plugin=plugin))
    took, cpu, turns, full = world.timed(changes)
    assert world.assigned() == tasks
    kind = f"{services} services" if services else "distinct services"
    need = ", needing a plugin of a third of the nodes" if plugin else ""
    row: Row = {
        "what": f"place {tasks} tasks on {nodes} nodes",
        "value": round(took, 4),
        "unit": "s",
        "workload": f"{kind}{need}; decided, committed, published in {turns} turns",
        "us_per_task": round(took / tasks * 1e6, 2),
        "cpu_s": round(cpu, 4),
        "full_collections": full,
    }
    peer = SWARMKIT.get((nodes, tasks, services, plugin))
    if peer:
        row |= {"swarmkit_s": peer, "times_faster": round(peer / took, 1)}
    return row


def group_row(what: str, world: World, tasks: list[Task], workload: str) -> Row:
    took, cpu, turns, full = world.timed(world.add(tasks))
    return {
        "what": what,
        "value": round(took, 4),
        "unit": "s",
        "workload": f"{workload}; {turns} turns",
        "us_per_task": round(took / len(tasks) * 1e6, 2),
        "cpu_s": round(cpu, 4),
        "full_collections": full,
    }


def one_service_rows() -> list[Row]:
    rows = []
    for nodes in (1_000, 100_000):
        what = f"one service of 100000 replicas on {nodes} nodes"
        rows.append(group_row(what, World(nodes), make_tasks(100_000, 1), "no reservations"))
    return rows


def preferences_row() -> Row:
    preferences = tuple(Preference(f"node.labels.level{level}") for level in range(3))
    spec = TaskSpec(placement=Placement(preferences=preferences))
    what = "10000 replicas spread over 3 levels (3 × 10 × 10 branches)"
    return group_row(what, World(1_000, levels=3), make_tasks(10_000, 1, spec), "1000 nodes")


def reservations_row() -> Row:
    sizes = (NANO // 2, NANO, 2 * NANO)
    tasks = [
        replace(task, spec=TaskSpec(resources=ResourceRequirements(reservations=Resources(size))))
        for at, task in enumerate(make_tasks(9_000, 0))
        for size in (sizes[at % 3],)
    ]
    world = World(1_000, cpus=11)
    what = "9000 reservations that nearly fill the cluster"
    row = group_row(what, world, tasks, "1000 nodes of 11 CPUs, 10500 CPUs reserved in three sizes")
    row["workload"] += f"; {world.assigned()} fit"
    return row


def failure_row() -> Row:
    """A tenth of the nodes goes down; their tasks end and get successors."""
    world = World(1_000)
    world.settle(world.add(make_tasks(10_000, 100)))
    tx = world.begin()
    mark, successors = tx.mark(), []
    for node in list(tx.nodes())[::10]:
        tx.update(replace(node, state=NodeState.DOWN), WHY)
        for task in tx.tasks_of_node(node.id):
            ended = replace(task, state=TaskState.ORPHANED, desired_state=TaskState.SHUTDOWN)
            tx.update(ended, WHY)
            successors.append(replace(task, id=f"{task.id}b", node_id="", state=TaskState.PENDING))
    for task in successors:
        tx.create(task, WHY)
    changes = tx.changes_since(mark)
    world.store.install(tx)
    took, cpu, turns, full = world.timed(changes)
    return {
        "what": "10 % of 1000 nodes fail at once",
        "value": round(took, 4),
        "unit": "s",
        "workload": f"{len(successors)} of 10000 tasks of 100 services move; {turns} turns",
        "us_per_task": round(took / len(successors) * 1e6, 2),
        "cpu_s": round(cpu, 4),
        "full_collections": full,
    }


def single_row() -> Row:
    """One more task in a full cluster; the median of many."""
    world = World(100_000)
    world.settle(world.add(make_tasks(100_000, 0)))
    times = []
    for at in range(101):
        changes = world.add(make_tasks(1, 0, base=1_000_000 + at))
        start = perf_counter()
        world.settle(changes)
        times.append(perf_counter() - start)
    times.sort()
    return {
        "what": "a single task placed among 100000 nodes and 100000 tasks",
        "value": round(times[50] * 1e3, 4),
        "unit": "ms",
        "workload": f"median of 101, slowest {times[-1] * 1e3:.3f} ms; a turn each",
        "full_collections": 0,
    }


def memory_rows() -> list[Row]:
    """What the scheduler itself keeps; nodes and tasks belong to the store."""
    number = 20_000
    nodes = [_node(at, False, 0, 0) for at in range(number)]
    tasks = make_tasks(number, 100)
    gc.collect()
    tracemalloc.start()
    scheduler = Scheduler()
    for node in nodes:
        scheduler.upsert_node(node)
    after_nodes = tracemalloc.get_traced_memory()[0]
    for task in tasks:
        scheduler.upsert_task(task)
    decisions = scheduler.schedule(NOW)
    made = [decision.new for decision in decisions]
    del decisions
    gc.collect()
    with_tasks = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    task_bytes = sys.getsizeof(made[0]) + 24  # the new tasks themselves belong to the store
    each = (with_tasks - after_nodes) / number - task_bytes
    load = f"{number} nodes, {number} tasks of 100 services"
    return [
        {"what": "memory per node", "value": round(after_nodes / number), "unit": "B",
         "workload": load, "full_collections": 0},
        {"what": "memory per task", "value": round(each), "unit": "B",
         "workload": f"{load}; besides the task", "full_collections": 0},
    ]  # fmt: skip


def decide_row(nodes: int, tasks: int) -> Row:
    """The scheduler alone: no store."""
    scheduler = Scheduler()
    for number in range(nodes):
        scheduler.upsert_node(_node(number, False, 0, 0))
    waiting = make_tasks(tasks, 0)
    gc.collect()
    with Collections() as full:
        start = perf_counter()
        for task in waiting:
            scheduler.upsert_task(task)
        scheduler.schedule(NOW)
        took = perf_counter() - start
    return {
        "what": f"decide {tasks} tasks on {nodes} nodes, no store",
        "value": round(took, 4),
        "unit": "s",
        "workload": "distinct services",
        "us_per_task": round(took / tasks * 1e6, 2),
        "full_collections": full.count,
    }


def binpack_row() -> Row:
    """The other strategy, which goes by what is left of a node."""
    scheduler = Scheduler(strategy=BinPack())
    for number in range(10_000):
        scheduler.upsert_node(_node(number, False, 0, 16))
    spec = TaskSpec(resources=ResourceRequirements(reservations=Resources(NANO)))
    for task in make_tasks(100_000, 0, spec):
        scheduler.upsert_task(task)
    gc.collect()
    with Collections() as full:
        start = perf_counter()
        decided = scheduler.schedule(NOW)
        took = perf_counter() - start
    assert all(decision.placed for decision in decided)
    return {
        "what": "binpack: decide 100000 tasks on 10000 nodes, no store",
        "value": round(took, 4),
        "unit": "s",
        "workload": "distinct services, a CPU each; 16 CPUs a node",
        "us_per_task": round(took / 100_000 * 1e6, 2),
        "full_collections": full.count,
    }


def retry_row() -> Row:
    """10,000 tasks wait for what no node has, while others come and go."""
    world = World(1_000, cpus=4)
    large = TaskSpec(resources=ResourceRequirements(reservations=Resources(8 * NANO)))
    world.settle(world.add(make_tasks(10_000, 100, large)))
    with Collections() as full:
        start = perf_counter()
        for at in range(100):
            world.settle(world.add(make_tasks(1, 0, base=1_000_000 + at)))
        took = perf_counter() - start
    return {
        "what": "a turn beside 10000 tasks that wait",
        "value": round(took / 100 * 1e3, 4),
        "unit": "ms",
        "workload": "1000 nodes; a task of another service created and placed, mean of 100 turns",
        "full_collections": full.count,
    }


def explain_row() -> Row:
    """Why a hundred tasks of a service are where they are."""
    world = World(1_000)
    world.settle(world.add(make_tasks(10_000, 100)))
    tasks = world.store.tasks_of_service("service0")[:100]
    with Collections() as full:
        start = perf_counter()
        explainer = Explainer(Placer.rebuild(world.store, NOW).scheduler)
        for task in tasks:
            explainer.explain(task)
        took = perf_counter() - start
    return {
        "what": "explain 100 placed tasks of a service",
        "value": round(took * 1e3, 4),
        "unit": "ms",
        "workload": "1000 nodes, 10000 tasks of 100 services; from the store alone",
        "full_collections": full.count,
    }


def write_row(tasks: int) -> Row:
    """Writing the assignments alone: what no scheduler could save."""
    world = World(0)
    changes = world.add(make_tasks(tasks, 0))
    gc.collect()
    with Collections() as full:
        start = perf_counter()
        for at in range(0, tasks, 4096):
            tx = world.begin()
            for change in changes[at : at + 4096]:
                new = replace(change.new, node_id="n", state=TaskState.ASSIGNED, status_at=NOW)
                tx.update(new, WHY)
            world.store.install(tx)
            world.watch.take()
        took = perf_counter() - start
    return {
        "what": f"write {tasks} assignments, deciding nothing",
        "value": round(took, 4),
        "unit": "s",
        "workload": "distinct services; committed and published in turns of 4096",
        "us_per_task": round(took / tasks * 1e6, 2),
        "full_collections": full.count,
    }


def all_rows() -> list[Row]:
    rows = [swarmkit_row(*key) for key in SWARMKIT]
    rows.append(swarmkit_row(100_000, 100_000, 0, False))
    rows += one_service_rows()
    rows += [preferences_row(), reservations_row(), failure_row(), single_row()]
    rows += [decide_row(1_000, 100_000), write_row(100_000)]
    rows += [binpack_row(), retry_row(), explain_row()]
    return rows + memory_rows()


def show(rows: list[Row]) -> None:
    for row in rows:
        peer = f"  {row['times_faster']:>6}× SwarmKit" if "times_faster" in row else ""
        each = f"{row['us_per_task']:>8} µs/task" if "us_per_task" in row else " " * 16
        gcs = f"  full gc: {row['full_collections']}" if row["full_collections"] else ""
        print(f"{row['what']:<60} {row['value']:>9} {row['unit']:<3}{each}{peer}{gcs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--services", type=int, default=0)
    parser.add_argument("--constraints", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.nodes is None) != (options.tasks is None):
        parser.error("--nodes and --tasks go together")
    if options.nodes is None:
        rows = all_rows()
    else:
        rows = [swarmkit_row(options.nodes, options.tasks, options.services, options.constraints)]
    if not options.json:
        show(rows)
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
