"""What a leader costs while nothing much happens: 100,000 running tasks, idle and reporting.

One manager's machine with a log in memory and sessions to its nodes. Measured in CPU time: a tick
with nothing to do, a heartbeat, and a turn that records status reports. None may depend on how
many tasks there are, so everything is measured with few tasks first. The longest garbage collection
is said.

    python benchmarks/steady.py [--tasks 100000] [--nodes 1000] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any

from lone_leader import LoneLeader, description

from pyswarm.machine import Because
from pyswarm.model import (
    Identity,
    Node,
    NodeSpec,
    NodeState,
    Role,
    Service,
    Task,
    TaskState,
    TaskStatus,
    service_spec,
)
from pyswarm.model.requests import SetNodeStates
from pyswarm.model.session import Heartbeat, OpenSession, ReportStatus, SessionOpened
from pyswarm.store import Transaction

SERVICES = 100
FEW = 1_000
WHY = Because("benchmark")
REPORTS = 1_000

Rows = list[dict[str, object]]


class Steady:
    """A leader whose store was filled with running tasks, and its nodes' sessions."""

    def __init__(self, tasks: int, nodes: int) -> None:
        self.leader = LoneLeader()
        self.nodes = [f"node-w{number}" for number in range(nodes)]
        self.tasks = tasks
        self.sessions: dict[str, str] = {}
        self._version = 0
        self._sequence = 0
        self.leader.fill(self._write)
        self.settle()
        for node_id in self.nodes:
            self.open(node_id)
        self.settle()

    def _write(self, tx: Transaction) -> None:
        for number, node_id in enumerate(self.nodes):
            name = f"w{number}"
            spec = NodeSpec(desired_role=Role.WORKER)
            node = Node(id=node_id, spec=spec, description=description(name), addr=name)
            tx.create(node, WHY)
        each = self.tasks // SERVICES
        for number in range(SERVICES):
            spec = service_spec(f"service-{number}", image="web", replicas=each)
            service = Service(id=f"service-{number}", spec=spec, spec_version=tx.version)
            tx.create(service, WHY)
            for slot in range(1, each + 1):
                place = number * each + slot - 1
                tx.create(
                    Task(
                        id=f"task-{place}",
                        service_id=service.id,
                        service_name=spec.name,
                        slot=slot,
                        node_id=self.nodes[place % len(self.nodes)],
                        spec=spec.task,
                        spec_version=tx.version,
                        desired_state=TaskState.RUNNING,
                        state=TaskState.RUNNING,
                        running_at=tx.now,
                    ),
                    WHY,
                )

    def settle(self) -> None:
        """Until nothing is under way."""
        self.leader.tick(0.0)
        while not self.leader.office.is_idle:
            self.leader.tick(0.001)

    def keep_alive(self) -> None:
        """Every node is heard, so that none is silent for too long while others are measured."""
        for node_id in self.nodes:
            self.heartbeat(node_id)

    def open(self, node_id: str) -> None:
        """The node's agent opens its session."""
        leader = self.leader
        addr = node_id.removeprefix("node-")
        leader.says(self.identity(node_id), addr, OpenSession("", description(addr)))
        for effect in leader.sent:
            if isinstance(effect.message, SessionOpened):
                self.sessions[effect.node_id] = effect.message.session_id
        leader.sent.clear()

    def identity(self, node_id: str) -> Identity:
        """As its certificate says."""
        return Identity(node_id, Role.WORKER, "swarm")

    def heartbeat(self, node_id: str) -> None:
        """One heartbeat."""
        addr = node_id.removeprefix("node-")
        self.leader.says(self.identity(node_id), addr, Heartbeat(self.sessions[node_id]))
        self.leader.sent.clear()

    def report(self, first: int, count: int) -> None:
        """``count`` reports of one status each, all in one turn."""
        self._sequence += 1
        if count > 1:
            self.leader.hold_disk()
            self.heartbeat(self.nodes[0])
            self.leader.office.do(SetNodeStates(((self.nodes[0], NodeState.READY, f"{first}"),)))
            self.leader.tick(0.0)  # this turn is in flight while the reports come
        for place in range(first, first + count):
            number = place % self.tasks
            node_id = self.nodes[number % len(self.nodes)]
            status = TaskStatus(
                state=TaskState.RUNNING, message=f"healthy {self._sequence}", at=self.leader.now
            )
            message = ReportStatus(
                self.sessions[node_id], self._sequence, ((f"task-{number}", status),)
            )
            self.leader.says(self.identity(node_id), node_id.removeprefix("node-"), message)
        if count > 1:
            self.leader.release_disk()
        self.settle()
        self.leader.sent.clear()


def each(steady: Steady, work: Callable[[int], None], times: int) -> float:
    """CPU µs of one of ``times``."""
    steady.keep_alive()
    start = process_time()
    for number in range(times):
        work(number)
    return (process_time() - start) / times * 1e6


@contextmanager
def pauses(found: list[float]) -> Iterator[None]:
    """How long each garbage collection took."""
    began = 0.0

    def note(phase: str, info: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            found.append(perf_counter() - began)

    gc.callbacks.append(note)
    yield
    gc.callbacks.remove(note)


def measure(tasks: int, nodes: int) -> dict[str, float]:
    """The figures of one size."""
    steady = Steady(tasks, nodes)
    names = steady.nodes
    found: list[float] = []
    with pauses(found):
        figures = {
            "tick with nothing to do": each(steady, lambda _: steady.leader.tick(), 200),
            "heartbeat": each(steady, lambda place: steady.heartbeat(names[place % nodes]), 5000),
            "status report, recorded in a turn of its own": each(
                steady, lambda place: steady.report(place * 7, 1), 200
            ),
            f"status report, {REPORTS} at once": each(
                steady, lambda place: steady.report(place * REPORTS, REPORTS), 5
            )
            / REPORTS,
        }
    down = [node.id for node in steady.leader.machine.store.nodes() if not is_up(node)]
    assert not down, f"{len(down)} nodes are down: something else was measured"
    figures["longest garbage collection"] = max(found, default=0.0) * 1e6
    return figures


def is_up(node: Node) -> bool:
    """Whether the node's session lives; the manager's own has no executor behind it here."""
    return node.state is NodeState.READY or node.role is Role.MANAGER


def main() -> None:
    """Run it and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    rows: Rows = []
    for tasks in (FEW, options.tasks):
        workload = f"{tasks} running tasks of {SERVICES} services on {options.nodes} nodes"
        for what, value in measure(tasks, options.nodes).items():
            rows.append(
                {"what": what, "value": round(value, 2), "unit": "us", "workload": workload}
            )
    if not options.json:
        for row in rows:
            print(f"{row['value']:>10} {row['unit']:<3} {row['what']} ({row['workload']})")
    print(json.dumps({"benchmark": "steady", "rows": rows}))


if __name__ == "__main__":
    main()
