"""Replication and commitment: dissertation 3.5, 3.6, figures 3.5-3.8, 10.2."""

from __future__ import annotations

import pytest

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument, ResourceExhausted, Unavailable
from pyswarm.raft import (
    Entry,
    EntryKind,
    HardState,
    ProgressState,
    RaftConfig,
    Replica,
    Role,
)
from pyswarm.raft.config import ENTRY_BYTES_MAX
from pyswarm.raft.configuration import encode_configuration
from pyswarm.raft.message import AppendEntries, AppendReply, Heartbeat, HeartbeatReply
from pyswarm.testing.raft_cluster import EPOCH, LocalRaft
from pyswarm.testing.raft_host import Disk


def log_of(replica: Replica) -> list[int]:
    """The terms of a log's entries, as the figures of the paper show them."""
    return [entry.term for entry in replica.entries()]


def member_with(terms: list[int], id: int = 1, members: int = 3, **settings: int) -> LocalRaft:
    """A cluster whose members hold logs of the given terms (entry 1 founds it)."""
    cluster = LocalRaft(members, **settings)
    give_log(cluster, id, terms)
    return cluster


def give_log(cluster: LocalRaft, id: int, terms: list[int]) -> None:
    """Restarts ``id`` from a disk that holds entries of these terms after the founding one."""
    first = Entry(1, 1, EntryKind.MEMBERSHIP, encode_configuration(cluster.founders))
    entries = [first] + [
        Entry(index, term, EntryKind.NORMAL, b"%d/%d" % (index, term))
        for index, term in enumerate(terms, 2)
    ]
    cluster.nodes[id].disk = Disk(HardState(max([1, *terms]), None, EPOCH), None, entries)
    cluster.restart(id)


def test_proposals_are_applied_everywhere_in_order() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    before = cluster[1].last_index
    assert cluster[1].propose(b"a") == before + 1
    assert cluster[1].propose(b"b") == before + 2
    cluster.stabilize()
    assert [cluster.nodes[id].commands for id in (1, 2, 3)] == [[b"a", b"b"]] * 3


def test_only_the_leader_takes_proposals() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    with pytest.raises(Unavailable) as caught:
        cluster[2].propose(b"x")
    assert caught.value.outcome == "not_applied"


def test_all_proposals_between_two_readys_share_an_append() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    for number in range(50):
        cluster[1].propose(b"%d" % number)
    ready = cluster[1].ready()
    assert ready is not None
    appends = [m for m in ready.messages if isinstance(m, AppendEntries)]
    assert [len(m.entries) for m in appends] == [50, 50]
    assert len(ready.entries) == 50


def test_an_append_is_bounded_in_bytes_and_the_window_in_appends() -> None:
    cluster = LocalRaft(3, max_append_bytes=100, max_inflight_appends=4)
    cluster.elect(1)
    for _ in range(30):
        cluster[1].propose(b"x" * 30)
    ready = cluster.process_ready(1)
    assert ready is not None
    to_two = [m for m in ready.messages if isinstance(m, AppendEntries) and m.to == 2]
    assert [len(m.entries) for m in to_two] == [3, 3, 3, 3]
    cluster[1].propose(b"y" * 500)
    cluster.stabilize()
    assert cluster.nodes[2].commands[-1] == b"y" * 500, "an entry is never split or stuck"


def test_a_leader_counts_itself_only_when_its_disk_is_done() -> None:
    """10.2.1: it may send first, but its own vote for the entry is its disk's."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    commit = cluster[1].commit_index
    cluster.isolate(3)
    index = cluster[1].propose(b"x")
    cluster.process_ready(1)
    cluster.deliver(2)
    cluster.settle(2)
    cluster.deliver(1)
    assert cluster[1].commit_index == commit, "one follower and no disk are no majority"
    cluster.sync(1)
    assert cluster[1].commit_index == index


def test_two_followers_commit_while_the_leaders_disk_is_slow() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    index = cluster[1].propose(b"x")
    cluster.process_ready(1)
    cluster.deliver(2, 3)
    cluster.settle(2)
    cluster.settle(3)
    cluster.deliver(1)
    assert cluster[1].commit_index == index
    assert cluster[1].stable_index < index


def test_acknowledgements_wait_for_the_disk_and_heartbeat_replies_do_not() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose(b"x")
    cluster.tick(1, 3)
    cluster.process_ready(1)
    cluster.deliver(2)
    ready = cluster[2].ready()
    assert ready is not None
    assert [type(m) for m in ready.messages] == [HeartbeatReply]
    assert [type(m) for m in ready.messages_after_sync] == [AppendReply]


@pytest.mark.parametrize(
    "follower",
    [
        [1, 1, 1, 4, 4, 5, 5, 6, 6],  # (a) lacks an entry
        [1, 1, 1, 4],  # (b) lacks many
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],  # (c) has one too many
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],  # (d) has entries of a later, lost term
        [1, 1, 1, 4, 4, 4, 4],  # (e)
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],  # (f) two lost terms
    ],
)
def test_figure_3_6_every_divergent_log_becomes_the_leaders(follower: list[int]) -> None:
    cluster = LocalRaft(3, pre_vote=False)
    leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    give_log(cluster, 1, leader)
    give_log(cluster, 2, leader)
    give_log(cluster, 3, follower)
    # Term 8, as in the figure: (d) has seen 7.
    for id in (1, 2, 3):
        cluster.nodes[id].disk.hard_state = HardState(7, None, EPOCH)
        cluster.restart(id)
    cluster[1].campaign()
    cluster.stabilize()
    assert cluster[1].role is Role.LEADER
    cluster.tick_all(4)
    assert log_of(cluster[3]) == [1, *leader, 8]
    assert cluster[3].entries() == cluster[1].entries()
    assert cluster.nodes[3].disk.entries == list(cluster[1].entries())


def test_a_conflict_of_many_terms_is_skipped_term_by_term() -> None:
    """3.5, end: one rejection a conflicting term, not one an entry."""
    cluster = LocalRaft(3, pre_vote=False)
    give_log(cluster, 1, [2] * 50 + [9] * 50)
    give_log(cluster, 2, [2] * 50 + [9] * 50)
    give_log(cluster, 3, [2] * 50 + [3] * 20 + [4] * 20 + [5] * 20)
    cluster[1].campaign()
    rejections = 0
    for _ in range(40):
        for id in (1, 2, 3):
            cluster.settle(id)
        rejections += sum(isinstance(m, AppendReply) and m.rejected for m in cluster.messages)
        cluster.deliver()
    assert cluster[3].entries() == cluster[1].entries()
    assert rejections <= 4


def test_figure_3_7_an_old_term_is_not_committed_by_counting() -> None:
    """Figure 8 of the short paper: S1 may not commit its entry of term 2 in term 4."""
    cluster = LocalRaft(5, pre_vote=False)
    for id, terms in {1: [2], 2: [2], 3: [2], 4: [], 5: [3]}.items():
        give_log(cluster, id, terms)
        cluster.nodes[id].disk.hard_state = HardState(3, None, EPOCH)
        cluster.restart(id)
    cluster[1].campaign()
    cluster.settle(1)
    cluster.drop(5)
    for _ in range(2):
        cluster.deliver()
        for id in (2, 3, 4):
            cluster.settle(id)
    cluster.deliver(1)
    assert cluster[1].role is Role.LEADER and cluster[1].term == 4
    # The no-op of term 4 reaches nobody; entry 2 of term 2 is on three of five disks.
    cluster.settle(1)
    cluster.messages.clear()
    for id in (2, 3):
        cluster[1].step(AppendReply(1, id, 4, EPOCH, 2))
    assert cluster[1].commit_index == 0
    # S5 may still be elected and overwrite it (d) ...
    cluster.crash(1)
    cluster[5].campaign()
    cluster.stabilize(2, 3, 4, 5)
    if cluster[5].role is not Role.LEADER:  # its first term was 4 as well
        cluster[5].campaign()
        cluster.stabilize(2, 3, 4, 5)
    assert cluster[5].role is Role.LEADER
    assert log_of(cluster[2])[:2] == [1, 3]


def test_an_entry_of_the_own_term_commits_all_before_it() -> None:
    """Figure 3.7 (e)."""
    cluster = LocalRaft(3, pre_vote=False)
    give_log(cluster, 1, [2, 2])
    cluster[1].campaign()
    cluster.stabilize()
    assert cluster[1].commit_index == cluster[1].last_index == 4
    assert cluster.nodes[2].commands == [b"2/2", b"3/2"]


def test_old_appends_do_not_shorten_the_log() -> None:
    """Figure 3.1: only a *conflicting* entry cuts what follows."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose(b"a")
    cluster.settle(1)
    old = [m for m in cluster.messages if m.to == 2]
    cluster.stabilize()
    cluster.propose(1, b"b", b"c")
    last = cluster[2].last_index
    for message in old:
        cluster[2].step(message)
    cluster.stabilize()
    assert cluster[2].last_index == last
    assert cluster.nodes[2].commands == [b"a", b"b", b"c"]


def test_doubled_and_overtaken_appends_come_out_in_order() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    for number in range(6):
        cluster[1].propose(b"%d" % number)
        cluster.process_ready(1)
    cluster.messages = cluster.messages[::-1] + cluster.messages
    cluster.stabilize()
    cluster.tick_all(6)
    expected = [b"%d" % number for number in range(6)]
    assert [cluster.nodes[id].commands for id in (1, 2, 3)] == [expected] * 3


def test_messages_of_old_terms_change_nothing() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose(b"old")
    cluster.settle(1)
    stale = [m for m in cluster.drop() if m.to == 3]
    assert stale
    cluster.elect(2)
    entries = cluster[3].entries()
    for message in stale:
        cluster[3].step(message)
    assert cluster[3].entries() == entries
    cluster.settle(3)
    answers = [m for m in cluster.messages if isinstance(m, AppendReply)]
    assert answers and all(m.rejected and m.term == cluster[3].term for m in answers)


def test_lost_appends_are_noticed_by_the_heartbeats() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    for number in range(5):
        cluster[1].propose(b"%d" % number)
        cluster.settle(1)
        cluster.drop()
    assert cluster[2].last_index < cluster[1].last_index
    cluster.tick_all(9)
    assert cluster[2].commit_index == cluster[1].last_index


def test_a_silent_follower_is_probed_and_not_flooded() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.tick_all(20)
    progress = cluster[1].status().followers[1]
    assert progress.id == 3 and progress.state is ProgressState.PROBE
    for _ in range(10):
        cluster[1].propose(b"x")
        cluster.settle(1)
    sent = [m for m in cluster.messages if m.to == 3 and isinstance(m, AppendEntries)]
    assert len(sent) <= 1
    cluster.heal()
    cluster.tick_all(9)
    assert cluster[3].commit_index == cluster[1].commit_index


def test_report_unreachable_goes_back_to_probing() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose(b"x")
    cluster.settle(1)
    cluster.drop(2)
    cluster[1].report_unreachable(2)
    progress = cluster[1].status().followers[0]
    assert progress.state is ProgressState.PROBE
    assert progress.next == progress.match + 1
    cluster.tick_all(4)
    assert cluster[2].last_index == cluster[1].last_index


def test_back_pressure_counts_uncommitted_bytes() -> None:
    cluster = LocalRaft(3, max_uncommitted_bytes=100)
    cluster.elect(1)
    cluster[1].propose(b"x" * 90)
    with pytest.raises(ResourceExhausted):
        cluster[1].propose(b"y" * 11)
    cluster.stabilize()
    cluster[1].propose(b"z" * 101)  # A single large one may pass when nothing else waits.
    cluster.stabilize()
    assert len(cluster.nodes[3].commands) == 2
    assert cluster[1].status().uncommitted_bytes == 0
    with pytest.raises(InvalidArgument):
        cluster[1].propose(bytes(ENTRY_BYTES_MAX + 1))


def test_a_commit_is_told_to_idle_followers_at_once() -> None:
    """They must not wait for the next heartbeat to apply."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    assert cluster.nodes[2].commands == [b"x"]


def test_several_readys_may_be_outstanding() -> None:
    cluster = LocalRaft(1)
    cluster.elect(1)
    readys = []
    for number in range(4):
        cluster[1].propose(b"%d" % number)
        ready = cluster[1].ready()
        assert ready is not None
        readys.append(ready)
    assert [len(ready.entries) for ready in readys] == [1] * 4
    first = readys[0].entries[0].index
    for position, ready in enumerate(readys):
        assert cluster[1].commit_index == first - 1 + position
        cluster[1].advance(ready)


def test_an_entry_cut_while_it_is_written_does_not_count_as_stable() -> None:
    """A new leader's entries replace what is still on its way to the disk."""
    cluster = LocalRaft(3)
    replica = cluster[2]
    cluster.settle(2)
    make = EntryKind.NORMAL
    replica.step(AppendEntries(2, 1, 2, EPOCH, 1, 1, (Entry(2, 2, make, b"a"),), 0))
    old = replica.ready()
    assert old is not None and old.entries[0].data == b"a"
    replica.step(AppendEntries(2, 3, 3, EPOCH, 1, 1, (Entry(2, 3, make, b"b"),), 0))
    new = replica.ready()
    assert new is not None and new.entries[0].data == b"b"
    replica.advance(old)
    assert replica.stable_index == 1
    replica.advance(new)
    assert replica.stable_index == 2


def test_restart_keeps_everything_that_was_synced() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    for id in (1, 2, 3):
        cluster.crash(id)
    for id in (1, 2, 3):
        cluster.restart(id)
    cluster.tick_all(60)
    (leader,) = cluster.leaders
    assert cluster.nodes[leader].commands == [b"a", b"b"]


def test_heartbeats_never_commit_what_is_not_there() -> None:
    cluster = LocalRaft(3)
    cluster[1].step(Heartbeat(1, 2, 5, EPOCH, 99, 1))
    assert cluster[1].commit_index == 1


def test_memory_does_not_grow_with_what_is_compacted() -> None:
    cluster = LocalRaft(1)
    cluster.elect(1)
    cluster.propose(1, *[b"x"] * 200)
    cluster.compact(1, keep=10)
    assert len(cluster[1].entries()) == 10
    assert cluster[1].propose(b"y") == cluster[1].last_index


def test_a_member_starts_from_a_disk_with_a_kept_tail() -> None:
    """The disk may hold entries from before the snapshot; they serve slow followers."""
    cluster = LocalRaft(1)
    cluster.elect(1)
    cluster.propose(1, *[b"%d" % number for number in range(20)])
    cluster.compact(1, keep=5)
    cluster.stabilize()
    snapshot, entries = cluster.nodes[1].disk.snapshot, cluster.nodes[1].disk.entries
    assert snapshot is not None and entries[0].index < snapshot.index
    replica = Replica(
        RaftConfig(id=1),
        Rng(0),
        hard_state=HardState(2, 1, EPOCH),
        snapshot=snapshot,
        entries=entries,
    )
    assert replica.commit_index == replica.applied_index == snapshot.index
    assert replica.last_index == entries[-1].index


def test_very_many_committed_entries_come_in_portions() -> None:
    """After a restart; heartbeats and reads go between them."""
    cluster = LocalRaft(1)
    give_log(cluster, 1, [2] * 10_000)
    cluster[1].campaign()
    portions: list[int] = []
    while (ready := cluster[1].ready()) is not None:
        cluster[1].advance(ready)
        portions.append(len(ready.committed))
    assert sum(portions) == 10_002
    assert max(portions) == 4096
    assert cluster[1].is_leader_ready
