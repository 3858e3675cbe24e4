"""All reconcilers, in the order of a round: who wants tasks, who changes them, who serves them, who
clears up.

Every one of them is asked again until none writes any more, so the order mostly decides how many
rounds a turn takes. One thing leans on it: updates count a failed task before it is restarted, and
before the reaper may take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from pyswarm.env import Rng
from pyswarm.orchestrator.allocate import Allocator
from pyswarm.orchestrator.certificates import Certificates
from pyswarm.orchestrator.enforce import Enforcer
from pyswarm.orchestrator.global_ import GlobalServices
from pyswarm.orchestrator.jobs import Jobs
from pyswarm.orchestrator.orphan import Orphans
from pyswarm.orchestrator.place import Placer
from pyswarm.orchestrator.reaper import Reaper
from pyswarm.orchestrator.replicated import Replicated
from pyswarm.orchestrator.restart import Restarts
from pyswarm.orchestrator.update import Updates
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Change, Reader, Transaction


class StoreReconciler(Protocol):
    """A reconciler over the store: see :class:`pyswarm.machine.Reconciler`."""

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Self:
        """One that decides, from ``view``, what a long-lived one would."""
        ...

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Write what should follow from what changed, and from what is due."""
        ...

    def wake_at(self) -> float | None:
        """Cluster time of the next deadline."""
        ...


RECONCILERS: tuple[type[StoreReconciler], ...] = (
    Replicated,
    GlobalServices,
    Jobs,
    Updates,
    Restarts,
    Enforcer,
    Allocator,
    Placer,
    Reaper,
    Orphans,
    Certificates,
)


def rebuild(
    cls: type[StoreReconciler], view: Reader, now: float, make_scheduler: MakeScheduler
) -> StoreReconciler:
    """One of them from a store; the placer with a scheduler of this manager's making."""
    if issubclass(cls, Placer):
        return cls.rebuild(view, now, make_scheduler)
    return cls.rebuild(view, now)
