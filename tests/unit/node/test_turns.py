"""Turns that fail, turns that are too large, and what is remembered of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyswarm.env import Rng
from pyswarm.errors import AlreadyExists, Internal, OutOfSequence, Unavailable
from pyswarm.machine import Because
from pyswarm.model import Availability, Request, TaskState, replace, service_spec
from pyswarm.model.requests import CreateService, RemoveService, UpdateNode, UpdateService
from pyswarm.node import Call, Persisted, control, office
from pyswarm.node.context import Context
from pyswarm.node.inputs import Together
from pyswarm.store import TURN_CHANGES_MAX, Change, Reader, Transaction
from pyswarm.store.records import REQUEST_SECONDS
from unit.node.bench import TICK_S, Bench, is_append


def service(name: str, replicas: int = 1) -> CreateService:
    return CreateService(service_spec(name, image="web", replicas=replicas))


def named(changed: Sequence[Change], name: str) -> list[Any]:
    return [
        change.new
        for change in changed
        if change.kind == "service" and change.new is not None and change.new.spec.name == name
    ]


class Quiet:
    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Any:
        return cls()

    def wake_at(self) -> float | None:
        return None


class Raises(Quiet):
    """Breaks on services named "bad", as often as it is told."""

    times = 1

    def reconcile(self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng) -> None:
        if named(changed, "bad") and Raises.times > 0:
            Raises.times -= 1
            raise ZeroDivisionError("a bug")


class Restless(Quiet):
    """Answers each of its own changes with another."""

    def reconcile(self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng) -> None:
        for one in named(changed, "bad"):
            spec = replace(one.spec, labels={"turn": str(tx.mark())})
            tx.update(replace(one, spec=spec), Because("restless"))


def with_reconciler(monkeypatch: pytest.MonkeyPatch, extra: type, managers: int) -> Bench:
    monkeypatch.setattr(office, "RECONCILERS", (*office.RECONCILERS, extra))
    Raises.times = 1
    return Bench.formed(managers)


@pytest.mark.parametrize("managers", [1, 3])
@pytest.mark.parametrize("broken", [Raises, Restless])
def test_a_broken_reconciler_costs_its_turn_and_the_office(
    monkeypatch: pytest.MonkeyPatch, managers: int, broken: type
) -> None:
    bench = with_reconciler(monkeypatch, broken, managers)
    leader = bench["m1"]
    term, version = leader.office.term, leader.store.version
    token = bench.send("m1", service("bad"), "r")
    error = bench.error("m1", token)
    assert isinstance(error, Internal)
    assert leader.store.version == version, "the turn was dropped"
    assert not list(leader.store.services())
    [event] = [one for one in leader.events if one.event == "turn.failed"]
    assert event.level == "critical"
    new = bench.settle()
    assert new.office.term > term
    assert bench.ask(new.name, service("good")).spec.name == "good"
    bench.settle()
    if broken is Raises:
        bench.check()


def test_everyone_in_a_broken_turn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = with_reconciler(monkeypatch, Raises, 1)
    leader = bench["m1"]
    leader.is_disk_held = True
    in_flight = bench.send("m1", service("first"))
    tokens = [bench.send("m1", service(name)) for name in ("one", "bad", "two")]
    leader.is_disk_held = False
    assert bench.answer("m1", in_flight)[1] is None
    for token in tokens:
        assert isinstance(bench.error("m1", token), Internal)
    assert [one.spec.name for one in bench.settle().store.services()] == ["first"]


def test_a_request_that_breaks_harms_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.formed(1)
    leader = bench["m1"]
    term = leader.office.term

    def breaks(tx: Transaction, body: Any, context: Context) -> None:
        control.services.create_service(tx, service("half-done"), context)
        raise KeyError("a bug")

    leader.is_disk_held = True
    bench.send("m1", service("first"))
    monkeypatch.setitem(control.CONTROL, RemoveService, breaks)
    bad = bench.send("m1", RemoveService("x"), "bad")
    good = bench.send("m1", service("good"))
    leader.is_disk_held = False
    assert bench.answer("m1", good)[1] is None
    error = bench.error("m1", bad)
    assert isinstance(error, Internal)
    assert error.details["outcome"] == "not_applied"
    assert [one.spec.name for one in leader.store.services()] == ["first", "good"]
    assert leader.store.get("request", "bad") is None
    assert [one.event for one in leader.events if one.level == "critical"] == ["request.failed"]
    assert leader.office.term == term


def test_one_turn_creates_addresses_and_places_a_service() -> None:
    """Law 4: one entry, and the answer has what the reconcilers added to it."""
    bench = Bench.formed(1)
    store = bench["m1"].store
    spec = service_spec("web", image="web", replicas=3, ports=["8080:80"])
    made = bench.ask("m1", CreateService(spec))
    tasks = store.tasks_of_service(made.id)
    assert len(tasks) == 3
    first = next(one for one in bench["m1"].commits if one.version == made.version)
    states = {one.new.state for one in first.changes if one.kind == "task" and one.new}
    assert states == {TaskState.ASSIGNED}
    assert [port.published_port for port in made.endpoint.ports] == [8080]


def test_ten_thousand_replicas_take_several_turns_and_the_caller_waits_for_one() -> None:
    bench = Bench.formed(1)
    leader = bench["m1"]
    node = leader.store.node("node-m1")
    assert node is not None
    drained = replace(node.spec, availability=Availability.DRAIN)
    bench.ask("m1", UpdateNode(node.id, node.version, drained))
    begun = len(leader.commits)
    leader.is_disk_held = True
    token = bench.send("m1", service("large", 10_000))
    bench.pump()
    bench.sync("m1")
    value, error = leader.replies[token]
    assert error is None
    so_far = len(leader.store.tasks_of_service(value.id))
    assert 0 < so_far <= TURN_CHANGES_MAX
    leader.is_disk_held = False
    bench.wait_until(lambda: len(leader.store.tasks_of_service(value.id)) == 10_000)
    bench.wait(1.0)
    sizes = [len(commit.changes) for commit in leader.commits[begun:]]
    assert max(sizes) <= TURN_CHANGES_MAX + 1024, "a turn's budget, and the records beside it"
    slots = {task.slot for task in leader.store.tasks_of_service(value.id)}
    assert slots == set(range(1, 10_001))


def test_what_arrives_meanwhile_shares_the_next_turn() -> None:
    bench = Bench.formed(1)
    leader = bench["m1"]
    leader.is_disk_held = True
    tokens = [bench.send("m1", service(f"s{number}")) for number in range(20)]
    bench.pump()
    assert len(leader.unsynced) == 1, "exactly one turn is in flight"
    leader.is_disk_held = False
    versions = [bench.answer("m1", token)[0].version for token in tokens]
    assert len(set(versions)) == 2


def test_of_two_updates_in_one_turn_the_second_is_out_of_sequence() -> None:
    bench = Bench.formed(1)
    leader = bench["m1"]
    made = bench.ask("m1", service("web"))
    made = leader.store.service(made.id)
    leader.is_disk_held = True
    bench.send("m1", service("other"))
    tokens = [
        bench.send(
            "m1",
            UpdateService(made.id, made.version, service_spec("web", image=image, replicas=1)),
        )
        for image in ("one", "two")
    ]
    leader.is_disk_held = False
    value, error = bench.answer("m1", tokens[0])
    assert error is None
    assert value.spec.task.container.image == "one"
    error = bench.error("m1", tokens[1])
    assert isinstance(error, OutOfSequence)
    assert str(error) == "update out of sequence"


def test_a_retry_within_one_turn_is_done_once() -> None:
    bench = Bench.formed(1)
    leader = bench["m1"]
    leader.is_disk_held = True
    bench.send("m1", service("other"))
    tokens = [bench.send("m1", service("web"), "same") for _ in range(3)]
    leader.is_disk_held = False
    ids = {bench.answer("m1", token)[0].id for token in tokens}
    assert len(ids) == 1
    assert leader.store.count("service") == 2


def test_records_of_requests_expire() -> None:
    bench = Bench.formed(1)
    store = bench["m1"].store
    bench.ask("m1", service("web"), "old")
    assert store.get("request", "old") is not None
    bench.now += REQUEST_SECONDS
    bench.wait(TICK_S)
    bench.ask("m1", service("other"), "new")
    bench.ask("m1", service("third"), "newer")
    assert store.get("request", "old") is None
    assert store.get("request", "new") is not None


def test_a_full_queue_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "QUEUE_MAX", 3)
    bench = Bench.formed(1)
    bench["m1"].is_disk_held = True
    bench.send("m1", service("first"))
    for number in range(3):
        bench.send("m1", service(f"s{number}"))
    error = bench.error("m1", bench.send("m1", service("late")))
    assert isinstance(error, Unavailable)
    assert error.outcome == "not_applied"


def test_a_disk_that_fails_costs_the_office_and_is_tried_again() -> None:
    bench = Bench.formed(3)
    leader = bench["m1"]
    leader.is_disk_held = True
    bench.is_lost = is_append
    token = bench.send("m1", service("web"), "r")
    bench.pump()
    number = leader.unsynced[0].number
    bench.step("m1", Persisted(number, leader.seat, "No space left on device"))
    assert not leader.leads
    error = bench.error("m1", token)
    assert isinstance(error, Unavailable)
    assert error.outcome == "unknown"
    assert any(one.event == "disk.failed" for one in leader.events)
    writes = len(leader.unsynced)
    bench.wait(1.5)
    assert len(leader.unsynced) > writes, "it is asked to write again"


def test_the_disk_s_answer_for_a_former_seat_means_nothing() -> None:
    bench = Bench.formed(3)
    leader = bench["m1"]
    leader.is_disk_held = True
    bench.is_lost = is_append
    bench.send("m1", service("web"), "r")
    bench.pump()
    number = leader.unsynced[0].number
    assert leader.machine is not None and leader.machine.manager is not None
    before = leader.machine.manager.replica.stable_index
    bench.step("m1", Persisted(number, leader.seat + 1))
    assert leader.machine.manager.replica.stable_index == before
    bench.step("m1", Persisted(number, leader.seat))
    assert leader.machine.manager.replica.stable_index > before


def test_requests_that_waited_together_share_a_turn() -> None:
    bench = Bench.formed(1)
    identity, before = bench["m1"].identity, bench["m1"].node.store.version
    wishes = [(900, "a"), (901, "b"), (902, "a")]
    calls = [Call(n, Request(f"id {n}", service(name), identity)) for n, name in wishes]
    bench.step("m1", Together(tuple(calls)))
    (first, _), (second, _), (third, refused) = (
        bench.answer("m1", token) for token in (900, 901, 902)
    )
    assert first.version == second.version == before + 1
    assert third is None
    assert isinstance(refused, AlreadyExists)
