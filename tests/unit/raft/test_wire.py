"""Messages as bytes, and a new cluster from one disk."""

from __future__ import annotations

import msgpack
import pytest

from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    RaftConfig,
    Replica,
    Snapshot,
    decode,
    encode,
    force_new_cluster,
    latest_configuration,
)
from pyswarm.raft.configuration import FORCED_ID_STEP, encode_configuration
from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    Removed,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from pyswarm.raft.wire import CODES, MESSAGE_BYTES_MAX
from pyswarm.testing.raft_cluster import EPOCH, LocalRaft

CONFIGURATION = Configuration((Member(1, True, b"a"), Member(2, False)), 5, 9)
ENTRIES = (
    Entry(4, 2, EntryKind.NOOP, b""),
    Entry(5, 3, EntryKind.NORMAL, b"\x00\xff"),
    Entry(6, 3, EntryKind.MEMBERSHIP, encode_configuration(CONFIGURATION)),
)
MESSAGES: list[Message] = [
    VoteRequest(1, 2, 3, 9, 10, 2, True, False),
    VoteReply(1, 2, 3, 9, True, False),
    AppendEntries(1, 2, 3, 9, 3, 2, ENTRIES, 2),
    AppendReply(1, 2, 3, 9, 6, True, 4, 2),
    Heartbeat(1, 2, 3, 9, 5, 7),
    HeartbeatReply(1, 2, 3, 9, 7),
    InstallSnapshot(1, 2, 3, 9, 6, 3, CONFIGURATION, 0, 2, b"data", 1, 2),
    SnapshotReply(1, 2, 3, 9, 6, 1),
    TimeoutNow(1, 2, 3, 9),
    ReadRequest(1, 2, 3, 9, 2**48),
    ReadReply(1, 2, 3, 9, 2**48, 6),
    Removed(1, 2, 3, 9, 5),
]


def test_there_is_an_example_of_every_message() -> None:
    assert {type(message) for message in MESSAGES} == set(CODES.values())


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_survive_the_wire(message: Message) -> None:
    back = decode(encode(message))
    assert back == message
    assert type(back) is type(message)
    if isinstance(back, AppendEntries):
        assert [type(entry.kind) for entry in back.entries] == [EntryKind] * 3


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_cut_messages_are_refused(message: Message) -> None:
    data = encode(message)
    for length in range(len(data)):
        with pytest.raises(InvalidArgument):
            decode(data[:length])


@pytest.mark.parametrize(
    "form",
    [
        7,
        {},
        [],
        [2, 5, 1, 2, 3, 9, 5, 7],
        [1, 99, 1, 2, 3, 9],
        [1, True, 1, 2, 3, 9, 5, 7],
        [1, 5, 1, 2, 3, 9, 5],
        [1, 5, 1, 2, 3, 9, 5, 7, 8],
        [1, 5, 1, 2, -3, 9, 5, 7],
        [1, 5, 1, 2, 3.0, 9, 5, 7],
        [1, 5, 1, 2, True, 9, 5, 7],
        [1, 2, 1, 2, 3, 9, 1, False],
        [1, 3, 1, 2, 3, 9, 3, 2, [[5, 2, 0, b""]], 2],  # a gap
        [1, 3, 1, 2, 3, 9, 3, 2, [[4, 1, 0, b""]], 2],  # a term that goes back
        [1, 3, 1, 2, 3, 9, 3, 2, [[4, 4, 0, b""]], 2],  # an entry of the future
        [1, 3, 1, 2, 3, 9, 3, 2, [[4, 2, 3, b""]], 2],  # an unknown kind
        [1, 3, 1, 2, 3, 9, 3, 2, [[4, 2, 2, b""]], 2],  # no configuration
        [1, 3, 1, 2, 3, 9, 3, 2, [[4, 2, 0, "text"]], 2],
        [1, 3, 1, 2, 3, 9, 3, 2, [4], 2],
        [1, 3, 1, 2, 3, 9, 3, 2, 4, 2],
        [1, 7, 1, 2, 3, 9, 6, 3, encode_configuration(CONFIGURATION), 2, 2, b"", 1, 2],
        [1, 7, 1, 2, 3, 9, 6, 3, b"", 0, 2, b"", 1, 2],
    ],
)
def test_nonsense_is_refused(form: object) -> None:
    with pytest.raises(InvalidArgument):
        decode(msgpack.packb(form))


def test_too_long_a_message_is_refused_unread() -> None:
    with pytest.raises(InvalidArgument, match="over"):
        decode(bytes(MESSAGE_BYTES_MAX + 1))


def test_a_message_shows_no_data_of_a_snapshot() -> None:
    assert "data" not in repr(MESSAGES[6]).replace("data=<4 bytes>", "")


# -- a new cluster


def test_forcing_a_new_cluster_keeps_the_log_and_leaves_the_others_out() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    cluster.isolate(2)
    disk = cluster.nodes[2].disk
    forced = force_new_cluster(2, disk.hard_state, disk.snapshot, disk.entries, epoch=99)
    assert forced.configuration.voters == (2,)
    assert forced.configuration.next_member_id == 4 + FORCED_ID_STEP
    assert forced.hard_state == HardState(disk.hard_state.term + 1, None, 99)
    replica = Replica(
        RaftConfig(id=2),
        Rng(0),
        hard_state=forced.hard_state,
        snapshot=disk.snapshot,
        entries=[*disk.entries, *forced.entries],
    )
    replica.campaign()
    applied: list[Entry] = []
    while (ready := replica.ready()) is not None:
        applied += ready.committed
        replica.advance(ready)
    assert [entry.data for entry in applied if entry.kind == EntryKind.NORMAL] == [b"a", b"b"]
    assert replica.is_leader_ready
    before = replica.term
    replica.step(Heartbeat(2, 1, before + 5, EPOCH, 0, 1))  # the old cluster calls
    assert replica.term == before


def test_forcing_works_from_a_snapshot_alone() -> None:
    snapshot = Snapshot(10, 3, CONFIGURATION, (b"state",))
    forced = force_new_cluster(1, HardState(4, 2, 9), snapshot, (), epoch=10, context=b"new")
    assert forced.entries[0].index == 11
    assert forced.configuration.members == (Member(1, True, b"new"),)


def test_there_is_nothing_to_force_on_an_empty_disk() -> None:
    with pytest.raises(FailedPrecondition):
        force_new_cluster(1, HardState(), None, (), epoch=10)


def test_the_latest_configuration_on_a_disk() -> None:
    snapshot = Snapshot(3, 1, Configuration((Member(1),), 2, 9))
    assert latest_configuration(snapshot, ()) == snapshot.configuration
    tail = (Entry(3, 1, EntryKind.NORMAL, b""), *ENTRIES)
    assert latest_configuration(snapshot, tail) == CONFIGURATION
    other = (Entry(3, 2, EntryKind.NORMAL, b""), *ENTRIES)
    assert latest_configuration(snapshot, other) == snapshot.configuration
