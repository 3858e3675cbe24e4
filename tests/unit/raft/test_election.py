"""Elections: dissertation 3.4, 3.6.1, 4.2.3 (disruption), 6.2 (quorum check), 9.6 (PreVote)."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument
from pyswarm.raft import HardState, Message, RaftConfig, Replica, Role
from pyswarm.raft.dispatch import HANDLERS
from pyswarm.raft.message import Heartbeat, TimeoutNow, VoteReply, VoteRequest
from pyswarm.raft.role import NEXT_ROLES
from pyswarm.raft.wire import CODES
from pyswarm.testing.raft_cluster import EPOCH, LocalRaft


def test_every_role_has_an_answer_to_every_message() -> None:
    """State times input is complete (``Removed`` is dealt with before the role is asked)."""
    messages = {cls.__name__ for cls in CODES.values()} - {"Removed"}
    assert set(HANDLERS) == set(Role) == set(NEXT_ROLES)
    for handlers in HANDLERS.values():
        assert {cls.__name__ for cls in handlers} == messages


def test_a_follower_campaigns_after_its_timeout_and_never_earlier() -> None:
    """3.4: the timeout is drawn between once and twice the least."""
    drawn = set()
    for seed in range(40):
        cluster = LocalRaft(3)
        replica = cluster[1]
        replica._s.rng = Rng(seed)
        replica._s.restart_election_timer()
        ticks = 0
        while replica.role is Role.FOLLOWER:
            replica.tick()
            ticks += 1
        drawn.add(ticks)
    assert min(drawn) >= 12
    assert max(drawn) <= 24
    assert len(drawn) > 6, "timeouts are random, so that votes do not split for ever"


def test_one_of_three_is_elected_by_time_alone() -> None:
    cluster = LocalRaft(3)
    cluster.tick_all(40)
    (leader,) = cluster.leaders
    assert {cluster[id].leader for id in cluster.up} == {leader}
    assert cluster[leader].is_leader_ready


def test_a_single_member_leads_only_when_its_vote_is_on_disk() -> None:
    """Its term must survive a crash before anybody sees an entry of that term."""
    cluster = LocalRaft(1)
    replica = cluster[1]
    replica.campaign()
    cluster.process_ready(1)
    assert replica.role is Role.CANDIDATE
    cluster.sync(1)
    assert replica.role is Role.LEADER
    cluster.stabilize()
    assert replica.is_leader_ready


def test_votes_and_requests_wait_for_the_disk() -> None:
    """A vote granted twice after a crash would elect two leaders (3.4): it is a promise."""
    cluster = LocalRaft(3, pre_vote=False)
    cluster[1].campaign()
    ready = cluster[1].ready()
    assert ready is not None and ready.hard_state == HardState(2, 1, EPOCH)
    assert not ready.messages
    assert [type(m) for m in ready.messages_after_sync] == [VoteRequest] * 2
    request = next(m for m in ready.messages_after_sync if m.to == 2)
    cluster[2].step(request)
    answer = cluster[2].ready()
    assert answer is not None and answer.hard_state == HardState(2, 1, EPOCH)
    assert not answer.messages
    assert [type(m) for m in answer.messages_after_sync] == [VoteReply]


@pytest.mark.parametrize("synced", [True, False])
def test_no_second_vote_in_a_term_after_a_restart(synced: bool) -> None:
    """Who lost its vote in a crash cannot have sent it; who sent it remembers."""
    cluster = LocalRaft(3, pre_vote=False)
    cluster[1].campaign()
    cluster.settle(1)
    cluster.deliver(2)
    cluster.process_ready(2)
    if synced:
        cluster.sync(2)
    sent = [m for m in cluster.messages if isinstance(m, VoteReply)]
    assert bool(sent) is synced
    cluster.crash(2)
    cluster.restart(2)
    cluster.messages.clear()
    cluster[2].step(VoteRequest(2, 3, 2, EPOCH, 9, 1))
    cluster.settle(2)
    (reply,) = cluster.messages
    assert isinstance(reply, VoteReply)
    assert reply.granted is not synced


@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(1, 1, False), (1, 99, False), (2, 2, False), (2, 3, True), (2, 4, True), (3, 1, True)],
)
def test_a_vote_goes_only_to_a_log_that_is_as_up_to_date(
    last_term: int, last_index: int, granted: bool
) -> None:
    """3.6.1: the later last term wins, then the longer log. The voter's log ends in (3, term 2)."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"x")
    assert cluster[2].last_index == 3
    cluster[2].step(VoteRequest(2, 3, 9, EPOCH, last_index, last_term, transfer=True))
    cluster.settle(2)
    replies = [m for m in cluster.messages if isinstance(m, VoteReply)]
    assert [m.granted for m in replies] == [granted]


def test_a_returning_member_disturbs_nobody() -> None:
    """9.6: it asks with PreVote, is not listened to, and its term has not moved."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    term = cluster[1].term
    cluster.isolate(3)
    cluster.tick_all(200)
    assert cluster[3].role is not Role.LEADER
    assert cluster[3].term == term
    cluster.heal()
    cluster.tick_all(10)
    assert cluster.leaders == [1]
    assert cluster[1].term == term
    assert cluster[3].leader == 1


def test_without_prevote_the_leader_is_still_protected_by_its_followers() -> None:
    """4.2.3: who hears a leader does not even look at a request for votes."""
    cluster = LocalRaft(3, pre_vote=False)
    cluster.elect(1)
    term = cluster[1].term
    cluster.tick_all(3)
    cluster[2].step(VoteRequest(2, 3, term + 5, EPOCH, 99, term))
    cluster.stabilize()
    assert cluster[2].term == term


def test_a_member_with_a_later_term_makes_an_old_leader_follow() -> None:
    """3.3: the term spreads; otherwise such a member could never rejoin."""
    cluster = LocalRaft(3, pre_vote=False)
    cluster.elect(1)
    term = cluster[1].term
    cluster.isolate(3)
    cluster.tick_all(60)
    assert cluster[3].term > term
    cluster.heal()
    cluster.tick_all(60)
    (leader,) = cluster.leaders
    assert cluster[leader].term > term
    assert {cluster[id].term for id in cluster.up} == {cluster[leader].term}


def test_a_leader_without_a_majority_steps_down() -> None:
    """6.2: clients of a cut-off leader must not wait for ever."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.tick_all(17, ids=(1,))
    assert cluster[1].role is Role.FOLLOWER
    assert cluster[1].leader is None


def test_quorum_checks_count_voters_only() -> None:
    """A learner that answers does not keep a leader in office."""
    cluster = LocalRaft(3, learners=2)
    cluster.elect(1)
    cluster.isolate(1, 4, 5)
    cluster.tick_all(30, ids=(1, 4, 5))
    assert cluster[1].role is not Role.LEADER


def test_a_refused_candidate_waits_as_a_follower() -> None:
    cluster = LocalRaft(3, pre_vote=False)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, b"x")
    for id in (1, 2):
        cluster[id].step_down()
        cluster[id]._s.set_leader(None)
    cluster.heal()
    cluster[3].campaign()
    cluster.stabilize()
    assert cluster[3].role is Role.FOLLOWER, "its log is too short"


def test_split_votes_are_resolved_by_new_timeouts() -> None:
    """3.4: two candidates at the same moment; nobody wins, then somebody does."""
    cluster = LocalRaft(4, pre_vote=False)
    cluster[1].campaign()
    cluster[2].campaign()
    cluster.settle(1)
    cluster.settle(2)
    cluster.deliver(3, choose=lambda m: m.from_ == 1)
    cluster.deliver(4, choose=lambda m: m.from_ == 2)
    cluster.stabilize()
    assert cluster.leaders == []
    cluster.tick_all(60)
    assert len(cluster.leaders) == 1


def test_old_votes_are_not_counted() -> None:
    """A delayed grant of an earlier term elects nobody."""
    cluster = LocalRaft(5, pre_vote=False)
    cluster[1].campaign()
    cluster.settle(1)
    term = cluster[1].term
    cluster[1].campaign()
    cluster.settle(1)
    for voter in (2, 3, 4, 5):
        cluster[1].step(VoteReply(1, voter, term, EPOCH, True))
    assert cluster[1].role is Role.CANDIDATE


def test_repeated_votes_count_once() -> None:
    cluster = LocalRaft(5, pre_vote=False)
    cluster[1].campaign()
    cluster.settle(1)
    for _ in range(5):
        cluster[1].step(VoteReply(1, 2, cluster[1].term, EPOCH, True))
    assert cluster[1].role is Role.CANDIDATE


def test_a_clock_that_jumps_does_not_harm_a_healthy_cluster() -> None:
    """A follower whose host slept wakes to a burst of ticks: it asks, and is not listened to."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    term = cluster[1].term
    cluster.tick(2, 500)
    assert cluster[2].role is Role.PRE_CANDIDATE
    cluster.stabilize()
    cluster.tick_all(6)
    assert cluster.leaders == [1]
    assert {cluster[id].term for id in cluster.up} == {term}


def test_learners_never_stand() -> None:
    cluster = LocalRaft(1, learners=1)
    cluster.tick(2, 500)
    cluster[2].campaign()
    assert cluster[2].role is Role.FOLLOWER
    cluster[2].step(TimeoutNow(2, 1, cluster[2].term, EPOCH))
    assert cluster[2].role is Role.FOLLOWER


def test_a_member_that_cannot_store_a_vote_does_not_stand() -> None:
    cluster = LocalRaft(3)
    cluster[1].may_campaign = False
    cluster.tick(1, 100)
    assert cluster[1].role is Role.FOLLOWER
    cluster[1].may_campaign = True
    cluster.tick(1, 30)
    assert cluster[1].role is Role.PRE_CANDIDATE


@pytest.mark.parametrize("change", [{"epoch": EPOCH + 1}, {"to": 2}])
def test_messages_of_another_epoch_or_address_are_dropped(change: dict[str, int]) -> None:
    cluster = LocalRaft(3)
    message: Message = Heartbeat(1, 3, 9, EPOCH, 0, 1)
    cluster[1].step(attrs.evolve(message, **change))
    assert cluster[1].term == 1
    assert cluster[1].leader is None
    assert cluster[1].status().dropped == 1
    cluster[1].step(message)
    assert (cluster[1].term, cluster[1].leader) == (9, 3)


def test_a_crash_of_the_leader_is_overcome_within_two_seconds_at_p99() -> None:
    """The default timings' promise, in ticks of 50 ms: 500 crashes of one leader of three."""
    ticks: list[int] = []
    for seed in range(500):
        cluster = LocalRaft(3)
        for id in cluster.up:
            cluster[id]._s.rng = Rng(seed).child(id)
        cluster.elect(1)
        cluster.tick_all(seed % 5)
        cluster.crash(1)
        count = 0
        while not cluster.leaders:
            cluster.tick_all()
            count += 1
        ticks.append(count)
    assert sorted(ticks)[494] <= 40


@pytest.mark.parametrize(
    "settings",
    [
        {"id": 0},
        {"id": 1, "heartbeat_ticks": 5},
        {"id": 1, "max_append_bytes": 0},
        {"id": 1, "lease_reads": True, "check_quorum": False},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        RaftConfig(**settings)


def test_a_fresh_member_that_knows_nothing_waits() -> None:
    replica = Replica(RaftConfig(id=9), Rng(1), hard_state=HardState(epoch=EPOCH))
    for _ in range(100):
        replica.tick()
    replica.campaign()
    assert replica.role is Role.FOLLOWER
    assert replica.ready() is None
