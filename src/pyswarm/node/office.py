"""What a leader has and nobody else: cluster time, reconcilers, sessions, and the turns.

Taking office is: rebuild every reconciler from the settled store, expect every node to report. It
happens when the no-op of the leader's term is applied, so the store holds all that was ever
committed. Stepping down is: drop it all; what was waiting is told so. Nothing here is a truth of
its own.

Every append of a leader goes through here, one at a time: a turn, or a change of the membership. So
the version of a turn is known when it opens: the index behind the last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from pyswarm.dispatch import Dispatcher
from pyswarm.env import Rng
from pyswarm.errors import Internal, SwarmError, Unavailable
from pyswarm.machine import Because
from pyswarm.model import (
    Identity,
    ManagerStatus,
    Node,
    NodeSpec,
    NodeState,
    Request,
    Role,
    replace,
)
from pyswarm.model.defaults import heartbeat_period
from pyswarm.model.requests import RecordStatuses, RegisterNode, SetNodeStates
from pyswarm.node import control
from pyswarm.node.clock import ClusterClock
from pyswarm.node.config import NodeConfig
from pyswarm.node.context import Context
from pyswarm.node.networks import create_predefined
from pyswarm.node.outbox import Outbox
from pyswarm.node.seats import Seats, check_demotion, manager_addresses
from pyswarm.node.turn import (
    TURN_BYTES_MAX,
    Reconciling,
    Turn,
    Work,
    decide,
    internal,
    kind_of,
)
from pyswarm.orchestrator.leases import Leases
from pyswarm.orchestrator.order import RECONCILERS, StoreReconciler, rebuild
from pyswarm.raft import Replica
from pyswarm.store import TURN_CHANGES_MAX, Change, Commit, Store, Transaction, expire_requests

QUEUE_MAX = 10_000
"""Requests waiting for a turn; more are refused with ``unavailable`` before memory suffers."""

OBJECTS_PER_STEP = 50_000
"""Objects looked at in one step while an office is furnished: at some 1 µs each, far below an
election timeout."""

UNSETTLED_PER_TURN = TURN_CHANGES_MAX // 2
"""Nodes that a new leader calls unknown in one turn."""

HALF_A_TURN = TURN_BYTES_MAX // 2 + 1
"""What such a part counts for, so that two do not fit in a turn; what waits behind them does."""

UNKNOWN_MESSAGE = 'Node moved to "unknown" state due to leadership change in cluster'


class Office:
    """The leader's office of one term."""

    def __init__(
        self,
        config: NodeConfig,
        replica: Replica,
        store: Store,
        out: Outbox,
        rng: Rng,
        *,
        now: float,
        wall: float,
    ) -> None:
        self.term = replica.term
        self.clock = ClusterClock(store.stamp, wall, now)
        self._config = config
        self._replica = replica
        self._store = store
        self._out = out
        self._rng = rng
        self._context = Context(rng.child("control"), Leases())
        self._queue: deque[Work] = deque()
        self._turn: Turn | None = None
        self._membership: int | None = None
        self._reconcilers: list[tuple[Reconciling, Rng]] = []
        self._unbuilt: deque[type[StoreReconciler]] = deque()
        self._due_at: float | None = None
        """When the first reconciler is due, if they have said so (``_asked``) since they last
        looked at anything."""
        self._asked = False
        self._quiet_until = float("-inf")
        self._now = now
        self.dispatcher: Dispatcher | None = None
        self.seats: Seats | None = None
        if store.has_swarm:
            self._furnish(now)
        else:
            assert config.bootstrap is not None, "a log without a swarm belongs to its founder"
            self._queue.append(Work(self._found, _nobody))

    def _furnish(self, now: float) -> None:
        """Begin to rebuild what decides, from the settled store; sessions may begin at once."""
        self._unbuilt.extend(RECONCILERS)
        self._build(now)
        period = heartbeat_period(self._store.swarm.spec.heartbeat_period)
        self.dispatcher = Dispatcher(self._store, now, self._rng.child("dispatch"), period=period)
        self.seats = Seats(self._store)
        nodes = [node.id for node in self._store.nodes()]
        for first in range(0, len(nodes), UNSETTLED_PER_TURN):
            part = nodes[first : first + UNSETTLED_PER_TURN]
            self._queue.appendleft(
                Work(partial(_unsettle, node_ids=part), _nobody, size=HALF_A_TURN)
            )

    def _build(self, now: float) -> None:
        """Rebuild some reconcilers, in a large swarm one a step: followers that hear nothing while
        all of them are made would elect another leader, who would do no better."""
        each = sum(map(self._store.count, ("task", "node", "service")))
        spent = 0
        while self._unbuilt and spent < OBJECTS_PER_STEP:
            cls = self._unbuilt.popleft()
            rebuilt = rebuild(cls, self._store, self.clock.at(now), self._config.make_scheduler)
            self._reconcilers.append((rebuilt, self._rng.child(cls.__name__)))
            self._asked = False
            spent += each
        if not self._unbuilt:
            self._context = Context.beside(self.reconcilers, self._context.rng)

    # -- work -------------------------------------------------------------------------------

    def submit(self, request: Request, done: Callable[[Any, SwarmError | None], None]) -> None:
        """Queue a request for the next turn; ``done`` is called when it is settled."""
        if len(self._queue) >= QUEUE_MAX:
            done(None, Unavailable(f"{QUEUE_MAX} requests are waiting", hint="retry later"))
            return
        body = request.body
        try:
            check_demotion(self._store, body, self._replica)
        except SwarmError as error:
            done(None, error)
            return
        self._queue.append(
            Work(
                lambda tx: control.run(tx, body, self._context),
                done,
                request.id,
                control.payload_size(body),
            )
        )

    def do(self, body: Any, done: Callable[[Any, SwarmError | None], None] | None = None) -> None:
        """Queue something of the leader's own; it leaves no record."""
        self._queue.append(Work(lambda tx: control.run(tx, body, self._context), done or _nobody))

    def register(self, identity: Identity, addr: str, body: RegisterNode, now: float) -> None:
        """An agent opens a session: its node is ready once the turn is settled."""
        assert self.dispatcher is not None
        dispatcher, node_id = self.dispatcher, identity.node_id
        if not dispatcher.admits(self._store.node(node_id), node_id, addr, now):
            return

        def done(node: Node | None, error: SwarmError | None) -> None:
            if node is not None and error is None:
                dispatcher.opened(node, addr, self._store, self.managers(), self._now)

        self.do(body, done)

    def knows_manager(self, node_id: str) -> bool:
        """Whether the node is a manager, or about to be one: what the leader's store says counts,
        whatever a certificate says."""
        node = self._store.node(node_id)
        return node is not None and (node.wants_seat or node.role is Role.MANAGER)

    def managers(self) -> tuple[Any, ...]:
        """Where the managers listen."""
        return manager_addresses(self._replica.configuration)

    # -- turns ------------------------------------------------------------------------------

    def work(self, now: float) -> None:
        """Open the next turn if there is something to decide and nothing in flight."""
        self._now = now
        self._check_silence(now)
        if self._unbuilt:
            self._build(now)
            return
        while self._turn is None and self._membership is None and not self._hands_over():
            if not (self._propose_membership() or self._open(now)):
                break

    def _hands_over(self) -> bool:
        """While leadership is being transferred nothing is proposed; what waits, waits."""
        return self._replica.transferee is not None

    def _open(self, now: float) -> bool:
        cluster_now = self.clock.at(now)
        if not (self._queue or self._is_due(cluster_now)):
            return False
        works = self._collect()
        version = self._replica.last_index + 1
        at = self._reconcilers_wake_at()
        due = at is not None and at <= cluster_now
        try:
            turn = decide(self._store, version, cluster_now, works, self._reconcilers, due=due)
            self._asked = not turn.asked
            expire_requests(turn.tx, cluster_now)
            entry = b"" if turn.tx.is_empty else self._store.encode(turn.tx)
        except Exception as problem:
            for work in works:
                work.done(None, internal(problem))
            raise
        self._report_bugs(turn)
        if turn.tx.is_empty:
            if not works:
                self._quiet_until = cluster_now + self._config.tick_s
            self._answer(turn)
            return True
        self._turn = turn  # First: if proposing fails, those who wait are told at the resignation.
        index = self._replica.propose(entry)
        assert index == version, f"proposed at {index}, decided for {version}"
        return False

    def _report_bugs(self, turn: Turn) -> None:
        for answer in turn.answers:
            if isinstance(answer.error, Internal) and answer.error.__cause__ is not None:
                self._out.observe(
                    "request.failed",
                    "critical",
                    error=answer.error.message,
                    exc=answer.error.__cause__,
                )

    def _collect(self) -> list[Work]:
        """The waiting work that fits one turn, and what agents reported."""
        works: list[Work] = []
        size = 0
        while self._queue and len(works) < TURN_CHANGES_MAX // 4:
            size += self._queue[0].size
            if works and size > TURN_BYTES_MAX:
                break
            works.append(self._queue.popleft())
        if self.dispatcher is not None and self.dispatcher.has_reports:
            works.extend(self._reports(self.dispatcher))
        return works

    def _reports(self, dispatcher: Dispatcher) -> Iterable[Work]:
        me = self._config.identity.node_id
        for node_id, sequence, statuses in dispatcher.take_reports(TURN_CHANGES_MAX // 2):
            body = RecordStatuses(node_id, statuses, me)

            def run(tx: Transaction, body: RecordStatuses = body) -> None:
                control.run(tx, body, self._context)

            def done(
                _: Any, __: SwarmError | None, node_id: str = node_id, sequence: int = sequence
            ) -> None:
                dispatcher.recorded(node_id, sequence)

            yield Work(run, done)

    def _is_due(self, cluster_now: float) -> bool:
        if self.dispatcher is not None and self.dispatcher.has_reports:
            return True
        if cluster_now < self._quiet_until:
            return False
        at = self._reconcilers_wake_at()
        return at is not None and at <= cluster_now

    def _reconcilers_wake_at(self) -> float | None:
        if not self._asked:
            times = [at for one, _ in self._reconcilers if (at := one.wake_at()) is not None]
            self._due_at, self._asked = min(times, default=None), True
        return self._due_at

    def settles(self, index: int, term: int) -> Transaction | None:
        """The overlay of the turn that committed as this entry, if it is this office's own."""
        turn = self._turn
        if turn is None or turn.version != index or term != self.term:
            return None
        return turn.tx

    def settled(self, commit: Commit, now: float) -> None:
        """The turn in flight is installed: answer, and tell the nodes it concerns."""
        self._now = now
        turn, self._turn = self._turn, None
        assert turn is not None and turn.version == commit.version
        if not self._reconcilers and self._store.has_swarm:
            self._furnish(now)
        if turn.asked:  # else no node is concerned either
            self._note(commit.changes)
            if self.dispatcher is not None:
                self.dispatcher.committed(commit.changes, self._store, self.managers(), now)
        self._answer(turn)

    def membership_applied(self, index: int) -> None:
        """A change of the configuration is committed: let the nodes say so."""
        if self._membership is not None and index >= self._membership:
            self._membership = None
        if self.dispatcher is not None:
            self.dispatcher.managers_changed(self._store, self.managers())

    def _note(self, changes: Iterable[Change]) -> None:
        if self.seats is not None:
            self.seats.committed(changes)
        for change in changes:
            if change.kind == "swarm" and change.new is not None and self.dispatcher:
                period = heartbeat_period(change.new.spec.heartbeat_period)
                self.dispatcher.set_period(period)

    def _answer(self, turn: Turn) -> None:
        for answer in turn.answers:
            answer.work.done(self._as_settled(answer.value), answer.error)

    def _as_settled(self, value: Any) -> Any:
        """What a request wrote, with what the reconcilers added to it in the same turn."""
        if value is None:
            return None
        found = self._store.get(kind_of(value), value.id)
        return found if found is not None and found.version == value.version else value

    # -- seats ------------------------------------------------------------------------------

    def _propose_membership(self) -> bool:
        configuration = self._replica.configuration
        if self.seats is None or self.seats.is_still(configuration):
            return False
        if self.seats.behind(self._store, configuration):
            seats = self.seats
            self._queue.appendleft(Work(lambda tx: seats.write(tx, configuration), _nobody))
            return False
        caught_up = self._replica.caught_up()
        for change in self.seats.changes(self._store, configuration, caught_up):
            with suppress(SwarmError):
                self._membership = self._replica.propose_membership(change)
                return True
        return False

    # -- silence and the end ----------------------------------------------------------------

    def _check_silence(self, now: float) -> None:
        if self.dispatcher is None:
            return
        silent = self.dispatcher.expired(self._store, now)
        if silent:
            self.do(SetNodeStates(silent))

    @property
    def is_idle(self) -> bool:
        """True if nothing is under way and nothing waits: what is settled is all there is."""
        reports = self.dispatcher is not None and self.dispatcher.has_reports
        waiting = self._queue or self._unbuilt or reports
        return self._turn is None and self._membership is None and not waiting

    @property
    def reconcilers(self) -> list[Reconciling]:
        """What decides, in the order of a round."""
        return [one for one, _ in self._reconcilers]

    def wake_at(self) -> float | None:
        """Monotonic time of the next deadline of a reconciler or a session."""
        if self._unbuilt:
            return self._now
        if self._turn is not None or self._membership is not None:
            return None
        times: list[float] = []
        at = self._reconcilers_wake_at()
        if at is not None:
            times.append(self.clock.monotonic(max(at, self._quiet_until)))
        if self.dispatcher is not None and (silence := self.dispatcher.wake_at()) is not None:
            times.append(silence)
        return min(times) if times else None

    def close(self, reason: str) -> None:
        """Step down: nobody is left without an answer."""
        turn, self._turn = self._turn, None
        if turn is not None:
            error = Unavailable(reason, outcome="unknown", hint="retry with the same request id")
            for answer in turn.answers:
                answer.work.done(None, error)
        queue, self._queue = self._queue, deque()
        for work in queue:
            work.done(None, Unavailable(reason, outcome="not_applied"))

    # -- founding ---------------------------------------------------------------------------

    def _found(self, tx: Transaction) -> None:
        """The first turn of a swarm: itself, its first node, its networks."""
        config, swarm = self._config, self._config.bootstrap
        assert swarm is not None
        tx.create(swarm, Because("found"))
        member = self._replica.configuration.members[0]
        tx.create(
            Node(
                id=config.identity.node_id,
                spec=NodeSpec(desired_role=Role.MANAGER, availability=config.availability),
                role=Role.MANAGER,
                description=config.description,
                addr=config.addr,
                manager=ManagerStatus(member.id, config.addr, self._replica.configuration.epoch),
            ),
            Because("found"),
        )
        create_predefined(tx, self._context)


def _nobody(value: Any, error: SwarmError | None) -> None:
    """For work whose outcome nobody waits for."""


def _unsettle(tx: Transaction, node_ids: Iterable[str]) -> None:
    """A new leader knows nothing of anyone: every node not down is unknown until it reports."""
    for node_id in node_ids:
        node = tx.node(node_id)
        if node is not None and node.state not in (NodeState.DOWN, NodeState.UNKNOWN):
            tx.update(
                replace(node, state=NodeState.UNKNOWN, message=UNKNOWN_MESSAGE),
                Because("new-leader"),
            )
