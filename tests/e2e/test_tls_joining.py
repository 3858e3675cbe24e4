"""Joining and renewing over TLS where something is odd: each ends in a member or a typed error."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import Cluster
from pyswarm.ca import JoinToken, renewal
from pyswarm.errors import FailedPrecondition, InvalidArgument, Unavailable
from pyswarm.model import NodeDescription, Role
from pyswarm.runtime import Counters, MemoryNetwork, TlsNetwork
from pyswarm.runtime.storage import MemoryDirectory
from pyswarm.runtime.tls import Credentials, TlsEndpoint, joining, registrar
from pyswarm.runtime.tls.exchange import CertificateWanted, JoinWanted
from swarms import WAIT_S, executor, until


def founded(**options: Any) -> Any:
    options = {"listen_addr": "127.0.0.2:0", "network": TlsNetwork(), **options}
    return Cluster.init(executor=executor(), **options)


def joined(remote: str, token: str, **options: Any) -> Any:
    options = {"listen_addr": "127.0.0.3:0", "network": TlsNetwork(), **options}
    return Cluster.join([remote], token, executor=executor(), **options)


def door(cluster: Cluster) -> TlsEndpoint:
    found = cluster._member.node.endpoint
    assert isinstance(found, TlsEndpoint)
    return found


def serial(cluster: Cluster) -> int:
    return door(cluster).credentials.certificate.serial


async def test_through_a_follower() -> None:
    async with founded() as founder:
        manager = await founder.join_token("manager")
        worker = await founder.join_token("worker")
        async with (
            joined(founder.addr, manager) as follower,
            joined(follower.addr, worker) as third,
        ):
            assert not third.is_manager
            assert len(await founder.nodes.list()) == 3


async def test_a_manager_joins_a_swarm_of_five_megabytes() -> None:
    """Docker's managers could not join one of more than 4 MB: the snapshot was one message."""
    number, size = 13, 400_000
    async with founded() as founder:
        await founder.update(snapshot_interval=number, log_entries_for_slow_followers=0)
        for one in range(number):
            await founder.configs.create(f"c{one}", bytes([one]) * size)

        async def stands_in_a_snapshot() -> bool:
            log = (await founder.status()).log
            return log is not None and log.first_index > number

        await until(stands_in_a_snapshot)
        async with joined(founder.addr, await founder.join_token("manager")) as manager:
            log = (await manager.status()).log
            assert log is not None and log.voters == 2 and log.snapshot_index >= number
            found = manager._member.node.store.configs()
            assert [len(one.payload.ciphertext) > size for one in found] == [True] * number


async def test_a_worker_gets_no_token_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is that of a member; a manager's token is not shown there."""
    monkeypatch.setattr(joining, "JOIN_TIMEOUT_S", 0.5)
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder.addr, token) as worker:
            with pytest.raises(Unavailable, match="is no manager"):
                async with joined(worker.addr, await founder.join_token("manager")):
                    pass


async def test_a_rotated_token_is_refused_and_members_stay() -> None:
    async with founded() as founder:
        old = await founder.join_token("worker")
        async with joined(founder.addr, old) as worker:
            new = await founder.rotate_join_token("worker")
            with pytest.raises(InvalidArgument, match="valid join token is necessary"):
                async with joined(founder.addr, old):
                    pass
            async with joined(founder.addr, new):
                assert len(await founder.nodes.list()) == 3
            await worker.wait_ready(timeout=WAIT_S)


@asynccontextmanager
async def asking(founder: Cluster, token: str) -> AsyncIterator[tuple[bytes, JoinWanted, bytes]]:
    root, _ = await joining.pinned_root([founder.addr], JoinToken.parse(token))
    key, csr = joining.new_request()
    described = NodeDescription(hostname="again")
    yield root, JoinWanted("the-same-id", token, "127.0.0.3:1", described, csr), key


async def test_a_joiner_that_asks_again_is_the_same_node() -> None:
    """It crashed after its first request; its second one has another key."""
    async with founded() as founder:
        token = await founder.join_token("worker")
        found = []
        for _ in range(2):
            async with asking(founder, token) as (root, wanted, key):
                found.append(await joining.join([founder.addr], root, wanted, key))
        (first, one), (second, other) = found
        assert first.node_id == second.node_id
        assert one.key_pem != other.key_pem
        assert len(await founder.nodes.list()) == 2


async def test_a_request_id_alone_gives_no_certificate() -> None:
    """The record of an earlier join does not look at tokens; the one who signs does."""
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with asking(founder, token) as (root, wanted, key):
            await joining.join([founder.addr], root, wanted, key)
        wrong = str(JoinToken.parse(token).rotated())
        async with asking(founder, wrong) as (root, wanted, key):
            with pytest.raises(InvalidArgument, match="valid join token is necessary"):
                await joining.join([founder.addr], root, wanted, key)


async def test_the_token_alone_decides_the_role() -> None:
    async with founded() as founder:
        async with joined(founder.addr, await founder.join_token("worker")) as worker:
            assert door(worker).identity.role is Role.WORKER
            names = door(worker).credentials.certificate.dns_names
            assert "swarm-ca" not in names
        assert door(founder).identity.role is Role.MANAGER


async def test_behind_an_address_of_another_name() -> None:
    """What is advertised is not where the node listens: as with a NAT or a host's name."""
    async with Cluster.init(
        network=TlsNetwork(),
        listen_addr="0.0.0.0:0",
        advertise_addr="127.0.0.2",
        executor=executor(),
    ) as founder:
        assert founder.addr.startswith("127.0.0.2:")
        port = founder.addr.rpartition(":")[2]
        token = await founder.join_token("worker")
        async with joined(f"localhost:{port}", token, listen_addr="0.0.0.0:0") as worker:
            assert worker.addr.startswith("127.0.0.1:")  # what reaches the manager
            await until(lambda: bool(worker._member.node.machine.agent.session_id))
            web = await founder.services.create("web", image="sleeper", replicas=2)
            await web.wait_converged(timeout=WAIT_S)
            assert len({task.node_id for task in await web.running()}) == 2


async def test_certificates_are_renewed_in_time_and_the_lines_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "renewal_time", lambda *_: time.time() + 0.5)
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder.addr, token) as worker:
            before = {cluster: serial(cluster) for cluster in (founder, worker)}
            session = worker._member.node.machine.agent.session_id
            (line,) = door(worker)._members
            await until(lambda: all(serial(one) != old for one, old in before.items()))
            assert worker._member.node.machine.agent.session_id == session
            assert list(door(worker)._members) == [line]
            assert door(worker).identity.role is Role.WORKER


async def test_a_renewal_that_fails_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its manager is away for a while: the node goes on with what it has."""
    said: list[dict[str, Any]] = []

    class Listening(Counters):
        def event(self, name: str, fields: dict[str, Any]) -> None:
            if name == "certificate.late":
                said.append(fields)

    monkeypatch.setattr(renewal, "renewal_time", lambda *_: time.time() + 0.2)
    monkeypatch.setattr(renewal, "retry_delay", lambda failures, rng: 0.1)
    monkeypatch.setattr(registrar, "RENEW_ANSWER_S", 0.5)
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder.addr, token, observer=Listening()) as worker:
            current = founder._member.node.taps.pop(CertificateWanted)
            await until(lambda: len(said) >= 2)
            assert "does not answer" in said[-1]["error"]
            before = serial(worker)
            founder._member.node.taps[CertificateWanted] = current
            await until(lambda: serial(worker) != before)


async def test_the_key_is_kept_and_never_in_clear_while_locked(tmp_path: Path) -> None:
    """The unlock key opens it; without, no byte of it can be found on the disk."""
    async with founded(state_dir=tmp_path, autolock=True) as founder:
        unlock_key = await founder.unlock_key()
        credentials = door(founder).credentials
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"BEGIN PRIVATE KEY" not in stored
    assert credentials.key_pem.splitlines()[1] not in stored
    async with Cluster.open(
        tmp_path, unlock_key=unlock_key, network=TlsNetwork(), executor=executor()
    ) as founder:
        assert door(founder).credentials == credentials


async def test_what_is_lost_is_said() -> None:
    directory = MemoryDirectory()
    async with Cluster.init(
        state_dir=directory, network=MemoryNetwork(), executor=executor()
    ) as cluster:
        assert cluster.is_leader
    with pytest.raises(FailedPrecondition, match="this node has no certificate"):
        async with Cluster.open(
            directory, network=TlsNetwork(), listen_addr="127.0.0.2:0", executor=executor()
        ):
            pass
    with pytest.raises(InvalidArgument, match="cannot be read"):
        Credentials.from_bytes(b"\xc1")


async def test_a_node_that_left_forgets_its_certificate(tmp_path: Path) -> None:
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder.addr, token, state_dir=tmp_path / "w") as worker:
            await worker.leave()

        async def is_down() -> bool:
            nodes = await founder.nodes.list()
            return sorted(str(node.state) for node in nodes) == ["down", "ready"]

        await until(is_down)
        with pytest.raises(FailedPrecondition, match="holds no node"):
            async with Cluster.open(tmp_path / "w", network=TlsNetwork(), executor=executor()):
                pass
        with trio.fail_after(WAIT_S):
            async with joined(founder.addr, token, state_dir=tmp_path / "w"):
                assert len(await founder.nodes.list()) == 3
