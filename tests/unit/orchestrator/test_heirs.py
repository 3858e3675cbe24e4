"""A task that fails while its successor of a start-first update comes up needs no other one."""

from __future__ import annotations

import pytest

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

from .harness import Program, World


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
