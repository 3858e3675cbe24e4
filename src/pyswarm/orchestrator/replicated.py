"""Replicated services: as many living slots as replicas were asked for.

A service is looked at when it changed, or when one of its slots may have died. Its tasks are
grouped by slot; a slot is alive while :func:`~pyswarm.orchestrator.task.updatable` finds a task in
it, and dead otherwise. Too few: new tasks on the lowest numbers that no living slot has. Too many:
the victims are the slots without a single placed task, then the copies on the most loaded nodes,
those that do not run and those with high numbers first. What is left of dead slots goes.

Dead slots: Swarm deletes their tasks at once, even one that its node is still stopping. Here such
a task gets the desired state REMOVE, and the reaper deletes it once it has stopped, so its address
is not given away while it may still be in use.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Service, Task
from pyswarm.model.specs import Replicated as ReplicatedMode
from pyswarm.model.states import TaskState, UpdateState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.task import (
    is_replicated,
    is_wanted,
    may_hold_node,
    new_task,
    updatable,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

WRITES_PER_TASK = 3
"""A new task is created, addressed and placed in one turn, so a turn starts a third of its room."""


class Replicated:
    """Keeps the number of living slots of each replicated service at its replicas."""

    __slots__ = ("_dirty",)

    def __init__(self) -> None:
        self._dirty: Backlog[str] = Backlog()

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Replicated:
        """Taking office: every replicated service is due."""
        self = cls()
        for service in view.services():
            if is_replicated(service):
                self._dirty.add(service.id)
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._dirty else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at the services that changed or may have lost a slot."""
        for change in changed:
            if change.kind == "service" and change.new is not None:
                if is_replicated(change.new):
                    self._dirty.add(change.new.id)
            elif change.kind == "task" and _may_kill_slot(tx, change):
                self._dirty.add(change.old.service_id)
        while tx.room > 0 and (service_id := self._dirty.first()) is not None:
            service = tx.service(service_id)
            done = service is None or not is_replicated(service) or _reconcile(tx, service, rng)
            if not done:
                return
            self._dirty.discard(service_id)


def _may_kill_slot(tx: Transaction, change: Change) -> bool:
    """Whether a task's change may have left its slot without a living task."""
    old: Task | None = change.old
    if old is None or not old.slot:
        return False
    if change.new is None:
        if old.desired_state is TaskState.REMOVE:
            return False
        if is_wanted(old):
            return True
        service = tx.service(old.service_id)
        left = tx.tasks_of_slot(old.service_id, old.slot)
        return service is not None and not updatable(left, service)
    if not is_wanted(old) or is_wanted(change.new):
        return False
    service = tx.service(old.service_id)
    status = service.update_status if service is not None else None
    return status is not None and status.state is UpdateState.ROLLBACK_STARTED


def _reconcile(tx: Transaction, service: Service, rng: Rng) -> bool:
    """Bring one service to its number of slots; False when room ran out before that."""
    assert isinstance(service.spec.mode, ReplicatedMode)
    need = service.spec.mode.replicas
    slots: dict[int, list[Task]] = {}
    for task in tx.tasks_of_service(service.id):
        slots.setdefault(task.slot, []).append(task)
    alive: dict[int, list[Task]] = {}
    dead: dict[int, list[Task]] = {}
    for slot in sorted(slots):
        living = updatable(slots[slot], service)
        if living:
            alive[slot] = living
        else:
            dead[slot] = slots[slot]
    done = True
    if (missing := need - len(alive)) > 0:
        allowed = max(tx.room // WRITES_PER_TASK, 1)
        _create(tx, service, _free_slots(alive, min(missing, allowed)), rng)
        done = missing <= allowed
        numbers = list(alive)  # in order, so this is how many free ones come before a slot:
        free_before = {slot: slot - 1 - bisect_left(numbers, slot) for slot in dead}
        # The history of a slot that is to be filled stays with it.
        dead = {slot: tasks for slot, tasks in dead.items() if free_before[slot] >= missing}
    elif len(alive) > need:
        victims = {slot: slots[slot] for slot in victim_slots(alive, need)}
        done = _remove(tx, victims, "scale-down", need)
    return _remove(tx, dead, "slot-dead") and done


def _free_slots(alive: dict[int, list[Task]], count: int) -> list[int]:
    free: list[int] = []
    slot = 0
    while len(free) < count:
        slot += 1
        if slot not in alive:
            free.append(slot)
    return free


def _create(tx: Transaction, service: Service, slots: list[int], rng: Rng) -> None:
    for slot in slots:
        tx.create(new_task(tx, service, rng, slot=slot), because("replica-missing", slot))


def _remove(
    tx: Transaction, slots: dict[int, list[Task]], code: str, count: int | None = None
) -> bool:
    """Every task of these slots is to go: at once where nothing of it can be running."""
    for slot, tasks in slots.items():
        reason = because(code, slot if count is None else count)
        for task in tasks:
            if task.desired_state is TaskState.REMOVE:
                continue  # the reaper's
            if tx.room <= 0:
                return False
            if code == "slot-dead" and not may_hold_node(task):
                tx.delete("task", task.id, reason)
            else:
                tx.update(with_desired(task, TaskState.REMOVE), reason)
    return True


def victim_slots(alive: dict[int, list[Task]], keep: int) -> list[int]:
    """The slots that go when only ``keep`` may stay, in the order of their numbers.

    Running slots come before others and low numbers before high ones; in that order each slot with
    a single placed task is counted as the n-th copy on its node. The first ``keep`` by that count
    stay. Slots without a single placed task are counted last. The order is stable.
    """
    walk = sorted(alive, key=lambda slot: (not _runs(alive[slot]), slot))
    copies: dict[str, int] = {}
    rank: dict[int, tuple[bool, int]] = {}
    for slot in walk:
        tasks = alive[slot]
        if len(tasks) == 1 and tasks[0].node_id:
            node_id = tasks[0].node_id
            copies[node_id] = copies.get(node_id, 0) + 1
            rank[slot] = (False, copies[node_id])
        else:
            rank[slot] = (True, 0)
    walk.sort(key=lambda slot: rank[slot])
    return sorted(walk[keep:])


def _runs(tasks: Iterable[Task]) -> bool:
    return any(task.state is TaskState.RUNNING for task in tasks)
