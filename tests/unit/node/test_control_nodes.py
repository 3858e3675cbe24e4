"""What requests about nodes and the swarm as a whole do, and what they are refused for."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfSequence,
    PermissionDenied,
    SwarmError,
)
from pyswarm.model import (
    CAConfig,
    Identity,
    NodeDescription,
    NodeSpec,
    NodeState,
    RaftSettings,
    Role,
    SwarmSpec,
    Task,
    TaskSpec,
    TaskState,
    TaskStatus,
)
from pyswarm.model.requests import (
    JoinNode,
    LeaveNode,
    RecordStatuses,
    RegisterNode,
    RemoveNode,
    SetNodeStates,
    UpdateNode,
    UpdateSwarm,
)
from pyswarm.model.specs import ExternalCA
from pyswarm.node import control, nodes
from unit.node.desk import Desk


def refused(desk: Desk, body: Any, error: type[SwarmError], text: str) -> None:
    before = desk.store.digest()
    with pytest.raises(error) as caught:
        desk.ask(body)
    assert str(caught.value) == text
    assert desk.store.digest() == before


# -- joining and leaving


@pytest.mark.parametrize(
    ("token", "role"), [("worker token", Role.WORKER), ("manager token", Role.MANAGER)]
)
def test_the_token_alone_decides_the_role(token: str, role: Role) -> None:
    node = Desk().ask(JoinNode(token=token, addr="a:1"))
    assert node.spec.desired_role is role
    assert node.role is Role.WORKER, "a seat is given later"


@pytest.mark.parametrize("token", ["", "wrong", "worker toke", "wörker"])
def test_a_wrong_token(token: str) -> None:
    text = "A valid join token is necessary to join this cluster"
    refused(Desk(), JoinNode(token=token), InvalidArgument, text)


def test_leaving() -> None:
    desk = Desk()
    worker, one, two = desk.node("w"), desk.node("m", manager=1), desk.node("n", manager=2)
    desk.ask(LeaveNode(worker.id))
    left = desk.store.node("w")
    assert left is not None
    assert (left.state, left.message) == (NodeState.DOWN, "node left the swarm")
    assert left.down_at == desk.now
    desk.ask(LeaveNode(one.id))
    left = desk.store.node("m")
    assert left is not None
    assert (left.left_seat, left.wants_seat, left.state) == (True, False, NodeState.DOWN)
    text = "attempting to demote the last manager of the swarm"
    refused(desk, LeaveNode(two.id, True), FailedPrecondition, text)
    desk.ask(LeaveNode("gone"))


def test_a_manager_that_left_stays_one_in_the_books_until_it_is_demoted() -> None:
    desk = Desk()
    desk.node("m", manager=1), desk.node("n", manager=2)
    desk.ask(LeaveNode("m", True))
    desk.put(attrs.evolve(desk.store.node("m"), role=Role.WORKER, manager=None))  # its seat is gone
    text = (
        "node m is a cluster manager and is a member of the raft cluster. "
        "It must be demoted to worker before removal"
    )
    for force in (False, True):
        refused(desk, RemoveNode("m", force), FailedPrecondition, text)
    left = desk.store.node("m")
    labelled = attrs.evolve(left.spec, labels={"zone": "a"})
    assert desk.ask(UpdateNode("m", left.version, labelled)).left_seat
    left = desk.store.node("m")
    demoted = attrs.evolve(left.spec, desired_role=Role.WORKER)
    assert not desk.ask(UpdateNode("m", left.version, demoted)).left_seat
    desk.ask(RemoveNode("m"))
    assert desk.store.node("m") is None


# -- settings of nodes


def test_update_node() -> None:
    desk = Desk()
    refused(desk, UpdateNode("x", 1, NodeSpec()), NotFound, "node x not found")
    node = desk.node("w")
    changed = desk.ask(UpdateNode("w", node.version, NodeSpec(labels={"zone": "a"})))
    assert dict(changed.spec.labels) == {"zone": "a"}
    stale = UpdateNode("w", node.version, NodeSpec())
    refused(desk, stale, OutOfSequence, "update out of sequence")


def test_the_last_manager_stays_one() -> None:
    desk = Desk()
    one, two = desk.node("m", manager=1), desk.node("n", manager=2)
    desk.ask(UpdateNode("m", one.version, NodeSpec(desired_role=Role.WORKER)))
    text = "attempting to demote the last manager of the swarm"
    last = UpdateNode("n", two.version, NodeSpec(desired_role=Role.WORKER))
    refused(desk, last, FailedPrecondition, text)


# -- removal


def test_remove_node() -> None:
    desk = Desk()
    refused(desk, RemoveNode("x"), NotFound, "node x not found")
    desk.node("m", manager=1)
    for force in (False, True):
        refused(
            desk,
            RemoveNode("m", force),
            FailedPrecondition,
            "node m is a cluster manager and is a member of the raft cluster. "
            "It must be demoted to worker before removal",
        )
    desk.node("w")
    text = "node w is not down and can't be removed"
    refused(desk, RemoveNode("w"), FailedPrecondition, text)
    desk.ask(RemoveNode("w", force=True))
    assert desk.store.node("w") is None
    revoked = desk.store.swarm.revoked
    assert [one.node_id for one in revoked] == ["w"]
    assert revoked[0].expires_at == desk.now + desk.store.swarm.spec.ca.node_cert_expiry


def test_a_removed_node_stays_listed_for_as_long_as_its_certificate_may_last() -> None:
    """It may have got it before somebody made certificates shorter."""
    desk = Desk()
    desk.node("m", manager=1)
    desk.node("w")
    desk.node("v")
    longest = desk.store.swarm.spec.ca.node_cert_expiry
    shorter = SwarmSpec(ca=CAConfig(node_cert_expiry=3600.0))
    changed = desk.ask(UpdateSwarm(desk.store.swarm.version, shorter))
    shortened_at = desk.now
    desk.ask(UpdateSwarm(changed.version, shorter))
    desk.ask(RemoveNode("w", force=True))
    assert desk.store.swarm.revoked[0].expires_at == shortened_at + longest
    desk.now += longest + nodes.REVOKED_FOR_S
    desk.ask(RemoveNode("v", force=True))
    last = desk.store.swarm.revoked[-1]
    assert (last.node_id, last.expires_at) == ("v", desk.now + 3600.0)


@pytest.mark.parametrize("state", [NodeState.UNKNOWN, NodeState.DISCONNECTED, NodeState.DOWN])
def test_a_node_that_is_not_ready_may_go(state: NodeState) -> None:
    desk = Desk()
    desk.node("w", state)
    desk.ask(RemoveNode("w"))
    assert desk.store.node("w") is None


def test_tasks_of_a_removed_node_are_orphans() -> None:
    desk = Desk()
    desk.node("w", NodeState.DOWN)
    for id, state in (("run", TaskState.RUNNING), ("end", TaskState.FAILED)):
        desk.put(Task(id=id, spec=TaskSpec(), service_id="s", slot=1, node_id="w", state=state))
    desk.ask(RemoveNode("w"))
    run, end = desk.store.task("run"), desk.store.task("end")
    assert run is not None
    assert end is not None
    assert run.state is TaskState.ORPHANED
    assert run.message == "Task belonged to a node that has been deleted"
    assert end.state is TaskState.FAILED
    # What it reported before it heard of it comes too late.
    desk.ask(RecordStatuses("w", (("run", status(TaskState.RUNNING, pid=7)),), "m"))
    assert desk.store.task("run") == run


def test_old_revocations_are_dropped() -> None:
    desk = Desk()
    for id in ("a", "b"):
        desk.node(id, NodeState.DOWN)
    desk.ask(RemoveNode("a"))
    desk.now += desk.store.swarm.spec.ca.node_cert_expiry + 8 * 24 * 3600
    desk.ask(RemoveNode("b"))
    assert [one.node_id for one in desk.store.swarm.revoked] == ["b"]


# -- what the leader's dispatcher asks


def test_registration() -> None:
    desk = Desk()
    description = NodeDescription(hostname="new")
    refused(desk, RegisterNode("x", description), NotFound, "node not found")
    desk.node("w", NodeState.DOWN)
    node = desk.ask(RegisterNode("w", description, "w:9"))
    assert (node.state, node.message, node.addr) == (NodeState.READY, "", "w:9")
    assert node.hostname == "new"
    assert node.down_at == 0.0


def test_node_states() -> None:
    desk = Desk()
    desk.node("w")
    desk.ask(SetNodeStates((("w", NodeState.DOWN, "heartbeat failure"), ("x", NodeState.DOWN, ""))))
    node = desk.store.node("w")
    assert node is not None
    assert (node.state, node.message, node.down_at) == (
        NodeState.DOWN,
        "heartbeat failure",
        desk.now,
    )
    before = desk.store.node("w")
    desk.ask(SetNodeStates((("w", NodeState.DOWN, "again"),)))
    assert desk.store.node("w") == before, "a node goes down once"


def status(state: TaskState, **changes: Any) -> TaskStatus:
    return attrs.evolve(TaskStatus(state=state, at=5.0), **changes)


def test_statuses() -> None:
    desk = Desk()
    for id, node in (("mine", "w"), ("other", "v")):
        desk.put(
            Task(
                id=id,
                spec=TaskSpec(),
                service_id="s",
                slot=1,
                node_id=node,
                state=TaskState.ASSIGNED,
            )
        )

    def report(*statuses: tuple[str, TaskStatus]) -> Any:
        desk.ask(RecordStatuses("w", statuses, "m"))
        return desk.store.task("mine")

    refused(
        desk,
        RecordStatuses(
            "w", (("mine", status(TaskState.RUNNING)), ("other", status(TaskState.RUNNING)))
        ),
        PermissionDenied,
        "cannot update a task not assigned this node",
    )
    task = report(("mine", status(TaskState.RUNNING, pid=7)), ("gone", status(TaskState.FAILED)))
    assert (task.state, task.pid, task.applied_by) == (TaskState.RUNNING, 7, "m")
    assert task.running_at == task.applied_at == desk.now
    same = report(("mine", status(TaskState.RUNNING, pid=7, at=9.0)))
    assert same == task, "times alone are no news"
    assert report(("mine", status(TaskState.STARTING))) == task, "a task never goes back"
    failed = report(("mine", status(TaskState.FAILED, exit_code=3, err="exit 3")))
    assert (failed.state, failed.exit_code, failed.err) == (TaskState.FAILED, 3, "exit 3")
    assert failed.running_at == task.running_at


# -- the swarm


def settings(**changes: Any) -> SwarmSpec:
    return attrs.evolve(SwarmSpec(), **changes)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (settings(name="other"), "modification of cluster name is not allowed"),
        (
            settings(ca=CAConfig(node_cert_expiry=3599.0)),
            "minimum certificate expiry time is: 1h0m0s",
        ),
        (
            settings(ca=CAConfig(external_cas=(ExternalCA(protocol="x", url="u"),))),
            'invalid protocol: "x"',
        ),
        (
            settings(heartbeat_period=-1.0),
            "heartbeat time period cannot be a negative duration",
        ),
        (
            settings(raft=RaftSettings(heartbeat_tick=10, election_tick=10)),
            "election tick must be greater than heartbeat tick",
        ),
        (
            settings(ca=CAConfig(force_rotate=1)),
            "a new root comes with the request that asks for it, and does not stay in the settings",
        ),
        (
            settings(ca=CAConfig(signing_ca_cert=b"root", signing_ca_key=b"key")),
            "a new root comes with the request that asks for it, and does not stay in the settings",
        ),
    ],
)
def test_settings_are_refused(spec: SwarmSpec, text: str) -> None:
    desk = Desk()
    refused(desk, UpdateSwarm(desk.store.swarm.version, spec), InvalidArgument, text)


def test_settings_tokens_and_keys() -> None:
    desk = Desk()
    swarm = desk.store.swarm
    spec = settings(autolock=True, task_history_retention_limit=2)
    body = UpdateSwarm(
        swarm.version, spec, rotate_worker_token="new token", rotate_unlock_key=b"key"
    )
    changed = desk.ask(body)
    assert changed.spec == spec
    assert changed.root_ca.worker_token == "new token"
    assert changed.root_ca.manager_token == swarm.root_ca.manager_token
    assert changed.unlock_key == b"key"
    refused(desk, body, OutOfSequence, "update out of sequence")
    text = "A valid join token is necessary to join this cluster"
    refused(desk, JoinNode(token="worker token"), InvalidArgument, text)
    unlocked = desk.ask(UpdateSwarm(changed.version, settings(), rotate_manager_token="m"))
    assert unlocked.unlock_key == b""
    assert unlocked.root_ca.manager_token == "m"


# -- who may ask


def test_a_worker_may_leave_and_nothing_else() -> None:
    worker = Identity("w", Role.WORKER, "swarm")
    manager = Identity("m", Role.MANAGER, "swarm")
    for body in (RemoveNode("w"), LeaveNode("other"), UpdateSwarm(1, SwarmSpec())):
        with pytest.raises(PermissionDenied) as caught:
            control.check_caller(worker, body)
        assert str(caught.value) == "Permission denied: only a manager may do this"
        control.check_caller(manager, body)
        control.check_caller(None, body)
    control.check_caller(worker, LeaveNode("w"))


def test_a_request_that_is_none() -> None:
    with pytest.raises(Internal, match="no such request: str"):
        Desk().ask("create everything")
