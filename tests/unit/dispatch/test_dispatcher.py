"""The leader's sessions: registration, silence, reports, and who hears of a commit."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.dispatch import Dispatcher
from pyswarm.dispatch.dispatcher import (
    GRACE_PERIODS,
    PERIOD_JITTER,
    RATE_COUNT,
    RATE_WINDOW_S,
    TAKEOVER_PERIODS,
)
from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model import (
    Availability,
    Certificate,
    Network,
    NetworkAttachment,
    NetworkSpec,
    Node,
    NodeSpec,
    NodeState,
    Role,
    RootCAState,
    Swarm,
    Task,
    TaskSpec,
    TaskState,
    TaskStatus,
    replace,
)
from pyswarm.model.session import (
    Assignments,
    HeartbeatAnswer,
    ManagerAddress,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
    Trust,
)
from pyswarm.store import Commit, Store

WHY = Because("test")
MANAGERS = (ManagerAddress("m", "m:1"),)
PERIOD = 5.0
LONGEST = PERIOD * (1 + PERIOD_JITTER)
SHORTEST = PERIOD * (1 - PERIOD_JITTER)


class Desk:
    """A store, a dispatcher that hears of every commit, and what it says to whom."""

    def __init__(self, *nodes: str, state: NodeState = NodeState.READY) -> None:
        self.store = Store()
        self.now = 100.0
        self.write(Swarm(id="swarm"))
        self.write(*(Node(id=id, state=state) for id in nodes))
        self.dispatcher = Dispatcher(self.store, self.now, Rng(1), period=PERIOD)

    def write(self, *objects: Any, gone: tuple[tuple[str, str], ...] = ()) -> Commit:
        tx = self.store.begin(self.store.version + 1, self.now)
        for one in objects:
            kind = type(one).__name__.lower()
            tx.create(one, WHY) if tx.get(kind, one.id) is None else tx.update(one, WHY)
        for kind, id in gone:
            tx.delete(kind, id, WHY)
        return self.store.install(tx)

    def commit(self, *objects: Any, gone: tuple[tuple[str, str], ...] = ()) -> list[Any]:
        commit = self.write(*objects, gone=gone)
        self.dispatcher.committed(commit.changes, self.store, MANAGERS, self.now)
        return self.said()

    def said(self, to: str = "") -> list[Any]:
        return [one.message for one in self.dispatcher.take() if to in ("", one.node_id)]

    def open(self, id: str) -> str:
        node = self.store.node(id)
        assert node is not None
        assert self.dispatcher.admits(node, id, id, self.now)
        self.dispatcher.opened(node, id, self.store, MANAGERS, self.now)
        opened, assignments = self.said()
        assert isinstance(opened, SessionOpened)
        assert isinstance(assignments, Assignments)
        assert assignments.full
        return opened.session_id

    def silent(self) -> tuple[tuple[str, NodeState, str], ...]:
        """Who fell silent until now, for a leader that looks whenever it is due."""
        found: tuple[tuple[str, NodeState, str], ...] = ()
        while (at := self.dispatcher.wake_at()) is not None and at <= self.now:
            found += self.dispatcher.expired(self.store, at)
        return found


def task(id: str, node: str, state: TaskState = TaskState.ASSIGNED, **changes: Any) -> Task:
    return Task(
        id=id, spec=TaskSpec(), service_id="s", slot=1, node_id=node, state=state, **changes
    )


def status(state: TaskState) -> TaskStatus:
    return TaskStatus(state=state, at=1.0)


# -- registration


def test_a_session_opens_with_node_managers_and_tasks() -> None:
    desk = Desk("n")
    desk.write(task("t", "n"), task("other", "x"))
    node = desk.store.node("n")
    assert desk.dispatcher.admits(node, "n", "n:1", desk.now)
    desk.dispatcher.opened(node, "n:1", desk.store, MANAGERS, desk.now)
    opened, assignments = desk.said("n")
    assert (opened.node, opened.managers) == (node, MANAGERS)
    assert [one.id for one in assignments.tasks] == ["t"]
    assert desk.dispatcher.session_ids() == {"n": opened.session_id}


def test_an_unknown_node_is_refused() -> None:
    desk = Desk()
    assert not desk.dispatcher.admits(None, "x", "x:1", desk.now)
    [refusal] = desk.said()
    assert refusal == SessionRefused("", "not_found", "node not found")


def test_registrations_are_limited() -> None:
    desk = Desk("n")
    node = desk.store.node("n")
    admitted = []
    for _ in range(RATE_COUNT + 3):
        desk.now += 0.5
        admitted.append(desk.dispatcher.admits(node, "n", "n", desk.now))
    assert admitted == [True] * (RATE_COUNT + 1) + [False] * 2
    refusals = desk.said()
    assert {(one.code, one.message) for one in refusals} == {
        ("unavailable", "node n exceeded rate limit count of registrations")
    }
    desk.now += RATE_WINDOW_S
    assert desk.dispatcher.admits(node, "n", "n", desk.now), "refused ones do not prolong it"


def test_a_new_session_ends_the_old_one() -> None:
    desk = Desk("n")
    old = desk.open("n")
    new = desk.open("n")
    assert old != new
    desk.dispatcher.heartbeat("n", "n", old, desk.now)
    assert desk.said() == [SessionRefused(old, "invalid_argument", "session invalid")]
    desk.dispatcher.reported("n", "n", old, 1, [("t", status(TaskState.RUNNING))])
    assert desk.said() == [SessionRefused(old, "invalid_argument", "session invalid")]
    assert not desk.dispatcher.has_reports
    desk.dispatcher.heartbeat("n", "n", new, desk.now)
    assert isinstance(desk.said()[0], HeartbeatAnswer)


# -- silence


def test_three_periods_of_silence() -> None:
    desk = Desk("n")
    session = desk.open("n")
    desk.now += GRACE_PERIODS * SHORTEST - 0.1
    assert desk.silent() == ()
    desk.dispatcher.heartbeat("n", "n", session, desk.now)
    [answer] = desk.said()
    assert SHORTEST <= answer.period <= LONGEST
    desk.now += GRACE_PERIODS * answer.period - 0.1
    assert desk.silent() == ()
    at = desk.dispatcher.wake_at()
    assert at is not None
    desk.now = at
    assert desk.silent() == (("n", NodeState.DOWN, "heartbeat failure"),)
    assert desk.silent() == (), "once"
    assert desk.dispatcher.session_ids() == {}
    desk.dispatcher.heartbeat("n", "n", session, desk.now)
    assert isinstance(desk.said()[0], SessionRefused)


def test_nothing_is_kept_of_nodes_that_come_and_go() -> None:
    desk = Desk("n")
    assert desk.dispatcher.admits(desk.store.node("n"), "n", "n", desk.now)
    desk.commit(gone=(("node", "n"),))
    assert not desk.dispatcher._attempts and not desk.dispatcher._expected


def test_a_leader_that_was_busy_gives_the_time_back() -> None:
    """What was said meanwhile is still to be read."""
    desk = Desk("n")
    session = desk.open("n")
    deadline = desk.dispatcher.wake_at()
    assert deadline is not None
    desk.now = deadline + 2.0
    assert desk.dispatcher.expired(desk.store, desk.now) == ()
    assert desk.dispatcher.wake_at() == desk.now + 2.0
    desk.dispatcher.heartbeat("n", "n", session, desk.now)
    (answer,) = desk.said()
    assert desk.dispatcher.wake_at() == desk.now + GRACE_PERIODS * answer.period
    desk.now += GRACE_PERIODS * answer.period + 1000.0
    assert desk.dispatcher.expired(desk.store, desk.now) == ()
    assert desk.dispatcher.wake_at() == desk.now + GRACE_PERIODS * PERIOD
    desk.now += GRACE_PERIODS * PERIOD
    assert [id for id, _, _ in desk.dispatcher.expired(desk.store, desk.now)] == ["n"]


def test_a_leader_that_stood_still_before_a_deadline_gives_the_time_back() -> None:
    """In good time for the deadline itself, it heard nobody for most of the time before."""
    desk = Desk("n")
    desk.open("n")
    desk.dispatcher.slept(0.05)  # no more than a busy processor
    deadline = desk.dispatcher.wake_at()
    assert deadline is not None
    for seconds in (1.0, 2.0):
        desk.dispatcher.slept(seconds)
    desk.now = deadline
    assert desk.silent() == ()
    assert desk.dispatcher.wake_at() == desk.now + 3.0
    desk.now += 3.0
    assert [id for id, _, _ in desk.silent()] == ["n"]
    assert desk.dispatcher.wake_at() is None


def test_a_new_leader_gives_twice_the_time() -> None:
    desk = Desk("n", state=NodeState.UNKNOWN)
    assert desk.dispatcher.wake_at() == desk.now + TAKEOVER_PERIODS * PERIOD
    desk.now += TAKEOVER_PERIODS * PERIOD
    text = 'heartbeat failure for node in "unknown" state'
    assert desk.silent() == (("n", NodeState.DOWN, text),)


def test_nobody_waits_for_nodes_that_are_down() -> None:
    assert Desk("n", state=NodeState.DOWN).dispatcher.wake_at() is None


def test_a_new_node_is_waited_for() -> None:
    desk = Desk()
    desk.commit(Node(id="new"))
    assert desk.dispatcher.wake_at() == desk.now + TAKEOVER_PERIODS * PERIOD


def test_a_node_is_not_silent_while_its_registration_is_being_settled() -> None:
    """Its old deadline may pass in between; it must not be down with an open session."""
    desk = Desk("n")
    desk.open("n")
    desk.now += GRACE_PERIODS * SHORTEST - 0.1
    node = desk.store.node("n")
    assert desk.dispatcher.admits(node, "n", "n", desk.now)
    desk.now += GRACE_PERIODS * (LONGEST - SHORTEST) + 1.0
    assert desk.silent() == ()
    desk.dispatcher.opened(node, "n", desk.store, MANAGERS, desk.now)
    assert desk.silent() == ()


def test_a_changed_period_is_told_with_the_next_answer() -> None:
    desk = Desk("n")
    session = desk.open("n")
    desk.dispatcher.set_period(1.0)
    desk.dispatcher.heartbeat("n", "n", session, desk.now)
    [answer] = desk.said()
    assert answer.period == pytest.approx(1.0, rel=PERIOD_JITTER)
    desk.now += 3.4
    assert desk.silent() == (("n", NodeState.DOWN, "heartbeat failure"),)


# -- reports


def test_of_many_reports_the_last_wins() -> None:
    desk = Desk("n", "m")
    one, two = desk.open("n"), desk.open("m")
    dispatcher = desk.dispatcher
    dispatcher.reported("n", "n", one, 1, [("t", status(TaskState.STARTING))])
    dispatcher.reported("m", "m", two, 7, [("x", status(TaskState.RUNNING))])
    dispatcher.reported("n", "n", one, 2, [("t", status(TaskState.RUNNING))])
    dispatcher.reported("n", "n", one, 1, [("t", status(TaskState.PREPARING))])
    assert dispatcher.has_reports
    taken = list(dispatcher.take_reports(100))
    assert taken == [
        ("n", 2, (("t", status(TaskState.RUNNING)),)),
        ("m", 7, (("x", status(TaskState.RUNNING)),)),
    ]
    assert not dispatcher.has_reports
    dispatcher.recorded("n", 2)
    assert desk.said() == [StatusRecorded(one, 2)]
    dispatcher.recorded("gone", 2)
    assert desk.said() == []


def test_reports_are_taken_by_whole_nodes_as_far_as_there_is_room() -> None:
    desk = Desk("a", "b", "c")
    for id in ("a", "b", "c"):
        session = desk.open(id)
        statuses = [(f"{id}{n}", status(TaskState.RUNNING)) for n in range(3)]
        desk.dispatcher.reported(id, id, session, 1, statuses)
    assert [node for node, _, _ in desk.dispatcher.take_reports(4)] == ["a", "b"]
    assert [node for node, _, _ in desk.dispatcher.take_reports(4)] == ["c"]


def test_a_new_session_drops_reports_of_the_old() -> None:
    desk = Desk("n")
    desk.dispatcher.reported("n", "n", desk.open("n"), 1, [("t", status(TaskState.RUNNING))])
    desk.open("n")
    assert not desk.dispatcher.has_reports


# -- commits


def test_a_commit_is_told_to_those_it_concerns() -> None:
    desk = Desk("n", "m")
    desk.open("n")
    desk.open("m")
    messages = desk.commit(task("t", "n"))
    assert [type(one) for one in messages] == [Assignments]
    assert [one.id for one in messages[0].tasks] == ["t"]
    stored = desk.store.task("t")
    assert desk.commit(task("new", "", TaskState.NEW)) == []
    assert desk.commit(replace(stored, state=TaskState.RUNNING)) == [], "its own words"
    stored = desk.store.task("t")
    [message] = desk.commit(replace(stored, desired_state=TaskState.SHUTDOWN))
    assert message.sequence == 3
    [message] = desk.commit(gone=(("task", "t"),))
    assert message.removed_tasks == ("t",)


def test_a_task_that_gets_a_node_is_told_there() -> None:
    desk = Desk("n")
    desk.open("n")
    assert desk.commit(task("t", "", TaskState.PENDING)) == []
    stored = desk.store.task("t")
    [message] = desk.commit(replace(stored, node_id="n", state=TaskState.ASSIGNED))
    assert [one.id for one in message.tasks] == ["t"]


def test_what_a_node_should_know_of_itself() -> None:
    desk = Desk("n")
    desk.open("n")
    node = desk.store.node("n")
    assert desk.commit(replace(node, state=NodeState.READY, message="said itself")) == []
    for changes in (
        {"spec": NodeSpec(availability=Availability.DRAIN)},
        {"role": Role.MANAGER},
        {"certificate": Certificate(Role.WORKER, cn="n")},
    ):
        node = replace(desk.store.node("n"), **changes)
        [message] = desk.commit(node)
        assert isinstance(message, SessionChanged)
        assert message.node == desk.store.node("n")
        assert message.managers == MANAGERS


def test_whom_to_trust_is_told_with_when_the_swarm_said_so() -> None:
    desk = Desk("n")
    desk.now = 200.0
    desk.open("n")
    changed = replace(desk.store.swarm, root_ca=RootCAState(cert=b"new root"))
    [message] = desk.commit(changed)
    assert message.trust == Trust(b"new root", as_of=(200.0, desk.store.version))
    desk.write(task("t", "other"))
    desk.dispatcher.opened(desk.store.node("n"), "n", desk.store, MANAGERS, desk.now)
    assert desk.said()[0].trust == Trust(b"new root", as_of=(200.0, desk.store.version))


def test_a_node_is_told_of_the_networks_that_it_is_on() -> None:
    desk = Desk("n", "other")
    ingress, private = (Network(id=id, spec=NetworkSpec(name=id)) for id in ("ingress", "private"))
    desk.write(ingress, private, replace(desk.store.node("n"), attachments=on("ingress")))
    node = desk.store.node("n")
    desk.dispatcher.opened(node, "n", desk.store, MANAGERS, desk.now)
    known = {one.id: one for one in desk.store.networks()}
    assert desk.said()[0].networks == (known["ingress"],)
    [news] = desk.commit(replace(node, attachments=on("ingress", "private")))
    assert news.networks == (known["ingress"], known["private"])
    desk.commit(replace(desk.store.node("n"), attachments=on("private")))
    desk.commit(replace(desk.store.node("other"), attachments=on("ingress")))
    desk.dispatcher.managers_changed(desk.store, MANAGERS)
    assert desk.said()[0].networks == (known["private"],)


def on(*networks: str) -> tuple[NetworkAttachment, ...]:
    return tuple(NetworkAttachment(one, ("10.0.0.2/24",)) for one in networks)


def test_a_removed_node_is_told_and_forgotten() -> None:
    desk = Desk("n")
    session = desk.open("n")
    assert desk.commit(gone=(("node", "n"),)) == [
        SessionRefused(session, "not_found", "node not found")
    ]
    assert desk.dispatcher.session_ids() == {}
    assert desk.dispatcher.wake_at() is None
    desk.dispatcher.heartbeat("n", "n", session, desk.now)
    assert isinstance(desk.said()[0], SessionRefused)


def test_everyone_hears_of_new_managers() -> None:
    desk = Desk("n", "m", "without session")
    desk.open("n")
    desk.open("m")
    new = (*MANAGERS, ManagerAddress("x", "x:1"))
    desk.dispatcher.managers_changed(desk.store, new)
    messages = desk.said()
    assert [one.managers for one in messages] == [new, new]
