"""Giving membership up: a worker says goodbye, a manager gives up its seat first."""

from __future__ import annotations

from contextlib import suppress

import trio

from pyswarm.errors import FailedPrecondition, SwarmError
from pyswarm.model import NodeState
from pyswarm.model.requests import LeaveNode
from pyswarm.node.calls import Leave
from pyswarm.raft import Reachability
from pyswarm.runtime.front.member import Member

PAUSE_S = 0.01
"""Between two looks at what no commit tells."""

LEAVE_S = 10.0
"""How long a manager that leaves waits until its seat is given up."""

LEAVING_MANAGER = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
)
LAST_MANAGER = (
    "Removing the last manager erases all current state of the swarm. "
    "Use `--force` to ignore this message. "
)
NO_QUORUM_LEFT = (
    "Removing this node leaves {left} managers out of {all}. "
    "Without a Raft quorum your swarm will be inaccessible. "
)
NOT_ACTIVE = "Doing so may lose the consensus of your cluster. "
LOST_CONSENSUS = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with "
    "`--force-new-cluster`. Use `--force` to suppress this message."
)
LEAVING_STOPPED_MANAGER = LEAVING_MANAGER + NOT_ACTIVE + LOST_CONSENSUS
"""For a manager that cannot run, so that nobody knows what its swarm would lose."""


class ManagerLeaves(FailedPrecondition):
    """A manager was asked to leave without force; the sentence says what would be lost."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="demote the node first, or leave(force=True)")


async def leave(member: Member, *, force: bool) -> None:
    """Give this node's membership up; it stops, and forgets the swarm.

    A manager leaves with ``force`` only, and gives up its seat first while there is another.
    Raises ``ManagerLeaves``.
    """
    if member.is_manager:
        if not force:
            raise ManagerLeaves(await member.loop.run(_what_is_lost, member))
        if not await _is_last_manager(member):
            await _give_up_seat(member)
    await member.call(Leave())
    await member.loop.run(member.node.wait_halted)
    await member.forget()


async def _is_last_manager(member: Member) -> bool:
    async def look() -> bool:
        manager = member.node.machine.manager
        return manager is not None and len(manager.replica.configuration.voters) <= 1

    return await member.loop.run(look)


async def _what_is_lost(member: Member) -> str:
    """Docker's warning, with the numbers where they matter."""
    counted = _count_managers(member)
    if counted is None:
        return LEAVING_MANAGER + LOST_CONSENSUS
    reachable, lost = counted
    if reachable - 2 > lost:
        return LEAVING_MANAGER + LOST_CONSENSUS
    if lost == 0 and reachable == 1:
        return LEAVING_MANAGER + LAST_MANAGER
    numbers = NO_QUORUM_LEFT.format(left=reachable - 1, all=reachable + lost)
    return LEAVING_MANAGER + numbers + LOST_CONSENSUS


def _count_managers(member: Member) -> tuple[int, int] | None:
    """Managers that can be reached, and the others; None while nobody leads.

    The leader hears them itself; a follower knows by the nodes' states what the leader made of it.
    """
    manager = member.node.machine.manager
    if manager is None or manager.leader is None:
        return None
    heard = {one.id: one.reachability for one in manager.replica.status().followers}
    reachable = lost = 0
    for node in manager.store.nodes():
        if node.manager is None:
            continue
        is_lost = node.state is NodeState.DOWN
        if node.manager.member_id in heard and member.is_leader:
            is_lost = heard[node.manager.member_id] is Reachability.UNREACHABLE
        reachable, lost = reachable + (not is_lost), lost + is_lost
    return reachable, lost


async def _give_up_seat(member: Member) -> None:
    """Ask to be a worker and wait for it; a swarm without a quorum cannot be asked."""

    async def wait() -> None:
        await member.node.request(LeaveNode(member.node_id, True), timeout_s=LEAVE_S)
        while True:
            if not member.is_manager:
                return
            await trio.sleep(PAUSE_S)

    async def bounded() -> None:
        with trio.move_on_after(LEAVE_S):
            await wait()

    # Forced: where it cannot be done, the seat stays on the others' books until they demote it.
    with suppress(SwarmError):
        await member.loop.run(bounded)
