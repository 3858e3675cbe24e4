"""A RaftNode's state in slices: peers are answered, and nobody is elected, between one and another.

In virtual time, where a slice takes as long as it says: a member that did all of them at once would
be silent for longer than any election timeout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument, Unavailable
from pyswarm.raft import AddMember, Configuration, Member, Snapshot, split_chunks
from pyswarm.runtime import RaftNode, SlicedStateMachine, StateMachine, run_raft
from pyswarm.runtime.rafttransport import MemoryTransport, TcpTransport
from pyswarm.runtime.statemachine import take
from pyswarm.runtime.storage import Batch, FileDirectory, Identity, MemoryStorage
from swarms import free_ports

from .test_storage_raftnode import Group, group, tls_contexts, until

SLICE = 10  # commands
SLICE_SECONDS = 0.02
ENTRIES = 1200  # more than twice what a slow follower finds in the log: it needs a snapshot
ALONE = Configuration((Member(1, True, b"a"),), 2, 7)
TICK = 0.05  # elections after 0.6 to 1.2 s


class Slices:
    """Remembers all commands; gives and takes them ten at a time."""

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self.commands: list[str] = []
        self.pause = pause
        self.held = False
        self.slices = 0  # of the restoring under way

    def apply(self, command: bytes) -> int:
        self.commands.append(command.decode())
        return len(self.commands)

    def snapshot_slices(self) -> Iterator[bytes]:
        commands = list(self.commands)
        for start in range(0, len(commands), SLICE):
            self.pause()
            yield json.dumps(commands[start : start + SLICE]).encode()

    def restore_slices(self, slices: Iterator[bytes]) -> Iterator[Any]:
        fresh: list[str] = []
        for piece in slices:
            fresh += json.loads(piece)
            self.slices += 1
            self.pause()
            yield self.slices  # to nobody: what counts is that it yields
            while self.held:
                self.pause()
                yield
        self.commands, self.slices = fresh, 0


class Both(Slices):
    """It was small once."""

    def restore(self, data: bytes) -> None:
        self.commands = json.loads(data)


class Small:
    def apply(self, command: bytes) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, data: bytes) -> None: ...


def in_virtual_time(main: Callable[..., object]) -> Callable[[], None]:
    def test() -> None:
        clock = MockClock(autojump_threshold=0)
        trio.run(main, clock, clock=clock)

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


async def lagging(swarm: Group) -> tuple[RaftNode, RaftNode, int]:
    """A leader, a follower, and the id of a member that is down and needs a snapshot."""
    leader = await swarm.leader()
    other, away = (node for node in swarm.nodes.values() if node is not leader)
    await swarm.crash(away.replica.id)
    for number in range(ENTRIES):
        await leader.propose(b"%d" % number)
    assert leader.status().first_index > away.replica.last_index + 1
    return leader, other, away.replica.id


@in_virtual_time
async def test_peers_are_answered_while_a_leaders_snapshot_becomes_the_state(clock) -> None:
    machine = lambda: Slices(lambda: clock.jump(SLICE_SECONDS))  # noqa: E731
    async with group(machine=machine, snapshot_entries=100, tick_seconds=TICK) as swarm:
        leader, other, id = await lagging(swarm)
        term = leader.status().term
        back = await swarm.start(id)
        await until(lambda: back.machine.slices)
        await swarm.crash(other.replica.id)  # from now on the leader needs this one for all it does
        began = trio.current_time()
        assert await leader.propose(b"during") == ENTRIES + 1
        assert back.machine.slices and not back.machine.commands  # it is not half of anything

        async with trio.open_nursery() as nursery:
            done: list[str] = []

            async def read() -> None:
                await back.read()
                done.append(back.machine.commands[-1])

            async def propose() -> None:
                done.append(await back.propose(b"by itself"))

            nursery.start_soon(read)
            nursery.start_soon(propose)
            await until(lambda: leader.machine.commands[-1] == "by itself")
            assert back.machine.slices and not done
            assert back.status().applied_index < leader.status().applied_index
        assert trio.current_time() - began > 1.2
        assert ENTRIES + 2 in done and back.machine.commands == leader.machine.commands
        assert back.status().applied_index == leader.status().applied_index
        assert leader.is_leader and leader.status().term == term
        assert back.metrics().snapshots_installed == 1


@in_virtual_time
async def test_commands_are_applied_while_a_snapshot_is_taken_and_are_not_in_it(clock) -> None:
    machine = Slices(lambda: clock.jump(SLICE_SECONDS))
    disk = MemoryStorage()
    transport = MemoryTransport({}, "a")
    founders = {1: "a"}
    node = RaftNode(
        machine, disk, transport, id=1, founders=founders, snapshot_entries=200, rng=Rng("one")
    )
    async with run_raft(node):
        while not node.metrics().snapshots_taken:
            await node.propose(b"%d" % len(machine.commands))
        await until(lambda: "snapshot=0" not in repr(disk))
    found = disk.load()
    assert found.snapshot is not None
    again = Slices()
    transport = MemoryTransport({}, "a")
    restarted = RaftNode(again, disk, transport, id=1, founders=founders)
    applied = len(again.commands)
    assert again.commands == machine.commands[:applied]
    assert applied + 2 == found.snapshot.index == restarted.status().applied_index
    assert len(machine.commands) > applied


@in_virtual_time
async def test_a_snapshot_that_comes_while_another_becomes_the_state(clock) -> None:
    async with group(machine=Slices, snapshot_entries=100, tick_seconds=TICK) as swarm:
        leader, _, id = await lagging(swarm)
        swarm.machine = lambda: held_slices(lambda: clock.jump(SLICE_SECONDS))
        back = await swarm.start(id)
        await until(lambda: back.machine.slices)
        receive = swarm.hub.pop(back.transport.address)  # cut off
        for number in range(ENTRIES):
            await leader.propose(b"again %d" % number)
        swarm.hub[back.transport.address] = receive
        await until(lambda: len(back._late) > 1 and back._late[-1].restore is not None)
        back.machine.held = False
        await back.read()
        assert back.machine.commands == leader.machine.commands
        assert back.metrics().snapshots_installed == 2
        assert await back.propose(b"on") == 2 * ENTRIES + 1


def held_slices(pause: Callable[[], None] = lambda: None) -> Slices:
    machine = Slices(pause)
    machine.held = True
    return machine


def test_a_crash_in_the_middle_leaves_what_can_be_started_again(tmp_path) -> None:
    clock = MockClock(autojump_threshold=0)  # it runs away while the disk's thread is at work
    trio.run(crash_in_the_middle, tmp_path, clock, clock=clock)


async def crash_in_the_middle(tmp_path: Path, clock: MockClock) -> None:
    async with group(machine=Slices, snapshot_entries=100, tick_seconds=TICK) as swarm:
        _, _, id = await lagging(swarm)
        directory = FileDirectory.open(tmp_path)
        found, instance = swarm.disks[id].load(), swarm.disks[id].instance
        log = swarm.disks[id] = directory.log(Identity("group", str(id)))
        log.load()
        written = trio.Event()
        batch = Batch(found.hard_state, found.entries, found.snapshot)
        log.submit(batch, lambda error: written.set())
        await written.wait()
        (tmp_path / "raft" / "instance").write_bytes(instance)  # it is moved
        await directory.aclose()
        for held in (True, False):
            swarm.machine = (
                (lambda: held_slices(lambda: clock.jump(SLICE_SECONDS))) if held else Slices
            )
            directory = FileDirectory.open(tmp_path)
            swarm.disks[id] = directory.log(Identity("group", str(id)))
            back = await swarm.start(id)
            if held:
                await until(lambda: back.machine.slices)  # noqa: B023
            else:
                await back.read(timeout=inf)
                assert back.machine.commands == (await swarm.leader()).machine.commands
            await swarm.crash(id)
            await directory.aclose()


@in_virtual_time
async def test_what_the_machine_raises_in_a_slice_ends_the_member(clock) -> None:
    class Failing(Slices):
        def restore_slices(self, slices: Iterator[bytes]) -> Iterator[None]:
            yield
            raise RuntimeError("no memory")

    async with group(machine=Slices, snapshot_entries=100, tick_seconds=TICK) as swarm:
        _, _, id = await lagging(swarm)
        transport = MemoryTransport(swarm.hub, swarm.founders[id])
        node = RaftNode(Failing(), swarm.disks[id], transport, id=id, tick_seconds=TICK)
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="no memory")):
            async with run_raft(node):
                with pytest.raises(Unavailable, match="stopped"):
                    await node.read(timeout=60.0)
                await trio.sleep_forever()


async def test_a_large_state_reaches_one_who_joins_over_sockets(tmp_path: Path) -> None:
    """Of 6 MB: where a snapshot is one message, 4 MB are often the end."""
    server, client = tls_contexts(tmp_path)
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    tls = {"server_tls": server, "client_tls": client, "server_hostname": "swarm-manager"}
    options = {"snapshot_entries": 100, "rng": Rng("large")}
    transport, disk = TcpTransport(first, **tls), MemoryStorage()
    node = RaftNode(Slices(), disk, transport, id=1, founders={1: first}, **options)
    async with run_raft(node):
        for number in range(750):
            await node.propose(b"%d" % number + b"x" * 8000)
        await until(lambda: node.status().first_index > 1)
        configuration = await node.change(AddMember(second.encode()))
        transport, disk, id = TcpTransport(second, **tls), MemoryStorage(), max(configuration.ids)
        newcomer = RaftNode(Slices(), disk, transport, id=id, epoch=configuration.epoch, **options)
        async with run_raft(newcomer):
            await node.promote(id, timeout=60.0)
            await newcomer.read(timeout=60.0)
            assert newcomer.metrics().snapshots_installed >= 1
            assert newcomer.machine.commands == node.machine.commands
            assert sum(map(len, newcomer.machine.commands)) > 6_000_000


def chunks_of(machine: SlicedStateMachine) -> tuple[bytes, ...]:
    slices = take(machine)
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value


def started_with(machine: StateMachine | SlicedStateMachine, snapshot: Snapshot) -> None:
    disk = MemoryStorage(deliver=lambda job: job())
    disk.submit(Batch(snapshot=snapshot), lambda error: None)
    RaftNode(machine, disk, MemoryTransport({}, "a"), id=1)


async def test_a_machine_that_has_grown_reads_what_it_gave_as_a_small_one() -> None:
    small = Snapshot(9, 1, ALONE, split_chunks(b'["1", "2"]'))
    grown = Both()
    started_with(grown, small)
    assert grown.commands == ["1", "2"]
    with pytest.raises(InvalidArgument, match=r"needs restore\(\)"):
        started_with(Slices(), small)


@pytest.mark.parametrize("count", [0, 1, 95])
async def test_a_small_machine_says_that_it_cannot_read_slices(count: int) -> None:
    machine = Slices()
    machine.commands = [str(number) for number in range(count)]
    snapshot = Snapshot(9, 1, ALONE, chunks_of(machine))
    with pytest.raises(InvalidArgument, match=r"needs restore_slices\(\)"):
        started_with(Small(), snapshot)
    again = Slices()
    started_with(again, snapshot)
    assert again.commands == machine.commands
