"""Many tasks at once: a few turns, and nothing that grows with time.

No clock is read: what is counted are log entries, bytes and objects.
"""

from __future__ import annotations

from typing import Any

from pyswarm.machine import Effect
from pyswarm.model import Role, TaskState, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.model.session import ReportStatus
from pyswarm.node import PersistLog, Published, SendTo
from pyswarm.sim.world import Host, World
from pyswarm.store import TURN_CHANGES_MAX, Store

TASKS = 10_000
WORKERS = 10


class Storm:
    """One manager, ten workers; every entry of the log is counted."""

    def __init__(self) -> None:
        self.world = World(3)
        self.manager = self.world.add_host("manager")
        self.workers = [self.world.add_host(f"worker-{n}") for n in range(WORKERS)]
        self.entries: list[int] = []
        self.reports: list[int] = []
        self.failed = 0
        self.world.observers.append(self._observe)
        self.world.found(self.manager)
        self.world.run_until(lambda: self.world.leader() is not None, 30.0)
        for worker in self.workers:
            self.world.join(worker, Role.WORKER, self.manager)
        assert self.world.run_until(lambda: all(h.is_up for h in self.workers), 30.0)
        self.world.run(8.0)

    def _observe(self, now: float, host: Host, effect: Effect) -> None:
        if isinstance(effect, PersistLog) and host is self.manager:
            self.entries += [len(entry.data) for entry in effect.ready.entries]
        elif isinstance(effect, SendTo) and isinstance(effect.message, ReportStatus):
            self.reports.append(len(effect.message.statuses))
        elif isinstance(effect, Published) and host is self.manager and effect.commit is not None:
            tasks = [one.new for one in effect.commit.changes if one.kind == "task" and one.new]
            self.failed += sum(task.state is TaskState.FAILED for task in tasks)

    @property
    def store(self) -> Store:
        assert self.manager.machine is not None
        return self.manager.machine.store

    def create(self, replicas: int, **options: Any) -> None:
        answers: list[Any] = []
        spec = service_spec(
            "web", image="simulated", replicas=replicas,
            constraints=["node.role==worker"], **options,
        )  # fmt: skip
        self.world.request(
            self.manager, CreateService(spec), lambda _, error: answers.append(error)
        )
        assert self.world.run_until(lambda: bool(answers), 10.0)
        assert answers == [None]

    def states(self) -> dict[TaskState, int]:
        counts: dict[TaskState, int] = {}
        for task in self.store.tasks():
            counts[task.state] = counts.get(task.state, 0) + 1
        return counts

    def forget(self) -> None:
        self.entries.clear()
        self.reports.clear()


def test_ten_thousand_tasks_change_state_at_once() -> None:
    """Every task of the swarm dies in the same millisecond."""
    storm = Storm()
    storm.create(TASKS, command=["run"])
    storm.world.run(5.0)
    assert storm.states() == {TaskState.RUNNING: TASKS}
    storm.forget()
    for worker in storm.workers:
        assert worker.executor is not None
        for task_id in worker.executor.running:
            storm.world.kill_task(worker, task_id)
    assert storm.world.run_until(lambda: storm.failed >= TASKS, 2.0)
    assert storm.states()[TaskState.FAILED] == TASKS
    # Each report of up to 1,024 statuses is one message; those that come during a turn share the
    # next one, with as many successors as its budget has room for.
    assert max(storm.reports) > 100
    assert TASKS // TURN_CHANGES_MAX <= len(storm.entries) <= 12
    assert max(storm.entries) <= 1 << 20, "no turn is larger than its budget"
    storm.world.run(1.0)
    store = storm.store
    assert store.count("task") == 2 * TASKS
    assert sum(1 for task in store.tasks() if task.desired_state <= TaskState.RUNNING) == TASKS


def test_tasks_that_crash_all_the_time_do_not_pile_up() -> None:
    """A tight crash loop keeps to the restart delay, and the swarm to its history."""
    storm = Storm()
    tasks = 50
    storm.create(tasks, command=["exit", "1", "0.01"], restart_delay=1.0)
    storm.world.run(10.0)
    sizes, entries = [], []
    for _ in range(3):
        storm.forget()
        storm.world.run(10.0)
        sizes.append(storm.store.count("task"))
        entries.append(len(storm.entries))
    assert max(sizes) <= 5 * tasks, "the history limit, the running one counted"
    assert max(entries) <= 1.5 * min(entries), "the load does not grow"
    # Some eight restarts of each in ten seconds, six changes a restart, and no turn for nothing.
    assert max(entries) < 10 * tasks * 6
