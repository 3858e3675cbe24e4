"""What a thousand agents cost one manager: processor time and memory.

``python benchmarks/agents.py [--agents 1000] [--seconds 30] [--json]``: one manager as an OS
process, over mutual TLS. Other processes play the agents: real agents (machines), each with a
certificate, a connection and a session of its own, but no executor. They join, idle at the default
heartbeat period (5 s), and then get one task each, which they call running at once. Processor time
and memory are the manager's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from pyswarm import Cluster
from pyswarm.agent import (
    Agent,
    FromManager,
    ManagersKnown,
    Operation,
    OperationDone,
    Perform,
    Started,
    Tick,
    ToManager,
)
from pyswarm.ca import JoinToken
from pyswarm.env import Rng
from pyswarm.errors import Unavailable
from pyswarm.model import NodeDescription, NodeState, Platform, Resources, TaskState
from pyswarm.model.session import ManagerAddress, ToAgent
from pyswarm.runtime import TlsNetwork
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.tls import joining
from pyswarm.runtime.tls.exchange import JoinWanted

AGENTS_A_PROCESS = 250
JOINING_AT_ONCE = 2  # a process; together less than a manager lets in at once
RESOURCES = Resources(nano_cpus=4_000_000_000, memory_bytes=8 << 30)
ADDR = "127.0.0.2:24477"
LOOK_S = 0.2
GIVE_UP_S = 300.0


# -- the agents' processes


class Player:
    """One agent with a certificate and an endpoint of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.description = NodeDescription(
            hostname=f"agent-{number}", platform=Platform("linux", "x86_64"), resources=RESOURCES
        )
        self.has_session = False

    async def run(self, root: bytes, token: str, limit: trio.CapacityLimiter) -> None:
        network = TlsNetwork().for_node("127.0.0.3:0", None)
        key, csr = joining.new_request()
        wanted = JoinWanted(
            f"agent {os.getpid()} {self.number}", token, network.advertised, self.description, csr
        )
        async with limit:
            given, network.credentials = await insist(root, wanted, key)
        self._agent = Agent(given.node_id, self.description, Rng(self.number))
        self._news = trio.Event()
        self._door = network.attach(None, lambda: None, self._hear)
        async with self._door.serving(lambda addr: None):
            known = tuple(ManagerAddress(one.node_id, one.addr) for one in given.managers)
            self._step(ManagersKnown(known))
            while True:
                at = self._agent.wake_at()
                pause = GIVE_UP_S if at is None else max(0.0, at - time.monotonic())
                with trio.move_on_after(pause):
                    await self._news.wait()
                self._news = trio.Event()
                if at is not None and time.monotonic() >= at:
                    self._step(Tick())

    def _hear(self, identity: Any, addr: str, message: Any) -> None:
        if identity is not None and isinstance(message, ToAgent):
            self._step(FromManager(ManagerAddress(identity.node_id, addr), message))

    def _step(self, event: Any) -> None:
        todo = [event]
        while todo:
            for effect in self._agent.step(time.monotonic(), todo.pop()):
                if isinstance(effect, ToManager):
                    self._door.send(effect.manager.addr, effect.message, effect.manager.node_id)
                elif isinstance(effect, Perform) and effect.operation is not Operation.WAIT:
                    is_start = effect.operation is Operation.START
                    result = Started(effect.task.id, 1) if is_start else None
                    todo.append(OperationDone(effect.task.id, effect.operation, result))
        self._news.set()


async def insist(root: bytes, wanted: JoinWanted, key: bytes) -> tuple[Any, Any]:
    """Join, however busy the manager is."""
    while True:
        try:
            return await joining.join([ADDR], root, wanted, key)
        except Unavailable:
            pass


async def play(first: int, count: int) -> None:
    token = sys.stdin.readline().strip()
    root, _ = await joining.pinned_root([ADDR], JoinToken.parse(token))
    limit = trio.CapacityLimiter(JOINING_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for number in range(first, first + count):
            nursery.start_soon(Player(number).run, root, token, limit)
        await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


# -- the manager's process


def used() -> tuple[float, float]:
    """Processor seconds and MiB of this process (shared pages in proportion)."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return time.process_time(), int(line.split()[1]) / 1024
    raise AssertionError("no Pss")


async def measured(agents: int, seconds: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []

    def row(what: str, value: float, unit: str, work: str) -> None:
        rows.append({"what": what, "value": round(value, 4), "unit": unit, "workload": work})

    async with Cluster.init(listen_addr=ADDR, executor=CallableExecutor({})) as cluster:
        _, alone = used()
        token = await cluster.join_token("worker")
        players = [
            subprocess.Popen(  # noqa: ASYNC220 - it takes a moment, before anything is measured
                [sys.executable, __file__, "--play", str(first), str(count)],
                stdin=subprocess.PIPE,
                text=True,
            )
            for first in range(0, agents, AGENTS_A_PROCESS)
            if (count := min(AGENTS_A_PROCESS, agents - first))
        ]
        try:
            began, cpu = time.monotonic(), used()[0]
            for player in players:
                assert player.stdin is not None
                player.stdin.write(token + "\n")
                player.stdin.flush()
            store = cluster._member.node.store
            await until(
                lambda: sum(node.state is NodeState.READY for node in store.nodes()) == agents + 1
            )
            took = time.monotonic() - began
            work = f"{agents} agents, TLS, eight at once; sessions beat meanwhile"
            row("join, all agents", took, "s", work)
            row(
                "processor of the manager, join", (used()[0] - cpu) / agents * 1e3, "ms/agent", work
            )

            await trio.sleep(5.0)
            cpu, _ = used()
            await trio.sleep(seconds)
            after, memory = used()
            work = f"{agents} idle sessions, heartbeat period 5 s, {seconds:g} s"
            row(
                "processor of the manager, idle", (after - cpu) / seconds * 100, "% of a core", work
            )
            row("memory of the manager", memory, "MiB", work)
            row("memory of a session", (memory - alone) / agents * 1024, "KiB", work)

            cpu, _ = used()
            began = time.monotonic()
            await cluster.services.create(
                "web", image="x", mode="global", constraints=["node.role==worker"]
            )
            await until(
                lambda: sum(task.state is TaskState.RUNNING for task in store.tasks()) == agents
            )
            work = f"one task on each of {agents} agents"
            row("create to all running", time.monotonic() - began, "s", work)
            row(
                "processor of the manager, tasks", (used()[0] - cpu) / agents * 1e3, "ms/task", work
            )
        finally:
            for player in players:
                player.kill()
                player.wait()
    return rows


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(GIVE_UP_S):
        while not condition():  # noqa: ASYNC110 - the store tells nobody
            await trio.sleep(LOOK_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", nargs=2, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection is an open file
    if chosen.play:
        trio.run(partial(play, *chosen.play))
        return
    rows = trio.run(measured, chosen.agents, chosen.seconds)
    if not chosen.json:
        for one in rows:
            print(f"{one['what']:<34} {one['value']:>10} {one['unit']:<11} {one['workload']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
