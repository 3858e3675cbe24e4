"""The reaper: what nobody needs any more leaves the store.

Three duties. The tasks of a service that is gone are to be removed. A task that is to be removed is
deleted once it has stopped, or if it never was on a node. And a slot keeps only so many tasks, the
running one counted: the swarm's history limit, or ``max_attempts`` + 1 where the restart policy has
a limit, since its count is made from the tasks that are kept. The oldest that have ended go first;
under a rolling update its own tasks go last, because the update reads its progress from them.

Swarm waits 250 ms to reap in batches; a turn is a batch already. A job's finished tasks are its
results and stay until it is removed or run again; only its failed attempts count as history.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.defaults import TASK_HISTORY
from pyswarm.model.objects import Service, Swarm, Task
from pyswarm.model.states import TaskOrigin, TaskState, UpdateState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.task import (
    DEFAULT_POLICY,
    has_ended,
    is_job,
    is_pinned,
    recency,
    tasks_of_slot,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

SlotName = tuple[str, int, str]
"""Service id, slot, and of a global service the node id."""


class Reaper:
    """Deletes tasks that are over: removed ones, and history beyond its limit."""

    __slots__ = ("_gone", "_removed", "_slots")

    def __init__(self) -> None:
        self._gone: dict[str, None] = {}  # services that are gone, their tasks not yet all marked
        self._removed: Backlog[str] = Backlog()  # tasks that may be deletable
        self._slots: Backlog[SlotName] = Backlog()  # slots that may be over their limit

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Reaper:
        """Taking office: look at every task once, and at the slots with more than one."""
        self = cls()
        seen: dict[SlotName, None] = {}
        for task in view.tasks():
            name = self._slot_of(view, task)
            if name in seen:
                self._slots.add(name)
            elif name is not None:
                seen[name] = None
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._gone or self._removed or self._slots else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at tasks that came, ended or lost their service, and at changed limits."""
        for change in changed:
            if change.kind == "task":
                if change.new is not None and _may_matter(change):
                    self._note(tx, change.new)
            elif change.kind == "service":
                self._saw_service(tx, change)
            elif change.kind == "swarm":
                self._saw_swarm(tx, change)
        self._mark_removed(tx)
        self._delete_removed(tx)
        self._trim(tx)

    def _note(self, view: Reader, task: Task) -> None:
        name = self._slot_of(view, task)
        if name is not None:
            self._slots.add(name)

    def _slot_of(self, view: Reader, task: Task) -> SlotName | None:
        """The slot that may be over its limit; a task that is to go is noted as such instead."""
        if _is_reapable(task):
            self._removed.add(task.id)
        elif task.service_id and task.desired_state is not TaskState.REMOVE:
            service = view.service(task.service_id)
            if service is not None:
                return service.id, task.slot, task.node_id if is_pinned(service) else ""
            self._gone[task.service_id] = None
        return None

    def _saw_service(self, tx: Transaction, change: Change) -> None:
        old: Service | None = change.old
        new: Service | None = change.new
        if new is None:
            self._gone[change.id] = None
        elif old is not None and _max_attempts(old) != _max_attempts(new):
            for task in tx.tasks_of_service(new.id):
                self._note(tx, task)

    def _saw_swarm(self, tx: Transaction, change: Change) -> None:
        old: Swarm | None = change.old
        new: Swarm | None = change.new
        if old is None or new is None:
            return
        limits = {old.spec.task_history_retention_limit, new.spec.task_history_retention_limit}
        if len(limits) == 2:  # the one change that concerns every slot there is
            for task in tx.tasks():
                self._note(tx, task)

    def _mark_removed(self, tx: Transaction) -> None:
        for service_id in sorted(self._gone):
            for task in tx.tasks_of_service(service_id):
                if task.desired_state is TaskState.REMOVE:
                    continue
                if tx.room <= 0:
                    return
                marked = with_desired(task, TaskState.REMOVE)
                self._note(tx, tx.update(marked, because("service-removed")))
            del self._gone[service_id]

    def _delete_removed(self, tx: Transaction) -> None:
        while tx.room > 0 and (task_id := self._removed.pop()) is not None:
            task = tx.task(task_id)
            if task is not None and _is_reapable(task):
                tx.delete("task", task_id, because("reaped"))

    def _trim(self, tx: Transaction) -> None:
        while tx.room > 0 and (name := self._slots.first()) is not None:
            if not _trim_slot(tx, name):
                return
            self._slots.discard(name)


def _may_matter(change: Change) -> bool:
    """Whether a slot may have grown, or one of its tasks become deletable."""
    new: Task = change.new
    return change.old is None or new.desired_state is TaskState.REMOVE or _is_history(new)


def _is_reapable(task: Task) -> bool:
    """Whether the task is to go and nothing of it is left on a node."""
    if not task.service_id:
        return task.state >= TaskState.ORPHANED
    stopped = task.state < TaskState.ASSIGNED or task.state >= TaskState.COMPLETE
    return stopped and task.desired_state is TaskState.REMOVE


def _max_attempts(service: Service) -> int:
    return (service.spec.task.restart or DEFAULT_POLICY).max_attempts


def history_limit(reader: Reader, service: Service) -> int | None:
    """How many tasks a slot of the service keeps; None = all.

    Never less than one, so the only task of a slot stays, finished or not.
    """
    attempts = _max_attempts(service)
    if attempts > 0:
        return attempts + 1
    limit = TASK_HISTORY
    if reader.has_swarm:
        limit = reader.swarm.spec.task_history_retention_limit
    return None if limit < 0 else max(limit, 1)


def _trim_slot(tx: Transaction, name: SlotName) -> bool:
    """Bring a slot to its limit; False when room ran out."""
    service = tx.service(name[0])
    tasks = tasks_of_slot(tx, service, *name[1:]) if service is not None else []
    if len(tasks) < 2 or service is None:
        return True
    limit = history_limit(tx, service)
    if is_job(service):
        tasks = [task for task in tasks if task.state is not TaskState.COMPLETE]
    if limit is None or len(tasks) <= limit:
        return True
    ended = [task for task in tasks if _is_history(task)]
    ended.sort(key=lambda task: (_tells_progress(task, service), recency(task)))
    for task in ended[: len(tasks) - limit]:
        if tx.room <= 0:
            return False
        tx.delete("task", task.id, because("history", limit))
    return True


def _is_history(task: Task) -> bool:
    """Whether the task ended, or was given up before it got to a node."""
    given_up = task.state < TaskState.ASSIGNED and task.desired_state > TaskState.RUNNING
    return has_ended(task) or (given_up and task.desired_state is not TaskState.COMPLETE)


def _tells_progress(task: Task, service: Service) -> bool:
    """Whether a rolling update that is under way counts on this task."""
    status = service.update_status
    if status is None or task.origin is not TaskOrigin.UPDATED:
        return False
    if status.state not in (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED):
        return False
    return task.spec_version == service.spec_version and task.created_at >= status.started_at
