"""Law 4: a leader is lost at every point of a turn, and no request is lost, torn or done twice."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.errors import InvalidArgument, SwarmError, Unavailable
from pyswarm.model import TaskState, service_spec
from pyswarm.model.requests import CreateService, UpdateService
from pyswarm.node.inputs import Wake
from unit.node.bench import Bench, Letter, Station, is_append

WEB = CreateService(service_spec("web", image="web", replicas=2))


def is_vote_of(name: str, letter: Letter) -> bool:
    return letter.sender == name and type(getattr(letter.message, "message", None)).__name__ in (
        "VoteRequest",
    )


def assert_unknown(error: SwarmError) -> None:
    assert isinstance(error, Unavailable)
    assert error.outcome == "unknown"
    assert "same request id" in error.hint


def assert_applied_once(bench: Bench, request_id: str, body: Any = WEB) -> Any:
    """A retry with the same id, twice, gives one and the same service everywhere."""
    leader = bench.settle()
    first = bench.ask(leader.name, body, request_id)
    again = bench.ask("m3" if leader.name != "m3" else "m2", body, request_id)
    bench.settle()
    assert again.id == first.id
    for station in bench.managers():
        store = station.store
        assert [one.id for one in store.services()] == [first.id]
        assert len(store.tasks_of_service(first.id)) == 2
        assert store.get("request", request_id) is not None
    bench.check()
    return first


def assert_resigned(old: Station, office: Any, reconcilers: list[Any]) -> None:
    """The overlay and everything that decided are gone."""
    assert old.office is not office
    if old.office is not None:
        assert not any(one is other for one in old.office.reconcilers for other in reconcilers)


@pytest.fixture
def bench() -> Bench:
    return Bench.formed(3)


def test_queued_requests_are_told_that_they_were_not_applied(bench: Bench) -> None:
    bench.is_lost = is_append
    first = bench.send("m1", WEB, "first")
    waiting = bench.send(
        "m1", CreateService(service_spec("late", image="late", replicas=1)), "waiting"
    )
    bench.cut_off("m1")
    assert_unknown(bench.error("m1", first))
    error = bench.error("m1", waiting)
    assert isinstance(error, Unavailable)
    assert error.outcome == "not_applied"
    bench.new_leader(besides="m1")
    assert_applied_once(bench, "first")


def test_decided_but_not_proposed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = bench["m1"]
    office, reconcilers = leader.office, leader.office.reconcilers
    version = leader.store.version

    def propose(replica: Any, data: bytes) -> int:
        raise Unavailable("raft: this member is not the leader")

    with monkeypatch.context() as patch:
        patch.setattr(type(leader.node.manager.replica), "propose", propose)
        token = bench.send("m1", WEB, "r")
        assert_unknown(bench.error("m1", token))
    assert leader.store.version == version
    assert not list(leader.store.services())
    assert_resigned(leader, office, reconcilers)
    assert_applied_once(bench, "r")


def test_an_office_lost_at_a_tick_opens_no_turn(bench: Bench) -> None:
    """The tick at which the replica steps down may be the moment of something that is due, too."""
    leader = bench["m1"]
    office, replica = leader.office, leader.node.manager.replica
    told: list[Any] = []
    office.do(WEB, lambda written, error: told.append(error))
    replica.step_down()
    bench.step("m1", Wake(bench.wall(leader)))
    assert not [event for event in leader.events if event.event == "turn.failed"]
    assert leader.office is not office
    (error,) = told
    assert isinstance(error, Unavailable)
    assert error.outcome == "not_applied"
    bench.settle()
    bench.check()


def test_a_follower_that_slept_does_not_take_the_others_for_lost(bench: Bench) -> None:
    """Else a command would be refused at once, as if no majority were up."""
    bench.crash("m1")
    follower = bench["m2"]
    bench.now += 10.0
    bench.step("m2", Wake(bench.wall(follower)))
    assert follower.node.manager.no_leader().details["reachable"] == 3
    bench.cut_off("m2")
    bench.wait(3.0)
    assert follower.node.manager.no_leader().details["reachable"] == 1


@pytest.mark.parametrize("synced", [False, True], ids=["proposed", "persisted locally"])
@pytest.mark.parametrize("crashes", [False, True], ids=["cut off", "crashed"])
def test_proposed_and_not_replicated(bench: Bench, synced: bool, crashes: bool) -> None:
    """The entry is in one log only, on disk or not: the others go on without it."""
    leader = bench["m1"]
    office, reconcilers = leader.office, leader.office.reconcilers
    leader.is_disk_held = not synced
    bench.is_lost = is_append
    token = bench.send("m1", WEB, "r")
    bench.pump()
    assert office._turn is not None
    assert bool(leader.unsynced) is not synced
    assert not list(leader.store.services()), "readers see settled state only"
    if crashes:
        bench.crash("m1")
        bench.is_lost = lambda letter: False
    else:
        bench.cut_off("m1")
    new = bench.new_leader(besides="m1")
    assert not list(new.store.services())
    if crashes:
        leader.is_disk_held = False
        bench.start("m1")
    else:
        assert_unknown(bench.error("m1", token))
        assert_resigned(leader, office, reconcilers)
    first = assert_applied_once(bench, "r")
    assert first.version > office.term, "written by the new leader"


def test_persisted_locally_then_the_same_member_leads_again(bench: Bench) -> None:
    """It lost its office, but the entry was in its log: its next term commits it, decoded."""
    leader = bench["m1"]
    office, reconcilers = leader.office, leader.office.reconcilers
    bench.is_lost = is_append
    token = bench.send("m1", WEB, "r")
    bench.pump()
    leader.node.manager.replica.step_down()
    bench.is_lost = lambda letter: is_vote_of("m2", letter) or is_vote_of("m3", letter)
    assert_unknown(bench.error("m1", token))
    bench.wait_until(lambda: leader.leads)
    assert leader.office.term > office.term
    assert_resigned(leader, office, reconcilers)
    bench.wait_until(lambda: bool(list(leader.store.services())))
    version = next(leader.store.services()).version
    assert assert_applied_once(bench, "r").version >= version


def test_replicated_to_one_follower(bench: Bench) -> None:
    """Only that follower can win now; it commits the entry, and a retry finds the record."""
    leader = bench["m1"]
    bench.is_lost = lambda letter: is_append(letter) and letter.to == "m3"
    bench.is_held = lambda letter: letter.to == "m1"
    token = bench.send("m1", WEB, "r")
    bench.pump()
    bench.is_held = lambda letter: False
    bench.cut_off("m1")
    new = bench.new_leader(besides="m1")
    assert new.name == "m2"
    [service] = new.store.services()
    assert_unknown(bench.error("m1", token))
    assert not list(leader.store.services())
    again = bench.ask("m2", WEB, "r")
    assert again.id == service.id
    assert assert_applied_once(bench, "r").id == service.id


def test_committed_but_the_leader_does_not_know(bench: Bench) -> None:
    leader = bench["m1"]
    bench.is_held = lambda letter: letter.to == "m1"
    token = bench.send("m1", WEB, "r")
    bench.pump()
    assert not list(leader.store.services())
    bench.is_held = lambda letter: False
    bench.cut_off("m1")
    new = bench.new_leader(besides="m1")
    [service] = new.store.services()
    assert_unknown(bench.error("m1", token))
    assert assert_applied_once(bench, "r").id == service.id
    assert len([one for one in leader.commits if one.version == service.version]) <= 1


def test_settled_but_the_answer_is_lost(bench: Bench) -> None:
    """The follower's caller is told that the outcome is unknown; a retry finds it done."""
    bench.is_lost = lambda letter: type(letter.message).__name__ == "ForwardReply"
    token = bench.send("m3", WEB, "r")
    bench.pump()
    [service] = bench["m1"].store.services()
    bench.crash("m1")
    assert_unknown(bench.error("m3", token))
    bench.is_lost = lambda letter: False
    bench.new_leader(besides="m1")
    bench.start("m1")
    assert assert_applied_once(bench, "r").id == service.id


def test_a_refusal_is_remembered_across_leaders(bench: Bench) -> None:
    """The outcome of a request id is its first outcome, also when the situation has changed."""
    stale = UpdateService("nosuchservice", 1, service_spec("web", image="web"))
    token = bench.send("m1", stale, "r")
    first = bench.error("m1", token)
    bench.cut_off("m1")
    new = bench.new_leader(besides="m1")
    second = bench.error(new.name, bench.send(new.name, stale, "r"))
    assert type(second) is type(first)
    assert str(second) == str(first)
    bad = CreateService(service_spec("web", image="web", replicas=1))
    third = bench.error(new.name, bench.send(new.name, bad, "r"))
    assert str(third) == str(first), "the id decides, not what is asked"


def test_a_refused_request_leaves_nothing_but_its_record(bench: Bench) -> None:
    leader = bench["m1"]

    def contents() -> dict[str, int]:
        kinds = ("service", "task", "network", "secret", "config", "node")
        return {kind: leader.store.count(kind) for kind in kinds}

    before, records = contents(), leader.store.count("request")
    bad = CreateService(service_spec("web!", image="web", replicas=3))
    assert isinstance(bench.error("m1", bench.send("m1", bad, "r")), InvalidArgument)
    assert contents() == before
    assert leader.store.count("request") == records + 1
    bench.settle()
    bench.check()


def test_a_new_leader_knows_nothing_of_anyone_until_they_report(bench: Bench) -> None:
    bench.ask("m1", WEB)
    bench.settle()
    bench.crash("m1")
    new = bench.new_leader(besides="m1")
    crashed = new.store.node("node-m1")
    assert crashed is not None
    assert str(crashed.state) == "unknown"
    assert crashed.message.startswith('Node moved to "unknown" state due to leadership change')
    bench.wait(40.0)
    crashed = new.store.node("node-m1")
    assert crashed is not None
    assert (str(crashed.state), crashed.message) == (
        "down",
        'heartbeat failure for node in "unknown" state',
    )
    running = [t for t in new.store.tasks() if t.state is TaskState.RUNNING and t.node_id]
    wanted = [t for t in running if t.desired_state is TaskState.RUNNING]
    assert len(wanted) == 2
    assert all(task.node_id != "node-m1" for task in wanted)


def test_cluster_time_never_goes_back_whatever_wall_clocks_say() -> None:
    bench = Bench()
    bench.found("m1")
    for number, skew in ((2, -500.0), (3, -1000.0)):
        bench.add(f"m{number}").skew_s = skew
    for number in (2, 3):
        bench.join(f"m{number}", "SWMTKN-1-manager")
    bench.wait_until(lambda: bench.is_formed(3))
    bench.ask("m1", WEB)
    bench.settle()
    bench.cut_off("m1")
    new = bench.new_leader(besides="m1")
    bench.wait(5.0)
    bench.ask(new.name, CreateService(service_spec("late", image="late")))
    bench.settle()
    for station in bench.managers():
        stamps = [commit.stamp for commit in station.commits]
        assert stamps == sorted(stamps)
    late = new.store.by_name("service", "late")
    web = new.store.by_name("service", "web")
    assert late.created_at >= web.created_at + 5.0
