"""Every recorded refusal of the system, swarm and distribution paths, as raw requests.

Answered by the engine on a host in memory: outside a swarm, as the only manager, as a worker and
locked. golden/errors.jsonl was taken from Docker 20.10.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyswarm.api.hosting import HostState, InitSwarm, JoinSwarm
from pyswarm.api.messages import Response
from pyswarm.runtime import MemoryNetwork, front
from pyswarm.runtime.daemon import Host, HostConfig, open_host
from pyswarm.runtime.engine import Engine
from swarms import executor

RECORDS = Path(__file__).parents[2] / "golden" / "errors.jsonl"
PATHS = ("/swarm", "/distribution", "/version", "/events", "/bogus")

ELSEWHERE = {
    "joins a swarm over TLS: tests/e2e": lambda one: (
        "RemoteAddrs" in str(one["body"]) and one["state"] == "inactive node; n1 is leader"
    ),
    "asks a registry: tests/e2e": lambda one: (
        one["path"].startswith("/v1.41/distribution") and one["status"] == 500
    ),
    "needs three managers: tests/e2e": lambda one: "managers" in one["state"],
    "addresses need sockets: unit/runtime_daemon": lambda one: "nosuchiface" in str(one["body"]),
    "succeeds, and so leaves the state (below)": lambda one: (
        one["status"] == 200 and one["path"].endswith("/init")
    ),
}


def records(*states: str) -> list[Any]:
    found = []
    for line in RECORDS.read_text().splitlines():
        one = json.loads(line)
        path = one["path"].removeprefix("/v1.41")
        if one["state"] not in states or not path.startswith(PATHS):
            continue
        if not any(test(one) for test in ELSEWHERE.values()):
            found.append(one)
    assert found
    return found


@asynccontextmanager
async def hosted(state_dir: Path, network: MemoryNetwork | None = None) -> AsyncIterator[Host]:
    config = HostConfig(
        state_dir=state_dir, executor=executor, network=network or MemoryNetwork(), name="node-1"
    )
    async with open_host(config) as host:
        yield host


async def differences(host: Host, wanted: list[Any]) -> list[str]:
    """Where our answers differ from the recorded ones."""
    engine, found = Engine(host), []
    for one in wanted:
        target = one["path"]
        if "version=1722" in target or ("version=36" in target and one["status"] != 500):
            target = target.replace("1722", "36")
            now = host.member().node.store.swarm.version
            target = target.replace("version=36", f"version={now}")
        body = one["body"]
        raw = b"" if body is None else body if isinstance(body, str) else json.dumps(body)
        raw = raw.encode() if isinstance(raw, str) else raw
        answer = await engine.respond(one["method"], target, {}, raw)
        assert isinstance(answer, Response)
        said = json.loads(answer.body) if answer.body else ""
        wants = one["response"] or ""
        if (answer.status, said) != (one["status"], wants):
            found.append(f"{one['case']} {target} {body}: {answer.status} {said}, not {wants}")
    return found


INIT = InitSwarm(listen_addr="x")


async def test_outside_a_swarm(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        wanted = records("node is not part of a swarm")
        assert len(wanted) > 10
        assert await differences(host, wanted) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ForceNewCluster": True}, 200),
        ({"DefaultAddrPool": ["10.20.0.0/16", "10.20.5.0/24"]}, 200),
        ({"SubnetSize": 31}, 500),  # Docker takes it, and no network ever gets an address
    ],
)
async def test_what_docker_takes_at_init(tmp_path: Path, body: Any, status: int) -> None:
    async with hosted(tmp_path) as host:
        raw = json.dumps({"ListenAddr": "0.0.0.0:2377", **body}).encode()
        answer = await Engine(host).respond("POST", "/v1.41/swarm/init", {}, raw)
        assert isinstance(answer, Response) and answer.status == status


async def test_on_a_manager(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        await host.init(INIT)
        assert await differences(host, records("leader of healthy swarm", "single manager")) == []


async def test_on_a_worker(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as two:
        await one.init(INIT)
        member = one.member()
        token = await front.join_token(member, "worker")
        await two.join(JoinSwarm(listen_addr="y", remote_addrs=(member.addr,), token=token))
        assert await differences(two, records("worker of healthy swarm")) == []


async def test_locked(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        await host.init(INIT)
        engine = Engine(host)
        swarm = host.member().node.store.swarm
        body = json.dumps({"EncryptionConfig": {"AutoLockManagers": True}}).encode()
        target = f"/v1.41/swarm/update?version={swarm.version}"
        answer = await engine.respond("POST", target, {}, body)
        assert isinstance(answer, Response) and answer.status == 200
    async with hosted(tmp_path) as host:
        assert host.state().state is HostState.LOCKED
        assert await differences(host, records("locked manager")) == []


@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_exception_is_about_a_record(name: str) -> None:
    lines = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    assert any(ELSEWHERE[name](one) for one in lines)
