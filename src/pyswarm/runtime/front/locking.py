"""Autolock: the key that a person keeps, so that no manager's disk can be read without it.

While autolock is on the swarm's object holds the unlock key, so every manager can show it, and the
data keys on every manager's disk are wrapped by it. A manager that starts again needs it:
``Cluster.open(state_dir, unlock_key=...)``. Key material is drawn here and travels in the request,
since a turn draws no secrets.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from pyswarm.errors import OutOfSequence
from pyswarm.model import Swarm
from pyswarm.model.requests import UpdateSwarm
from pyswarm.runtime.front.handles import CHANGE_TRIES
from pyswarm.runtime.front.member import Member
from pyswarm.secretstore import UnlockKey

WRAP_S = 5.0
"""How long a verb that changed the unlock key waits until this node's own keys are wrapped by it; a
disk that is full takes longer, and the node goes on trying."""


async def change_swarm(member: Member, make: Callable[[Swarm], UpdateSwarm]) -> Swarm:
    """Have the swarm's object changed; again when somebody else was faster."""
    for left in reversed(range(CHANGE_TRIES)):
        current = await member.read(lambda store: store.swarm)
        try:
            written: Swarm = await member.request(make(current))
            return written
        except OutOfSequence:
            if not left:
                raise
    raise AssertionError("unreachable")


def with_fresh_key(request: UpdateSwarm, swarm: Swarm) -> UpdateSwarm:
    """The request, with an unlock key if it is the one that switches autolock on."""
    if request.spec.autolock and not swarm.unlock_key:
        return attrs.evolve(request, rotate_unlock_key=UnlockKey.generate().key)
    return request


async def unlock_key(member: Member) -> str:
    """The unlock key as people keep it; "" while autolock is off."""
    return _text(await member.read(lambda store: store.swarm))


async def rotate_unlock_key(member: Member) -> str:
    """A new unlock key for all managers that run; "" while autolock is off."""

    def make(swarm: Swarm) -> UpdateSwarm:
        fresh = UnlockKey.generate().key if swarm.spec.autolock else None
        return UpdateSwarm(swarm.version, swarm.spec, rotate_unlock_key=fresh)

    written = await change_swarm(member, make)
    await wrapped_here(member, written)
    return _text(written)


async def wrapped_here(member: Member, written: Swarm) -> None:
    """Until this node has taken in the swarm's object and wrapped its own keys accordingly: who is
    told a new key may stop this node at once, and will need that key."""

    async def wait() -> None:
        with trio.move_on_after(WRAP_S):
            while member.node.halted is None and member.node.store.version < written.version:
                await member.node.wait_changed()
            await member.node.keys.settled()

    await member.loop.run(wait)


def _text(swarm: Swarm) -> str:
    return UnlockKey(swarm.unlock_key).text if swarm.unlock_key else ""
