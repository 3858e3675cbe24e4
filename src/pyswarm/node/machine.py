"""One node, manager or worker or both, as one deterministic machine.

Everything a node does happens in :meth:`NodeMachine.step`: an input is given to the part it
concerns, then the parts are run until nothing moves any more, and the effects are returned. Raft,
store, turns, sessions and the agent are wired here and nowhere else, so whatever runs this machine
(the trio driver, the simulator, a test) runs the real wiring.

- Every node has an **agent**, with a session to the leader (its own node included).
- A manager has a :class:`~pyswarm.node.manager.Manager`: the replica, the store, and while it leads
  the office.
- A **follower** forwards requests to the leader, once, with the caller's identity, and answers
  agents by naming the leader. Reads are answered here, after a read index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs

from pyswarm.agent import (
    Agent,
    AgentInput,
    AgentStopped,
    FromManager,
    ManagersKnown,
    SessionFound,
    SessionLost,
    SessionMissing,
    Tick,
    ToManager,
)
from pyswarm.agent import Stop as StopAgent
from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, PermissionDenied, SwarmError, Unavailable
from pyswarm.ids import new_id
from pyswarm.machine import Effect
from pyswarm.model import Identity, ManagerStatus, Node, Request, Role
from pyswarm.model.requests import JoinNode, LeaveNode, RegisterNode
from pyswarm.model.session import (
    Heartbeat,
    ManagerAddress,
    OpenSession,
    ReportStatus,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    ToAgent,
    ToLeader,
)
from pyswarm.node import control
from pyswarm.node.calls import Barrier, Calls, Done, HandOver, Leave
from pyswarm.node.config import NodeConfig, RecoveredLog
from pyswarm.node.effects import DropLog, Halted, SaveBlob, WrapKeys
from pyswarm.node.inputs import (
    Call,
    FromExecutor,
    FromPeer,
    KeysWrapped,
    NodeInput,
    Persisted,
    SessionBroken,
    SnapshotSaved,
    Stop,
    Together,
    Wake,
)
from pyswarm.node.manager import Manager
from pyswarm.node.messages import (
    Farewell,
    ForwardReply,
    ForwardRequest,
    JoinReply,
    JoinRequest,
    RaftPacket,
)
from pyswarm.node.outbox import Outbox
from pyswarm.node.record import RECORD, NodeRecord
from pyswarm.raft import HardState, Message
from pyswarm.store import Store

NOT_A_MANAGER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. "
    "Please run this command on a manager node or promote the current node to a manager."
)


REMOVED_CODE = "permission_denied"
"""By which a manager refuses a session to a node that is on the list of removed ones."""

REMOVED_AFTER_S = 10.0
"""How long leaders must say that they do not know a node, before it takes itself for removed: far
longer than a deposed leader goes without noticing."""

NEVER_FOUNDED = "This node stopped before its swarm was founded."
FOUND_AGAIN = "remove its state directory and initialise the swarm again"

JOINED_AND_REMOVED = "Permission denied: this node has joined before, and was removed from swarm"
"""For one that asks once more under the request id of its first try."""

HAND_OVER_S = 1.0
"""How long a leader that stops waits for a successor, once its tasks have ended."""


class NodeMachine:
    """A whole node: see the module's text. ``now`` is the local monotonic clock throughout."""

    def __init__(self, config: NodeConfig, now: float) -> None:
        self.config = config
        self.identity = config.identity
        self.halted = False
        self._rng = Rng(config.seed).child(config.identity.node_id).child(config.incarnation)
        self._out = Outbox(config.identity.node_id)
        self._now = now
        self._wall = 0.0
        self._calls = Calls(self._out, self._rng.child("calls"))
        self._managers = config.managers
        self._stopping = False
        self._halt_reason = "stopped"
        self._unknown_since: float | None = None
        self._halt_by: float | None = None
        self._left_seats: tuple[int, ...] = ()
        self.manager: Manager | None = None
        self.agent = Agent(
            config.identity.node_id,
            config.description,
            self._rng.child("agent"),
            config.saved_tasks,
        )
        if config.log is not None and config.log.member_id:
            self._take_seat(config.log)
        self._leader_addr = ""
        self._followed: tuple[object, ...] = ()
        self._agent_at = self.agent.wake_at()
        self._greeted = False

    # -- what others may see ----------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self.identity.node_id

    @property
    def store(self) -> Store:
        """The settled state; raises ``FailedPrecondition`` on a worker."""
        if self.manager is None:
            raise FailedPrecondition(NOT_A_MANAGER)
        return self.manager.store

    @property
    def is_leader(self) -> bool:
        """True while this node leads and its office is open."""
        return self.manager is not None and self.manager.office is not None

    @property
    def managers(self) -> tuple[ManagerAddress, ...]:
        """The managers this node knows of."""
        return self._managers

    # -- the machine ------------------------------------------------------------------------

    def step(self, now: float, input: NodeInput) -> Sequence[Effect]:
        """Take one input in; return what the world should do, in this order."""
        self._now = now
        if self.halted:
            return ()
        self._take(input)
        self._run()
        return self._out.take()

    def wake_at(self) -> float | None:
        """The next moment at which time alone changes something."""
        due = (self._agent_at, self._calls.wake_at(), self._halt_by)
        times = [at for at in due if at is not None]
        if self.manager is not None:
            times.append(self.manager.wake_at())
        return min(times) if times else None

    def _take(self, input: NodeInput) -> None:
        match input:
            case Wake(wall):
                self._wall = wall
                self._greet_agent()
                if self.manager is not None:
                    self.manager.wall = wall
            case FromPeer(identity, addr, message):
                self._from_peer(identity, addr, message)
            case Call():
                self._call(input)
            case Together(calls):
                for call in calls:
                    self._call(call)
            case Persisted() | SnapshotSaved() | KeysWrapped():
                if self.manager is not None:
                    self.manager.disk_answered(input)
            case FromExecutor(event):
                self._tell_agent(event)
            case SessionBroken(addr, reason, untrusted):
                self._calls.broken(addr)
                self._tell_agent(SessionLost(addr, reason, untrusted))
            case Stop():
                self._stop()

    def _run(self) -> None:
        """Run all parts until nothing moves."""
        now = self._now
        if self.manager is not None:
            self.manager.advance_time(now)
        self._calls.expire(now)
        if self._agent_at is not None and self._agent_at <= now:
            self._tell_agent(Tick())
        moved = True
        while moved:
            self._deliver_to_self()
            moved = False
            if self.manager is not None:
                self.manager.work(now)
                moved = self.manager.drain(now)
                self._post_sessions()
            self._follow_leader()
            moved = moved or bool(self._out.to_self)
        self._check_founded()
        self._check_seat()
        if self._halt_by is not None and (now >= self._halt_by or not self.is_leader):
            self._halt(self._halt_reason)

    def _deliver_to_self(self) -> None:
        """Messages of this node's parts to each other, without a network between."""
        messages, self._out.to_self = self._out.to_self, []
        for message in messages:
            self._from_peer(self.identity, self.config.addr, message)

    # -- peers ------------------------------------------------------------------------------

    def _from_peer(self, identity: Identity | None, addr: str, message: object) -> None:
        if isinstance(message, JoinRequest):
            self._let_in(addr, message)
            return
        if identity is None or identity.swarm_id != self.identity.swarm_id:
            self._out.observe("peer.refused", "warning", addr=addr)
            return
        peer = ManagerAddress(identity.node_id, addr)
        match message:
            case RaftPacket(inner):
                if identity.role is Role.MANAGER:
                    self._from_replica(peer, inner)
            case OpenSession() | Heartbeat() | ReportStatus():
                self._from_agent(identity, addr, message)
            case ForwardRequest(number, request):
                self._serve_forwarded(identity, addr, number, request)
            case ForwardReply(number, value, error):
                self._calls.answered(identity.node_id, number, value, error)
            case Farewell(request_id, force):
                body = LeaveNode(identity.node_id, force)
                self._submit(Request(request_id, body, identity), _nobody, None)
            case JoinReply():
                pass
            case SessionRefused(session_id, code):
                self._note_removal(identity, session_id, code)
                # A node that lost its seat may still say so, but nobody else in its place.
                if identity.is_manager or any(
                    one.node_id == peer.node_id for one in self._managers
                ):
                    self._from_leader(peer, message)
            case _:
                if identity.role is Role.MANAGER:
                    self._from_leader(peer, message)

    def _from_replica(self, peer: ManagerAddress, message: Message) -> None:
        manager = self.manager
        if manager is not None:
            manager.received(peer, message)
        if not self.agent.session_id and (manager is None or message.to != manager.replica.id):
            # Wanted in a seat that this node does not know of: here is a manager to ask.
            self._tell_agent(ManagersKnown((peer,)))

    def _from_agent(self, identity: Identity, addr: str, message: ToLeader) -> None:
        """A session's message; only the leader holds sessions."""
        office = self.manager.office if self.manager is not None else None
        if office is None or office.dispatcher is None:
            leader = self.manager.leader if self.manager is not None else None
            leader_addr = leader.addr if leader and leader.node_id != self.node_id else ""
            refusal = SessionRefused(
                message.session_id, "unavailable", "this manager does not lead", leader_addr
            )
            self._out.send(identity.node_id, addr, refusal)
            return
        dispatcher, node_id = office.dispatcher, identity.node_id
        match message:
            case OpenSession(session_id, description):
                body = RegisterNode(node_id, description, addr, session_id)
                office.register(identity, addr, body, self._now)
            case Heartbeat(session_id):
                dispatcher.heartbeat(node_id, addr, session_id, self._now)
            case ReportStatus(session_id, sequence, statuses):
                dispatcher.reported(node_id, addr, session_id, sequence, statuses)

    def _post_sessions(self) -> None:
        office = self.manager.office if self.manager is not None else None
        if office is not None and office.dispatcher is not None:
            for one in office.dispatcher.take():
                self._out.send(one.node_id, one.addr, one.message)

    def _from_leader(self, peer: ManagerAddress, message: object) -> None:
        if isinstance(message, (SessionOpened, SessionChanged)):
            self._unknown_since = None
            self._note_managers(message.managers)
        if isinstance(message, ToAgent):
            self._tell_agent(FromManager(peer, message))

    def _note_removal(self, identity: Identity, session_id: str, code: str) -> None:
        """The swarm does not know this node: it was removed, and stops.

        Certain where a manager has it on its list of removed nodes, and where the leader ended our
        open session by it. A leader that never knew us may have been deposed without having heard
        of it; one that still says so later has not.
        """
        if code not in ("not_found", REMOVED_CODE) or not identity.is_manager:
            return  # a manager that does not lead knows nothing about it
        if self._unknown_since is None:
            self._unknown_since = self._now
        is_ours = bool(session_id) and session_id == self.agent.session_id
        is_certain = is_ours or code == REMOVED_CODE
        if is_certain or self._now >= self._unknown_since + REMOVED_AFTER_S:
            self._halt_reason = "removed"
            self._stop()

    # -- joining ----------------------------------------------------------------------------

    def _let_in(self, addr: str, message: JoinRequest) -> None:
        """Someone without an identity shows a token; the leader decides."""
        request = Request(
            message.request_id,
            JoinNode(
                token=message.token,
                addr=message.addr,
                description=message.description,
                availability=message.availability,
            ),
            None,
        )

        def answer(value: object, error: SwarmError | None) -> None:
            reply = JoinReply(message.request_id, error=error)
            if isinstance(value, Node):
                reply = JoinReply(
                    message.request_id,
                    value.id,
                    value.spec.desired_role,
                    self.identity.swarm_id,
                    self._known_managers(),
                )
            elif error is None:
                reply = attrs.evolve(reply, error=PermissionDenied(JOINED_AND_REMOVED))
            self._out.send("", addr, reply)

        self._submit(request, answer, None)

    def _known_managers(self) -> tuple[ManagerAddress, ...]:
        office = self.manager.office if self.manager is not None else None
        if office is not None:
            return tuple(office.managers())
        return self._managers

    # -- requests ---------------------------------------------------------------------------

    def _call(self, call: Call) -> None:
        token = call.token
        if self._stopping:
            self._out.reply(token, error=Unavailable("this node is stopping"))
        elif isinstance(call.body, Leave):
            self._leave(token)
        elif isinstance(call.body, HandOver):
            self._hand_over()
            self._out.reply(token)
        elif self.manager is None:
            self._out.reply(token, error=FailedPrecondition(NOT_A_MANAGER))
        elif isinstance(call.body, Barrier):
            self.manager.read(lambda error: self._out.reply(token, None, error), self._now)
        elif isinstance(call.body, Request):
            self._submit(
                call.body,
                lambda value, error: self._out.reply(token, value, error),
                call.deadline,
            )
        else:
            raise AssertionError(f"not a call: {call.body!r}")

    def _submit(self, request: Request, done: Done, deadline: float | None) -> None:
        """Give a request to the leader: this node's own office, or another node's."""
        try:
            control.check_caller(request.identity, request.body)
        except SwarmError as error:
            done(None, error)
            return
        manager = self.manager
        if manager is None:
            done(None, FailedPrecondition(NOT_A_MANAGER))
        elif manager.office is not None:
            manager.office.submit(request, done)
        elif (leader := manager.leader) is None or leader.node_id == self.node_id:
            done(None, manager.no_leader())
        else:
            self._calls.forward(leader, request, done, self._now, deadline)

    def _serve_forwarded(
        self, identity: Identity, addr: str, number: int, request: Request
    ) -> None:
        """A follower's caller asks through it; only managers may forward, and only once."""

        def answer(value: object, error: SwarmError | None) -> None:
            self._out.send(identity.node_id, addr, ForwardReply(number, value, error))

        office = self.manager.office if self.manager is not None else None
        if identity.role is not Role.MANAGER:
            self._out.observe("peer.refused", "warning", addr=addr, node=identity.node_id)
        elif office is None:
            answer(None, Unavailable("raft: this manager is not the leader"))
        elif not office.knows_manager(identity.node_id):
            # Its certificate is older than its demotion, or than the list of removed nodes.
            self._out.observe("peer.refused", "warning", addr=addr, node=identity.node_id)
            answer(None, Unavailable(f"node {identity.node_id} is no manager of this swarm"))
        else:
            office.submit(request, answer)

    # -- the agent --------------------------------------------------------------------------

    def _tell_agent(self, event: AgentInput) -> None:
        for effect in self.agent.step(self._now, event):
            match effect:
                case ToManager(manager, message):
                    node_id = manager.node_id
                    if manager.addr == self.config.addr:
                        node_id = self.node_id
                    self._out.send(node_id, manager.addr, message)
                case SessionMissing(seconds, addrs, reason):
                    fields = {"seconds": round(seconds), "addrs": addrs, "reason": reason}
                    self._out.observe("session.missing", "warning", **fields, hint=effect.hint)
                case SessionFound(addr):
                    self._out.observe("session.found", addr=addr)
                case AgentStopped():
                    hands_over = self.manager is not None and self.manager.replica.transferee
                    self._halt_by = self._now + (HAND_OVER_S if hands_over else 0.0)
                case _:
                    self._out.add(effect)
        self._agent_at = self.agent.wake_at()

    def _greet_agent(self) -> None:
        """The first thing an agent hears is where managers were when the node last ran."""
        if not self._greeted:
            self._greeted = True
            self._tell_agent(ManagersKnown(self._managers))

    def _follow_leader(self) -> None:
        """A manager's agent learns of a new leader from the log, sooner than from a refusal."""
        if self.manager is None:
            return
        replica = self.manager.replica
        seen = (replica, replica.leader, replica.configuration, self.manager.office)
        if seen == self._followed:
            return
        leader = self.manager.leader
        if replica.role.name == "LEADER" and self.manager.office is None:
            return
        addr = leader.addr if leader is not None else ""
        if addr and addr != self._leader_addr:
            self._leader_addr = addr
            self._calls.follow(addr)
            known = tuple(self._known_managers()) or self._managers
            if leader is not None and leader not in known:
                known = (*known, leader)
            self._tell_agent(ManagersKnown(known, addr))
        if replica.leader is not None and replica.configuration.get(replica.leader) is not None:
            self._followed = seen

    # -- seat and record --------------------------------------------------------------------

    def _take_seat(self, log: RecoveredLog) -> None:
        self.manager = Manager(
            self.config, log, self._out, self._rng.child(f"seat {log.member_id}"), now=self._now
        )
        self.manager.wall = self._wall

    def _note_managers(self, managers: tuple[ManagerAddress, ...]) -> None:
        if managers and managers != self._managers:
            self._managers = managers
            self._save_record()
            # News that come late are none for a session, but what they name is worth asking.
            self._tell_agent(ManagersKnown(managers))

    def _check_founded(self) -> None:
        """A founder that stopped before its swarm was on disk has nothing to go on with, and there
        is nobody to ask: better to say so than to wait for ever."""
        manager = self.manager
        if manager is None or manager.store.has_swarm or self.config.bootstrap is not None:
            return
        others = any(one.node_id != self.node_id for one in self._managers)
        is_alone = not others and not manager.replica.configuration.members
        if manager.replica.is_leader_ready or is_alone:
            self._halt("failed", FailedPrecondition(NEVER_FOUNDED, hint=FOUND_AGAIN))

    def _check_seat(self) -> None:
        """Take or give up the seat that the leader's last word about this node says."""
        if self.manager is not None and self.manager.replica.removed:
            self._leave_seat()
        node = self.agent.node
        seat = node.manager if node is not None else None
        if node is not None and self.agent.session_id and self._has_lost_seat(seat):
            self._leave_seat()
        if self.manager is None and seat is not None and seat.member_id not in self._left_seats:
            self.identity = Identity(self.node_id, Role.MANAGER, self.identity.swarm_id)
            self._take_seat(RecoveredLog(seat.member_id, HardState(epoch=seat.epoch)))
            self._save_record()
            self._out.observe("seat.taken", member=seat.member_id)

    def _has_lost_seat(self, seat: ManagerStatus | None) -> bool:
        """Whether the leader, with which there is a session, says that this seat was taken away.

        A replica learns it from the log, or by asking the members it knows; unless the log never
        reached it, or they have all left the swarm since. One that follows a leader of its own log
        has a seat there, whatever a swarm that was begun anew by force says.
        """
        if self.manager is None:
            return False
        replica = self.manager.replica
        has = seat is not None and (seat.member_id == replica.id or seat.epoch != replica.epoch)
        return not has and self.manager.leader is None

    def _leave_seat(self) -> None:
        manager, self.manager = self.manager, None
        assert manager is not None
        manager.close()
        self._left_seats = (*self._left_seats, manager.replica.id)
        self.config = attrs.evolve(self.config, bootstrap=None)  # A swarm is founded once.
        self.identity = Identity(self.node_id, Role.WORKER, self.identity.swarm_id)
        self._out.add(DropLog())
        self._out.add(WrapKeys(b"", 0))
        self._save_record()
        self._out.observe("seat.left", member=manager.replica.id)

    def record(self) -> NodeRecord:
        """What this node must remember of itself."""
        replica = self.manager.replica if self.manager is not None else None
        return NodeRecord(
            identity=self.identity,
            addr=self.config.addr,
            member_id=replica.id if replica is not None else 0,
            epoch=replica.epoch if replica is not None else 0,
            incarnation=self.config.incarnation,
            managers=self._managers,
        )

    def _save_record(self) -> None:
        self._out.add(SaveBlob(RECORD, self.record().to_bytes()))

    # -- the end ----------------------------------------------------------------------------

    def _stop(self) -> None:
        """Hand over leadership if there is someone, end the tasks, then halt."""
        if self._stopping:
            return
        self._stopping = True
        self._hand_over()
        self._tell_agent(StopAgent())

    def _hand_over(self) -> None:
        if self.is_leader and self.manager is not None:
            with contextlib.suppress(SwarmError):
                self.manager.replica.transfer_leadership()

    def _leave(self, token: int) -> None:
        """A worker says goodbye to its leader; a manager has given up its seat before."""
        self._halt_reason = "left"
        manager = self.agent.manager
        if self.manager is None and manager is not None:
            farewell = Farewell(new_id(self._rng))
            self._out.send(manager.node_id, manager.addr, farewell)
        self._out.reply(token)
        self._stop()

    def _halt(self, reason: str, error: SwarmError | None = None) -> None:
        if self.halted:
            return
        if self.manager is not None:
            self.manager.close()
        self._calls.close()
        self.halted = True
        self._out.add(Halted(reason, error))


def _nobody(value: object, error: SwarmError | None) -> None:
    """For what nobody waits for."""
