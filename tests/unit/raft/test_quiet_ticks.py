"""Ticks that only count may be given late and together."""

from __future__ import annotations

import pytest

from pyswarm.env import Rng
from pyswarm.raft import Configuration, Member, RaftConfig, Replica, Role


def group_of(count: int, id: int = 1, seed: int = 0) -> Replica:
    members = tuple(Member(number) for number in range(1, count + 1))
    bootstrap = Configuration(members, count + 1, 7)
    replica = Replica(RaftConfig(id=id), Rng(seed), bootstrap=bootstrap)
    settle(replica)
    return replica


def settle(replica: Replica) -> bool:
    """Everything done at once; True if there was anything."""
    something = False
    while ready := replica.ready():
        something = True
        replica.advance(ready)
    return something


@pytest.mark.parametrize("seed", range(20))
def test_a_follower_does_nothing_in_its_quiet_ticks_and_campaigns_after_them(seed: int) -> None:
    replica = group_of(3, seed=seed)
    quiet = replica.quiet_ticks()
    assert 11 <= quiet <= 23
    for left in range(quiet, 0, -1):
        assert replica.quiet_ticks() == left
        replica.tick()
        assert not settle(replica) and replica.role is Role.FOLLOWER
    assert replica.quiet_ticks() == 0
    replica.tick()
    assert replica.role is Role.PRE_CANDIDATE and settle(replica)


def test_a_leader_is_quiet_between_heartbeats() -> None:
    replica = group_of(1)
    replica.campaign()
    settle(replica)
    assert replica.role is Role.LEADER
    story = []
    for _ in range(9):
        story.append(replica.quiet_ticks())
        replica.tick()
    assert story == [2, 1, 0] * 3


def test_a_read_that_waits_for_the_leader_is_sent_again_in_time() -> None:
    replica = group_of(3, id=2)
    from pyswarm.raft.message import Heartbeat

    replica.step(Heartbeat(2, 1, 5, 7, 0, 1))
    settle(replica)
    replica.read_index("ctx")
    assert settle(replica)
    for _ in range(4):
        for _ in range(replica.quiet_ticks()):
            replica.tick()
            assert not settle(replica)
        replica.tick()
        assert settle(replica)
