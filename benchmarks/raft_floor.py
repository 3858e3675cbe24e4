"""What Python can do at all: a replicated log without Raft. See ``raft.py``.

The same bytes, TLS, seals and syncs as pyswarm's, and nothing else: a leader that is never asked
whether it is one, followers that never disagree, no terms, no files that end. All proposals made
in one round of the loop go in one batch; batches follow each other without waiting; a batch counts
when two of three have it on disk. The callers are tasks, as everywhere.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from raft_callers import load
from raft_measure import tls_contexts
from raft_processes import answer, setup

from pyswarm.runtime.rafttls import Channel, accept_channel, open_channel
from pyswarm.runtime.storage.disk import DiskThread

FILE_BYTES = 256 * 1024 * 1024
LEADER = "1"
BATCH_MAX = 128


class Log:
    """A preallocated file; each write is sealed, and synced."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(self.fd, 0, FILE_BYTES)
        self.seal = AESGCM(os.urandom(32)).encrypt
        self.count = self.offset = 0

    def write(self, items: list[bytes]) -> None:
        """On the disk's thread."""
        self.count += 1
        data = self.seal(self.count.to_bytes(12, "big"), b"".join(items), None)
        if self.offset + len(data) > FILE_BYTES:
            self.offset = 0
        os.pwrite(self.fd, data, self.offset)
        os.fdatasync(self.fd)
        self.offset += len(data)


class Leader:
    """Batches on their way: (number, who waits for it, copies)."""

    def __init__(self, log: Log, disk: DiskThread, followers: list[Channel]) -> None:
        self.log, self.disk, self.followers = log, disk, followers
        self.batches: deque[tuple[int, list[trio.lowlevel.Task], list[None]]] = deque()
        self.number = self.index = 0
        self.made: list[tuple[int, int, int, bytes]] = []
        self.waiting: list[trio.lowlevel.Task] = []

    async def propose(self, data: bytes) -> None:
        self.index += 1
        self.made.append((self.index, 1, 0, data))
        self.waiting.append(trio.lowlevel.current_task())
        if len(self.made) == BATCH_MAX:
            self.send()
        elif len(self.made) == 1:
            self.news.set()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async def drive(self) -> None:
        self.news = trio.Event()
        while True:
            await self.news.wait()
            self.news = trio.Event()
            self.send()

    def send(self) -> None:
        """One batch of all that was made since the last."""
        if not self.made:
            return
        self.number += 1
        body = msgpack.packb(self.made)
        self.made = []
        for follower in self.followers:
            follower.send(len(body).to_bytes(4, "big") + body)
        batch = (self.number, self.waiting, [])
        self.waiting = []
        self.batches.append(batch)
        self.disk.submit(self.log, body, lambda _: self.stored(batch))

    def stored(self, batch: tuple[int, list[trio.lowlevel.Task], list[None]]) -> None:
        batch[2].append(None)
        while self.batches and len(self.batches[0][2]) >= 2:
            for task in self.batches.popleft()[1]:
                trio.lowlevel.reschedule(task)

    async def hear(self, follower: Channel) -> None:
        """A follower's acknowledgements: one byte a batch, in order."""
        seen = 0
        while data := await follower.receive():
            for _ in data:
                seen += 1
                ahead = seen - self.batches[0][0] if self.batches else -1
                if ahead >= 0:  # else the others had it, and it is gone
                    self.stored(self.batches[ahead])


async def follow(log: Log, disk: DiskThread, leader: Channel) -> None:
    buffer = bytearray()
    while data := await leader.receive():
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + (size := int.from_bytes(buffer[:4], "big")):
            body = bytes(buffer[4 : 4 + size])
            del buffer[: 4 + size]
            msgpack.unpackb(body)
            disk.submit(log, body, lambda _: leader.send(b"x"))


async def lead(log: Log, disk: DiskThread, told: dict[str, Any], context: Any) -> None:
    followers = []
    for id, address in told["addresses"].items():
        while id != LEADER:
            try:
                port = int(address.split(":")[1])
                followers.append(await open_channel("127.0.0.1", port, context, "127.0.0.1"))
                break
            except OSError:
                await trio.sleep(0.1)
    leader = Leader(log, disk, followers)
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(leader.hear, follower)
        nursery.start_soon(leader.drive)
        async for line in trio.wrap_file(sys.stdin):
            job = json.loads(line)
            answer({"leads": True} if job["do"] == "leads" else await load(leader, job))


async def main() -> None:
    told = setup()
    id, folder = str(told["id"]), Path(told["directory"])
    server, client = tls_contexts(folder)
    log, disk = Log(folder / f"{id}.log"), DiskThread()
    if id == LEADER:
        await lead(log, disk, told, client)
        return

    async def serve(stream: trio.SocketStream) -> None:
        await follow(log, disk, await accept_channel(stream, server))

    async with trio.open_nursery() as nursery:
        port = int(told["addresses"][id].split(":")[1])
        nursery.start_soon(partial(trio.serve_tcp, serve, port, host="127.0.0.1"))
        async for _ in trio.wrap_file(sys.stdin):
            answer({"leads": False})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    gc.freeze()
    trio.run(main)
