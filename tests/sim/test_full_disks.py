"""Disks that fill up under a swarm: who cannot write promises nothing, and tasks run on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pyswarm.errors import SwarmError, Unavailable
from pyswarm.model import Role, TaskState, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.node.manager import Manager
from pyswarm.raft import Ready
from pyswarm.sim import Faults, Simulation
from pyswarm.sim.disk import DiskFaults
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

FILLING = Faults(
    disk_full_every_s=3.0, crash_every_s=8.0, disk=DiskFaults(stall=0.05, stall_max_s=2.0)
)


class Swarm:
    """Three managers and two workers; a service of four tasks runs on the workers."""

    def __init__(self) -> None:
        self.world = World(11)
        self.managers = [self.world.add_host(f"m{n}") for n in range(3)]
        self.workers = [self.world.add_host(f"w{n}") for n in range(2)]
        first, *others = self.managers
        self.world.found(first)
        self.until(lambda: self.world.leader() is not None)
        for host in (*others, *self.workers):
            self.world.join(host, Role.MANAGER if host in others else Role.WORKER, first)
        self.until(lambda: len(list(self.world.managers())) == 3)
        self.until(lambda: all(host.is_up for host in self.workers))
        self.world.run(8.0)
        assert self.create("web", 4) is None
        self.until(lambda: self.running("web") == 4)

    def until(self, condition: Any, seconds: float = 60.0) -> None:
        assert self.world.run_until(condition, seconds)

    @property
    def leader(self) -> Host:
        self.until(lambda: self.world.leader() is not None)
        leader = self.world.leader()
        assert leader is not None
        return leader

    def store(self) -> Store:
        assert self.leader.machine is not None
        return self.leader.machine.store

    def ask(self, host: Host, name: str, replicas: int) -> list[SwarmError | None]:
        answers: list[SwarmError | None] = []
        spec = service_spec(
            name, image="simulated", command=["run"], replicas=replicas,
            constraints=["node.role==worker"],
        )  # fmt: skip
        self.world.request(host, CreateService(spec), lambda _, error: answers.append(error))
        return answers

    def create(self, name: str, replicas: int) -> SwarmError | None:
        answers = self.ask(self.leader, name, replicas)
        self.until(lambda: bool(answers))
        return answers[0]

    def running(self, name: str) -> int:
        store = self.store()
        [service] = [one for one in store.services() if one.spec.name == name]
        tasks = [task for task in store.tasks() if task.service_id == service.id]
        return sum(task.state is TaskState.RUNNING for task in tasks)

    def held(self) -> list[str]:
        executors = [host.executor for host in self.workers]
        return sorted(id for one in executors if one is not None for id in one.running)


def test_the_leaders_disk_is_full() -> None:
    """It hands the office over, what it was asked is not lost, and it comes back."""
    swarm = Swarm()
    lost = swarm.leader
    lost.disk.is_full = True
    answers = swarm.ask(lost, "more", 2)
    swarm.until(lambda: bool(answers))
    swarm.until(lambda: swarm.world.leader() not in (None, lost))
    assert answers[0] is None or isinstance(answers[0], Unavailable)
    assert swarm.create("after", 1) is None
    assert lost.machine is not None and lost.machine.manager is not None
    assert lost.machine.manager.disk_error == "no space left on device"
    durable = lost.disk.last_index
    swarm.world.run(10.0)
    assert lost.disk.last_index == durable
    lost.disk.is_full = False
    swarm.until(lambda: lost.disk.last_index >= swarm.store().version)
    assert lost.machine.manager.disk_error == ""
    assert {host.machine.store.digest() for host in swarm.managers if host.machine} == {
        swarm.store().digest()
    }


def test_all_managers_disks_are_full() -> None:
    """Management is refused by name, tasks run on, and all goes on when there is room again."""
    swarm = Swarm()
    before = swarm.held()
    for host in swarm.managers:
        host.disk.is_full = True
    first = swarm.ask(swarm.leader, "refused", 1)
    swarm.until(lambda: bool(first))
    assert isinstance(first[0], Unavailable)
    swarm.until(lambda: swarm.world.leader() is None)
    swarm.world.run(60.0)
    assert swarm.world.leader() is None
    full = swarm.world.hosts["m0"]
    answers = swarm.ask(full, "refused too", 1)
    swarm.until(lambda: bool(answers))
    error = answers[0]
    assert isinstance(error, Unavailable) and "does not have a leader" in str(error)
    assert swarm.held() == before and len(before) == 4
    for host in swarm.managers:
        host.disk.is_full = False
    swarm.until(lambda: swarm.world.leader() is not None)
    assert swarm.create("accepted", 1) is None
    swarm.until(lambda: swarm.running("accepted") == 1)
    assert swarm.held()[:4] != [] and set(before) <= set(swarm.held())


def test_a_workers_disk_is_full() -> None:
    """Its tasks run on, new ones start; what could not be noted is told by the manager anew."""
    swarm = Swarm()
    before = swarm.held()
    for host in swarm.workers:
        host.disk.is_full = True
    assert swarm.create("more", 4) is None
    swarm.until(lambda: swarm.running("more") == 4)
    assert set(before) < set(swarm.held())
    for host in swarm.workers:
        assert len(host.disk.tasks) < len(swarm.held())
        swarm.world.crash(host)
        swarm.world.start(host)
    swarm.until(lambda: swarm.running("web") == 4 and swarm.running("more") == 4, 120.0)
    for host in swarm.workers:
        host.disk.is_full = False
    swarm.world.run(20.0)
    assert len(swarm.held()) == 8


@pytest.mark.parametrize("workload", ["mixed", "life", "members"])
@pytest.mark.parametrize("seed", range(3))
def test_histories(workload: str, seed: int) -> None:
    history = Simulation(seed, faults=FILLING, workload=workload).run(40.0)
    assert not history.violations
    assert history.faults["disks filled"] > 0


# -- bugs that are put in on purpose are found


def found(seeds: range = range(3)) -> set[str]:
    seen: set[str] = set()
    for seed in seeds:
        history = Simulation(seed, workers=2, faults=FILLING).run(20.0)
        seen |= {one.invariant for one in history.violations}
    return seen


def test_a_promise_before_the_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = Manager._submit

    def hasty(self: Manager, readies: Iterable[Ready]) -> None:
        for ready in (batch := list(readies)):
            self._post(ready.messages_after_sync)
        submit(self, batch)

    monkeypatch.setattr(Manager, "_submit", hasty)
    assert "promises are on disk" in found()


def test_a_leader_that_stays_in_office_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def stay(self: Manager, error: str, is_final: bool) -> None:
        self.disk_error = error
        self._retry_disk_at = self._now + 1.0

    monkeypatch.setattr(Manager, "_refused", stay)
    assert "full disks do not lead" in found()
