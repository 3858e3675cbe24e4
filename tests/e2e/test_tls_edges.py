"""Members of a swarm over TLS where something is odd, and peers that mean no good."""

from __future__ import annotations

import resource
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import Cluster
from pyswarm.ca import JoinToken, NodeCertificate
from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    Locked,
    PermissionDenied,
    SwarmError,
    Unavailable,
)
from pyswarm.model import NodeDescription, Role
from pyswarm.runtime import TlsNetwork
from pyswarm.runtime.front.leaving import ManagerLeaves
from pyswarm.runtime.tls import TlsEndpoint, connection, endpoint, joining
from pyswarm.runtime.tls.exchange import CertificateGiven, CertificateWanted, JoinWanted
from swarms import WAIT_S, executor, until


def founded(**options: Any) -> Any:
    return Cluster.init(listen_addr="127.0.0.2:0", executor=executor(), **options)


def joined(remote: Cluster | str, token: str, **options: Any) -> Any:
    addr = remote if isinstance(remote, str) else remote.addr
    return Cluster.join([addr], token, listen_addr="127.0.0.3:0", executor=executor(), **options)


def opened(directory: Path, **options: Any) -> Any:
    return Cluster.open(directory, network=TlsNetwork(), executor=executor(), **options)


def door(cluster: Cluster) -> TlsEndpoint:
    found = cluster._member.node.endpoint
    assert isinstance(found, TlsEndpoint)
    return found


def seats(cluster: Cluster) -> int:
    manager = cluster._member.node.machine.manager
    return len(manager.replica.configuration.voters) if manager is not None else 0


@asynccontextmanager
async def managers(*directories: Path | None) -> AsyncIterator[list[Cluster]]:
    """So many managers, the first of which leads."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(founded(state_dir=directories[0]))]
        token = await found[0].join_token("manager")
        for directory in directories[1:]:
            node = joined(found[0], token, state_dir=directory)
            found.append(await stack.enter_async_context(node))
        await until(lambda: seats(found[0]) == len(directories))
        yield found


# -- joining


async def test_joining_while_the_leader_changes() -> None:
    """Whoever asks in the gap is a member in the end, and there is one node for each."""
    async with managers(None, None, None) as (leader, second, third):
        token = await leader.join_token("worker")
        ids: list[str] = []

        async def join(through: Cluster) -> None:
            async with joined(through, token) as worker:
                ids.append(worker.node_id)

        async with trio.open_nursery() as nursery:
            await leader.crash()
            for through in (second, third, second):
                nursery.start_soon(join, through)
        assert len(set(ids)) == 3
        assert len(await second.nodes.list()) == 6


async def test_a_locked_manager_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with founded(state_dir=tmp_path, autolock=True) as founder:
        addr, token = founder.addr, await founder.join_token("worker")
    with pytest.raises(Locked):
        async with opened(tmp_path):
            pass
    monkeypatch.setattr(joining, "JOIN_TIMEOUT_S", 0.5)
    with pytest.raises(Unavailable):
        async with joined(addr, token):
            pass


async def test_a_joiner_that_dies_with_its_certificate_joins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left on its disk is no node; what it left in the swarm goes down and is removed."""
    from pyswarm.runtime.front import founding

    async with founded() as founder:
        token = await founder.join_token("worker")
        with monkeypatch.context() as patched:
            patched.setattr(founding, "_prepared", _die)
            with pytest.raises(KeyboardInterrupt):
                async with joined(founder, token, state_dir=tmp_path):
                    pass
        with pytest.raises(FailedPrecondition, match="holds no node"):
            async with opened(tmp_path):
                pass
        async with joined(founder, token, state_dir=tmp_path) as worker:
            nodes = {node.id for node in await founder.nodes.list()}
            (lost,) = nodes - {founder.node_id, worker.node_id}
            await (await founder.nodes.get(lost)).remove()


def _die(*_: object) -> Any:
    raise KeyboardInterrupt


async def test_requests_for_certificates_that_are_replayed() -> None:
    """The same join again is the same node until that node has shown its certificate, and nobody's
    after it was removed; a member's request, said by another member, names that other one."""
    async with founded() as founder:
        token = await founder.join_token("worker")
        root, _ = await joining.pinned_root([founder.addr], JoinToken.parse(token))
        described = NodeDescription(hostname="twice")

        async def ask(id: str) -> Any:
            key, csr = joining.new_request()
            wanted = JoinWanted(id, token, "127.0.0.3:1", described, csr)
            return await joining.join([founder.addr], root, wanted, key)

        given, _ = await ask("stolen")
        await (await founder.nodes.get(given.node_id)).remove(force=True)
        with pytest.raises(PermissionDenied):
            await ask("stolen")

        async with joined(founder, token) as worker, joined(founder, token) as thief:
            manager = founder._member.node.machine.manager
            assert manager is not None
            records = [one.id for one in manager.store.all("request")]
            refused = 0
            for id in records:
                try:
                    await ask(id)
                except AlreadyExists:
                    refused += 1
                except SwarmError:
                    pass
            assert refused == 2
            assert len(await founder.nodes.list()) == 3

            _, csr = joining.new_request()  # the worker's, as the thief heard it
            heard: list[CertificateGiven] = []
            thief._member.node.taps[CertificateGiven] = lambda who, addr, given: heard.append(given)
            door(thief).send(founder.addr, CertificateWanted(7, csr), founder.node_id)
            await until(lambda: bool(heard))
            assert NodeCertificate.parse(heard[0].chain).identity.node_id == thief.node_id
            assert worker.node_id != thief.node_id


# -- leaving


async def test_the_warning_of_a_manager_that_leaves_has_numbers() -> None:
    async with managers(None, None) as (leader, second):
        with pytest.raises(ManagerLeaves, match="leaves 1 managers out of 2"):
            await second.leave()
        await second.leave(force=True)
        await until(lambda: seats(leader) == 1)
        assert await second.wait_stopped() == "left"
        with pytest.raises(ManagerLeaves, match="Removing the last manager erases all current"):
            await leader.leave()
        await leader.configs.create("still-served", b"x")


async def test_a_removed_managers_directory_brings_nobody_back(tmp_path: Path) -> None:
    """Neither as it was left, nor a copy from when it was a manager: its certificate is refused,
    and its vote counts nowhere."""
    async with managers(None, None) as (first, second):
        token = await first.join_token("manager")
        async with joined(first, token, state_dir=tmp_path / "left") as third:
            lost = third.node_id
            await until(lambda: seats(first) == 3)
            await third.crash()
        shutil.copytree(tmp_path / "left", tmp_path / "copy")
        await (await first.nodes.get(lost)).demote()
        await until(lambda: seats(first) == 2)

        async with opened(tmp_path / "left") as again:  # demoted: it is a worker from now on
            await until(lambda: not again.is_manager)
            assert seats(first) == 2
        await (await first.nodes.get(lost)).remove(force=True)
        for name in ("left", "copy"):
            async with opened(tmp_path / name) as again:
                with trio.fail_after(2 * WAIT_S):
                    assert await again.wait_stopped() == "removed"
        assert seats(first) == seats(second) == 2
        assert lost not in [node.id for node in await first.nodes.list()]
        await second.configs.create("still-served", b"x")


async def test_a_cluster_is_begun_anew_by_force_over_tls(tmp_path: Path) -> None:
    """The tokens are the same, workers join and the lost managers are none any more."""
    async with managers(tmp_path / "1", tmp_path / "2") as (first, second):
        token = await first.join_token("worker")
        await first.configs.create("kept", b"x")
        await second.crash()
        await first.crash()
    async with opened(tmp_path / "1", force_new_cluster=True) as first:
        await first.wait_ready(timeout=WAIT_S)
        assert seats(first) == 1
        assert [one.name for one in await first.configs.list()] == ["kept"]
        async with joined(first, token) as worker:
            roles = {node.id: node.value.role for node in await first.nodes.list()}
            assert roles.pop(worker.node_id) is Role.WORKER
            assert sorted(map(str, roles.values())) == ["manager", "worker"]


# -- strangers


async def test_a_thousand_connections_that_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold so many places and no more; who has something to say gets in all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    async with founded() as founder:
        host, _, port = founder.addr.rpartition(":")
        silent = []
        patient_s = connection.HANDSHAKE_S
        monkeypatch.setattr(connection, "HANDSHAKE_S", 600.0)  # none goes but for another
        try:
            for number in range(1000):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex((host, int(port)))
                silent.append(sock)
                if number % 100 == 99:
                    await trio.lowlevel.checkpoint()
            await until(
                lambda: door(founder).refused["crowd"] >= 1000 - endpoint.HANDSHAKES_MAX, 2 * WAIT_S
            )
            assert len(door(founder)._handshakes) <= endpoint.HANDSHAKES_MAX
            assert len(door(founder)._strangers) <= endpoint.STRANGERS_MAX
            assert not door(founder)._members
            monkeypatch.setattr(connection, "HANDSHAKE_S", patient_s)
            token = await founder.join_token("worker")
            async with joined(founder, token):
                assert len(await founder.nodes.list()) == 2
        finally:
            for sock in silent:
                sock.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
