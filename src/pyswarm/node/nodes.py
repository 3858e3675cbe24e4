"""What requests about nodes do: join, leave, settings, removal, and what agents report.

A node's role is its own fact (``role``), what people want stands in its spec (``desired_role``);
:mod:`pyswarm.node.seats` brings the first after the second through the log's membership.
"""

from __future__ import annotations

import hmac
from itertools import islice

from pyswarm.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from pyswarm.machine import Because
from pyswarm.model import Node, NodeSpec, NodeState, Role, Task, TaskState, TaskStatus, replace
from pyswarm.model.objects import RevokedCertificate
from pyswarm.model.requests import (
    JoinNode,
    LeaveNode,
    RecordStatuses,
    RegisterNode,
    RemoveNode,
    SetNodeStates,
    UpdateNode,
)
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.store import Reader, Transaction

REVOKED_FOR_S = 7 * 24 * 3600.0
"""How long a removed node's certificate stays on the list after it expired."""

REPORTED = {state: Because("status", (str(state),)) for state in TaskState}
"""Why a status was written: one value for each state, since statuses come by the thousand."""

TOKEN_ERROR = "A valid join token is necessary to join this cluster"


def join_node(tx: Transaction, request: JoinNode, context: Context) -> Node:
    """A new node; the token alone decides its role."""
    role = _role_of(tx, request.token)
    node = Node(
        id=request.node_id or free_id(tx, "node", context.rng),
        spec=NodeSpec(desired_role=role, availability=request.availability),
        description=request.description,
        addr=request.addr,
    )
    written: Node = tx.create(node, Because("join", (str(role),)))
    return written


def _role_of(reader: Reader, token: str) -> Role:
    root = reader.swarm.root_ca
    given = token.encode()
    for role, wanted in (
        (Role.MANAGER, root.manager_token),
        (Role.WORKER, root.worker_token),
    ):
        if wanted and hmac.compare_digest(given, wanted.encode()):
            return role
    raise InvalidArgument(TOKEN_ERROR, hint="print the current one: cluster.join_token(role)")


def update_node(tx: Transaction, request: UpdateNode, context: Context) -> Node:
    """Labels, availability and the desired role."""
    node = tx.node(request.node_id)
    if node is None:
        raise NotFound(f"node {request.node_id} not found")
    demotes = request.spec.desired_role is Role.WORKER
    if node.wants_seat and demotes:
        _check_demotion(tx)
    written: Node = tx.update(
        replace(node, spec=request.spec, left_seat=node.left_seat and not demotes),
        Because("update-node", (node.hostname,)),
        expect=request.version,
    )
    return written


def _check_demotion(reader: Reader) -> None:
    managers = (other for other in reader.nodes() if other.wants_seat)
    if len(list(islice(managers, 2))) == 1:  # they came first, so this is a short look
        raise FailedPrecondition("attempting to demote the last manager of the swarm")


def remove_node(tx: Transaction, request: RemoveNode, context: Context) -> None:
    """Forget a node that is down (``force``: any) and refuse its certificate from now on."""
    node = tx.node(request.node_id)
    if node is None:
        raise NotFound(f"node {request.node_id} not found")
    # Also of one that is being demoted: its vote may be the last.
    if node.manager is not None or node.left_seat:
        raise FailedPrecondition(
            f"node {node.id} is a cluster manager and is a member of the raft cluster. "
            "It must be demoted to worker before removal"
        )
    if not request.force and node.state is NodeState.READY:
        raise FailedPrecondition(
            f"node {node.id} is not down and can't be removed",
            hint="let it leave the swarm first, or remove it with force=True",
        )
    _forget(tx, node)


def leave_node(tx: Transaction, request: LeaveNode, context: Context) -> None:
    """A node says goodbye: a worker goes down at once, a manager gives up its seat first."""
    node = tx.node(request.node_id)
    if node is None:
        return
    if node.role is Role.MANAGER and node.wants_seat:
        _check_demotion(tx)
        node = tx.update(replace(node, left_seat=True), Because("leave", (node.hostname,)))
    if node.state is not NodeState.DOWN:
        set_node_state(tx, node, NodeState.DOWN, "node left the swarm")


def _forget(tx: Transaction, node: Node) -> None:
    for task in tx.tasks_of_node(node.id):
        if task.state < TaskState.COMPLETE:
            orphan = replace(
                task,
                state=TaskState.ORPHANED,
                message="Task belonged to a node that has been deleted",
                status_at=tx.now,
            )
            tx.update(orphan, Because("node-removed", (node.id,)))
    swarm = tx.swarm
    expiry = max(tx.now + swarm.spec.ca.node_cert_expiry, swarm.certificates_until)
    kept = tuple(one for one in swarm.revoked if one.expires_at + REVOKED_FOR_S > tx.now)
    revoked = (*kept, RevokedCertificate(node.id, expiry))
    tx.update(replace(swarm, revoked=revoked), Because("revoke", (node.id,)))
    tx.delete("node", node.id, Because("remove-node", (node.hostname,)))


def register_node(tx: Transaction, request: RegisterNode, context: Context) -> Node:
    """An agent opened a session: the node is ready, and this is what it says of itself."""
    node = tx.node(request.node_id)
    if node is None:
        raise NotFound("node not found")
    changed = replace(
        node,
        description=request.description,
        addr=request.addr or node.addr,
        state=NodeState.READY,
        message="",
        down_at=0.0,
    )
    written: Node = tx.update(changed, Because("session-opened"))
    return written


def set_node_states(tx: Transaction, request: SetNodeStates, context: Context) -> None:
    """What the dispatcher found: nodes that stopped answering."""
    for node_id, state, message in request.states:
        if (node := tx.node(node_id)) is not None and node.state is not NodeState.DOWN:
            set_node_state(tx, node, state, message)


def set_node_state(tx: Transaction, node: Node, state: NodeState, message: str) -> None:
    """Write one node's state; going down is timed, for orphaning its tasks a day later."""
    down_at = tx.now if state is NodeState.DOWN else 0.0
    changed = replace(node, state=state, message=message, down_at=down_at)
    tx.update(changed, Because("node-state", (str(state),)))


def record_statuses(tx: Transaction, request: RecordStatuses, context: Context) -> None:
    """What an agent saw of its tasks; the whole report fails if one task is not its own."""
    for task_id, _ in request.statuses:
        task = tx.task(task_id)
        if task is not None and task.node_id != request.node_id:
            raise PermissionDenied("cannot update a task not assigned this node")
    for task_id, status in request.statuses:
        if (task := tx.task(task_id)) is not None:
            record_status(tx, task, status, request.applied_by)


def record_status(tx: Transaction, task: Task, status: TaskStatus, applied_by: str) -> None:
    """A task only moves forward; a report that says nothing new is dropped."""
    if status.state < task.state or _says_nothing_new(task, status):
        return
    running_at = task.running_at
    if status.state is TaskState.RUNNING and not running_at:
        running_at = tx.now
    tx.change(
        task,
        REPORTED[status.state],
        state=status.state,
        message=status.message,
        err=status.err,
        status_at=status.at or tx.now,
        container_id=status.container_id,
        pid=status.pid,
        exit_code=status.exit_code,
        port_status=status.ports,
        applied_at=tx.now,
        applied_by=applied_by,
        running_at=running_at,
    )


def _says_nothing_new(task: Task, status: TaskStatus) -> bool:
    """Agents have no clock of the swarm's: times do not count."""
    return (
        status.state is task.state
        and status.message == task.message
        and status.err == task.err
        and status.container_id == task.container_id
        and status.pid == task.pid
        and status.exit_code == task.exit_code
        and status.ports == task.port_status
    )
