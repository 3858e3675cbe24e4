"""When this node's tasks were made ready, began and ended, by its own clock.

An agent's status carries no time, since managers stamp it; who asks the node itself wants to see
one. Nothing of it outlives the process: after a restart the times of earlier tasks are unknown.
"""

from __future__ import annotations

import attrs

from pyswarm.agent import Operation, OperationDone, Started
from pyswarm.env import Clock


@attrs.define
class Life:
    """Seconds since the epoch, 0.0 for what has not happened or is not known."""

    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    is_removed: bool = False
    """Somebody removed what the executor had of it, before the swarm did."""


class Lives:
    """Of the tasks of one executor."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lives: dict[str, Life] = {}

    def of(self, task_id: str) -> Life:
        """A task's life; an empty one if nothing is known."""
        return self._lives.get(task_id, Life())

    def begun(self, task_id: str) -> None:
        """It runs. START may take longer: until the task is healthy."""
        life = self._lives.setdefault(task_id, Life())
        life.started_at, life.ended_at = self.clock.realtime(), 0.0

    def note(self, done: OperationDone) -> None:
        """An operation is over."""
        if done.operation is Operation.REMOVE:
            if done.error is None:
                self._lives.pop(done.task_id, None)
            return
        life = self._lives.setdefault(done.task_id, Life())
        now = self.clock.realtime()
        if done.operation is Operation.PREPARE:
            life.created_at = now
        elif not life.ended_at and not isinstance(done.result, Started):
            life.ended_at = now

    def removed(self, task_id: str) -> None:
        """What the executor had of a task is gone."""
        self._lives.setdefault(task_id, Life()).is_removed = True
