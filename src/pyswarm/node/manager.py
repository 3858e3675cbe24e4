"""A node's seat among the managers: its replica of the log, and the store that follows it.

Raft's instructions (``Ready``) are carried out here: messages leave, batches go to the disk,
promises wait for it, committed entries become the store. While this member leads and its term's
no-op is applied, it also holds the :class:`~pyswarm.node.office.Office`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from pyswarm.env import Rng
from pyswarm.errors import ResourceExhausted, SwarmError, Unavailable
from pyswarm.model.session import ManagerAddress
from pyswarm.node.config import NodeConfig, RecoveredLog
from pyswarm.node.effects import PersistLog, Published, WrapKeys
from pyswarm.node.inputs import KeysWrapped, Persisted, SnapshotSaved
from pyswarm.node.messages import RaftPacket
from pyswarm.node.office import Office
from pyswarm.node.outbox import Outbox
from pyswarm.node.seats import context, holder
from pyswarm.node.snapshots import SnapshotRestorer, Snapshots, restore
from pyswarm.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    Message,
    RaftConfig,
    Ready,
    Replica,
)
from pyswarm.raft import Role as RaftRole
from pyswarm.store import Store

DISK_RETRY_S = 1.0
"""How long to wait before a write that failed (a full disk) is tried again."""

READ_TIMEOUT_S = 5.0
"""A read that cannot be proved linearizable for so long is refused."""

NO_LEADER = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)

MANAGERS = "managers"
"""The detail of an error that says of how many managers too few can be reached: whoever has it got
an answer, which will be the same for a while."""


@attrs.define
class _Read:
    done: Callable[[SwarmError | None], None]
    deadline: float


class Manager:
    """One member of the managers' log."""

    def __init__(
        self, config: NodeConfig, log: RecoveredLog, out: Outbox, rng: Rng, *, now: float
    ) -> None:
        self.config = config
        self.out = out
        self.office: Office | None = None
        self.wall = 0.0
        self._rng = rng
        self._now = now
        self._next_tick = now + config.tick_s
        self.disk_error = ""
        """Why nothing can be written now; this member neither leads nor votes meanwhile."""
        self._unsynced: deque[Ready] = deque()
        self._unapplied: deque[Ready] = deque()
        self._restorer: SnapshotRestorer | None = None
        self._submitted = 0
        self._retry_disk_at: float | None = None
        self._wrapped_by: bytes | None = None
        self._reads: dict[int, _Read] = {}
        self._next_read = 0
        self._peers: dict[int, ManagerAddress] = {}
        self._heard: dict[int, float] = {}
        self._began = now
        self.store = restore(log.snapshot.chunks) if log.snapshot else Store()
        self._timings = attrs.evolve(config.raft or RaftConfig(id=1), id=log.member_id)
        self.replica = self._replica(log)
        self.snapshots = Snapshots(self.replica, out, log.snapshot.index if log.snapshot else 0)
        self._wrap_keys()
        if len(self.replica.configuration.voters) == 1:
            self.replica.campaign()

    def _replica(self, log: RecoveredLog) -> Replica:
        return Replica(
            self._timings,
            self._rng.child("raft"),
            hard_state=log.hard_state,
            snapshot=log.snapshot,
            entries=log.entries,
            bootstrap=self._first_configuration(log),
        )

    def _first_configuration(self, log: RecoveredLog) -> Configuration | None:
        """A founder's own; one that joins learns it from the leader."""
        config = self.config
        is_new = log.hard_state == HardState() and log.snapshot is None and not log.entries
        if config.bootstrap is None or not is_new:
            return None
        me = Member(log.member_id, True, context(config.identity.node_id, config.addr))
        return Configuration((me,), log.member_id + 1)

    # -- what happens -----------------------------------------------------------------------

    def received(self, peer: ManagerAddress, message: Message) -> None:
        """A Raft message came from a peer; a member speaks for itself alone."""
        member = self.replica.configuration.get(message.from_)
        if member is not None and holder(member).node_id != peer.node_id:
            self.out.observe("peer.refused", "warning", addr=peer.addr, node=peer.node_id)
            return
        self._peers[message.from_] = peer
        self._heard[message.from_] = self._now
        self.replica.step(message)

    def advance_time(self, now: float) -> None:
        """Tick as often as time says; a node that slept through ticks does not make up for them."""
        self._now = now
        tick_s = self.config.tick_s
        if now >= self._next_tick:
            if (late := now - self._next_tick) > tick_s:
                self._slept(late)
            self._next_tick = max(self._next_tick + tick_s, now + tick_s / 2)
            self.replica.tick()
            self._expire_reads(now)
        if self._retry_disk_at is not None and now >= self._retry_disk_at:
            self._retry_disk_at = None
            self._submit(self._unsynced)

    def _slept(self, seconds: float) -> None:
        """Nobody is blamed for a silence that this node slept through."""
        self._began += seconds
        self._heard = {id: at + seconds for id, at in self._heard.items()}
        if self.office is not None and self.office.dispatcher is not None:
            self.office.dispatcher.slept(seconds)

    def wake_at(self) -> float:
        """When the next tick, or a deadline of the office, is due."""
        if self.snapshots.is_taking or self.is_restoring:
            return self._now
        at = self._next_tick
        if self.office is not None and (due := self.office.wake_at()) is not None:
            at = min(at, due)
        return at

    def disk_answered(self, answer: Persisted | SnapshotSaved | KeysWrapped) -> None:
        """The disk has done, or could not do, what it was asked."""
        if not isinstance(answer, KeysWrapped) and answer.seat != self.replica.id:
            return  # for the log of a seat that this node gave up
        match answer:
            case Persisted(number, _, None):
                self._persisted(number)
            case Persisted(_, _, error, is_final):
                assert error is not None
                self._refused(error, is_final)
            case SnapshotSaved(index, _, error):
                self.snapshots.saved(index, error, self._now)
            case KeysWrapped(needs_snapshot):
                if needs_snapshot:
                    self.snapshots.need(self.replica.last_index)

    def _refused(self, error: str, is_final: bool) -> None:
        """Nothing is on disk from a certain Ready on: hold back all promises, lead no more, and
        submit all of it again later (unless the disk takes nothing more in this life)."""
        if not self.disk_error:
            self.out.observe("disk.failed", "error", error=error, final=is_final)
        self.disk_error = error
        self.replica.may_campaign = False
        self.replica.step_down()
        if not is_final and self._retry_disk_at is None:
            self._retry_disk_at = self._now + DISK_RETRY_S

    def _persisted(self, number: int) -> None:
        # What was refused is on its way again: once more, behind what follows it, would undo that.
        self._retry_disk_at = None
        if self.disk_error:
            self.disk_error = ""
            self.replica.may_campaign = True
            self.out.observe("disk.recovered")
            self._submit(ready for ready in self._unsynced if ready.number > self._submitted)
        if not self._unsynced or self._unsynced[0].number > number:
            return
        while self._unsynced and self._unsynced[0].number <= number:
            self._synced(self._unsynced.popleft())
        while self._unsynced and not self._unsynced[0].must_sync:
            self._synced(self._unsynced.popleft())

    def _synced(self, ready: Ready) -> None:
        self._post(ready.messages_after_sync)
        self.replica.advance(ready)

    def _submit(self, readies: Iterable[Ready]) -> None:
        for ready in readies:
            self._submitted = ready.number
            if ready.must_sync:
                self.out.add(PersistLog(ready, self.replica.id))

    # -- Raft's instructions ----------------------------------------------------------------

    def drain(self, now: float) -> bool:
        """Carry out what the replica wants; True if anything follows from it that is to be done
        now, and not when the disk or a peer has answered."""
        self._now = now
        office, did = self.office, False
        while (ready := self.replica.ready()) is not None:
            did = did or bool(ready.committed or ready.reads or ready.aborted_reads)
            self._post(ready.messages)
            if ready.must_sync or self._unsynced:
                self._unsynced.append(ready)
                if not self.disk_error:
                    self._submit((ready,))
            else:
                self._synced(ready)
            self._apply(ready)
        self._follow_role()
        return did or self.office is not office

    def _post(self, messages: Iterable[Message]) -> None:
        for message in messages:
            peer = self._peer(message.to)
            if peer is not None:
                self.out.send(peer.node_id, peer.addr, RaftPacket(message))

    def _peer(self, member_id: int) -> ManagerAddress | None:
        """Where a member listens: what the log says, else where it last wrote from."""
        member = self.replica.configuration.get(member_id)
        return holder(member) if member is not None else self._peers.get(member_id)

    @property
    def is_restoring(self) -> bool:
        """True while a leader's snapshot is being decoded: the store is behind what the replica
        calls applied."""
        return self._restorer is not None

    def _apply(self, ready: Ready) -> None:
        """Behind all that waits for a snapshot before it."""
        self._unapplied.append(ready)
        self._apply_waiting()

    def _apply_waiting(self) -> None:
        while self._unapplied and self._restorer is None:
            ready = self._unapplied.popleft()
            if ready.restore is None:
                self._apply_now(ready)
            else:
                self.snapshots.replaced(ready.restore.index)
                self._restorer = SnapshotRestorer(ready.restore)
                self._unapplied.appendleft(attrs.evolve(ready, restore=None))

    def _restore_on(self, restorer: SnapshotRestorer) -> None:
        """The next slice of a snapshot; after the last one, what had to wait for it."""
        store = restorer.step()
        if store is not None:
            self.store, self._restorer = store, None
            self.out.add(Published(None, restored=True))
            self._wrap_keys()
            self._apply_waiting()
            self._follow_role()

    def _apply_now(self, ready: Ready) -> None:
        if ready.committed:
            for entry in ready.committed:
                self._apply_entry(entry)
            self._wrap_keys()
        for number, _ in ready.reads:
            self._end_read(number, None)
        for number in ready.aborted_reads:
            self._end_read(number, self.no_leader())

    def _apply_entry(self, entry: Entry) -> None:
        if entry.kind is EntryKind.NORMAL:
            self._install(entry)
        elif entry.kind is EntryKind.MEMBERSHIP and self.office is not None:
            self.office.membership_applied(entry.index)

    def _install(self, entry: Entry) -> None:
        """The leader installs its own overlay; everyone else applies the entry."""
        office = self.office if self._still_leads() else None
        tx = office.settles(entry.index, entry.term) if office is not None else None
        if office is not None and tx is not None:
            commit = self.store.install(tx)
            self.out.add(Published(commit))
            office.settled(commit, self._now)
        else:
            self.out.add(Published(self.store.apply(entry.index, entry.data)))

    # -- office -----------------------------------------------------------------------------

    def _still_leads(self) -> bool:
        office = self.office
        return (
            office is not None
            and self.replica.role is RaftRole.LEADER
            and self.replica.term == office.term
        )

    def _follow_role(self) -> None:
        if self.office is not None and not self._still_leads():
            self.resign("leadership was lost")
        if self.is_restoring:
            return
        has_swarm = self.store.has_swarm or self.config.bootstrap is not None
        if self.office is None and self.replica.is_leader_ready and has_swarm:
            self._take_office()

    def _take_office(self) -> None:
        term = self.replica.term
        self.office = Office(
            self.config,
            self.replica,
            self.store,
            self.out,
            self._rng.child(f"office {term}"),
            now=self._now,
            wall=self.wall,
        )
        self.out.observe("leader.elected", term=term)

    def resign(self, reason: str) -> None:
        """Drop the office; everyone waiting is told."""
        office, self.office = self.office, None
        if office is not None:
            self.out.observe("leader.resigned", term=office.term, reason=reason)
            office.close(reason)

    def work(self, now: float) -> None:
        """As leader: the next turn. As anyone: the next slice of a snapshot."""
        self._now = now
        if self._restorer is not None:
            self._restore_on(self._restorer)
            return
        if self.office is not None and self._still_leads():  # else `drain` ends it
            try:
                self.office.work(now)
            except Exception as problem:
                # A reconciler that raises is a bug: the turn is dropped, another member may lead.
                self.out.observe("turn.failed", "critical", error=repr(problem), exc=problem)
                self.resign(f"internal error: {problem!r}")
                self.replica.step_down()
        self.snapshots.work(self.store, now)

    def _wrap_keys(self) -> None:
        """Let the disk's keys be wrapped by what the swarm's object says now; said at the start of
        each life too, since an earlier one may have ended before it was done."""
        if self.store.has_swarm and self.store.swarm.unlock_key != self._wrapped_by:
            swarm = self.store.swarm
            self._wrapped_by = swarm.unlock_key
            self.out.add(WrapKeys(swarm.unlock_key, swarm.version))

    # -- reads ------------------------------------------------------------------------------

    @property
    def knows_all(self) -> bool:
        """Whether this store holds all that is settled, without asking anyone: this member leads,
        and it is the only voter."""
        return self.office is not None and len(self.replica.configuration.voters) == 1

    def read(self, done: Callable[[SwarmError | None], None], now: float) -> None:
        """Call ``done`` once the store holds everything that was settled before this moment."""
        self._next_read += 1
        try:
            self.replica.read_index(self._next_read)
        except ResourceExhausted as error:
            done(error)
        except SwarmError:
            done(self.no_leader())
        else:
            self._reads[self._next_read] = _Read(done, now + READ_TIMEOUT_S)

    def _end_read(self, number: int, error: SwarmError | None) -> None:
        read = self._reads.pop(number, None)
        if read is not None:
            read.done(error)

    def _expire_reads(self, now: float) -> None:
        for number, read in list(self._reads.items()):
            if now >= read.deadline:
                self._end_read(number, self.no_leader())

    def no_leader(self) -> Unavailable:
        """Why nobody can answer: with the number of managers that can be reached."""
        status = self.replica.status()
        voters = status.configuration.voters
        reachable = sum(1 for voter in voters if voter == self.replica.id or self._hears(voter))
        hint = (
            f"{reachable} of {len(voters)} managers can be reached, {len(voters) // 2 + 1} "
            "are needed"
        )
        if self.disk_error:
            hint += f"; this one does not lead: {self.disk_error}"
        return Unavailable(
            NO_LEADER,
            hint=hint,
            details={"reachable": reachable, MANAGERS: len(voters)},
        )

    def _hears(self, member_id: int) -> bool:
        """Lately: within three election timeouts every member that is up stands or votes. Who has
        just started gives the others that time as well."""
        timeout_s = self._timings.election_timeout_ticks * self.config.tick_s
        return self._now - self._heard.get(member_id, self._began) <= 3 * timeout_s

    @property
    def leader(self) -> ManagerAddress | None:
        """The node that leads, as far as this member knows."""
        leader = self.replica.leader
        return None if leader is None else self._peer(leader)

    def close(self) -> None:
        """Nobody is left waiting for this member."""
        self.resign("the node stops")
        for number in list(self._reads):
            self._end_read(number, Unavailable("the node stops"))
        assert not self._reads
