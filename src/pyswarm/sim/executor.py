"""The simulated executor of one node: tasks in virtual time, that may crash.

Processes end with their node: after a crash nothing runs and nothing is known. How long things
take, and whether a task fails, is drawn from the seed; a task whose command is ``("exit", "3")``
ends at once with that code (``("exit", "3", "1.5")`` after 1.5 s), and ``("sleep", "10")`` ends
well after ten seconds.
"""

from __future__ import annotations

import attrs

from pyswarm.agent import (
    Exited,
    Operation,
    OperationDone,
    Perform,
    Started,
    TaskFailed,
    TaskGone,
    TaskRejected,
)
from pyswarm.env import Rng
from pyswarm.errors import SwarmError


@attrs.frozen(kw_only=True)
class ExecutorFaults:
    """What may happen to tasks."""

    prepare_max_s: float = 0.2
    start_max_s: float = 0.05
    stop_max_s: float = 0.3
    rejects: float = 0.0
    """Chance that a task cannot be prepared."""
    fails_to_start: float = 0.0
    mean_life_s: float = 0.0
    """Tasks crash by themselves after between 0 and twice this; 0: never."""


@attrs.define
class _Running:
    started: int
    ends_at: float | None
    exit_code: int


@attrs.frozen
class Later:
    """An answer for the agent, due after ``delay`` seconds."""

    delay: float
    event: OperationDone


class SimulatedExecutor:
    """One life of one node's executor. Answers come back through the simulation's queue."""

    def __init__(self, faults: ExecutorFaults, rng: Rng) -> None:
        self.faults = faults
        self._rng = rng
        self._running: dict[str, _Running] = {}
        self._prepared: dict[str, None] = {}
        self._latest: dict[str, int] = {}
        self._count = 0

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the tasks that run right now, in order of their start."""
        return tuple(self._running)

    def perform(self, now: float, effect: Perform) -> tuple[int, Later]:
        """What an operation will bring, and when: (its number, the answer).

        A later operation on the same task takes the place of an earlier one: ask
        :meth:`is_current` before the answer is delivered.
        """
        self._count += 1
        task_id = effect.task.id
        self._latest[task_id] = self._count
        delay, result, error = self._outcome(now, effect)
        done = OperationDone(task_id, effect.operation, result, error)
        return self._count, Later(delay, done)

    def is_current(self, task_id: str, number: int) -> bool:
        """False for an operation that another one has replaced."""
        return self._latest.get(task_id) == number

    def deliver(self, now: float, event: OperationDone) -> None:
        """An operation has ended: its consequences take place."""
        task_id = event.task_id
        match event.operation:
            case Operation.PREPARE if event.error is None:
                self._prepared[task_id] = None
            case Operation.START if event.error is None:
                life = 2 * self.faults.mean_life_s * self._rng.random()
                ends_at = now + life if self.faults.mean_life_s else None
                self._running[task_id] = _Running(self._count, ends_at, 1)
            case Operation.WAIT | Operation.SHUTDOWN | Operation.TERMINATE:
                self._running.pop(task_id, None)
            case Operation.REMOVE:
                self._running.pop(task_id, None)
                self._prepared.pop(task_id, None)
            case _:
                pass

    def kill(self, task_id: str) -> Later | None:
        """Something from outside ends a running task."""
        if task_id not in self._running:
            return None
        return Later(0.001, OperationDone(task_id, Operation.WAIT, Exited(137)))

    def _outcome(
        self, now: float, effect: Perform
    ) -> tuple[float, Started | Exited | None, SwarmError | None]:
        faults, rng, task_id = self.faults, self._rng, effect.task.id
        match effect.operation:
            case Operation.PREPARE:
                delay = faults.prepare_max_s * rng.random()
                if faults.rejects and rng.chance(faults.rejects):
                    return delay, None, TaskRejected("No such image: simulated")
                return delay, None, None
            case Operation.START:
                delay = faults.start_max_s * rng.random()
                if faults.fails_to_start and rng.chance(faults.fails_to_start):
                    return delay, None, TaskFailed("starting container failed: simulated")
                return delay, Started(task_id, rng.below(30_000) + 2), None
            case Operation.WAIT:
                return self._wait(now, effect)
            case Operation.SHUTDOWN | Operation.TERMINATE:
                return faults.stop_max_s * rng.random(), Exited(137), None
            case Operation.REMOVE:
                return 0.001, None, None

    def _wait(
        self, now: float, effect: Perform
    ) -> tuple[float, Started | Exited | None, SwarmError | None]:
        running = self._running.get(effect.task.id)
        if running is None:
            return 0.001, None, TaskGone(f"No such container: {effect.task.name}")
        container = effect.task.spec.container
        command = (*container.command, *container.args) if container is not None else ()
        if command[:1] == ("exit",):
            return float(command[2]) if command[2:] else 0.001, Exited(int(command[1])), None
        if command[:1] == ("sleep",):
            return float(command[1]), Exited(0), None
        if running.ends_at is None:
            return float("inf"), Exited(0), None
        return max(running.ends_at - now, 0.001), Exited(running.exit_code), None
