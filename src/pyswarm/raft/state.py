"""The whole state of one member, as figure 3.1 lists it, and the few ways in which it changes role.

Everything the other modules do is a function of this one mutable object: ``election`` (3.4, 9.6),
``replication`` (3.5, 3.6) and ``snapshotting`` (5) on the leader's side, ``follower`` on the other,
``membership`` (4), ``transfer`` (3.10), ``reads`` (6.4). They put messages into its outbox and
never send; :class:`~pyswarm.raft.replica.Replica` is the door.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyswarm.env import Rng
from pyswarm.raft.config import RaftConfig
from pyswarm.raft.configuration import Configuration
from pyswarm.raft.entry import Entry, HardState, MemberID
from pyswarm.raft.log import RaftLog
from pyswarm.raft.message import InstallSnapshot, Message
from pyswarm.raft.progress import Progress
from pyswarm.raft.role import NEXT_ROLES, Role
from pyswarm.raft.snapshot import Snapshot


class SnapshotReceiver:
    """A snapshot that is arriving in chunks."""

    __slots__ = ("chunks", "key", "running")

    def __init__(self, message: InstallSnapshot) -> None:
        self.key = receiver_key(message)
        self.chunks: list[bytes] = []
        self.running = 0
        """CRC-32 of the chunks so far."""


def receiver_key(message: InstallSnapshot) -> tuple[int, int, int, int]:
    """What tells one snapshot in transfer from another."""
    return (message.from_, message.index, message.index_term, message.chunks)


class PendingRead:
    """A read that waits for the proof that this member still leads."""

    __slots__ = ("ctx", "index", "reader", "round")

    def __init__(self, ctx: Any, reader: MemberID | None) -> None:
        self.ctx = ctx
        """The caller's own mark, or the request's number if it came from ``reader``."""
        self.reader = reader
        self.index = 0
        """The commit index when it was registered."""
        self.round = 0
        """The round of heartbeats that has to be answered by a majority."""


class State:
    """See the module's text. ``now`` is counted in ticks since the replica was made."""

    def __init__(
        self,
        config: RaftConfig,
        rng: Rng,
        hard_state: HardState,
        snapshot: Snapshot | None,
        entries: Sequence[Entry],
    ) -> None:
        # Persistent state (figure 3.1).
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.epoch = hard_state.epoch
        self.log = RaftLog(snapshot, entries)
        self.snapshot = snapshot
        self.saved = hard_state
        """The hard state as last handed out in a Ready."""

        # Volatile state of every member.
        self.config = config
        self.id = config.id
        self.rng = rng
        self.role = Role.FOLLOWER
        self.leader: MemberID | None = None
        self.now = 0
        self.election_elapsed = 0
        self.election_timeout = 0
        self.promised_until = 0
        """With leases: until then no vote is given, whatever else happens. It begins with a
        promise, for this member may have made one before it restarted."""
        self.renew_promise()
        self.may_campaign = True
        self.receiver: SnapshotReceiver | None = None
        self.removed = False
        self.elections = 0
        """How often this member became a candidate."""
        self.dropped = 0
        """Messages dropped for their epoch or address."""

        # Volatile state of candidates and leaders.
        self.votes: dict[MemberID, bool] = {}
        self.progress: dict[MemberID, Progress] = {}
        self.noop_index = 0
        """Index of the no-op of the term this member leads."""
        self.heartbeat_elapsed = 0
        self.round = 0
        self.round_ticks: dict[int, int] = {}
        """When each round of heartbeats that is not yet confirmed was sent."""
        self.confirmed_round = 0
        self.confirmed_tick = -1
        """When the latest round that a majority answered was sent: the lease begins there."""
        self.lease_void = False
        self.transferee: MemberID | None = None
        self.transfer_started = 0

        self.begin_outbox()
        self.refresh_members()
        self.restart_election_timer()

    def begin_outbox(self) -> None:
        """What waits for the next Ready, and the reads on their way there."""
        self.unproved_reads: list[PendingRead] = []
        self.forwarded_reads: dict[int, Any] = {}
        self.next_request = self.rng.getrandbits(48)
        """Drawn, so that an answer to an earlier life of this member answers nothing now."""
        self.proved_reads: list[tuple[Any, int]] = []
        self.aborted_reads: list[Any] = []

        self.messages: list[Message] = []
        self.after_sync: list[Message] = []
        self.snapshot_to_save: Snapshot | None = None
        self.restore: Snapshot | None = None
        self.removal_to_tell = False
        self.ready_number = 0

    # -- looking

    @property
    def configuration(self) -> Configuration:
        """The configuration in effect."""
        return self.log.configuration

    @property
    def is_voter(self) -> bool:
        """True if this member has a vote in the configuration in effect."""
        return self.id in self.configuration.voters

    def has_leader_contact(self) -> bool:
        """True if a leader was heard within the least election timeout.

        Then elections are not taken part in: whoever asks has lost touch, not the cluster (4.2.3).
        """
        if self.role is Role.LEADER or self.now < self.promised_until:
            return True
        heard = self.election_elapsed < self.config.election_timeout_ticks
        return self.leader is not None and heard

    # -- speaking

    def send(self, message: Message) -> None:
        """Lets ``message`` leave at once: it promises nothing."""
        self.messages.append(message)

    def promise(self, message: Message) -> None:
        """Lets ``message`` leave once everything up to now is on disk."""
        self.after_sync.append(message)

    # -- changing

    def renew_promise(self) -> None:
        """A leader is heard: with leases, it may count on this member for the least timeout."""
        if self.config.lease_reads:
            self.promised_until = self.now + self.config.election_timeout_ticks

    def restart_election_timer(self, *, retry: bool = False) -> None:
        """Draws the next election timeout (3.4).

        After an undecided election it is drawn from half the range: nobody leads, so nobody would
        be disturbed, and split votes are what makes the slowest elections slow.
        """
        base = self.config.election_timeout_ticks
        low, span = (base // 2, base - base // 2) if retry else (base, base)
        self.election_elapsed = 0
        self.election_timeout = low + self.rng.below(span + 1)

    def change_role(self, role: Role) -> None:
        """The only place where the role changes."""
        assert role in NEXT_ROLES[self.role], f"{self.role} cannot become {role}"
        if self.role is Role.LEADER:
            self.progress.clear()
            self.round_ticks.clear()
            self.transferee = None
            self.aborted_reads += [r.ctx for r in self.unproved_reads if r.reader is None]
            self.unproved_reads.clear()
        self.role = role
        self.votes.clear()

    def set_leader(self, leader: MemberID | None) -> None:
        """Notes who leads; reads that were sent to another are given back."""
        if leader != self.leader:
            self.leader = leader
            self.aborted_reads += self.forwarded_reads.values()
            self.forwarded_reads.clear()

    def set_term(self, term: int) -> None:
        """Enters a later term, in which this member has not voted yet."""
        assert term > self.term, "terms only grow"
        self.term, self.vote = term, None

    def become_follower(self, term: int, leader: MemberID | None, *, retry: bool = False) -> None:
        """Steps down, or follows ``leader`` (None while it is unknown)."""
        if term > self.term:
            self.set_term(term)
        assert term == self.term
        self.change_role(Role.FOLLOWER)
        self.set_leader(leader)
        self.restart_election_timer(retry=retry)

    def refresh_members(self) -> None:
        """To be called whenever the configuration in effect may have changed."""
        self.seen_configuration = self.log.configuration
        self.members = frozenset(self.seen_configuration.ids)

    def note_removal(self) -> None:
        """This member has learned that it was removed."""
        if not self.removed:
            self.removed = self.removal_to_tell = True
