"""Giving membership up: a worker says goodbye, a manager gives up its seat first."""

from __future__ import annotations

from contextlib import suppress

import trio

from pyswarm.errors import FailedPrecondition, SwarmError
from pyswarm.model.requests import LeaveNode
from pyswarm.node.calls import Leave
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


async def leave(member: Member, *, force: bool) -> None:
    """Give this node's membership up; it stops, and forgets the swarm.

    A manager leaves with ``force`` only, and gives up its seat first while there is another.
    """
    if member.is_manager:
        last = await _is_last_manager(member)
        if not force:
            raise FailedPrecondition(
                LEAVING_MANAGER + (LAST_MANAGER if last else ""),
                hint="demote the node first, or leave(force=True)",
            )
        if not last:
            await _give_up_seat(member)
    await member.call(Leave())
    await member.loop.run(member.node.wait_halted)
    await member.forget()


async def _is_last_manager(member: Member) -> bool:
    async def look() -> bool:
        manager = member.node.machine.manager
        return manager is not None and len(manager.replica.configuration.voters) <= 1

    return await member.loop.run(look)


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
