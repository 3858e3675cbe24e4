"""Task history (spec: tasks.md section 7; recorded: history-default5, history-limits)."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.model.replace import replace
from pyswarm.model.specs import RestartPolicy
from pyswarm.model.states import TaskState

from .harness import WHY, Program, World, a_spec


def test_history_default_is_five_the_running_one_counted() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=1))
    world.run(2)
    totals = []
    for _ in range(8):
        world.change(service_id, force=True)
        world.run(40)
        totals.append(len(world.tasks(service_id)))
    assert totals == [2, 3, 4, 5, 5, 5, 5, 5]


@pytest.mark.parametrize(("limit", "left"), [(0, 1), (1, 1), (2, 2), (-1, 7)])
def test_history_limit(limit: int, left: int) -> None:
    world = World(history=limit)
    service_id = world.create(a_spec(replicas=1))
    world.run(2)
    for _ in range(6):
        world.change(service_id, force=True)
        world.run(40)
    assert len(world.tasks(service_id)) == left
    assert len(world.live(service_id)) == 1


def test_lower_limit_trims_every_slot() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    for _ in range(3):
        world.change(service_id, force=True)
        world.run(60)
    assert len(world.tasks(service_id)) == 8

    def lower(tx):  # type: ignore[no-untyped-def]
        spec = attrs.evolve(tx.swarm.spec, task_history_retention_limit=1)
        tx.update(replace(tx.swarm, spec=spec), WHY)

    world.turn(lower)
    assert len(world.tasks(service_id)) == 2


def test_finished_single_task_stays() -> None:
    world = World(history=0)
    world.programs["app:1"] = Program(ends_after=1.0, exit_code=1)
    service_id = world.create(a_spec(replicas=1, restart=RestartPolicy(delay=3.0)))
    world.run(2.0)
    tasks = world.tasks(service_id)
    assert [task.state for task in tasks] == [TaskState.READY], "replaced, so gone"


def test_tasks_of_a_removed_service_wait_for_their_node() -> None:
    world = World()
    world.programs["app:1"] = Program(stop=3.0)
    service_id = world.create(a_spec(replicas=2))
    world.run(2)
    world.remove(service_id)
    world.rebuild()
    world.run(2)
    assert len(world.tasks()) == 2
    world.run(2)
    assert world.tasks() == []
