"""What rolling updates and crash loops cost: turns, log bytes, virtual and real time.

    python benchmarks/update.py [--tasks N] [--json]

The workload: a simulated swarm of 3 managers and 20 workers (one process, one core, virtual time:
the real decisions, sessions, agents and log entries; simulated network, disks and programs that
take 0.2 s to prepare, 0.05 s to start and 0.3 s to stop at most). N = 1,000 tasks of one service
are updated at parallelism 10 and 0 (all at once); then 1,000 tasks that crash a second after their
start are restarted for a minute (delay 5 s). Turns are entries of the leader's log; real time is
all of it: three managers, twenty agents and the simulator itself. Collector pauses are said.
"""

from __future__ import annotations

import argparse
import gc
import json
from time import perf_counter
from typing import Any

from pyswarm.machine import Effect
from pyswarm.model import Role, Service, TaskState, UpdateState, service_spec
from pyswarm.model.requests import CreateService, UpdateService
from pyswarm.node import PersistLog
from pyswarm.runtime.front.changes import changed
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

MANAGERS, WORKERS = 3, 20
LIMIT_S = 4 * 3600.0
CRASHES_S = 60.0


class Swarm:
    """The simulated swarm, and what its leader writes."""

    def __init__(self) -> None:
        self.world = World(7)
        hosts = [self.world.add_host(f"node-{n}") for n in range(1, MANAGERS + WORKERS + 1)]
        self.first = hosts[0]
        self.turns = self.bytes = 0
        self.world.observers.append(self._observe)
        self.world.found(self.first)
        self.wait(lambda: self.world.leader() is not None)
        for number, host in enumerate(hosts[1:], 2):
            role = Role.MANAGER if number <= MANAGERS else Role.WORKER
            self.world.join(host, role, self.first)
        self.wait(lambda: all(host.is_up for host in hosts))
        self.world.run(20.0)

    def _observe(self, now: float, host: Host, effect: Effect) -> None:
        if isinstance(effect, PersistLog) and host is self.world.leader():
            for entry in effect.ready.entries:
                self.turns += 1
                self.bytes += len(entry.data)

    @property
    def store(self) -> Store:
        leader = self.world.leader()
        assert leader is not None and leader.machine is not None
        return leader.machine.store

    @property
    def service(self) -> Service:
        (service,) = self.store.services()
        return service

    def wait(self, condition: Any) -> None:
        assert self.world.run_until(condition, LIMIT_S), "it took longer than four hours"

    def ask(self, body: Any) -> None:
        answers: list[Any] = []
        leader = self.world.leader()
        assert leader is not None
        self.world.request(leader, body, lambda value, error: answers.append(error))
        self.wait(lambda: bool(answers))
        assert answers == [None]

    def update(self, **changes: Any) -> None:
        service = self.service
        self.ask(UpdateService(service.id, service.version, changed(service.spec, changes)))

    def running(self) -> int:
        return sum(task.state is TaskState.RUNNING for task in self.store.tasks())


class Measured:
    """Virtual and real seconds, turns and bytes of a block; the collector's pauses apart."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.paused = self._began = 0.0

    def __enter__(self) -> Measured:
        gc.collect()
        gc.callbacks.append(self._saw)
        self._from = (self.swarm.world.now, perf_counter(), self.swarm.turns, self.swarm.bytes)
        return self

    def __exit__(self, *_: object) -> None:
        now, real, turns, written = self._from
        gc.callbacks.remove(self._saw)
        self.virtual_s = self.swarm.world.now - now
        self.real_s = perf_counter() - real
        self.turns = self.swarm.turns - turns
        self.bytes = self.swarm.bytes - written

    def _saw(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
        else:
            self.paused += perf_counter() - self._began

    def rows(self, workload: str) -> list[dict[str, Any]]:
        figures = [
            ("virtual time", self.virtual_s, "s"),
            ("real time", self.real_s, "s"),
            ("collector pauses", self.paused, "s"),
            ("turns", self.turns, "entries"),
            ("log", self.bytes, "bytes"),
            ("turns a virtual second", self.turns / max(self.virtual_s, 1e-9), "1/s"),
            ("log a virtual second", self.bytes / max(self.virtual_s, 1e-9), "bytes/s"),
        ]
        return [
            {"what": what, "value": round(value, 4), "unit": unit, "workload": workload}
            for what, value, unit in figures
        ]


def update_rows(tasks: int) -> list[dict[str, Any]]:
    swarm = Swarm()
    spec = service_spec(
        "web", image="simulated", command=["run"], replicas=tasks, update_monitor=5.0
    )
    with Measured(swarm) as measured:
        swarm.ask(CreateService(spec))
        swarm.world.run_until(lambda: _settled(swarm, tasks), LIMIT_S)
    rows = measured.rows(f"create a service of {tasks} tasks, until all run")
    for parallelism in (10, 0):
        with Measured(swarm) as measured:
            swarm.update(env_add=f"P={parallelism}", parallelism=parallelism)
            swarm.wait(lambda: _is_completed(swarm))
        words = f"parallelism {parallelism}" if parallelism else "all at once"
        rows += measured.rows(f"update of {tasks} tasks, {words}, stop-first, monitor 5 s")
        rows.append(
            {
                "what": "log per task",
                "value": round(measured.bytes / tasks, 1),
                "unit": "bytes",
                "workload": rows[-1]["workload"],
            }
        )
    return rows


def _settled(swarm: Swarm, tasks: int) -> bool:
    return swarm.store.count("task") >= tasks and swarm.running() == tasks


def _is_completed(swarm: Swarm) -> bool:
    services = list(swarm.store.services())
    status = services[0].update_status if services else None
    return status is not None and status.state is UpdateState.COMPLETED


def crash_rows(tasks: int) -> list[dict[str, Any]]:
    swarm = Swarm()
    command = ["exit", "1", "1.0"]
    swarm.ask(
        CreateService(service_spec("web", image="simulated", command=command, replicas=tasks))
    )
    swarm.world.run(12.0)
    with Measured(swarm) as measured:
        swarm.world.run(CRASHES_S)
    kept = swarm.store.count("task")
    workload = f"{tasks} tasks that crash 1 s after their start, restart delay 5 s, {CRASHES_S:g} s"
    rows = measured.rows(workload)
    rows.append({"what": "tasks kept", "value": kept, "unit": "tasks", "workload": workload})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="only the last line")
    options = parser.parse_args()
    rows = [*update_rows(options.tasks), *crash_rows(options.tasks)]
    if not options.json:
        workload = ""
        for row in rows:
            if row["workload"] != workload:
                workload = row["workload"]
                print(f"\n{workload}")
            print(f"  {row['what']:24} {row['value']:>14,} {row['unit']}")
    print(json.dumps({"benchmark": "update", "rows": rows}))


if __name__ == "__main__":
    main()
