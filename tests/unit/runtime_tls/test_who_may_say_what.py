"""Every message × every role: who may say it is heard, whoever else is refused and counted."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import trio

import pyswarm.runtime.front  # noqa: F401 - registers the messages about logs
from pyswarm.errors import Unavailable
from pyswarm.model import Identity, Node, NodeDescription, Request, Role, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.model.session import (
    Assignments,
    Heartbeat,
    HeartbeatAnswer,
    OpenSession,
    ReportStatus,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
)
from pyswarm.node.messages import Farewell, ForwardReply, ForwardRequest, RaftPacket
from pyswarm.raft.message import VoteRequest
from pyswarm.runtime.front.logdesk import LogsEnough, LogsGiven, LogsWanted, Wish
from pyswarm.runtime.front.places import refusals
from pyswarm.runtime.tls import connection, wire
from pyswarm.runtime.tls.credentials import blind_context
from pyswarm.runtime.tls.exchange import (
    CertificateGiven,
    CertificateWanted,
    Hello,
    JoinGiven,
    JoinWanted,
    Ping,
    RootGiven,
    RootWanted,
)
from pyswarm.runtime.tls.stream import TlsStream
from swarms import until
from unit.runtime_tls.test_endpoint import Peer, peers

ME = Identity("w", Role.WORKER, "swarm")
WISH = Wish("task", 0.0, False, None, True, True)
DESCRIPTION = NodeDescription(hostname="x")

ANYONE: list[Any] = [
    Hello("x:1", "w"),
    Ping(),
    RootWanted(),
    RootGiven(b"root"),
    JoinWanted("id", "token", "x:1", DESCRIPTION, b"csr"),
]
"""What may be said without a certificate."""

MEMBERS: list[Any] = [
    CertificateWanted(1, b"csr"),
    Farewell("id"),
    OpenSession("s", DESCRIPTION),
    Heartbeat("s"),
    ReportStatus("s", 1, ()),
    SessionRefused("s", "unavailable", "no"),
    LogsGiven(1, 1),
]
"""What a node may say for itself, whatever its role."""

MANAGERS: list[Any] = [
    JoinGiven("id"),
    CertificateGiven(1),
    RaftPacket(VoteRequest(1, 2, 9, 0, 5, 5)),
    ForwardRequest(1, Request("id", CreateService(service_spec("web", image="web")), ME)),
    ForwardReply(1, None, Unavailable("no")),
    SessionOpened("s", 5.0, Node("w"), ()),
    HeartbeatAnswer("s", 5.0),
    SessionChanged("s", Node("w"), ()),
    Assignments("s", 1, True),
    StatusRecorded("s", 1),
    LogsWanted(1, 1, WISH),
    LogsEnough(1),
]

EVERYTHING = [*ANYONE, *MEMBERS, *MANAGERS]
INSIDE = (Ping, RootWanted)
"""Answered by the connection; nobody behind it hears of them."""


def test_the_table_is_whole() -> None:
    """A new message is not heard from anybody before somebody wrote down here who may say it."""
    table = {
        **{type(one): wire.Sender.ANYONE for one in ANYONE},
        **{type(one): wire.Sender.MEMBER for one in MEMBERS},
        **{type(one): wire.Sender.MANAGER for one in MANAGERS},
    }
    assert {kind.cls: kind.sender for kind in wire.kinds()} == table


@pytest.mark.parametrize(
    ("role", "heard"),
    [(Role.WORKER, [*ANYONE, *MEMBERS]), (Role.MANAGER, EVERYTHING)],
)
async def test_what_a_member_may_say(role: Role, heard: list[Any]) -> None:
    async with peers(Peer("a"), Peer("w", role)) as (a, member):
        for message in EVERYTHING:
            assert member.say(a, message)
        assert member.say(a, Heartbeat("last"))
        expected = [type(one) for one in heard if not isinstance(one, INSIDE)] + [Heartbeat]
        await until(lambda: len(a.heard) + a.door.refused["role"] == len(EVERYTHING) - 1)
        assert sorted(map(_name, a.messages)) == sorted(one.__name__ for one in expected)
        assert a.door.refused["role"] == len(EVERYTHING) - len(heard)
        assert {sender for sender, _, _ in a.heard} == {"w"}


@pytest.mark.parametrize("role", list(Role))
async def test_a_removed_node_may_say_nothing(role: Role) -> None:
    async with peers(Peer("a"), Peer("w", role)) as (a, member):
        assert member.say(a, Heartbeat("before"))
        await until(lambda: bool(a.heard))
        a.door.is_revoked = lambda node_id: node_id == "w"
        for message in EVERYTHING:
            assert member.say(a, message)
        await until(
            lambda: a.door.refused["removed"] == len(EVERYTHING) - 1
        )  # all but signs of life
        assert a.messages == [Heartbeat("before")]


async def test_without_a_certificate_one_may_only_ask_to_join() -> None:
    """The first wrong word ends the line."""
    async with peers(Peer("a")) as (a,):
        heard: list[str] = []
        a.door._receive = lambda identity, addr, message: heard.append(_name(message))
        for message in EVERYTHING:
            await whisper(a.door.port, message)
        refused = len(MEMBERS) + len(MANAGERS)
        await until(lambda: a.door.refused["no certificate"] == refused)
        expected = [_name(one) for one in ANYONE if not isinstance(one, INSIDE)]
        await until(lambda: sorted(heard) == sorted(expected))
        assert not a.door._members


async def test_a_member_of_a_newer_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once at a level that is seen; what strangers say is not."""
    kind = wire.kind_of(Heartbeat).number
    told: list[tuple[str, str, dict[str, Any]]] = []
    async with peers(Peer("a"), Peer("w", Role.WORKER)) as (a, member):
        a.door.on_refused = refusals(lambda *said: told.append(said))
        newer = msgpack.packb((wire.WIRE_VERSION, kind, {0: "s", 99: "later"}))
        for count in (1, 2):
            with monkeypatch.context() as patched:
                patched.setattr(wire, "encode", lambda said: newer)
                assert member.say(a, Heartbeat("s"))
            await until(lambda: a.door.refused["garbage"] == count)  # noqa: B023
            await until(lambda: not member.door._members)
    (event, level, fields), (_, later, _) = told
    assert (event, level, later) == ("peer.refused", "warning", "debug")
    assert fields["node"] == "w"
    assert fields["error"] == "malformed Heartbeat: Heartbeat: unknown field 99"
    assert fields["hint"] == "this was written by a newer version of pyswarm"
    refusals(lambda *said: told.append(said))("garbage", {"node": "", "error": "noise"})
    assert told[-1][1] == "debug"


async def whisper(port: int, message: Any) -> None:
    """Say one thing on a line of its own, and hang up."""
    tcp = await trio.open_tcp_stream("127.0.0.2", port)
    stream = TlsStream(tcp, blind_context())
    line = connection.Connection(stream, dialed=True)
    await line.begin(Hello(), now=0.0)
    line.put(message)
    await line._write_waiting()
    await line.close()


def _name(message: Any) -> str:
    return type(message).__name__
