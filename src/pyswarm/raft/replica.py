"""One member of a replicated log: pure, synchronous, deterministic.

A driver feeds it messages, ticks and proposals, takes :class:`~pyswarm.raft.ready.Ready` batches
out, writes, sends and applies what they say, and reports what is on disk::

    replica.step(message)            # something arrived
    replica.tick()                   # every TICK_SECONDS
    index = replica.propose(b"x=1")  # only on the leader
    while ready := replica.ready():
        send(ready.messages)
        write_and_sync(ready.snapshot, ready.hard_state, ready.entries)
        send(ready.messages_after_sync)
        for entry in ready.committed: apply(entry)
        replica.advance(ready)

What it does on a message is in :mod:`pyswarm.raft.dispatch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyswarm.env import Rng
from pyswarm.errors import ResourceExhausted, Unavailable
from pyswarm.raft import dispatch, election, leadership, membership, reads, replication
from pyswarm.raft.config import RaftConfig, check_command
from pyswarm.raft.configuration import Configuration, MembershipChange, encode_configuration
from pyswarm.raft.entry import Entry, EntryKind, HardState, MemberID
from pyswarm.raft.log import Write
from pyswarm.raft.message import Message
from pyswarm.raft.ready import Ready
from pyswarm.raft.role import Role
from pyswarm.raft.snapshot import SNAPSHOT_CHUNK_BYTES_MAX, Snapshot
from pyswarm.raft.state import State
from pyswarm.raft.status import Status, status_of

SLOW_FOLLOWER_ENTRIES = 500
"""Entries kept before a snapshot, for followers that are only a little behind."""
HELD_ENTRIES_MAX = 100_000
"""Entries kept at most for a follower that is receiving an earlier snapshot just now."""


class Replica:
    """One member. See the module's text for how to drive it.

    ``hard_state``, ``snapshot`` and ``entries`` are what the disk held; nothing for a member that
    starts for the first time. A *founder* gets ``bootstrap``, the same on all founders: it becomes
    entry 1. A member that *joins* gets ``HardState(epoch=...)`` of the cluster alone, and
    everything else from the leader.
    """

    def __init__(
        self,
        config: RaftConfig,
        rng: Rng,
        *,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
        bootstrap: Configuration | None = None,
    ) -> None:
        hard_state = hard_state or HardState()
        fresh = hard_state.term == 0 and snapshot is None and not entries
        assert bootstrap is None or fresh, "only a new member can be a founder"
        self._s = State(config, rng, hard_state, snapshot, entries)
        if bootstrap is not None:
            self._found(bootstrap)

    def _found(self, configuration: Configuration) -> None:
        s = self._s
        assert s.id in configuration, "a founder is a member"
        s.term, s.epoch = 1, configuration.epoch
        s.log.push(Entry(1, 1, EntryKind.MEMBERSHIP, encode_configuration(configuration)))
        s.refresh_members()

    # -- what it is

    @property
    def id(self) -> MemberID:
        """This member's id."""
        return self._s.id

    @property
    def epoch(self) -> int:
        """The cluster's epoch."""
        return self._s.epoch

    @property
    def term(self) -> int:
        """The current term."""
        return self._s.term

    @property
    def role(self) -> Role:
        """The role in the current term."""
        return self._s.role

    @property
    def leader(self) -> MemberID | None:
        """Who leads the current term, as far as this member knows."""
        return self._s.leader

    @property
    def last_index(self) -> int:
        """The last entry in the log. The next proposal gets the index after it."""
        return self._s.log.last_index

    @property
    def commit_index(self) -> int:
        """The last entry known to be committed."""
        return self._s.log.commit_index

    @property
    def applied_index(self) -> int:
        """The last entry handed out in ``Ready.committed`` (or covered by a snapshot)."""
        return self._s.log.applied_index

    @property
    def stable_index(self) -> int:
        """The last entry on this member's disk."""
        return self._s.log.stable_index

    @property
    def configuration(self) -> Configuration:
        """The configuration in effect: the latest in the log, committed or not."""
        return self._s.configuration

    @property
    def committed_configuration(self) -> Configuration:
        """The latest configuration that is committed."""
        return self._s.log.committed_configuration

    @property
    def removed(self) -> bool:
        """True once this member knows that it is no member any more."""
        return self._s.removed

    @property
    def is_leader_ready(self) -> bool:
        """True on a leader whose no-op was handed out to be applied: its state machine then holds
        every entry that was committed before its term."""
        s = self._s
        return s.role is Role.LEADER and s.log.applied_index >= s.noop_index

    @property
    def may_campaign(self) -> bool:
        """The driver's switch: off while this member could not store a vote (disk full)."""
        return self._s.may_campaign

    @may_campaign.setter
    def may_campaign(self, value: bool) -> None:
        self._s.may_campaign = value

    @property
    def transferee(self) -> MemberID | None:
        """Whom leadership is being handed to; proposals are refused meanwhile."""
        return self._s.transferee

    def caught_up(self) -> tuple[MemberID, ...]:
        """On a leader: the learners that may be promoted now."""
        s = self._s
        return tuple(
            id for id in s.configuration.learners if id in s.progress and s.progress[id].caught_up
        )

    def active_members(self) -> tuple[MemberID, ...]:
        """On a leader: the members heard within an election timeout, itself among them. With
        ``Configuration.keeps_quorum_without`` this answers whether a removal is safe."""
        return tuple(sorted(leadership.active_members(self._s)))

    def status(self) -> Status:
        """An immutable record of all that is worth knowing."""
        return status_of(self._s)

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``; None if it is compacted away or not there yet."""
        log = self._s.log
        return log.range(index, index)[0] if log.base_index < index <= log.last_index else None

    def entries(self) -> tuple[Entry, ...]:
        """All entries in memory (a copy: for tests and tools)."""
        return tuple(self._s.log.entries)

    # -- what it is told

    def tick(self) -> None:
        """One tick of time has passed."""
        s = self._s
        s.now += 1
        if s.role is Role.LEADER:
            leadership.tick_leader(s)
            return
        s.election_elapsed += 1
        if s.election_elapsed >= s.election_timeout:
            election.on_timeout(s)
        elif s.forwarded_reads and s.now % s.config.heartbeat_ticks == 0:
            reads.resend_reads(s)

    def quiet_ticks(self) -> int:
        """How many of the next ticks do nothing but count, if nothing else happens. A driver may
        give these late and together (before it hands over a message), and sleep meanwhile."""
        s = self._s
        every = s.config.heartbeat_ticks
        if s.role is Role.LEADER:
            return max(0, every - s.heartbeat_elapsed - 1)
        quiet = s.election_timeout - s.election_elapsed - 1
        if s.forwarded_reads:
            quiet = min(quiet, every - s.now % every - 1)
        return max(0, quiet)

    def step(self, message: Message) -> None:
        """A message has arrived. Never raises for what another member may send."""
        dispatch.step(self._s, message)

    def propose(self, data: bytes) -> int:
        """Appends a command to the log; returns its index. It is committed once it comes back in
        ``Ready.committed`` with this index and the current term.

        Raises ``Unavailable`` unless this member leads (``details["leader"]`` says who does) and is
        not handing over, ``ResourceExhausted`` while too much is uncommitted, ``InvalidArgument``
        if it is too large or no bytes.
        """
        s = self._s
        size = len(check_command(data))
        if s.role is not Role.LEADER:
            raise leadership.not_leader(s)
        if s.transferee is not None:
            raise Unavailable("raft: leadership is being transferred", hint="retry")
        waiting = s.log.uncommitted_bytes
        if waiting and waiting + size > s.config.max_uncommitted_bytes:
            raise ResourceExhausted(
                f"raft: {waiting} bytes of proposals wait to be committed", hint="retry later"
            )
        return s.log.push_command(s.term, data)

    def propose_membership(self, change: MembershipChange) -> int:
        """Appends a membership change; returns its index. The new configuration is in effect at
        once (``configuration``), and certain when that index is committed.

        Raises ``Unavailable`` unless this member leads and is ready, ``FailedPrecondition`` while
        another change is under way or the change is not safe, ``NotFound`` for an unknown member.
        """
        return membership.propose_membership(self._s, change)

    def transfer_leadership(self, to: MemberID | None = None) -> None:
        """Hands leadership to a voter (None: the one with the longest log), once that has caught
        up. Proposals are refused meanwhile; after an election timeout it is given up.

        Raises ``Unavailable`` unless this member leads, ``NotFound``, ``FailedPrecondition``.
        """
        leadership.transfer_leadership(self._s, to)

    def read_index(self, ctx: Any) -> None:
        """Asks for the index at which a read is linearizable; ``ctx`` comes back in
        ``Ready.reads`` once that index is applied here, or in ``Ready.aborted_reads``.

        Works on every member. Raises ``Unavailable`` while no leader is known.
        """
        reads.read_index(self._s, ctx)

    def campaign(self) -> None:
        """Starts an election now. Nothing happens on a leader, on a member that has no vote, and
        while a leader's lease is promised."""
        s = self._s
        promised = s.now < s.promised_until and s.configuration.voters != (s.id,)
        if s.role is not Role.LEADER and election.can_campaign(s) and not promised:
            election.campaign(s)

    def step_down(self) -> None:
        """Gives up leadership (or a candidacy) without a successor, in the same term."""
        dispatch.step_aside(self._s)

    def report_unreachable(self, id: MemberID) -> None:
        """The transport could not deliver to ``id``."""
        replication.report_unreachable(self._s, id)

    # -- snapshots

    def snapshot_at(self, index: int, chunks: Sequence[bytes]) -> Snapshot:
        """The snapshot of the application's state at ``index``, which it has applied."""
        log = self._s.log
        assert index <= log.applied_index
        assert all(0 < len(chunk) <= SNAPSHOT_CHUNK_BYTES_MAX for chunk in chunks)
        term = log.term_at(index)
        assert term is not None, "older than the last snapshot"
        return Snapshot(index, term, log.configuration_at(index), tuple(chunks))

    def compact(self, snapshot: Snapshot, keep_entries: int = SLOW_FOLLOWER_ENTRIES) -> bool:
        """Takes the application's own snapshot; the log before it, but for ``keep_entries``, is
        forgotten. The next Ready carries it to the disk. False if a later one is there already."""
        s = self._s
        if s.snapshot is not None and snapshot.index <= s.snapshot.index:
            return False
        assert snapshot.index <= s.log.applied_index
        assert s.log.matches(snapshot.index, snapshot.term)
        s.snapshot = s.snapshot_to_save = snapshot
        s.log.forget_configurations(snapshot.index)
        s.log.compact(min(snapshot.index - keep_entries, self._held_index(snapshot.index)))
        return True

    def _held_index(self, index: int) -> int:
        """Followers that are receiving an earlier snapshot will need the entries after it."""
        senders = [p.sender for p in self._s.progress.values() if p.sender is not None]
        held = min((sender.snapshot.index for sender in senders), default=index)
        return max(held, index - HELD_ENTRIES_MAX)

    # -- what it wants

    def ready(self) -> Ready | None:
        """What is to be done now, or None. See :mod:`pyswarm.raft.ready`."""
        s = self._s
        if s.role is Role.LEADER:
            replication.pump(s)
        log = s.log
        if self._is_quiet():
            return None
        hard_state = None
        if s.term != s.saved.term or s.vote != s.saved.vote or s.epoch != s.saved.epoch:
            hard_state = s.saved = HardState(s.term, s.vote, s.epoch)
        entries = log.take_entries()
        committed = log.take_committed()
        reads_done = reads.take_reads(s)
        if not (
            entries
            or committed
            or s.messages
            or s.after_sync
            or hard_state
            or reads_done
            or s.snapshot_to_save
            or s.aborted_reads
            or s.removal_to_tell
        ):
            return None
        s.ready_number += 1
        voted = s.term if s.vote == s.id else 0
        log.writes.append(Write(s.ready_number, log.last_index, voted))
        ready = Ready(
            s.ready_number,
            hard_state,
            entries,
            s.snapshot_to_save,
            s.restore,
            tuple(s.messages),
            tuple(s.after_sync),
            committed,
            reads_done,
            tuple(s.aborted_reads),
            s.removal_to_tell,
        )
        s.messages.clear()
        s.after_sync.clear()
        s.aborted_reads.clear()
        s.snapshot_to_save = s.restore = None
        s.removal_to_tell = False
        return ready

    def _is_quiet(self) -> bool:
        """True if nothing has happened since the last Ready, as most of those who ask find."""
        s = self._s
        log = s.log
        return (
            log.handed_index == log.last_index
            and log.applied_index == log.commit_index
            and not s.messages
            and not s.after_sync
            and s.term == s.saved.term
            and s.vote == s.saved.vote
            and s.epoch == s.saved.epoch
            and not s.proved_reads
            and not s.aborted_reads
            and s.snapshot_to_save is None
            and not s.removal_to_tell
        )

    def advance(self, ready: Ready) -> None:
        """This Ready, and so all before it, is on disk."""
        s = self._s
        write = s.log.writes.popleft()
        assert write.number == ready.number, "Readys are advanced in the order they were taken"
        if write.last_index > s.log.stable_index:
            s.log.stable_index = write.last_index
            if s.role is Role.LEADER:
                leadership.advance_commit(s)
        if write.term_voted:
            election.own_vote_stored(s, write.term_voted)
