"""The driver: what order inputs are taken in, and what becomes of time."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pyswarm.model import Request
from pyswarm.model.requests import RemoveService
from pyswarm.node import Call
from pyswarm.node.calls import Barrier
from pyswarm.node.inputs import Together
from pyswarm.runtime.drive import INPUTS_PER_BREATH, Driver
from pyswarm.runtime.node import CALLS_TOGETHER, gathered

WAKE = "wake"


class Clock:
    """trio's own, which a test may let run by itself."""

    def monotonic(self) -> float:
        return trio.current_time()

    def realtime(self) -> float:
        return trio.current_time()


class Recorder:
    """A machine that remembers, and has every input performed."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.at: float | None = None

    def step(self, now: float, input: Any) -> list[Any]:
        self.taken.append(input)
        return [input]

    def wake_at(self) -> float | None:
        return self.at


class Ride:
    def __init__(self) -> None:
        self.machine = Recorder()
        self.driver = Driver(self.machine, Clock(), wake=self._wake, perform=self.perform)

    def _wake(self) -> str:
        self.machine.at = None
        return WAKE

    def perform(self, effect: Any) -> None:
        if effect == "stop":
            self.driver.stop()
        elif effect == "again":
            self.driver.post("more")


async def test_inputs_are_taken_in_order_also_those_that_effects_bring() -> None:
    ride = Ride()
    for input in ("again", "x", "stop", "never"):
        ride.driver.post(input)
    await ride.driver.run()
    assert ride.machine.taken == [WAKE, "again", "x", "stop"]
    assert ride.driver.waiting == 2


async def test_inputs_may_come_from_any_thread() -> None:
    ride = Ride()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ride.driver.run)
        await trio.to_thread.run_sync(ride.driver.post, "stop")
    assert ride.machine.taken == [WAKE, "stop"]


async def test_others_get_their_turn_between_many_inputs() -> None:
    ride, seen = Ride(), []

    async def look() -> None:
        while len(ride.machine.taken) < 3 * INPUTS_PER_BREATH:
            seen.append(len(ride.machine.taken))
            await trio.lowlevel.checkpoint()
        ride.driver.stop()

    for number in range(3 * INPUTS_PER_BREATH):
        ride.driver.post(number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ride.driver.run)
        nursery.start_soon(look)
    assert any(1 < count <= 2 * INPUTS_PER_BREATH + 1 for count in seen)


def test_time_wakes_it() -> None:
    trio.run(ride_for_eight_seconds, clock=MockClock(autojump_threshold=0))


async def ride_for_eight_seconds() -> None:
    ride = Ride()
    taken = ride.machine.taken
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ride.driver.run)
        await wait_all_tasks_blocked()
        assert taken == [WAKE]
        ride.machine.at = trio.current_time() + 7.0
        ride.driver.post("x")
        await trio.sleep(6.9)
        assert taken == [WAKE, "x"]
        await trio.sleep(0.2)
        assert taken == [WAKE, "x", WAKE]
        ride.driver.post("stop")
    assert taken[-1] == "stop"


async def test_who_finds_it_asleep_does_its_work_on_the_spot() -> None:
    ride = Ride()
    taken = ride.machine.taken
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ride.driver.run)
        ride.driver.act("early")
        assert taken == []  # it has not begun
        await wait_all_tasks_blocked()
        assert taken == [WAKE, "early"]
        ride.driver.act("again")
        assert taken[2:] == ["again", "more"]
        ride.driver.post("x")
        ride.driver.act("y")
        assert taken[4:] == []  # nobody overtakes
        await wait_all_tasks_blocked()
        assert taken[4:] == ["x", "y"]
        ride.driver.act("stop")
    assert taken[-1] == "stop"


def test_what_is_done_on_the_spot_may_shorten_its_sleep() -> None:
    async def main() -> None:
        ride = Ride()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ride.driver.run)
            for seconds in (7.0, 3.0):
                await wait_all_tasks_blocked()
                ride.machine.at = trio.current_time() + seconds
                ride.driver.act("x")
            await trio.sleep(2.9)
            assert ride.machine.taken == [WAKE, "x", "x"]
            await trio.sleep(0.2)
            assert ride.machine.taken == [WAKE, "x", "x", WAKE]
            ride.driver.act("stop")

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_what_the_machine_raises_is_the_drivers_own_affair() -> None:
    ride = Ride()

    def fail(now: float, input: Any) -> list[Any]:
        raise LookupError(input)

    async def ask() -> None:
        await wait_all_tasks_blocked()
        ride.machine.step = fail  # type: ignore[method-assign]
        ride.driver.act("x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.raises(LookupError):
            await ride.driver.run()


def call(body: Any) -> Call:
    return Call(1, body)


def request() -> Call:
    return call(Request("id", RemoveService("id")))


@pytest.mark.parametrize(
    ("waiting", "sizes"),
    [
        (["x"], [0]),
        ([request()], [0]),
        ([request(), request()], [2]),
        ([request(), "x", request(), request(), call(Barrier())], [0, 0, 2, 0]),
        ([request()] * (CALLS_TOGETHER + 1), [CALLS_TOGETHER, 0]),
    ],
)
def test_requests_that_wait_side_by_side_are_one_input(
    waiting: list[Any], sizes: list[int]
) -> None:
    inbox, found = deque(waiting), []
    while inbox:
        found.append(gathered(inbox))
    assert [len(one.calls) if isinstance(one, Together) else 0 for one in found] == sizes
    unpacked = [
        part for one in found for part in (one.calls if isinstance(one, Together) else [one])
    ]
    assert unpacked == waiting
