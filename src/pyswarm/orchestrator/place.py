"""The placer: gives tasks that wait for a node their node, or the reason why there is none.

Deciding is the scheduler's (:mod:`pyswarm.scheduler`); this tells it what changed and writes down
what it decided. A task is seen from PENDING on, that is once the allocator is done with it. One
without a node is placed; one that was made for its node (a global service's) is confirmed there.
What was decided is counted by the scheduler at once; seeing it again as a change is nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.states import TaskState
from pyswarm.orchestrator.reasons import because
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Change, Reader, Transaction

PLACED = because("placed")
CONFIRMED = because("confirmed")
UNPLACED = because("unplaced")
NEVER_PLACED = because("never-placed")


class Placer:
    """Writes ASSIGNED, or why not."""

    __slots__ = ("scheduler",)

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    @classmethod
    def rebuild(cls, view: Reader, now: float, make_scheduler: MakeScheduler = Scheduler) -> Placer:
        """Taking office: everything that waits is due."""
        scheduler = make_scheduler()
        for network in view.networks():
            scheduler.upsert_network(network)
        for node in view.nodes():
            scheduler.upsert_node(node)
        for task in view.tasks():
            scheduler.upsert_task(task)
        scheduler.warm()
        return cls(scheduler)

    def wake_at(self) -> float | None:
        """Due at once while decisions are left over for lack of room."""
        return 0.0 if self.scheduler.is_due else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Take in what changed; place, as far as the turn has room."""
        for change in changed:
            self._see(change)
        for decision in self.scheduler.schedule(now, max(0, tx.room), version=tx.version):
            new = decision.new
            if new.state is TaskState.ASSIGNED:
                tx.update(new, CONFIRMED if decision.old.node_id else PLACED)
            else:
                tx.update(new, UNPLACED if new.state is TaskState.PENDING else NEVER_PLACED)

    def _see(self, change: Change) -> None:
        kind, new = change.kind, change.new
        scheduler = self.scheduler
        if kind == "task":
            if new is not None:
                scheduler.upsert_task(new)
            else:
                scheduler.remove_task(change.old.id)
        elif kind == "node":
            if new is None:
                scheduler.remove_node(change.old.id)
            elif change.old is None or _matters(change):
                scheduler.upsert_node(new)
        elif kind == "network":
            if new is not None:
                scheduler.upsert_network(new)
            else:
                scheduler.remove_network(change.old.id)


def _matters(change: Change) -> bool:
    """Whether a node's change is any of the scheduler's business."""
    old, new = change.old, change.new
    return bool(
        old.state is not new.state
        or old.role is not new.role
        or old.addr != new.addr
        or (old.spec is not new.spec and old.spec != new.spec)
        or (old.description is not new.description and old.description != new.description)
    )
