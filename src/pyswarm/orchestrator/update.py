"""Updates: rolling updates and rollbacks of replicated and global services.

A service whose spec changed may have slots whose tasks are outdated. This reconciler takes them a
few at a time, as the service's update settings say (``rollout`` has the arithmetic), counts the new
tasks that fail, and pauses, rolls back or goes on. What it knows of an update is the service's
``update_status`` and the tasks.

Taking a slot, stop-first: a new task, READY, and in the same turn the old ones are shut down; the
restart reconciler starts the new one when the old one has stopped. Start-first: a new task that
starts at once; the old ones are shut down when it runs. If it fails they go on, and when a later
task of the new spec runs in that slot, they are handed over then. A slot that has a task of the new
spec already keeps it and loses the others.

An update that is paused stays as it is until the service is updated again; slots that were taken
finish. An update of a service whose update is under way begins anew with the slots that are dirty.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pyswarm.env import Rng
from pyswarm.model.objects import Node, Service, Task, UpdateStatus
from pyswarm.model.replace import replace
from pyswarm.model.states import (
    FailureAction,
    TaskOrigin,
    TaskState,
    UpdateOrder,
    UpdateState,
)
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.rollout import Key, Rollout, is_rollback, living
from pyswarm.orchestrator.task import (
    Outdated,
    has_ended,
    is_global,
    is_job,
    is_wanted,
    missing_file,
    new_task,
    predecessor,
    slot_key,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

_UNDER_WAY = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)


class Updates:
    """Carries every service's tasks over to its spec."""

    __slots__ = ("_deadlines", "_due", "_fresh", "_rollouts", "_touched")

    def __init__(self) -> None:
        self._rollouts: dict[str, Rollout] = {}  # by service, while an update is under way
        self._fresh: dict[str, None] = {}  # services to be looked at as a whole
        self._touched: dict[str, dict[Key, None]] = {}  # slots to be looked at
        self._due: dict[str, None] = {}  # services with something to do
        self._deadlines: Deadlines[str] = Deadlines()

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Updates:
        """Taking office: every service is looked at as a whole."""
        self = cls()
        for service in view.services():
            if not is_job(service):
                self._fresh[service.id] = self._due[service.id] = None
        return self

    def wake_at(self) -> float | None:
        """The end of the next delay or last period; at once while work is left over."""
        return 0.0 if self._due else self._deadlines.next()

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at what changed of services, their slots and nodes, and at what is due."""
        for change in changed:
            if change.kind == "task":
                self._saw_task(change)
            elif change.kind == "service":
                self._saw_service(change)
            elif change.kind == "node":
                self._saw_node(tx, change)
        for service_id in self._deadlines.pop_due(now):
            self._due[service_id] = None
        for service_id in sorted(self._due):
            if tx.room <= 0:
                return
            if self._look(tx, service_id, now, rng):
                del self._due[service_id]

    # -- what changed

    def _saw_service(self, change: Change) -> None:
        new: Service | None = change.new
        if new is None or is_job(new):
            self._forget(change.id)
            return
        rollout = self._rollouts.get(new.id)
        if rollout is not None and _is_same_update(rollout.service, new):
            rollout.service = new
            return
        if change.old is None or (rollout is None and _is_no_update(change.old, new)):
            return  # all its tasks are of its only spec, or were looked at before
        self._fresh[new.id] = self._due[new.id] = None

    def _saw_task(self, change: Change) -> None:
        old: Task | None = change.old
        new: Task | None = change.new
        task = change.old if new is None else new
        runs = (
            new is not None
            and new.state is TaskState.RUNNING
            and (old is None or old.state is not TaskState.RUNNING)
            and new.origin is not TaskOrigin.CREATED
        )
        if runs or task.service_id in self._rollouts:
            self._touch(task)

    def _saw_node(self, tx: Transaction, change: Change) -> None:
        old: Node | None = change.old
        new: Node | None = change.new
        if old is not None and new is not None and _looks_same(old, new):
            return
        for task in tx.tasks_of_node(change.id):
            if task.service_id in self._rollouts:
                self._touch(task)
                continue
            service = tx.service(task.service_id)
            if service is None or is_job(service) or service.update_status is not None:
                continue
            # A global service's ended task may hold a place that has just become one again.
            counts = is_wanted(task) or is_global(service)
            if counts and task.spec_version != service.spec_version:
                self._fresh[service.id] = self._due[service.id] = None

    def _touch(self, task: Task) -> None:
        if task.service_id:
            self._touched.setdefault(task.service_id, {})[slot_key(task)] = None
            self._due[task.service_id] = None

    def _forget(self, service_id: str) -> None:
        self._rollouts.pop(service_id, None)
        self._fresh.pop(service_id, None)
        self._touched.pop(service_id, None)
        self._due.pop(service_id, None)
        self._deadlines.discard(service_id)

    # -- one service

    def _look(self, tx: Transaction, service_id: str, now: float, rng: Rng) -> bool:
        """Do for a service what can be done now; False when room ran out."""
        service = tx.service(service_id)
        if service is None or is_job(service):
            self._forget(service_id)
            self._due[service_id] = None  # the caller takes it off
            return True
        touched = self._touched.pop(service_id, {})
        if service_id in self._fresh:
            tasks = tx.tasks_of_service(service_id)
            if _is_of_one_spec(service, tasks):
                self._forget(service_id)
                self._due[service_id] = None
                return True
            touched = {slot_key(task): None for task in tasks}
        _hand_over(tx, service, touched)
        rollout = self._open(tx, service, touched, now)
        if rollout is None:
            self._rollouts.pop(service_id, None)
            self._deadlines.discard(service_id)
            return True
        if not _count_failures(tx, rollout, touched):
            return True  # paused, or rolling back: the service changed, and is looked at anew
        taken: dict[Key, None] = {}
        while (key := rollout.next_slot(now)) is not None and key not in taken:
            if tx.room <= 0:
                return False
            taken[key] = None
            _take(tx, rollout, key, now, rng)
            rollout.refresh(key, tx)
        self._close(tx, rollout, now)
        return True

    def _open(
        self, tx: Transaction, service: Service, touched: dict[Key, None], now: float
    ) -> Rollout | None:
        """The service's rollout, brought up to date; None when no update is under way."""
        if service.id not in self._fresh:
            rollout = self._rollouts.get(service.id)
            if rollout is not None:
                for key in touched:
                    rollout.refresh(key, tx)
            return rollout
        del self._fresh[service.id]
        status = service.update_status
        if status is not None and status.state not in _UNDER_WAY:
            return None
        rollout = Rollout(service, tx)
        if status is None or not status.slots_total:
            if not rollout.dirty:
                if status is not None:
                    _complete(tx, service, status, now)
                return None
            rollout = Rollout(_started(tx, service, rollout.dirty, now), tx)
        self._rollouts[service.id] = rollout
        return rollout

    def _close(self, tx: Transaction, rollout: Rollout, now: float) -> None:
        """Complete the update if it is over; else note when to look again."""
        service = rollout.service
        wake = rollout.wake_at(now)
        if wake is not None and wake <= now and rollout.is_idle(now):
            status = service.update_status
            assert status is not None
            _complete(tx, service, status, now)
            self._rollouts.pop(service.id)
            self._deadlines.discard(service.id)
        elif wake is not None:
            self._deadlines.set(service.id, wake)
        else:
            self._deadlines.discard(service.id)


def _is_no_update(old: Service, new: Service) -> bool:
    """Whether the change is of something that updates do not look at, as the endpoint."""
    return old.spec is new.spec and old.update_status is new.update_status


def _is_same_update(old: Service, new: Service) -> bool:
    """Whether nothing changed that an update under way is about."""
    before, after = old.update_status, new.update_status
    if before is None or after is None or before.state is not after.state:
        return False
    return old.spec_version == new.spec_version and before.started_at == after.started_at


def _looks_same(old: Node, new: Node) -> bool:
    """Whether services see no difference between the two."""
    return (
        old.state is new.state
        and old.spec == new.spec
        and old.role is new.role
        and old.description == new.description
        and old.addr == new.addr
    )


def _started(tx: Transaction, service: Service, slots: int, now: float) -> Service:
    """The service with the update's beginning written down."""
    status = service.update_status
    if status is None:
        status = UpdateStatus(UpdateState.UPDATING, "update in progress", now)
    status = attrs.evolve(status, slots_total=slots)
    return tx.update(replace(service, update_status=status), because("update-started", slots))


def _complete(tx: Transaction, service: Service, status: UpdateStatus, now: float) -> None:
    back = is_rollback(service)
    over = attrs.evolve(
        status,
        state=UpdateState.ROLLBACK_COMPLETED if back else UpdateState.COMPLETED,
        message="rollback completed" if back else "update completed",
        completed_at=now,
        slots_done=status.slots_total,
    )
    tx.update(replace(service, update_status=over), because("update-completed"))


def _is_of_one_spec(service: Service, tasks: list[Task]) -> bool:
    """Whether one glance shows that there is nothing to do: no update is under way, every task is
    of the current spec, and no slot has two. So it is with nearly all services of a new leader."""
    status = service.update_status
    if status is not None and status.state in _UNDER_WAY:
        return False
    wanted: dict[Key, None] = {}
    count = 0
    for task in tasks:
        if not task.spec_version or task.spec_version != service.spec_version:
            return False
        if is_wanted(task):
            wanted[slot_key(task)] = None
            count += 1
    return len(wanted) == count


def _hand_over(tx: Transaction, service: Service, keys: dict[Key, None]) -> None:
    """Where a task of the new spec runs beside older ones of another, the older ones stop."""
    outdated = Outdated(service)
    for key in keys:
        tasks = [task for task in tx.tasks_of_slot(service.id, *key) if is_wanted(task)]
        if len(tasks) < 2:
            continue
        running = [
            task
            for task in tasks
            if task.state is TaskState.RUNNING
            and task.origin is not TaskOrigin.CREATED
            and not outdated(task, tx)
        ]
        if not running:
            continue
        newest = max(running, key=lambda task: task.created_at)
        for task in tasks:
            if task.created_at < newest.created_at and outdated(task, tx):
                reason = because("update-old-task", newest.id)
                tx.update(with_desired(task, TaskState.SHUTDOWN), reason)


def _take(tx: Transaction, rollout: Rollout, key: Key, now: float, rng: Rng) -> None:
    """Begin to bring one slot to the new spec."""
    service = rollout.service
    tasks = tx.tasks_of_slot(service.id, *key)
    found = living(tasks, service, tx)
    clean = [
        task
        for task in found
        if is_wanted(task) and not has_ended(task) and not rollout.outdated(task, tx)
    ]
    if clean:
        _keep(tx, rollout, key, found, clean, now)
        return
    reason = because("update-slot", key[0] or key[1])
    start_first = rollout.settings.order is UpdateOrder.START_FIRST
    new = new_task(
        tx,
        service,
        rng,
        slot=key[0],
        node_id=key[1],
        desired=TaskState.RUNNING if start_first else TaskState.READY,
        origin=TaskOrigin.UPDATED,
        start_after=now,
        replaces="" if start_first else predecessor(tasks, tx),
    )
    tx.create(new, reason)
    if not start_first:
        _stop(tx, found, new)


def _keep(
    tx: Transaction, rollout: Rollout, key: Key, found: list[Task], clean: list[Task], now: float
) -> None:
    """The slot has a task of the new spec: let it be the only one.

    Start-first, an older task that runs goes on until the kept one runs as well.
    """
    keep = max(clean, key=lambda task: (task.desired_state, task.state))
    others = [task for task in found if task is not keep]
    waits = keep.desired_state is TaskState.READY
    start_first = rollout.settings.order is UpdateOrder.START_FIRST
    kept = replace(
        keep,
        origin=TaskOrigin.UPDATED,
        start_after=now,
        replaces=predecessor(others, tx) if waits and not start_first else keep.replaces,
    )
    if start_first and waits:
        kept = with_desired(replace(kept, replaces=""), TaskState.RUNNING)
    kept = tx.update(kept, because("update-slot", key[0] or key[1]))
    if start_first and kept.state < TaskState.RUNNING:
        others = [task for task in others if task.state is not TaskState.RUNNING or task in clean]
    _stop(tx, others, kept)


def _stop(tx: Transaction, tasks: list[Task], heir: Task) -> None:
    for task in tasks:
        if task.desired_state < TaskState.SHUTDOWN:
            reason = because("update-old-task", heir.id)
            tx.update(with_desired(task, TaskState.SHUTDOWN), reason)


def _count_failures(tx: Transaction, rollout: Rollout, keys: dict[Key, None]) -> bool:
    """Write down new failures and act on them; False when the update does not go on."""
    service = rollout.service
    status = service.update_status
    assert status is not None
    action = rollout.settings.failure_action
    if action is FailureAction.CONTINUE:
        return True
    counted = dict.fromkeys(status.failed)
    failed = [
        task
        for key in sorted(keys)
        for task in tx.tasks_of_slot(service.id, *key)
        if rollout.has_failed(task) and task.id not in counted
    ]
    for task in failed:
        counted[task.id] = None
        if len(counted) / max(status.slots_total, 1) > rollout.settings.max_failure_ratio:
            status = attrs.evolve(status, failed=tuple(counted), slots_done=len(rollout.up))
            _give_up(tx, service, status, task.id, action)
            return False
    if failed:
        status = attrs.evolve(status, failed=tuple(counted), slots_done=len(rollout.up))
        written = replace(service, update_status=status)
        rollout.service = tx.update(written, because("update-progress", failed[-1].id))
    return True


def _give_up(
    tx: Transaction, service: Service, status: UpdateStatus, task_id: str, action: FailureAction
) -> None:
    """Too many failures: pause, or go back to the previous spec.

    There is no way back to a spec whose secret or config was removed meanwhile: its tasks could
    not start, and those that still run would be stopped for nothing.
    """
    why = f"due to failure or early termination of task {task_id}"
    back = is_rollback(service)
    wants_back = action is FailureAction.ROLLBACK and not back
    missing = wants_back and service.previous_spec and missing_file(tx, service.previous_spec.task)
    if missing:
        why += f", and not rolled back: {missing}"
    elif wants_back and service.previous_spec is not None:
        rolled_back = replace(
            service,
            spec=service.previous_spec,
            spec_version=service.previous_spec_version,
            spec_written=tx.version,
            previous_spec=None,
            previous_spec_version=0,
            update_status=UpdateStatus(
                UpdateState.ROLLBACK_STARTED, f"update rolled back {why}", status.started_at
            ),
        )
        tx.update(rolled_back, because("update-rolled-back", task_id))
        return
    word = "rollback" if back and action is FailureAction.ROLLBACK else "update"
    paused = attrs.evolve(
        status,
        state=UpdateState.ROLLBACK_PAUSED if back else UpdateState.PAUSED,
        message=f"{word} paused {why}",
    )
    tx.update(replace(service, update_status=paused), because("update-paused", task_id))
