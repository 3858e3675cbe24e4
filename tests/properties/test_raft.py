"""Raft: any order of events keeps the properties; the log and the wire against naive models."""

from __future__ import annotations

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.raft import (
    AddMember,
    DemoteMember,
    Entry,
    EntryKind,
    MemberID,
    PromoteMember,
    Ready,
    RemoveMember,
    Role,
    decode,
    encode,
)
from pyswarm.raft.log import RaftLog
from pyswarm.testing.raft_checkers import Checkers
from pyswarm.testing.raft_cluster import LocalRaft

MEMBERS_MAX = 6


class RaftMachine(RuleBasedStateMachine):
    """Members moved by hand in any order. The model is the one log that all of them share."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = LocalRaft(3, max_append_bytes=20, max_inflight_chunks=2)
        self.checkers = Checkers()
        self.applied: dict[MemberID, int] = {}
        self.roles: dict[MemberID, Role] = {}
        self.model: list[Entry] = []
        self.cluster.on_ready = self.see
        self.proposed = 0

    def see(self, id: MemberID, ready: Ready) -> None:
        """Every Ready passes the checkers; what is applied first anywhere is the model."""
        replica = self.cluster[id]
        self.checkers.check_entries(replica, ready)
        if ready.restore is not None:
            self.applied[id] = ready.restore.index
            assert ready.restore.index <= len(self.model), "a snapshot of what nobody applied"
        for entry in ready.committed:
            self.checkers.check_applied(id, self.applied.get(id, 0), entry)
            self.applied[id] = entry.index
            if entry.index > len(self.model):
                self.model.append(entry)
            assert self.model[entry.index - 1] == entry

    def pick(self, number: int) -> MemberID:
        ids = list(self.cluster.nodes)
        return ids[number % len(ids)]

    def running(self, number: int) -> MemberID | None:
        ids = self.cluster.up
        return ids[number % len(ids)] if ids else None

    @rule(number=st.integers(0, 9), ticks=st.sampled_from([1, 3, 13, 30]))
    def tick(self, number: int, ticks: int) -> None:
        if (id := self.running(number)) is not None:
            self.cluster.tick(id, ticks)

    @rule(number=st.integers(0, 9))
    def campaign(self, number: int) -> None:
        if (id := self.running(number)) is not None:
            self.cluster[id].campaign()

    @rule(number=st.integers(0, 9))
    def take_ready(self, number: int) -> None:
        if (id := self.running(number)) is not None:
            self.cluster.process_ready(id)

    @rule(number=st.integers(0, 9))
    def settle(self, number: int) -> None:
        if (id := self.running(number)) is not None:
            self.cluster.settle(id)

    @rule(number=st.integers(0, 9), keep=st.booleans())
    def deliver(self, number: int, keep: bool) -> None:
        """All that waits for one member, once or (it comes again later) twice."""
        id = self.pick(number)
        taken = self.cluster.deliver(id)
        if keep:
            self.cluster.messages += taken[:5]

    @precondition(lambda self: self.cluster.messages)
    @rule(number=st.integers(0, 99), lost=st.booleans())
    def one_message(self, number: int, lost: bool) -> None:
        """One message overtakes all others, or is lost."""
        messages = self.cluster.messages
        message = messages[number % len(messages)]
        if lost:
            messages.remove(message)
        else:
            self.cluster.deliver(choose=lambda m: m is message)

    @rule()
    def go_on(self) -> None:
        """Everything happens that can: without it, few histories would come far."""
        self.cluster.stabilize()

    @rule(count=st.integers(1, 4))
    def propose(self, count: int) -> None:
        for leader in self.cluster.leaders:
            for _ in range(count):
                self.proposed += 1
                try:
                    self.cluster[leader].propose(b"%d" % self.proposed)
                except SwarmError:
                    return

    @rule(number=st.integers(0, 9), keep=st.booleans())
    def crash(self, number: int, keep: bool) -> None:
        if (id := self.running(number)) is not None:
            self.cluster.crash(id, keep_writes=keep)

    @rule(number=st.integers(0, 9))
    def restart(self, number: int) -> None:
        id = self.pick(number)
        if self.cluster.nodes[id].replica is None:
            self.cluster.restart(id)
            snapshot = self.cluster.nodes[id].disk.snapshot
            self.applied[id] = snapshot.index if snapshot else 0

    @rule(number=st.integers(0, 9))
    def isolate(self, number: int) -> None:
        self.cluster.heal()
        self.cluster.isolate(self.pick(number))

    @rule()
    def heal(self) -> None:
        self.cluster.heal()

    @rule(number=st.integers(0, 9), keep=st.integers(0, 5))
    def compact(self, number: int, keep: int) -> None:
        id = self.running(number)
        if id is not None and self.applied.get(id, 0) > self.cluster[id].status().snapshot_index:
            self.cluster.compact(id, keep)

    @rule(kind=st.integers(0, 3), number=st.integers(0, 9))
    def change_membership(self, kind: int, number: int) -> None:
        for leader in self.cluster.leaders:
            replica = self.cluster[leader]
            ids = replica.configuration.ids
            id = ids[number % len(ids)]
            change = [AddMember(), PromoteMember(id), DemoteMember(id), RemoveMember(id)][kind]
            if kind == 0 and len(self.cluster.nodes) >= MEMBERS_MAX:
                return
            try:
                replica.propose_membership(change)
            except SwarmError:
                continue
            new = replica.configuration.next_member_id - 1
            if kind == 0 and new not in self.cluster.nodes:
                self.cluster.add(new)

    @rule(number=st.integers(0, 9))
    def transfer(self, number: int) -> None:
        for leader in self.cluster.leaders:
            try:
                self.cluster[leader].transfer_leadership(self.pick(number))
            except SwarmError:
                continue

    @rule(number=st.integers(0, 9))
    def read(self, number: int) -> None:
        """A read that begins now sees everything that is applied anywhere now."""
        if (id := self.running(number)) is not None:
            try:
                self.cluster[id].read_index(len(self.model))
            except SwarmError:
                return

    @invariant()
    def reads_are_linearizable(self) -> None:
        for node in self.cluster.nodes.values():
            for applied_then, index in node.reads:
                assert isinstance(applied_then, int) and index >= applied_then

    @invariant()
    def one_leader_a_term_and_it_is_complete(self) -> None:
        for id in self.cluster.up:
            replica = self.cluster[id]
            self.checkers.check_role(replica)
            if replica.role is Role.LEADER and self.roles.get(id) is not Role.LEADER:
                self.checkers.check_complete(replica)
            self.roles[id] = replica.role

    @invariant()
    def marks_are_in_order(self) -> None:
        for id in self.cluster.up:
            status = self.cluster[id].status()
            assert status.first_index - 1 <= status.applied_index <= status.commit_index
            assert status.commit_index <= status.last_index
            assert status.stable_index <= status.last_index


TestRaftMachine = RaftMachine.TestCase
TestRaftMachine.settings = settings(max_examples=120, stateful_step_count=50)


# -- the log against a list

terms_strategy = st.lists(st.integers(1, 6), max_size=30).map(sorted)


def log_of(terms: list[int], sizes: list[int] | None = None) -> RaftLog:
    entries = [
        Entry(index, term, EntryKind.NORMAL, bytes(sizes[index - 1] if sizes else 0))
        for index, term in enumerate(terms, 1)
    ]
    return RaftLog(None, entries)


@given(terms_strategy, st.integers(0, 40), st.integers(0, 7))
def test_last_with_term_is_what_a_scan_finds(terms: list[int], index: int, term: int) -> None:
    position = min(index, len(terms))
    while position > 0 and terms[position - 1] > term:
        position -= 1
    assert log_of(terms).last_with_term(index, term) == position


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.data())
def test_a_slice_holds_as_much_as_fits(sizes: list[int], data: st.DataObject) -> None:
    log = log_of([1] * len(sizes), sizes)
    first = data.draw(st.integers(1, len(sizes)))
    limit = data.draw(st.integers(1, 200))
    got = log.slice(first, limit)
    assert [entry.index for entry in got] == list(range(first, first + len(got)))
    assert len(got) == 1 or sum(len(entry.data) for entry in got) <= limit
    rest = sizes[first - 1 + len(got) :]
    if rest:
        assert sum(len(entry.data) for entry in got) + rest[0] > limit


@given(terms_strategy, terms_strategy, st.integers(0, 20))
def test_accepting_entries_gives_the_leaders_log(
    mine: list[int], leaders: list[int], prev: int
) -> None:
    """Whatever this log holds after the predecessor, it then agrees with the leader."""
    agreed = 0
    while agreed < min(len(mine), len(leaders)) and mine[agreed] == leaders[agreed]:
        agreed += 1
    prev = min(prev, agreed)
    log = log_of(mine)
    sent = [
        Entry(index, term, EntryKind.NORMAL, b"")
        for index, term in enumerate(leaders, 1)
        if index > prev
    ]
    last = log.accept(prev, sent)
    assert last == len(leaders) or not sent
    got = [entry.term for entry in log.entries]
    kept = mine if agreed == len(leaders) else leaders
    assert got == (kept if sent else mine)
    assert log.handed_index <= log.last_index == len(got)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        message = decode(data)
    except InvalidArgument:
        return
    assert decode(encode(message)) == message


values = st.recursive(
    st.integers(-1, 2**64)
    | st.booleans()
    | st.binary(max_size=5)
    | st.none()
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=8,
)


@given(st.integers(0, 13), st.lists(values, max_size=13))
def test_well_formed_nonsense_is_refused(code: int, fields: list[object]) -> None:
    try:
        data = msgpack.packb([1, code, *fields])
    except (OverflowError, ValueError):
        return
    try:
        message = decode(data)
    except InvalidArgument:
        return
    assert decode(encode(message)) == message
