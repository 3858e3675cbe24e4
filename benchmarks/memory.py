"""What tasks weigh: bytes a task at 100,000 placed tasks, as a leader and as a restored member.

    python benchmarks/memory.py [--tasks N] [--json]

Two workloads: tasks of 100 services, and each task of a service of its own (the service and its
spec count too). Every task has a node, a state, a message, an address on one network. Each
measurement is a process of its own. Of a leader that made the tasks in turns it is the growth of
resident memory, the history for watches included; of a member restored from a snapshot, what
Python's allocator holds. The last line is one JSON object with ``rows``.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

from pyswarm.env import Rng
from pyswarm.ids import new_id
from pyswarm.machine import Because
from pyswarm.model import (
    ContainerSpec,
    NetworkAttachment,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.store import TURN_CHANGES_MAX, Store

NODES = 1_000
WHY = Because("benchmark")


def resident() -> int:
    """Bytes of resident memory of this process (Linux)."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


def fill(store: Store, tasks: int, services: int) -> None:
    """Create services and tasks, then place the tasks, in turns."""
    rng = Rng(1)
    nodes = [new_id(rng) for _ in range(NODES)]
    network = new_id(rng)
    ids: list[str] = []
    for first in range(0, services, TURN_CHANGES_MAX):
        tx = store.begin(store.version + 1, 1.0)
        for number in range(first, min(services, first + TURN_CHANGES_MAX)):
            container = ContainerSpec("nginx", args=(f"--number={number}",))
            spec = ServiceSpec(f"service-{number}", TaskSpec(container))
            ids.append(tx.create(Service(new_id(rng), spec), WHY).id)
        store.install(tx)
    for first in range(0, tasks, TURN_CHANGES_MAX):
        tx = store.begin(store.version + 1, 2.0)
        for number in range(first, min(tasks, first + TURN_CHANGES_MAX)):
            service = tx.service(ids[number % services])
            assert service is not None
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8"
            task = Task(
                new_id(rng),
                service.id,
                service.spec.task,
                slot=number // services + 1,
                service_name=service.spec.name,
                networks=(NetworkAttachment(network, (address,)),),
            )
            tx.create(task, WHY)
        store.install(tx)
    for first in range(0, tasks, TURN_CHANGES_MAX):
        tx = store.begin(store.version + 1, 3.0)
        for task in list(store.tasks())[first : first + TURN_CHANGES_MAX]:
            node = nodes[some_node(task.slot, first, len(nodes))]
            placed = replace(task, node_id=node, state=TaskState.RUNNING, message="started")
            tx.update(placed, WHY)
        store.install(tx)


def some_node(slot: int, first: int, count: int) -> int:
    """Some node for a slot, spread evenly."""
    return (slot * 7919 + first) % count


def leader(tasks: int, services: int) -> float:
    """MiB by which a process that made the tasks has grown."""
    gc.collect()
    before = resident()
    store = Store()
    fill(store, tasks, services)
    gc.collect()
    assert store.count("task") == tasks
    return (resident() - before) / 2**20


def restored(tasks: int, services: int) -> float:
    """MiB allocated for a store that was read from a snapshot."""
    store = Store()
    fill(store, tasks, services)
    chunks = list(store.snapshot().chunks())
    del store
    gc.collect()
    tracemalloc.start()
    store = Store.restore(chunks)
    allocated = tracemalloc.get_traced_memory()[0]
    assert store.count("task") == tasks
    return allocated / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure = leader if arguments.child[1] == "leader" else restored
        print(measure(arguments.tasks, int(arguments.child[0])))
        return
    rows = []
    for services in (100, arguments.tasks):
        workload = f"{arguments.tasks} tasks of {services} services on {NODES} nodes"
        for kind in ("leader", "restored"):
            command = [sys.executable, __file__, "--tasks", str(arguments.tasks)]
            answer = subprocess.check_output([*command, "--child", str(services), kind])
            size = float(answer)
            each = size * 2**20 / arguments.tasks
            for what, value, unit in ((kind, size, "MiB"), (f"{kind}: a task", each, "bytes")):
                rows.append(
                    {"what": what, "value": round(value, 1), "unit": unit, "workload": workload}
                )
    if not arguments.json:
        for row in rows:
            print(f"{row['what']:20} {row['value']:>10} {row['unit']:6} {row['workload']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
