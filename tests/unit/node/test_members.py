"""Joining, seats in the log, leaving: who is a manager, and how that changes."""

from __future__ import annotations

import pytest

from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import NodeSpec, NodeState, Role, SwarmSpec, replace, service_spec
from pyswarm.model.requests import CreateService, LeaveNode, RemoveNode, UpdateNode
from pyswarm.model.session import SessionRefused
from pyswarm.node import FromPeer
from pyswarm.node.calls import HandOver, Leave
from pyswarm.node.messages import JoinReply, RaftPacket
from pyswarm.raft import Role as RaftRole
from unit.node.bench import MANAGER_TOKEN, WORKER_TOKEN, Bench, Letter


def voters(bench: Bench) -> int:
    leader = bench.leader()
    assert leader is not None
    return len(leader.node.manager.replica.configuration.voters)


def set_role(bench: Bench, name: str, role: Role, *, via: str = "") -> None:
    leader = bench.leader()
    assert leader is not None
    node = leader.store.node(bench[name].node.node_id)
    assert node is not None
    spec = replace(node.spec, desired_role=role)
    bench.ask(via or leader.name, UpdateNode(node.id, node.version, spec))


def wait_for_voters(bench: Bench, number: int) -> None:
    bench.wait_until(lambda: bench.leader() is not None and voters(bench) == number)
    bench.settle()


# -- joining


@pytest.mark.parametrize("via", ["m1", "m2"])
def test_a_wrong_token_is_refused_wherever_it_is_shown(via: str) -> None:
    bench = Bench.formed(2)
    bench.add("x")
    bench.ask_to_join("x", "SWMTKN-1-wrong", via=via)
    bench.wait_until(lambda: "x" in bench.joins)
    error = bench.joins["x"].error
    assert isinstance(error, InvalidArgument)
    assert str(error) == "A valid join token is necessary to join this cluster"
    assert bench["m1"].store.count("node") == 2


def test_joining_twice_with_one_request_id_makes_one_node() -> None:
    bench = Bench.formed(1)
    bench.add("w1")
    answers: list[JoinReply] = []
    for _ in range(2):
        bench.ask_to_join("w1", WORKER_TOKEN, via="m1", request_id="join once")
        bench.wait_until(lambda: "w1" in bench.joins)
        answers.append(bench.joins["w1"])
    assert answers[0].node_id == answers[1].node_id
    assert answers[0].role is Role.WORKER
    assert answers[0].swarm_id == "swarm"
    assert bench["m1"].store.count("node") == 2


def test_joining_through_a_worker_is_refused() -> None:
    bench = Bench.formed(1, 1)
    bench.add("x")
    bench.ask_to_join("x", WORKER_TOKEN, via="w1")
    bench.wait_until(lambda: "x" in bench.joins)
    assert isinstance(bench.joins["x"].error, FailedPrecondition)


def test_a_manager_gets_a_seat_and_says_so() -> None:
    bench = Bench.formed(3)
    store = bench["m1"].store
    members = {}
    for node in store.nodes():
        assert node.role is Role.MANAGER
        assert node.manager is not None
        members[node.manager.member_id] = node.manager.addr
    assert members == {1: "m1", 2: "m2", 3: "m3"}
    assert all(one.identity.role is Role.MANAGER for one in bench.managers())
    bench.check()


# -- promoting and demoting


def test_promote_and_demote() -> None:
    bench = Bench.formed(1, 2)
    for name in ("w1", "w2"):
        set_role(bench, name, Role.MANAGER)
    wait_for_voters(bench, 3)
    assert bench["w1"].identity.role is Role.MANAGER
    assert bench.ask("w2", CreateService(service_spec("web", image="web")))
    bench.settle()
    bench.check()
    set_role(bench, "w1", Role.WORKER)
    wait_for_voters(bench, 2)
    bench.wait_until(lambda: bench["w1"].node.manager is None)
    assert bench["w1"].identity.role is Role.WORKER
    assert bench["w1"].disk.record.member_id == 0
    leader = bench.settle()
    node = leader.store.node(bench["w1"].node.node_id)
    assert node is not None
    assert (node.role, node.manager, node.state) == (Role.WORKER, None, NodeState.READY)
    bench.check()


def test_a_member_comes_back_with_another_seat() -> None:
    bench = Bench.formed(3)
    set_role(bench, "m3", Role.WORKER)
    wait_for_voters(bench, 2)
    bench.wait_until(lambda: bench["m3"].node.manager is None)
    set_role(bench, "m3", Role.MANAGER)
    wait_for_voters(bench, 3)
    bench.wait_until(lambda: bench["m3"].node.manager is not None)
    assert bench["m3"].node.manager.replica.id == 4, "ids are never given twice"
    bench.settle()
    bench.check()


@pytest.mark.parametrize("managers", [2, 3])
def test_the_leader_itself_is_demoted(managers: int) -> None:
    """It manages its own removal, then another leads, and its node says worker."""
    bench = Bench.formed(managers)
    set_role(bench, "m1", Role.WORKER, via="m2")
    new = bench.new_leader(besides="m1")
    bench.wait_until(lambda: bench["m1"].node.manager is None)
    leader = bench.settle()
    assert leader.name == new.name
    assert voters(bench) == managers - 1
    node = leader.store.node("node-m1")
    assert node is not None
    assert (node.role, node.manager) == (Role.WORKER, None)
    assert bench["m1"].identity.role is Role.WORKER
    assert bench.ask(leader.name, CreateService(service_spec("web", image="web")))
    bench.wait(20.0)
    assert leader.store.node("node-m1").state is NodeState.READY, "its agent found the new leader"
    bench.settle()
    bench.check()


def test_requests_of_a_leader_that_demotes_itself_are_answered() -> None:
    bench = Bench.formed(3)
    node = bench["m1"].store.node("node-m1")
    assert node is not None
    spec = replace(node.spec, desired_role=Role.WORKER)
    tokens = [bench.send("m1", UpdateNode(node.id, node.version, spec))]
    tokens += [
        bench.send("m1", CreateService(service_spec(f"s{n}", image="web"))) for n in range(5)
    ]
    answers = [bench.answer("m1", token) for token in tokens]
    assert answers[0][1] is None
    leader = bench.settle()
    done = [value.id for value, error in answers[1:] if error is None]
    assert all(leader.store.service(id) is not None for id in done)
    assert leader.store.count("service") == len(done)


def test_the_last_manager_cannot_be_demoted() -> None:
    bench = Bench.formed(1, 1)
    with pytest.raises(FailedPrecondition) as caught:
        set_role(bench, "m1", Role.WORKER)
    assert str(caught.value) == "attempting to demote the last manager of the swarm"
    assert bench["m1"].leads


def test_a_promoted_node_that_is_away_does_not_vote() -> None:
    """A learner that never catches up holds up nobody, and can be demoted again."""
    bench = Bench.formed(1, 1)
    bench.crash("w1")
    leader = bench["m1"]
    node = next(one for one in leader.store.nodes() if one.id != "node-m1")
    spec = replace(node.spec, desired_role=Role.MANAGER)
    bench.ask("m1", UpdateNode(node.id, node.version, spec))
    bench.wait(3.0)
    configuration = leader.node.manager.replica.configuration
    assert [member.voter for member in configuration.members] == [True, False]
    assert bench.ask("m1", CreateService(service_spec("web", image="web")))
    node = leader.store.node(node.id)
    assert node is not None
    spec = replace(node.spec, desired_role=Role.WORKER)
    bench.ask("m1", UpdateNode(node.id, node.version, spec))
    bench.wait(1.0)
    assert len(leader.node.manager.replica.configuration.members) == 1
    bench.start("w1")
    bench.wait(20.0)
    assert bench["w1"].node.manager is None
    assert leader.store.node(node.id).state is NodeState.READY


# -- leaving


def test_a_worker_leaves_and_is_removed() -> None:
    bench = Bench.formed(1, 1)
    leader = bench["m1"]
    id = bench["w1"].node.node_id
    text = f"node {id} is not down and can't be removed"
    with pytest.raises(FailedPrecondition) as caught:
        bench.ask("m1", RemoveNode(id))
    assert str(caught.value) == text
    bench.ask("m1", LeaveNode(id))
    node = leader.store.node(id)
    assert node is not None
    assert (node.state, node.message) == (NodeState.DOWN, "node left the swarm")
    bench.ask("m1", RemoveNode(id))
    assert leader.store.node(id) is None
    bench.wait(20.0)
    assert id not in leader.office.dispatcher.session_ids()


def test_a_manager_leaves_by_giving_up_its_seat() -> None:
    bench = Bench.formed(3)
    bench.ask("m2", LeaveNode(bench["m3"].node.node_id, True))
    wait_for_voters(bench, 2)
    bench.wait_until(lambda: bench["m3"].node.manager is None)
    leader = bench.settle()
    left = leader.store.node(bench["m3"].node.node_id)
    assert (left.left_seat, left.role, left.manager) == (True, Role.WORKER, None)
    assert left.spec.desired_role is Role.MANAGER
    spec = replace(left.spec, desired_role=Role.WORKER)
    bench.ask(leader.name, UpdateNode(left.id, left.version, spec))
    bench.ask(leader.name, RemoveNode(left.id))
    bench.settle()
    bench.check()


def test_a_removed_node_cannot_come_back() -> None:
    bench = Bench.formed(1, 1)
    id = bench["w1"].node.node_id
    bench.crash("w1")
    bench.ask("m1", RemoveNode(id, True))
    bench.start("w1")
    bench.wait(10.0)
    assert bench["m1"].store.node(id) is None
    assert id not in bench["m1"].office.dispatcher.session_ids()


def test_a_leader_that_stops_hands_over() -> None:
    bench = Bench.formed(3)
    bench.settle()
    before = bench.now
    bench.stop("m1")
    new = bench.new_leader(besides="m1")
    assert bench.now - before < 0.5, "nobody waits for an election timeout"
    bench.wait_until(lambda: bench["m1"].halted == "stopped")
    assert new.node.manager.replica.role is RaftRole.LEADER
    assert bench.ask(new.name, CreateService(service_spec("web", image="web")))


def test_a_member_joins_by_snapshot() -> None:
    spec = SwarmSpec()
    raft = replace(spec.raft, snapshot_interval=5, log_entries_for_slow_followers=0)
    bench = Bench.formed(1, spec=replace(spec, raft=raft))
    for number in range(12):
        bench.ask("m1", CreateService(service_spec(f"s{number}", image="web")))
    assert any(one.event == "log.compacted" for one in bench["m1"].events)
    bench.join("m2", MANAGER_TOKEN)
    wait_for_voters(bench, 2)
    assert bench["m2"].store.count("service") == 12
    assert bench["m2"].commits[0].version > 5, "what came before was in the snapshot"
    bench.check()


def test_the_founder_comes_back_as_a_member_and_founds_nothing() -> None:
    bench = Bench.formed(3)
    set_role(bench, "m1", Role.WORKER, via="m2")
    bench.wait_until(lambda: bench["m1"].node.manager is None)
    leader = bench.settle()
    bench.ask(leader.name, CreateService(service_spec("web", image="web")))
    set_role(bench, "m1", Role.MANAGER)
    wait_for_voters(bench, 3)
    assert bench["m1"].store.count("node") == 3
    assert bench["m1"].store.by_name("service", "web") is not None
    bench.check()


def test_a_demotion_that_would_lose_the_quorum_is_refused() -> None:
    bench = Bench.formed(3)
    bench.crash("m3")
    bench.wait(3.0)
    text = "can't remove member from the raft: this would result in a loss of quorum"
    for name in ("m1", "m2"):
        with pytest.raises(FailedPrecondition) as caught:
            set_role(bench, name, Role.WORKER)
        assert str(caught.value) == text
    leader = bench.leader()
    assert leader is not None
    [lost] = [node for node in leader.store.nodes() if node.hostname == "m3"]
    spec = replace(lost.spec, desired_role=Role.WORKER)
    bench.ask("m1", UpdateNode(lost.id, lost.version, spec))
    bench.wait_until(lambda: voters(bench) == 2)
    assert bench.ask("m1", CreateService(service_spec("web", image="web")))


def test_one_that_has_left_may_be_demoted_while_its_seat_must_stay() -> None:
    """Its seat goes in any case, as soon as that costs no quorum."""
    bench = Bench.formed(3)
    bench.crash("m2")
    bench.wait(3.0)
    bench.ask("m1", LeaveNode(bench["m3"].node.node_id, True))
    bench.wait(3.0)
    assert voters(bench) == 3
    leader = bench.leader()
    assert leader is not None
    [left] = [node for node in leader.store.nodes() if node.hostname == "m3"]
    assert left.manager is not None
    bench.ask(leader.name, UpdateNode(left.id, left.version, NodeSpec(desired_role=Role.WORKER)))
    bench.start("m2")
    wait_for_voters(bench, 2)
    bench.wait_until(lambda: bench["m3"].node.manager is None)
    assert bench.ask("m1", CreateService(service_spec("web", image="web")))
    bench.check()


def test_a_worker_says_goodbye_and_halts() -> None:
    bench = Bench.formed(1, 1)
    id = bench["w1"].node.node_id
    assert bench.answer("w1", bench.call("w1", Leave())) == (None, None)
    bench.wait_until(lambda: bench["w1"].halted == "left")
    bench.wait(1.0)
    node = bench["m1"].store.node(id)
    assert node is not None
    assert (node.state, node.message) == (NodeState.DOWN, "node left the swarm")
    bench.ask("m1", RemoveNode(id))


def test_a_leader_that_cannot_keep_time_hands_over() -> None:
    bench = Bench.formed(3)
    before = bench.now
    assert bench.answer("m1", bench.call("m1", HandOver())) == (None, None)
    new = bench.new_leader(besides="m1")
    assert bench.now - before < 0.5
    assert bench["m1"].machine is not None
    assert bench.ask("m1", CreateService(service_spec("web", image="web")))
    bench.settle()
    bench.check()
    assert new.leads
    alone = Bench.formed(1)
    assert alone.answer("m1", alone.call("m1", HandOver())) == (None, None)
    assert alone["m1"].leads, "there is nobody else"


def test_a_seat_that_was_taken_back_before_the_log_came_is_given_up() -> None:
    """Promoted and demoted at once: the replica never hears of anyone, and must not stay."""
    bench = Bench.formed(2, 1)
    bench.is_lost = lambda letter: isinstance(letter.message, RaftPacket) and is_for_worker(letter)
    set_role(bench, "w1", Role.MANAGER)
    bench.wait_until(lambda: bench["w1"].node.manager is not None)
    set_role(bench, "w1", Role.WORKER)
    bench.wait_until(lambda: bench["w1"].node.manager is None)
    assert bench["w1"].node.identity.role is Role.WORKER
    bench.is_lost = lambda letter: False
    set_role(bench, "w1", Role.MANAGER)
    wait_for_voters(bench, 3)


def is_for_worker(letter: Letter) -> bool:
    return letter.to.startswith("w1")


def test_managers_that_do_not_lead_say_nothing_about_a_removal() -> None:
    """Between the leader's refusals others answer as well: the ten seconds go on."""
    bench = Bench.formed(2, 1)
    bench.is_lost = is_for_worker
    leader, follower = bench["m1"].identity, bench["m2"].identity
    for _ in range(4):
        refusal = SessionRefused("", "not_found", "node not found")
        bench.step("w1", FromPeer(leader, "m1:2377", refusal))
        other = SessionRefused("", "unavailable", "this manager does not lead", "m1:2377")
        bench.step("w1", FromPeer(follower, "m2:2377", other))
        bench.wait(4.0)
    assert bench["w1"].machine is None or bench["w1"].node.halted
