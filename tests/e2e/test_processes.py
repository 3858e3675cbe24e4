"""Nodes as OS processes: join over TLS, lose the leader by ``kill -9``, and go on; and strangers
who mean no good."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from pyswarm import Cluster
from pyswarm.ca import RootCA
from pyswarm.model import Identity, NodeDescription, Role
from pyswarm.model.requests import CreateNetwork, Request
from pyswarm.model.session import Heartbeat, OpenSession
from pyswarm.model.specs import NetworkSpec
from pyswarm.node.messages import ForwardRequest, RaftPacket
from pyswarm.raft.message import VoteRequest
from pyswarm.runtime import TlsNetwork
from pyswarm.runtime.tls import Credentials, connection, endpoint, frames, wire
from pyswarm.runtime.tls.credentials import blind_context, trusting_context
from pyswarm.runtime.tls.exchange import Hello, JoinWanted, RootGiven, RootWanted
from swarms import WAIT_S, executor, until

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="addresses 127.0.0.x are Linux's"
)

NODE = Path(__file__).with_name("node_process.py")
YEAR_S = 365 * 24 * 3600.0


class Process:
    """A node that is another process."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""
        self.node_id = ""
        self.addr = ""

    async def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with trio.fail_after(2 * WAIT_S):
            while b"\n" not in self._buffer:
                data = await self._process.stdout.receive_some()
                assert data, "the node's process has ended"
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(command.encode() + b"\n")
        answer = await self.answer()
        assert "error" not in answer, answer
        return answer

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)

    async def wait(self) -> None:
        await self._process.wait()


@asynccontextmanager
async def process(state_dir: Path, listen: str, *join: str) -> AsyncIterator[Process]:
    async with trio.open_nursery() as nursery:
        yield await started(nursery, [], state_dir, listen, *join)
        nursery.cancel_scope.cancel()


async def started(
    nursery: trio.Nursery, inside: list[str], state_dir: Path, listen: str, *join: str
) -> Process:
    """A node's process, begun by the command ``inside``."""
    run = partial(
        trio.run_process,
        [*inside, sys.executable, str(NODE), str(state_dir), listen, *join],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
        deliver_cancel=_kill,
    )
    node = Process(await nursery.start(run))
    hello = await node.answer()
    node.node_id, node.addr = hello["node_id"], hello["addr"]
    return node


async def _kill(process: trio.Process) -> None:
    process.kill()


async def test_three_processes_survive_the_loss_of_their_leader(tmp_path: Path) -> None:
    """Managers on three addresses; the leader's process dies; the next write is accepted."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(process(tmp_path / "1", "127.0.0.2:0"))
        token = (await first.ask("token manager"))["token"]
        others = [
            await stack.enter_async_context(
                process(tmp_path / str(n), f"127.0.0.{n + 1}:0", first.addr, token)
            )
            for n in (2, 3)
        ]
        assert [node.addr.partition(":")[0] for node in others] == ["127.0.0.3", "127.0.0.4"]
        await first.ask("create web")
        everyone = sorted([first.node_id, *(node.node_id for node in others)])
        await until(partial(runs_on, others[0], "web", everyone))
        assert (await first.ask("leads"))["leads"]
        first.kill()
        written = await others[0].ask("create after")
        assert written["took_s"] < WAIT_S
        leads = [(await node.ask("leads"))["leads"] for node in others]
        assert sorted(leads) == [False, True]
        survivors = sorted(node.node_id for node in others)
        await until(partial(runs_within, others[1], "after", survivors), 3 * WAIT_S)


async def test_all_processes_die_at_once_and_start_again(tmp_path: Path) -> None:
    """What was answered is there; each proves itself by the certificate it had."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(process(tmp_path / "1", "127.0.0.2:0"))]
        token = (await nodes[0].ask("token manager"))["token"]
        for n in (2, 3):
            join = (tmp_path / str(n), f"127.0.0.{n + 1}:0", nodes[0].addr, token)
            nodes.append(await stack.enter_async_context(process(*join)))
        await nodes[0].ask("create web")
        for node in nodes:
            node.kill()
        for node in nodes:
            await node.wait()
        again = [
            await stack.enter_async_context(process(tmp_path / str(n), node.addr))
            for n, node in enumerate(nodes, 1)
        ]
        assert [node.addr for node in again] == [node.addr for node in nodes]
        assert [node.node_id for node in again] == [node.node_id for node in nodes]
        await again[1].ask("create after")
        everyone = [node.node_id for node in nodes]
        await until(partial(runs_within, again[2], "web", everyone), 2 * WAIT_S)


async def test_a_worker_process_that_dies_is_seen(tmp_path: Path) -> None:
    async with founded(tmp_path) as founder:
        await founder.update(heartbeat_period=1.0)
        token = await founder.join_token("worker")
        async with process(tmp_path / "w", "127.0.0.4:0", founder.addr, token) as worker:

            async def is_(state: str) -> bool:
                return str((await founder.nodes.get(worker.node_id)).state) == state

            await until(partial(is_, "ready"))
            worker.kill()
            await until(partial(is_, "down"))


async def runs_on(node: Process, service: str, nodes: list[str]) -> bool:
    return bool((await node.ask(f"running {service}"))["nodes"] == nodes)


async def runs_within(node: Process, service: str, nodes: list[str]) -> bool:
    found = (await node.ask(f"running {service}"))["nodes"]
    return len(found) == 3 and set(found) <= set(nodes)


# -- hostile peers


@asynccontextmanager
async def founded(state_dir: Path) -> AsyncIterator[Cluster]:
    async with Cluster.init(
        state_dir=state_dir / "founder",
        listen_addr="127.0.0.2:0",
        network=TlsNetwork(),
        executor=executor(),
    ) as cluster:
        yield cluster


def door(cluster: Cluster) -> endpoint.TlsEndpoint:
    found = cluster._member.node.endpoint
    assert isinstance(found, endpoint.TlsEndpoint)
    return found


async def still_serves(cluster: Cluster, name: str) -> None:
    """A write is accepted, and nobody was let in."""
    with trio.fail_after(WAIT_S):
        await cluster.configs.create(name, b"x")
    assert len(await cluster.nodes.list()) == 1


async def call(cluster: Cluster, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    host, _, port = cluster.addr.rpartition(":")
    tcp = await trio.open_tcp_stream(host, int(port))
    return trio.SSLStream(tcp, context, https_compatible=False)


SILENCE_S = 1.0  # so long is listened to a line on which nothing should come


async def talk(
    cluster: Cluster, context: ssl.SSLContext, *messages: Any, raw: bytes = b"", answers: int = 0
) -> list[Any]:
    """Say hello, then ``messages`` and ``raw``; what is answered until the line is closed, or
    until there are so many ``answers``."""
    queue = frames.SendQueue()
    for message in (Hello(), *messages):
        queue.put(wire.Lane.COMMON, wire.encode(message))
    stream = await call(cluster, context)
    reader, found = frames.FrameReader(), []
    try:
        while fragment := queue.next_fragment():
            await stream.send_all(fragment)
        if raw:
            await stream.send_all(raw)
        with trio.move_on_after(WAIT_S if answers else SILENCE_S):
            while data := await stream.receive_some(65536):
                heard = [wire.decode(one)[1] for one in reader.feed(bytes(data))]
                found += [one for one in heard if not isinstance(one, Hello)]
                if answers and len(found) >= answers:
                    break
    except (trio.BrokenResourceError, ssl.SSLError):
        pass
    finally:
        await trio.aclose_forcefully(stream)
    return found


def a_frame(message: bytes) -> bytes:
    queue = frames.SendQueue()
    queue.put(wire.Lane.COMMON, message)
    return queue.next_fragment()


def own_certificate(cluster: Cluster, identity: Identity, now: float | None = None) -> Any:
    """A certificate that the swarm's own authority signed, whatever it says."""
    state = cluster._member.node.store.swarm.root_ca
    root = RootCA.load(state.cert, state.key)
    made_at = cluster._member.node.clock.realtime() if now is None else now
    return Credentials.signed_by(root, identity, made_at, 3600.0)


RAFT = RaftPacket(VoteRequest(1, 2, 99, 0, 50, 50))
WRITE = ForwardRequest(1, Request("stolen", CreateNetwork(NetworkSpec("stolen"))))


async def test_garbage_is_refused(tmp_path: Path) -> None:
    async with founded(tmp_path) as cluster:
        host, _, port = cluster.addr.rpartition(":")
        for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(500), b"\0" * 5000):
            tcp = await trio.open_tcp_stream(host, int(port))
            await tcp.send_all(noise)
            with trio.move_on_after(1):
                try:
                    while await tcp.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
            await trio.aclose_forcefully(tcp)
        oversized = struct.pack(">BBBxII", 1, 2, 1, 1004, 2**31 - 1) + b"x" * 1000
        for raw in (
            os.urandom(400),
            oversized,
            struct.pack(">BBBxI", 1, 2, 1, 2**32 - 1),
            struct.pack(">BBBxI", 7, 0, 0, 0),
            a_frame(b"\xc1"),
            a_frame(msgpack.packb((1, 9999, {}))),
            a_frame(msgpack.packb((1, 5, {0: 5, 1: [], 2: None}))),
            a_frame(msgpack.packb([[[[]]]] * 100)),
        ):
            assert await talk(cluster, blind_context(), raw=raw) == []
        await until(lambda: door(cluster).refused["garbage"] >= 3)
        await still_serves(cluster, "after-garbage")


async def test_without_a_certificate_only_joining_is_heard(tmp_path: Path) -> None:
    async with founded(tmp_path) as cluster:
        (given,) = await talk(cluster, blind_context(), RootWanted(), answers=1)
        assert isinstance(given, RootGiven)
        description = NodeDescription(hostname="x")
        for said in (RAFT, WRITE, OpenSession("", description), Heartbeat("x")):
            assert await talk(cluster, trusting_context(given.root), said) == []
        await until(lambda: door(cluster).refused["no certificate"] == 4)
        wanted = JoinWanted("1", "SWMTKN-1-x", "127.0.0.9:1", description, b"csr")
        (answer,) = await talk(cluster, trusting_context(given.root), wanted, answers=1)
        error = wire.unpack_error(answer.error)
        assert error is not None
        assert "valid join token" in str(error)
        assert not answer.chain
        await still_serves(cluster, "after-strangers")


async def test_a_worker_may_not_do_what_managers_do(tmp_path: Path) -> None:
    async with founded(tmp_path) as cluster:
        swarm_id = cluster._member.node.machine.identity.swarm_id
        proof = own_certificate(cluster, Identity("w" * 25, Role.WORKER, swarm_id))
        assert await talk(cluster, proof.client_context(), RAFT, WRITE) == []
        await until(lambda: door(cluster).refused["role"] == 2)
        assert [one.name for one in await cluster.networks.list()] != ["stolen"]
        await still_serves(cluster, "after-worker")


async def test_wrong_certificates_are_refused(tmp_path: Path) -> None:
    async with founded(tmp_path) as cluster:
        node = cluster._member.node
        swarm_id = node.machine.identity.swarm_id
        me = Identity("m" * 25, Role.MANAGER, swarm_id)
        now = node.clock.realtime()
        foreign = Credentials.signed_by(RootCA.create(now), me, now, 3600.0)
        expired = own_certificate(cluster, me, now - YEAR_S)
        elsewhere = own_certificate(cluster, Identity("m" * 25, Role.MANAGER, "other"))
        for proof in (foreign, expired, elsewhere):
            context = proof.client_context()
            context.verify_mode = ssl.CERT_NONE  # a thief does not look at ours
            assert await talk(cluster, context, WRITE) == []
        assert "stolen" not in [one.name for one in await cluster.networks.list()]
        refused = door(cluster).refused
        await until(lambda: refused["handshake"] + refused["peer"] == 3)
        await still_serves(cluster, "after-thieves")


async def test_silent_callers_and_slow_senders_cost_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 lines that say nothing, and one that says its hello byte by byte."""
    patient_s = connection.HANDSHAKE_S
    async with founded(tmp_path) as cluster:
        monkeypatch.setattr(connection, "HANDSHAKE_S", 3 * WAIT_S)
        host, _, port = cluster.addr.rpartition(":")
        silent = []
        for _ in range(200):
            sock = socket.socket()
            sock.connect((host, int(port)))
            silent.append(sock)
        await until(lambda: door(cluster).refused["crowd"] >= 200 - endpoint.HANDSHAKES_MAX)
        assert len(door(cluster)._handshakes) <= endpoint.HANDSHAKES_MAX
        # The door is open meanwhile.
        (given,) = await talk(cluster, blind_context(), RootWanted(), answers=1)
        assert isinstance(given, RootGiven)
        monkeypatch.setattr(connection, "HANDSHAKE_S", 1.5)
        stream = await call(cluster, blind_context())
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError)):
            with trio.fail_after(WAIT_S):
                for byte in a_frame(wire.encode(Hello("x" * 500))):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.05)
        await trio.aclose_forcefully(stream)
        monkeypatch.setattr(connection, "HANDSHAKE_S", patient_s)
        for sock in silent:
            sock.close()
        await until(lambda: not door(cluster)._handshakes)
        token = await cluster.join_token("worker")
        async with Cluster.join(
            [cluster.addr],
            token,
            listen_addr="127.0.0.3:0",
            network=TlsNetwork(),
            executor=executor(),
        ):
            assert len(await cluster.nodes.list()) == 2
