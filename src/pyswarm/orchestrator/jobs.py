"""Jobs: services whose tasks are meant to end.

A replicated job wants a number of completions, so many at a time at most; its slots count from 0. A
global job wants one completion on every node that is ready, active and meets the constraints. Every
update of the service is a new run, an *iteration*, which its tasks carry: those of earlier ones
that have not ended are removed. Failed tasks are restarted by the restart policy in their slot
(``any`` means ``on-failure`` here); a slot that the policy leaves ended is spent, and not filled
again.

Swarm looks at nodes only when something happens to the job or its tasks. Here a node that joins, or
comes to fit, is given its task at once, so what happens does not depend on when somebody looked.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Node, Service, Task
from pyswarm.model.specs import GlobalJob, ReplicatedJob
from pyswarm.model.states import Availability, NodeState, TaskState
from pyswarm.orchestrator.fit import meets
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.replicated import WRITES_PER_TASK
from pyswarm.orchestrator.task import (
    has_ended,
    is_invalid_node,
    is_job,
    new_task,
    should_restart,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

RUNS_KEPT = 5
"""Runs of a job whose ended tasks are kept, the current one included; Swarm keeps all, for ever."""


class Jobs:
    """Makes the tasks of replicated and global jobs."""

    __slots__ = ("_dirty", "_global", "_nodes")

    def __init__(self) -> None:
        self._global: dict[str, None] = {}  # every global job there is
        self._dirty: dict[str, None] = {}  # jobs to look at
        self._nodes: dict[str, None] = {}  # nodes that global jobs should look at

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Jobs:
        """Taking office: every job is due."""
        self = cls()
        for service in view.services():
            self._note(service)
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._dirty or self._nodes else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at jobs that changed, whose tasks ended, and at nodes that changed."""
        for change in changed:
            if change.kind == "service":
                if change.new is not None:
                    self._note(change.new)
                else:
                    self._global.pop(change.id, None)
            elif change.kind == "node":
                self._nodes[change.id] = None
            elif change.kind == "task" and _may_free_slot(change):
                self._dirty[change.old.service_id] = None
        for service_id in sorted(self._dirty):
            service = tx.service(service_id)
            if service is not None and is_job(service) and not _reconcile(tx, service, rng):
                return
            del self._dirty[service_id]
        for node_id in sorted(self._nodes):
            for service_id in sorted(self._global):
                if tx.room <= 0:
                    return
                service = tx.service(service_id)
                assert service is not None
                _fill_node(tx, service, node_id, rng)
            del self._nodes[node_id]

    def _note(self, service: Service) -> None:
        if is_job(service):
            self._dirty[service.id] = None
            if isinstance(service.spec.mode, GlobalJob):
                self._global[service.id] = None


def _may_free_slot(change: Change) -> bool:
    old: Task | None = change.old
    if old is None or old.job_iteration is None:
        return False
    new: Task | None = change.new
    if new is None:
        return old.desired_state < TaskState.REMOVE
    ended = has_ended(new) and not has_ended(old)
    return ended or new.desired_state > TaskState.COMPLETE >= old.desired_state


def _reconcile(tx: Transaction, service: Service, rng: Rng) -> bool:
    """Bring one job on; False when room ran out."""
    assert service.job_status is not None
    iteration = service.job_status.iteration
    current: list[Task] = []
    for task in tx.tasks_of_service(service.id):
        if task.job_iteration == iteration:
            current.append(task)
        elif _is_left_over(task, iteration):
            if tx.room <= 0:
                return False
            reason = because("job-iteration-old", iteration)
            tx.update(with_desired(task, TaskState.REMOVE), reason)
    if isinstance(service.spec.mode, ReplicatedJob):
        return _fill_slots(tx, service, service.spec.mode, current, rng)
    nodes = {node.id: None for node in tx.nodes()}
    nodes.update((task.node_id, None) for task in current)
    for node_id in sorted(nodes):
        if tx.room <= 0:
            return False
        _fill_node(tx, service, node_id, rng)
    return True


def _is_left_over(task: Task, iteration: int) -> bool:
    """Whether a task of an earlier run is to go: it has not ended, or that run is long past."""
    if task.desired_state is TaskState.REMOVE:
        return False
    return not has_ended(task) or (task.job_iteration or 0) <= iteration - RUNS_KEPT


def _fill_slots(
    tx: Transaction, service: Service, mode: ReplicatedJob, tasks: list[Task], rng: Rng
) -> bool:
    total = mode.max_concurrent if mode.total_completions is None else mode.total_completions
    slots: dict[int, list[Task]] = {}
    for task in tasks:
        slots.setdefault(task.slot, []).append(task)
    taken: dict[int, None] = {}
    running = 0
    for slot, held in slots.items():
        if any(task.state is TaskState.COMPLETE for task in held):
            taken[slot] = None
        elif any(task.desired_state <= TaskState.COMPLETE for task in held):
            taken[slot] = None
            running += 1
        elif not should_restart(held[-1], held):
            taken[slot] = None
    missing = max(min(mode.max_concurrent - running, total - len(taken)), 0)
    free = [slot for slot in range(total) if slot not in taken][:missing]
    if not free:
        return True
    if tx.room <= 0:
        return False
    allowed = max(tx.room // WRITES_PER_TASK, 1)
    for slot in free[:allowed]:
        _create(tx, service, rng, slot=slot)
    return len(free) <= allowed


def _create(
    tx: Transaction, service: Service, rng: Rng, *, slot: int = 0, node_id: str = ""
) -> None:
    assert service.job_status is not None
    task = new_task(
        tx, service, rng, slot=slot, node_id=node_id, desired=TaskState.COMPLETE
    )
    tx.create(task, because("job-slot-free", service.job_status.iteration))


def _fill_node(tx: Transaction, service: Service, node_id: str, rng: Rng) -> None:
    """Bring one node in line with a global job."""
    assert service.job_status is not None
    iteration = service.job_status.iteration
    node = tx.node(node_id) if node_id else None
    tasks = [
        task
        for task in tx.tasks_of_slot(service.id, 0, node_id)
        if task.job_iteration == iteration
    ]
    if is_invalid_node(node):
        for task in tasks:
            if task.desired_state <= TaskState.COMPLETE and not has_ended(task):
                reason = because("node-unfit", node_id)
                tx.update(with_desired(task, TaskState.SHUTDOWN), reason)
        return
    assert node is not None
    if not _takes_jobs(node, service) or any(_fills(task) for task in tasks):
        return
    _create(tx, service, rng, node_id=node_id)


def _takes_jobs(node: Node, service: Service) -> bool:
    return (
        node.state is NodeState.READY
        and node.spec.availability is Availability.ACTIVE
        and meets(node, service.spec.task.placement.constraints)
    )


def _fills(task: Task) -> bool:
    """Whether the node has had its task: it is under way, or ended by itself."""
    if task.desired_state <= TaskState.COMPLETE:
        return True
    return task.state in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)
