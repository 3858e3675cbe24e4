"""The tasks of this node, each on its way through its states.

Assignments add, change and take away tasks; the executor's answers move them on. A task that is
known keeps its local status, whatever the leader remembers, and a lower desired state is ignored.
A task that left the assignments is removed with all it left behind, running or not.

After a restart of the node the saved tasks go on where they stood: one that was running is waited
for, and if the executor does not have it any more, it is FAILED ``node restarted``; one that was
prepared and not yet started is prepared again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import attrs

from pyswarm.agent.executor import Exited, TaskFailed, TaskGone, TaskRejected, TemporaryFailure
from pyswarm.agent.files import Dependencies
from pyswarm.agent.progress import (
    NODE_RESTARTED,
    STEPS,
    advanced,
    broken,
    moved,
    next_step,
    sentence,
    stopped,
    unhealthy,
)
from pyswarm.agent.vocabulary import (
    FileSource,
    Operation,
    OperationDone,
    Perform,
    SavedTask,
    SaveTask,
)
from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.model.objects import NodeDescription, Task, TaskStatus
from pyswarm.model.session import Assignments
from pyswarm.model.states import TaskState

RETRY_SECONDS = 1.0
"""After a temporary failure of the executor: Swarm's."""

FILES_PATIENCE_SECONDS = 20.0
"""How long a resumed task waits for the secrets it needs to be sent again by a session."""

Report = Callable[[str, TaskStatus | None], None]
"""Told a task's status, or None when nobody wants to hear of it any more."""


@attrs.define(eq=False)
class Work:
    """One task here. ``doing`` is the operation in flight, ``retry_at`` when the next one is due.

    ``prepared`` tells whether this executor prepared it, in this life of the node. ``failing``
    says that asking it to stop did not work, so it is ended by force. ``successor`` is a task of
    the same id that came back while this one was being removed.
    """

    task: Task
    status: TaskStatus
    resumed: bool = False
    prepared: bool = False
    doing: Operation | None = None
    retry_at: float | None = None
    failing: bool = False
    removing: bool = False
    successor: Task | None = None


class Worker:
    """All tasks of this node. ``report`` is told each status the leader should hear of."""

    def __init__(
        self, description: NodeDescription, saved: Mapping[str, SavedTask], report: Report
    ) -> None:
        self.description = description
        self.dependencies = Dependencies()
        self._report = report
        self._works = {id: Work(kept.task, kept.status, resumed=True) for id, kept in saved.items()}
        self._retries: list[tuple[float, str]] = [(0.0, id) for id in self._works]
        for id, work in self._works.items():
            work.retry_at = 0.0
            report(id, work.status)
        self._stopping = False
        self._unfinished = 0
        self._sessions = 0

    # -- what others may see

    def statuses(self) -> list[tuple[str, TaskStatus]]:
        """Every task that is still assigned, with its status."""
        return [(id, w.status) for id, w in self._works.items() if not w.removing]

    def task(self, task_id: str) -> Task | None:
        work = self._works.get(task_id)
        return None if work is None or work.removing else work.task

    def status(self, task_id: str) -> TaskStatus | None:
        work = self._works.get(task_id)
        return None if work is None or work.removing else work.status

    @property
    def is_stopped(self) -> bool:
        """After :meth:`stop`: whether nothing is left to wait for."""
        return self._stopping and not self._unfinished

    def wake_at(self) -> float | None:
        while self._retries:
            due, id = self._retries[0]
            work = self._works.get(id)
            if work is not None and work.retry_at == due:
                return due
            heapq.heappop(self._retries)
        return None

    # -- what happens to it

    def assign(self, now: float, message: Assignments) -> list[Effect]:
        """Take over a full set or a difference: dependencies first, then tasks."""
        out: list[Effect] = []
        self._sessions += message.full
        self.dependencies.update(message)
        gone = list(message.removed_tasks)
        if message.full:
            here = {task.id: task for task in message.tasks}
            gone = [id for id in self._works if id not in here]
        for id in gone:
            self._remove(id, out)
        for task in message.tasks:
            self._take(now, task, out)
        if message.full:
            self._go_on_with_files(now, out)
        return out

    def due(self, now: float) -> list[Effect]:
        """Take up what was put off until now."""
        out: list[Effect] = []
        while (at := self.wake_at()) is not None and at <= now:
            work = self._works[heapq.heappop(self._retries)[1]]
            work.retry_at = None
            if work.removing:
                self._perform(work, Operation.REMOVE, out)
            else:
                self._proceed(now, work, out)
        return out

    def done(self, now: float, answer: OperationDone) -> list[Effect]:
        """The executor's answer. One that nobody waits for any more only tells the exit code."""
        out: list[Effect] = []
        work = self._works.get(answer.task_id)
        if work is None:
            return out
        if work.doing is not answer.operation:
            self._note_exit(work, answer, out)
            return out
        work.doing = None
        if self._stopping:
            self._unfinished -= 1
        elif work.removing:
            self._removed(now, work, answer, out)
        elif answer.error is None:
            self._advance(now, work, answer, out)
        else:
            self._failed(now, work, answer.operation, answer.error, out)
        return out

    def unhealthy(self, task_id: str) -> list[Effect]:
        """A running task failed its health check: managers hear of it before it has ended."""
        out: list[Effect] = []
        work = self._works.get(task_id)
        if work is not None and not work.removing and work.status.state is TaskState.RUNNING:
            before, work.status = work.status, unhealthy(work.status)
            self._settle(work, before, out)
        return out

    def stop(self, now: float) -> list[Effect]:
        """Ask everything that runs, or is about to, to stop. Their states stay as they are."""
        out: list[Effect] = []
        if self._stopping:
            return out
        self._stopping = True
        for work in self._works.values():
            work.retry_at = None
            live = work.status.state in (TaskState.STARTING, TaskState.RUNNING)
            leaving = work.doing in (Operation.SHUTDOWN, Operation.TERMINATE, Operation.REMOVE)
            if not leaving and (live or work.doing is not None):
                self._perform(work, Operation.SHUTDOWN, out)
            self._unfinished += work.doing is not None
        return out

    # -- one task

    def _take(self, now: float, task: Task, out: list[Effect]) -> None:
        work = self._works.get(task.id)
        if work is None:
            # The time is of the assignment; the leader stamps what is reported from here.
            status = attrs.evolve(task.status, at=0.0)
            work = Work(task, status, resumed=task.state > TaskState.ASSIGNED)
            self._works[task.id] = work
        elif work.removing:
            work.successor = task
            return
        elif task.desired_state <= work.task.desired_state:
            return
        else:
            work.task = task
        before = work.status
        self._proceed(now, work, out)
        if work.status is before:
            out.append(SaveTask(task.id, task, before))

    def _proceed(self, now: float, work: Work, out: list[Effect]) -> None:
        """Go as far as possible without the executor, then ask it for the next operation."""
        if self._stopping or work.removing:
            return
        before, task = work.status, work.task
        while (step := next_step(work.status.state, task.desired_state)) is not None:
            if step.operation is None:
                if self._must_prepare_again(work):
                    self._request(now, work, Operation.PREPARE, out)
                    break
                work.status = moved(work.status, step)
            elif step.operation is Operation.SHUTDOWN and not self._known_to_executor(work):
                work.status = moved(work.status, step)
            else:
                self._request(now, work, step.operation, out)
                break
        self._settle(work, before, out)

    def _must_prepare_again(self, work: Work) -> bool:
        return work.resumed and not work.prepared and work.status.state is TaskState.READY

    @staticmethod
    def _known_to_executor(work: Work) -> bool:
        """Whether the executor may hold anything of this task that has to be stopped."""
        return work.doing is not None or work.status.state >= TaskState.PREPARING

    def _request(self, now: float, work: Work, operation: Operation, out: list[Effect]) -> None:
        """Ask for ``operation``, unless it (or a more forceful one) is under way or put off."""
        if operation is Operation.SHUTDOWN:
            if work.doing in (Operation.SHUTDOWN, Operation.TERMINATE):
                return
            if work.failing:
                operation = Operation.TERMINATE
        elif work.doing is not None:
            return
        if work.retry_at is not None and operation is not Operation.SHUTDOWN:
            return
        work.retry_at = None
        files: tuple[FileSource, ...] = ()
        if operation is Operation.PREPARE:
            try:
                files = self.dependencies.files_of(work.task)
            except TaskRejected as error:
                if work.resumed and not self._sessions:
                    self._put_off(now, work, FILES_PATIENCE_SECONDS)
                else:
                    self._break(work, error)
                return
        self._perform(work, operation, out, files)

    def _perform(
        self,
        work: Work,
        operation: Operation,
        out: list[Effect],
        files: tuple[FileSource, ...] = (),
    ) -> None:
        work.doing = operation
        out.append(Perform(work.task, operation, self.description, files))

    def _advance(self, now: float, work: Work, answer: OperationDone, out: list[Effect]) -> None:
        before = work.status
        step = STEPS.get(before.state)
        if answer.operation is Operation.PREPARE:
            work.prepared = True
        if answer.operation in (Operation.SHUTDOWN, Operation.TERMINATE):
            work.failing = False
            if (step := next_step(before.state, TaskState.SHUTDOWN)) is not None:
                work.status = stopped(before, step, answer.result)
        elif step is not None and step.operation is answer.operation:
            work.status = advanced(before, step, answer.result)
        self._settle(work, before, out)
        self._proceed(now, work, out)

    def _failed(
        self, now: float, work: Work, operation: Operation, error: SwarmError, out: list[Effect]
    ) -> None:
        before = work.status
        if operation in (Operation.SHUTDOWN, Operation.TERMINATE):
            if isinstance(error, TaskGone):
                self._advance(now, work, OperationDone(work.task.id, operation), out)
            else:
                # It must not be called stopped while it may still run: end it by force, until
                # that has worked.
                work.failing = True
                self._put_off(now, work, RETRY_SECONDS)
            return
        if isinstance(error, TemporaryFailure):
            self._put_off(now, work, RETRY_SECONDS)
            return
        self._break(work, error)
        self._settle(work, before, out)

    def _note_exit(self, work: Work, answer: OperationDone, out: list[Effect]) -> None:
        """A task that was asked to stop has ended: its exit code belongs to its status."""
        told = work.status.state in (TaskState.RUNNING, TaskState.SHUTDOWN)
        if isinstance(answer.result, Exited) and told and not work.removing:
            before = work.status
            work.status = attrs.evolve(before, exit_code=answer.result.code)
            if before.state is TaskState.SHUTDOWN and work.status != before:
                self._settle(work, before, out)

    def _break(self, work: Work, error: SwarmError) -> None:
        gone = work.resumed and isinstance(error, TaskGone)
        code = error.exit_code if isinstance(error, TaskFailed) else 0
        work.status = broken(work.status, NODE_RESTARTED if gone else sentence(error), code)

    def _put_off(self, now: float, work: Work, seconds: float) -> None:
        work.retry_at = now + seconds
        heapq.heappush(self._retries, (work.retry_at, work.task.id))

    def _go_on_with_files(self, now: float, out: list[Effect]) -> None:
        """A session brought the secrets again that resumed tasks were waiting for."""
        for work in self._works.values():
            waits = work.retry_at is not None and work.doing is None and work.resumed
            if waits and work.status.state in (TaskState.PREPARING, TaskState.READY):
                work.retry_at = None
                self._proceed(now, work, out)

    def _settle(self, work: Work, before: TaskStatus, out: list[Effect]) -> None:
        if work.status is not before:
            assert work.status.state >= before.state
            out.append(SaveTask(work.task.id, work.task, work.status))
            self._report(work.task.id, work.status)

    # -- leaving

    def _remove(self, task_id: str, out: list[Effect]) -> None:
        work = self._works.get(task_id)
        if work is None or work.removing:
            if work is not None:
                work.successor = None
            return
        work.removing = True
        work.retry_at = None
        self._report(task_id, None)
        # Kept until it is done, so that a node that ends meanwhile does it in its next life.
        work.task = attrs.evolve(work.task, desired_state=TaskState.REMOVE)
        out.append(SaveTask(task_id, work.task, work.status))
        self._perform(work, Operation.REMOVE, out)

    def _removed(self, now: float, work: Work, answer: OperationDone, out: list[Effect]) -> None:
        if isinstance(answer.error, TemporaryFailure):
            self._put_off(now, work, RETRY_SECONDS)
            return
        del self._works[work.task.id]
        out.append(SaveTask(work.task.id, None, None))
        if work.successor is not None:
            self._take(now, work.successor, out)
