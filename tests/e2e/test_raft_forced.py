"""A majority is lost for good: one member's disk begins a group of its own."""

from __future__ import annotations

import pytest
import trio

from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.raft import AddMember, PromoteMember, RaftConfig, UpdateMember
from pyswarm.runtime.raftgreeting import FRAME_VERSION
from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.raftpeers import Frame
from pyswarm.runtime.rafttransport import MemoryTransport
from pyswarm.runtime.storage import DiskFull, MemoryStorage

from .test_storage_raftnode import TICK, Group, Log, group, until


async def lost_majority(swarm: Group) -> int:
    """Three members have two entries, then two of them are gone; the one that is left is down."""
    leader = await swarm.leader()
    for command in (b"1", b"2"):
        await leader.propose(command)
    left = leader.replica.id
    for id in list(swarm.nodes):
        await swarm.crash(id)
    return left


def forced(swarm: Group, id: int, address: str = "new") -> RaftNode:
    transport = MemoryTransport(swarm.hub, address)
    disk = swarm.disks[id]
    return RaftNode(Log(), disk, transport, id=id, tick_seconds=TICK, force_new_cluster=True)


async def test_one_member_goes_on_alone_and_grows_again() -> None:
    async with group() as swarm:
        left = await lost_majority(swarm)
        async with run_raft(forced(swarm, left)) as node:
            assert await node.propose(b"3") == 3
            assert node.machine.commands == ["1", "2", "3"]
            assert node.replica.configuration.voters == (left,)
            configuration = await node.change(AddMember(b"d"))
            assert configuration.epoch != 0
            id = max(configuration.ids)
            assert id > 2**32
            newcomer = RaftNode(
                Log(),
                MemoryStorage(),
                MemoryTransport(swarm.hub, "d"),
                id=id,
                epoch=configuration.epoch,
                tick_seconds=TICK,
            )
            async with run_raft(newcomer):
                await node.change(PromoteMember(id))
                assert await newcomer.propose(b"4") == 4


async def test_it_is_on_disk_and_the_lost_ones_stay_out() -> None:
    """Started again as usual it is still alone; those of the old group reach nobody."""
    async with group() as swarm:
        left = await lost_majority(swarm)
        async with run_raft(forced(swarm, left, swarm.founders[left])) as node:
            await node.propose(b"3")
        again = await swarm.start(left, swarm.founders)
        await until(lambda: again.is_leader)
        assert again.replica.configuration.voters == (left,)
        old = next(id for id in swarm.founders if id != left)
        returned = await swarm.start(old, swarm.founders)
        heard = again.replica.status().dropped
        await until(lambda: again.replica.status().dropped > heard)
        assert again.is_leader and returned.leader is None
        assert await again.propose(b"4") == 4


async def test_a_new_group_needs_something_to_be_made_of() -> None:
    with pytest.raises(FailedPrecondition, match="there is no cluster here"):
        RaftNode(Log(), MemoryStorage(), MemoryTransport({}, "a"), id=1, force_new_cluster=True)


async def test_without_room_nothing_is_begun() -> None:
    class Full(MemoryStorage):
        def submit(self, batch, done, *, prompt=False) -> None:
            trio.lowlevel.current_trio_token().run_sync_soon(done, DiskFull("full"))

    async with group() as swarm:
        left = await lost_majority(swarm)
        node = forced(swarm, left)
        node.storage = Full()
        with pytest.raises(DiskFull):
            async with run_raft(node):
                await trio.sleep_forever()
        assert swarm.disks[left].load().hard_state.epoch == 0


async def test_addresses_that_peers_claim_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyswarm.runtime.raftaddresses.ADDRESSES_MAX", 4)
    import msgpack

    from pyswarm.raft.message import VoteRequest
    from pyswarm.raft.wire import to_form

    async with group() as swarm:
        node = await swarm.leader()
        for id in range(100, 200):
            message = to_form(VoteRequest(node.replica.id, id, 1, 0, 0, 0, True, False))
            greeting = FRAME_VERSION, False, id, b""
            for frame in ((Frame.GREETING, greeting), (Frame.MESSAGE, message)):
                node.receive([msgpack.packb((f"claimed {id}", *frame))])
                node.receive([msgpack.packb((["no address"], *frame))])
        assert len(node._addresses) <= 4
        assert await node.propose(b"1") == 1


@pytest.mark.parametrize("context", [b"", b"\xff\xfe"])
async def test_a_member_is_not_added_where_nobody_could_reach_it(context: bytes) -> None:
    """Such an entry would end every member that looks at it, whenever it is started."""
    async with group() as swarm:
        leader = await swarm.leader()
        with pytest.raises(InvalidArgument, match="is its address"):
            await leader.change(AddMember(context))
        with pytest.raises(InvalidArgument, match="is its address"):
            await leader.change(UpdateMember(1, context))
        leader.replica.propose_membership(AddMember(context))  # as another driver might
        assert await leader.propose(b"1") == 1


async def test_what_is_no_command_is_refused_and_stops_nobody() -> None:
    """In a log it could not be sent or written, and all behind it would wait for ever."""
    import msgpack

    async with group() as swarm:
        for node in swarm.nodes.values():
            for command in ("text", bytearray(b"x"), None, bytes(9_000_000)):
                with pytest.raises(InvalidArgument):
                    await node.propose(command)
        leader = await swarm.leader()
        greeting = FRAME_VERSION, False, 9, b""
        leader.receive([msgpack.packb(("nine", Frame.GREETING, greeting))])
        leader.receive([msgpack.packb(("nine", 1, (1, "text")))])  # a peer that checks nothing
        assert await leader.propose(b"1") == 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"id": 9}, "member 9 is not among the founders"),
        ({"id": 0}, "id must be at least 1"),
        ({"snapshot_entries": 0}, "snapshot_entries must be at least 1"),
        ({"tick_seconds": 0.0}, "tick_seconds must be positive"),
    ],
)
async def test_settings_that_make_no_sense(settings, error) -> None:
    with pytest.raises(InvalidArgument, match=error):
        RaftNode(
            Log(),
            MemoryStorage(),
            MemoryTransport({}, "a"),
            **{"id": 1, "founders": {1: "a"}, **settings},
        )


async def test_a_configuration_is_for_the_member_that_is_named() -> None:
    transport = MemoryTransport({}, "a")
    config = RaftConfig(id=7, heartbeat_ticks=2)
    node = RaftNode(Log(), MemoryStorage(), transport, id=1, founders={1: "a"}, config=config)
    assert node.replica.id == node.status().id == 1
