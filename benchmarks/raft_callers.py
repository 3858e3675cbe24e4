"""The callers of the Raft benchmark's trio members. See ``raft.py``."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, Protocol

import trio
from raft_processes import Pauses, summary


class Member(Protocol):
    def propose(self, command: bytes, /) -> Awaitable[Any]: ...


async def load(member: Member, job: dict[str, Any]) -> dict[str, Any]:
    """So many callers, each proposing again when its proposal is answered."""
    latencies: list[float] = []
    data = os.urandom(job["size"])
    pauses.take()
    began = perf_counter()
    end, most = began + job["seconds"], job["requests"] - job["inflight"]

    async def caller() -> None:
        propose, done = member.propose, latencies.append
        now, is_first = perf_counter(), True  # each proposes once, however late it is
        while is_first or (now < end and len(latencies) < most):
            is_first = False
            await propose(data)
            then, now = now, perf_counter()
            done(now - then)

    async with trio.open_nursery() as nursery:
        for _ in range(job["inflight"]):
            nursery.start_soon(caller)
    return {**summary(latencies, perf_counter() - began), "gc_ms": pauses.take()}


pauses = Pauses()
