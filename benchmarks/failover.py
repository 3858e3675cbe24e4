"""How long a swarm is without a leader, and how soon what a worker ran is placed elsewhere.

``python benchmarks/failover.py [--rounds 30] [--json]``: three managers as OS processes on
loopback over mutual TLS, all with their disks. Each round the leader gets SIGKILL, and a manager
that is left asks for a write until one is accepted; the killed one then comes back from its
directory. Joining is timed on the way, and one worker is killed at the end (the heartbeat period is
Swarm's 5 s: a node is down after three that were missed).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from pyswarm import Cluster
from pyswarm.agent import TaskContext
from pyswarm.errors import SwarmError
from pyswarm.runtime import TlsNetwork
from pyswarm.runtime.executors import CallableExecutor

PORT = 24377
MANAGERS = 3
SETTLE_S = 1.0
TRY_S = 0.002
GIVE_UP_S = 60.0


async def sleeper(task: TaskContext) -> None:
    """Runs until it is stopped."""
    await trio.sleep_forever()


# -- a node's process: commands are lines on standard input, answers lines of JSON


async def node(state_dir: str, listen: str, *join: str) -> None:
    options: dict[str, Any] = {
        "state_dir": state_dir,
        "listen_addr": listen,
        "network": TlsNetwork(),
        "executor": CallableExecutor({"sleeper": sleeper}),
        "name": listen.partition(":")[0],
    }
    if join:
        entered = Cluster.join([join[0]], join[1], **options)
    elif (Path(state_dir) / "state").exists():
        entered = Cluster.open(**options)
    else:
        entered = Cluster.init(**options)
    async with entered as cluster:
        await cluster.wait_ready()
        print(json.dumps({"id": cluster.node_id}), flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            command, _, argument = line.strip().partition(" ")
            print(json.dumps(await obey(cluster, command, argument)), flush=True)


async def obey(cluster: Cluster, command: str, argument: str) -> Any:
    match command:
        case "token":
            return await cluster.join_token(argument)
        case "leads":
            return cluster.is_leader
        case "write":
            return await first_write(cluster, argument)
        case "spread":
            service = await cluster.services.create("web", image="sleeper", replicas=12)
            await service.wait_converged(timeout=GIVE_UP_S)
            return sorted({task.node_id for task in await service.running()})
        case "moved":
            return await moved(cluster, argument)
    raise AssertionError(command)


async def first_write(cluster: Cluster, name: str) -> float:
    """When the first write was accepted, on the clock that all processes share."""
    while True:
        try:
            await cluster.configs.create(name, b"x")
        except SwarmError:
            await trio.sleep(TRY_S)
        else:
            return time.clock_gettime(time.CLOCK_MONOTONIC)


async def moved(cluster: Cluster, node_id: str) -> float:
    """When no task that should run is left on ``node_id``, and all have a node."""
    with trio.fail_after(GIVE_UP_S):
        while True:
            tasks = [task.value for task in await cluster.tasks.list(service="web")]
            wanted = [task for task in tasks if task.desired_state.name in ("RUNNING", "READY")]
            if len(wanted) == 12 and all(one.node_id not in ("", node_id) for one in wanted):
                return time.clock_gettime(time.CLOCK_MONOTONIC)
            await trio.sleep(TRY_S)


# -- the one who measures


class Process:
    """One node."""

    def __init__(self, folder: Path, number: int, *join: str) -> None:
        self.addr = f"127.0.0.{number + 1}:{PORT}"
        self._command = [sys.executable, __file__, "--node", str(folder / f"n{number}"), self.addr]
        self.start(*join)

    def start(self, *join: str) -> None:
        """Also after it was killed."""
        self._process = subprocess.Popen(
            [*self._command, *join], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.id: str = self.answer()["id"]

    def send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, line: str) -> Any:
        self.send(line)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def swarm(rows: list[dict[str, object]]) -> Iterator[tuple[list[Process], Process]]:
    """Three managers and a worker; how long joining took goes into ``rows``."""
    joins: dict[str, list[float]] = {"manager": [], "worker": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nodes = [Process(folder, 1)]
        try:
            for role in ["manager"] * (MANAGERS - 1) + ["worker"]:
                token = nodes[0].ask(f"token {role}")
                began = time.perf_counter()
                nodes.append(Process(folder, len(nodes) + 1, nodes[0].addr, token))
                joins[role].append(time.perf_counter() - began)
            for role, took in joins.items():
                work = "from starting the process to a member with a session"
                rows.append(row(f"join as {role}", statistics.mean(took), work))
            yield nodes[:MANAGERS], nodes[MANAGERS]
        finally:
            for one in nodes:
                one.kill()


def one_round(managers: list[Process], number: int) -> float:
    """Kill the leader; seconds until the next write is accepted."""
    leader = next(one for one in managers if one.ask("leads"))
    witness = next(one for one in managers if one is not leader)
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    leader.kill()
    took: float = witness.ask(f"write c{number}") - began
    leader.start()
    time.sleep(SETTLE_S)
    return took


def row(what: str, value: float, work: str) -> dict[str, object]:
    return {"what": what, "value": round(value, 4), "unit": "s", "workload": work}


def measure(rounds: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with swarm(rows) as (managers, worker):
        took = sorted(one_round(managers, number) for number in range(rounds))
        work = f"{MANAGERS} managers, leader SIGKILL, {rounds} rounds"
        rows.append(row("leader lost to next write, p50", statistics.median(took), work))
        rows.append(row("leader lost to next write, p99", took[(rounds * 99 - 1) // 100], work))
        leader = next(one for one in managers if one.ask("leads"))
        assert worker.id in leader.ask("spread")
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        worker.kill()
        work = "12 replicas on 4 nodes, worker SIGKILL, heartbeat period 5 s"
        rows.append(
            row("worker lost to tasks assigned", leader.ask(f"moved {worker.id}") - began, work)
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--node", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.node:
        trio.run(partial(node, *chosen.node))
        return
    rows = measure(chosen.rounds)
    if not chosen.json:
        for one in rows:
            print(f"{one['what']:<34} {one['value']:>9} {one['unit']}  {one['workload']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
