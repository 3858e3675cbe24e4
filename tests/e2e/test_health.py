"""Health checks of real processes and functions, through the agent."""

from __future__ import annotations

import attrs
import pytest
import trio

from e2e.test_executors_bridge import open_harness
from pyswarm.agent import TaskContext
from pyswarm.model.specs import ContainerSpec, Healthcheck
from pyswarm.model.states import TaskState
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.testing.executors import ShellBehaviours
from unit.agent.world import make_task

SHELL = ShellBehaviours()
UNHEALTHY = "task: non-zero exit (137): dockerexec: unhealthy container"
FOREVER = 'trap "exit 0" TERM; while :; do sleep 60 & wait; done'


def checked(script: str, test: str, **fields: float) -> ContainerSpec:
    check = Healthcheck(("CMD-SHELL", test), interval=0.02, **fields)  # type: ignore[arg-type]
    return attrs.evolve(SHELL.shell(script), healthcheck=check)


async def test_a_process_runs_once_its_check_succeeds() -> None:
    container = attrs.evolve(
        checked(f"sleep 0.1; touch ready; {FOREVER}", 'test -e ready -a "$MOOD" = well'),
        env=("MOOD=well",),
        stop_grace_period=5.0,
    )
    container = attrs.evolve(
        container,
        healthcheck=attrs.evolve(container.healthcheck, start_period=60, start_interval=0.02),
    )
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.RUNNING)
        harness.assign(make_task(container=container, desired=TaskState.SHUTDOWN))
        await harness.until("t1", TaskState.SHUTDOWN)


async def test_a_process_that_is_never_healthy_fails_while_starting() -> None:
    container = checked(FOREVER, "exit 1", retries=2)
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.FAILED)
        status = harness.agent.status("t1")
        assert status is not None
        assert (status.message, status.err, status.exit_code) == ("starting", UNHEALTHY, 137)


async def test_a_process_that_becomes_unhealthy_is_stopped() -> None:
    ill_once_seen = "touch well; until test -e seen; do sleep 0.02; done; rm well"
    check = "test -e well && touch seen"
    container = checked(f"{ill_once_seen}; {FOREVER}", check, retries=2)
    messages = []
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.RUNNING)
        while (status := harness.agent.status("t1")) and status.state is TaskState.RUNNING:
            messages.append(status.message)
            harness.changed = trio.Event()
            await harness.changed.wait()
        assert status is not None
        assert (status.state, status.message, status.err) == (
            TaskState.FAILED,
            "started",
            UNHEALTHY,
        )
    assert messages[0] == "started"
    assert messages[-1] == "unhealthy", "it is taken out of traffic before it has ended"


async def test_a_check_that_takes_too_long_fails_and_leaves_nothing_behind() -> None:
    container = checked(FOREVER, "touch hanging; sleep 1000", retries=1, timeout=0.2)
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.FAILED)
        status = harness.agent.status("t1")
        assert status is not None
        assert status.err == UNHEALTHY


@pytest.mark.parametrize(
    ("code", "state", "err"),
    [(0, TaskState.COMPLETE, ""), (3, TaskState.FAILED, "task: non-zero exit (3)")],
)
async def test_ending_before_the_first_success(code: int, state: TaskState, err: str) -> None:
    container = checked(f"exit {code}", "exit 1", retries=1000)
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", state)
        status = harness.agent.status("t1")
        assert status is not None
        assert status.err == err


async def test_stopping_while_not_yet_healthy() -> None:
    container = attrs.evolve(checked(FOREVER, "exit 1", retries=100_000), stop_grace_period=5.0)
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.STARTING)
        harness.assign(make_task(container=container, desired=TaskState.SHUTDOWN))
        await harness.until("t1", TaskState.SHUTDOWN)


async def test_functions() -> None:
    moods = {"well": True, "hangs": True}

    async def work(task: TaskContext) -> None:
        await trio.sleep_forever()

    async def mood(task: TaskContext) -> bool:
        if task.args[0] == "hangs" and not moods["hangs"]:
            await trio.sleep_forever()
        return moods[task.args[0]]

    executor = CallableExecutor({"work": work}, checks={"mood": mood})
    check = Healthcheck(("CMD", "mood"), interval=0.01, timeout=1.0, retries=1)
    async with open_harness(executor) as harness:
        for name in moods:
            container = ContainerSpec("work", args=(name,), healthcheck=check)
            harness.assign(make_task(name, container=container))
            await harness.until(name, TaskState.RUNNING)
        for name in moods:
            moods[name] = False
            await harness.until(name, TaskState.FAILED)
            status = harness.agent.status(name)
            assert status is not None
            assert status.err == UNHEALTHY
        unknown = Healthcheck(("CMD", "who"), interval=0.01)
        harness.assign(make_task("u", container=ContainerSpec("work", healthcheck=unknown)))
        await harness.until("u", TaskState.REJECTED)
        status = harness.agent.status("u")
        assert status is not None
        assert status.err == "No such health check: who"

        async def who(task: TaskContext) -> bool:
            return True

        executor.register_check("who", who)
        harness.assign(make_task("v", container=ContainerSpec("work", healthcheck=unknown)))
        await harness.until("v", TaskState.RUNNING)


async def test_none_means_no_check() -> None:
    container = attrs.evolve(SHELL.runs("x"), healthcheck=Healthcheck(("NONE",)))
    async with open_harness(ProcessExecutor()) as harness:
        harness.assign(make_task(container=container))
        await harness.until("t1", TaskState.RUNNING)
