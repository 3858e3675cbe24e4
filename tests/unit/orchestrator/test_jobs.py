"""Replicated and global jobs (spec: tasks.md section 8; recorded: rjob, rjob-force, gjob)."""

from __future__ import annotations

from pytest import MonkeyPatch

from pyswarm.model.objects import Task
from pyswarm.model.specs import Placement, RestartPolicy
from pyswarm.model.states import Availability, NodeState, RestartCondition, TaskState
from pyswarm.store import Transaction

from .harness import GlobalJob, Program, ReplicatedJob, World, a_spec

DONE = Program(ends_after=1.0)


def job(world: World, mode: object, **fields: object) -> str:
    world.programs.setdefault("app:1", DONE)
    return world.create(a_spec("job", mode=mode, **fields))


def completed(world: World, service_id: str, iteration: int = 0) -> list[int]:
    return sorted(
        task.slot
        for task in world.tasks(service_id)
        if task.state is TaskState.COMPLETE and task.job_iteration == iteration
    )


def test_five_completions_two_at_a_time() -> None:
    world = World()
    service_id = job(world, ReplicatedJob(max_concurrent=2, total_completions=5))
    most = 0
    for _ in range(60):
        world.run(0.1)
        most = max(most, len(world.live(service_id)))
    assert most == 2
    assert completed(world, service_id) == [0, 1, 2, 3, 4]
    assert {task.desired_state for task in world.tasks(service_id)} == {TaskState.COMPLETE}
    world.rebuild()
    world.run(60)
    assert len(world.tasks(service_id)) == 5


def test_total_defaults_to_the_concurrency() -> None:
    world = World()
    service_id = job(world, ReplicatedJob(max_concurrent=3))
    world.run(5)
    assert completed(world, service_id) == [0, 1, 2]


def test_failed_ones_are_restarted_in_their_slot() -> None:
    world = World()
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    service_id = job(world, ReplicatedJob(2, 2), restart=RestartPolicy(delay=1.0))
    world.run(4.0)
    world.programs["app:1"] = DONE
    world.run(20)
    assert completed(world, service_id) == [0, 1]


def test_restart_none_spends_the_slot() -> None:
    world = World()
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    policy = RestartPolicy(condition=RestartCondition.NONE)
    service_id = job(world, ReplicatedJob(1, 3), restart=policy)
    world.run(60)
    assert [task.state for task in world.tasks(service_id)] == [TaskState.FAILED] * 3


def test_every_update_is_a_new_run() -> None:
    world = World()
    service_id = job(world, ReplicatedJob(2, 2))
    world.run(5)
    world.change(service_id, force=True)
    world.run(0.5)
    world.change(service_id, force=True)
    world.run(10)
    assert completed(world, service_id) == completed(world, service_id, 2) == [0, 1]
    assert completed(world, service_id, 1) == []
    for _ in range(6):
        world.change(service_id, force=True)
        world.run(10)
    assert len(world.tasks(service_id)) == 10, "five runs are kept"


def test_node_lost_moves_a_replicated_jobs_task() -> None:
    world = World(2)
    world.programs["app:1"] = Program(ends_after=30.0)
    service_id = job(world, ReplicatedJob(2, 2))
    world.run(2)
    world.node("n1", state=NodeState.DOWN)
    world.run(60)
    assert completed(world, service_id) == [0, 1]


def test_removed_job_takes_its_finished_tasks_along() -> None:
    world = World()
    service_id = job(world, ReplicatedJob(2, 2))
    world.run(5)
    world.remove(service_id)
    assert world.tasks() == []


def test_global_job_runs_once_on_every_fit_node() -> None:
    world = World(3)
    world.node("n3", availability=Availability.DRAIN)
    service_id = job(world, GlobalJob(), placement=Placement(constraints=("node.id!=n2",)))
    world.run(5)
    assert [task.node_id for task in world.tasks(service_id)] == ["n1"]
    world.node("n4")
    world.node("n3", availability=Availability.ACTIVE)
    world.run(5)
    assert sorted(task.node_id for task in world.tasks(service_id)) == ["n1", "n3", "n4"]
    assert {task.state for task in world.tasks(service_id)} == {TaskState.COMPLETE}
    world.change(service_id, force=True)
    world.run(5)
    assert sum(task.job_iteration == 1 for task in world.tasks(service_id)) == 3


def test_global_job_on_a_lost_node_is_shut_down_and_made_again() -> None:
    world = World(2)
    world.programs["app:1"] = Program(ends_after=30.0)
    service_id = job(world, GlobalJob())
    world.run(2)
    world.node("n1", state=NodeState.DOWN)
    assert world.tasks(service_id)[0].desired_state is TaskState.SHUTDOWN
    world.node("n1", state=NodeState.READY)
    world.run(60)
    done = [t.node_id for t in world.tasks(service_id) if t.state is TaskState.COMPLETE]
    assert sorted(done) == ["n1", "n2"]


def test_more_completions_than_a_turn_holds() -> None:
    world = World(changes_max=30)
    service_id = job(world, ReplicatedJob(40, 40))
    world.run(10)
    assert completed(world, service_id) == list(range(40))


def test_a_task_that_ends_costs_a_look_at_its_slot_alone(monkeypatch: MonkeyPatch) -> None:
    """However many completions a job wants, its tasks are read as a whole once."""
    world = World(6, twins=False)
    world.programs["app:1"] = DONE
    looked: list[int] = []
    whole = Transaction.tasks_of_service

    def counted(tx: Transaction, service_id: str) -> list[Task]:
        found = whole(tx, service_id)
        looked.append(len(found))
        return found

    monkeypatch.setattr(Transaction, "tasks_of_service", counted)
    service_id = job(world, ReplicatedJob(max_concurrent=4, total_completions=80))
    world.run(120)
    assert completed(world, service_id) == list(range(80))
    # The whole job when it is new and when its endpoint is there; slot 0, which has no index.
    assert len(looked) < 8
    assert sum(looked) < 5 * 80


def test_global_job_that_failed_while_its_node_was_paused_is_tried_again() -> None:
    world = World(1)
    world.programs["app:1"] = Program(ends_after=3.0, exit_code=1)
    service_id = job(world, GlobalJob())
    world.run(2)
    world.node("n1", availability=Availability.PAUSE)
    world.run(10)
    assert [task.state for task in world.tasks(service_id)] == [TaskState.FAILED]
    world.programs["app:1"] = DONE
    world.node("n1", availability=Availability.ACTIVE)
    world.run(10)
    assert [str(task.state) for task in world.tasks(service_id)] == ["failed", "complete"]


def test_global_job_that_may_not_be_tried_again_is_not() -> None:
    world = World(1)
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    policy = RestartPolicy(delay=1.0, max_attempts=2)
    service_id = job(world, GlobalJob(), restart=policy)
    world.run(60)
    world.node("n1", availability=Availability.PAUSE)
    world.node("n1", availability=Availability.ACTIVE)
    world.run(60)
    assert [str(task.state) for task in world.tasks(service_id)] == ["failed"] * 3


def test_the_only_slot_of_a_job_leaves_a_node_on_which_it_fails() -> None:
    """Slot 0 is a slot like any other, though a global service's tasks have it too."""
    world = World(2)
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    world.create(a_spec("busy", image="x", replicas=9, placement=Placement(("node.id==n2",))))
    service_id = job(world, ReplicatedJob(1, 1), restart=RestartPolicy(delay=1.0))
    world.run(15)
    assert "n2" in {task.node_id for task in world.tasks(service_id)}


def test_attempts_of_a_job_are_counted_by_slot_and_within_their_window() -> None:
    """With a window, restarts long ago count no more, so a slow crash loop has no end."""
    world = World()
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    policy = RestartPolicy(delay=1.0, max_attempts=2)
    service_id = job(world, ReplicatedJob(2, 2), restart=policy)
    world.run(60)
    tried = sorted((task.slot, str(task.state)) for task in world.tasks(service_id))
    assert tried == [(0, "failed")] * 3 + [(1, "failed")] * 3
    world = World()
    world.programs["app:1"] = Program(ends_after=4.0, exit_code=1)
    policy = RestartPolicy(delay=1.0, max_attempts=2, window=3.0)
    service_id = job(world, ReplicatedJob(1, 1), restart=policy)
    world.run(60)
    assert any(task.state < TaskState.COMPLETE for task in world.tasks(service_id))
    world.programs["app:1"] = DONE
    world.run(20)
    assert completed(world, service_id) == [0]
