"""What a node's certificate should say, and whether the node needs another one before its time.

Whoever signs and whoever renews ask here, in the runtime and in the simulator alike.
"""

from __future__ import annotations

from pyswarm.model import Node, Role
from pyswarm.node.machine import NodeMachine
from pyswarm.orchestrator.certificates import ROTATE


def role_for(node: Node) -> Role:
    """The role that a certificate gives this node now: a manager-to-be must be heard before it has
    its seat, one that gives up its seat until it has."""
    wanted = node.wants_seat or node.role is Role.MANAGER
    return Role.MANAGER if wanted else Role.WORKER


def own_node(machine: NodeMachine) -> Node | None:
    """What the swarm says of the node that this machine is, as far as it has heard."""
    known: Node | None = None
    if machine.manager is not None:
        known = machine.manager.store.node(machine.node_id)
    return known or machine.agent.node


def needs_another(node: Node, role: Role, *, is_outdated: bool) -> bool:
    """Whether a certificate of this ``role`` is to be replaced now: the node's role is another one,
    or all are asked to renew and this one ``is_outdated``: of a root that is on its way out."""
    is_asked = node.certificate is not None and node.certificate.status == ROTATE
    return role_for(node) is not role or (is_asked and is_outdated)


def objection(
    machine: NodeMachine, role: Role, given: tuple[bytes, bytes], trusted: tuple[bytes, bytes]
) -> str | None:
    """Why a certificate of this ``role`` that was ``given`` among these roots (the swarm's, and the
    coming one) is not one to show; None if it is. If not the node asks again.

    - As a worker, where the node got a seat while it was asked for: its vote would be counted on,
      and heard by nobody; without a leader it would get no other certificate.
    - While the node trusts other roots. Whoever shows a certificate of the next root is not waited
      for any more, and must know that root when it alone is left.
    """
    if role is not Role.MANAGER and machine.manager is not None:
        return "the node got a seat while it was given a certificate as a worker"
    if given != trusted:
        return "the swarm's roots are not yet, or no more, those that the node was told to trust"
    return None
