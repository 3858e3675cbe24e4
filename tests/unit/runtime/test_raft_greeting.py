"""What members of a group say before anything else, and whom they do not hear."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pyswarm.errors import InvalidArgument
from pyswarm.raft.message import VoteReply, VoteRequest
from pyswarm.raft.wire import from_form, to_form
from pyswarm.runtime.raftgreeting import (
    FRAME_VERSION,
    PEERS_MAX,
    REPEAT_SECONDS,
    WAITING_FRAMES_MAX,
    DiskLost,
    Greetings,
    IncompatiblePeer,
)
from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.raftpeers import Frame
from pyswarm.runtime.rafttransport import MemoryTransport, Receive
from pyswarm.runtime.storage import FileDirectory, Identity, MemoryStorage
from swarms import until

FOUNDERS = {1: "a", 2: "b", 3: "c"}


class Nothing:
    """A state machine without a state."""

    def apply(self, command: bytes) -> bytes:
        return command

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        assert data == b""


class Wire:
    """A transport whose other ends are played by the test."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.said: list[tuple[str, int, Any]] = []

    def send(self, address: str, frame: bytes) -> None:
        _, kind, content = msgpack.unpackb(frame, use_list=False)
        self.said.append((address, kind, content))

    def flush(self) -> None:
        pass

    async def run(self, receive: Receive, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def take(self) -> list[tuple[str, int, Any]]:
        said, self.said = self.said, []
        return said


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Whoever waits long is kept waiting for no time."""

    def test() -> None:
        trio.run(story, clock=MockClock(autojump_threshold=0))

    test.__doc__ = story.__doc__
    return test


def heard(node: RaftNode, address: str, kind: Frame, content: Any) -> None:
    node.receive([msgpack.packb((address, kind, content))])


def member(id: int, wire: Any, storage: MemoryStorage | None = None) -> RaftNode:
    storage = storage or MemoryStorage()
    return RaftNode(Nothing(), storage, wire, id=id, founders=FOUNDERS, tick_seconds=0.01)


@in_virtual_time
async def test_nothing_is_said_before_the_greeting() -> None:
    wire, disk = Wire("a"), MemoryStorage()
    async with run_raft(member(1, wire, disk)) as node:
        await trio.sleep(10.0)  # it has stood for election, in vain
        greeting = (FRAME_VERSION, True, 1, disk.instance)
        assert {(to, kind, content) for to, kind, content in wire.take()} == {
            (to, Frame.GREETING, greeting) for to in ("b", "c")
        }
        heard(node, "b", Frame.GREETING, (FRAME_VERSION, False, 2, b"disk of 2"))
        kinds = [(to, kind) for to, kind, _ in wire.take()]
        assert 1 <= kinds.count(("b", Frame.MESSAGE)) <= WAITING_FRAMES_MAX, "what waited"
        assert ("c", Frame.MESSAGE) not in kinds


@in_virtual_time
async def test_a_stranger_is_asked_and_not_heard() -> None:
    wire = Wire("a")
    async with run_raft(member(1, wire)) as node:
        await trio.sleep(REPEAT_SECONDS)
        wire.take()
        heard(node, "x", Frame.FORWARD, (1, b"command"))
        heard(node, "x", Frame.FORWARD, (2, b"command"))
        said = [(kind, content[1]) for to, kind, content in wire.take() if to == "x"]
        assert said == [(Frame.GREETING, True)], "once"
        no_addresses: tuple[Any, ...] = (None, 5, ["x"], {})
        for nothing in no_addresses:
            heard(node, nothing, Frame.FORWARD, (1, b"command"))
            heard(node, nothing, Frame.GREETING, (FRAME_VERSION, True, 9, b""))
        assert {to for to, _, _ in wire.take()} <= {"b", "c"}
        heard(node, "x", Frame.GREETING, (FRAME_VERSION, True, 9, b""))
        heard(node, "x", Frame.FORWARD, (3, b"command"))
        said = [(kind, content[0]) for to, kind, content in wire.take() if to == "x"]
        assert said == [(Frame.GREETING, FRAME_VERSION), (Frame.ANSWER, 3)]


@in_virtual_time
async def test_a_peer_of_another_version_is_told_and_named() -> None:
    """Both sides can say what is wrong, and do not go on telling each other."""
    wire = Wire("a")
    async with run_raft(member(1, wire)) as node:
        await trio.sleep(REPEAT_SECONDS)
        wire.take()
        theirs = (FRAME_VERSION + 1, True, "whatever", {"comes": "later"})
        heard(node, "b", Frame.GREETING, theirs)
        said = [(kind, content[:2]) for to, kind, content in wire.take() if to == "b"]
        assert said == [(Frame.GREETING, (FRAME_VERSION, False))]
        error = node.refused["b"]
        assert isinstance(error, IncompatiblePeer)
        assert f"version {FRAME_VERSION + 1} of frames, this member version {FRAME_VERSION}" in str(
            error
        )
        heard(node, "b", Frame.GREETING, (FRAME_VERSION + 1, False))
        heard(node, "b", Frame.FORWARD, (1, b"command"))
        assert [one for one in wire.take() if one[0] == "b" and one[1] != Frame.GREETING] == []
        heard(node, "b", Frame.GREETING, (FRAME_VERSION, False, 2, b"disk"))
        assert node.refused == {}, "it was brought up to date"


@in_virtual_time
async def test_a_member_that_lost_its_disk_is_refused_and_ends() -> None:
    hub: dict[str, Receive] = {}
    disks = {id: MemoryStorage() for id in FOUNDERS}
    nodes = {id: member(id, MemoryTransport(hub, FOUNDERS[id]), disks[id]) for id in FOUNDERS}
    async with run_raft(nodes[1]), run_raft(nodes[2]):
        async with run_raft(nodes[3]):
            for id in FOUNDERS:
                assert await nodes[id].propose(b"x", timeout=60.0) == b"x"
        same = member(3, MemoryTransport(hub, "c"), disks[3])
        async with run_raft(same):
            assert await same.propose(b"x", timeout=60.0) == b"x", "a restart is none"
        lost = member(3, MemoryTransport(hub, "c"))
        with pytest.raises(DiskLost, match="member 3 is known by another disk"):
            async with run_raft(lost):
                await trio.sleep_forever()
        assert lost.status().vote in (None, 3), "for nobody else"
        await until(lambda: any("c" in nodes[id].refused for id in (1, 2)))
        await until(lambda: nodes[1].leader in (1, 2))  # if it was the third, it is missed first
        assert await nodes[1].propose(b"x", timeout=60.0) == b"x"
        async with run_raft(member(3, MemoryTransport(hub, "c"), disks[3])) as back:
            assert await back.propose(b"x", timeout=60.0) == b"x"
        assert not nodes[1].refused
        assert not nodes[2].refused


@in_virtual_time
async def test_who_is_refused_by_its_disk_promises_nothing_more() -> None:
    """Not even what it was about to write."""
    for is_refused in (False, True):
        written: list[Callable[[], object]] = []
        wire, disk = Wire("a"), MemoryStorage(deliver=written.append)
        node = member(1, wire, disk)
        with pytest.raises(DiskLost) if is_refused else nullcontext():
            async with run_raft(node):
                await wait_all_tasks_blocked()
                heard(node, "b", Frame.GREETING, (FRAME_VERSION, False, 2, b"disk of 2"))
                vote = VoteRequest(1, 2, 9, node.replica.epoch, 9, 9, transfer=True)
                heard(node, "b", Frame.MESSAGE, to_form(vote))
                if is_refused:
                    heard(node, "b", Frame.REFUSAL, disk.instance)
                while written:
                    written.pop(0)()
                said = [from_form(one) for _, kind, one in wire.take() if kind == Frame.MESSAGE]
                granted = [one.granted for one in said if isinstance(one, VoteReply)]
                assert granted == ([] if is_refused else [True])
                if is_refused:
                    await trio.sleep_forever()


class Aliases(dict[str, Receive]):
    """A hub that knows each member by two names."""

    def get(self, address: str, default: Any = None) -> Any:
        return super().get(address.lower(), default)


@in_virtual_time
async def test_a_member_may_be_written_otherwise_than_it_says_itself() -> None:
    """``localhost:7001`` among the founders, ``127.0.0.1:7001`` of a transport."""
    hub, written = Aliases(), {1: "A", 2: "B"}
    wires = [MemoryTransport(hub, "a"), MemoryTransport(hub, "b")]
    one, two = [
        RaftNode(Nothing(), MemoryStorage(), wire, id=id, founders=written)
        for id, wire in enumerate(wires, 1)
    ]
    async with run_raft(one), run_raft(two):
        for node in (one, two):
            assert await node.propose(b"x", timeout=60.0) == b"x"


def test_a_disk_has_a_name_as_long_as_it_lasts(tmp_path: Path) -> None:
    def instance(path: Path) -> bytes:
        directory = FileDirectory.open(path, deliver=lambda job: job())
        try:
            return directory.log(Identity("group", "1")).instance
        finally:
            directory.close()

    first = instance(tmp_path / "one")
    assert first == instance(tmp_path / "one") != instance(tmp_path / "other")
    assert len(first) == 16


@pytest.mark.parametrize(
    "greeting",
    [
        (1,),
        (FRAME_VERSION, "yes", 1, b""),
        (FRAME_VERSION, True, "1", b""),
        (FRAME_VERSION, True, 1, "disk"),
        (FRAME_VERSION, True, 1),
    ],
)
def test_what_is_no_greeting(greeting: tuple[Any, ...]) -> None:
    greetings = Greetings(1, b"disk")
    with pytest.raises((InvalidArgument, ValueError)):
        greetings.take("b", greeting)
    assert greetings.met == {}


def test_strangers_do_not_fill_the_memory() -> None:
    greetings = Greetings(1, b"disk")
    for number in range(PEERS_MAX + 9):
        greetings.take(f"p{number}", (FRAME_VERSION, True, number, b"%d" % number))
        greetings.take(f"q{number}", (FRAME_VERSION + 1, True))
        greetings.hold(f"r{number}", b"frame")
        greetings.should_ask(f"r{number}", 0.0)
    assert len(greetings.refused) == PEERS_MAX
    assert "p0" not in greetings.met
    assert greetings.met[f"p{PEERS_MAX}"] == PEERS_MAX
    assert not list(greetings.release("r0"))
