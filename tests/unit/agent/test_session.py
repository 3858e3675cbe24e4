"""The session with the leader (spec of dispatcher and agent, sections 3 and 4)."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.agent import (
    AgentStopped,
    DescriptionChanged,
    FromManager,
    ManagersKnown,
    Operation,
    SavedTask,
    SessionLost,
    Started,
    Stop,
    Tick,
)
from pyswarm.agent.remotes import BAD, BIAS, GOOD, Remotes
from pyswarm.env import Rng
from pyswarm.model.objects import Network, Node, NodeDescription, TaskStatus
from pyswarm.model.session import (
    Assignments,
    Heartbeat,
    HeartbeatAnswer,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
    Trust,
)
from pyswarm.model.specs import NetworkSpec
from pyswarm.model.states import TaskState
from unit.agent.world import LEADER, OTHER, World, make_task, opened, performed, reports, sent


def tick_until(world: World, kind: type, limit: float = 60.0) -> float:
    """Let time pass from one deadline to the next until ``kind`` is sent; how long that took."""
    begin = world.now
    while world.now - begin < limit:
        wake = world.agent.wake_at()
        assert wake is not None
        world.now = max(world.now, wake)
        if sent(world.step(Tick()), kind):
            return world.now - begin
    raise AssertionError(f"no {kind.__name__} within {limit} s")


def test_nothing_happens_until_a_manager_is_known() -> None:
    world = World()
    assert world.step(Tick()) == []
    assert world.agent.wake_at() is None
    (hello,) = opened(world.step(ManagersKnown((LEADER,))))
    assert (hello.session_id, hello.description.hostname) == ("", "node-1")


def test_the_first_heartbeat_leaves_at_once_and_then_one_a_period() -> None:
    world = World()
    assert sent(world.open(), Heartbeat) == [Heartbeat("session-1")]
    world.assign()
    world.now += 1
    world.say(HeartbeatAnswer("session-1", 4.5, world.sequence))
    assert world.agent.wake_at() == world.now + 4.5
    world.now += 4.4
    assert sent(world.step(Tick()), Heartbeat) == []
    world.now += 0.1
    assert sent(world.step(Tick()), Heartbeat) == [Heartbeat("session-1")]


def test_an_unanswered_heartbeat_ends_the_session_and_the_old_id_is_offered() -> None:
    world = World()
    world.open()
    world.assign()
    world.now += 5
    world.step(Tick())
    assert world.agent.session_id == ""
    assert world.agent.reason == "heartbeat timed out"
    tick_until(world, type(opened(world.effects)[0]))
    assert opened(world.effects)[-1].session_id == "session-1"


def test_an_unanswered_call_for_a_session_times_out() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    world.now += 5
    world.step(Tick())
    assert world.agent.reason == "session initiation timed out"


def test_a_session_without_assignments_is_given_up() -> None:
    world = World()
    world.open()
    world.now += 4
    world.say(HeartbeatAnswer("session-1", 5.0))
    world.now += 1
    world.step(Tick())
    assert (world.agent.session_id, world.agent.reason) == ("", "assignments timed out")


def test_the_back_off_grows_to_a_period_and_is_forgotten() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    backoff, waited = 0.0, []
    for _ in range(10):
        world.step(SessionLost(LEADER.addr))
        backoff = min(8.0, 0.1 + 2 * backoff)
        wake = world.agent.wake_at()
        assert wake is not None
        assert world.now <= wake < world.now + min(5.0, backoff)
        waited.append(wake - world.now)
        world.now = wake
        assert opened(world.step(Tick()))
    assert max(waited) > 1.0
    world.say(SessionOpened("session-2", 5.0, Node("n1"), (LEADER,)))
    world.step(SessionLost(LEADER.addr))
    wake = world.agent.wake_at()
    assert wake is not None
    assert wake < world.now + 0.1


def test_tasks_run_on_without_a_session() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    world.done(Operation.PREPARE)
    assert performed(world.step(SessionLost(LEADER.addr))) == []
    assert performed(world.done(Operation.START, Started("c", 1))) == [Operation.WAIT]
    assert world.state() is TaskState.RUNNING


def test_a_refusal_that_names_the_leader_is_followed_at_once_but_only_once() -> None:
    world = World()
    world.step(ManagersKnown((OTHER,)))
    refusal = SessionRefused("", "unavailable", "not the leader", LEADER.addr)
    out = world.say(refusal, OTHER)
    assert len(opened(out)) == 1
    assert world.agent.manager is not None
    assert world.agent.manager.addr == LEADER.addr
    back = SessionRefused("", "unavailable", "not the leader", OTHER.addr)
    assert opened(world.say(back, LEADER)) == []
    tick_until(world, type(opened(out)[0]))
    assert world.agent.manager.addr == OTHER.addr


def test_the_news_of_a_leader_ends_the_waiting() -> None:
    world = World()
    world.open()
    world.assign()
    world.step(SessionLost(LEADER.addr))
    out = world.step(ManagersKnown((LEADER, OTHER), OTHER.addr))
    assert len(opened(out)) == 1
    assert world.agent.manager == OTHER
    world.step(SessionLost(OTHER.addr))
    assert opened(world.step(ManagersKnown((LEADER, OTHER), OTHER.addr))) == []


def test_a_gap_in_the_assignments_opens_the_session_again() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    missed = Assignments("session-1", world.sequence + 2, False, (make_task("t3"),))
    out = world.say(missed)
    assert opened(out)[0].session_id == "session-1"
    assert world.agent.task("t3") is None


def test_lost_last_assignments_are_noticed_by_the_heartbeats() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    assert opened(world.say(HeartbeatAnswer("session-1", 5.0, world.sequence))) == []
    assert opened(world.say(HeartbeatAnswer("session-1", 5.0, world.sequence + 1))) == []
    assert len(opened(world.say(HeartbeatAnswer("session-1", 5.0, world.sequence + 1)))) == 1


def test_lost_news_of_the_node_is_noticed_by_the_heartbeats() -> None:
    world = World()
    world.open()
    world.assign()
    answer = HeartbeatAnswer("session-1", 5.0, world.sequence, changes=1)
    assert opened(world.say(answer)) == []
    assert len(opened(world.say(answer))) == 1


def test_older_news_of_the_node_comes_too_late() -> None:
    world = World()
    world.open()
    world.assign()
    world.say(SessionChanged("session-1", Node("n1", version=9), (), 2))
    world.say(SessionChanged("session-1", Node("n1", version=8), (), 1))
    assert world.agent.node == Node("n1", version=9)


def test_roots_that_a_deposed_leader_names_late_are_not_those_to_trust() -> None:
    world = World()
    world.open()
    newer = Trust(b"new root", as_of=(20.0, 9))
    world.say(SessionChanged("session-1", Node("n1"), (LEADER, OTHER), 1, newer))
    world.step(SessionLost(LEADER.addr))
    tick_until(world, type(opened(world.effects)[0]))
    older = Trust(b"old root", b"new root", as_of=(20.0, 8))
    world.say(SessionOpened("late", 5.0, Node("n1"), (LEADER,), older), OTHER)
    assert world.agent.session_id == "late"
    assert world.agent.trust == newer
    again = Trust(b"new root", b"next", as_of=(30.0, 4))
    world.say(SessionChanged("late", Node("n1"), (), 1, again), OTHER)
    assert world.agent.trust == again, "an old backup begins at an old version, but later"


def test_the_networks_of_a_node_are_those_it_was_last_told() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    ingress, private = (Network(id, NetworkSpec(name=id)) for id in ("ingress", "private"))
    opening = SessionOpened("session-1", 5.0, Node("n1"), (LEADER,), networks=(ingress,))
    world.say(opening)
    world.assign()
    assert world.agent.networks == (ingress,)
    news = SessionChanged("session-1", Node("n1"), (), 1, networks=(ingress, private))
    world.say(news)
    world.step(SessionLost(LEADER.addr))
    assert world.agent.networks == (ingress, private), "without a session too"


def test_a_repeated_difference_changes_nothing() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    out = world.assign(make_task("t2"))
    assert performed(out) == [Operation.PREPARE]
    again = Assignments("session-1", world.sequence, False, (make_task("t2"),))
    assert world.say(again) == []


@pytest.mark.parametrize(
    "message",
    [
        HeartbeatAnswer("old", 1.0),
        StatusRecorded("old", 1),
        Assignments("old", 1, True, (make_task("t9"),)),
        SessionChanged("old", Node("n1"), (OTHER,), 1),
        SessionRefused("old", "not_found", "no such session"),
        SessionOpened("old", 5.0, Node("n1")),
    ],
)
def test_messages_of_another_session_are_ignored(message: object) -> None:
    world = World()
    world.open()
    world.assign(make_task())
    before = world.agent.session_id, world.agent.tasks(), world.agent.manager
    assert world.say(message) == []  # type: ignore[arg-type]
    assert (world.agent.session_id, world.agent.tasks(), world.agent.manager) == before


def test_another_manager_is_not_listened_to() -> None:
    world = World()
    world.open()
    told = Assignments("session-1", 1, True, (make_task("t9"),))
    assert world.step(FromManager(OTHER, told)) == []


def test_a_refusal_ends_the_open_session() -> None:
    world = World()
    world.open()
    world.say(SessionRefused("session-1", "invalid_argument", "session invalid"))
    assert (world.agent.session_id, world.agent.reason) == ("", "session invalid")


def test_a_new_description_opens_the_session_again_at_once() -> None:
    world = World()
    world.open()
    world.assign()
    same = DescriptionChanged(NodeDescription(hostname="node-1"))
    assert world.step(same) == []
    out = world.step(DescriptionChanged(NodeDescription(hostname="node-9")))
    assert [o.description.hostname for o in opened(out)] == ["node-9"]
    assert opened(out)[0].session_id == "session-1"


def test_a_description_that_changes_before_the_session_is_open_is_told_as_well() -> None:
    """What was asked for with the old one is answered, and there would be no reason to ask again: a
    rotation of the root waited for ever for a node that had renewed at this moment."""
    world = World()
    world.step(ManagersKnown((LEADER,)))
    assert opened(world.step(DescriptionChanged(NodeDescription(hostname="node-9")))) == []
    (hello,) = opened(world.open())
    assert (hello.session_id, hello.description.hostname) == ("session-1", "node-9")
    assert opened(world.open()) == [], "once is enough"


def test_a_changed_list_of_managers_is_taken_over() -> None:
    world = World()
    world.open()
    world.assign()
    world.say(SessionChanged("session-1", Node("n1", version=9), (OTHER,), 1))
    assert world.agent.node == Node("n1", version=9)
    world.step(SessionLost(LEADER.addr))
    tick_until(world, type(opened(world.effects)[0]))
    assert world.agent.manager == OTHER


# -- reports ---------------------------------------------------------------------------------------


def test_one_report_is_under_way_and_the_last_status_counts() -> None:
    world = World()
    world.open()
    (first,) = reports(world.assign(make_task()))
    assert [(id, s.state) for id, s in first.statuses] == [("t1", TaskState.PREPARING)]
    assert reports(world.done(Operation.PREPARE)) == []
    assert reports(world.done(Operation.START, Started("c", 1))) == []
    (second,) = reports(world.say(StatusRecorded("session-1", first.sequence)))
    assert [(id, s.state) for id, s in second.statuses] == [("t1", TaskState.RUNNING)]
    assert second.sequence == first.sequence + 1
    world.say(StatusRecorded("session-1", second.sequence))
    world.now += 5
    assert reports(world.step(Tick())) == []


def test_an_unanswered_report_is_sent_again_as_it_was() -> None:
    world = World()
    world.open()
    (first,) = reports(world.assign(make_task()))
    world.say(HeartbeatAnswer("session-1", 60.0, 1))
    world.now += 5
    assert reports(world.step(Tick())) == [first]
    assert reports(world.say(StatusRecorded("session-1", first.sequence))) == []
    world.now += 5
    assert reports(world.step(Tick())) == []


def test_a_new_session_hears_everything_again() -> None:
    world = World()
    world.open()
    (first,) = reports(world.assign(make_task("t1"), make_task("t2")))
    world.say(StatusRecorded("session-1", first.sequence))
    world.step(SessionLost(LEADER.addr))
    tick_until(world, type(opened(world.effects)[0]))
    (again,) = reports(world.say(SessionOpened("session-2", 5.0, Node("n1"), (LEADER,))))
    assert (again.session_id, again.statuses) == ("session-2", first.statuses)
    assert again.sequence > first.sequence


def test_a_report_holds_at_most_1024_statuses() -> None:
    world = World()
    world.open()
    (first,) = reports(world.assign(*[make_task(f"t{i}") for i in range(1500)]))
    assert len(first.statuses) == 1024
    (second,) = reports(world.say(StatusRecorded("session-1", first.sequence)))
    assert len(second.statuses) == 476


# -- stopping --------------------------------------------------------------------------------------


def test_stopping_shuts_everything_down_and_then_says_so() -> None:
    world = World()
    world.open()
    world.assign(make_task("t1"), make_task("t2"), make_task("t3", desired=TaskState.READY))
    world.done(Operation.PREPARE, task_id="t1")
    world.done(Operation.START, Started("c", 1), task_id="t1")
    world.done(Operation.PREPARE, task_id="t3")
    out = world.step(Stop())
    assert performed(out) == [Operation.SHUTDOWN, Operation.SHUTDOWN]
    assert world.agent.wake_at() is None
    assert world.done(Operation.SHUTDOWN, task_id="t1") == []
    assert world.done(Operation.SHUTDOWN, task_id="t2") == [AgentStopped()]
    assert world.state("t1") is TaskState.RUNNING  # it is resumed as that, and found gone
    assert world.step(Stop()) == []


def test_stopping_without_tasks_is_done_at_once() -> None:
    assert World().step(Stop()) == [AgentStopped()]


def test_stopping_with_saved_tasks_waits_for_them() -> None:
    world = World({"t1": SavedTask(make_task(), TaskStatus(TaskState.RUNNING))})
    world.step(Tick())
    assert performed(world.step(Stop())) == [Operation.SHUTDOWN]
    assert world.done(Operation.SHUTDOWN) == [AgentStopped()]


# -- the choice of a manager -----------------------------------------------------------------------


def test_good_managers_are_chosen_more_often_and_none_never() -> None:
    remotes = Remotes()
    managers = tuple(attrs.evolve(LEADER, node_id=n, addr=n) for n in "abc")
    remotes.add(managers)
    rng = Rng(3)
    assert {remotes.choose(rng).addr for _ in range(100)} == {"a", "b", "c"}
    remotes.observe("a", GOOD)
    remotes.observe("b", BAD)
    chosen = [remotes.choose(rng).addr for _ in range(2000)]
    assert chosen.count("a") > 1900
    remotes.replace(managers[1:])
    assert {remotes.choose(rng).addr for _ in range(100)} == {"b", "c"}
    assert BIAS > 0
