"""What the random requests spare, so that a history goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model import Node, NodeSpec, Role
from pyswarm.node.seats import context
from pyswarm.raft import Configuration, Member
from pyswarm.sim.workload import Workload
from pyswarm.store import Store

WHY = Because("test")


def asked(*members: Member, left: str = "") -> set[tuple[str, Role]]:
    """What changes of a role are asked for, of four nodes that all should be managers but the last,
    where these hold the seats."""
    configuration = Configuration(members, len(members) + 1)
    replica = SimpleNamespace(configuration=configuration)
    machine = SimpleNamespace(manager=SimpleNamespace(replica=replica))
    world: Any = SimpleNamespace(leader=lambda: SimpleNamespace(machine=machine))
    store = Store()
    tx = store.begin(1, 1.0)
    for id in "abcd":
        role = Role.WORKER if id == "d" else Role.MANAGER
        tx.create(Node(id=id, spec=NodeSpec(desired_role=role), left_seat=id == left), WHY)
    store.install(tx)
    workload = Workload(world, Rng(1))
    bodies = [workload._role(store) for _ in range(100)]
    return {(one.node_id, one.spec.desired_role) for one in bodies if one is not None}


def seat(number: int, id: str, *, voter: bool = True) -> Member:
    return Member(number, voter, context(id, f"{id}:1"))


PROMOTED = ("d", Role.MANAGER)


@pytest.mark.parametrize(
    ("third", "left", "demoted"),
    [
        (seat(3, "c"), "", "abc"),
        (seat(3, "c", voter=False), "", "c"),
        (seat(3, "c"), "c", "c"),
        (None, "", "c"),
    ],
    ids=["three vote", "one does not yet", "one has left", "one has no seat yet"],
)
def test_two_go_on_with_their_votes(third: Member | None, left: str, demoted: str) -> None:
    members = (seat(1, "a"), seat(2, "b"), *([third] if third is not None else []))
    wanted = {(id, Role.WORKER) for id in demoted}
    assert asked(*members, left=left) == {*wanted, PROMOTED}
