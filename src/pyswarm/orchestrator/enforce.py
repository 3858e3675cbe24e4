"""The enforcer: tasks leave a node that, having changed, no longer fits them.

When a node that is active changes (labels, role, address, what it offers), its tasks are looked at
again: are their constraints still met, is what they reserved still there, are the generic resources
they hold? Those that do not fit are rejected, and the orchestrator replaces them elsewhere. Of
tasks that together reserve more than a shrunk node has, the older ones stay. Nodes that are paused
or drained are left alone.

Constraints are those the task was made with, unless the service's present ones are met: who relaxed
a constraint does not lose tasks by it, and tightening one is the rolling update's affair.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Node, Task
from pyswarm.model.replace import replace
from pyswarm.model.states import Availability, TaskState
from pyswarm.orchestrator.fit import meets
from pyswarm.orchestrator.reasons import because
from pyswarm.scheduler.node import Free, offered
from pyswarm.store import Change, Reader, Transaction

MESSAGE = "task rejected by constraint enforcer"
ERROR = "assigned node no longer meets constraints"


class Enforcer:
    """Rejects tasks whose node changed under them."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[str, None] = {}

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Enforcer:
        """Taking office: every node is looked at."""
        self = cls()
        self._due = dict.fromkeys(node.id for node in view.nodes())
        return self

    def wake_at(self) -> float | None:
        """Due at once while nodes are left over for lack of room."""
        return 0.0 if self._due else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at the nodes that changed, and at those of services whose constraints did."""
        for change in changed:
            if change.kind == "node" and change.new is not None:
                if change.old is None or _matters(change.old, change.new):
                    self._due[change.new.id] = None
            elif change.kind == "service" and _constraints_changed(change):
                tasks = tx.tasks_of_service(change.id)
                self._due.update((task.node_id, None) for task in tasks if task.node_id)
        for node_id in list(self._due):
            if tx.room <= 0:
                return
            node = tx.node(node_id)
            offenders = () if node is None else offenders_on(tx, node)
            for task in offenders:
                rejected = replace(
                    task, state=TaskState.REJECTED, message=MESSAGE, err=ERROR, status_at=now
                )
                tx.update(rejected, because("unfit", node_id))
            del self._due[node_id]


def _matters(old: Node, new: Node) -> bool:
    return (
        old.spec.labels != new.spec.labels
        or old.spec.availability is not new.spec.availability
        or old.role is not new.role
        or old.addr != new.addr
        or old.description != new.description
    )


def _constraints_changed(change: Change) -> bool:
    if change.old is None or change.new is None:
        return False
    old, new = change.old.spec.task, change.new.spec.task
    return bool(old.placement.constraints != new.placement.constraints)


def offenders_on(view: Reader, node: Node) -> list[Task]:
    """The tasks of ``node`` that no longer fit there, in order of creation."""
    if node.spec.availability is not Availability.ACTIVE:
        return []
    tasks = [
        task
        for task in view.tasks_of_node(node.id)
        if _asks(task)
        and TaskState.ASSIGNED <= task.desired_state <= TaskState.COMPLETE
        and TaskState.ASSIGNED <= task.state < TaskState.COMPLETE
    ]
    if not tasks:
        return []
    left = _Remainder(node)
    return [task for task in tasks if not (_met(view, node, task) and left.take(task))]


def _asks(task: Task) -> bool:
    """Whether the task wants anything of its node that it could lose: most want nothing."""
    spec = task.spec
    reserved = spec.resources.reservations
    return bool(
        reserved.nano_cpus
        or reserved.memory_bytes
        or task.assigned_generic
        or spec.placement.constraints
    )


def _met(view: Reader, node: Node, task: Task) -> bool:
    if meets(node, task.spec.placement.constraints):
        return True
    service = view.service(task.service_id)
    return service is not None and meets(node, service.spec.task.placement.constraints)


class _Remainder:
    """What the tasks taken so far leave of a node."""

    __slots__ = ("nano_cpus", "memory_bytes", "generic")

    def __init__(self, node: Node) -> None:
        self.nano_cpus = self.memory_bytes = 0
        self.generic: dict[str, Free] = {}
        if node.description is not None:
            resources = node.description.resources
            self.nano_cpus = resources.nano_cpus
            self.memory_bytes = resources.memory_bytes
            self.generic = offered(resources)

    def take(self, task: Task) -> bool:
        """Whether the task still fits; if so, what it holds is taken off."""
        reserved = task.spec.resources.reservations
        if 0 < reserved.nano_cpus > self.nano_cpus or 0 < reserved.memory_bytes > self.memory_bytes:
            return False
        if not self._holds(task):
            return False
        self.nano_cpus -= reserved.nano_cpus
        self.memory_bytes -= reserved.memory_bytes
        return True

    def _holds(self, task: Task) -> bool:
        """Whether the node still has the generic resources that the task was given."""
        after = dict(self.generic)
        for held in task.assigned_generic:
            have = after.get(held.kind, 0)
            if isinstance(have, tuple):
                if not held.names or any(name not in have for name in held.names):
                    return False
                after[held.kind] = tuple(name for name in have if name not in held.names)
            elif held.names or held.count > have:
                return False
            else:
                after[held.kind] = have - held.count
        self.generic = after
        return True
