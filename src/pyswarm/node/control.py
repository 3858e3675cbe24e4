"""The one way in: what each request does, as a table.

Every command (Python, another manager, the Docker API, a stack file) becomes one of these request
values, so validation and errors are the same for all. Each function runs in a savepoint of a turn:
it raises a typed error and leaves nothing, or writes and returns the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyswarm.errors import Internal, PermissionDenied
from pyswarm.model import Identity, Role
from pyswarm.model.requests import (
    CreateConfig,
    CreateExtension,
    CreateNetwork,
    CreateResource,
    CreateSecret,
    CreateService,
    CreateVolume,
    JoinNode,
    LeaveNode,
    RecordStatuses,
    RegisterNode,
    RemoveConfig,
    RemoveExtension,
    RemoveNetwork,
    RemoveNode,
    RemoveResource,
    RemoveSecret,
    RemoveService,
    RemoveTask,
    RemoveVolume,
    SetNodeStates,
    UpdateConfig_,
    UpdateNode,
    UpdateResource,
    UpdateSecret,
    UpdateService,
    UpdateSwarm,
    UpdateVolume,
)
from pyswarm.node import custom, networks, nodes, payloads, services, settings, volumes
from pyswarm.node.context import Context
from pyswarm.store import Transaction

CONTROL: dict[type, Callable[[Transaction, Any, Context], Any]] = {
    CreateService: services.create_service,
    UpdateService: services.update_service,
    RemoveService: services.remove_service,
    RemoveTask: services.remove_task,
    CreateNetwork: networks.create_network,
    RemoveNetwork: networks.remove_network,
    CreateSecret: payloads.create_secret,
    UpdateSecret: payloads.update_secret,
    RemoveSecret: payloads.remove_secret,
    CreateConfig: payloads.create_config,
    UpdateConfig_: payloads.update_config,
    RemoveConfig: payloads.remove_config,
    CreateVolume: volumes.create_volume,
    UpdateVolume: volumes.update_volume,
    RemoveVolume: volumes.remove_volume,
    CreateExtension: custom.create_extension,
    RemoveExtension: custom.remove_extension,
    CreateResource: custom.create_resource,
    UpdateResource: custom.update_resource,
    RemoveResource: custom.remove_resource,
    UpdateNode: nodes.update_node,
    RemoveNode: nodes.remove_node,
    JoinNode: nodes.join_node,
    LeaveNode: nodes.leave_node,
    UpdateSwarm: settings.update_swarm,
    RegisterNode: nodes.register_node,
    SetNodeStates: nodes.set_node_states,
    RecordStatuses: nodes.record_statuses,
}
"""Request class → what it does. The last three come from the leader's own dispatcher."""


def run(tx: Transaction, body: Any, context: Context) -> Any:
    """Do what ``body`` asks; the object it wrote, or None after a removal."""
    handler = CONTROL.get(type(body))
    if handler is None:
        raise Internal(f"no such request: {type(body).__name__}")
    return handler(tx, body, context)


def check_caller(identity: Identity | None, body: Any) -> None:
    """Managers, and this very process (None), may ask for anything; a worker only to leave.

    Raises ``PermissionDenied``. A join proves itself by its token.
    """
    if identity is None or identity.role is Role.MANAGER:
        return
    if isinstance(body, LeaveNode) and body.node_id == identity.node_id:
        return
    raise PermissionDenied("Permission denied: only a manager may do this")


def payload_size(body: Any) -> int:
    """Payload bytes a request will add to its turn's entry."""
    payload = getattr(body, "payload", None)
    return len(payload.ciphertext) if payload is not None else 0
