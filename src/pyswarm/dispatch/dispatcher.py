"""All sessions of the leader: who is there, who has gone silent, who hears of what.

Times are monotonic seconds. The dispatcher keeps its truth in two places only: the store (states of
nodes and tasks) and the agents (they report again whatever was not recorded); what it holds itself
is lost with the office and made anew by the next leader's sessions.

**Silence.** An agent answers within ``period`` (5 s, give or take half a second); three periods
without a word and its node is down. A new leader first gives everyone twice that time. Silence
counts while the leader listens: what agents said while its machine was busy with something else, or
stood still, is still to be read when a deadline is found to be over (and agents beside it stood
still, too), so they get the time again that it lost.

**Registration** is limited: a node that opens sessions faster than three in eight seconds is told
to wait, so that a broken agent cannot keep the log busy.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count

import attrs

from pyswarm.dispatch.session import Session
from pyswarm.env import Rng
from pyswarm.ids import new_id
from pyswarm.model import Network, Node, NodeState, Task, TaskState, TaskStatus
from pyswarm.model.session import (
    HeartbeatAnswer,
    ManagerAddress,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
    ToAgent,
    Trust,
)
from pyswarm.store import Change, Reader

Statuses = tuple[tuple[str, TaskStatus], ...]
"""(task id, what its agent saw of it)."""

GRACE_PERIODS = 3
"""Missed periods after which a node is down."""
TAKEOVER_PERIODS = 6
"""The same for a leader that has just taken office: agents must find it first."""
LATE_S = 0.1
"""A leader that notices a deadline later than this was not listening when it passed; a loop that
has its processor is late by a few milliseconds."""
PERIOD_JITTER = 0.1
"""Each answer names a period this fraction longer or shorter, so that agents do not march in step
(Swarm: 5 s ± 0.5 s)."""
RATE_WINDOW_S = 8.0
RATE_COUNT = 3
"""More further registrations of a node than this within the window are refused."""


@attrs.frozen
class ToNode:
    """A message for one node's agent."""

    node_id: str
    addr: str
    message: ToAgent


@attrs.define
class _Attempts:
    since: float
    """When the last one was admitted: refused ones do not prolong the waiting."""
    count: int


@attrs.define
class _Report:
    """What one node reported and no turn has taken yet: the last status of each task."""

    statuses: dict[str, TaskStatus]
    sequence: int


class Dispatcher:
    """The leader's sessions. Its methods are called by the node machine; ``take`` empties it."""

    def __init__(self, view: Reader, now: float, rng: Rng, *, period: float) -> None:
        self._rng = rng
        self._period = period
        self._sessions: dict[str, Session] = {}
        self._attempts: dict[str, _Attempts] = {}
        self._reports: dict[str, _Report] = {}
        self._out: list[ToNode] = []
        self._slept = 0.0
        self._expected: dict[str, tuple[float, float]] = {}
        """Node id → its deadline, and ``_slept`` when that was set."""
        self._deadlines: list[tuple[float, int, str]] = []
        self._tie = count()
        self._trust = trust_of(view)
        for node in view.nodes():
            if node.state is not NodeState.DOWN:
                self._expect(node.id, now + TAKEOVER_PERIODS * period)

    # -- what agents say ------------------------------------------------------------------

    def admits(self, node: Node | None, node_id: str, addr: str, now: float) -> bool:
        """May this node open a session now? A refusal is on its way if not."""
        if node is None:
            self._refuse(node_id, addr, "not_found", "node not found")
            return False
        attempts = self._attempts.get(node_id)
        if attempts is None or now - attempts.since > RATE_WINDOW_S:
            self._attempts[node_id] = attempts = _Attempts(now, -1)
        attempts.count += 1
        if attempts.count > RATE_COUNT:
            text = f"node {node_id} exceeded rate limit count of registrations"
            self._refuse(node_id, addr, "unavailable", text)
            return False
        attempts.since = now
        # Not silent: were its old deadline to pass before the registration is settled, the node
        # would be down with an open session.
        self._expect(node_id, now + GRACE_PERIODS * self._period)
        return True

    def opened(
        self, node: Node, addr: str, view: Reader, managers: Iterable[ManagerAddress], now: float
    ) -> None:
        """The node is registered: its session begins, with everything it should have."""
        old = self._sessions.get(node.id)
        period = self._next_period()
        session = Session(
            new_id(self._rng),
            node.id,
            addr,
            period=period,
            deadline=now + GRACE_PERIODS * period,
        )
        if old is not None:
            self._reports.pop(node.id, None)
        self._sessions[node.id] = session
        self._expect(node.id, session.deadline)
        known, networks = tuple(managers), networks_of(view, node)
        opened = SessionOpened(session.id, period, node, known, self._told(view), networks)
        self._send(session, opened)
        self._send(session, session.full(view.tasks_of_node(node.id), view))

    def heartbeat(self, node_id: str, addr: str, session_id: str, now: float) -> None:
        """The node lives; it learns when to say so again."""
        session = self._checked(node_id, addr, session_id)
        if session is None:
            return
        session.period = self._next_period()
        session.deadline = now + GRACE_PERIODS * session.period
        self._expect(node_id, session.deadline)
        answer = HeartbeatAnswer(session.id, session.period, session.sequence, session.changes)
        self._send(session, answer)

    def reported(
        self,
        node_id: str,
        addr: str,
        session_id: str,
        sequence: int,
        statuses: Iterable[tuple[str, TaskStatus]],
    ) -> None:
        """Keep what was reported until a turn takes it: per task, the last one wins."""
        session = self._checked(node_id, addr, session_id)
        if session is None:
            return
        report = self._reports.setdefault(node_id, _Report({}, sequence))
        report.sequence = max(report.sequence, sequence)
        for task_id, status in statuses:
            known = report.statuses.get(task_id)
            if known is None or known.state <= status.state:
                report.statuses[task_id] = status

    # -- what turns take and bring ----------------------------------------------------------

    @property
    def has_reports(self) -> bool:
        """True if a turn would find something to record."""
        return bool(self._reports)

    def take_reports(self, most: int) -> Iterator[tuple[str, int, Statuses]]:
        """(node id, sequence, statuses) of whole nodes, oldest first, about ``most`` in all."""
        taken = 0
        chosen: list[str] = []
        for node_id, report in self._reports.items():
            if taken >= most:
                break
            taken += len(report.statuses)
            chosen.append(node_id)
        for node_id in chosen:
            report = self._reports.pop(node_id)
            yield node_id, report.sequence, tuple(report.statuses.items())

    def recorded(self, node_id: str, sequence: int) -> None:
        """A report is in the store: its agent may forget it."""
        if (session := self._sessions.get(node_id)) is not None:
            self._send(session, StatusRecorded(session.id, sequence))

    def committed(
        self,
        changes: Iterable[Change],
        view: Reader,
        managers: Iterable[ManagerAddress],
        now: float,
    ) -> None:
        """Tell the nodes that a commit concerns, and no others."""
        touched: dict[str, Session] = {}
        known = tuple(managers)
        for change in changes:
            if change.kind == "swarm" and (trust := trust_of(view)) != self._trust:
                self._trust = trust
                self.managers_changed(view, known)
            elif change.kind == "task":
                self._task_changed(change, touched)
            elif change.kind == "node":
                self._node_changed(change, view, known, now)
        for session in touched.values():
            difference = session.difference(view)
            if difference is not None:
                self._send(session, difference)

    def managers_changed(self, view: Reader, managers: Iterable[ManagerAddress]) -> None:
        """Every agent hears of the new list (and of the roots it may trust)."""
        known = tuple(managers)
        for session in self._sessions.values():
            node = view.node(session.node_id)
            if node is not None:
                self._tell(session, node, view, known)

    def set_period(self, period: float) -> None:
        """The swarm's settings changed: agents learn with their next answer."""
        self._period = period

    def slept(self, seconds: float) -> None:
        """The leader's machine was so late for a tick: it did not listen meanwhile."""
        if seconds > LATE_S:
            self._slept += seconds

    def expired(self, view: Reader, now: float) -> tuple[tuple[str, NodeState, str], ...]:
        """Nodes that went silent: (id, new state, message), to be written in the next turn."""
        silent: list[tuple[str, NodeState, str]] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            at, _, node_id = heapq.heappop(self._deadlines)
            expected, slept = self._expected.get(node_id, (None, 0.0))
            if expected != at:
                continue
            late = now - at
            lost = max(self._slept - slept, late if late > LATE_S else 0.0)
            if lost > 0.0:
                self._expect(node_id, now + min(lost, GRACE_PERIODS * self._period))
                continue
            del self._expected[node_id]
            self._sessions.pop(node_id, None)
            self._reports.pop(node_id, None)
            node = view.node(node_id)
            if node is not None and node.state is not NodeState.DOWN:
                silent.append((node_id, NodeState.DOWN, _silence(node)))
        return tuple(silent)

    def wake_at(self) -> float | None:
        """When the next node has been silent for too long."""
        while self._deadlines:
            at, _, node_id = self._deadlines[0]
            if self._expected.get(node_id, (None, 0.0))[0] == at:
                return at
            heapq.heappop(self._deadlines)
        return None

    def take(self) -> list[ToNode]:
        """The messages since the last call."""
        out, self._out = self._out, []
        return out

    def session_ids(self) -> dict[str, str]:
        """Node id → session id of all sessions."""
        return {node_id: session.id for node_id, session in self._sessions.items()}

    # -- inside -----------------------------------------------------------------------------

    def _task_changed(self, change: Change, touched: dict[str, Session]) -> None:
        old: Task | None = change.old
        new: Task | None = change.new
        if old is not None and (new is None or new.node_id != old.node_id):
            session = self._sessions.get(old.node_id)
            if session is not None:
                session.removed(old.id)
                touched[session.node_id] = session
        if new is not None and new.state >= TaskState.ASSIGNED:
            session = self._sessions.get(new.node_id)
            if session is not None:
                session.changed(old, new)
                touched[session.node_id] = session

    def _node_changed(
        self, change: Change, view: Reader, managers: tuple[ManagerAddress, ...], now: float
    ) -> None:
        node: Node | None = change.new
        session = self._sessions.get(change.id)
        if node is None:
            self._expected.pop(change.id, None)
            self._attempts.pop(change.id, None)
            if session is not None:
                del self._sessions[change.id]
                self._refuse(change.id, session.addr, "not_found", "node not found", session.id)
            return
        if change.old is None and node.id not in self._expected:
            self._expect(node.id, now + TAKEOVER_PERIODS * self._period)
        if session is not None and _concerns_agent(change.old, node):
            self._tell(session, node, view, managers)

    def _tell(
        self, session: Session, node: Node, view: Reader, managers: tuple[ManagerAddress, ...]
    ) -> None:
        session.changes += 1
        networks = networks_of(view, node)
        news = SessionChanged(
            session.id, node, managers, session.changes, self._told(view), networks
        )
        self._send(session, news)

    def _told(self, view: Reader) -> Trust:
        return attrs.evolve(self._trust, as_of=view.as_of)

    def _checked(self, node_id: str, addr: str, session_id: str) -> Session | None:
        session = self._sessions.get(node_id)
        if session is not None and session.id == session_id:
            return session
        self._refuse(node_id, addr, "invalid_argument", "session invalid", session_id)
        return None

    def _refuse(
        self, node_id: str, addr: str, code: str, message: str, session_id: str = ""
    ) -> None:
        self._out.append(ToNode(node_id, addr, SessionRefused(session_id, code, message)))

    def _send(self, session: Session, message: ToAgent) -> None:
        self._out.append(ToNode(session.node_id, session.addr, message))

    def _next_period(self) -> float:
        jitter = self._period * PERIOD_JITTER
        return self._rng.uniform(self._period - jitter, self._period + jitter)

    def _expect(self, node_id: str, deadline: float) -> None:
        self._expected[node_id] = deadline, self._slept
        heapq.heappush(self._deadlines, (deadline, next(self._tie), node_id))


def trust_of(view: Reader) -> Trust:
    """What nodes must know to recognise their peers."""
    if not view.has_swarm:
        return Trust()
    removed = tuple([one.node_id for one in view.swarm.revoked])
    return Trust(*view.swarm.root_ca.trusted, removed)


def networks_of(view: Reader, node: Node) -> tuple[Network, ...]:
    """The networks that a node is on: its tasks', and the one of published ports."""
    found = [view.network(one.network_id) for one in node.attachments]
    return tuple([one for one in found if one is not None])


def _silence(node: Node) -> str:
    if node.state is NodeState.UNKNOWN:
        return 'heartbeat failure for node in "unknown" state'
    return "heartbeat failure"


def _concerns_agent(old: Node | None, new: Node) -> bool:
    """A node's agent need not hear what it said itself."""
    return (
        old is None
        or old.spec != new.spec
        or old.role is not new.role
        or old.manager != new.manager
        or old.certificate != new.certificate
        or old.attachments != new.attachments
    )
