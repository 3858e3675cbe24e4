"""A replicated state machine for any application: Raft, a log on disk, and a transport, under trio.

    class Counter:
        value = 0
        def apply(self, command: bytes) -> int:
            self.value += int(command)
            return self.value
        def snapshot(self) -> bytes: return b"%d" % self.value
        def restore(self, data: bytes) -> None: self.value = int(data)

    async with run_raft(RaftNode(Counter(), storage, transport, id=1, founders=addresses)) as node:
        print(await node.propose(b"5"))

``apply`` is called on every member with the same commands in the same order, and must decide by
them alone. What it returns (or raises) on the member that proposed comes back from ``propose``.

A proposal may be made on any member: a follower hands it to the leader, is told index and term, and
answers when it has applied that entry itself. A proposal whose fate is not known (the leader was
lost in between) raises ``Unavailable`` with ``outcome="unknown"``: it may still be applied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any

import attrs
import msgpack
import trio

from pyswarm.env import Rng, system_entropy
from pyswarm.errors import InvalidArgument, SwarmError, Unavailable, from_wire
from pyswarm.raft import (
    TICK_SECONDS,
    Entry,
    EntryKind,
    MemberID,
    MembershipChange,
    PromoteMember,
    RaftConfig,
    Ready,
)
from pyswarm.raft.configuration import decode_configuration
from pyswarm.raft.status import Status
from pyswarm.raft.wire import from_form
from pyswarm.runtime.raftaddresses import Addresses, check_address
from pyswarm.runtime.raftclock import TickClock
from pyswarm.runtime.raftgreeting import DiskLost
from pyswarm.runtime.raftmetrics import RaftMetrics, histogram_of
from pyswarm.runtime.raftpeers import LONE_WAITERS, PUMP_ENTRIES, Frame, Peers
from pyswarm.runtime.raftsnapshots import Snapshots
from pyswarm.runtime.raftstart import begin, written
from pyswarm.runtime.rafttransport import RaftTransport
from pyswarm.runtime.raftwaiter import (
    Results,
    displaced,
    expire,
    lost,
    outcome_of,
    remember,
    stopped,
    tell_readers,
    too_late,
)
from pyswarm.runtime.statemachine import AnyStateMachine
from pyswarm.runtime.storage.errors import DiskFull, WriteFailed
from pyswarm.runtime.storage.protocol import Batch, LogStorage, Timed
from pyswarm.runtime.waiter import Bell, Waiter, checked_timeout

SNAPSHOT_ENTRIES = 10_000
"""Entries applied between two snapshots."""
DISK_RETRY_SECONDS = 1.0
"""After a write that failed: how long until it is tried again."""
PROPOSE_SECONDS = 10.0
"""How long a proposal is tried where the caller says nothing."""
RETRY_SECONDS = 0.05
"""Between two tries while there is no leader."""


class RaftNode:
    """One member. Made here, run by :func:`run_raft`.

    ``founders`` (id → address, the same on all) begins a group where the storage is empty; a member
    that joins later has none, but the id that ``change(AddMember(...))`` gave it, and the group's
    ``epoch``. ``force_new_cluster`` makes a new group of what this member's storage has: when a
    majority is lost for good. Raises what the storage's ``load`` raises, and ``FailedPrecondition``
    if there is nothing to make a group of.
    """

    def __init__(
        self,
        machine: AnyStateMachine,
        storage: LogStorage,
        transport: RaftTransport,
        *,
        id: MemberID,
        founders: Mapping[MemberID, str] | None = None,
        epoch: int = 0,
        config: RaftConfig | None = None,
        tick_seconds: float = TICK_SECONDS,
        snapshot_entries: int = SNAPSHOT_ENTRIES,
        rng: Rng | None = None,
        force_new_cluster: bool = False,
    ) -> None:
        self.machine = machine
        self.storage = storage
        self.transport = transport
        self.failure: DiskFull | WriteFailed | DiskLost | None = None
        """Why this member has stopped by itself."""
        beginning = begin(
            machine,
            storage,
            attrs.evolve(config, id=id) if config is not None else RaftConfig(id=id),
            rng or Rng(system_entropy(16)),
            founders=founders or {},
            epoch=epoch,
            forced_at=transport.address if force_new_cluster else None,
        )
        replica = self.replica = beginning.replica
        self.notes = beginning.notes
        """What was cut or cleared away on the disk when this member was started."""
        self._unwritten = beginning.unwritten
        self._addresses = Addresses(founders or {})
        self._peers = Peers(replica, transport, self._addresses, storage)
        self._bell = Bell()
        self._problem: Exception | None = None  # for drive to raise
        self._is_driven = self._is_pumping = False
        self._proposed = 0  # since the last pump
        self._answered = 0  # proposals, by the last entries that were applied
        self._clock = TickClock(self.replica, tick_seconds)
        self._unsynced: deque[Ready] = deque()
        self._retry_at: float | None = None
        self._waiting: dict[int, Waiter] = {}  # by index
        self._forwarded: dict[int, Waiter] = {}  # by request
        self._reading: dict[int, Waiter] = {}
        self._recent: Results = {}
        self._number = 0
        self._led_by: MemberID | None = None
        self._applied = self.replica.applied_index
        self._late: deque[Ready] = deque()  # what waits for a leader's snapshot, and it
        self._snapshots = Snapshots(machine, replica, storage, snapshot_entries, self._bell.ring)
        self._proposals = 0  # for metrics
        self._stopped = trio.Event()

    # -- for callers

    @property
    def is_leader(self) -> bool:
        """True while this member leads and holds all that was committed before its term."""
        return self.replica.is_leader_ready and not self._late

    @property
    def leader(self) -> MemberID | None:
        """Who leads, as far as this member knows."""
        return self.replica.leader

    @property
    def refused(self) -> Mapping[str, SwarmError]:
        """Why peers are not heard, by address: ``IncompatiblePeer``, ``DiskLost``."""
        return self._peers.refused

    def status(self) -> Status:
        """Term, role, commit, applied, followers and their lag."""
        return attrs.evolve(self.replica.status(), applied_index=self._applied)

    def metrics(self) -> RaftMetrics:
        """The status, and what is counted since this member was started."""
        timed = self.storage if isinstance(self.storage, Timed) else None
        return RaftMetrics(
            self.status(),
            histogram_of(timed.sync_times) if timed else None,
            self._proposals,
            self._snapshots.taken,
            self._snapshots.installed,
        )

    async def propose(self, command: bytes, *, timeout: float = PROPOSE_SECONDS) -> Any:
        """Have ``command`` applied on all members; what ``apply`` returned here.

        Raises what ``apply`` raised, ``Unavailable`` (``outcome`` tells whether it may be applied),
        ``ResourceExhausted`` and, for what is no command, ``InvalidArgument``.
        """
        self._clock.refresh()
        deadline = self._clock.now + checked_timeout(timeout)
        try:  # the leader's short way; whatever stops it takes the long one
            return await self._committed(self.replica.propose(command), self.replica.term, deadline)
        except Unavailable as error:
            if error.outcome == "unknown":
                raise
        return await self._within(timeout, partial(self._propose_once, command))

    async def change(self, change: MembershipChange, *, timeout: float = PROPOSE_SECONDS) -> Any:
        """Change the membership, on the leader; the ``Configuration`` once it is committed.

        A learner that is to vote is given ``timeout`` seconds to catch up with the log. Raises
        ``Unavailable`` (on another member, after as long: ``details["leader"]`` says who leads) and
        what ``Replica.propose_membership`` raises.
        """
        check_address(change)
        with trio.move_on_after(checked_timeout(timeout)):
            while type(change) is PromoteMember and self._is_behind(change.id):  # noqa: ASYNC110
                await trio.sleep(RETRY_SECONDS)

        async def once() -> Any:
            index = self.replica.propose_membership(change)
            return await self._committed(index, self.replica.term)

        return await self._within(timeout, once)

    def _is_behind(self, id: MemberID) -> bool:
        """A leader's learner may have applied everything, and the leader not have heard of it."""
        learning = self.is_leader and id in self.replica.configuration.learners
        return learning and id not in self.replica.caught_up()

    async def promote(self, id: MemberID, *, timeout: float = PROPOSE_SECONDS) -> Any:
        """``change(PromoteMember(id))``: when it returns, a newcomer has joined."""
        return await self.change(PromoteMember(id), timeout=timeout)

    async def read(self, *, timeout: float = PROPOSE_SECONDS) -> None:
        """Wait until this member's state holds all that was committed before the call: what is read
        from the machine then is linearizable. Raises ``Unavailable``."""
        await self._within(timeout, self._read_once)

    async def transfer_leadership(self, to: MemberID | None = None) -> None:
        """Hand leadership over. Raises what ``Replica.transfer_leadership`` raises."""
        self.replica.transfer_leadership(to)
        self._bell.ring()
        await trio.lowlevel.checkpoint()

    async def _within(self, timeout: float, once: Callable[[], Any]) -> Any:
        """Try until it is done, refused for good, or ``timeout`` is over."""
        refusal: SwarmError = too_late()
        with trio.move_on_after(checked_timeout(timeout)):
            while not self._stopped.is_set():
                try:
                    return await once()
                except Unavailable as error:
                    if error.outcome == "unknown":
                        raise
                    refusal = error
                await trio.sleep(RETRY_SECONDS)
            refusal = stopped()
        raise refusal

    async def _propose_once(self, command: bytes) -> Any:
        leader = self.replica.leader
        if leader == self.replica.id:
            return await self._committed(self.replica.propose(command), self.replica.term)
        address = self._addresses.of(leader, self.replica.configuration)
        if address is None:
            raise Unavailable("raft: there is no leader")
        number, waiter = self._new_waiter(self._forwarded)
        try:
            self._peers.send(address, Frame.FORWARD, (number, command), to=leader)
            self._bell.ring()
            index, term = await waiter.wait()
        finally:
            del self._forwarded[number]
            recent = self._recent
            if not self._forwarded:
                self._recent = {}
        if index in recent:
            return outcome_of(term, recent[index])
        if index <= self._applied:
            raise lost()
        return await self._committed(index, term)

    async def _committed(self, index: int, term: int, deadline: float = inf) -> Any:
        """What applying the entry ``index`` of ``term`` gave here."""
        if self._stopped.is_set():
            raise stopped(outcome="unknown")
        waiter = self._waiting[index] = Waiter(term, deadline)
        self._proposed += 1
        is_alone = len(self._waiting) == 1 and self._answered <= 1
        if is_alone or self._proposed >= PUMP_ENTRIES:
            self._pump()
        elif not self._bell.rung:
            self._bell.ring()
        try:
            return await waiter.wait()
        except BaseException:
            if self._waiting.get(index) is waiter:
                del self._waiting[index]
            raise

    async def _read_once(self) -> None:
        if self._stopped.is_set():
            raise stopped()
        number, waiter = self._new_waiter(self._reading)
        try:
            self._clock.refresh()
            self.replica.read_index(number)
            self._bell.ring()
            await waiter.wait()
        finally:
            self._reading.pop(number, None)

    def _new_waiter(self, waiters: dict[int, Waiter]) -> tuple[int, Waiter]:
        self._number += 1
        waiter = waiters[self._number] = Waiter()
        return self._number, waiter

    @trio.lowlevel.enable_ki_protection
    def receive(self, frames: Sequence[bytes]) -> None:
        """Frames have arrived, all at once. What is malformed is dropped."""
        self._clock.refresh()
        for frame in frames:
            self._take(frame)
        if len(self._waiting) <= LONE_WAITERS:
            self._pump()
        else:
            self._bell.ring()

    def _take(self, frame: bytes) -> None:
        try:
            address, kind, content = msgpack.unpackb(frame, use_list=False)
            if (speaker := self._peers.speaker(address, kind, content)) is None:
                return
            if kind == Frame.MESSAGE:
                message = from_form(content)
                if message.from_ == speaker:
                    self._addresses.note(message.from_, address)
                    self.replica.step(message)
            elif kind == Frame.FORWARD:
                self._on_forward(address, *content)
            elif kind == Frame.ANSWER:
                self._on_answer(*content)
        except DiskLost as lost:  # nobody here knows what this member promised: it says no more
            self.failure, self._is_driven, self._unsynced = lost, False, deque()
            self._stopped.set()
            self._bell.wake()
        except (InvalidArgument, ValueError, TypeError, msgpack.UnpackException):
            return

    def _on_forward(self, address: str, number: int, command: bytes) -> None:
        try:
            index = self.replica.propose(command)
        except SwarmError as error:
            self._peers.send(address, Frame.ANSWER, (number, None, error.to_wire()))
        else:
            self._peers.send(address, Frame.ANSWER, (number, (index, self.replica.term), None))

    def _on_answer(self, number: int, place: tuple[int, int] | None, error: Any) -> None:
        waiter = self._forwarded.get(number)
        if waiter is not None:
            waiter.answer(place, None if error is None else from_wire(error))

    # -- driving the replica

    async def drive(self) -> None:
        """Ticks and news into the replica, its Readys out, until cancelled or removed."""
        if self._unwritten is not None:
            error = await written(self.storage, self._unwritten)
            if error is not None:
                self.failure = error if isinstance(error, DiskFull | WriteFailed) else None
                self.end()
                raise error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick)
            self._is_driven = self._bell.rung = True
            try:
                await self._heed()
            finally:
                self._is_driven = False
            nursery.cancel_scope.cancel()
        self.end()  # it was removed, or has no disk: nobody will be answered any more
        if (problem := self.failure or self._problem) is not None:
            raise problem

    async def _heed(self) -> None:
        while not self._stopped.is_set():
            if self._bell.rung:
                self._pump()
            if self._has_slices():
                await trio.lowlevel.cancel_shielded_checkpoint()  # all others have their turn
                self._guard(self._catch_up)
            if self._peers.has_news:
                await self._spread_news()
            elif not self._has_slices():
                await self._bell.wait()

    async def _tick(self) -> None:
        """The replica's time, and what waits for a time."""
        self._clock.start()
        while True:
            await self._clock.nap(watchful=self._is_watchful())
            now = self._clock.now
            expire(self._waiting, now)
            if self._retry_at is not None and now >= self._retry_at:
                self._retry_at = None
                for ready in [one for one in self._unsynced if one.must_sync]:
                    self._write(ready)
            self._pump()

    def _is_watchful(self) -> bool:
        """True while there is something that may be too late."""
        return bool(self._waiting) or self._retry_at is not None

    async def _spread_news(self) -> None:
        """What is committed now, the followers learn by the next append. Those who were answered
        just now may propose at once: only if nobody does, the news go by themselves."""
        for _ in range(2):  # the order of tasks within a round of the loop is random
            await trio.lowlevel.cancel_shielded_checkpoint()
            if self._bell.rung:
                self._pump()
            if not self._peers.has_news:
                return
        self._peers.spread_news()

    @trio.lowlevel.enable_ki_protection
    def _pump(self) -> None:
        """Have done what the replica wants: by whoever changed something, since another task would
        have to be woken up first. So what the state machine raises goes to ``drive``."""
        if not self._is_driven:
            return
        self._bell.rung = False
        self._guard(self._pump_all)
        if self._peers.has_news or self._stopped.is_set() or self._has_slices():
            self._bell.wake()

    def _has_slices(self) -> bool:
        """True while a snapshot, or what waits for one, has to be worked off."""
        return bool(self._late) or self._snapshots.is_at_work

    def _guard(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as problem:
            self._problem = self._problem or problem
            self._stopped.set()

    def _pump_all(self) -> None:
        self._proposed = 0
        self._is_pumping = True
        try:
            while (ready := self.replica.ready()) is not None:
                self._do(ready)
            self._peers.flush()
        finally:
            self._is_pumping = False
        before, self._led_by = self._led_by, self.replica.leader
        if before is not None and before != self._led_by:
            self._lose_waiters(before == self.replica.id)
        if not self._late:
            self._snapshots.take_if_due(self._applied)
        self._clock.hurry(watchful=self._is_watchful())

    def _do(self, ready: Ready) -> None:
        """The followers first: their work takes longer than that of the disk here. Then whoever
        waits here, then the disk: it may be written to at once, and the loop waits for it. What
        nobody waits for, as with a follower's state machine, comes after the acknowledgement."""
        self._peers.post(ready.messages)
        self._unsynced.append(ready)
        if not ready.must_sync:
            self._keep_promises(0)
            self._carry_out(ready)
        elif self._waiting or self._reading:
            self._peers.flush()
            self._carry_out(ready)
            self._write(ready)
        else:
            self._peers.flush()
            self._write(ready)
            self._carry_out(ready)
        if ready.removed:
            self._stopped.set()

    def _write(self, ready: Ready) -> None:
        batch = Batch(ready.hard_state, ready.entries, ready.snapshot)
        self.storage.submit(batch, partial(self._written, ready), prompt=True)

    def _written(self, ready: Ready, error: BaseException | None) -> None:
        """The disk's answer, on the loop."""
        if isinstance(error, WriteFailed):
            self.failure = error  # what lies there is known when it is read again, in another life
            self._stopped.set()
        if error is None:
            self._keep_promises(ready.number)
            self.replica.may_campaign = True
            self._retry_at = None  # given again once more, it would undo what follows
        else:
            # Nothing can be promised any more: no vote, no acknowledgement, no leadership.
            self.replica.may_campaign = False
            self.replica.step_down()
            self._retry_at = self._retry_at or trio.current_time() + DISK_RETRY_SECONDS
        if self._is_pumping:
            return  # which goes on with what this has brought
        if self._unsynced:
            self._bell.ring()
        else:
            self._pump()  # nothing else is coming: whoever waits for this waits for nothing more

    def _keep_promises(self, number: int) -> None:
        """Readys up to ``number`` are on disk, and those behind it that need none: their promises
        leave at once, before any book is kept."""
        unsynced, kept = self._unsynced, []
        while unsynced and (unsynced[0].number <= number or not unsynced[0].must_sync):
            ready = unsynced.popleft()
            self._peers.post(ready.messages_after_sync)
            kept.append(ready)
        self._peers.flush()
        for ready in kept:
            self.replica.advance(ready)

    def _catch_up(self) -> None:
        """The next slice of a snapshot, or the next of what waited for a leader's."""
        late, snapshots = self._late, self._snapshots
        if late and (snapshot := late[0].restore) is not None:
            snapshots.restore(snapshot)
            late[0] = attrs.evolve(late[0], restore=None)
        elif not snapshots.is_at_work:
            self._carry_out_now(late.popleft())
        elif (index := snapshots.step()) is not None:
            self._applied = index
            for covered in [one for one in self._waiting if one <= index]:
                self._waiting.pop(covered).answer(None, lost())

    def _carry_out(self, ready: Ready) -> None:
        if self._late or ready.restore is not None:
            self._late.append(ready)
        else:
            self._carry_out_now(ready)

    def _carry_out_now(self, ready: Ready) -> None:
        if ready.committed:
            self._apply(ready.committed)
        tell_readers(self._reading, ready)

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        waiting, size, answered = self._waiting, 0, self._proposals
        apply, normal = self.machine.apply, EntryKind.NORMAL
        for entry in entries:
            index, term, kind, data = entry
            size += len(data)
            value: Any = None
            error: BaseException | None = None
            if kind == normal:
                try:
                    value = apply(data)
                except Exception as refusal:
                    error = refusal
            elif kind == EntryKind.MEMBERSHIP:
                value = decode_configuration(data)
            waiter = waiting.pop(index, None)
            if waiter is None:
                if self._forwarded:
                    remember(self._recent, entry, value, error)
            elif waiter.term == term:
                self._proposals += 1
                waiter.answer(value, error)
            else:
                waiter.answer(None, displaced())
        self._applied = index
        self._answered = self._proposals - answered
        self._snapshots.applied(len(entries), size)

    def _lose_waiters(self, was_leader: bool) -> None:
        """The leader changed. Proposals on their way to it may be lost; those that have an index
        are answered when it is applied, or not here any more if this member was the leader."""
        for waiter in self._forwarded.values():
            waiter.answer(None, lost())
        if was_leader:
            waiting, self._waiting = self._waiting, {}
            for waiter in waiting.values():
                waiter.answer(None, lost())

    def end(self) -> None:
        """Nobody drives any more: tell all who wait."""
        self._stopped.set()
        for waiters in (self._waiting, self._forwarded, self._reading):
            for waiter in waiters.values():
                waiter.answer(None, stopped(outcome="unknown"))


@asynccontextmanager
async def run_raft(node: RaftNode) -> AsyncIterator[RaftNode]:
    """Run a member while the block is open. The storage stays open: its owner closes it.

    Raises ``WriteFailed`` when the disk has failed (cancelling the block; a full one is waited for,
    but to begin a new group by force: ``DiskFull``), ``DiskLost`` when it is not the one by which
    the others know this member, and ``OSError`` if the transport's address cannot be listened on.
    """
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.transport.run, node.receive)
            nursery.start_soon(node.drive)
            try:
                yield node
            finally:
                node.end()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        only_disk, others = group.split((DiskFull, WriteFailed, DiskLost))
        if others is None and node.failure is not None and only_disk is not None:
            raise node.failure from None
        raise
