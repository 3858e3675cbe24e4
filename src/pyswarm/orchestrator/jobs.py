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
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.fit import may_fit_otherwise, meets
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.replicated import WRITES_PER_TASK
from pyswarm.orchestrator.runs import Run, SlotState, slot_state
from pyswarm.orchestrator.task import (
    has_ended,
    is_invalid_node,
    is_job,
    new_task,
    should_restart,
    tasks_of_slot,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

RUNS_KEPT = 5
"""Runs of a job whose ended tasks are kept, the current one included; Swarm keeps all, for ever."""


class Jobs:
    """Makes the tasks of replicated and global jobs."""

    __slots__ = ("_due", "_global", "_places", "_runs")

    def __init__(self) -> None:
        self._due: Backlog[str] = Backlog()  # jobs to look at
        self._global: dict[str, None] = {}  # every global job there is
        # What is known of a job since it was looked at as a whole; one without is, when it is due.
        self._runs: dict[str, Run] = {}  # replicated ones
        self._places: dict[str, Backlog[str]] = {}  # global ones: the nodes to look at again

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Jobs:
        """Taking office: every job is due."""
        self = cls()
        for service in view.services():
            self._saw_service(None, service)
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._due else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at jobs that changed, slots whose tasks did, and nodes that fit otherwise."""
        for change in changed:
            if change.kind == "task":
                self._saw_task(change.old, change.new)
            elif change.kind == "service":
                self._saw_service(change.old, change.new)
            elif change.kind == "node" and may_fit_otherwise(change.old, change.new):
                for service_id in self._global:
                    self._look_at(service_id, change.id)
        while (due := self._due.first()) is not None:
            service = tx.service(due)
            if service is not None and is_job(service) and not self._reconcile(tx, service, rng):
                return
            self._due.discard(due)

    def _saw_service(self, old: Service | None, new: Service | None) -> None:
        some = new if new is not None else old
        assert some is not None
        if not is_job(some):
            return
        same = old is not None and new is not None and old.spec is new.spec
        if same and old is not None and old.job_status == some.job_status:
            return
        self._runs.pop(some.id, None)
        self._places.pop(some.id, None)
        self._global.pop(some.id, None)
        if new is not None:
            self._due.add(new.id)
            if isinstance(new.spec.mode, GlobalJob):
                self._global[new.id] = None

    def _saw_task(self, old: Task | None, new: Task | None) -> None:
        task = new if new is not None else old
        assert task is not None
        if task.job_iteration is None:
            return
        if task.service_id in self._global:
            if old is not None and _may_free_slot(old, new):
                self._look_at(task.service_id, old.node_id)
            return
        run = self._runs.get(task.service_id)
        if run is None or run.iteration != task.job_iteration:
            return
        if old is None:
            if run.is_under_way(task.slot):
                return  # as it was made here
        elif not _may_free_slot(old, new):
            return
        run.touched[task.slot] = None
        self._due.add(task.service_id)

    def _look_at(self, service_id: str, node_id: str) -> None:
        self._due.add(service_id)
        if service_id in self._places:
            self._places[service_id].add(node_id)

    def _reconcile(self, tx: Transaction, service: Service, rng: Rng) -> bool:
        """Bring one job on; False when room ran out."""
        if isinstance(service.spec.mode, ReplicatedJob):
            run = self._run_of(tx, service)
            return run is not None and _fill_slots(tx, service, service.spec.mode, run, rng)
        places = self._places_of(tx, service)
        while places is not None and (node_id := places.first()) is not None:
            if tx.room <= 0:
                return False
            _fill_node(tx, service, node_id, rng)
            places.discard(node_id)
        return places is not None

    def _run_of(self, tx: Transaction, service: Service) -> Run | None:
        """The job's run with all its slots as they are; None when room ran out."""
        assert service.job_status is not None
        iteration = service.job_status.iteration
        run = self._runs.get(service.id)
        if run is None:
            current = _survey(tx, service, iteration)
            if current is None:
                return None
            run = self._runs[service.id] = Run(iteration, current)
        for slot in run.touched:
            held = tasks_of_slot(tx, service, slot, "")
            run.set(slot, slot_state([one for one in held if one.job_iteration == iteration]))
        run.touched.clear()
        return run

    def _places_of(self, tx: Transaction, service: Service) -> Backlog[str] | None:
        """The nodes to look at, at first all of them; None when room ran out."""
        assert service.job_status is not None
        places = self._places.get(service.id)
        if places is None:
            current = _survey(tx, service, service.job_status.iteration)
            if current is None:
                return None
            places = self._places[service.id] = Backlog()
            places.update(node.id for node in tx.nodes())
            places.update(task.node_id for task in current)
        return places


def _may_free_slot(old: Task, new: Task | None) -> bool:
    """Whether a task ended, was given up, or is gone."""
    if new is None:
        return True
    ended = has_ended(new) and not has_ended(old)
    return ended or new.desired_state > TaskState.COMPLETE >= old.desired_state


def _survey(tx: Transaction, service: Service, iteration: int) -> list[Task] | None:
    """The tasks of the current run; those of earlier ones go. None when room ran out."""
    current: list[Task] = []
    for task in tx.tasks_of_service(service.id):
        if task.job_iteration == iteration:
            current.append(task)
        elif _is_left_over(task, iteration):
            if tx.room <= 0:
                return None
            reason = because("job-iteration-old", iteration)
            tx.update(with_desired(task, TaskState.REMOVE), reason)
    return current


def _is_left_over(task: Task, iteration: int) -> bool:
    """Whether a task of an earlier run is to go: it has not ended, or that run is long past."""
    if task.desired_state is TaskState.REMOVE:
        return False
    return not has_ended(task) or (task.job_iteration or 0) <= iteration - RUNS_KEPT


def _fill_slots(tx: Transaction, service: Service, mode: ReplicatedJob, run: Run, rng: Rng) -> bool:
    total = mode.max_concurrent if mode.total_completions is None else mode.total_completions
    missing = min(mode.max_concurrent - run.under_way, total - len(run))
    allowed = max(tx.room // WRITES_PER_TASK, 1)
    while missing > 0 and (slot := run.next_free(total)) is not None:
        if tx.room <= 0 or not allowed:
            return False
        _create(tx, service, rng, slot=slot)
        run.set(slot, SlotState.UNDER_WAY)
        missing -= 1
        allowed -= 1
    return True


def _create(
    tx: Transaction, service: Service, rng: Rng, *, slot: int = 0, node_id: str = ""
) -> None:
    assert service.job_status is not None
    task = new_task(tx, service, rng, slot=slot, node_id=node_id, desired=TaskState.COMPLETE)
    tx.create(task, because("job-slot-free", service.job_status.iteration))


def _fill_node(tx: Transaction, service: Service, node_id: str, rng: Rng) -> None:
    """Bring one node in line with a global job."""
    assert service.job_status is not None
    iteration = service.job_status.iteration
    node = tx.node(node_id) if node_id else None
    tasks = [
        task for task in tx.tasks_of_slot(service.id, 0, node_id) if task.job_iteration == iteration
    ]
    if is_invalid_node(node):
        for task in tasks:
            if task.desired_state <= TaskState.COMPLETE and not has_ended(task):
                reason = because("node-unfit", node_id)
                tx.update(with_desired(task, TaskState.SHUTDOWN), reason)
        return
    assert node is not None
    if not _takes_jobs(node, service) or _has_had_its_task(tasks):
        return
    _create(tx, service, rng, node_id=node_id)


def _takes_jobs(node: Node, service: Service) -> bool:
    return (
        node.state is NodeState.READY
        and node.spec.availability is Availability.ACTIVE
        and meets(node, service.spec.task.placement.constraints)
    )


def _has_had_its_task(tasks: Sequence[Task]) -> bool:
    """Whether one of a node's tasks of this run (the newest last) is under way or complete, or the
    last that failed is to have no successor; one that failed while the node took none is to."""
    if any(
        task.desired_state <= TaskState.COMPLETE or task.state is TaskState.COMPLETE
        for task in tasks
    ):
        return True
    failed = [task for task in tasks if task.state in (TaskState.FAILED, TaskState.REJECTED)]
    return bool(failed) and not should_restart(failed[-1], tasks)
