"""The rule of progress (spec of tasks, section 3): every state with every desired state."""

from __future__ import annotations

import pytest

from pyswarm.agent import (
    Exited,
    Operation,
    SavedTask,
    Started,
    TaskFailed,
    TaskGone,
    TaskRejected,
    TemporaryFailure,
    Tick,
)
from pyswarm.agent.progress import next_step
from pyswarm.errors import Internal, SwarmError
from pyswarm.model.objects import TaskStatus
from pyswarm.model.states import DESIRED_STATES, TaskState
from unit.agent.world import World, make_task, performed, reports, saved

S, Op = TaskState, Operation

# One row a state: where a step leads for desired READY, RUNNING, COMPLETE, SHUTDOWN, REMOVE.
TABLE = {
    S.NEW: "accepted accepted accepted shutdown shutdown",
    S.PENDING: "accepted accepted accepted shutdown shutdown",
    S.ASSIGNED: "accepted accepted accepted shutdown shutdown",
    S.ACCEPTED: "preparing preparing preparing shutdown shutdown",
    S.PREPARING: "ready ready ready shutdown shutdown",
    S.READY: "- starting starting shutdown shutdown",
    S.STARTING: "- running running shutdown shutdown",
    S.RUNNING: "- complete complete shutdown shutdown",
    S.COMPLETE: "- - - - -",
    S.SHUTDOWN: "- - - - -",
    S.FAILED: "- - - - -",
    S.REJECTED: "- - - - -",
    S.REMOVE: "- - - - -",
    S.ORPHANED: "- - - - -",
}


def test_the_table_has_every_state() -> None:
    assert list(TABLE) == list(TaskState)


@pytest.mark.parametrize(("state", "desired"), [(s, d) for s in TaskState for d in DESIRED_STATES])
def test_next_step(state: TaskState, desired: TaskState) -> None:
    step = next_step(state, desired)
    expected = TABLE[state].split()[DESIRED_STATES.index(desired)]
    assert (str(step.to) if step else "-") == expected
    assert step is None or step.to > state


def run_to(world: World, state: TaskState) -> None:
    """Drive task t1, desired RUNNING, to ``state`` by good answers."""
    if state >= S.READY:
        world.done(Op.PREPARE)
    if state >= S.RUNNING:
        world.done(Op.START, Started("c1", 77))


def test_a_good_life() -> None:
    world = World()
    world.open()
    assert performed(world.assign(make_task())) == [Op.PREPARE]
    assert world.state() is S.PREPARING
    assert performed(world.done(Op.PREPARE)) == [Op.START]
    assert world.state() is S.STARTING
    assert performed(world.done(Op.START, Started("c1", 77))) == [Op.WAIT]
    assert world.agent.status("t1") == TaskStatus(S.RUNNING, "started", container_id="c1", pid=77)
    assert performed(world.done(Op.WAIT, Exited(0))) == []
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.message, status.err) == (S.COMPLETE, "finished", "")
    assert saved(world.effects)["t1"].status == status


def test_what_is_reported_carries_no_time_of_the_assignment() -> None:
    world = World()
    world.open()
    world.assign(make_task(status_at=12.0))
    run_to(world, S.RUNNING)
    world.done(Op.WAIT, Exited(1))
    told = [status.at for report in reports(world.effects) for _, status in report.statuses]
    assert told
    assert not any(told)


def test_desired_ready_pauses_at_ready() -> None:
    world = World()
    world.open()
    world.assign(make_task(desired=S.READY))
    assert performed(world.done(Op.PREPARE)) == []
    assert world.state() is S.READY
    assert performed(world.assign(make_task(desired=S.RUNNING))) == [Op.START]


def test_a_lower_desired_state_is_ignored() -> None:
    world = World()
    world.open()
    world.assign(make_task(desired=S.RUNNING))
    run_to(world, S.RUNNING)
    assert world.assign(make_task(desired=S.READY)) == []
    task = world.agent.task("t1")
    assert task is not None
    assert task.desired_state is S.RUNNING


def test_a_known_task_keeps_its_local_status() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(make_task(state=S.ASSIGNED), full=True)
    assert world.state() is S.RUNNING


FAILURES = [
    (Op.PREPARE, TaskRejected("No such image: x"), S.REJECTED, "preparing", "No such image: x"),
    (Op.PREPARE, TaskFailed("boom"), S.REJECTED, "preparing", "boom"),
    (Op.START, TaskFailed("starting: no", exit_code=127), S.FAILED, "starting", "starting: no"),
    (Op.START, TaskRejected("starting: no"), S.FAILED, "starting", "starting: no"),
    (Op.WAIT, Internal("lost"), S.FAILED, "started", "lost"),
    (Op.WAIT, TaskGone("No such container: x"), S.FAILED, "started", "No such container: x"),
]


@pytest.mark.parametrize(("operation", "error", "state", "message", "err"), FAILURES)
def test_failing_for_good(
    operation: Operation, error: SwarmError, state: TaskState, message: str, err: str
) -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, {Op.PREPARE: S.PREPARING, Op.START: S.STARTING, Op.WAIT: S.RUNNING}[operation])
    assert performed(world.done(operation, error=error)) == []
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.message, status.err) == (state, message, err)
    assert status.exit_code == getattr(error, "exit_code", 0)


@pytest.mark.parametrize(
    ("exited", "err"),
    [
        (Exited(1), "task: non-zero exit (1)"),
        (Exited(137), "task: non-zero exit (137)"),
        (Exited(137, "unhealthy"), "task: non-zero exit (137): unhealthy"),
    ],
)
def test_a_bad_exit(exited: Exited, err: str) -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.done(Op.WAIT, exited)
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.message, status.err) == (S.FAILED, "started", err)
    assert status.exit_code == exited.code


@pytest.mark.parametrize("operation", [Op.PREPARE, Op.START, Op.WAIT])
def test_a_temporary_failure_is_tried_again_after_a_second(operation: Operation) -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, {Op.PREPARE: S.PREPARING, Op.START: S.STARTING, Op.WAIT: S.RUNNING}[operation])
    before = world.state()
    assert performed(world.done(operation, error=TemporaryFailure("busy"))) == []
    assert world.state() is before
    world.now += 0.9
    assert performed(world.step(Tick())) == []
    world.now += 0.1
    assert performed(world.step(Tick())) == [operation]


@pytest.mark.parametrize("at", [S.PREPARING, S.STARTING, S.RUNNING])
def test_shutting_down(at: TaskState) -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, at)
    assert performed(world.assign(make_task(desired=S.SHUTDOWN))) == [Op.SHUTDOWN]
    # What was under way may still answer; it changes nothing any more.
    late = {S.PREPARING: Op.PREPARE, S.STARTING: Op.START, S.RUNNING: Op.WAIT}[at]
    assert performed(world.done(late, Exited(143) if at is S.RUNNING else None)) == []
    assert performed(world.assign(make_task(desired=S.REMOVE))) == []
    world.done(Op.SHUTDOWN)
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.message) == (S.SHUTDOWN, "shutdown")
    assert status.exit_code == (143 if at is S.RUNNING else 0)


def test_the_exit_code_may_come_with_the_end() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(make_task(desired=S.SHUTDOWN))
    world.done(Op.SHUTDOWN, Exited(143))
    assert world.agent.status("t1") == TaskStatus(S.SHUTDOWN, "shutdown", "", 0.0, "c1", 77, 143)


def test_the_exit_code_may_come_after_the_end() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(make_task(desired=S.SHUTDOWN))
    world.done(Op.SHUTDOWN)
    world.done(Op.WAIT, Exited(137))
    assert world.agent.status("t1") == TaskStatus(S.SHUTDOWN, "shutdown", "", 0.0, "c1", 77, 137)


def test_a_task_that_never_came_to_the_executor_is_shut_down_at_once() -> None:
    world = World()
    world.open()
    assert performed(world.assign(make_task(desired=S.SHUTDOWN))) == []
    assert world.state() is S.SHUTDOWN


def test_what_does_not_stop_is_ended_by_force_until_it_is() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(make_task(desired=S.SHUTDOWN))
    for _ in range(3):
        world.done(performed(world.effects)[-1], error=Internal("does not listen"))
        assert world.state() is S.RUNNING
        world.now += 1
        assert performed(world.step(Tick())) == [Op.TERMINATE]
    world.done(Op.TERMINATE)
    assert world.state() is S.SHUTDOWN


def test_shutting_down_what_is_gone_is_done() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(make_task(desired=S.SHUTDOWN))
    world.done(Op.SHUTDOWN, error=TaskGone("no such task"))
    assert world.state() is S.SHUTDOWN


def test_what_left_the_assignments_is_removed() -> None:
    world = World()
    world.open()
    world.assign(make_task("t1"), make_task("t2"))
    assert performed(world.assign(removed=("t1",))) == [Op.REMOVE]
    assert world.agent.status("t1") is None
    kept = saved(world.effects)["t1"]  # a next life has to know of it
    assert kept.task.desired_state is S.REMOVE
    world.done(Op.PREPARE)  # too late
    world.done(Op.REMOVE)
    assert list(saved(world.effects)) == ["t2"]
    assert performed(world.assign(full=True)) == [Op.REMOVE]
    world.done(Op.REMOVE, error=TemporaryFailure("busy"), task_id="t2")
    world.now += 1
    assert performed(world.step(Tick())) == [Op.REMOVE]
    world.done(Op.REMOVE, task_id="t2")
    assert world.agent.tasks() == []


def test_what_comes_back_while_it_is_removed_begins_anew() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    world.assign(full=True)
    assert performed(world.assign(make_task(), full=True)) == []
    assert performed(world.done(Op.REMOVE)) == [Op.PREPARE]
    assert world.state() is S.PREPARING


# -- a node that starts again ----------------------------------------------------------------------

RESUMED = [
    (S.ASSIGNED, S.RUNNING, Op.PREPARE),
    (S.PREPARING, S.RUNNING, Op.PREPARE),
    (S.READY, S.RUNNING, Op.PREPARE),
    (S.STARTING, S.RUNNING, Op.START),
    (S.RUNNING, S.RUNNING, Op.WAIT),
    (S.RUNNING, S.SHUTDOWN, Op.SHUTDOWN),
    (S.READY, S.READY, None),
    (S.COMPLETE, S.RUNNING, None),
    (S.FAILED, S.SHUTDOWN, None),
]


@pytest.mark.parametrize(("state", "desired", "operation"), RESUMED)
def test_saved_tasks_go_on(
    state: TaskState, desired: TaskState, operation: Operation | None
) -> None:
    world = World({"t1": SavedTask(make_task(desired=desired), TaskStatus(state, "m"))})
    assert world.agent.wake_at() == 0.0
    assert performed(world.step(Tick())) == ([operation] if operation else [])
    assert world.state() >= state


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_what_cannot_be_proven_alive_has_failed(state: TaskState) -> None:
    world = World({"t1": SavedTask(make_task(), TaskStatus(state, "started"))})
    asked = performed(world.step(Tick()))
    world.done(asked[0], error=TaskGone("No such container: web.1.t1"))
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.err) == (S.FAILED, "node restarted")
    world.open()
    assert reports(world.effects)[0].statuses == (("t1", status),)


def test_what_was_prepared_is_prepared_again_and_started() -> None:
    world = World({"t1": SavedTask(make_task(desired=S.READY), TaskStatus(S.READY, "prepared"))})
    assert performed(world.step(Tick())) == []
    world.open()
    assert performed(world.assign(make_task(desired=S.RUNNING))) == [Op.PREPARE]
    assert world.state() is S.READY
    assert performed(world.done(Op.PREPARE)) == [Op.START]
    assert world.state() is S.STARTING


def test_a_removal_that_was_cut_short_is_done_in_the_next_life() -> None:
    world = World()
    world.open()
    world.assign(make_task())
    run_to(world, S.RUNNING)
    world.assign(full=True)
    again = World(saved(world.effects))
    assert performed(again.step(Tick())) == [Op.SHUTDOWN]
    again.done(Op.SHUTDOWN, error=TaskGone("no such task"))
    again.open()
    assert performed(again.assign(full=True)) == [Op.REMOVE]
    again.done(Op.REMOVE)
    assert saved(world.effects + again.effects) == {}


def test_a_task_this_node_forgot_counts_as_resumed() -> None:
    world = World()
    world.open()
    assert performed(world.assign(make_task(state=S.RUNNING))) == [Op.WAIT]
    world.done(Op.WAIT, error=TaskGone("no such task"))
    status = world.agent.status("t1")
    assert status is not None
    assert status.err == "node restarted"
