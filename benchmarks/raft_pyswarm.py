"""One member of the Raft benchmark: a ``RaftNode`` with TLS and a sealed log. See ``raft.py``."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import trio
from raft_callers import load
from raft_measure import tls_contexts
from raft_processes import answer, setup

from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.rafttransport import TcpTransport
from pyswarm.runtime.storage import FileDirectory, Identity


class Counter:
    """The state machine: counts."""

    value = 0

    def apply(self, command: bytes) -> int:
        self.value += 1
        return self.value

    def snapshot(self) -> bytes:
        return b"%d" % self.value

    def restore(self, data: bytes) -> None:
        self.value = int(data)


async def serve(node: RaftNode) -> None:
    async for line in trio.wrap_file(sys.stdin):
        job = json.loads(line)
        if job["do"] == "leads":
            answer({"leads": node.is_leader})
        elif job["do"] == "load":
            answer(await load(node, job))
        elif job["do"] == "profile":
            profile(job)
            answer({})


def profile(job: dict[str, Any]) -> None:
    """Where the loop's thread spends its time, until the next call."""
    import cProfile
    import pstats

    global profiler
    if profiler is None:
        profiler = cProfile.Profile()
        profiler.enable()
    else:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(job["lines"])
        profiler = None


async def main() -> None:
    told = setup()
    id, folder = told["id"], Path(told["directory"])
    addresses = {int(key): value for key, value in told["addresses"].items()}
    server, client = tls_contexts(folder)
    directory = FileDirectory.open(folder / str(id))
    transport = TcpTransport(addresses[id], server_tls=server, client_tls=client)
    log = directory.log(Identity("benchmark", str(id)))
    async with run_raft(RaftNode(Counter(), log, transport, id=id, founders=addresses)) as node:
        await serve(node)
    await directory.aclose()


profiler: Any = None

if __name__ == "__main__":
    gc.freeze()
    trio.run(main)
