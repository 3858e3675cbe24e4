"""The swarm's settings replaced as a whole, with fresh tokens, keys and roots where asked for.

The way of Docker's API: the caller has read a version, changes it, and says what is to be rotated.
Whatever is drawn is drawn here, since a turn draws no secrets. A root that the settings bring
begins a rotation, as does a counter of forced rotations that has changed.
"""

from __future__ import annotations

import attrs

from pyswarm.ca import JoinToken
from pyswarm.errors import OutOfSequence
from pyswarm.model import Swarm, SwarmSpec
from pyswarm.model.requests import UpdateSwarm
from pyswarm.runtime.front.authority import check_external, with_root
from pyswarm.runtime.front.locking import with_fresh_key, wrapped_here
from pyswarm.runtime.front.member import Member
from pyswarm.secretstore import UnlockKey


async def replace_settings(
    member: Member,
    version: int,
    spec: SwarmSpec,
    *,
    rotate_worker_token: bool = False,
    rotate_manager_token: bool = False,
    rotate_unlock_key: bool = False,
) -> Swarm:
    """The swarm's object once it is changed, and this node's own keys with it.

    Raises ``OutOfSequence`` where ``version`` is not the present one, ``InvalidArgument``.
    """
    current = await member.read(lambda store: store.swarm)
    if version != current.version:
        raise OutOfSequence(f"the swarm is at version {current.version}, not {version}")
    await check_external(member, spec.ca.signing_ca_cert, spec.ca.signing_ca_key)
    request = with_root(member, with_fresh_key(UpdateSwarm(version, spec), current), current)
    root = current.root_ca
    if rotate_worker_token:
        request = attrs.evolve(request, rotate_worker_token=_fresh(root.worker_token))
    if rotate_manager_token:
        request = attrs.evolve(request, rotate_manager_token=_fresh(root.manager_token))
    if rotate_unlock_key and spec.autolock:
        request = attrs.evolve(request, rotate_unlock_key=UnlockKey.generate().key)
    written: Swarm = await member.request(request)
    if written.unlock_key != current.unlock_key:
        await wrapped_here(member, written)
    return written


def _fresh(token: str) -> str:
    return str(JoinToken.parse(token).rotated())
