"""Tasks of a node as containers: what their health checks have said so far."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pyswarm.agent import Exited, Operation, Started
from pyswarm.agent.vocabulary import Perform
from pyswarm.api.containerview import listed, status_text
from pyswarm.model import ContainerSpec, NodeDescription, TaskState
from pyswarm.model.objects import TaskStatus
from pyswarm.model.specs import Healthcheck
from pyswarm.runtime.executors.bridge import ExecutorBridge
from pyswarm.runtime.executors.images import Image
from pyswarm.runtime.local import LocalNode
from unit.agent.world import make_task

CHECKED = ContainerSpec("host", healthcheck=Healthcheck(("CMD", "look"), interval=1.0))


class Patient:
    """An executor of a task that runs until it is told to stop; its check succeeds when it is
    ``well``."""

    def __init__(self) -> None:
        self.well = False
        self.ended = trio.Event()

    def images(self) -> dict[str, Image]:
        return {"host": Image(("look",), ("after",))}

    async def start(self, task_id: str) -> Started:
        return Started()

    async def wait(self, task_id: str) -> Exited:
        await self.ended.wait()
        return Exited(0)

    async def probe(self, task_id: str) -> int:
        return 0 if self.well else 1

    async def shutdown(self, task_id: str) -> None:
        self.ended.set()


def local_node(executor: Patient, nursery: trio.Nursery) -> tuple[LocalNode, ExecutorBridge, Any]:
    """A node with this executor, its bridge, and its agent, which knows what a test tells it."""
    bridge = ExecutorBridge(executor, print, nursery, None, None, None, None)  # type: ignore[arg-type]
    agent: Any = SimpleNamespace(description=NodeDescription())
    machine = SimpleNamespace(agent=agent, node_id="n1")
    member: Any = SimpleNamespace(node=SimpleNamespace(bridge=bridge, machine=machine))
    asked: Any = executor
    return LocalNode(lambda: member, lambda: asked, bridge.lives.clock), bridge, agent


async def see_it_become_healthy() -> None:
    executor, task = Patient(), make_task(container=CHECKED)
    async with trio.open_nursery() as nursery:
        local, bridge, agent = local_node(executor, nursery)
        agent.task = {task.id: task}.get

        def shown(state: TaskState) -> str:
            agent.tasks = lambda: [(task.id, TaskStatus(state))]
            [one] = local.containers()
            return status_text(one, one.started_at)

        assert shown(TaskState.STARTING) == "Created"
        bridge.perform(Perform(task, Operation.START, NodeDescription()))
        await trio.sleep(1.5)
        assert shown(TaskState.STARTING) == "Up Less than a second (health: starting)"
        executor.well = True
        await trio.sleep(1)
        assert shown(TaskState.RUNNING) == "Up Less than a second (healthy)"
        nursery.cancel_scope.cancel()


def test_a_container_says_how_healthy_it_is() -> None:
    trio.run(see_it_become_healthy, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("container", "command"),
    [
        (ContainerSpec("host:2"), "look after"),
        (ContainerSpec("host", args=("at", "it")), "look at it"),
        (ContainerSpec("host", command=("sleep",)), "sleep"),
        (ContainerSpec("gone", args=("x",)), "x"),
    ],
)
async def test_a_container_says_what_it_runs(container: ContainerSpec, command: str) -> None:
    """With what its image says, if the node still knows that image."""
    async with trio.open_nursery() as nursery:
        local, _, agent = local_node(Patient(), nursery)
        agent.tasks = lambda: [("t1", TaskStatus(TaskState.RUNNING))]
        agent.task = {"t1": make_task(container=container)}.get
        [one] = local.containers()
        assert listed(one, {}, 0.0)["Command"] == command
