"""Replicated services: slots, scaling, victims (spec: tasks.md sections 4 and 6)."""

from __future__ import annotations

import pytest

from pyswarm.model.states import TaskState

from .harness import WHY, Program, RestartPolicy, World, a_spec


def slots(world: World, service_id: str) -> list[int]:
    return sorted(task.slot for task in world.live(service_id))


def test_creates_replicas_in_slots_from_one() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=5))
    world.run(2)
    assert slots(world, service_id) == [1, 2, 3, 4, 5]
    assert world.turns < 6


def test_scale_up_fills_lowest_numbers_and_down_takes_the_loaded_nodes() -> None:
    world = World(3)
    service_id = world.create(a_spec(replicas=5))
    world.run(2)
    world.change(service_id, replicas=3)
    world.run(5)
    left = world.live(service_id)
    assert sorted(task.node_id for task in left) == ["n1", "n2", "n3"]
    assert len(world.tasks(service_id)) == 3, "no history of victims is kept"
    world.change(service_id, replicas=6)
    world.run(5)
    assert slots(world, service_id) == [1, 2, 3, 4, 5, 6]


def test_scale_to_zero_and_back() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    world.change(service_id, replicas=0)
    world.run(5)
    assert world.tasks(service_id) == []
    world.change(service_id, replicas=1)
    world.run(5)
    assert slots(world, service_id) == [1]


def test_more_tasks_than_a_turn_holds() -> None:
    world = World(changes_max=20)
    service_id = world.create(a_spec(replicas=30))
    world.run(5)
    assert slots(world, service_id) == list(range(1, 31))


def test_removed_service_leaves_nothing() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=3))
    world.run(2)
    world.remove(service_id)
    assert {task.desired_state for task in world.tasks()} == {TaskState.REMOVE}
    world.run(5)
    assert world.tasks() == []


@pytest.mark.parametrize("state", ["running", "pending"])
def test_removed_task_is_made_again(state: str) -> None:
    world = World()
    service_id = world.create(a_spec(replicas=3))
    if state == "running":
        world.run(2)
    task = world.tasks(service_id)[1]
    world.turn(lambda tx: tx.delete("task", task.id, WHY))
    world.run(3)
    assert slots(world, service_id) == [1, 2, 3]


def test_a_slot_that_was_spent_lives_again_when_an_attempt_is_forgotten() -> None:
    world = World()
    world.programs["app:1"] = Program(ends_after=0.5, exit_code=1)
    policy = RestartPolicy(delay=0.5, max_attempts=1)
    service_id = world.create(a_spec(replicas=1, restart=policy))
    world.run(30)
    assert [str(task.state) for task in world.tasks(service_id)] == ["failed", "failed"]
    last = world.tasks(service_id)[-1]
    world.programs["app:1"] = Program()
    world.turn(lambda tx: tx.delete("task", last.id, WHY))
    world.run(30)
    assert slots(world, service_id) == [1]


def test_a_slip_of_the_pen_costs_a_turn_no_more_than_its_room() -> None:
    world = World(twins=False, changes_max=30)
    service_id = world.create(a_spec(replicas=2**62))
    assert slots_made(world, service_id) == list(range(1, 11))
    world.turn()
    assert slots_made(world, service_id) == list(range(1, 21))
    world.change(service_id, replicas=3)
    world.run(5)
    assert slots(world, service_id) == [1, 2, 3]


def slots_made(world: World, service_id: str) -> list[int]:
    return sorted(task.slot for task in world.tasks(service_id))
