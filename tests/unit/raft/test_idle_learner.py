"""A learner whose first round of catching up took too long, in a cluster where nothing is written
afterwards: it must still be found caught up (dissertation, 4.2.1)."""

from __future__ import annotations

from pyswarm.env import Rng
from pyswarm.raft import AddMember, Configuration, Member, RaftConfig, Replica
from pyswarm.raft.entry import HardState


def drain(replica: Replica) -> list[object]:
    messages: list[object] = []
    while (ready := replica.ready()) is not None:
        messages += [*ready.messages, *ready.messages_after_sync]
        replica.advance(ready)
    return messages


def test_a_slow_first_round_does_not_count_for_ever() -> None:
    founder = Replica(
        RaftConfig(id=1), Rng(1), bootstrap=Configuration((Member(1, True),), next_member_id=2)
    )
    founder.campaign()
    drain(founder)
    founder.propose_membership(AddMember())
    held_back = drain(founder)
    for _ in range(100):  # much longer than an election timeout
        founder.tick()
        drain(founder)
    learner = Replica(RaftConfig(id=2), Rng(2), hard_state=HardState(epoch=founder.epoch))
    messages = held_back
    for _ in range(200):
        for message in messages:
            target = learner if message.to == 2 else founder  # type: ignore[attr-defined]
            target.step(message)  # type: ignore[arg-type]
        messages = drain(founder) + drain(learner)
        if not messages:
            founder.tick()
            messages = drain(founder)
    assert learner.last_index == founder.last_index
    assert founder.caught_up() == (2,)
