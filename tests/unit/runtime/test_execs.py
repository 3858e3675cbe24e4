"""What a node keeps of commands beside its tasks: for a while, and not too many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from pyswarm.api.asks import RunExec
from pyswarm.api.errors import Refused
from pyswarm.api.local import ExecWish
from pyswarm.errors import ResourceExhausted, Unimplemented
from pyswarm.runtime.execs import EXECS_MAX, FORGET_S, Execs
from pyswarm.runtime.executors.execution import Command, CommandFailed

WISH = ExecWish(argv=("x",), tty=True, stdin=True, stdout=True)


class Execution:
    """A command that writes one thing, and ends when it is told to."""

    def __init__(self) -> None:
        self.pid = 7
        self.exit_code: int | None = None
        self.fed: list[bytes] = []
        self.is_closed = False
        self.output: Iterator[tuple[str, bytes]] = iter([("stdout", b"hi")])

    async def read(self) -> tuple[str, bytes] | None:
        return next(self.output, None)

    async def feed(self, data: bytes) -> None:
        self.fed.append(data)

    def close(self) -> None:
        self.is_closed = True


class World:
    """An executor and a clock, and the commands between them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: Exception | None = None
        self.begun: list[tuple[str, Command]] = []
        self.executions: list[Execution] = []
        clock: Any = SimpleNamespace(monotonic=lambda: self.now)
        ids = count()
        self.execs = Execs(lambda: self, clock, lambda size: next(ids).to_bytes(size, "big"))

    async def execute(self, task_id: str, command: Command) -> Execution:
        if self.failure is not None:
            raise self.failure
        self.begun.append((task_id, command))
        self.executions.append(Execution())
        return self.executions[-1]

    def create(self) -> str:
        return self.execs.create("t1", "c1", WISH)


async def test_one_runs_with_its_streams() -> None:
    world = World()
    id = world.create()
    running = world.execs.run(RunExec(id, (24, 80)))
    shown = world.execs.show(id)
    assert shown is not None and shown.is_running and not world.begun
    output = await anext(running)
    assert (output.stream, output.data) == ("stdout", b"hi")
    [(task_id, command)] = world.begun
    assert (task_id, command.argv, command.tty, command.size) == ("t1", ("x",), True, (24, 80))
    await running.feed(b"in")
    [execution] = world.executions
    assert execution.fed == [b"in"]
    execution.exit_code = 3
    with pytest.raises(StopAsyncIteration):
        await anext(running)
    await running.aclose()
    shown = world.execs.show(id)
    assert shown is not None and not shown.is_running and execution.is_closed
    assert (shown.exit_code, shown.pid, shown.container_id) == (3, 7, "c1")


async def test_why_it_cannot_begin_is_what_it_writes() -> None:
    world = World()
    world.failure = CommandFailed("no such thing", 127)
    id = world.create()
    running = world.execs.run(RunExec(id))
    assert (await anext(running)).data == b"no such thing\r\n"
    await running.feed(b"nobody's")
    with pytest.raises(StopAsyncIteration):
        await anext(running)
    await running.aclose()
    shown = world.execs.show(id)
    assert shown is not None and shown.exit_code == 127


async def test_a_client_that_goes_before_it_began() -> None:
    world = World()
    id = world.create()
    await world.execs.run(RunExec(id)).aclose()
    shown = world.execs.show(id)
    assert shown is not None and shown.exit_code == 126


async def test_one_runs_alone() -> None:
    world = World()
    id = world.create()
    await world.execs.start(id)
    _, command = world.begun[0]
    assert (command.tty, command.stdin, command.stdout) == (False, False, False)
    world.failure = CommandFailed("no such thing")
    with pytest.raises(Refused, match="no such thing"):
        await world.execs.start(world.create())


async def test_they_are_forgotten() -> None:
    world = World()
    never, runs, ended = world.create(), world.create(), world.create()
    await world.execs.start(runs)
    await world.execs.start(ended)
    world.now += FORGET_S - 1
    assert world.execs.show(never) is not None
    world.executions[1].exit_code = 0
    world.now += 1
    assert world.execs.show(never) is None and world.execs.show(runs) is not None
    assert world.execs.show(ended) is not None  # a second ago it was seen to run
    world.now += FORGET_S
    assert world.execs.show(ended) is None and world.execs.show(runs) is not None


async def test_there_are_not_too_many() -> None:
    world = World()
    first = world.create()
    for _ in range(EXECS_MAX - 1):
        await world.execs.start(world.create())
    last = world.create()  # in the place of the first one, which never began
    assert world.execs.show(first) is None
    await world.execs.start(last)
    with pytest.raises(ResourceExhausted):
        world.create()


def test_tasks_that_are_no_processes() -> None:
    clock: Any = SimpleNamespace(monotonic=lambda: 0.0)
    execs = Execs(object, clock, bytes)
    with pytest.raises(Unimplemented):
        execs.create("t1", "c1", WISH)


async def test_a_client_that_is_cancelled_while_it_begins() -> None:
    world = World()
    id = world.create()

    async def never(task_id: str, command: Command) -> None:
        await trio.sleep_forever()

    world.execute = never  # type: ignore[method-assign, assignment]
    running = world.execs.run(RunExec(id))
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(running)
    await running.aclose()
    shown = world.execs.show(id)
    assert shown is not None and shown.exit_code == 126
