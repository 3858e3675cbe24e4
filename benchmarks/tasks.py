"""What a task costs on a node of processes: time and memory of a start, many at once, many idle.

``python benchmarks/tasks.py [--json] [--idle N]``. As root a start is measured with a sandbox too
(mount namespace, control groups, two secrets).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path

import trio

from pyswarm import Cluster
from pyswarm.agent import TaskContext, task_context
from pyswarm.agent.executor import TaskFile
from pyswarm.model import ContainerSpec, Replicated, ServiceSpec, Task, TaskSpec
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.runtime.executors import ProcessExecutor
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.usage import below

STARTS = 30
REPLICAS = 50
IDLE = 200
IDLE_S = 5.0


def task(number: int, *, full: bool) -> TaskContext:
    container = ContainerSpec("host", command=("sleep", "1000"))
    limits = Limits(10**9, 64 << 20, 20) if full else Limits()
    names = ("one", "two") if full else ()
    files = [TaskFile("secret", name, f"/run/secrets/{name}", b"x") for name in names]
    return task_context(
        Task(f"t{number}", "s1", TaskSpec(container, resources=ResourceRequirements(limits))),
        hostname="",
        files={one.path: one for one in files},
    )


async def start(executor: ProcessExecutor, one: TaskContext) -> None:
    await executor.prepare(one)
    await executor.start(one.id)


def memory_of(pid: int) -> int:
    """Bytes that would be free without this process (shared pages in proportion)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


async def starts(*, full: bool) -> list[dict[str, object]]:
    """One after the other."""
    took = []
    async with ProcessExecutor() as executor:
        for number in range(STARTS):
            begun = time.perf_counter()
            await start(executor, task(number, full=full))
            took.append(time.perf_counter() - begun)
        processes = below(os.getpid())
        memory = sum(map(memory_of, processes)) / STARTS
    kind = "sandbox, limits and two secrets" if full else "bare"
    work = f"{STARTS} starts one after the other"
    return [
        row(f"start of a task, {kind}", sorted(took)[STARTS // 2] * 1e3, "ms", work),
        row(f"memory of a task, {kind}", memory / 2**20, "MiB", "supervisor and `sleep`, Pss"),
    ]


async def at_once() -> list[dict[str, object]]:
    async with ProcessExecutor() as executor:
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(REPLICAS):
                nursery.start_soon(start, executor, task(number, full=False))
        took = time.perf_counter() - begun
    return [row(f"{REPLICAS} tasks from nothing to running", took, "s", "at once, bare")]


async def replicas() -> list[dict[str, object]]:
    """The whole way: a service of a swarm of one node, whose replicas are seen to run."""

    address = "127.0.0.1"
    async with Cluster.init(
        executor=ProcessExecutor(), advertise_addr=address, listen_addr=f"{address}:0"
    ) as cluster:
        await cluster.wait_ready()
        container = ContainerSpec("host", command=("sleep", "1000"))
        spec = ServiceSpec("many", TaskSpec(container), Replicated(REPLICAS))
        begun = time.perf_counter()
        service = await cluster.services.create(spec)
        await service.wait_converged(timeout=60)
        took = time.perf_counter() - begun
    work = f"{REPLICAS} replicas on a node, bare"
    return [row("a service created until it runs", took, "s", work)]


async def idle(count: int) -> list[dict[str, object]]:
    async with ProcessExecutor() as executor:
        before = memory_of(os.getpid())
        for number in range(count):
            await start(executor, task(number, full=False))
        memory = memory_of(os.getpid()) - before
        begun = time.process_time()
        await trio.sleep(IDLE_S)
        cpu = (time.process_time() - begun) / IDLE_S
        below_it = sum(map(memory_of, below(os.getpid())))
    work = f"{count} idle tasks, the node's own process"
    return [
        row("processor of the node", cpu * 100, "%", work),
        row("memory of the node per task", memory / count / 1024, "KiB", work),
        row(
            "memory of an idle task",
            below_it / count / 2**20,
            "MiB",
            f"{count} of them, with supervisors and what those are forked from, Pss",
        ),
    ]


def allow_descriptors() -> None:
    """One for each task: the line to its supervisor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def row(what: str, value: float, unit: str, workload: str) -> dict[str, object]:
    return {"what": what, "value": round(value, 3), "unit": unit, "workload": workload}


async def measure(count: int) -> list[dict[str, object]]:
    rows = await starts(full=False)
    if can_make_namespaces():
        rows += await starts(full=True)
    return rows + await at_once() + await replicas() + await idle(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--idle", type=int, default=IDLE, help="how many idle tasks")
    options = parser.parse_args()
    allow_descriptors()
    rows = trio.run(measure, options.idle)
    if not options.json:
        for one in rows:
            print(f"{one['what']:<55}{one['value']:>10} {one['unit']:<5}{one['workload']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
