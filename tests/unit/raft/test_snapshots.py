"""Snapshots: dissertation chapter 5, in chunks, with checksums, beside heartbeats."""

from __future__ import annotations

import zlib

import attrs
import pytest

from pyswarm.raft import (
    SNAPSHOT_CHUNK_BYTES_MAX,
    AddMember,
    ProgressState,
    RemoveMember,
    split_chunks,
)
from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    SnapshotReply,
)
from pyswarm.testing.raft_cluster import LocalRaft


def lagging_cluster(commands: int = 20, keep: int = 0, **settings: int) -> LocalRaft:
    """Member 3 missed everything; the leader has compacted it away (about 4 chunks)."""
    cluster = LocalRaft(3, **settings)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, *[b"%02d" % number for number in range(commands)])
    cluster.compact(1, keep=keep)
    cluster.stabilize()
    cluster.heal()
    return cluster


def beat(cluster: LocalRaft) -> None:
    """One heartbeat there and back, so that the leader sees member 3 again."""
    cluster.tick(1, 3)
    for id in (1, 3):
        cluster.settle(id)
        cluster.deliver()


def snapshot_begins(cluster: LocalRaft) -> list[InstallSnapshot]:
    """Goes on until the first chunks are on their way; gives them back."""
    for _ in range(10):
        beat(cluster)
        cluster.settle(1)
        chunks = [m for m in cluster.messages if isinstance(m, InstallSnapshot)]
        if chunks:
            assert cluster[1].status().followers[1].state is ProgressState.SNAPSHOT
            return chunks
    raise AssertionError("no snapshot is sent")


def test_a_member_too_far_behind_gets_a_snapshot_in_chunks() -> None:
    cluster = lagging_cluster()
    cluster.tick_all(9)
    assert cluster[3].commit_index == cluster[1].commit_index
    disk = cluster.nodes[3].disk
    assert disk.snapshot == cluster.nodes[1].disk.snapshot
    assert disk.snapshot is not None and len(disk.snapshot.chunks) == 4
    assert cluster[1].status().followers[1].state is ProgressState.REPLICATE
    cluster.propose(1, b"after")
    assert cluster.nodes[3].commands == [b"after"]
    cluster.crash(3)
    cluster.restart(3)
    assert cluster[3].applied_index == disk.snapshot.index


def test_a_kept_tail_spares_the_snapshot() -> None:
    cluster = lagging_cluster(keep=500)
    cluster.tick_all(9)
    assert cluster.nodes[3].disk.snapshot is None
    assert len(cluster.nodes[3].commands) == 20


def test_heartbeats_go_between_the_chunks() -> None:
    cluster = lagging_cluster(max_inflight_chunks=1)
    assert len(snapshot_begins(cluster)) == 1
    cluster.tick(1, 3)
    cluster.process_ready(1)
    assert any(isinstance(m, Heartbeat) and m.to == 3 for m in cluster.messages)
    chunks = [m for m in cluster.messages if isinstance(m, InstallSnapshot)]
    assert len(chunks) <= 1


def test_lost_doubled_and_overtaken_chunks() -> None:
    cluster = lagging_cluster(commands=60, max_inflight_chunks=4)
    snapshot_begins(cluster)
    lost = 0
    for _ in range(160):
        cluster.tick(1)
        cluster.settle(1)
        chunks = [m for m in cluster.messages if isinstance(m, InstallSnapshot)]
        if chunks and lost < 3:
            cluster.messages.remove(chunks.pop(0))
            lost += 1
        cluster.messages += chunks
        cluster.messages.reverse()
        cluster.deliver(3)
        cluster.settle(3)
        cluster.deliver(1)
    cluster.stabilize()
    assert lost == 3
    assert cluster[3].commit_index == cluster[1].commit_index


def test_a_damaged_chunk_is_asked_for_again() -> None:
    cluster = lagging_cluster(max_inflight_chunks=1)
    (chunk,) = snapshot_begins(cluster)
    cluster.messages.clear()
    cluster[3].step(attrs.evolve(chunk, data=b"x" + chunk.data[1:]))
    cluster.settle(3)
    (reply,) = cluster.messages
    assert isinstance(reply, SnapshotReply) and reply.next_chunk == chunk.chunk
    # A chunk that is sound by itself and belongs to something else: all begins anew.
    data = b"x" * 16
    cluster[3].step(attrs.evolve(chunk, data=data, checksum=zlib.crc32(data)))
    cluster.messages.clear()
    cluster.settle(3)
    (reply,) = cluster.messages
    assert isinstance(reply, SnapshotReply) and reply.next_chunk == 0
    cluster.tick_all(40)
    assert cluster[3].commit_index == cluster[1].commit_index


def test_a_receiver_that_restarts_begins_anew() -> None:
    cluster = lagging_cluster(max_inflight_chunks=1, commands=60)
    snapshot_begins(cluster)
    beat(cluster)
    assert cluster[3]._s.receiver is not None
    cluster.crash(3)
    cluster.restart(3)
    cluster.tick_all(40)
    assert cluster[3].commit_index == cluster[1].commit_index


def test_a_snapshot_against_a_concurrent_append() -> None:
    """An append that is ahead of the snapshot arrives first; and one that is behind, after."""
    cluster = lagging_cluster()
    chunks = snapshot_begins(cluster)
    assert len(chunks) == 4
    cluster.messages.clear()
    replica = cluster[3]
    leader = cluster[1]
    entries = (leader.propose(b"new"),)
    last = leader.entry(entries[0])
    assert last is not None
    ahead = AppendEntries(3, 1, leader.term, leader.epoch, last.index - 1, leader.term, (last,), 1)
    replica.step(ahead)
    assert replica.last_index < last.index
    for chunk in chunks:
        replica.step(chunk)
    while replica.last_index < chunks[0].index:
        cluster.settle(3)
        cluster.deliver(1)
        cluster.settle(1)
        cluster.deliver(3)
    replica.step(ahead)
    for chunk in chunks:
        replica.step(chunk)  # The same once more: answered, and nothing is lost.
    assert replica.last_index == last.index
    cluster.stabilize()
    assert cluster.nodes[3].commands == [b"new"]


def test_a_snapshot_of_what_the_log_holds_replaces_nothing() -> None:
    """5.3: "retain log entries following it and reply"."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose(b"a")
    cluster[1].propose(b"b")
    cluster.process_ready(1)
    cluster.deliver(3)  # It holds both entries and does not know that they are committed.
    index = cluster[1].last_index - 1
    replica = cluster[3]
    message = InstallSnapshot(
        3, 1, replica.term, replica.epoch, index, replica.term, replica.configuration,
        0, 1, b"s", zlib.crc32(b"s"), zlib.crc32(b"s"),
    )  # fmt: skip
    replica.step(message)
    assert replica.commit_index == index
    assert replica.last_index == index + 1
    ready = cluster.process_ready(3)
    assert ready is not None and ready.restore is None and ready.snapshot is None


def test_the_acknowledgement_of_a_snapshot_waits_for_the_disk() -> None:
    cluster = lagging_cluster(max_inflight_chunks=9)
    snapshot_begins(cluster)
    cluster.deliver(3)
    ready = cluster.process_ready(3)
    assert ready is not None and ready.snapshot is not None
    assert ready.snapshot is ready.restore
    assert not any(isinstance(m, AppendReply) for m in ready.messages)
    assert any(isinstance(m, AppendReply) for m in ready.messages_after_sync)


def test_an_own_snapshot_goes_to_disk_and_not_into_the_state_machine() -> None:
    cluster = LocalRaft(1)
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster.compact(1)
    ready = cluster.process_ready(1)
    assert ready is not None and ready.snapshot is not None and ready.restore is None
    snapshot = ready.snapshot
    assert not cluster[1].compact(snapshot), "an older one is refused"


def test_a_snapshot_carries_the_configuration_of_its_index() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(AddMember(b"four"))
    cluster.stabilize()
    before = cluster[1].applied_index
    cluster[1].propose_membership(RemoveMember(4))
    cluster.stabilize()
    old = cluster[1].snapshot_at(before, ())
    new = cluster[1].snapshot_at(cluster[1].applied_index, ())
    assert old.configuration.ids == (1, 2, 3, 4)
    assert new.configuration.ids == (1, 2, 3)
    cluster[1].compact(new, 0)
    cluster.stabilize()
    cluster.crash(1)
    cluster.restart(1)
    assert cluster[1].configuration == new.configuration


def test_an_empty_state_is_one_empty_chunk() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, b"x")
    replica = cluster[1]
    replica.compact(replica.snapshot_at(replica.applied_index, ()), 0)
    cluster.heal()
    cluster.tick_all(9)
    assert cluster.nodes[3].disk.snapshot is not None
    assert cluster.nodes[3].disk.snapshot.chunks == ()


def test_compaction_waits_for_a_follower_in_the_middle_of_a_snapshot() -> None:
    """What follows the snapshot under way is kept, or it would never catch up."""
    cluster = lagging_cluster(max_inflight_chunks=1)
    snapshot_begins(cluster)
    index = cluster[1].status().snapshot_index
    cluster.isolate(3)
    cluster.propose(1, b"more", b"and more")
    cluster.compact(1)
    assert cluster[1].status().first_index == index + 1


def test_split_chunks() -> None:
    assert split_chunks(b"") == ()
    assert split_chunks(b"abcde", 2) == (b"ab", b"cd", b"e")
    with pytest.raises(AssertionError):
        split_chunks(b"a", SNAPSHOT_CHUNK_BYTES_MAX + 1)
