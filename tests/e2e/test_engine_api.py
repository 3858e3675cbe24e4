"""The Engine API over a real socket: who may connect, docker-py's swarm, and joining by token."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import trio
from docker.errors import APIError

from pyswarm.api.hosting import InitSwarm
from pyswarm.api.messages import Response
from pyswarm.errors import AlreadyExists, InvalidArgument
from pyswarm.runtime import MemoryNetwork, TlsNetwork, front
from pyswarm.runtime.daemon import Host, HostConfig, open_host
from pyswarm.runtime.engine import Engine, serve
from pyswarm.runtime.listen import parse_address
from swarms import executor, until


@asynccontextmanager
async def hosted(state_dir: Path, network: Any = None) -> AsyncIterator[Host]:
    config = HostConfig(
        state_dir=state_dir, executor=executor, network=network or MemoryNetwork(), name="node-1"
    )
    async with open_host(config) as host:
        yield host


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[str]:
    """A daemon's socket."""
    path = str(tmp_path / "s.sock")
    async with hosted(tmp_path / "state") as host, trio.open_nursery() as nursery:
        await nursery.start(serve, host, [f"unix://{path}"])
        yield path
        nursery.cancel_scope.cancel()
    assert not os.path.exists(path)


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(tmp_path / "s.sock"))
    left_over.close()
    async with served(tmp_path) as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        async with hosted(tmp_path / "second") as host:
            with pytest.raises(AlreadyExists, match="somebody else listens there"):
                await serve(host, [f"unix://{path}"])
        (tmp_path / "file").write_text("precious")
        async with hosted(tmp_path / "third") as host:
            with pytest.raises(AlreadyExists, match="no socket"):
                await serve(host, [f"unix://{tmp_path}/file"])
        assert (tmp_path / "file").read_text() == "precious"


def test_tcp_is_for_loopback_addresses() -> None:
    assert str(parse_address("tcp://127.0.0.1")) == "tcp://127.0.0.1:2375"
    assert str(parse_address("tcp://[::1]:99")) == "tcp://[::1]:99"
    assert str(parse_address("tcp://localhost:99")) == "tcp://127.0.0.1:99"
    for text in ("tcp://0.0.0.0:2375", "tcp://10.0.0.1", "tcp://", "tcp://host", "tcp://[::]:1"):
        with pytest.raises(InvalidArgument, match="loopback"):
            parse_address(text)
    for text in ("fd://", "unix://relative", "127.0.0.1:2375", "tcp://127.0.0.1:x"):
        with pytest.raises(InvalidArgument, match="cannot listen"):
            parse_address(text)


PAGES = [
    ("127.0.0.1:2375", "", 200),
    ("localhost", "", 200),
    ("[::1]:99", "", 200),
    ("evil.example:2375", "", 403),
    ("", "", 403),
    ("[", "", 403),
    ("127.0.0.1", "Origin: http://evil.example\r\n", 403),
]


async def test_over_tcp_no_web_page_is_answered(tmp_path: Path) -> None:
    address = "127.0.0.77"  # nobody else's, so the port stays free
    with socket.socket() as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    async with hosted(tmp_path) as one, trio.open_nursery() as nursery:
        await nursery.start(serve, one, [f"tcp://{address}:{port}"])
        async with await trio.open_tcp_stream(address, port) as stream:
            for host, more, status in PAGES:
                head = f"GET /_ping HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
                await stream.send_all(head.encode())
                said = await stream.receive_some(4096)
                assert said.startswith(b"HTTP/1.1 %d " % status), host
        nursery.cancel_scope.cancel()


async def test_docker_py_drives_the_swarm(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        await trio.to_thread.run_sync(_drive, f"unix://{path}")


def _drive(url: str) -> None:
    client = docker.DockerClient(base_url=url, timeout=60)
    try:
        assert client.ping()
        assert client.version()["MinAPIVersion"] == "1.41"
        assert client.info()["Swarm"]["LocalNodeState"] == "inactive"
        node_id = client.swarm.init(listen_addr="0.0.0.0:2377", task_history_retention_limit=3)
        assert client.info()["Swarm"]["NodeID"] == node_id
        assert _code(client.swarm.init) == 503
        worker = client.swarm.attrs["JoinTokens"]["Worker"]
        assert client.swarm.attrs["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 3}
        client.swarm.update(rotate_worker_token=True, autolock_managers=True)
        client.swarm.reload()
        assert client.swarm.attrs["JoinTokens"]["Worker"] != worker
        assert client.swarm.get_unlock_key()["UnlockKey"].startswith("SWMKEY-1-")
        # One that ends by itself: docker-py closes no socket, the collector does.
        wanted = {"since": 1, "until": time.time(), "filters": {"type": "node"}}
        events = list(client.events(decode=True, **wanted))
        assert {event["Actor"]["ID"] for event in events} == {node_id}
        assert _code(client.swarm.leave) == 503
        assert client.swarm.leave(force=True)
        assert client.info()["Swarm"]["LocalNodeState"] == "inactive"
    finally:
        client.close()


def _code(call: Callable[[], Any]) -> int:
    with pytest.raises(APIError) as caught:
        call()
    code: int = caught.value.status_code
    return code


async def test_scaling_leaves_tasks_up_to_date(tmp_path: Path) -> None:
    """The CLI's progress counts the tasks that are as the service wants them now."""
    async with hosted(tmp_path) as host:
        await host.init(InitSwarm(listen_addr="x"))
        engine = Engine(host)

        async def ask(method: str, target: str, body: Any = None) -> Any:
            raw = b"" if body is None else json.dumps(body).encode()
            answer = await engine.respond(method, f"/v1.41{target}", {}, raw)
            assert isinstance(answer, Response) and answer.status < 300, answer
            return json.loads(answer.body) if answer.body else None

        async def count() -> int:
            wanted = json.dumps({"service": ["web"], "_up-to-date": ["true"]}).replace(" ", "")
            return len(await ask("GET", f"/tasks?filters={wanted}"))

        async def update(spec: Any) -> None:
            now = await ask("GET", "/services/web")
            await ask("POST", f"/services/web/update?version={now['Version']['Index']}", spec)

        spec: Any = {
            "Name": "web",
            "TaskTemplate": {"ContainerSpec": {"Image": "sleeper"}},
            "Mode": {"Replicated": {"Replicas": 2}},
        }
        await ask("POST", "/services/create", spec)
        assert await count() == 2
        spec["Mode"]["Replicated"]["Replicas"] = 3
        await update(spec)
        assert await count() == 3
        spec["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=b"]
        await update(spec)
        assert await count() < 3


async def test_the_root_is_replaced_by_the_settings(tmp_path: Path) -> None:
    """As `docker swarm ca --rotate` does it: the counter is raised; the swarm shows the rest."""
    async with hosted(tmp_path, TlsNetwork()) as host:
        await host.init(InitSwarm(listen_addr="127.0.0.2:0"))
        engine = Engine(host)

        async def swarm() -> Any:
            answer = await engine.respond("GET", "/v1.41/swarm", {}, b"")
            assert isinstance(answer, Response) and answer.status == 200
            return json.loads(answer.body)

        async def update(spec: Any, version: int) -> tuple[int, bytes]:
            target, raw = f"/v1.41/swarm/update?version={version}", json.dumps(spec).encode()
            answer = await engine.respond("POST", target, {}, raw)
            assert isinstance(answer, Response)
            return answer.status, answer.body

        before = await swarm()
        spec, version = before["Spec"], before["Version"]["Index"]
        spec["CAConfig"] |= {"SigningCACert": "no certificate"}
        status, said = await update(spec, version)
        assert (status, b"SigningCA" in said) == (400, False)
        spec["CAConfig"] = {**before["Spec"]["CAConfig"], "ForceRotate": 1}
        del spec["CAConfig"]["SigningCACert"]
        assert await update(spec, version) == (200, b"")
        assert (await update(spec, version))[0] == 500  # out of sequence

        async def replaced() -> bool:
            now = await swarm()
            return bool(
                not now["RootRotationInProgress"]
                and now["TLSInfo"]["TrustRoot"] != before["TLSInfo"]["TrustRoot"]
                and now["JoinTokens"] != before["JoinTokens"]
            )

        await until(replaced)
        assert (await swarm())["Spec"] == spec


async def test_why_a_join_is_refused(tmp_path: Path) -> None:
    """Recorded: golden/errors.jsonl, "inactive node; n1 is leader"."""
    async with (
        hosted(tmp_path / "a", TlsNetwork()) as one,
        hosted(tmp_path / "b", TlsNetwork()) as two,
    ):
        await one.init(InitSwarm(listen_addr="127.0.0.2:0"))
        member, engine = one.member(), Engine(two)
        token = await front.join_token(member, "worker")
        digest = token.split("-")[2]
        other = token.replace(digest, digest[:9] + ("0" if digest[9] != "0" else "1") + digest[10:])

        async def join(text: str) -> tuple[int, str]:
            body = {"ListenAddr": "127.0.0.3:0", "RemoteAddrs": [member.addr], "JoinToken": text}
            raw = json.dumps(body).encode()
            answer = await engine.respond("POST", "/v1.41/swarm/join", {}, raw)
            assert isinstance(answer, Response)
            return answer.status, json.loads(answer.body)["message"] if answer.body else ""

        refused = "rpc error: code = InvalidArgument desc = A valid join token is necessary to join"
        wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
        for text in ("", wrong):
            assert await join(text) == (400, f"{refused} this cluster")
        status, said = await join(other)
        assert (status, said[:50]) == (
            500,
            "remote CA does not match fingerprint. Expected: " + said[48:50],
        )
        assert await join("nonsense") == (500, "invalid join token")
        assert await join(token) == (200, "")
