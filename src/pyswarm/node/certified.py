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


def may_adopt(machine: NodeMachine, role: Role) -> bool:
    """Whether a certificate of this ``role`` that has just come is still one to show. One as a
    worker is not where the node got a seat while it was made: its vote would be counted on, and
    heard by nobody; without a leader it would get no other certificate."""
    return role is Role.MANAGER or machine.manager is None
