"""Orphans: what becomes of tasks whose node is not heard of any more.

A node that went down may come back, and until then nobody knows whether its tasks still run. After
24 hours they are given up: observed ORPHANED, which frees their addresses and lets the reaper take
those that were to be removed. The tasks of a node that was removed are given up at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Node, Task
from pyswarm.model.replace import replace
from pyswarm.model.states import NodeState, TaskState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.reasons import because
from pyswarm.store import Change, Reader, Transaction

ORPHAN_AFTER = 24 * 3600.0
"""Seconds a node is down before its tasks are given up: Swarm's."""

REMOVED_MESSAGE = "Task belonged to a node that has been deleted"


class Orphans:
    """Marks the tasks of nodes that are gone, or have been down for a day."""

    __slots__ = ("_deadlines", "_due")

    def __init__(self) -> None:
        self._deadlines: Deadlines[str] = Deadlines()  # by node id
        self._due: Backlog[str] = Backlog()  # nodes whose tasks are to be given up

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Orphans:
        """Taking office: the deadlines of the nodes that are down; tasks without their node."""
        self = cls()
        for node in view.nodes():
            self._note(node)
        for task in view.tasks():
            if _is_lost(task) and view.node(task.node_id) is None:
                self._due.add(task.node_id)
        return self

    def wake_at(self) -> float | None:
        """When the next node has been down too long; at once while work is left over."""
        return 0.0 if self._due else self._deadlines.next()

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at nodes that went down, came back or were removed."""
        for change in changed:
            if change.kind != "node":
                continue
            if change.new is None:
                self._deadlines.discard(change.id)
                self._due.add(change.id)
            else:
                self._note(change.new)
        self._due.update(self._deadlines.pop_due(now))
        while (node_id := self._due.first()) is not None:
            if not _give_up(tx, node_id, now):
                return
            self._due.discard(node_id)

    def _note(self, node: Node) -> None:
        self._due.discard(node.id)
        if node.state is NodeState.DOWN:
            self._deadlines.set(node.id, node.down_at + ORPHAN_AFTER)
        else:
            self._deadlines.discard(node.id)


def _is_lost(task: Task) -> bool:
    """Whether the task was with its node when it was last heard of."""
    return bool(task.node_id) and TaskState.ASSIGNED <= task.state <= TaskState.RUNNING


def _give_up(tx: Transaction, node_id: str, now: float) -> bool:
    """Mark the node's tasks; False when room ran out."""
    node = tx.node(node_id)
    if node is not None and node.down_at + ORPHAN_AFTER > now:
        return True
    reason = because("node-removed" if node is None else "orphaned", node_id)
    for task in tx.tasks_of_node(node_id):
        if not _is_lost(task):
            continue
        if tx.room <= 0:
            return False
        given_up = replace(
            task,
            state=TaskState.ORPHANED,
            message=REMOVED_MESSAGE if node is None else task.message,
            status_at=tx.now,
        )
        tx.update(given_up, reason)
    return True
