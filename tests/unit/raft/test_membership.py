"""Membership: dissertation chapter 4, and the flaw of single-server changes found in 2015."""

from __future__ import annotations

import pytest

from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from pyswarm.raft import (
    AddMember,
    Configuration,
    DemoteMember,
    Member,
    PromoteMember,
    Reachability,
    RemoveMember,
    Role,
    UpdateMember,
)
from pyswarm.raft.configuration import (
    changed,
    decode_configuration,
    encode_configuration,
)
from pyswarm.raft.message import Removed, VoteReply, VoteRequest
from pyswarm.testing.raft_cluster import EPOCH, LocalRaft


def join(cluster: LocalRaft, leader: int, *, promote: bool = True) -> int:
    """Adds a member the proper way; returns its id."""
    cluster[leader].propose_membership(AddMember(b"address"))
    id = cluster[leader].configuration.next_member_id - 1
    cluster.add(id)
    cluster.tick_all(8)
    if promote:
        cluster[leader].propose_membership(PromoteMember(id))
        cluster.stabilize()
    return id


def test_a_member_joins_as_a_learner_and_then_votes() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.propose(1, b"before")
    id = join(cluster, 1, promote=False)
    assert id == 4
    assert cluster[1].configuration.learners == (4,)
    assert cluster[1].configuration.quorum == 2
    follower = cluster[1].status().followers[-1]
    assert follower.caught_up and follower.reachability is Reachability.UNKNOWN
    assert cluster.nodes[4].commands == [b"before"]
    cluster[1].propose_membership(PromoteMember(4))
    cluster.stabilize()
    assert cluster[4].configuration.voters == (1, 2, 3, 4)
    assert cluster[4].configuration.quorum == 3
    assert cluster[4].configuration.get(4) == Member(4, True, b"address")
    cluster.elect(4)


def test_a_learner_that_lags_is_not_promoted() -> None:
    """4.2.1: as a voter it would hold up commits."""
    cluster = LocalRaft(1)
    cluster.elect(1)
    cluster[1].propose_membership(AddMember())
    cluster.stabilize()
    with pytest.raises(FailedPrecondition, match="caught up"):
        cluster[1].propose_membership(PromoteMember(2))
    cluster.add(2)
    cluster.tick_all(8)
    cluster[1].propose_membership(PromoteMember(2))


def test_a_learner_promoted_just_before_it_lags_holds_nothing_up() -> None:
    """Its vote counts from the moment of the entry; the others are still a majority."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    join(cluster, 1, promote=False)
    cluster.isolate(4)
    cluster[1].propose_membership(PromoteMember(4))
    cluster.stabilize()
    assert cluster[1].committed_configuration.voters == (1, 2, 3, 4)
    cluster.propose(1, b"x")
    assert cluster.nodes[2].commands == [b"x"]
    assert not cluster[4].configuration.get(4).voter  # type: ignore[union-attr]
    cluster.heal()
    cluster.tick_all(9)
    assert cluster[4].configuration.get(4).voter  # type: ignore[union-attr]


def test_a_learner_that_falls_silent_has_to_catch_up_anew() -> None:
    cluster = LocalRaft(3, learners=1)
    cluster.elect(1)
    cluster.tick_all(8)
    assert cluster[1].status().followers[-1].caught_up
    cluster.crash(4)
    cluster.tick_all(20)
    with pytest.raises(FailedPrecondition, match="caught up"):
        cluster[1].propose_membership(PromoteMember(4))
    cluster.restart(4)
    cluster.tick_all(20)
    cluster[1].propose_membership(PromoteMember(4))


def test_learners_do_not_count_for_commitment() -> None:
    cluster = LocalRaft(3, learners=2)
    cluster.elect(1)
    commit = cluster[1].commit_index
    cluster.isolate(2, 3)
    cluster[1].propose(b"x")
    cluster.stabilize()
    assert cluster[4].last_index == cluster[1].last_index
    assert cluster[1].commit_index == commit


def test_a_change_is_in_effect_once_appended() -> None:
    """4.1: not when it is committed."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    index = cluster[1].propose_membership(AddMember(voter=True))
    assert cluster[1].configuration.voters == (1, 2, 3, 4)
    assert cluster[1].committed_configuration.voters == (1, 2, 3)
    assert cluster[1].status().configuration_index == index


def test_who_does_not_lead_says_who_does() -> None:
    cluster = LocalRaft(3)
    refused = (
        lambda: cluster[2].propose_membership(AddMember(b"address")),
        lambda: cluster[2].propose(b"x"),
        cluster[2].transfer_leadership,
    )
    for leader, text in ((None, "is not the leader, and knows of none"), (3, "member 3 is$")):
        if leader is not None:
            cluster.elect(leader)
        for ask in refused:
            with pytest.raises(Unavailable, match=text) as caught:
                ask()
            assert caught.value.details == {"leader": leader, "outcome": "not_applied"}


def test_one_change_at_a_time() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(AddMember())
    with pytest.raises(FailedPrecondition, match="in progress"):
        cluster[1].propose_membership(AddMember())
    cluster.stabilize()
    cluster[1].propose_membership(AddMember())


def test_no_change_before_the_noop_is_committed() -> None:
    """Ongaro's correction of July 2015: a change under an old leader may still be about."""
    cluster = LocalRaft(3)
    cluster[1].campaign()
    while cluster[1].role is not Role.LEADER:
        for id in (1, 2, 3):
            cluster.settle(id)
        cluster.deliver()
    with pytest.raises(Unavailable, match="not ready"):
        cluster[1].propose_membership(AddMember())
    cluster.stabilize()
    cluster[1].propose_membership(AddMember())


def test_an_uncommitted_change_is_lost_with_its_leader() -> None:
    """Its followers go back to the configuration before; the id was never given."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster[1].propose_membership(AddMember(b"lost"))
    cluster.stabilize()
    assert cluster[1].configuration.ids == (1, 2, 3, 4)
    cluster.elect(2)
    cluster.propose(2, b"x")
    cluster.heal()
    cluster.tick_all(9)
    assert cluster[1].configuration.ids == (1, 2, 3)
    assert cluster[1].configuration.next_member_id == 4
    assert cluster.nodes[1].commands == [b"x"]


def test_a_follower_reverts_a_change_that_is_cut_off_its_log() -> None:
    cluster = LocalRaft(5)
    cluster.elect(1)
    cluster.isolate(1, 2)
    cluster[1].propose_membership(AddMember(b"lost"))
    cluster.stabilize()
    assert cluster[2].configuration.ids == (1, 2, 3, 4, 5, 6)
    cluster.elect(3)
    cluster.heal()
    cluster.tick_all(20)
    assert cluster[2].configuration.ids == (1, 2, 3, 4, 5)
    assert cluster[2]._s.members == frozenset({1, 2, 3, 4, 5})


def test_a_removed_member_is_told() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(RemoveMember(3))
    cluster.stabilize()
    assert cluster[3].removed
    assert cluster[1].configuration.voters == (1, 2)
    cluster.tick(3, 200)
    assert cluster[3].role is Role.FOLLOWER


def test_a_member_removed_while_it_was_cut_off_learns_it_from_anyone() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster[1].propose_membership(RemoveMember(3))
    cluster.stabilize()
    assert not cluster[3].removed
    cluster.crash(1)  # Not only the leader knows.
    cluster.heal()
    cluster.tick_all(30, ids=(3,))
    assert cluster[3].removed
    ready_said = [m for m in cluster.messages if isinstance(m, Removed)]
    assert not ready_said


def test_it_learns_it_from_one_who_had_no_vote_when_it_was_cut_off() -> None:
    """All the voters it knows are gone; a learner of its time leads what is left."""
    cluster = LocalRaft(3, learners=1)
    cluster.elect(1)
    cluster.isolate(3)
    cluster[1].propose_membership(PromoteMember(4))
    cluster.tick_all(8)
    cluster[1].propose_membership(RemoveMember(3, force=True))
    cluster.tick_all(8)
    cluster[1].transfer_leadership(4)
    cluster.tick_all(8)
    for gone in (2, 1):
        cluster[4].propose_membership(RemoveMember(gone))
        cluster.tick_all(8)
        cluster.crash(gone)
    assert cluster[4].configuration.ids == (4,)
    assert cluster[3].configuration.voters == (1, 2, 3)
    cluster.heal()
    cluster.tick_all(60)
    assert cluster[3].removed


def test_a_learner_removed_while_it_was_cut_off_asks_and_learns() -> None:
    """It never stands for election, but it wonders."""
    cluster = LocalRaft(3, learners=1)
    cluster.elect(1)
    cluster.isolate(4)
    cluster[1].propose_membership(RemoveMember(4))
    cluster.stabilize()
    cluster.heal()
    cluster.tick_all(60)
    assert cluster[4].removed
    assert cluster.leaders == [1]


def test_a_removed_member_gets_no_votes_and_raises_no_terms() -> None:
    cluster = LocalRaft(3, pre_vote=False)
    cluster.elect(1)
    cluster.isolate(3)
    cluster[1].propose_membership(RemoveMember(3))
    cluster.stabilize()
    term = cluster[2].term
    cluster.heal()
    cluster[2].step(VoteRequest(2, 3, term + 9, EPOCH, 99, term, transfer=True))
    cluster.settle(2)
    assert cluster[2].term == term
    assert not [m for m in cluster.messages if isinstance(m, VoteReply)]


def test_an_unknown_higher_id_is_not_a_removed_one() -> None:
    """A member that lags does not know the newest members: it must listen to them (4.2.2)."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(3)
    join(cluster, 1)
    cluster.heal()
    cluster[3].step(VoteRequest(3, 4, 9, EPOCH, 99, 8, transfer=True))
    cluster.settle(3)
    (reply,) = [m for m in cluster.messages if m.to == 4]
    assert isinstance(reply, VoteReply) and reply.granted


def test_the_leader_removes_itself() -> None:
    """4.2.2: it leads until the change is committed, does not count itself, and goes."""
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(RemoveMember(1))
    assert cluster[1].role is Role.LEADER
    cluster.stabilize()
    assert cluster[1].role is Role.FOLLOWER
    assert cluster[1].removed
    (heir,) = cluster.leaders
    assert heir in (2, 3), "it named an heir, so there was no waiting"
    cluster.propose(heir, b"x")
    assert cluster.nodes[2].commands == cluster.nodes[3].commands == [b"x"]


def test_a_leader_removing_itself_needs_the_majority_of_the_others() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster[1].propose_membership(RemoveMember(1))
    cluster.stabilize()
    assert cluster[1].commit_index < cluster[1].last_index
    assert not cluster[1].removed


def test_a_member_removed_by_an_uncommitted_entry_still_stands() -> None:
    """4.2.2, end: of two members one holds its own removal; only it can be elected."""
    cluster = LocalRaft(2)
    cluster.elect(1)
    cluster.isolate(1)
    cluster[1].propose_membership(RemoveMember(1, force=True))
    cluster.stabilize()
    cluster.crash(1)
    cluster.restart(1)
    cluster.heal()
    cluster.tick_all(120)
    assert cluster[1].removed
    assert cluster.leaders == [2]
    assert cluster[2].configuration.voters == (2,)


def test_removal_of_the_leader_can_be_proposed_while_a_follower_is_down() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.tick_all(4)
    cluster.crash(3)
    cluster.tick_all(20)
    with pytest.raises(FailedPrecondition, match="loss of quorum"):
        cluster[1].propose_membership(RemoveMember(2))
    cluster[1].propose_membership(RemoveMember(3))  # The dead one may go.
    cluster.stabilize()
    assert cluster[1].committed_configuration.voters == (1, 2)


def test_a_member_comes_back_under_a_new_id() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(RemoveMember(3))
    cluster.stabilize()
    id = join(cluster, 1)
    assert id == 4
    assert cluster[1].configuration.voters == (1, 2, 4)
    assert cluster[1].configuration.was_removed(3)
    assert not cluster[1].configuration.was_removed(5)


def test_demotion_keeps_a_member_as_a_learner() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster[1].propose_membership(DemoteMember(1))
    cluster.stabilize()
    assert cluster[1].role is Role.FOLLOWER
    assert not cluster[1].removed
    (leader,) = cluster.leaders
    cluster.propose(leader, b"x")
    assert cluster.nodes[1].commands == [b"x"]


def test_a_change_that_leaves_no_majority_is_refused() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.tick_all(4)
    cluster.crash(3)
    cluster.tick_all(20)
    with pytest.raises(FailedPrecondition, match="demoting it may result in loss of quorum"):
        cluster[1].propose_membership(DemoteMember(2))
    with pytest.raises(FailedPrecondition, match="adding it may result in loss of quorum"):
        cluster[1].propose_membership(AddMember(voter=True))
    cluster[1].propose_membership(DemoteMember(3))
    cluster.stabilize()
    assert cluster[1].committed_configuration.voters == (1, 2)
    cluster[1].propose_membership(AddMember(voter=True))  # of three two are in touch
    cluster.stabilize()
    assert cluster[1].committed_configuration.voters == (1, 2, 4)


def test_reachability_follows_recent_activity() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    cluster.tick_all(4)
    cluster.isolate(3)
    cluster.tick_all(20)
    states = {f.id: f.reachability for f in cluster[1].status().followers}
    assert states == {2: Reachability.REACHABLE, 3: Reachability.UNREACHABLE}
    assert cluster[1].active_members() == (1, 2)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (RemoveMember(9), NotFound),
        (PromoteMember(9), NotFound),
        (UpdateMember(9), NotFound),
        (UpdateMember(1, b"x" * 5000), InvalidArgument),
        (AddMember(b"x" * 5000), InvalidArgument),
        (RemoveMember(1, force=True), FailedPrecondition),
        (DemoteMember(1), FailedPrecondition),
    ],
)
def test_changes_that_make_no_sense_are_refused(change: object, error: type[Exception]) -> None:
    cluster = LocalRaft(1)
    cluster.elect(1)
    last = cluster[1].last_index
    with pytest.raises(error):
        cluster[1].propose_membership(change)  # type: ignore[arg-type]
    assert cluster[1].last_index == last


def test_only_the_leader_changes_the_membership() -> None:
    cluster = LocalRaft(3)
    cluster.elect(1)
    with pytest.raises(Unavailable):
        cluster[2].propose_membership(AddMember())


def test_an_address_is_updated() -> None:
    configuration = Configuration((Member(1, True, b"old"), Member(2, False)), 3, 7)
    after = changed(configuration, UpdateMember(1, b"new"))
    assert after.get(1) == Member(1, True, b"new")
    assert after.get(2) == Member(2, False)
    assert (after.next_member_id, after.epoch) == (3, 7)


@pytest.mark.parametrize("voters", range(1, 8))
def test_quorums(voters: int) -> None:
    members = tuple(Member(id, id <= voters) for id in range(1, voters + 3))
    configuration = Configuration(members, 20)
    assert configuration.quorum * 2 > voters >= (configuration.quorum - 1) * 2
    learners_too = [*range(1, configuration.quorum), voters + 1, voters + 2]
    assert not configuration.has_quorum(learners_too)
    assert configuration.has_quorum([*learners_too, configuration.quorum])


def test_keeps_quorum_without() -> None:
    three = Configuration(tuple(Member(id) for id in (1, 2, 3)), 4)
    assert three.keeps_quorum_without(3, [1, 2])
    assert three.keeps_quorum_without(3, [1, 2, 3])
    assert not three.keeps_quorum_without(3, [1, 3])
    assert not Configuration((Member(1),), 2).keeps_quorum_without(1, [1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90",
        encode_configuration(Configuration((Member(1),), 2))[:-1],
        b"\x94\x02\x02\x00\x90",  # format 2
        b"\x94\x01\x02\x00\x91\x93\x05\xc3\xc4\x00",  # id 5 with next_member_id 2
        b"\x94\x01\x02\x00\x91\x93\x01\x01\xc4\x00",  # voter is no flag
    ],
)
def test_malformed_configurations_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode_configuration(data)


def test_configurations_survive_encoding() -> None:
    configuration = Configuration((Member(1, True, b"a"), Member(7, False)), 9, 2**60)
    assert decode_configuration(encode_configuration(configuration)) == configuration
