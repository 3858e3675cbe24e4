"""Has a service become what it should be, can it still, or will it not?

*Converged*: every slot has its task running and clean (of the current spec), and no update is
between slots; with ``monitored``, the last monitor period of the update is over too. For a job: the
completions are there. *Failed*: an update was paused or rolled back, or slots ended that the
restart policy leaves ended. *Blocked*: every slot that is not converged waits for a node, and none
can take it; nothing moves until somebody changes something. Everything else is under way.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pyswarm.errors import DeadlineExceeded, NotFound
from pyswarm.model import (
    NodeState,
    Replicated,
    ReplicatedJob,
    Service,
    Task,
    TaskState,
    UpdateState,
)
from pyswarm.node.explain import explain_task
from pyswarm.orchestrator.global_ import is_place
from pyswarm.orchestrator.task import Outdated, is_job, is_wanted, should_restart, slot_key
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.explain import Explanation
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Reader

Key = tuple[int, str]


@attrs.frozen
class Converged:
    """Every slot has its task, running and clean (of a job: completed)."""

    service: Service
    tasks: tuple[Task, ...]


@attrs.frozen
class Failed:
    """It will not converge by itself; ``reason`` says what went wrong, ``tasks`` where."""

    service: Service
    reason: str
    tasks: tuple[Task, ...] = ()


@attrs.frozen
class Blocked:
    """Tasks wait for a node that can take them; ``explanations`` has one for each reason."""

    service: Service
    reason: str
    tasks: tuple[Task, ...]
    explanations: tuple[Explanation, ...]


Outcome = Converged | Failed | Blocked


@attrs.frozen
class Progress:
    """How far a service is: slots wanted, slots done, and what the others wait for."""

    wanted: int
    done: int
    waiting: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f": {'; '.join(self.waiting)}" if self.waiting else ""
        return f"{self.done} of {self.wanted} tasks{more}"


_PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
_UNDER_WAY = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)


class Watcher:
    """Looks at one service after each commit; :meth:`look` says when it is decided."""

    def __init__(
        self,
        seen: Service,
        make_scheduler: MakeScheduler = Scheduler,
        *,
        monitored: bool = False,
    ) -> None:
        self._make_scheduler = make_scheduler
        self._id = seen.id
        self._monitored = monitored
        self._rolled_back = ""
        self._newest = seen.spec_version
        self.progress = Progress(0, 0)

    def look(self, view: Reader) -> Outcome | None:
        """The outcome, or None while it is under way. Raises ``NotFound`` if it is gone."""
        service = view.service(self._id)
        if service is None:
            raise NotFound(f"service {self._id} not found")
        if is_job(service):
            return self._job(view, service)
        status = service.update_status
        if status is not None:
            if status.state in _PAUSED:
                return Failed(service, status.message or f"the update is {status.state}")
            if service.spec_version < self._newest:  # only a rollback goes back
                self._rolled_back = self._rolled_back or f"the update was undone: {status.message}"
        self._newest = max(self._newest, service.spec_version)
        outcome = self._slots(view, service)
        if not isinstance(outcome, Converged):
            return outcome
        if self._monitored and status is not None and status.state in _UNDER_WAY:
            return None
        if self._rolled_back:
            return Failed(service, self._rolled_back)
        return outcome

    def late(self, timeout: float) -> DeadlineExceeded:
        """What to raise when the time is up."""
        return DeadlineExceeded(
            f"service did not converge within {timeout:g} s: {self.progress}",
            details={"wanted": self.progress.wanted, "done": self.progress.done},
        )

    def _slots(self, view: Reader, service: Service) -> Outcome | None:
        slots: dict[Key, list[Task]] = {}
        for task in view.tasks_of_service(service.id):
            slots.setdefault(slot_key(task), []).append(task)
        outdated = Outdated(service)
        good: list[Task] = []
        bad: list[tuple[Task | None, list[Task]]] = []
        wanted = _wanted_keys(view, service, slots)
        is_waiting = len(wanted) < _wanted_count(view, service)
        for key in wanted:
            tasks = slots.get(key, [])
            live = [task for task in tasks if is_wanted(task)]
            runs = [task for task in live if _is_seen_running(view, task)]
            if len(live) == 1 and runs and not outdated(runs[0], view):
                good.append(runs[0])
            else:
                bad.append((live[-1] if live else None, tasks))
        live_slots = [key for key, tasks in slots.items() if any(map(is_wanted, tasks))]
        self.progress = Progress(_wanted_count(view, service), len(good), _reasons(bad))
        if is_waiting or len(live_slots) > _wanted_count(view, service):
            return None
        if not bad:
            return Converged(service, tuple(good))
        return _stuck(view, service, bad, self._make_scheduler)

    def _job(self, view: Reader, service: Service) -> Outcome | None:
        status = service.job_status
        iteration = status.iteration if status is not None else 0
        tasks = [t for t in view.tasks_of_service(service.id) if t.job_iteration == iteration]
        done = [task for task in tasks if task.state is TaskState.COMPLETE]
        wanted = _wanted_count(view, service)
        slots: dict[Key, list[Task]] = {}
        for task in tasks:
            slots.setdefault(slot_key(task), []).append(task)
        bad = [
            (next((t for t in in_slot if t.state <= TaskState.RUNNING), None), in_slot)
            for in_slot in slots.values()
            if not any(task.state is TaskState.COMPLETE for task in in_slot)
        ]
        self.progress = Progress(wanted, len(done), _reasons(bad))
        if len(done) >= wanted:
            return Converged(service, tuple(done))
        return _stuck(view, service, bad, self._make_scheduler) if bad else None


def _is_seen_running(view: Reader, task: Task) -> bool:
    """Running, as far as anyone knows: a node that is silent may have died with its tasks."""
    node = view.node(task.node_id)
    return task.state is TaskState.RUNNING and node is not None and node.state is NodeState.READY


def _wanted_count(view: Reader, service: Service) -> int:
    mode = service.spec.mode
    if isinstance(mode, Replicated):
        return mode.replicas
    if isinstance(mode, ReplicatedJob):
        total = mode.total_completions
        return mode.max_concurrent if total is None else total
    return len(_places(view, service))


def _places(view: Reader, service: Service) -> list[Key]:
    """The nodes a global service wants a task on."""
    return [(0, node.id) for node in view.nodes() if is_place(service, node)]


def _wanted_keys(view: Reader, service: Service, slots: dict[Key, list[Task]]) -> list[Key]:
    """The slots that should have a task; a replicated service's numbers are free."""
    if not isinstance(service.spec.mode, Replicated):
        return _places(view, service)
    return [key for key, tasks in slots.items() if any(map(is_wanted, tasks)) or _is_left(tasks)]


def _is_left(tasks: list[Task]) -> bool:
    """Whether the slot ended and the restart policy leaves it so."""
    newest = max(tasks, key=lambda task: task.created_at)
    ended = newest.state in (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)
    return (
        ended and newest.desired_state is not TaskState.REMOVE and not should_restart(newest, tasks)
    )


def _stuck(
    view: Reader,
    service: Service,
    bad: list[tuple[Task | None, list[Task]]],
    make_scheduler: MakeScheduler,
) -> Outcome | None:
    """Blocked if all that is not done waits for a node; failed if it ended for good."""
    if all(task is None and tasks and _is_left(tasks) for task, tasks in bad):
        ended = [max(tasks, key=lambda task: task.created_at) for _, tasks in bad]
        return Failed(service, _ended(ended), tuple(ended))
    waiting = [task for task, _ in bad if task is not None and _has_no_node(task)]
    if len(waiting) < len(bad) or any(node.state is NodeState.UNKNOWN for node in view.nodes()):
        return None  # a new leader's nodes are unknown until they report, or are silent too long
    by_reason: dict[str, Task] = {}
    for task in waiting:
        by_reason.setdefault(task.err, task)
    explanations = tuple(explain_task(view, task, make_scheduler) for task in by_reason.values())
    return Blocked(service, "; ".join(by_reason), tuple(waiting), explanations)


def _has_no_node(task: Task) -> bool:
    return task.state is TaskState.PENDING and bool(task.err)


def _ended(tasks: Iterable[Task]) -> str:
    """Why tasks ended for good, in a sentence."""
    reasons = dict.fromkeys(task.err or f"the task is {task.state}" for task in tasks)
    return f"{'; '.join(reasons)}; the restart policy starts no other"


def _reasons(bad: Iterable[tuple[Task | None, list[Task]]]) -> tuple[str, ...]:
    """What the open slots wait for, each reason once."""
    found: dict[str, None] = {}
    for task, tasks in bad:
        if task is not None and task.err:
            found[task.err] = None
        elif tasks:
            last = max(tasks, key=lambda one: one.status_at)
            found[last.err or f"{last.name} is {last.state}"] = None
    return tuple(found)[:5]
