"""The restart supervisor (spec: tasks.md section 6), and drain and node failure (section 10)."""

from __future__ import annotations

import pytest

from pyswarm.model.specs import RestartPolicy
from pyswarm.model.states import Availability, NodeState, RestartCondition, TaskOrigin, TaskState

from .harness import Program, World, a_spec

CRASHING = Program(ends_after=1.0, exit_code=1)


def test_successor_is_made_at_once_and_starts_after_the_delay() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    failed = world.tasks(service_id, slot=2)[0]
    world.report(failed, TaskState.FAILED, "task: non-zero exit (1)")
    old, new = world.tasks(service_id, slot=2)
    assert old.desired_state is TaskState.SHUTDOWN
    assert (new.desired_state, new.origin) == (TaskState.READY, TaskOrigin.RESTARTED)
    assert new.start_after == world.now + 5.0, "the default delay"
    world.run(4.9)
    assert world.tasks(service_id, slot=2)[1].state is TaskState.READY, "prepared, not started"
    world.run(0.3)
    assert world.tasks(service_id, slot=2)[1].state is TaskState.RUNNING
    assert len(world.tasks(service_id, slot=1)) == 1


@pytest.mark.parametrize(
    ("condition", "exit_code", "again"),
    [
        (RestartCondition.ANY, 0, True),
        (RestartCondition.ANY, 1, True),
        (RestartCondition.ON_FAILURE, 0, False),
        (RestartCondition.ON_FAILURE, 1, True),
        (RestartCondition.NONE, 0, False),
        (RestartCondition.NONE, 1, False),
    ],
)
def test_condition(condition: RestartCondition, exit_code: int, again: bool) -> None:
    world = World()
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=exit_code)
    service_id = world.create(
        a_spec(replicas=1, restart=RestartPolicy(condition=condition, delay=0.5))
    )
    world.run(2.4)
    assert len(world.tasks(service_id)) == (2 if again else 1)
    first = world.tasks(service_id)[0]
    assert first.desired_state is TaskState.SHUTDOWN
    world.rebuild()
    world.run(0.05)
    assert len(world.tasks(service_id)) == (2 if again else 1), "a new leader agrees"


def test_max_attempts_counts_restarts() -> None:
    world = World()
    world.programs["app:1"] = CRASHING
    service_id = world.create(a_spec(replicas=1, restart=RestartPolicy(delay=0.5, max_attempts=2)))
    world.run(60)
    tasks = world.tasks(service_id)
    assert [task.state for task in tasks] == [TaskState.FAILED] * 3
    assert [task.origin for task in tasks] == [
        TaskOrigin.CREATED, TaskOrigin.RESTARTED, TaskOrigin.RESTARTED
    ]  # fmt: skip
    world.rebuild()
    world.run(60)
    assert len(world.tasks(service_id)) == 3


def test_update_begins_a_new_count() -> None:
    world = World()
    world.programs["app:1"] = CRASHING
    service_id = world.create(a_spec(replicas=1, restart=RestartPolicy(delay=0.5, max_attempts=1)))
    world.run(20)
    assert len(world.tasks(service_id)) == 2
    world.change(service_id, force=True)
    world.run(20)
    assert sum(".1 running/running" in line for line in world.log) == 4, "two of each version"
    assert len(world.tasks(service_id)) == 2, "history: max_attempts + 1"


def test_window_forgets_old_restarts() -> None:
    world = World()
    world.programs["app:1"] = Program(ends_after=4.0, exit_code=1)
    policy = RestartPolicy(delay=1.0, max_attempts=2, window=3.0)
    world.create(a_spec(replicas=1, restart=policy))
    world.run(60)
    assert sum("1 running/running" in line for line in world.log) > 8


def test_crash_loop_keeps_to_the_delay() -> None:
    world = World()
    world.programs["app:1"] = Program(prepare=0.01, rejected=True)
    service_id = world.create(a_spec(replicas=1, restart=RestartPolicy(delay=2.0)))
    world.run(21)
    rejected = sum("rejected/ready" in line for line in world.log)
    assert rejected <= 11, "a successor that fails while it waits is not replaced before its time"
    assert len(world.tasks(service_id)) == 5, "the history limit"


def test_drain_moves_tasks_without_delay() -> None:
    world = World(3)
    service_id = world.create(a_spec(replicas=3))
    world.run(2)
    world.node("n2", availability=Availability.DRAIN)
    world.run(1.5)
    assert {task.node_id for task in world.live(service_id)} == {"n1", "n3"}
    world.node("n2", availability=Availability.ACTIVE)
    world.run(30)
    assert {task.node_id for task in world.live(service_id)} == {"n1", "n3"}, "nothing moves back"


def test_pause_moves_nothing() -> None:
    world = World(2)
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    turns = len(world.log)
    world.node("n2", availability=Availability.PAUSE)
    world.run(10)
    assert len(world.log) == turns and len(world.live(service_id)) == 2


def test_node_down_replaces_without_waiting_and_orphans_after_a_day() -> None:
    world = World(2)
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    world.node("n2", state=NodeState.DOWN)
    lost = next(t for t in world.tasks(service_id) if t.node_id == "n2")
    new = world.tasks(service_id, slot=lost.slot)[1]
    assert new.replaces == "" and lost.desired_state is TaskState.SHUTDOWN
    world.run(6)
    assert [task.node_id for task in world.live(service_id)] == ["n1", "n1"]
    assert world.store.task(lost.id).state is TaskState.RUNNING  # type: ignore[union-attr]
    world.run(24 * 3600)
    assert world.store.task(lost.id).state is TaskState.ORPHANED  # type: ignore[union-attr]


def test_node_back_before_a_day_orphans_nothing() -> None:
    world = World(2)
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    world.node("n2", state=NodeState.DOWN)
    world.run(3600)
    world.node("n2", state=NodeState.READY)
    world.run(2 * 24 * 3600)
    states = sorted(str(task.state) for task in world.tasks(service_id))
    assert states == ["running", "running", "shutdown"]


def test_removed_node_gives_its_tasks_up() -> None:
    world = World(2)
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    world.forget_node("n2")
    lost = next(task for task in world.tasks(service_id) if task.node_id == "n2")
    assert lost.state is TaskState.ORPHANED
    assert lost.message == "Task belonged to a node that has been deleted"
    world.run(6)
    assert len(world.live(service_id)) == 2


def test_successor_waits_for_the_old_task_but_a_minute_at_most() -> None:
    world = World(2)
    world.programs["app:1"] = Program(stop=1e9)
    service_id = world.create(a_spec(replicas=1))
    world.run(2)
    drained = world.tasks(service_id)[0].node_id
    world.node(drained, availability=Availability.DRAIN)
    world.run(59.5)
    assert world.tasks(service_id)[1].state is TaskState.READY
    world.rebuild()
    world.run(1)
    assert world.tasks(service_id)[1].state is TaskState.RUNNING


def test_new_leader_keeps_the_remaining_delay() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=1))
    world.run(2)
    world.report(world.tasks(service_id)[0], TaskState.FAILED)
    world.run(3)
    world.rebuild()
    world.run(1.9)
    assert world.tasks(service_id)[1].state is TaskState.READY
    world.run(0.3)
    assert world.tasks(service_id)[1].state is TaskState.RUNNING
