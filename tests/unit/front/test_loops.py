"""Calls across loops: values, errors, cancellation both ways, and the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from pyswarm.errors import Cancelled, NotFound
from pyswarm.runtime.front.loops import Here, own_loop
from pyswarm.runtime.front.streams import Stream


async def where() -> str:
    await trio.lowlevel.checkpoint()
    return threading.current_thread().name


async def fail() -> None:
    raise NotFound("gone")


async def test_a_call_runs_over_there() -> None:
    async with own_loop("over there") as loop:
        assert await loop.run(where) == "over there"
        assert await Here().run(where) != "over there"
        with pytest.raises(NotFound, match="gone"):
            await loop.run(fail)
        many: list[str] = []

        async def one() -> None:
            many.append(await loop.run(where))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        assert many == ["over there"] * 50
    assert "over there" not in [thread.name for thread in threading.enumerate()]


async def test_what_cancels_the_caller_goes_before_the_error_that_follows_from_it() -> None:
    home = trio.lowlevel.current_trio_token()
    async with own_loop() as there:
        for loop in (Here(), there):
            with trio.CancelScope() as scope:

                async def halted(here: bool, scope: trio.CancelScope = scope) -> None:
                    if here:
                        scope.cancel()
                    else:
                        home.run_sync_soon(scope.cancel)
                    raise Cancelled("the node has stopped")

                await loop.run(halted, loop is not there)
            assert scope.cancelled_caught


async def test_cancelling_the_caller_cancels_over_there() -> None:
    """And waits until it is over there too."""
    ended = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(threading.current_thread().name)

    async with own_loop("over there") as loop:
        with trio.move_on_after(0.05) as scope:
            await loop.run(wait)
        assert scope.cancelled_caught
        assert ended == ["over there"]


async def test_the_end_of_the_loop_ends_its_calls() -> None:
    """A caller is told, one that comes later too."""
    told = []

    async def caller() -> None:
        try:
            await loop.run(trio.sleep_forever)
        except Cancelled as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery, own_loop() as loop:
        nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        await loop.run(where)
    assert told == ["the node has stopped"]
    with pytest.raises(Cancelled):
        await loop.run(where)
    loop.soon(lambda: told.append("never"))
    assert len(told) == 1


class Numbers:
    """Gives 1, 2; 3; then ends."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int] | None] = [(1, 2), (3,), None]
        self.opened = 0
        self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def take(self) -> Sequence[int] | None:
        return self.batches.pop(0)

    def close(self) -> None:
        self.closed += 1


async def test_streams_end_and_let_go() -> None:
    """Read to the end, left early, closed by hand, or never begun: closed once each time."""
    loop = Here()
    source = Numbers()
    assert [number async for number in Stream(loop, source)] == [1, 2, 3]
    await trio.testing.wait_all_tasks_blocked()
    assert (source.opened, source.closed) == (1, 1)

    source = Numbers()
    async for number in Stream(loop, source):
        assert number == 1
        break
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert source.closed == 1

    source = Numbers()
    async with Stream(loop, source) as stream:
        assert await anext(stream) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await trio.testing.wait_all_tasks_blocked()
    assert source.closed == 1

    source = Numbers()
    Stream(loop, source)
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert (source.opened, source.closed) == (0, 1)
