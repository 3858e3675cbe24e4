"""Swarms of nodes in FIPS mode: founded by such a node, they take no others.

Whether a node is in FIPS mode its executor says (``NodeDescription.fips``); whether a swarm demands
it is known to the joiner from the token (``SWMTKN-2-1-…``), before it calls anybody.
"""

from __future__ import annotations

import attrs

from pyswarm.ca import JoinToken
from pyswarm.errors import FailedPrecondition
from pyswarm.model import NodeDescription, Swarm


class FipsRequired(FailedPrecondition):
    """The swarm takes nodes in FIPS mode only, and this one is not."""


def check_fips(token: str, description: NodeDescription) -> None:
    """Raise ``FipsRequired`` if the token is of a swarm that would not have this node."""
    if JoinToken.parse(token).fips and not description.fips:
        raise FipsRequired("node is not FIPS-enabled but cluster requires FIPS")


def founded_by(swarm: Swarm, description: NodeDescription) -> Swarm:
    """The swarm as a node of this description founds it."""
    if not description.fips:
        return swarm
    root = swarm.root_ca
    root = attrs.evolve(
        root,
        worker_token=_demanding(root.worker_token),
        manager_token=_demanding(root.manager_token),
    )
    return attrs.evolve(swarm, fips=True, root_ca=root)


def _demanding(token: str) -> str:
    return str(attrs.evolve(JoinToken.parse(token), form="2-1"))
