"""The agent's side of its session with the leader.

An agent has one session or is looking for one. It looks in *rounds*: it asks one manager after the
other (the leader where somebody names it, else a weighted choice) with the id of its last session,
each once. A manager that does not answer in its share of the round is passed over, though its
answer counts also when it comes late. After a round in vain the agent waits: a random part of a
back-off that grows from 100 ms to 8 s, and is forgotten once a session is open.

A new leader gives everyone six periods before it takes them for dead and moves their tasks. So all
of this is measured in the period that a leader last named: whatever an agent was doing when a
leader took office (waiting for a heartbeat's answer, in a round, between two), it has asked every
manager that it knows before the six periods are over, though all others are dead and silent.

An open session lives by heartbeats: the first one at once, then one each period the leader names.
A heartbeat or a first set of assignments that stays unanswered ends it, and so does a gap in the
sequence of assignments, since only a new session brings the full set again. Tasks know nothing of
all this: without a session they run on.
"""

from __future__ import annotations

from enum import Enum

from pyswarm.agent.remotes import BAD, GOOD, Remotes
from pyswarm.agent.silence import LOST, Silence
from pyswarm.agent.vocabulary import ManagersKnown, SessionFound, SessionLost, ToManager
from pyswarm.env import Rng
from pyswarm.machine import Effect
from pyswarm.model.objects import Network, Node, NodeDescription
from pyswarm.model.session import (
    Assignments,
    Heartbeat,
    HeartbeatAnswer,
    ManagerAddress,
    OpenSession,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    Trust,
)

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 8.0
"""Both are Swarm's; between two rounds it is never longer than a period."""
ANSWER_SECONDS = 5.0
"""How long a manager may take to answer: Swarm's time-out for a session and for a call."""
PERIOD_SECONDS = 5.0
"""What is taken for the period until a leader names one: Swarm's default."""
PERIOD_MIN_SECONDS = 0.1
"""No hurry beyond this, whatever the period: a machine that is busy for a moment is not lost."""
PATIENCE_PERIODS = 3
"""A heartbeat's answer is waited for as long as the leader waits for a heartbeat."""
ROUND_PERIODS = 1.5
"""What a round takes where nobody answers. With a rest of a round, the wait and a whole round it is
4 of the leader's 6 periods; with a heartbeat just sent and its answer awaited in vain, 5.6."""


class Phase(Enum):
    """``IDLE``: no manager is known. ``WAITING``: back-off. Then ``OPENING`` and ``OPEN``."""

    IDLE = "idle"
    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"


class Session:
    """One session after the other. Methods return what is to be sent."""

    def __init__(self, description: NodeDescription, rng: Rng) -> None:
        self.description = description
        self.remotes = Remotes()
        self.phase = Phase.IDLE
        self.id = ""
        self.manager: ManagerAddress | None = None
        self.node: Node | None = None
        self.trust = Trust()
        self.networks: tuple[Network, ...] = ()
        self.reason = ""
        self.silence = Silence()
        self._rng = rng
        self._backoff = 0.0
        self._period = PERIOD_SECONDS
        self._tried: dict[str, None] = {}
        self._asked: dict[str, None] = {}
        self._is_misdescribed = False  # a request for a session is on its way with an old one
        self._leader_known = ""
        self._at: float | None = None
        self._beat_at: float | None = None
        self._answer_by: float | None = None
        self._assigned: int | None = None
        self._behind = False
        self._changes = 0

    # -- what others may see

    @property
    def is_open(self) -> bool:
        return self.phase is Phase.OPEN

    def is_with(self, manager: ManagerAddress) -> bool:
        """Whether ``manager`` is the one this session is with, or was asked for one."""
        if self.is_open:
            return self.manager is not None and self.manager.addr == manager.addr
        return manager.addr in self._asked

    def wake_at(self) -> float | None:
        times = [at for at in (self._at, self._beat_at, self._answer_by) if at is not None]
        return min(times, default=None)

    # -- what happens to it

    def managers_known(self, now: float, news: ManagersKnown) -> list[Effect]:
        """Learn where managers are; a new leader ends the waiting, and a session with another."""
        self.remotes.add(news.managers)
        changed = news.leader_addr not in ("", self._leader_known)
        self._leader_known = news.leader_addr
        with_leader = self.manager is not None and self.manager.addr == news.leader_addr
        if changed and not (self.phase is Phase.OPEN and with_leader):
            return self._begin(now, news.leader_addr)
        if self.phase is Phase.IDLE and len(self.remotes):
            return self._begin(now)
        return []

    def describe(self, now: float, description: NodeDescription) -> list[Effect]:
        """The node is another one now. A leader hears of it by a new session: at once if there is
        one, else when there is one that was asked for before."""
        self.description = description
        self._is_misdescribed = bool(self._asked)
        return self.reopen(now, "the node's description changed")

    def due(self, now: float) -> list[Effect]:
        """Do what has become due."""
        if self._answer_by is not None and now >= self._answer_by:
            opening = self.phase is Phase.OPENING
            return self._fail(
                now, "session initiation timed out" if opening else "heartbeat timed out"
            )
        if self._at is not None and now >= self._at:
            if self.phase is Phase.WAITING:
                return self._begin(now)
            return self._fail(now, "assignments timed out")
        if self._beat_at is not None and now >= self._beat_at:
            return self._beat(now)
        return []

    def opened(self, now: float, message: SessionOpened, manager: ManagerAddress) -> list[Effect]:
        """The leader opened the session: the first heartbeat leaves at once."""
        if self.phase not in (Phase.OPENING, Phase.WAITING):
            return []
        self.manager = manager
        self.remotes.replace(message.managers or [manager])
        self.remotes.observe(manager.addr, GOOD)
        self.phase, self.id, self.node = Phase.OPEN, message.session_id, message.node
        self.trust, self.networks = self.trust.told(message.trust), message.networks
        self.reason = ""
        was_missed = self.silence.said is not None
        self.silence.over()
        self._period = max(PERIOD_MIN_SECONDS, message.period)
        self._backoff, self._behind = 0.0, False
        self._assigned, self._changes = None, 0
        self._asked = {}
        self._at = now + ANSWER_SECONDS
        found: list[Effect] = [SessionFound(manager.addr)] if was_missed else []
        if self._is_misdescribed:
            self._is_misdescribed = False
            return found + self.reopen(now, "the node's description changed")
        return found + self._beat(now)

    def refused(self, now: float, message: SessionRefused, manager: ManagerAddress) -> list[Effect]:
        """No session, or none any more: ask the leader if it is named, else whoever is next."""
        if self.phase is Phase.IDLE or (self.is_open and message.session_id != self.id):
            return []
        if self.is_open:
            self._tried = {manager.addr: None}
        self.reason = message.message
        if message.leader_addr and message.leader_addr not in self._tried:
            return self._ask(now, self.remotes.get(message.leader_addr))
        if self.manager is None or manager.addr != self.manager.addr:
            self.silence.failed(manager.addr, message.message)
            return []  # it comes late: another one is being asked
        return self._fail(now, message.message)

    def answered(self, now: float, message: HeartbeatAnswer) -> list[Effect]:
        """The leader heard a heartbeat. It says how far its assignments and changes have come."""
        if not self.is_open or message.session_id != self.id:
            return []
        self._answer_by = None
        self._period = max(PERIOD_MIN_SECONDS, message.period)
        self._beat_at = now + message.period
        # An answer may overtake what it counts; being behind twice means that something is lost.
        behind = self._assigned is not None and message.sequence > self._assigned
        behind = behind or message.changes > self._changes
        if behind and self._behind:
            return self.reopen(now, "assignments or changes were lost")
        self._behind = behind
        return []

    def changed(self, message: SessionChanged) -> None:
        """The node's own object or the list of managers changed."""
        if not self.is_open or message.session_id != self.id or message.number <= self._changes:
            return
        self.node, self._changes = message.node, message.number
        self.trust, self.networks = self.trust.told(message.trust), message.networks
        if message.managers:
            self.remotes.replace(message.managers)

    def accepts(self, message: Assignments) -> bool:
        """Whether these assignments are the next ones of this session; repeated ones are not."""
        if not self.is_open or message.session_id != self.id:
            return False
        if not message.full:
            return self._assigned is not None and message.sequence == self._assigned + 1
        return self._assigned is None or message.sequence > self._assigned

    def has_gap_before(self, message: Assignments) -> bool:
        """Whether something before these assignments is missing."""
        if not self.is_open or message.session_id != self.id or message.full:
            return False
        return self._assigned is None or message.sequence > self._assigned + 1

    def assigned(self, message: Assignments) -> None:
        """These assignments were taken over."""
        self._assigned = message.sequence
        self._behind = False
        self._at = None

    def reopen(self, now: float, reason: str) -> list[Effect]:
        """Give this session up and ask the same manager for a new one, at once."""
        if self.phase is not Phase.OPEN or self.manager is None:
            return []
        self.reason = reason
        return self._begin(now, self.manager.addr)

    def lost(self, now: float, loss: SessionLost) -> list[Effect]:
        """The line to a manager broke."""
        self.silence.failed(loss.addr, loss.reason, loss.untrusted)
        if self.manager is None or self.manager.addr != loss.addr:
            return []
        return self._next(now, loss.reason or LOST)

    def close(self) -> None:
        """Stop looking; the leader will notice by the missing heartbeats."""
        self.phase, self.manager = Phase.IDLE, None
        self._at = self._beat_at = self._answer_by = None
        self._asked, self._is_misdescribed = {}, False
        self.silence.over()

    # -- inside

    def _begin(self, now: float, first: str = "") -> list[Effect]:
        """Begin a round, with the manager at ``first`` if it is known who leads."""
        self._tried = {}
        manager = self.remotes.get(first) if first else self.remotes.choose(self._rng)
        if manager is None:
            self.close()
            return []
        return self._ask(now, manager)

    def _ask(self, now: float, manager: ManagerAddress) -> list[Effect]:
        self._tried[manager.addr] = self._asked[manager.addr] = None
        self.silence.asked(now, manager.addr)
        self.phase, self.manager = Phase.OPENING, manager
        self._at = self._beat_at = None
        share = ROUND_PERIODS * self._period / max(len(self.remotes), len(self._tried))
        self._answer_by = now + min(ANSWER_SECONDS, share)
        return [ToManager(manager, OpenSession(self.id, self.description))]

    def _fail(self, now: float, reason: str) -> list[Effect]:
        """This manager gave no session, or this session came to nothing."""
        if self.manager is not None:
            self.silence.failed(self.manager.addr, reason)
        return self._next(now, reason)

    def _next(self, now: float, reason: str) -> list[Effect]:
        """This manager is of no help: the next one; after the last of a round, or where a session
        ended (as those of all other nodes may have), wait."""
        if self.manager is not None:
            self.remotes.observe(self.manager.addr, BAD)
        self.reason = reason
        following = None if self.is_open else self.remotes.choose(self._rng, self._tried)
        return self._wait(now) if following is None else self._ask(now, following)

    def _wait(self, now: float) -> list[Effect]:
        self._backoff = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS + 2 * self._backoff)
        self.phase, self.manager = Phase.WAITING, None
        self._at = now + self._rng.random() * min(self._backoff, self._period)
        self._beat_at = self._answer_by = None
        return []

    def _beat(self, now: float) -> list[Effect]:
        assert self.manager is not None
        self._beat_at = None
        self._answer_by = now + min(ANSWER_SECONDS, PATIENCE_PERIODS * self._period)
        return [ToManager(self.manager, Heartbeat(self.id))]
