"""Endpoints that talk over real sockets, without nodes behind them."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

from pyswarm.ca import RootCA
from pyswarm.model import Identity, Role
from pyswarm.model.session import Heartbeat, HeartbeatAnswer, SessionRefused, StatusRecorded
from pyswarm.node import SessionBroken
from pyswarm.node.messages import RaftPacket
from pyswarm.raft import Configuration
from pyswarm.raft import message as raft
from pyswarm.runtime.tls import Credentials, NodeNetwork, TlsNetwork, connection, endpoint, wire
from pyswarm.runtime.tls.endpoint import CONNECT_S, TlsEndpoint
from swarms import until

NOW = time.time()
ROOT = RootCA.create(NOW)


def credentials(node_id: str, role: Role, life_s: float = 3600.0, root: RootCA = ROOT) -> Any:
    return Credentials.signed_by(root, Identity(node_id, role, "swarm"), NOW, life_s)


class Peer:
    """An endpoint with what it heard."""

    def __init__(self, node_id: str, role: Role = Role.MANAGER, root: RootCA = ROOT) -> None:
        self.node_id = node_id
        self.network: NodeNetwork = TlsNetwork().for_node("127.0.0.2:0", None)
        self.network.credentials = credentials(node_id, role, root=root)
        self.heard: list[tuple[str, str, Any]] = []
        self.broken: list[str] = []
        self.problems: list[SessionBroken] = []
        self.door: TlsEndpoint = self.network.attach(None, lambda: None, self._hear)

    def _hear(self, identity: Identity | None, addr: str, message: Any) -> None:
        assert identity is not None
        self.heard.append((identity.node_id, addr, message))

    def broke(self, broken: SessionBroken) -> None:
        self.broken.append(broken.addr)
        self.problems.append(broken)

    def say(self, to: Peer, message: Any) -> bool:
        return self.door.send(to.door.addr, message, to.node_id)

    @property
    def messages(self) -> list[Any]:
        return [message for _, _, message in self.heard]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is given up loses what was said: here none is, however busy the machine."""
    monkeypatch.setattr(endpoint, "CONNECT_S", 600.0)
    monkeypatch.setattr(connection, "HANDSHAKE_S", 600.0)
    monkeypatch.setattr(connection, "SILENT_S", 600.0)


@asynccontextmanager
async def peers(*made: Peer) -> AsyncIterator[tuple[Peer, ...]]:
    async with AsyncExitStack() as stack:
        for peer in made:
            await stack.enter_async_context(peer.door.serving(peer.broke))
        yield made
    for peer in made:
        peer.door.close()


async def test_a_message_and_its_answer_take_one_connection() -> None:
    async with peers(Peer("a"), Peer("b")) as (a, b):
        assert a.say(b, Heartbeat("s"))
        await until(lambda: bool(b.heard))
        assert b.heard == [("a", a.door.addr, Heartbeat("s"))]
        assert b.say(a, HeartbeatAnswer("s", 5.0))
        await until(lambda: bool(a.heard))
        assert a.heard == [("b", b.door.addr, HeartbeatAnswer("s", 5.0))]
        assert len(a.door._members) == len(b.door._members) == 1


async def test_of_two_connections_opened_at_once_one_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "RETIRE_S", 0.1)
    async with peers(Peer("a"), Peer("b")) as (a, b):
        for i in range(20):
            assert a.say(b, StatusRecorded("a", i))
            assert b.say(a, StatusRecorded("b", i))
        await until(lambda: len(a.heard) == len(b.heard) == 20)
        assert [message.sequence for message in a.messages] == list(range(20))
        await until(lambda: len(a.door._members) == len(b.door._members) == 1)
        assert a.say(b, Heartbeat("more"))
        await until(lambda: len(b.heard) == 21)
        assert a.broken == b.broken == []


async def test_nobody_there_is_said_and_then_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BACKOFF_MAX_S", 600.0)
    monkeypatch.setattr(endpoint, "BACKOFF_FIRST_S", 600.0)
    async with peers(Peer("a")) as (a,):
        b = Peer("b")
        b.door.close()
        assert a.say(b, Heartbeat("s"))
        await until(lambda: a.broken == [b.door.addr])
        assert a.problems == [SessionBroken(b.door.addr, "Connection refused")]
        assert not a.say(b, Heartbeat("s"))  # until the back-off is over
        a.door._by_node["b"].retry_at = trio.current_time()
        assert a.say(b, Heartbeat("s"))


async def test_a_broken_line_is_said_and_made_anew() -> None:
    async with peers(Peer("a")) as (a,):
        b = Peer("b")
        async with b.door.serving(b.broke):
            a.say(b, Heartbeat("s"))
            await until(lambda: bool(b.heard))
            for one in list(b.door._members):
                one.cancel()
            await until(lambda: a.broken == [b.door.addr])
            await until(lambda: a.say(b, Heartbeat("again")))
            await until(lambda: Heartbeat("again") in b.messages)
        b.door.close()


async def test_a_message_reaches_the_node_it_is_for_or_nobody() -> None:
    """Whoever listens at an address: without the right certificate it hears nothing."""
    async with peers(Peer("a"), Peer("thief")) as (a, thief):
        assert a.door.send(thief.door.addr, Heartbeat("secret"), "b")
        await until(lambda: a.broken == [thief.door.addr])
        assert a.problems == [SessionBroken(thief.door.addr, "another node answers there")]
        assert thief.heard == []
        assert a.door.refused["dial"] == 1


@pytest.mark.parametrize("addr", ["x" * 300 + ":1", "a\0b:1", "[]:5", ":", "nowhere", "\udcff:1"])
async def test_an_address_that_is_none_does_no_harm(
    addr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "CONNECT_S", 1.0)  # a name server may take its time
    async with peers(Peer("a"), Peer("b")) as (a, b):
        assert a.door.send(addr, Heartbeat("s"), "c")
        await until(lambda: a.broken == [addr])
        monkeypatch.setattr(endpoint, "CONNECT_S", 600.0)
        a.say(b, Heartbeat("s"))
        await until(lambda: bool(b.heard))


async def test_another_swarms_node_is_refused() -> None:
    async with peers(Peer("a"), Peer("b", root=RootCA.create(NOW))) as (a, b):
        a.say(b, Heartbeat("s"))
        await until(lambda: bool(a.broken))
        assert b.heard == []
        assert a.problems[0].untrusted
        assert "certificate verify failed" in a.problems[0].reason


async def test_what_a_worker_may_not_say_is_dropped_and_counted() -> None:
    async with peers(Peer("a"), Peer("w", Role.WORKER)) as (a, worker):
        worker.say(a, HeartbeatAnswer("s", 1.0))
        worker.say(a, Heartbeat("mine"))
        await until(lambda: bool(a.heard))
        assert a.messages == [Heartbeat("mine")]
        assert a.door.refused["role"] == 1


async def test_a_removed_node_is_told_so_and_not_heard() -> None:
    async with peers(Peer("a"), Peer("w", Role.WORKER)) as (a, worker):
        a.door.is_revoked = lambda node_id: node_id == "w"
        worker.say(a, Heartbeat("s"))
        await until(lambda: bool(worker.heard))
        (refusal,) = worker.messages
        assert isinstance(refusal, SessionRefused)
        sentence = "Permission denied: node w was removed from swarm"
        assert (refusal.code, refusal.message) == ("permission_denied", sentence)
        assert a.heard == []
        assert a.door.refused["removed"] == 1


async def test_a_snapshot_under_way_does_not_hold_up_a_heartbeat() -> None:
    chunk = raft.InstallSnapshot(2, 1, 5, 0, 9, 5, Configuration((), 1), 0, 1, b"x" * 250_000, 1, 1)
    beat = RaftPacket(raft.Heartbeat(2, 1, 5, 0, 3, 1))
    async with peers(Peer("a"), Peer("b")) as (a, b):
        a.say(b, Heartbeat("hello"))
        await until(lambda: bool(b.heard))
        for _ in range(80):
            assert a.say(b, RaftPacket(chunk))
        await until(lambda: len(b.heard) > 1)
        assert a.say(b, beat)
        await until(lambda: len(b.heard) == 82)
        assert b.messages.index(beat) < 60


async def test_too_much_for_a_peer_is_refused_and_memory_bounded() -> None:
    async with peers(Peer("a"), Peer("b")) as (a, b):
        big = StatusRecorded("x" * 30_000_000, 1)
        taken = [a.say(b, big) for _ in range(5)]
        assert taken[0]
        assert not a.say(b, StatusRecorded("x" * wire.MESSAGE_BYTES_MAX, 1))
        assert not all(taken)
        await until(lambda: len(b.heard) == sum(taken))


async def test_a_peer_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_S", 0.05)
    async with peers(Peer("a"), Peer("b")) as (a, b):
        a.say(b, Heartbeat("s"))
        await until(lambda: bool(b.heard))
        (line,) = a.door._members
        heard_at = line.last_heard
        await until(lambda: line.last_heard > heard_at)  # signs of life keep it
        assert list(a.door._members) == [line]
        for one in b.door._members:
            monkeypatch.setattr(one, "put", lambda _: True)  # the host is gone, TCP says nothing
        monkeypatch.setattr(connection, "SILENT_S", 0.2)
        await until(lambda: bool(a.broken))
        assert not a.door._members


async def test_hosts_that_never_answer_hold_nobody_up_and_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take a call and say nothing: an agent's other managers are heard meanwhile."""
    assert CONNECT_S < 5.0
    with ExitStack() as mute:
        first, second = [
            mute.enter_context(socket.create_server(("127.0.0.2", 0))).getsockname()[1]
            for _ in range(2)
        ]
        async with peers(Peer("a"), Peer("b")) as (a, b):
            assert a.door.send(f"127.0.0.2:{first}", Heartbeat("s"))
            assert a.say(b, Heartbeat("s"))
            await until(lambda: bool(b.heard))
            assert not a.broken
            monkeypatch.setattr(endpoint, "CONNECT_S", 0.1)
            assert a.door.send(f"127.0.0.2:{second}", Heartbeat("s"))
            await until(lambda: bool(a.broken))
            assert a.broken == [f"127.0.0.2:{second}"]


async def test_an_expired_certificate_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_S", 0.1)
    async with peers(Peer("a"), Peer("b")) as (a, b):
        a.say(b, Heartbeat("s"))
        await until(lambda: bool(b.heard))
        for one in a.door._members:
            one.valid_until = time.time() - 1
        await until(lambda: not a.door._members)


async def test_a_renewed_certificate_keeps_the_line_and_a_new_role_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "RETIRE_S", 0.05)
    async with peers(Peer("a"), Peer("w", Role.WORKER)) as (a, worker):
        worker.say(a, Heartbeat("1"))
        await until(lambda: len(a.heard) == 1)
        (line,) = worker.door._members
        worker.door.use(credentials("w", Role.WORKER))
        worker.say(a, Heartbeat("2"))
        await until(lambda: len(a.heard) == 2)
        assert list(worker.door._members) == [line]
        worker.door.use(credentials("w", Role.MANAGER))
        worker.say(a, HeartbeatAnswer("3", 1.0))
        await until(lambda: len(a.heard) == 3)
        await until(lambda: line not in worker.door._members)


async def test_a_worker_cannot_claim_a_managers_address() -> None:
    async with peers(Peer("a"), Peer("m"), Peer("w", Role.WORKER)) as (a, manager, worker):
        manager.say(a, Heartbeat("1"))
        await until(lambda: bool(a.heard))
        worker.door._addr = manager.door.addr
        worker.say(a, Heartbeat("2"))
        await until(lambda: a.door.refused["peer"] == 1)
        assert len(a.heard) == 1
