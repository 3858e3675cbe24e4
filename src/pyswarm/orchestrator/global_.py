"""Global services: one task on every node that fits.

A node fits when it is neither down nor drained and meets the service's constraints; whether it has
the resources is the scheduler's to find, and until then the task waits on its node. A paused node
keeps what it has and gets nothing new. A change of a service looks at every node, a change of a
node at every global service: never at more.

An ended task that the restart policy leaves ended keeps its place on the node, but one that was
only stopped because its node left does not: when the node fits again, it gets a new task.

A node that was paused while a rolling update went over the others has an outdated task when it
comes back. The update being over, that task is replaced here and now, without rolling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Node, Service, Task
from pyswarm.model.states import Availability, TaskState, UpdateState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.fit import may_fit_otherwise, meets
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.task import (
    Outdated,
    has_ended,
    is_global,
    is_invalid_node,
    is_wanted,
    new_task,
    updatable,
    with_desired,
)
from pyswarm.store import Change, Reader, Transaction

_OVER = (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED)


class GlobalServices:
    """Keeps a task of each global service on every node that fits."""

    __slots__ = ("_nodes", "_pairs", "_services")

    def __init__(self) -> None:
        self._services: dict[str, None] = {}  # every global service there is
        self._nodes: dict[str, None] = {}  # nodes to look at
        self._pairs: dict[str, Backlog[str]] = {}  # service -> nodes to look at for it

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> GlobalServices:
        """Taking office: every pair of a global service and a node is due."""
        self = cls()
        for service in view.services():
            if is_global(service):
                self._services[service.id] = None
                self._note_all_nodes(view, service.id)
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._nodes or self._pairs else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at the services and nodes that changed, and at places that lost their task."""
        for change in changed:
            if change.kind == "service":
                self._saw_service(tx, change)
            elif change.kind == "node" and may_fit_otherwise(change.old, change.new):
                self._nodes[change.id] = None
            elif change.kind == "task" and change.new is None:
                old: Task = change.old
                if old.service_id in self._services and old.desired_state < TaskState.REMOVE:
                    self._nodes_of(old.service_id).add(old.node_id)
        for node_id in self._nodes:
            for service_id in self._services:
                self._nodes_of(service_id).add(node_id)
        self._nodes = {}
        for service_id in sorted(self._pairs):
            service = tx.service(service_id)
            if service is None or not is_global(service):
                del self._pairs[service_id]
                continue
            if not self._reconcile(tx, service, rng):
                return
            del self._pairs[service_id]

    def _saw_service(self, tx: Transaction, change: Change) -> None:
        new: Service | None = change.new
        if new is None or not is_global(new):
            self._services.pop(change.id, None)
            self._pairs.pop(change.id, None)
        elif change.old is None or _concerns_nodes(change.old, new):
            self._services[new.id] = None
            self._note_all_nodes(tx, new.id)

    def _note_all_nodes(self, view: Reader, service_id: str) -> None:
        nodes = self._nodes_of(service_id)
        nodes.update(node.id for node in view.nodes())
        # Nodes that are gone, too.
        nodes.update(task.node_id for task in view.tasks_of_service(service_id))

    def _nodes_of(self, service_id: str) -> Backlog[str]:
        nodes = self._pairs.get(service_id)
        if nodes is None:
            nodes = self._pairs[service_id] = Backlog()
        return nodes

    def _reconcile(self, tx: Transaction, service: Service, rng: Rng) -> bool:
        """Look at the noted nodes of one service; False when room ran out."""
        outdated = Outdated(service)
        nodes = self._pairs[service.id]
        while (node_id := nodes.first()) is not None:
            if tx.room <= 0:
                return False
            _look(tx, service, node_id, outdated, rng)
            nodes.discard(node_id)
        return True


def _concerns_nodes(old: Service, new: Service) -> bool:
    """Whether a service's change can change what should run where."""
    return old.spec is not new.spec or old.update_status is not new.update_status


def is_place(service: Service, node: Node | None) -> bool:
    """Whether the service wants a task on this node."""
    return (
        node is not None
        and not is_invalid_node(node)
        and meets(node, service.spec.task.placement.constraints)
    )


def holding(tasks: Sequence[Task], service: Service) -> list[Task]:
    """The tasks that keep a node's place filled; see :func:`~.task.updatable`.

    A single task that did not end by itself, but was stopped with its node, keeps nothing.
    """
    found = updatable(tasks, service)
    if len(found) == 1 and not is_wanted(found[0]):
        stopped = not has_ended(found[0]) or found[0].state is TaskState.SHUTDOWN
        return [] if stopped or found[0].state is TaskState.ORPHANED else found
    return found


def _look(tx: Transaction, service: Service, node_id: str, outdated: Outdated, rng: Rng) -> None:
    """Bring one node in line with one service."""
    node = tx.node(node_id) if node_id else None
    tasks = tx.tasks_of_slot(service.id, 0, node_id)
    if node is None:
        for task in tasks:
            tx.delete("task", task.id, because("node-unfit", node_id))
        return
    if not is_place(service, node):
        _shut_down(tx, tasks, node_id)
        return
    if node.spec.availability is not Availability.ACTIVE:
        return
    found = holding(tasks, service)
    if found:
        status = service.update_status
        if status is None or status.state not in _OVER:
            return
        stale = [task for task in found if outdated(task, tx)]
        if not stale:
            return
        reason = because("spec-outdated", node_id)
        for task in stale:
            if task.desired_state < TaskState.SHUTDOWN:
                tx.update(with_desired(task, TaskState.SHUTDOWN), reason)
        if len(stale) < len(found):
            return
    tx.create(new_task(tx, service, rng, node_id=node_id), because("node-joined", node_id))


def _shut_down(tx: Transaction, tasks: Iterable[Task], node_id: str) -> None:
    for task in tasks:
        if task.desired_state < TaskState.SHUTDOWN:
            reason = because("node-unfit", node_id)
            tx.update(with_desired(task, TaskState.SHUTDOWN), reason)
