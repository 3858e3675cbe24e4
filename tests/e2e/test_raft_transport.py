"""Frames between processes' sockets: TLS and plain, slow peers, peers that go and come back."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from pyswarm.env import Rng
from pyswarm.errors import NotFound, Unavailable
from pyswarm.raft import AddMember, RemoveMember
from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.rafttransport import QUEUE_BYTES_MAX, MemoryTransport, TcpTransport
from pyswarm.runtime.storage import (
    DiskFull,
    FileDirectory,
    Identity,
    MemoryStorage,
    WriteFailed,
)
from swarms import free_ports

from .test_storage_raftnode import Log, group, tls_contexts, until


class Mailbox(list[bytes]):
    """What arrived, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.news = trio.Event()

    def __call__(self, frames: Sequence[bytes]) -> None:
        self.extend(frames)
        self.news.set()

    async def holds(self, count: int) -> None:
        with trio.fail_after(20):
            while len(self) < count:
                await self.news.wait()
                self.news = trio.Event()


@pytest.fixture(params=["plain", "tls"])
def contexts(request: pytest.FixtureRequest, tmp_path) -> dict[str, ssl.SSLContext]:
    if request.param == "plain":
        return {}
    server, client = tls_contexts(tmp_path)
    return {"server_tls": server, "client_tls": client, "server_hostname": "swarm-manager"}


async def test_frames_of_all_sizes_arrive_whole_and_in_order(contexts) -> None:
    here, there = (f"127.0.0.1:{port}" for port in free_ports(2))
    one, other = TcpTransport(here, **contexts), TcpTransport(there, **contexts)
    got, ignored = Mailbox(), Mailbox()
    frames = [bytes([n]) * size for n, size in enumerate((0, 1, 100, 16384, 70_000, 3_000_000, 5))]
    async with trio.open_nursery() as nursery:
        await nursery.start(other.run, got)
        await nursery.start(one.run, ignored)
        for frame in frames:
            one.send(there, frame)
        one.flush()
        await got.holds(len(frames))
        assert got == frames
        nursery.cancel_scope.cancel()


async def test_what_a_slow_peer_does_not_take_waits_and_no_more_than_so_much(contexts) -> None:
    here, there = (f"127.0.0.1:{port}" for port in free_ports(2))
    one, other = TcpTransport(here, **contexts), TcpTransport(there, **contexts)
    got, ignored = Mailbox(), Mailbox()
    megabyte = bytes(1024 * 1024)
    async with trio.open_nursery() as nursery:
        await nursery.start(other.run, got)
        await nursery.start(one.run, ignored)
        one.send(there, b"first")
        one.flush()
        await got.holds(1)
        # The loop belongs to us until the next await: nothing is taken out at the other end.
        for _ in range(2 * QUEUE_BYTES_MAX // len(megabyte)):
            one.send(there, megabyte)
            one.flush()
        held = one._links[there].waiting_bytes
        assert 0 < held <= QUEUE_BYTES_MAX
        await got.holds(2 + held // len(megabyte))
        one.send(there, b"last")
        one.flush()
        await until(lambda: got[-1] == b"last")
        assert set(got) == {b"first", megabyte, b"last"}
        nursery.cancel_scope.cancel()


async def test_a_peer_that_comes_back_is_reached_again(contexts) -> None:
    here, there = (f"127.0.0.1:{port}" for port in free_ports(2))
    one = TcpTransport(here, **contexts)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run, Mailbox())
        for life in range(2):
            got = Mailbox()
            async with trio.open_nursery() as inner:
                await inner.start(TcpTransport(there, **contexts).run, got)
                while not got:
                    one.send(there, b"%d" % life)
                    one.flush()
                    await trio.sleep(0.01)
                assert got[-1] == b"%d" % life
                inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_claimed_addresses_fill_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no address is dropped, no more than so many are tried, and none is kept for ever."""
    monkeypatch.setattr("pyswarm.runtime.rafttransport.LINKS_MAX", 5)
    monkeypatch.setattr("pyswarm.runtime.rafttransport.RECONNECT_SECONDS", 0.01)
    here, there, nowhere = (f"127.0.0.1:{port}" for port in free_ports(3))
    one, got = TcpTransport(here), Mailbox()
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run, Mailbox())
        await nursery.start(TcpTransport(there).run, got)
        for claimed in ("", "nonsense", "host:port", "a:1:b", nowhere):
            one.send(claimed, b"x")
        for _ in range(20):
            one.send(f"127.0.0.1:{free_ports(1)[0]}", b"x")
        assert len(one._links) <= 5
        await until(lambda: not one._links)
        one.send(there, b"real")
        while not got:
            one.flush()
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_strangers_are_sent_away(tmp_path) -> None:
    server, client = tls_contexts(tmp_path)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    got = Mailbox()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts the member, and has no certificate
    stranger.load_verify_locations(tmp_path / "cert.pem")
    async with trio.open_nursery() as nursery:
        member = TcpTransport(address, server_tls=server, client_tls=client)
        await nursery.start(member.run, got)
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(b"\0\0\0\1x" * 100)
            bare = await trio.open_tcp_stream("127.0.0.1", port)
            async with bare:
                stream = trio.SSLStream(bare, stranger, server_hostname="swarm-manager")
                with pytest.raises((trio.BrokenResourceError, ssl.SSLError)):
                    await stream.send_all(b"\0\0\0\1x")
                    await stream.receive_some(1)
        assert not got
        nursery.cancel_scope.cancel()


def test_a_channel_is_no_blocking_socket() -> None:
    """What ``taken_over`` relies on: a socket made from a descriptor shares its file."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        copy = socket.fromfd(one.fileno(), one.family, one.type)
        with copy, pytest.raises(BlockingIOError):
            copy.setblocking(False)
            copy.recv(1)


# -- the node on top of it


async def test_metrics(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path)
    log = directory.log(Identity("group", "1"))
    transport = MemoryTransport({}, "a")
    node = RaftNode(
        Log(), log, transport, id=1, founders={1: "a"}, tick_seconds=0.01, snapshot_entries=5
    )
    async with run_raft(node):
        for number in range(12):
            await node.propose(b"%d" % number)
        await until(lambda: node.metrics().snapshots_taken >= 1)
        metrics = node.metrics()
        assert metrics.proposals == 12
        assert metrics.status.applied_index >= 13
        assert metrics.status.elections == 1
        assert metrics.syncs is not None
        assert metrics.syncs.count >= 12
        assert metrics.syncs.seconds > 0
        assert metrics.syncs.quantile(0.0) <= metrics.syncs.quantile(1.0)
    await directory.aclose()


async def test_without_a_disk_nothing_is_said_of_it() -> None:
    async with group() as swarm:
        assert (await swarm.leader()).metrics().syncs is None


async def test_a_removed_member_keeps_nobody_waiting() -> None:
    async with group() as swarm:
        leader = await swarm.leader()
        other = next(node for node in swarm.nodes.values() if node is not leader)
        await leader.change(RemoveMember(other.replica.id))
        with pytest.raises(Unavailable, match="stopped"), trio.fail_after(5):
            await other.propose(b"x", timeout=4.0)


async def test_a_large_state_is_written_in_proportion_to_the_log() -> None:
    class Large(Log):
        taken = 0

        def snapshot(self) -> bytes:
            self.taken += 1
            return super().snapshot() + b" " * 100_000

    node = RaftNode(
        Large(),
        MemoryStorage(),
        MemoryTransport({}, "a"),
        id=1,
        founders={1: "a"},
        tick_seconds=0.01,
        snapshot_entries=10,
        rng=Rng("large"),
    )
    async with run_raft(node):
        for number in range(300):
            await node.propose(b"%d" % number)
    assert node.machine.taken == 1  # the next one when the log has grown by 100,000 bytes, too


async def test_what_the_state_machine_raises_ends_the_member() -> None:
    class Failing(Log):
        def snapshot(self) -> bytes:
            raise RuntimeError("no state")

    node = RaftNode(
        Failing(),
        MemoryStorage(),
        MemoryTransport({}, "a"),
        id=1,
        founders={1: "a"},
        tick_seconds=0.01,
        snapshot_entries=3,
    )
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="no state")):
        async with run_raft(node):
            with pytest.raises(Unavailable, match="stopped"):
                for _ in range(10):
                    await node.propose(b"x")
            await trio.sleep_forever()


async def test_followers_learn_of_a_commit_without_another_proposal() -> None:
    async with group(tick_seconds=0.05) as swarm:
        leader = await swarm.leader()
        others = [node for node in swarm.nodes.values() if node is not leader]
        await leader.propose(b"1")
        began = trio.current_time()
        await until(lambda: all(node.machine.commands == ["1"] for node in others))
        assert trio.current_time() - began < 10.0
        configuration = await leader.change(AddMember(b"d"))
        newcomer = await swarm.start(max(configuration.ids), address="d")
        await leader.promote(newcomer.replica.id)
        await until(lambda: newcomer.machine.commands == ["1"])
        assert newcomer.replica.id in leader.replica.committed_configuration.voters
        with pytest.raises(NotFound):
            await leader.promote(99)


class FailingDisk(MemoryStorage):
    """Writes until it is told not to."""

    error: Exception | None = None

    def submit(self, batch, done, *, prompt=False) -> None:
        if self.error is None:
            super().submit(batch, done)
        else:
            trio.lowlevel.current_trio_token().run_sync_soon(done, self.error)


def alone_on(disk: MemoryStorage) -> RaftNode:
    transport = MemoryTransport({}, "a")
    return RaftNode(Log(), disk, transport, id=1, founders={1: "a"}, tick_seconds=0.01)


async def test_a_disk_that_fails_ends_the_member() -> None:
    disk = FailingDisk()
    with pytest.raises(WriteFailed, match="broken"):
        async with run_raft(alone_on(disk)) as node:
            await node.propose(b"1")
            disk.error = WriteFailed("broken")
            with pytest.raises(Unavailable):
                await node.propose(b"2")
            await trio.sleep_forever()


async def test_a_full_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyswarm.runtime.raftnode.DISK_RETRY_SECONDS", 0.05)
    disk = FailingDisk()
    async with run_raft(alone_on(disk)) as node:
        assert await node.propose(b"1") == 1
        disk.error = DiskFull("full")
        with pytest.raises(Unavailable):
            await node.propose(b"2", timeout=0.2)
        assert not node.is_leader
        disk.error = None
        assert await node.propose(b"3") == len(node.machine.commands)
        assert node.machine.commands[-1] == "3"


class SlowDisk(MemoryStorage):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list = []
        self.is_held = False

    def submit(self, batch, done, *, prompt=False) -> None:
        if self.is_held:
            self.waiting.append((batch, done))
        else:
            super().submit(batch, done)


def test_nothing_is_written_twice_because_a_refusal_came_late() -> None:
    """Given again behind later writes it would cut their entries off, after they were promised."""
    trio.run(refused_late, SlowDisk(), clock=MockClock(autojump_threshold=0))


async def refused_late(disk: SlowDisk) -> None:
    async with run_raft(alone_on(disk)) as node, trio.open_nursery() as nursery:

        async def propose(command: bytes) -> None:
            with suppress(Unavailable):
                await node.propose(command)

        await propose(b"0")
        disk.is_held = True
        for command in (b"1", b"2", b"3"):
            nursery.start_soon(propose, command)
            await until(lambda: command in map(data_of, disk.waiting))  # noqa: B023
        (_, answer), *others = disk.waiting
        disk.waiting = []
        answer(DiskFull("full"))
        await trio.sleep(1.5)
        assert disk.waiting  # all of it was given again
        for _, answer in others:
            answer(DiskFull("full"))  # a slow disk's last words
        while disk.waiting:
            batch, answer = disk.waiting.pop(0)
            disk._write(batch)
            answer(None)
            await until(lambda: disk.waiting or node.is_leader)
        nursery.start_soon(propose, b"4")
        await until(lambda: disk.waiting)
        await trio.sleep(5.0)
        assert len(disk.waiting) == 1
        nursery.cancel_scope.cancel()


def data_of(write) -> bytes:
    batch, _ = write
    return batch.entries[-1].data if batch.entries else b""
