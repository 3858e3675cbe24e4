"""Swarms for end-to-end tests: one node, or several, running async functions."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import trio

from pyswarm import Cluster
from pyswarm.agent import TaskContext
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.executors import CallableExecutor

WAIT_S = 30.0  # a guard, far above what anything here takes


async def sleeper(task: TaskContext) -> None:
    """Says hello and runs until it is stopped."""
    task.log(f"hello from {task.name}")
    await trio.sleep_forever()


async def finisher(task: TaskContext) -> None:
    """Ends well at once."""
    task.log("done")


async def failer(task: TaskContext) -> None:
    """Ends badly at once."""
    raise RuntimeError("this function always fails")


async def reader(task: TaskContext) -> None:
    """Logs what it can see of its secrets and configs."""
    for path, file in sorted(task.files.items()):
        task.log(f"{path}={file.data.decode()}")
    await trio.sleep_forever()


IMAGES = {"sleeper": sleeper, "finisher": finisher, "failer": failer, "reader": reader}


def executor() -> CallableExecutor:
    """Runs the functions above."""
    return CallableExecutor(dict(IMAGES), own_thread=False)


@asynccontextmanager
async def one_node(**options: Any) -> AsyncIterator[Cluster]:
    """A swarm of one manager."""
    options.setdefault("executor", executor())
    options.setdefault("network", MemoryNetwork())
    async with Cluster.init(name="node-1", **options) as cluster:
        yield cluster


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = WAIT_S
) -> None:
    """Look again and again until ``condition()`` holds."""
    with trio.fail_after(seconds):
        while True:
            found = condition()
            if found is True or (not isinstance(found, bool) and await found):
                return
            await trio.sleep(0.02)


PORTS = range(12_000, 32_000)  # below those that systems give to whoever calls somebody


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses just now, and that no connection gets by chance."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(PORTS)
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports
