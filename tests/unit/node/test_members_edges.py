"""Members in odd situations: each ends as a member or with a typed error, and nobody speaks for
somebody else."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.errors import FailedPrecondition, PermissionDenied, Unavailable
from pyswarm.model import (
    Availability,
    Identity,
    NodeState,
    Request,
    Role,
    TaskState,
    replace,
    service_spec,
)
from pyswarm.model.objects import TaskStatus
from pyswarm.model.requests import (
    CreateService,
    JoinNode,
    RegisterNode,
    RemoveNode,
    SetNodeStates,
    UpdateNode,
)
from pyswarm.model.session import OpenSession, ReportStatus, SessionRefused
from pyswarm.node import FromPeer
from pyswarm.node.messages import ForwardReply, ForwardRequest, RaftPacket
from pyswarm.raft.message import VoteRequest
from unit.node.bench import MANAGER_TOKEN, WORKER_TOKEN, Bench, Letter, description


def wish(bench: Bench, name: str, role: Role) -> UpdateNode:
    leader = bench.leader()
    assert leader is not None
    node = next(one for one in leader.store.nodes() if one.addr == name)
    return UpdateNode(node.id, node.version, replace(node.spec, desired_role=role))


def voters(bench: Bench) -> list[str]:
    leader = bench.leader()
    if leader is None:
        return []
    configuration = leader.node.manager.replica.configuration
    return sorted(one.context.decode().split()[1] for one in configuration.members if one.voter)


def raft_for(name: str, letter: Letter) -> bool:
    return letter.to == name and isinstance(letter.message, RaftPacket)


# -- joining


def test_joining_while_the_leader_is_lost() -> None:
    """Through a follower: refused until there is a leader again, and then the same node."""
    bench = Bench.formed(3)
    bench.crash("m1")
    bench.add("w1")
    bench.ask_to_join("w1", WORKER_TOKEN, via="m2", request_id="once")
    bench.wait_until(lambda: "w1" in bench.joins)
    assert isinstance(bench.joins["w1"].error, Unavailable)
    bench.new_leader(besides="m1")
    bench.ask_to_join("w1", WORKER_TOKEN, via="m2", request_id="once")
    bench.wait_until(lambda: "w1" in bench.joins)
    assert bench.joins["w1"].error is None
    assert bench["m2"].store.count("node") == 4


@pytest.mark.parametrize("token", [WORKER_TOKEN, MANAGER_TOKEN])
def test_a_joiner_that_dies_before_the_answer_is_seen_to_be_down(token: str) -> None:
    """It holds no vote, whatever it was to become, and goes like any node that is down."""
    bench = Bench.formed(1)
    bench.add("x")
    bench.ask_to_join("x", token, via="m1")
    bench.wait_until(lambda: "x" in bench.joins)
    id = bench.joins["x"].node_id
    store = bench["m1"].store
    bench.wait_until(lambda: store.node(id).state is NodeState.DOWN)
    assert voters(bench) == ["m1"]
    if token == MANAGER_TOKEN:
        with pytest.raises(FailedPrecondition, match="It must be demoted to worker"):
            bench.ask("m1", RemoveNode(id, True))
        node = store.node(id)
        bench.ask("m1", UpdateNode(id, node.version, replace(node.spec, desired_role=Role.WORKER)))
        bench.wait_until(lambda: store.node(id).manager is None)
    bench.ask("m1", RemoveNode(id))
    assert store.node(id) is None


def test_a_joiner_that_asks_again_after_it_was_removed() -> None:
    bench = Bench.formed(1)
    bench.join("w1", WORKER_TOKEN, request_id="once")
    bench.ask("m1", RemoveNode(bench["w1"].node.node_id, True))
    bench.ask_to_join("w1", WORKER_TOKEN, via="m1", request_id="once")
    bench.wait_until(lambda: "w1" in bench.joins)
    assert isinstance(bench.joins["w1"].error, PermissionDenied)


def test_twice_with_one_token_makes_two_nodes() -> None:
    bench = Bench.formed(1)
    for name in ("w1", "w2"):
        bench.join(name, WORKER_TOKEN)
    assert bench["w1"].node.node_id != bench["w2"].node.node_id
    assert bench["m1"].store.count("node") == 3


# -- seats


def test_who_was_away_while_all_managers_changed_finds_those_of_now() -> None:
    """Its seat was taken away and given anew meanwhile, and whom it knows has gone: what a manager
    sends to the seat that it does not know of tells it whom to ask."""
    bench = Bench.formed(3)
    bench.crash("m3")
    for name in ("m4", "m5"):
        bench.join(name, MANAGER_TOKEN)
    bench.wait_until(lambda: voters(bench) == ["m1", "m2", "m3", "m4", "m5"])
    for name in ("m3", "m1", "m2"):
        bench.ask("m4", wish(bench, name, Role.WORKER))
        bench.wait_until(lambda name=name: bench.leader() and name not in voters(bench))
    bench.ask("m4", wish(bench, "m3", Role.MANAGER))
    for name in ("m1", "m2"):
        bench.crash(name)
    bench.start("m3")
    bench.wait_until(lambda: voters(bench) == ["m3", "m4", "m5"])
    bench.settle()
    bench.check()


def test_several_are_promoted_and_demoted_at_once() -> None:
    bench = Bench.formed(3, 2)
    wishes = [
        wish(bench, "w1", Role.MANAGER),
        wish(bench, "m2", Role.WORKER),
        wish(bench, "w2", Role.MANAGER),
        wish(bench, "m3", Role.WORKER),
    ]
    tokens = [bench.send("m1", body) for body in wishes]
    assert [bench.answer("m1", token)[1] for token in tokens] == [None] * 4
    bench.wait_until(lambda: voters(bench) == ["m1", "w1", "w2"])
    bench.wait_until(lambda: {one.name for one in bench.managers()} == {"m1", "w1", "w2"})
    bench.settle()
    bench.check()


def test_the_only_manager_hands_over_to_one_that_is_promoted_with_it() -> None:
    """The vote comes before the seat is given up: a swarm is never without one."""
    bench = Bench.formed(1, 1)
    tokens = [
        bench.send("m1", wish(bench, "w1", Role.MANAGER)),
        bench.send("m1", wish(bench, "m1", Role.WORKER)),
    ]
    assert [bench.answer("m1", token)[1] for token in tokens] == [None, None]
    bench.wait_until(lambda: voters(bench) == ["w1"])
    bench.wait_until(lambda: bench["m1"].node.manager is None)
    assert bench.ask("w1", CreateService(service_spec("web", image="web")))


def test_a_seat_that_must_stay_holds_nobody_else_up() -> None:
    """The one who should go has the last vote, since the other is away: it stays for now."""
    bench = Bench.formed(1, 2)
    bench.is_lost = lambda letter: "w1" in (letter.to, letter.sender)
    for name, role in (("w1", Role.MANAGER), ("m1", Role.WORKER), ("w2", Role.MANAGER)):
        bench.ask("m1", wish(bench, name, role))
    bench.wait_until(lambda: voters(bench) == ["w2"])
    assert bench.ask("w2", CreateService(service_spec("web", image="web")))


def test_a_member_that_is_being_demoted_cannot_be_removed_yet() -> None:
    """Removed with its seat, a swarm's last voter would take the swarm along."""
    bench = Bench.formed(1, 1)
    bench.is_lost = lambda letter: raft_for("w1", letter)
    bench.ask("m1", wish(bench, "w1", Role.MANAGER))
    bench.ask("m1", wish(bench, "m1", Role.WORKER))
    id = bench["m1"].node.node_id
    with pytest.raises(FailedPrecondition, match="is a member of the raft cluster"):
        bench.ask("m1", RemoveNode(id, True))
    bench.is_lost = lambda letter: False
    bench.wait_until(lambda: voters(bench) == ["w1"])
    bench.wait_until(lambda: bench["m1"].node.manager is None)
    bench.ask("w1", RemoveNode(id, True))


def test_one_that_was_cut_off_learns_from_its_session_that_it_has_no_seat() -> None:
    """Raft cannot tell it: all the members that it knows have gone."""
    bench = Bench.formed(3, 1)
    bench.is_lost = lambda letter: raft_for("m3", letter)
    bench.ask("m1", wish(bench, "w1", Role.MANAGER))
    bench.wait_until(lambda: "w1" in voters(bench))
    for name, left in (("m3", ["m1", "m2", "w1"]), ("m2", ["m1", "w1"]), ("m1", ["w1"])):
        bench.ask("w1", wish(bench, name, Role.WORKER))
        bench.wait_until(lambda left=left: voters(bench) == left)
    bench.wait_until(lambda: bench["m3"].node.manager is None)
    assert bench["m3"].node.identity.role is Role.WORKER
    assert bench["m3"].disk.record.member_id == 0


# -- what a node may say


def test_a_worker_changes_nothing_of_its_own_spec() -> None:
    """What it says of itself is its description; labels, role and availability are managers'."""
    bench = Bench.formed(1, 1)
    me = bench["w1"].identity
    store = bench["m1"].store
    before = store.node(me.node_id)
    lies = attrs.evolve(description("w1"), engine_labels={"zone": "vault"})
    changed = replace(
        before.spec,
        labels={"zone": "vault"},
        desired_role=Role.MANAGER,
        availability=Availability.DRAIN,
    )
    bodies = [
        UpdateNode(me.node_id, before.version, changed),
        RegisterNode(me.node_id, lies, "elsewhere", ""),
        SetNodeStates(((me.node_id, NodeState.DOWN, "gone"),)),
        JoinNode(MANAGER_TOKEN, node_id=me.node_id),
        RemoveNode(bench["m1"].node.node_id, True),
    ]
    for number, body in enumerate(bodies):
        forged = Request(f"forged {number}", body, bench["m1"].identity)
        bench.step("m1", FromPeer(me, "w1", ForwardRequest(number, forged)))
    bench.step("m1", FromPeer(me, "w1", OpenSession("", lies)))
    bench.wait_until(lambda: store.node(me.node_id).description == lies)
    node = store.node(me.node_id)
    assert node.spec == before.spec
    assert (node.role, node.addr, node.state) == (Role.WORKER, before.addr, NodeState.READY)
    assert store.count("node") == 2


def test_a_worker_reports_nobody_elses_tasks() -> None:
    bench = Bench.formed(1, 2)
    spec = service_spec("web", image="web", replicas=1, constraints=["node.hostname==w1"])
    bench.ask("m1", CreateService(spec))
    store = bench["m1"].store
    bench.wait_until(lambda: all(task.state is TaskState.RUNNING for task in store.tasks()))
    [task] = store.tasks()
    office = bench["m1"].office
    session = office.dispatcher.session_ids()[bench["w2"].node.node_id]
    lie = ReportStatus(session, 77, ((task.id, TaskStatus(TaskState.FAILED)),))
    bench.step("m1", FromPeer(bench["w2"].identity, "w2", lie))
    bench.wait(1.0)
    assert store.task(task.id).state is TaskState.RUNNING


@pytest.mark.parametrize("who", ["worker", "removed"])
def test_an_old_certificate_of_a_manager_forwards_nothing(who: str) -> None:
    """A node that was demoted, or removed so long ago that it is on no list any more, may still
    have a certificate that calls it a manager: the leader's store decides."""
    bench = Bench.formed(1, 1)
    node_id = bench["w1"].node.node_id if who == "worker" else "x" * 25
    identity = Identity(node_id, Role.MANAGER, "swarm")
    body = CreateService(service_spec("web", image="web"))
    bench.step("m1", FromPeer(identity, "w1", ForwardRequest(1, Request("old", body, identity))))
    [reply] = [one.message for one in bench.wire if isinstance(one.message, ForwardReply)]
    assert isinstance(reply.error, Unavailable)
    bench.pump()
    assert bench["m1"].store.count("service") == 0


def test_a_member_speaks_for_itself_alone() -> None:
    bench = Bench.formed(3)
    leader = bench.leader()
    assert leader is not None and leader.name == "m1"
    term = leader.node.manager.replica.term
    forged = RaftPacket(VoteRequest(1, 2, term + 5, 0, 10_000, term + 5))
    bench.step("m2", FromPeer(bench["m3"].identity, "m3", forged))
    assert bench["m2"].node.manager.replica.term == term
    assert bench["m2"].events[-1].event == "peer.refused"


def test_a_worker_ends_no_session_of_somebody_else() -> None:
    bench = Bench.formed(1, 2)
    agent = bench["w1"].node.agent
    session = agent.session_id
    assert session
    for addr in ("w2", "m1"):  # also from the leader's own address
        refusal = SessionRefused(session, "unavailable", "go away", "w2")
        bench.step("w1", FromPeer(bench["w2"].identity, addr, refusal))
    assert agent.session_id == session


def test_who_is_on_the_list_of_removed_nodes_stops_at_once() -> None:
    """Any manager may say so, and nobody else."""
    bench = Bench.formed(2, 2)
    refusal = SessionRefused("", "permission_denied", "Permission denied: removed from swarm")
    bench.step("w1", FromPeer(bench["w2"].identity, "w2", refusal))
    bench.wait(1.0)
    assert bench["w1"].machine is not None
    bench.step("w1", FromPeer(bench["m2"].identity, "m2", refusal))
    bench.wait_until(lambda: bench["w1"].halted == "removed")
