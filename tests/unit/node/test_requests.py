"""Who answers: the leader, a follower on its behalf, or nobody, and then with the reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyswarm.errors import FailedPrecondition, PermissionDenied, SwarmError, Unavailable
from pyswarm.model import Identity, Role, service_spec
from pyswarm.model.requests import CreateService, LeaveNode, RemoveService
from pyswarm.node import FromPeer
from pyswarm.node.machine import NOT_A_MANAGER
from pyswarm.node.manager import NO_LEADER, READ_TIMEOUT_S
from pyswarm.node.messages import ForwardReply, ForwardRequest, RaftPacket
from unit.node.bench import Bench, Letter, Station


def service(name: str) -> CreateService:
    return CreateService(service_spec(name, image="web"))


def sent(bench: Bench, kind: type) -> list[Letter]:
    return [letter for letter in bench.wire if isinstance(letter.message, kind)]


def assert_nobody_leads(error: SwarmError, reachable: int, managers: int) -> None:
    assert isinstance(error, Unavailable)
    assert str(error) == NO_LEADER
    assert error.outcome == "not_applied"
    assert error.details["reachable"] == reachable
    assert error.details["managers"] == managers
    assert f"{reachable} of {managers}" in error.hint


# -- forwarding


def test_a_follower_forwards_and_passes_the_answer_on() -> None:
    bench = Bench.formed(3)
    made = bench.ask("m3", service("web"))
    assert made == bench["m1"].store.service(made.id)
    with pytest.raises(SwarmError) as caught:
        bench.ask("m2", RemoveService("nope"))
    assert str(caught.value) == "service nope not found"


def test_a_follower_forwards_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyswarm.node.calls.FORWARDED_MAX", 1)
    bench = Bench.formed(3)
    bench.send("m2", service("first"))
    with pytest.raises(Unavailable, match="1 requests are under way") as caught:
        bench.ask("m2", service("second"))
    assert caught.value.outcome == "not_applied"
    assert bench.ask("m2", service("third")).spec.name == "third"


def test_a_request_is_forwarded_once() -> None:
    """A manager that does not lead (any more) refuses what was forwarded to it."""
    bench = Bench.formed(3)
    identity = bench["m2"].identity
    body = bench.send("m2", service("web"))
    [letter] = sent(bench, ForwardRequest)
    assert letter.to == "m1"
    bench.wire.clear()
    bench.step("m3", FromPeer(identity, "m2", letter.message))
    [reply] = sent(bench, ForwardReply)
    assert reply.to == "m2"
    assert isinstance(reply.message.error, Unavailable)
    assert str(reply.message.error) == "raft: this manager is not the leader"
    assert body not in bench["m2"].replies


def test_only_managers_forward() -> None:
    bench = Bench.formed(1, 1)
    request = ForwardRequest(1, _request(bench["w1"]))
    bench.step("m1", FromPeer(bench["w1"].identity, "w1", request))
    bench.pump()
    assert bench["m1"].store.count("service") == 0
    assert bench["m1"].events[-1].event == "peer.refused"


def test_nobody_else_may_answer_for_the_leader() -> None:
    bench = Bench.formed(3, 1)
    bench.is_held = lambda letter: isinstance(letter.message, ForwardRequest)
    token = bench.send("m2", service("web"))
    [letter] = sent(bench, ForwardRequest)
    forged = ForwardReply(letter.message.number, "forged", None)
    for liar in ("w1", "m3"):
        bench.step("m2", FromPeer(bench[liar].identity, liar, forged))
    assert token not in bench["m2"].replies
    bench.is_held = lambda letter: False
    assert bench.answer("m2", token)[0].spec.name == "web"


def test_strangers_are_not_heard() -> None:
    bench = Bench.formed(1)
    request = ForwardRequest(1, _request(bench["m1"]))
    for identity in (None, Identity("x", Role.MANAGER, "another swarm")):
        bench.step("m1", FromPeer(identity, "x", request))
    bench.pump()
    assert bench["m1"].store.count("service") == 0


def _request(station: Station):
    from pyswarm.model import Request

    return Request("forwarded", service("web"), station.identity)


# -- workers


@pytest.mark.parametrize("ask", [lambda b: b.send("w1", service("web")), lambda b: b.read("w1")])
def test_a_worker_refuses(ask: Callable[[Bench], int]) -> None:
    bench = Bench.formed(1, 1)
    error = bench.error("w1", ask(bench))
    assert isinstance(error, FailedPrecondition)
    assert str(error) == NOT_A_MANAGER
    with pytest.raises(FailedPrecondition):
        _ = bench["w1"].store


def test_what_a_worker_asks_through_a_manager_is_checked() -> None:
    from pyswarm.model import Request
    from pyswarm.node import Call

    bench = Bench.formed(1, 2)
    identity = bench["w1"].identity
    bench.step("m1", Call(900, Request("a", service("web"), identity)))
    assert isinstance(bench.error("m1", 900), PermissionDenied)
    bench.step("m1", Call(901, Request("b", LeaveNode(bench["w2"].node.node_id), identity)))
    assert isinstance(bench.error("m1", 901), PermissionDenied)
    bench.step("m1", Call(902, Request("c", LeaveNode(bench["w1"].node.node_id), identity)))
    assert bench.answer("m1", 902)[1] is None


# -- no leader


def test_without_a_leader_the_reason_comes_at_once() -> None:
    bench = Bench.formed(3)
    bench.crash("m1")
    bench.crash("m2")
    bench.wait(8.0)
    for token in (bench.send("m3", service("web")), bench.read("m3")):
        assert token in bench["m3"].replies, "at once"
        assert_nobody_leads(bench.error("m3", token), 1, 3)


def test_while_an_election_goes_on_both_are_counted() -> None:
    bench = Bench.formed(3)
    bench.crash("m1")
    bench.is_lost = lambda letter: (
        isinstance(letter.message, RaftPacket)
        and type(letter.message.message).__name__ == "VoteReply"
    )
    bench.wait(6.0)
    assert_nobody_leads(bench.error("m3", bench.send("m3", service("web"))), 2, 3)
    bench.is_lost = lambda letter: False
    assert bench.ask(bench.new_leader(besides="").name, service("web"))


def test_a_leader_without_a_quorum_steps_down_and_says_so() -> None:
    bench = Bench.formed(3)
    bench.crash("m2")
    bench.crash("m3")
    token = bench.send("m1", service("web"))
    error = bench.error("m1", token)
    assert isinstance(error, Unavailable)
    assert error.outcome == "unknown"
    bench.wait(6.0)
    assert_nobody_leads(bench.error("m1", bench.send("m1", service("web"))), 1, 3)
    bench.start("m2")
    bench.settle()
    assert bench.ask("m2", service("other"))


def test_a_forwarded_request_ends_when_nobody_answers() -> None:
    bench = Bench.formed(3)
    bench.is_lost = lambda letter: isinstance(letter.message, ForwardReply)
    token = bench.send("m2", service("web"))
    error = bench.error("m2", token)
    assert isinstance(error, Unavailable)
    assert (str(error), error.outcome) == ("the leader did not answer in time", "unknown")


def test_a_callers_deadline_is_kept() -> None:
    from pyswarm.model import Request

    bench = Bench.formed(3)
    bench.is_lost = lambda letter: isinstance(letter.message, ForwardRequest)
    token = bench.call(
        "m2", Request("r", service("web"), bench["m2"].identity), deadline=bench.now + 0.5
    )
    before = bench.now
    bench.error("m2", token)
    assert bench.now - before < 1.0


# -- reads


@pytest.mark.parametrize("name", ["m1", "m2"])
def test_a_read_sees_what_was_settled_before_it(name: str) -> None:
    bench = Bench.formed(3)
    for number in range(3):
        made = bench.ask("m3", service(f"s{number}"))
        value, error = bench.answer(name, bench.read(name))
        assert (value, error) == (None, None)
        assert bench[name].store.service(made.id) is not None


def test_a_deposed_leader_never_answers_a_stale_read() -> None:
    bench = Bench.formed(3)
    bench.cut_off("m1")
    token = bench.read("m1")
    bench.pump()
    assert token not in bench["m1"].replies, "it cannot prove that it leads"
    new = bench.new_leader(besides="m1")
    bench.ask(new.name, service("web"))
    assert isinstance(bench.error("m1", token), Unavailable)
    assert bench["m1"].store.count("service") == 0
    bench.heal()
    bench.settle()
    assert bench.answer("m1", bench.read("m1"))[1] is None
    assert bench["m1"].store.count("service") == 1


def test_a_read_that_nobody_proves_is_refused_in_time() -> None:
    bench = Bench.formed(3)
    bench.is_lost = lambda letter: (
        type(getattr(letter.message, "message", None)).__name__
        in (
            "ReadRequest",
            "ReadReply",
        )
    )
    before = bench.now
    token = bench.read("m2")
    bench.wait(1.0)
    assert token not in bench["m2"].replies
    assert isinstance(bench.error("m2", token), Unavailable)
    assert READ_TIMEOUT_S <= bench.now - before <= READ_TIMEOUT_S + 1.0


def test_a_lost_read_is_asked_again() -> None:
    bench = Bench.formed(3)
    lost: list[Letter] = []

    def first(letter: Letter) -> bool:
        name = type(getattr(letter.message, "message", None)).__name__
        if name == "ReadRequest" and not lost:
            lost.append(letter)
            return True
        return False

    bench.is_lost = first
    assert bench.answer("m2", bench.read("m2"), 2.0)[1] is None
    assert lost
