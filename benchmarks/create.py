"""``services.create`` with many replicas: until all are assigned, and until all run.

One manager, memory storage, tasks that are async functions (``CallableExecutor``) on the manager
and on four workers of the same process. All tasks are created, addressed and placed in ONE commit,
so "assigned" is what one call takes. Full garbage collections that fell inside are said.

    python benchmarks/create.py [--replicas 1000] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from typing import Any

import trio

from pyswarm import LocalSwarm
from pyswarm.agent import TaskContext
from pyswarm.model import TaskState

WORKERS = 4


async def idle(task: TaskContext) -> None:
    """A task that does nothing, for ever."""
    await trio.sleep_forever()


async def one_round(swarm: LocalSwarm, name: str, replicas: int) -> dict[str, float]:
    """Create a service, wait until it runs, remove it."""
    cluster = swarm["node-1"]
    collections = sum(generation["collections"] for generation in gc.get_stats()[2:])
    start = time.perf_counter()
    service = await cluster.services.create(name, image="idle", replicas=replicas)
    assigned_s = time.perf_counter() - start
    tasks = [task.value for task in await service.tasks()]
    versions = {task.created_at for task in tasks}
    assert len(tasks) == replicas and len(versions) == 1, "more than one commit"
    assert all(task.state >= TaskState.ASSIGNED for task in tasks)
    collections = sum(generation["collections"] for generation in gc.get_stats()[2:]) - collections
    await service.wait_converged(timeout=120.0)
    running_s = time.perf_counter() - start
    await service.remove()
    while True:
        if not await cluster.tasks.list():
            break
        await trio.sleep(0.05)
    return {"assigned_s": assigned_s, "running_s": running_s, "full_collections": collections}


async def measure(replicas: int, rounds: int) -> list[dict[str, Any]]:
    """The rows: the median of the rounds, the first one (cold) apart."""
    async with LocalSwarm(managers=1, workers=WORKERS, images={"idle": idle}) as swarm:
        results = [
            await one_round(swarm, f"service-{number}", replicas) for number in range(rounds + 1)
        ]
    cold, warm = results[0], results[1:]
    workload = f"1 manager in memory, {WORKERS} workers, {replicas} replicas"
    rows = []
    for what, key in (
        ("create to all assigned", "assigned_s"),
        ("create to all running", "running_s"),
    ):
        values = sorted(one[key] for one in warm)
        rows.append(row(what, values[len(values) // 2], "s", workload))
        rows.append(row(f"{what}, first time", cold[key], "s", workload))
    full = sum(one["full_collections"] for one in results)
    rows.append(row("full collections within create", full, "collections", workload))
    return rows


def row(what: str, value: float, unit: str, workload: str) -> dict[str, Any]:
    """One figure."""
    return {"what": what, "value": round(value, 4), "unit": unit, "workload": workload}


def main() -> None:
    """Run it and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    rows = trio.run(measure, options.replicas, options.rounds)
    if not options.json:
        for one in rows:
            print(f"{one['what']:<36} {one['value']:>10} {one['unit']}   ({one['workload']})")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
