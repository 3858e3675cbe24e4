"""What requests about the swarm as a whole do: its settings, tokens and keys."""

from __future__ import annotations

from pyswarm.errors import InvalidArgument
from pyswarm.machine import Because
from pyswarm.model import Swarm, replace
from pyswarm.model.requests import UpdateSwarm
from pyswarm.model.validate import validate_swarm_spec
from pyswarm.node.context import Context
from pyswarm.store import Transaction


def update_swarm(tx: Transaction, request: UpdateSwarm, context: Context) -> Swarm:
    """New settings; fresh tokens and keys arrive in the request (a turn draws no secrets)."""
    swarm = tx.swarm
    spec = request.spec
    if spec.name != swarm.spec.name:
        raise InvalidArgument("modification of cluster name is not allowed")
    validate_swarm_spec(spec)
    asks = spec.ca.signing_ca_cert or spec.ca.signing_ca_key
    if asks or (spec.ca.force_rotate != swarm.spec.ca.force_rotate and request.root_ca is None):
        raise InvalidArgument(
            "a new root comes with the request that asks for it, and does not stay in the settings",
            hint="cluster.rotate_ca()",
        )
    root = request.root_ca or swarm.root_ca
    if request.rotate_worker_token:
        root = replace(root, worker_token=request.rotate_worker_token)
    if request.rotate_manager_token:
        root = replace(root, manager_token=request.rotate_manager_token)
    unlock_key = swarm.unlock_key
    if not spec.autolock:
        unlock_key = b""
    elif request.rotate_unlock_key:
        unlock_key = request.rotate_unlock_key
    elif not unlock_key:
        raise InvalidArgument("autolock is switched on by a request that brings an unlock key")
    until = swarm.certificates_until
    if spec.ca.node_cert_expiry < swarm.spec.ca.node_cert_expiry:
        until = max(until, tx.now + swarm.spec.ca.node_cert_expiry)
    written: Swarm = tx.update(
        replace(swarm, spec=spec, root_ca=root, unlock_key=unlock_key, certificates_until=until),
        Because("update-swarm"),
        expect=request.version,
    )
    return written
