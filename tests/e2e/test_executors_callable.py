"""What only functions can do: raise, return anything, block their loop, come by the thousand."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.lowlevel

from pyswarm.agent import Exited, TaskContext, TaskFailed
from pyswarm.model.specs import ContainerSpec
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.executors.callable import LOG_LINES_MAX, TaskFunction
from pyswarm.testing.executors import Bench, CallableBehaviours

BOTH = pytest.mark.parametrize("own_thread", [True, False], ids=["own-thread", "host-loop"])


@asynccontextmanager
async def open_bench(function: TaskFunction, own_thread: bool = True) -> AsyncIterator[Bench]:
    images = {"f": function}
    async with CallableExecutor(images, own_thread=own_thread) as executor:
        yield Bench(executor, CallableBehaviours())
    assert not [t for t in threading.enumerate() if t.name.startswith("pyswarm")]


F = ContainerSpec(image="f")


@BOTH
async def test_an_exception_ends_its_task_with_a_traceback_in_the_log(own_thread: bool) -> None:
    async def function(task: TaskContext) -> None:
        task.log("before")
        await trio.lowlevel.checkpoint()
        raise ValueError(f"wrong in {task.name}")

    async with open_bench(function, own_thread) as bench:
        id = await bench.start(F)
        assert await bench.executor.wait(id) == Exited(1, "ValueError")
        lines = [(line.stream, line.data.decode()) async for line in bench.executor.logs(id)]
        assert lines[0] == ("stdout", "before")
        assert lines[1] == ("stderr", "Traceback (most recent call last):")
        assert lines[-1] == ("stderr", f"ValueError: wrong in bench.1.{id}")


@BOTH
async def test_a_group_of_exceptions_too(own_thread: bool) -> None:
    async def fail() -> None:
        raise KeyError("inner")

    async def function(task: TaskContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    async with open_bench(function, own_thread) as bench:
        id = await bench.start(F)
        assert await bench.executor.wait(id) == Exited(1, "ExceptionGroup")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        *[(None, 0), (0, 0), (3, 3), (257, 1), (True, 0), ("text", 0)],
        *[(SystemExit(4), 4), (SystemExit(), 0), (SystemExit("why"), 1)],
    ],
    ids=repr,
)
async def test_what_it_returns_is_its_exit_code(result: object, code: int) -> None:
    async def function(task: TaskContext) -> object:
        await trio.lowlevel.checkpoint()
        if isinstance(result, BaseException):
            raise result
        return result

    async with open_bench(function) as bench:
        assert (await bench.executor.wait(await bench.start(F))).code == code


@BOTH
async def test_stopping_cancels_and_leaves_time_to_clean_up(own_thread: bool) -> None:
    async def function(task: TaskContext) -> None:
        try:
            task.log("ready")
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                task.log("cleaned up")

    async with open_bench(function, own_thread) as bench:
        id = await bench.start(F, grace=1000.0)
        await bench.line(id, "ready")
        await bench.executor.shutdown(id)
        assert (await bench.executor.wait(id)).code == 143
        assert [line.data async for line in bench.executor.logs(id)][-1] == b"cleaned up"


@BOTH
async def test_stopping_before_it_began(own_thread: bool) -> None:
    began = []

    async def function(task: TaskContext) -> None:
        began.append(task.id)
        await trio.sleep_forever()

    async with open_bench(function, own_thread) as bench:
        id = await bench.start(F)
        await bench.executor.shutdown(id)
        assert (await bench.executor.wait(id)).code == 143


async def test_what_blocks_its_own_thread_leaves_the_host_alone() -> None:
    release = threading.Event()

    async def function(task: TaskContext) -> None:
        release.wait()
        await trio.lowlevel.checkpoint()

    async with open_bench(function) as bench:
        id = await bench.start(F)
        for _ in range(100):  # the host's loop goes on
            await trio.lowlevel.checkpoint()
        release.set()
        assert (await bench.executor.wait(id)).code == 0


async def test_arguments_secrets_and_configs() -> None:
    seen: list[TaskContext] = []

    async def function(task: TaskContext) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(task)

    async with open_bench(function) as bench:
        await bench.run(ContainerSpec(image="f:latest", args=("a", "b")), env=("K=v",))
    (task,) = seen
    assert (task.args, task.env["K"], task.service_name, task.slot) == (("a", "b"), "v", "bench", 1)
    assert (task.node_id, task.hostname) == ("node1", "host1")


async def test_registered_functions_take_each_others_place() -> None:
    async def one(task: TaskContext) -> None:
        await trio.lowlevel.checkpoint()
        task.log("one")

    async def two(task: TaskContext) -> None:
        await trio.lowlevel.checkpoint()
        task.log("two")

    async with open_bench(one) as bench:
        assert await bench.run(F) == ["one"]
        assert isinstance(bench.executor, CallableExecutor)
        bench.executor.register("f", two)
        assert await bench.run(F) == ["two"]


async def test_a_log_is_bounded() -> None:
    async def function(task: TaskContext) -> None:
        await trio.lowlevel.checkpoint()
        for number in range(LOG_LINES_MAX + 5):
            task.log(str(number))

    async with open_bench(function) as bench:
        lines = await bench.run(F)
        assert (len(lines), lines[0]) == (LOG_LINES_MAX, "5")


async def test_a_thousand_tasks() -> None:
    async def function(task: TaskContext) -> int:
        await trio.sleep_forever()
        return 1

    async with open_bench(function) as bench:
        ids = [await bench.start(F) for _ in range(1000)]
        async with trio.open_nursery() as nursery:
            for id in ids:
                nursery.start_soon(bench.executor.shutdown, id)
        assert {(await bench.executor.wait(id)).code for id in ids} == {143}


async def test_a_closed_executor_takes_no_more() -> None:
    async with open_bench(CallableBehaviours().images()["runs"]) as bench:
        await bench.executor.aclose()
        with pytest.raises(TaskFailed, match="closed"):
            await bench.executor.prepare(bench.task(attrs.evolve(F, args=("x",))))


async def test_killing_cancels_everything() -> None:
    async def function(task: TaskContext) -> None:
        task.log("ready")
        await trio.sleep_forever()

    async with open_bench(function) as bench:
        id = await bench.start(F)
        await bench.line(id, "ready")
        assert isinstance(bench.executor, CallableExecutor)
        bench.executor.kill()
        assert (await bench.executor.wait(id)).code == 143
