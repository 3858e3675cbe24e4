"""An agent with a leader and an executor made of plain calls, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Mapping

from pyswarm.agent import (
    Agent,
    FromManager,
    ManagersKnown,
    Operation,
    OperationDone,
    Perform,
    SavedTask,
    SaveTask,
    ToManager,
)
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.model.objects import Node, NodeDescription, Task
from pyswarm.model.session import (
    Assignments,
    Dependency,
    ManagerAddress,
    OpenSession,
    ReportStatus,
    SessionOpened,
    ToAgent,
)
from pyswarm.model.specs import ContainerSpec, TaskSpec
from pyswarm.model.states import TaskState

LEADER = ManagerAddress("m1", "10.0.0.1:2377")
OTHER = ManagerAddress("m2", "10.0.0.2:2377")


def make_task(id: str = "t1", desired: TaskState = TaskState.RUNNING, **fields: object) -> Task:
    container = fields.pop("container", ContainerSpec(image="host", command=("true",)))
    values = {"slot": 1, "node_id": "n1", "state": TaskState.ASSIGNED, "service_name": "web"}
    spec = TaskSpec(container=container)  # type: ignore[arg-type]
    return Task(id, "s1", spec, desired_state=desired, **(values | fields))  # type: ignore[arg-type]


class World:
    """Steps an agent and keeps what it asked for."""

    def __init__(self, saved: Mapping[str, SavedTask] | None = None, seed: int = 1) -> None:
        self.agent = Agent("n1", NodeDescription(hostname="node-1"), Rng(seed), saved)
        self.now = 100.0
        self.sequence = 0
        self.effects: list[Effect] = []

    def step(self, input: object) -> list[Effect]:
        out = self.agent.step(self.now, input)  # type: ignore[arg-type]
        self.effects += out
        return out

    def say(self, message: ToAgent, manager: ManagerAddress = LEADER) -> list[Effect]:
        return self.step(FromManager(manager, message))

    def open(self, session: str = "session-1") -> list[Effect]:
        """Let the agent know the leader and open its session."""
        self.step(ManagersKnown((LEADER,)))
        return self.say(SessionOpened(session, 5.0, Node("n1"), (LEADER,)))

    def assign(
        self,
        *tasks: Task,
        full: bool = False,
        removed: tuple[str, ...] = (),
        dependencies: tuple[Dependency, ...] = (),
    ) -> list[Effect]:
        full = full or not self.sequence
        self.sequence += 1
        session = self.agent.session_id
        return self.say(Assignments(session, self.sequence, full, tasks, removed, dependencies))

    def done(
        self,
        operation: Operation,
        result: object = None,
        error: SwarmError | None = None,
        task_id: str = "t1",
    ) -> list[Effect]:
        return self.step(OperationDone(task_id, operation, result, error))  # type: ignore[arg-type]

    def state(self, task_id: str = "t1") -> TaskState:
        status = self.agent.status(task_id)
        assert status is not None
        return status.state


def performed(effects: list[Effect]) -> list[Operation]:
    return [e.operation for e in effects if isinstance(e, Perform)]


def sent(effects: list[Effect], kind: type) -> list[object]:
    return [e.message for e in effects if isinstance(e, ToManager) and isinstance(e.message, kind)]


def opened(effects: list[Effect]) -> list[OpenSession]:
    return sent(effects, OpenSession)  # type: ignore[return-value]


def reports(effects: list[Effect]) -> list[ReportStatus]:
    return sent(effects, ReportStatus)  # type: ignore[return-value]


def saved(effects: list[Effect]) -> dict[str, SavedTask]:
    """The task database after these effects."""
    kept: dict[str, SavedTask] = {}
    for effect in effects:
        if isinstance(effect, SaveTask):
            if effect.task is None or effect.status is None:
                kept.pop(effect.task_id, None)
            else:
                kept[effect.task_id] = SavedTask(effect.task, effect.status)
    return kept
