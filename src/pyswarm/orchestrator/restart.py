"""Restarts: a task that ended, or lost its node, gets a successor; successors start in due time.

The successor is made at once, in the same slot, with the desired state READY: it is placed and
prepared while the restart delay runs. It starts (desired RUNNING, a job's COMPLETE) when the delay
is over and the task before it has stopped; a task on a dead node is not waited for, and none for
longer than a minute after the successor was made, or taken up by an update.

Everything is kept in the tasks: ``origin`` tells a restart from other births, ``start_after`` is
the end of the delay, ``replaces`` the task to wait for. A successor that itself ends while it waits
gets its own successor only when its delay is over, so a tight crash loop keeps to the delay. How
often a slot was restarted is counted from the tasks that the store still has, which is why the
reaper keeps ``max_attempts`` + 1 of them.

A finished job task needs nothing. A global service's task is restarted on its own node, unless that
node takes no tasks or does not fit any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.defaults import OLD_TASK_TIMEOUT, restart_delay
from pyswarm.model.objects import Node, Service, Task
from pyswarm.model.states import Availability, NodeState, TaskOrigin, TaskState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.fit import meets
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.task import (
    Outdated,
    has_ended,
    has_stopped,
    is_invalid_node,
    is_job,
    is_pinned,
    is_wanted,
    new_task,
    should_restart,
    tasks_of_slot,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction


class Restarts:
    """Replaces ended tasks by the restart policy and starts what has waited long enough."""

    __slots__ = ("_check", "_delays", "_waiting")

    def __init__(self) -> None:
        self._check: Backlog[str] = Backlog()  # tasks to look at
        self._delays: Deadlines[str] = Deadlines()  # by task id
        self._waiting: dict[str, dict[str, None]] = {}  # old task -> the ones waiting for its end

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Restarts:
        """Taking office: every task that is not settled is looked at."""
        self = cls()
        for task in view.tasks():
            if _is_unsettled(task, view):
                self._check.add(task.id)
        return self

    def wake_at(self) -> float | None:
        """The end of the next delay; at once while work is left over."""
        return 0.0 if self._check else self._delays.next()

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at the tasks that changed, whose node changed, or whose delay is over."""
        for change in changed:
            if change.kind == "task":
                self._saw_task(tx, change)
            elif change.kind == "node":
                self._saw_node(tx, change)
        self._check.update(self._delays.pop_due(now))
        while tx.room > 0 and (task_id := self._check.pop()) is not None:
            task = tx.task(task_id)
            if task is not None and task.desired_state <= TaskState.COMPLETE:
                self._look(tx, task, now, rng)

    def _saw_task(self, tx: Transaction, change: Change) -> None:
        old: Task | None = change.old
        new: Task | None = change.new
        if new is None or has_stopped(new, tx):
            gone = change.id
            self._check.update(self._waiting.pop(gone, ()))
        if new is None or new.desired_state > TaskState.COMPLETE:
            self._delays.discard(change.id)
            return
        # One that waited to be started has not left a drained node, and may be told to start there.
        moved = old is None or (old.node_id, old.desired_state) != (new.node_id, new.desired_state)
        misplaced = moved and new.node_id and is_invalid_node(tx.node(new.node_id))
        if has_ended(new) or new.desired_state is TaskState.READY or misplaced:
            self._check.add(new.id)

    def _saw_node(self, tx: Transaction, change: Change) -> None:
        old: Node | None = change.old
        new: Node | None = change.new
        if not is_invalid_node(new):
            return
        if old is not None and new is not None:
            same = (old.state, old.spec.availability) == (new.state, new.spec.availability)
            if same:
                return
        for task in tx.tasks_of_node(change.id):
            if task.desired_state <= TaskState.COMPLETE:
                self._check.add(task.id)
            if task.id in self._waiting and has_stopped(task, tx):
                self._check.update(self._waiting.pop(task.id))

    def _look(self, tx: Transaction, task: Task, now: float, rng: Rng) -> None:
        """Start it, restart it, or note when to look again."""
        if task.desired_state is TaskState.READY and not self._may_start(tx, task, now):
            return
        service = tx.service(task.service_id)
        if service is None:
            return  # the reaper's
        if has_ended(task) or (task.node_id and is_invalid_node(tx.node(task.node_id))):
            self._end(tx, service, task, now, rng)
        elif task.desired_state is TaskState.READY:
            goal = TaskState.COMPLETE if is_job(service) else TaskState.RUNNING
            tx.update(with_desired(task, goal), because("start"))

    def _may_start(self, tx: Transaction, task: Task, now: float) -> bool:
        if now < task.start_after:
            self._delays.set(task.id, task.start_after)
            return False
        if not task.replaces or has_stopped(tx.task(task.replaces), tx):
            return True
        until = _waits_since(task) + OLD_TASK_TIMEOUT
        if now >= until:
            return True
        self._delays.set(task.id, until)
        self._waiting.setdefault(task.replaces, {})[task.id] = None
        return False

    def _end(self, tx: Transaction, service: Service, task: Task, now: float, rng: Rng) -> None:
        """The task is over: shut it down, and make its successor if the policy wants one."""
        node = tx.node(task.node_id) if task.node_id else None
        if not _is_ours(service, task, node):
            return
        code = ("task-ended", str(task.state)) if has_ended(task) else ("node-lost", task.node_id)
        ended = tx.update(with_desired(task, TaskState.SHUTDOWN), because(*code))
        if not _takes_successor(service, node):
            return
        siblings = tasks_of_slot(tx, service, task.slot, task.node_id)
        if not should_restart(ended, siblings) or _has_heir(tx, service, siblings):
            return
        drained = node is not None and node.spec.availability is Availability.DRAIN
        stopped = has_stopped(ended, tx)
        successor = new_task(
            tx,
            service,
            rng,
            slot=task.slot,
            node_id=task.node_id if is_pinned(service) else "",
            desired=TaskState.READY,
            origin=TaskOrigin.RESTARTED,
            start_after=now + (0.0 if drained else restart_delay(task.spec.restart)),
            replaces="" if stopped else task.id,
        )
        tx.create(successor, because("restart", task.id))


def _waits_since(task: Task) -> float:
    """When the task began to wait for the one before it: an update may keep one that was there."""
    return task.start_after if task.origin is TaskOrigin.UPDATED else task.created_at


def _is_unsettled(task: Task, view: Reader) -> bool:
    """Whether a new leader has to look at the task."""
    if task.desired_state > TaskState.COMPLETE:
        return False
    if task.desired_state is TaskState.READY or has_ended(task):
        return True
    return bool(task.node_id) and is_invalid_node(view.node(task.node_id))


def _is_ours(service: Service, task: Task, node: Node | None) -> bool:
    """Whether this task's end is for the restart policy to deal with."""
    if is_job(service):
        assert service.job_status is not None
        if task.state is TaskState.COMPLETE or task.job_iteration != service.job_status.iteration:
            return False  # finished, or of an earlier run: the job's own matter
    # What has no place on an invalid node any more is shut down by whoever put it there.
    return not (is_pinned(service) and is_invalid_node(node))


def _has_heir(view: Reader, service: Service, siblings: Sequence[Task]) -> bool:
    """Whether the slot has a task of the current spec already: an update that starts first makes
    it while the old one, which has now ended, still runs."""
    others = [one for one in siblings if is_wanted(one) and not has_ended(one)]
    if not others:
        return False
    outdated = Outdated(service)
    return any(not outdated(one, view) for one in others)


def _takes_successor(service: Service, node: Node | None) -> bool:
    """Whether the node of a global task may run another one."""
    if not is_pinned(service):
        return True
    assert node is not None
    if node.spec.availability is not Availability.ACTIVE or node.state is NodeState.DOWN:
        return False
    return meets(node, service.spec.task.placement.constraints)
