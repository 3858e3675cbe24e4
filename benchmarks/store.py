"""What the store costs: writing, settling, applying, reading, snapshots and their stalls.

    python benchmarks/store.py [--tasks N] [--json]

The workload: N tasks of 100 services on 1,000 nodes, written in turns of 4,096 changes as a leader
does (create; then node, state and message of each), with a watcher on all of it; every entry is
also encoded and applied on a follower in the same process. ``stall`` is the longest time that one
slice of a snapshot holds the loop up, encoding or restoring. The garbage collector stays on; its
pauses are left out of the figures and said by themselves. The last line is one JSON object with
``rows``.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from pyswarm.env import Rng
from pyswarm.ids import new_id
from pyswarm.machine import Because
from pyswarm.model import (
    ContainerSpec,
    Node,
    NodeDescription,
    Replicated,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.store import TURN_CHANGES_MAX, SnapshotReader, Store, Transaction

SERVICES, NODES = 100, 1_000
CREATE, PLACE, REPORT = Because("scale-up"), Because("place"), Because("status")


class Pauses:
    """The collector's pauses, and a clock that stands still during them."""

    def __init__(self) -> None:
        self.total = self.longest = 0.0
        self.full = 0
        self._began = 0.0
        gc.callbacks.append(self._saw)

    def _saw(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        spent = perf_counter() - self._began
        self.total += spent
        self.longest = max(self.longest, spent)
        self.full += info["generation"] == 2

    def clock(self) -> float:
        return perf_counter() - self.total


pauses = Pauses()


class World:
    """A leader, a follower, and the time that each step took."""

    def __init__(self, tasks: int) -> None:
        self.leader, self.follower = Store(), Store()
        self.watch = self.leader.watch()
        self.rng = Rng(1)
        self.tasks = tasks
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, int] = {}
        self.seen = 0
        self.settle("setup", self.setup)

    def setup(self, tx: Transaction) -> None:
        for number in range(NODES):
            description = NodeDescription(hostname=f"node-{number}")
            tx.create(Node(new_id(self.rng), description=description), CREATE)
        for number in range(SERVICES):
            container = ContainerSpec("nginx", env=(f"NUMBER={number}",), labels={"a": "b"})
            spec = ServiceSpec(f"service-{number}", TaskSpec(container), Replicated(self.tasks))
            tx.create(Service(new_id(self.rng), spec, spec_version=1), CREATE)

    def settle(self, name: str, write: Callable[[Transaction], None]) -> None:
        """One turn: write, encode, install, publish; and apply it on the follower."""
        tx = self.leader.begin(self.leader.version + 1, float(self.leader.version))
        self.timed(f"{name}: write", write, tx)
        data = self.timed(f"{name}: encode", self.leader.encode, tx)
        self.timed(f"{name}: install, publish", self.install, tx)
        self.timed(f"{name}: apply on a follower", self.follower.apply, tx.version, data)
        self.bytes[name] = self.bytes.get(name, 0) + len(data)

    def install(self, tx: Transaction) -> None:
        self.leader.install(tx)
        self.seen += sum(len(commit.changes) for commit in self.watch.take())

    def timed(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        begin = pauses.clock()
        result = function(*args)
        self.seconds[name] = self.seconds.get(name, 0.0) + pauses.clock() - begin
        return result

    def run(self) -> None:
        """Create all tasks, place them, report them running."""
        services = list(self.leader.services())
        nodes = [node.id for node in self.leader.nodes()]
        for first in range(0, self.tasks, TURN_CHANGES_MAX):
            count = min(TURN_CHANGES_MAX, self.tasks - first)
            tasks = [self.fresh(services[(first + n) % SERVICES], first + n) for n in range(count)]
            self.settle("create", lambda tx, tasks=tasks: write_all(tx, tasks))
        for name, write in (("place", place), ("report", report)):
            for ids in parts([task.id for task in self.leader.tasks()]):
                self.settle(name, lambda tx, ids=ids, write=write: write(tx, ids, nodes))

    def fresh(self, service: Service, number: int) -> Task:
        name, spec = service.spec.name, service.spec.task
        id = new_id(self.rng)
        return Task(id, service.id, spec, slot=number // SERVICES + 1, service_name=name)


def parts(ids: list[str]) -> Iterator[list[str]]:
    """What fits into a turn each."""
    for first in range(0, len(ids), TURN_CHANGES_MAX):
        yield ids[first : first + TURN_CHANGES_MAX]


def write_all(tx: Transaction, tasks: list[Task]) -> None:
    for task in tasks:
        tx.create(task, CREATE)


def place(tx: Transaction, ids: list[str], nodes: list[str]) -> None:
    for number, id in enumerate(ids):
        task = tx.task(id)
        assert task is not None
        changed = replace(
            task,
            node_id=nodes[number % NODES],
            state=TaskState.ASSIGNED,
            message="scheduler assigned task to node",
            status_at=tx.now,
        )
        tx.update(changed, PLACE)


def report(tx: Transaction, ids: list[str], nodes: list[str]) -> None:
    for id in ids:
        task = tx.task(id)
        assert task is not None
        tx.update(replace(task, state=TaskState.RUNNING, status_at=tx.now), REPORT)


def snapshot_rows(store: Store) -> Iterator[tuple[str, float, str]]:
    """Sizes and times of a snapshot, slice by slice."""
    begin = pauses.clock()
    writer = store.snapshot()
    yield "snapshot: taking the values", (pauses.clock() - begin) * 1e3, "ms"
    chunks, slices = [], writer.chunks()
    total = worst = 0.0
    while True:
        begin = pauses.clock()
        chunk = next(slices, None)
        spent = pauses.clock() - begin
        total, worst = total + spent, max(worst, spent)
        if chunk is None:
            break
        chunks.append(chunk)
    yield "snapshot: encoding in all", total, "s"
    yield "snapshot: stall (longest slice encoded)", worst * 1e3, "ms"
    yield "snapshot: size", sum(map(len, chunks)) / 2**20, "MiB"
    reader, total, worst = SnapshotReader(), 0.0, 0.0
    for chunk in chunks:
        begin = pauses.clock()
        reader.feed(chunk)
        spent = pauses.clock() - begin
        total, worst = total + spent, max(worst, spent)
    yield "restore: in all", total, "s"
    yield "restore: stall (longest slice)", worst * 1e3, "ms"
    assert reader.finish().digest() == store.digest()


def read_rows(store: Store) -> Iterator[tuple[str, float, str]]:
    """Single questions, in microseconds."""
    service, node = next(store.services()), next(store.nodes())
    task = next(store.tasks())
    tx = store.fork(1.0)
    tx.update(replace(task, message="changed"), REPORT)
    for label, ask in (
        ("get", lambda: store.task(task.id)),
        ("by_name", lambda: store.by_name("service", service.spec.name)),
        ("tasks_of_slot", lambda: store.tasks_of_slot(service.id, 1)),
        ("tasks_of_node", lambda: store.tasks_of_node(node.id)),
        ("tasks_of_node in a transaction", lambda: tx.tasks_of_node(node.id)),
        ("ids_with_prefix", lambda: store.ids_with_prefix("task", task.id[:6])),
    ):
        ask()
        begin = pauses.clock()
        for _ in range(2000):
            ask()
        yield f"read: {label}", (pauses.clock() - begin) / 2000 * 1e6, "µs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    arguments = parser.parse_args()
    world = World(arguments.tasks)
    world.run()
    workload = f"{arguments.tasks} tasks, {SERVICES} services, {NODES} nodes"
    found = [
        (f"{name} a task", seconds / arguments.tasks * 1e6, "µs")
        for name, seconds in world.seconds.items()
        if not name.startswith("setup")
    ]
    found += [
        (f"{name}: log form a task", size / arguments.tasks, "bytes")
        for name, size in world.bytes.items()
        if name != "setup"
    ]
    found += [*snapshot_rows(world.leader), *read_rows(world.leader)]
    found += [
        ("collector: full passes", pauses.full, "passes"),
        ("collector: all pauses", pauses.total, "s"),
        ("collector: longest pause (leader and follower in one)", pauses.longest * 1e3, "ms"),
    ]
    rows = [
        {"what": what, "value": round(value, 3), "unit": unit, "workload": workload}
        for what, value, unit in found
    ]
    if not arguments.json:
        for row in rows:
            print(f"{row['what']:55} {row['value']:>10} {row['unit']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
