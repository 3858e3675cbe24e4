"""An agent on real executors: whole lives of tasks, and what cancels what."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from pyswarm.agent import (
    Agent,
    AgentStopped,
    Executor,
    Exited,
    FromManager,
    LogLine,
    ManagersKnown,
    Operation,
    OperationDone,
    Perform,
    Started,
    Stop,
    TaskContext,
    TaskFailed,
    TaskGone,
    TaskRejected,
    TemporaryFailure,
    Usage,
)
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.model.objects import Node, NodeDescription, Sealed, Task
from pyswarm.model.session import Assignments, Dependency, Plain, SessionOpened
from pyswarm.model.specs import ConfigReference, ContainerSpec, Healthcheck, SecretReference
from pyswarm.model.states import TaskState
from pyswarm.runtime.executors import CallableExecutor, open_bridge
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.testing.executors import CallableBehaviours, ShellBehaviours
from unit.agent.world import LEADER, make_task

Op = Operation
DESCRIPTION = NodeDescription(hostname="node-1")


class Harness:
    """A small driver: agent and bridge, and a leader that is this test."""

    def __init__(self) -> None:
        self.agent = Agent("n1", DESCRIPTION, Rng(1))
        self.changed = trio.Event()
        self.sequence = 0
        self.stopped = False
        self.bridge: object = None

    def post(self, input: object) -> None:
        for effect in self.agent.step(0.0, input):  # type: ignore[arg-type]
            self.take(effect)
        self.changed.set()

    def take(self, effect: Effect) -> None:
        if isinstance(effect, Perform):
            self.bridge.perform(effect)  # type: ignore[attr-defined]
        self.stopped |= isinstance(effect, AgentStopped)

    def assign(self, *tasks: Task, dependencies: tuple[Dependency, ...] = ()) -> None:
        self.sequence += 1
        full = self.sequence == 1
        message = Assignments("s", self.sequence, full, tasks, dependencies=dependencies)
        self.post(FromManager(LEADER, message))

    async def until(self, task_id: str, state: TaskState) -> None:
        while (status := self.agent.status(task_id)) is None or status.state < state:
            await self.changed.wait()
            self.changed = trio.Event()
        assert status.state is state, status


@asynccontextmanager
async def open_harness(executor: Executor, **options: object) -> AsyncIterator[Harness]:
    harness = Harness()
    async with open_bridge(executor, harness.post, **options) as bridge:  # type: ignore[arg-type]
        harness.bridge = bridge
        harness.post(ManagersKnown((LEADER,)))
        harness.post(FromManager(LEADER, SessionOpened("s", 1e9, Node("n1"), (LEADER,))))
        yield harness


async def test_lives_of_processes() -> None:
    shell = ShellBehaviours()
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(
            make_task("good", container=shell.exits(0)),
            make_task("bad", container=shell.exits(3)),
            make_task("ghost", container=ContainerSpec(image="ghost")),
            make_task("program", container=ContainerSpec(image="host", command=("nope",))),
            make_task("long", container=shell.runs("x")),
            make_task("paused", container=shell.runs("x"), desired=TaskState.READY),
        )
        await harness.until("good", TaskState.COMPLETE)
        await harness.until("bad", TaskState.FAILED)
        await harness.until("ghost", TaskState.REJECTED)
        await harness.until("program", TaskState.FAILED)
        await harness.until("paused", TaskState.READY)
        await harness.until("long", TaskState.RUNNING)
        errors = {id: (status.message, status.err) for id, status in harness.agent.tasks()}
        assert errors["good"] == ("finished", "")
        assert errors["bad"] == ("started", "task: non-zero exit (3)")
        assert errors["ghost"] == ("preparing", "No such image: ghost")
        assert errors["program"][0] == "starting"
        assert errors["program"][1].endswith('"nope": executable file not found in $PATH')
        harness.assign(make_task("long", container=shell.runs("x"), desired=TaskState.SHUTDOWN))
        await harness.until("long", TaskState.SHUTDOWN)
        harness.assign(make_task("paused", container=shell.runs("x"), desired=TaskState.RUNNING))
        await harness.until("paused", TaskState.RUNNING)


async def test_lives_of_functions() -> None:
    spells = CallableBehaviours()
    async with open_harness(CallableExecutor(spells.images())) as harness:
        harness.assign(
            *[make_task(f"t{i}", container=spells.runs("x")) for i in range(200)],
            make_task("bad", container=spells.exits(1)),
        )
        await harness.until("bad", TaskState.FAILED)
        for number in range(200):
            await harness.until(f"t{number}", TaskState.RUNNING)
        harness.post(Stop())
        while not harness.stopped:
            await harness.changed.wait()
            harness.changed = trio.Event()


# -- what cancels what -----------------------------------------------------------------------------


class SlowExecutor:
    """Does nothing until it is told to; notes what was begun, done and cancelled."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self.error: Exception | None = None
        self.seen: TaskContext | None = None

    def describe(self) -> NodeDescription:
        return DESCRIPTION

    async def _do(self, what: str) -> None:
        self.story.append(what)
        gate = self.gates.setdefault(what, trio.Event())
        try:
            await gate.wait()
        except trio.Cancelled:
            self.story.append(f"{what} cancelled")
            raise
        if self.error is not None:
            raise self.error

    async def prepare(self, task: TaskContext, /) -> None:
        self.seen = task
        await self._do("prepare")

    async def start(self, task_id: str, /) -> Started:
        await self._do("start")
        return Started("c")

    async def wait(self, task_id: str, /) -> Exited:
        await self._do("wait")
        return Exited(0)

    async def shutdown(self, task_id: str, /) -> None:
        await self._do("shutdown")

    async def terminate(self, task_id: str, /) -> None:
        await self._do("terminate")

    async def remove(self, task_id: str, /) -> None:
        await self._do("remove")

    async def logs(
        self, task_id: str, /, *, since: float = 0, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[LogLine, None]:
        yield LogLine("stdout", math.inf, b"")

    async def stats(self, task_id: str, /) -> Usage:
        return Usage()

    async def aclose(self) -> None:
        self.story.append("close")


@asynccontextmanager
async def open_slow(**options: object) -> AsyncIterator[tuple[SlowExecutor, object, list[object]]]:
    slow, posted = SlowExecutor(), []  # type: ignore[var-annotated]
    async with open_bridge(slow, posted.append, **options) as bridge:  # type: ignore[arg-type]
        yield slow, bridge, posted


def perform(operation: Operation, task: Task | None = None, **fields: object) -> Perform:
    return Perform(task or make_task(), operation, DESCRIPTION, **fields)  # type: ignore[arg-type]


CANCELS = [
    (Op.PREPARE, Op.SHUTDOWN, True),
    (Op.START, Op.SHUTDOWN, True),
    (Op.WAIT, Op.SHUTDOWN, False),
    (Op.WAIT, Op.TERMINATE, False),
    (Op.SHUTDOWN, Op.TERMINATE, True),
    (Op.PREPARE, Op.REMOVE, True),
    (Op.WAIT, Op.REMOVE, True),
    (Op.TERMINATE, Op.REMOVE, True),
]


@pytest.mark.parametrize(("first", "second", "cancelled"), CANCELS)
async def test_what_cancels_what(first: Operation, second: Operation, cancelled: bool) -> None:
    async with open_slow() as (slow, bridge, posted):
        bridge.perform(perform(first))  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        bridge.perform(perform(second))  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        between = [f"{first} cancelled"] if cancelled else []
        assert slow.story == [str(first), *between, str(second)]
        slow.gates[str(second)].set()
        await trio.testing.wait_all_tasks_blocked()
        assert posted == [OperationDone("t1", second)]
        assert bridge.busy == (0 if cancelled else 1)  # type: ignore[attr-defined]
    assert slow.story[-1] == "close"


async def test_what_is_under_way_is_not_begun_twice() -> None:
    async with open_slow() as (slow, bridge, posted):
        for _ in range(3):
            bridge.perform(perform(Op.START))  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        assert slow.story == ["start"]
        slow.gates["start"].set()
        await trio.testing.wait_all_tasks_blocked()
        assert posted == [OperationDone("t1", Op.START, Started("c"))]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (TaskRejected("no"), TaskRejected, "no"),
        (TemporaryFailure("later"), TemporaryFailure, "later"),
        (trio.TooSlowError(), TemporaryFailure, "it took too long"),
        (ZeroDivisionError("oops"), TaskFailed, "ZeroDivisionError: oops"),
        (OSError(28, "No space left"), TaskFailed, "OSError: [Errno 28] No space left"),
    ],
)
async def test_errors_are_answers(error: Exception, kind: type, text: str) -> None:
    async with open_slow() as (slow, bridge, posted):
        slow.error = error
        bridge.perform(perform(Op.WAIT))  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        slow.gates["wait"].set()
        await trio.testing.wait_all_tasks_blocked()
    (answer,) = posted
    assert isinstance(answer, OperationDone)
    assert type(answer.error) is kind
    assert str(answer.error) == text


class ProbedExecutor(SlowExecutor):
    async def probe(self, task_id: str) -> int:
        await trio.sleep_forever()


@pytest.mark.parametrize("operation", [Op.WAIT, Op.START])
@pytest.mark.parametrize("error", [TaskGone("who?"), TemporaryFailure("later")])
async def test_errors_beside_a_health_check_are_answers(
    operation: Operation, error: SwarmError, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restart, when the node asks for a task that ended with its last life."""
    container = ContainerSpec("host", healthcheck=Healthcheck(("CMD", "true"), interval=0.001))
    slow, posted = ProbedExecutor(), []  # type: ignore[var-annotated]
    async with open_bridge(slow, posted.append) as bridge:
        bridge.perform(perform(operation, make_task(container=container)))
        if operation is Op.START:
            await trio.testing.wait_all_tasks_blocked()
            slow.gates["start"].set()
        await trio.testing.wait_all_tasks_blocked()
        slow.error = error
        slow.gates["wait"].set()
        await trio.testing.wait_all_tasks_blocked()
    assert posted == [OperationDone("t1", operation, error=error)]
    assert not caplog.records


# -- files -----------------------------------------------------------------------------------------

SEALED = Sealed(1, b"nonce", b"retnuh", 6, b"digest")
CONTAINER = ContainerSpec(
    image="host",
    env=("NODE={{.Node.Hostname}}",),
    secrets=(SecretReference("sid", "password"),),
    configs=(ConfigReference("cid", "app", target="/etc/app"),),
)


async def test_payloads_are_opened_and_templates_expanded() -> None:
    def expand_task(task: Task, description: NodeDescription) -> Task:
        assert task.spec.container is not None
        env = tuple(e.replace("{{.Node.Hostname}}", description.hostname) for e in CONTAINER.env)
        container = attrs.evolve(task.spec.container, env=env)
        return attrs.evolve(task, spec=attrs.evolve(task.spec, container=container))

    def expand_file(source: object, data: bytes, context: TaskContext) -> bytes:
        return data.replace(b"{{password}}", context.secrets["password"])

    secret = Dependency("secret", "sid", "password", SEALED)
    config = Dependency("config", "cid", "app", Plain(b"pw={{password}}"), templating="golang")
    slow = SlowExecutor()
    options = {
        "unseal": lambda sealed: sealed.ciphertext[::-1],
        "expand_task": expand_task,
        "expand_file": expand_file,
    }
    async with open_harness(slow, **options) as harness:
        harness.assign(make_task(container=CONTAINER), dependencies=(secret, config))
        await trio.testing.wait_all_tasks_blocked()
    assert slow.seen is not None
    assert slow.seen.secrets == {"password": b"hunter"}
    assert slow.seen.configs == {"app": b"pw=hunter"}
    assert slow.seen.env["NODE"] == "node-1"
    assert list(slow.seen.files) == ["/run/secrets/password", "/etc/app"]
    assert "hunter" not in repr(slow.seen)


async def test_a_payload_that_cannot_be_opened_rejects_the_task() -> None:
    secret = Dependency("secret", "sid", "password", SEALED)
    config = Dependency("config", "cid", "app", Plain(b""))
    async with open_harness(SlowExecutor()) as harness:
        harness.assign(make_task(container=CONTAINER), dependencies=(secret, config))
        await harness.until("t1", TaskState.REJECTED)
        status = harness.agent.status("t1")
        assert status is not None
        assert status.err == "secret password came sealed to this node"
