"""The arithmetic of one rolling update: where each slot stands, who is next, when it is over.

A slot is DIRTY when it has more than one living task, or its only one is outdated. The update takes
it: it makes a task of the new spec, or keeps one that is there. The slot is BUSY until that task
has come up, which is when it was first seen running, or ended before it ever was. Then it is UP,
and for ``delay`` seconds it still holds the place of one of the ``parallelism`` workers. When no
slot is dirty, busy or delayed, the last period of monitoring begins: ``monitor`` seconds, or, where
the delay is not shorter than that, delay + 1 s.

Nothing of this is remembered: it is read from the tasks. A task that this update made has the
origin UPDATED, the service's spec version, and was made since the update's ``started_at``; one that
was there already and was kept has got that origin and a ``start_after`` since then. So a new leader
goes on where the old one stood, the deadlines included.
"""

from __future__ import annotations

from enum import Enum
from heapq import heapify, heappop, heappush

import attrs

from pyswarm.model.defaults import monitor
from pyswarm.model.objects import Service, Task
from pyswarm.model.specs import UpdateConfig
from pyswarm.model.states import Availability, TaskOrigin, TaskState, UpdateState
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.global_ import holding, is_place
from pyswarm.orchestrator.task import (
    Outdated,
    has_ended,
    is_global,
    is_wanted,
    recency,
    slot_key,
    updatable,
)
from pyswarm.store import Reader

FINAL_SLACK = 1.0
"""Seconds that the last period outlasts a delay that is not shorter than the monitor period."""

Key = tuple[int, str]
_FAILURES = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)
_DEFAULT = UpdateConfig()


class Standing(Enum):
    """Where a slot stands in an update."""

    SETTLED = "settled"
    DIRTY = "dirty"
    BUSY = "busy"
    UP = "up"


def is_rollback(service: Service) -> bool:
    """Whether what is under way goes back to a spec that was left."""
    status = service.update_status
    return status is not None and status.state is UpdateState.ROLLBACK_STARTED


def settings(service: Service) -> UpdateConfig:
    """How the service's update, or the rollback under way, goes; ``monitor`` is a number."""
    rollback = is_rollback(service)
    config = (service.spec.rollback if rollback else service.spec.update) or _DEFAULT
    return attrs.evolve(config, monitor=monitor(config, rollback=rollback))


def living(tasks: list[Task], service: Service, reader: Reader) -> list[Task]:
    """The tasks of a slot that an update is about; a global task's node must take tasks."""
    if not is_global(service):
        return updatable(tasks, service)
    if not tasks:
        return []
    node = reader.node(tasks[0].node_id) if tasks[0].node_id else None
    if node is None or not is_place(service, node):
        return []
    return holding(tasks, service) if node.spec.availability is Availability.ACTIVE else []


def progress(service: Service, reader: Reader) -> tuple[int, int]:
    """(slots whose new task has come up, slots that differed when the update began).

    Read from the tasks while an update is under way, since the service is written only when the
    update begins, counts a failure or ends. (0, 0) when there is none.
    """
    status = service.update_status
    if status is None:
        return 0, 0
    if status.state in (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED):
        return min(len(Rollout(service, reader).up), status.slots_total), status.slots_total
    return status.slots_done, status.slots_total


class Rollout:
    """Where an update of one service stands; a cache of what its tasks say."""

    __slots__ = ("_delayed", "_dirty", "_heap", "busy", "outdated", "service", "settings", "up")

    def __init__(self, service: Service, reader: Reader) -> None:
        self.service = service
        self.settings = settings(service)
        self.outdated = Outdated(service)
        self.busy: dict[Key, None] = {}
        self.up: dict[Key, float] = {}  # when the slot's task came up
        self._delayed: Deadlines[Key] = Deadlines()
        slots: dict[Key, list[Task]] = {}
        for task in reader.tasks_of_service(service.id):
            slots.setdefault(slot_key(task), []).append(task)
        self._dirty: dict[Key, None] = {}
        for key, tasks in slots.items():
            self._place(key, tasks, reader)
        self._heap = list(self._dirty)
        heapify(self._heap)

    @property
    def started_at(self) -> float:
        status = self.service.update_status
        return status.started_at if status is not None else float("inf")

    @property
    def dirty(self) -> int:
        """How many slots wait for their turn."""
        return len(self._dirty)

    def refresh(self, key: Key, reader: Reader) -> None:
        """Look at one slot anew."""
        tasks = reader.tasks_of_slot(self.service.id, *key)
        self._dirty.pop(key, None)
        self._place(key, tasks, reader)
        if key in self._dirty:
            heappush(self._heap, key)

    def _place(self, key: Key, tasks: list[Task], reader: Reader) -> None:
        standing, up_at = self.standing(tasks, reader)
        self.busy.pop(key, None)
        self.up.pop(key, None)
        self._delayed.discard(key)
        if standing is Standing.DIRTY:
            self._dirty[key] = None
        elif standing is Standing.BUSY:
            self.busy[key] = None
        elif standing is Standing.UP:
            self.up[key] = up_at
            if self.settings.delay:
                self._delayed.set(key, up_at + self.settings.delay)

    def standing(self, tasks: list[Task], reader: Reader) -> tuple[Standing, float]:
        """Where a slot with these tasks stands, and since when if it is up."""
        for task in reversed(tasks):
            if not self.is_taker(task, reader):
                continue
            if task.running_at or has_ended(task):
                came_up = task.running_at or recency(task)
                made = self.is_made(task)
                return Standing.UP, came_up if made else max(came_up, task.start_after)
            if is_wanted(task):
                return Standing.BUSY, 0.0
        found = living(tasks, self.service, reader)
        if len(found) > 1 or (found and self.outdated(found[0], reader)):
            return Standing.DIRTY, 0.0
        return Standing.SETTLED, 0.0

    def is_made(self, task: Task) -> bool:
        """Whether this update made the task."""
        return (
            task.origin is TaskOrigin.UPDATED
            and task.spec_version == self.service.spec_version
            and task.created_at >= self.started_at
        )

    def is_taker(self, task: Task, reader: Reader) -> bool:
        """Whether this update made the task, or took its slot by keeping it."""
        if task.origin is not TaskOrigin.UPDATED:
            return False
        if self.is_made(task):
            return True
        kept = task.created_at <= self.started_at <= task.start_after
        return kept and not self.outdated(task, reader)

    def has_failed(self, task: Task) -> bool:
        """Whether the task counts as a failure of this update.

        It was made by it and ended by itself before it ran, or within the monitor period after.
        """
        if task.state not in _FAILURES or not self.is_made(task):
            return False
        assert self.settings.monitor is not None
        return not task.running_at or recency(task) - task.running_at <= self.settings.monitor

    def next_slot(self, now: float) -> Key | None:
        """The slot to take now: the lowest that is dirty, if a worker is free."""
        self._delayed.pop_due(now)
        workers = self.settings.parallelism
        if workers and len(self.busy) + len(self._delayed) >= workers:
            return None
        while self._heap:
            if self._heap[0] in self._dirty:
                return self._heap[0]
            heappop(self._heap)
        return None

    def is_idle(self, now: float) -> bool:
        """Whether nothing is dirty, busy or delayed: only the last period is left."""
        self._delayed.pop_due(now)
        return not self._dirty and not self.busy and not len(self._delayed)

    def ends_at(self) -> float:
        """When the last period of an idle update is over."""
        delay = self.settings.delay
        watched = self.settings.monitor
        assert watched is not None
        done = max(self.up.values()) + delay if self.up else self.started_at
        return done + (delay + FINAL_SLACK if delay >= watched else watched)

    def wake_at(self, now: float) -> float | None:
        """When time alone changes something."""
        return self.ends_at() if self.is_idle(now) else self._delayed.next()
