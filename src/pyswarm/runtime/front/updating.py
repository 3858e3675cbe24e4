"""What a person who waits for an update wants to see: slots, and the last period of watching.

The steps are those that ``docker service update`` shows: overall progress, the state of each slot,
``verify: …`` once all is running, and how it ended. Each is a value; drawing is somebody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import attrs
import trio

from pyswarm.model import Service, Task, TaskState, UpdateState
from pyswarm.orchestrator.rollout import Rollout
from pyswarm.orchestrator.task import has_ended, is_wanted, slot_key
from pyswarm.runtime.front.convergence import Converged, Failed, Outcome, Watcher
from pyswarm.runtime.front.member import Member
from pyswarm.store import Reader

VERIFY_EVERY_S = 1.0
"""While nothing but time passes, a step this often."""

SLOTS_SHOWN_MAX = 20
"""A step names so many slots; more would be no help to anybody."""

_UNDER_WAY = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)


@attrs.frozen
class SlotStep:
    """One slot: its name (``web.3``), the state of its newest task, and what went wrong with it."""

    name: str
    state: TaskState
    error: str = ""


@attrs.frozen
class UpdateStep:
    """How an update stands. ``done`` of ``total`` slots run the new spec; ``failures`` counts the
    tasks that failed so far."""

    done: int
    total: int
    state: UpdateState | None
    """None where the service needs no update."""
    message: str
    failures: int = 0
    slots: tuple[SlotStep, ...] = ()
    """Those that are under way, at most 20."""
    verify_s: int | None = None
    """Seconds left of the last period, in which all that runs is watched."""
    outcome: Outcome | None = attrs.field(default=None, repr=False)
    """Set in the last step: converged, failed or blocked."""

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.outcome is not None

    @property
    def fraction(self) -> float:
        """0.0 to 1.0."""
        return self.done / self.total if self.total else 1.0

    def __str__(self) -> str:
        return self.message


class UpdateSource:
    """The steps of one service, from now until it has converged or will not."""

    def __init__(self, member: Member, service: Service) -> None:
        self._member = member
        self._id = service.id
        self._watcher = Watcher(service, member.make_scheduler, monitored=True)
        self._last: UpdateStep | None = None

    async def open(self) -> None:
        """Catch up with what was settled before; raises on a worker."""
        await self._member.node.barrier()

    async def take(self) -> Sequence[UpdateStep] | None:
        """The next step that says something new."""
        if self._last is not None and self._last.is_last:
            return None
        node = self._member.node
        while True:
            self._member.check_alive()
            step = self.look(node.store, node.clock.realtime())
            if step != self._last:
                self._last = step
                return (step,)
            with trio.move_on_after(VERIFY_EVERY_S):
                await node.wait_changed()

    def close(self) -> None:
        """Nothing is held."""

    def look(self, view: Reader, now: float) -> UpdateStep:
        """How it stands in this store. Raises ``NotFound`` once the service is gone."""
        outcome = self._watcher.look(view)
        service = view.service(self._id)
        assert service is not None
        progress = self._watcher.progress
        status = service.update_status
        left = _verify_s(service, view, now)
        return UpdateStep(
            done=progress.done,
            total=progress.wanted,
            state=status.state if status is not None else None,
            message=_message(service, outcome, progress.done, progress.wanted, left),
            failures=len(status.failed) if status is not None else 0,
            slots=_under_way(service, view),
            verify_s=left,
            outcome=outcome,
        )


def _verify_s(service: Service, view: Reader, now: float) -> int | None:
    status = service.update_status
    if status is None or status.state not in _UNDER_WAY:
        return None
    rollout = Rollout(service, view)
    if not rollout.is_idle(now):
        return None
    return max(0, ceil(rollout.ends_at() - now))


def _message(
    service: Service, outcome: Outcome | None, done: int, total: int, left: int | None
) -> str:
    match outcome:
        case Converged():
            return f"verify: Service {service.spec.name} converged"
        case Failed(reason=reason):
            return reason
        case None if left is not None:
            return f"verify: Waiting {left} seconds to verify that tasks are stable..."
        case None:
            status = service.update_status
            back = status is not None and status.state is UpdateState.ROLLBACK_STARTED
            word = "rolling back update" if back else "overall progress"
            return f"{word}: {done} out of {total} tasks"
        case _:
            return f"blocked: {outcome.reason}"


def _under_way(service: Service, view: Reader) -> tuple[SlotStep, ...]:
    """The slots whose newest task is wanted and does not run yet, or has failed."""
    newest: dict[tuple[int, str], Task] = {}
    for task in view.tasks_of_service(service.id):
        key = slot_key(task)
        if key not in newest or newest[key].created_at <= task.created_at:
            newest[key] = task
    steps = []
    for key in sorted(newest):
        task = newest[key]
        moves = is_wanted(task) and task.state is not TaskState.RUNNING
        if (moves or has_ended(task)) and task.desired_state is not TaskState.REMOVE:
            steps.append(SlotStep(f"{task.service_name}.{key[0] or key[1]}", task.state, task.err))
    return tuple(steps[:SLOTS_SHOWN_MAX])
