"""The swarm in other people's programs: blocking code, asyncio programs, their pytest runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import blocking
from pyswarm.cluster import Cluster, run_in_asyncio
from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.front import Converged
from pyswarm.runtime.storage import MemoryDirectory
from swarms import IMAGES, WAIT_S, executor

# -- blocking


def test_the_same_names_as_blocking_calls() -> None:
    """Verbs, collections, attributes, iteration and errors; no thread stays behind."""
    network = MemoryNetwork()
    with blocking.Cluster.init(network=network, executor=executor(), name="node-1") as cluster:
        web = cluster.services.create("web", image="sleeper", replicas=2)
        outcome = web.wait_converged(timeout=WAIT_S)
        assert isinstance(outcome, Converged)
        assert [task.slot for task in outcome.tasks] == [1, 2]
        web.scale(1)
        web.wait_converged(timeout=WAIT_S)
        assert web.spec.mode.replicas == 1
        assert [task.name for task in web.running()] == [outcome.tasks[0].name]
        assert cluster.services.list() == [web]
        assert cluster.services.get(web.id) == web
        assert len({web, cluster.services.get("web")}) == 1
        assert repr(web) == f"<ServiceHandle web {web.id}>"
        assert "scale" in dir(web)
        cluster.node.label(disk="ssd")
        assert cluster.nodes.get("self").labels == {"disk": "ssd"}
        assert [line.text for line in outcome_logs(web)] == [f"hello from {outcome.tasks[0].name}"]
        with cluster.events(after=0) as events:
            assert next(event.kind for event in events if event.kind == "task") == "task"
        with pytest.raises(NotFound, match="service nope"):
            cluster.services.get("nope")
        config = cluster.configs.create("motd", "hi")
        cluster.services.create("reader", image="reader", configs=[config])
        assert cluster.status().services == 2

        token = cluster.join_token("worker")
        with blocking.Cluster.join(
            cluster.addr, token, network=network, executor=executor(), name="node-2"
        ) as worker:
            assert len(cluster.nodes.list()) == 2
            with pytest.raises(FailedPrecondition):
                worker.services.list()
    assert [thread.name for thread in threading.enumerate() if "pyswarm" in thread.name] == []
    with pytest.raises(FailedPrecondition, match="does not run"):
        cluster.status()


def outcome_logs(service: Any) -> list[Any]:
    [task] = service.running()
    return list(task.logs())


def test_blocking_errors_come_out_where_they_belong() -> None:
    """Bad arguments at once; a node that cannot start on entering; the block's own as itself."""
    with pytest.raises(InvalidArgument):
        blocking.Cluster.init(subnet_size=99)
    state = MemoryDirectory()
    with (
        pytest.raises(ZeroDivisionError),
        blocking.Cluster.open_or_init(state, executor=executor()) as cluster,
    ):
        cluster.wait_ready(timeout=WAIT_S)
        raise ZeroDivisionError
    with blocking.Cluster.open(state, executor=executor()) as cluster:
        cluster.wait_ready(timeout=WAIT_S)
    with pytest.raises(FailedPrecondition, match="already part of a swarm"):
        blocking.Cluster.init(state_dir=state, executor=executor()).__enter__()
    assert [thread.name for thread in threading.enumerate() if "pyswarm" in thread.name] == []


# -- asyncio


def test_a_swarm_in_an_asyncio_program() -> None:
    """Both loops go on in one thread; the value and the error come back."""

    async def swarm(name: str) -> str:
        async with Cluster.init(executor=executor()) as cluster:
            web = await cluster.services.create(name, image="sleeper")
            await web.wait_converged(timeout=WAIT_S)
            return str((await cluster.services.get(name)).name)

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        assert await run_in_asyncio(swarm, "web") == "web"
        with pytest.raises(InvalidArgument):
            await run_in_asyncio(swarm, "no spaces")
        ticking.cancel()
        assert ticks > 3

    asyncio.run(main())


def test_cancelling_the_asyncio_task_stops_the_swarm() -> None:
    """The block is left properly before the task is over."""
    left = []
    is_up = asyncio.Event()

    async def swarm() -> None:
        try:
            async with Cluster.init(executor=executor()) as cluster:
                await cluster.services.create("web", image="sleeper")
                left.append("up")
                is_up.set()
                await trio.sleep_forever()
        finally:
            left.append("down")

    async def main() -> None:
        task = asyncio.create_task(run_in_asyncio(swarm))
        await is_up.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left == ["up", "down"]

    asyncio.run(main())


# -- pytest

TESTS = """
import trio


async def sleeper(task):
    await trio.sleep_forever()


def test_blocking(blocking_swarm):
    swarm = blocking_swarm(managers=1, workers=1, images={"sleeper": sleeper})
    cluster = swarm.managers[0]
    web = cluster.services.create("web", image="sleeper", replicas=2)
    assert len(web.wait_converged(timeout=20).tasks) == 2
    name = swarm.crash(swarm.workers[0])
    assert [swarm.name_of(node) for node in swarm.nodes] == ["node-1"]
    assert swarm.restart(name).node.name == name


def test_trio(local_swarm):
    async def main():
        async with local_swarm(managers=1, workers=0, images={"sleeper": sleeper}) as swarm:
            web = await swarm.managers[0].services.create("web", image="sleeper")
            await web.wait_converged(timeout=20)

    trio.run(main)
"""


def test_the_fixtures_for_other_peoples_tests(tmp_path: Path) -> None:
    """In a pytest of its own, as a user's project has it."""
    (tmp_path / "test_theirs.py").write_text(TESTS)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pyswarm.testing.plugin", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_block_of_any_kind() -> None:
    """Whatever has verbs can be used from plain code: here a whole local swarm."""
    from pyswarm.testing import LocalSwarm

    make: Callable[[str], Any] = lambda name: executor()  # noqa: E731
    with blocking.Block(LocalSwarm(1, 1, executor=make)) as swarm:
        leader = swarm.leader()
        assert [node.is_leader for node in swarm.nodes] == [True, False]
        assert leader.addr == "node-1"
        assert set(IMAGES) >= {"sleeper"}
