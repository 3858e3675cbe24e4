"""Linearizable reads: dissertation 6.4; leases: 6.4.1; transfer: 3.10."""

from __future__ import annotations

import pytest

from pyswarm.errors import FailedPrecondition, NotFound, ResourceExhausted, Unavailable
from pyswarm.raft import Role
from pyswarm.raft.message import Heartbeat, ReadReply, ReadRequest, TimeoutNow, VoteRequest
from pyswarm.testing.raft_cluster import EPOCH, LocalRaft


def answered(cluster: LocalRaft, id: int) -> list[object]:
    """The marks of the reads that this member may answer."""
    return [ctx for ctx, _ in cluster.nodes[id].reads]


@pytest.mark.parametrize("reader", [1, 2])
def test_a_read_is_answered_at_the_commit_index(reader: int) -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster[reader].read_index("mark")
    cluster.stabilize()
    assert cluster.nodes[reader].reads == [("mark", cluster[1].commit_index)]


def test_a_leader_that_is_cut_off_answers_no_read() -> None:
    """6.4: another one may have been elected; it gives the reads back when it notices."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster[1].read_index("stale")
    cluster.stabilize()
    assert answered(cluster, 1) == []
    cluster.tick_all(17, ids=(1,))
    assert cluster.nodes[1].aborted_reads == ["stale"]


def test_no_read_before_the_noop_is_committed() -> None:
    """6.4, step 1: a new leader does not know the true commit index yet."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster[2].step(TimeoutNow(2, 1, cluster[2].term, EPOCH))
    while cluster[2].role is not Role.LEADER:
        for id in (1, 2, 3):
            cluster.settle(id)
        cluster.deliver()
    cluster[2].read_index("early")
    cluster.settle(2)
    beats = [m for m in cluster.messages if isinstance(m, Heartbeat) and m.round]
    assert not beats
    cluster.stabilize()
    assert cluster.nodes[2].reads == [("early", cluster[2].commit_index)]


def test_reads_share_a_round_of_heartbeats() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    for number in range(50):
        cluster[1].read_index(number)
    cluster.settle(1)
    assert sum(isinstance(m, Heartbeat) for m in cluster.messages) == 2
    cluster.stabilize()
    assert sorted(answered(cluster, 1)) == list(range(50))  # type: ignore[type-var]
    assert cluster[1]._s.round == 2


def test_a_reply_to_an_earlier_round_proves_nothing_for_a_later_read() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].read_index("first")
    cluster.settle(1)
    for id in (2, 3):
        cluster.deliver(id)
        cluster.settle(id)
    cluster[1].read_index("second")
    cluster.deliver(1)
    cluster.process_ready(1)
    assert answered(cluster, 1) == ["first"]


def test_a_follower_answers_only_what_it_has_applied() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, b"x")
    cluster.heal()
    cluster[3].read_index("mark")
    request = next(iter(cluster[3]._s.forwarded_reads))
    cluster[3].step(ReadReply(3, 1, cluster[3].term, EPOCH, request, cluster[1].commit_index))
    cluster.settle(3)
    assert answered(cluster, 3) == []
    cluster.messages.clear()
    cluster.tick_all(9)
    assert answered(cluster, 3) == ["mark"]
    assert cluster.nodes[3].commands == [b"x"]


def test_a_forwarded_read_that_is_lost_is_asked_again() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[2].read_index("mark")
    cluster.settle(2)
    cluster.drop(choose=lambda m: isinstance(m, ReadRequest))
    cluster.tick_all(4)
    assert answered(cluster, 2) == ["mark"]


def test_forwarded_reads_are_given_back_when_the_leader_changes() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[2].read_index("mark")
    cluster.settle(2)
    cluster.drop()
    cluster.elect(3)
    assert cluster.nodes[2].aborted_reads == ["mark"]


def test_an_answer_to_an_earlier_life_answers_nothing() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[2].read_index("old")
    old = next(iter(cluster[2]._s.forwarded_reads))
    cluster.crash(2)
    cluster.restart(2)
    cluster.tick_all(4)
    cluster[2].read_index("new")
    cluster[2].step(ReadReply(2, 1, cluster[2].term, EPOCH, old, 1))
    assert not cluster[2]._s.proved_reads


def test_reads_without_a_leader_and_over_the_limit_are_refused() -> None:
    cluster = LocalRaft(3, max_pending_reads=2)
    with pytest.raises(Unavailable):
        cluster[1].read_index("mark")
    cluster.elect(1)
    cluster[1].read_index(1)
    cluster[1].read_index(2)
    with pytest.raises(ResourceExhausted):
        cluster[1].read_index(3)


def test_a_single_member_reads_at_once() -> None:
    cluster = LocalRaft(1)
    cluster.elect(1)
    cluster[1].read_index("mark")
    cluster.process_ready(1)
    assert answered(cluster, 1) == ["mark"]


# -- leases


def leased() -> LocalRaft:
    cluster = LocalRaft(3, lease_reads=True)
    cluster.tick_all(13)
    for id in (1, 2, 3):
        cluster[id].step_down()
    cluster.elect(1)
    cluster.tick_all(4)
    return cluster


def test_a_lease_answers_without_a_round_trip_until_it_ends() -> None:
    cluster = leased()
    cluster.isolate(1)
    cluster[1].read_index("in time")
    cluster.process_ready(1)
    assert answered(cluster, 1) == ["in time"]
    cluster.tick(1, 10)
    cluster[1].read_index("too late")
    cluster.process_ready(1)
    assert answered(cluster, 1) == ["in time"]


def test_followers_keep_the_promise_that_a_lease_rests_on() -> None:
    cluster = leased()
    term = cluster[2].term
    cluster[2].step_down()
    cluster[2]._s.set_leader(None)
    cluster[2].step(VoteRequest(2, 3, term + 1, EPOCH, 99, term))
    cluster[2].campaign()
    assert (cluster[2].term, cluster[2].role) == (term, Role.FOLLOWER)


def test_a_restarted_member_keeps_the_promise_it_may_have_made() -> None:
    cluster = leased()
    cluster.crash(2)
    cluster.restart(2)
    term = cluster[2].term
    cluster[2].step(VoteRequest(2, 3, term + 1, EPOCH, 99, term))
    assert cluster[2].term == term
    cluster.tick(2, 12)
    cluster[2].step(VoteRequest(2, 3, term + 1, EPOCH, 99, term))
    assert cluster[2].term == term + 1


def test_a_handover_ends_the_lease() -> None:
    cluster = leased()
    cluster[1].transfer_leadership(2)
    cluster[1].read_index("mark")
    cluster.process_ready(1)
    assert answered(cluster, 1) == []


# -- transfer


@pytest.mark.parametrize("to", [2, None])
def test_leadership_is_transferred_without_waiting(to: int | None) -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster[1].transfer_leadership(to)
    cluster.stabilize()
    assert cluster.leaders == [2]
    assert cluster[2].is_leader_ready


def test_a_lagging_heir_catches_up_first() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, *[b"x"] * 10)
    cluster.heal()
    cluster[1].transfer_leadership(3)
    cluster.settle(1)
    assert not [m for m in cluster.messages if isinstance(m, TimeoutNow)]
    with pytest.raises(Unavailable):
        cluster[1].propose(b"refused meanwhile")
    cluster.tick_all(6)
    assert cluster.leaders == [3]
    assert len(cluster.nodes[3].commands) == 10


def test_a_lagging_heir_gets_a_snapshot_first() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, *[b"x"] * 10)
    cluster.compact(1)
    cluster.heal()
    cluster[1].transfer_leadership(3)
    cluster.tick_all(9)
    assert cluster.leaders == [3]


def test_a_transfer_to_nobody_is_given_up() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.crash(3)
    cluster[1].transfer_leadership(3)
    cluster.tick_all(14)
    assert cluster.leaders == [1]
    cluster.propose(1, b"goes on")
    assert cluster.nodes[2].commands == [b"goes on"]


def test_a_lost_order_to_campaign_is_repeated() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].transfer_leadership(2)
    cluster.settle(1)
    cluster.drop(choose=lambda m: isinstance(m, TimeoutNow))
    cluster.tick_all(4)
    assert cluster.leaders == [2]


def test_a_transfer_needs_a_voter_and_a_leader() -> None:
    cluster = LocalRaft(1, learners=1)
    cluster.elect(1)
    with pytest.raises(FailedPrecondition):
        cluster[1].transfer_leadership(2)
    with pytest.raises(FailedPrecondition):
        cluster[1].transfer_leadership()
    with pytest.raises(NotFound):
        cluster[1].transfer_leadership(9)
    with pytest.raises(Unavailable):
        cluster[2].transfer_leadership(1)
    cluster[1].transfer_leadership(1)
    assert cluster[1].status().transferee is None
