"""A task that fails while its successor of a start-first update comes up needs no other one."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.model.replace import replace
from pyswarm.model.specs import (
    ContainerSpec,
    Global,
    Replicated,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.states import TaskState, UpdateOrder, UpdateState
from pyswarm.store import Transaction

from .harness import WHY, Program, World, reported


def a_spec(mode: ServiceMode) -> ServiceSpec:
    return ServiceSpec(
        "web",
        TaskSpec(container=ContainerSpec("one"), restart=RestartPolicy(delay=0.5)),
        mode,
        update=UpdateConfig(order=UpdateOrder.START_FIRST, monitor=1.0),
    )


@pytest.mark.parametrize("mode", [Replicated(1), Global()])
def test_the_old_task_fails_meanwhile(mode: ServiceMode) -> None:
    world = World(nodes=1)
    world.programs["two"] = Program(start=5.0)
    service = world.create(a_spec(mode))
    world.run(3.0)
    [old] = world.live(service)
    world.change(service, image="two")
    world.run(1.0)
    world.report(old, TaskState.FAILED, "task: non-zero exit (1)")
    world.run(20.0)
    [new] = world.live(service)
    assert new.spec.container == ContainerSpec("two")
    assert len(world.tasks(service)) == 2, "nobody else was made"
    status = world.status(service)
    assert status is not None
    assert status.state is UpdateState.COMPLETED


def test_if_both_fail_there_is_one_successor() -> None:
    world = World(nodes=1)
    world.programs["two"] = Program(start=1.0, ends_after=0.1, exit_code=1)
    service = world.create(a_spec(Replicated(1)))
    world.run(3.0)
    [old] = world.live(service)
    world.change(service, image="two")
    world.run(0.5)
    world.report(old, TaskState.FAILED, "task: non-zero exit (1)")
    for _ in range(40):
        world.run(0.25)
        assert len([t for t in world.tasks(service) if t.desired_state <= TaskState.RUNNING]) == 1


def test_an_update_does_not_keep_a_task_that_has_just_failed() -> None:
    """The failure and the next update come in one turn; the old task goes on until another runs."""
    world = World(nodes=1)
    service = world.create(a_spec(Replicated(1)))
    world.run(3.0)
    [old] = world.live(service)
    world.programs["two"] = Program(start=5.0)
    world.change(service, image="two")
    world.run(0.5)
    [young] = [task for task in world.tasks(service) if task.id != old.id]

    def both(tx: Transaction) -> None:
        now = tx.service(service)
        assert now is not None
        labelled = attrs.evolve(now.spec, labels={"a": "b"})
        tx.update(replace(now, spec=labelled, spec_version=tx.version, update_status=None), WHY)
        tx.update(reported(young, TaskState.FAILED, tx.now, err="task: non-zero exit (1)"), WHY)

    world.turn(both)
    for _ in range(60):
        assert world.live(service), "something runs all the time"
        world.run(0.25)
    assert [task.spec.container for task in world.live(service)] == [ContainerSpec("two")]
