"""The worker's end of the swarm: a machine with a session, tasks, and reports about them.

``step`` takes what the leader, the executor, the node or time say, and returns what is to be sent,
run and saved. ``wake_at`` is due at the beginning: tasks of a former life go on before there is a
session. While there is none, tasks run on; nothing is restarted here, that is for managers to say.

A status carries no time (``at`` is 0): the leader stamps it with the swarm's own clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyswarm.agent.reporter import Reporter
from pyswarm.agent.session import Session
from pyswarm.agent.vocabulary import (
    AgentInput,
    AgentStopped,
    DescriptionChanged,
    FromManager,
    ManagersKnown,
    OperationDone,
    SavedTask,
    SessionLost,
    SessionMissing,
    Stop,
    TaskUnhealthy,
    ToManager,
)
from pyswarm.agent.worker import Worker
from pyswarm.env import Rng
from pyswarm.machine import Effect
from pyswarm.model.objects import Network, Node, NodeDescription, Task, TaskStatus
from pyswarm.model.session import (
    Assignments,
    HeartbeatAnswer,
    ManagerAddress,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
    Trust,
)


class Agent:
    """One node's agent: a :class:`pyswarm.machine.Machine` over :data:`AgentInput`."""

    def __init__(
        self,
        node_id: str,
        description: NodeDescription,
        rng: Rng,
        saved: Mapping[str, SavedTask] | None = None,
    ) -> None:
        self.node_id = node_id
        self._reporter = Reporter()
        self._session = Session(description, rng.child("session"))
        self._worker = Worker(description, saved or {}, self._reporter.add)
        self._stopping = False
        self._stopped = False

    # -- what others may see

    @property
    def session_id(self) -> str:
        """The id of the open session, or ""."""
        return self._session.id if self._session.is_open else ""

    @property
    def manager(self) -> ManagerAddress | None:
        """The manager the session is with (or is asked of)."""
        return self._session.manager

    @property
    def node(self) -> Node | None:
        """This node as the leader last described it."""
        return self._session.node

    @property
    def trust(self) -> Trust:
        """The roots that the leader last said to trust; empty before the first session."""
        return self._session.trust

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that this node is on, as the leader last said."""
        return self._session.networks

    @property
    def description(self) -> NodeDescription:
        return self._worker.description

    @property
    def reason(self) -> str:
        """Why there is no session, or why the last one ended."""
        return self._session.reason

    @property
    def missing(self) -> SessionMissing | None:
        """What was last said of a session that is missing for long; None while there is one."""
        return self._session.silence.said

    def tasks(self) -> list[tuple[str, TaskStatus]]:
        """The tasks assigned to this node, each with its local status."""
        return self._worker.statuses()

    def payloads(self) -> tuple[tuple[str, str], ...]:
        """(kind, id) of the secrets and configs that this node holds now."""
        return self._worker.dependencies.keys()

    def task(self, task_id: str) -> Task | None:
        return self._worker.task(task_id)

    def status(self, task_id: str) -> TaskStatus | None:
        return self._worker.status(task_id)

    # -- the machine

    def wake_at(self) -> float | None:
        """The next moment (monotonic seconds) at which a :class:`Tick` is due, or None."""
        if self._stopping:
            return None
        times = (self._session.wake_at(), self._worker.wake_at(), self._resend_at())
        return min((at for at in times if at is not None), default=None)

    def step(self, now: float, input: AgentInput) -> list[Effect]:
        """Take one input in; say what is to be sent, run and saved."""
        if self._stopping:
            return self._step_stopping(now, input)
        out: list[Effect] = []
        match input:
            case FromManager(manager, message):
                if self._session.is_with(manager):
                    out += self._said(now, message, manager)
            case OperationDone():
                out += self._worker.done(now, input)
            case TaskUnhealthy(task_id):
                out += self._worker.unhealthy(task_id)
            case ManagersKnown():
                out += self._session.managers_known(now, input)
            case SessionLost():
                out += self._session.lost(now, input)
            case DescriptionChanged(description):
                out += self._describe(now, description)
            case Stop():
                return self._stop(now)
            case _:
                pass
        out += self._worker.due(now)
        out += self._session.due(now)
        if (missing := self._session.silence.due(now)) is not None:
            out.append(missing)
        return out + self._report(now)

    # -- inside

    def _said(self, now: float, message: object, manager: ManagerAddress) -> list[Effect]:
        session = self._session
        match message:
            case Assignments():
                return self._assign(now, message)
            case StatusRecorded(session_id, sequence):
                if session_id == self.session_id:
                    self._reporter.recorded(sequence)
            case HeartbeatAnswer():
                return session.answered(now, message)
            case SessionOpened():
                out = session.opened(now, message, manager)
                if out:
                    self._reporter.restart(self._worker.statuses())
                return out
            case SessionChanged():
                session.changed(message)
            case SessionRefused():
                return session.refused(now, message, manager)
        return []

    def _assign(self, now: float, message: Assignments) -> list[Effect]:
        if self._session.has_gap_before(message):
            return self._session.reopen(now, "assignments are missing")
        if not self._session.accepts(message):
            return []
        self._session.assigned(message)
        return self._worker.assign(now, message)

    def _describe(self, now: float, description: NodeDescription) -> list[Effect]:
        if description == self._session.description:
            return []
        self._worker.description = description
        return self._session.describe(now, description)

    def _resend_at(self) -> float | None:
        return self._reporter.resend_at if self._session.is_open else None

    def _report(self, now: float) -> list[Effect]:
        session = self._session
        if not session.is_open or session.manager is None:
            return []
        report = self._reporter.next(now, session.id)
        return [] if report is None else [ToManager(session.manager, report)]

    def _stop(self, now: float) -> list[Effect]:
        self._stopping = True
        self._session.close()
        return self._worker.stop(now) + self._finish()

    def _step_stopping(self, now: float, input: AgentInput) -> list[Effect]:
        out: list[Effect] = []
        if isinstance(input, OperationDone):
            out += self._worker.done(now, input)
        return out + self._finish()

    def _finish(self) -> list[Effect]:
        if self._stopped or not self._worker.is_stopped:
            return []
        self._stopped = True
        return [AgentStopped()]
