"""One member of the Raft benchmark: PySyncObj. See ``raft.py``."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

from raft_processes import Pauses, answer, setup, summary

try:
    from pysyncobj import SyncObj, SyncObjConf, replicated
except ModuleNotFoundError:
    answer({"error": "PySyncObj is not installed (the extra `bench`)"})
    raise SystemExit(0) from None


class Counter(SyncObj):  # type: ignore[misc]
    """The state machine: counts."""

    def __init__(self, id: str, addresses: dict[str, str], conf: Any) -> None:
        others = [address for other, address in addresses.items() if other != id]
        super().__init__(addresses[id], others, conf)
        self.value = 0

    @replicated  # type: ignore[untyped-decorator]
    def add(self, data: bytes) -> int:
        self.value += 1
        return self.value


class Load:
    """So many proposals in flight; the next one is made where one is answered."""

    def __init__(self, counter: Counter, job: dict[str, Any]) -> None:
        self.counter = counter
        self.data = os.urandom(job["size"])
        self.latencies: list[float] = []
        self.left = job["inflight"]
        self.began = perf_counter()
        self.end = self.began + job["seconds"]
        self.most = job["requests"] - job["inflight"]
        self.over = threading.Event()

    def propose(self) -> None:
        then = perf_counter()
        if then >= self.end or len(self.latencies) >= self.most:
            self.left -= 1
            if not self.left:
                self.over.set()
            return

        def done(_: Any, error: Any) -> None:
            if not error:
                self.latencies.append(perf_counter() - then)
            self.propose()

        self.counter.add(self.data, callback=done)

    def run(self) -> dict[str, Any]:
        pauses.take()
        for _ in range(self.left):
            self.propose()
        self.over.wait(self.end - self.began + 20)
        found = summary(self.latencies, perf_counter() - self.began)
        return {**found, "gc_ms": pauses.take()}


def main() -> None:
    told = setup()
    id = str(told["id"])
    options: dict[str, Any] = {"appendEntriesUseBatch": told["tuned"]}
    if told["tuned"]:
        options |= {"autoTickPeriod": 0.005, "appendEntriesPeriod": 0.005}
    if told["journal"]:
        options["journalFile"] = str(Path(told["directory"]) / f"{id}.journal")
    counter = Counter(id, told["addresses"], SyncObjConf(**options))
    for line in sys.stdin:
        job = json.loads(line)
        if job["do"] == "leads":
            leader = counter._getLeader()
            answer({"leads": leader is not None and leader == counter.selfNode})
        elif job["do"] == "load":
            answer(Load(counter, job).run())


pauses = Pauses()

if __name__ == "__main__":
    gc.freeze()
    main()
