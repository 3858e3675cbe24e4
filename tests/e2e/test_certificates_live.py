"""Certificates of a live swarm: the root replaced, others signing, locked keys, expiry, removal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from pyswarm import Cluster, blocking
from pyswarm.ca import FingerprintMismatch, RootCA
from pyswarm.errors import FailedPrecondition, InvalidArgument, Locked
from pyswarm.model import NodeDescription
from pyswarm.runtime import MemoryNetwork, TlsNetwork
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.disk import open_disk
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.front import Converged
from pyswarm.runtime.front.fips import FipsRequired
from pyswarm.runtime.front.places import CertificateExpired
from pyswarm.runtime.tls import Credentials, SigningRequest, joining
from pyswarm.runtime.tls.credentials import ForeignCertificate
from pyswarm.runtime.tls.exchange import JoinWanted
from swarms import WAIT_S, executor, sleeper, until


@asynccontextmanager
async def founded(**options: Any) -> AsyncIterator[Cluster]:
    options.setdefault("network", TlsNetwork())
    options.setdefault("executor", executor())
    async with Cluster.init(name="founder", listen_addr="127.0.0.2:0", **options) as cluster:
        yield cluster


def joined(founder: Cluster, token: str, name: str, **options: Any) -> Any:
    options.setdefault("network", TlsNetwork())
    return Cluster.join(
        [founder.addr], token, name=name, listen_addr="127.0.0.3:0", executor=executor(), **options
    )


def credentials(cluster: Cluster) -> Any:
    endpoint: Any = cluster._member.node.endpoint
    return endpoint.credentials


async def test_a_rotation_with_managers_and_a_worker(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        founder = await stack.enter_async_context(founded())
        as_manager = await founder.join_token("manager")
        as_worker = await founder.join_token("worker")
        second = await stack.enter_async_context(joined(founder, as_manager, "second"))
        worker = await stack.enter_async_context(
            joined(founder, as_worker, "worker", state_dir=tmp_path / "w")
        )
        web = await founder.services.create("web", image="sleeper", replicas=3)
        assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
        before = {task.id for task in await web.running()}
        old = (await founder.swarm()).root_ca

        rotation = await second.rotate_ca()
        with trio.fail_after(2 * WAIT_S):
            steps = [progress async for progress in rotation]
        assert steps[-1].is_done
        fresh = await founder.join_token("worker")
        async with joined(founder, fresh, "directly", availability="drain"):
            pass
        assert steps[-1].renewed == steps[-1].total == 3, "of those of that time"

        now = (await founder.swarm()).root_ca
        assert now.rotation is None
        assert now.cert == rotation.cert != old.cert
        for cluster in (founder, second, worker):
            await until(lambda cluster=cluster: credentials(cluster).root_pem == rotation.cert)
            assert RootCA.load(rotation.cert).issuer == credentials(cluster).issuer
        for node in await founder.nodes.list():
            shown = (await founder.nodes.get(node.id)).description.tls
            assert (shown.issuer_subject, shown.issuer_public_key) == (
                now.issuer_subject,
                now.issuer_public_key,
            )
        await web.scale(5)
        assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
        assert before <= {task.id for task in await web.running()}, "no task was disturbed"
        with pytest.raises(FingerprintMismatch):
            async with joined(founder, as_worker, "late"):
                pass
        fresh = await founder.join_token("worker")
        async with joined(founder, fresh, "later"):
            assert len(await founder.nodes.list()) == 5


async def test_one_that_waits_for_a_node_that_is_down(tmp_path: Path) -> None:
    """Called off, begun anew with a root of one's own, over a restart of the manager."""
    path = tmp_path / "founder"
    async with founded(state_dir=path) as founder:
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker", state_dir=tmp_path / "worker") as worker:
            worker_id = worker.node_id
        first = await founder.rotate_ca()
        assert worker_id in (await first.progress()).waiting
        own = (await founder.swarm()).root_ca.cert
        called_off = await founder.rotate_ca(cert=own)
        assert (await called_off.progress()).is_done
        with pytest.raises(FailedPrecondition, match="another rotation"):
            await first.wait(timeout=WAIT_S)
        root = RootCA.create(SystemClock().realtime())
        assert root.key_pem is not None
        with pytest.raises(InvalidArgument, match="at least one valid, reachable external CA"):
            await founder.rotate_ca(cert=root.cert_pem)
        await founder.rotate_ca(cert=root.cert_pem, key=root.key_pem.decode())
    async with Cluster.open(path, network=TlsNetwork(), executor=executor()) as founder:
        await founder.wait_ready(timeout=WAIT_S)
        progress = await founder.ca_rotation()
        assert not progress.is_done
        assert progress.cert == root.cert_pem
        await joins_meanwhile(founder, own, root.cert_pem)
        async with Cluster.open(tmp_path / "worker", network=TlsNetwork(), executor=executor()):
            await until(lambda: is_done(founder), 2 * WAIT_S)
        assert (await founder.swarm()).root_ca.cert == root.cert_pem


async def joins_meanwhile(founder: Cluster, root: bytes, coming: bytes) -> None:
    """A new member trusts the next root before it has heard of its session: that may come to be
    after the former root was dropped."""
    token = await founder.join_token("worker")
    key, csr = joining.new_request()
    wanted = JoinWanted("late", token, "127.0.0.3:1", NodeDescription(hostname="late"), csr)
    given, made = await joining.join([founder.addr], root, wanted, key)
    assert (made.root_pem, made.coming_pem) == (root, coming)
    await (await founder.nodes.get(given.node_id)).remove(force=True)


async def is_done(cluster: Cluster) -> bool:
    return (await cluster.ca_rotation()).is_done


async def test_an_external_authority_signs_and_no_key_is_in_the_swarm() -> None:
    root = RootCA.create(SystemClock().realtime())
    asked: list[SigningRequest] = []

    async def sign(wanted: SigningRequest) -> bytes:
        asked.append(wanted)
        now = SystemClock().realtime()
        return root.sign(wanted.csr, wanted.identity, now, wanted.expiry_s)

    network = TlsNetwork(external_ca=sign)
    async with founded(network=network, root_cert=root.cert_pem) as founder:
        assert founder._member.node.store.swarm.root_ca.key == b""
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker") as worker:
            ids = {one.identity.node_id for one in asked}
            assert ids == {founder.node_id, worker.node_id}
            with pytest.raises(InvalidArgument, match="corresponding to the current CA"):
                await founder.rotate_ca()
            own = RootCA.create(SystemClock().realtime())
            assert own.key_pem is not None
            bridge = root.cross_sign(own.cert_pem)
            rotation = await founder.rotate_ca(
                cert=own.cert_pem, key=own.key_pem, cross_signed=bridge
            )
            await rotation.wait(timeout=2 * WAIT_S)
            count = len(asked)
            back = await founder.rotate_ca(cert=root.cert_pem)
            await back.wait(timeout=2 * WAIT_S)
            assert len(asked) > count
            assert founder._member.node.store.swarm.root_ca.key == b""


async def test_an_external_authority_that_signs_something_else_is_refused() -> None:
    root = RootCA.create(SystemClock().realtime())
    other = RootCA.create(SystemClock().realtime())

    async def sign(wanted: SigningRequest) -> bytes:
        return other.sign(wanted.csr, wanted.identity, SystemClock().realtime())

    with pytest.raises(InvalidArgument, match="needs an external CA"):
        Cluster.init(network=TlsNetwork(), root_cert=root.cert_pem)
    with pytest.raises(Exception, match="external CA's certificate is refused"):
        async with founded(network=TlsNetwork(external_ca=sign), root_cert=root.cert_pem):
            pass


async def test_locking_encrypts_the_key_and_brings_a_new_one(tmp_path: Path) -> None:
    """The key that lay on the disk in clear counts no more."""
    path = tmp_path / "founder"
    file = path / "certificates" / "swarm-node.key"
    async with founded(state_dir=path) as founder:
        before = credentials(founder)
        assert file.read_bytes() == before.key_pem
        await founder.update(autolock=True)
        assert b"ENCRYPTED" in file.read_bytes()
        await until(lambda: credentials(founder).key_pem != before.key_pem)
        key = await founder.unlock_key()
    with pytest.raises(Locked):
        async with Cluster.open(path, network=TlsNetwork(), executor=executor()):
            pass
    async with Cluster.open(
        path, unlock_key=key, network=TlsNetwork(), executor=executor()
    ) as founder:
        await founder.wait_ready(timeout=WAIT_S)
        await founder.update(autolock=False)
        assert file.read_bytes() == credentials(founder).key_pem


async def test_a_certificate_that_does_not_prove_the_node_is_refused_at_the_start(
    tmp_path: Path,
) -> None:
    """Before anything is changed, also where a new cluster is to be made."""
    path = tmp_path / "founder"
    async with founded(state_dir=path) as founder:
        state = founder._member.node.store.swarm.root_ca
        root, own = RootCA.load(state.cert, state.key), credentials(founder)
    now, year_s = SystemClock().realtime(), 365 * 86_400.0

    async def refused(kept: Credentials, error: type[FailedPrecondition], why: str) -> None:
        keep(path, kept)
        before = contents(path)
        for force in (False, True):
            with pytest.raises(error, match=why):
                async with Cluster.open(
                    path, network=TlsNetwork(), executor=executor(), force_new_cluster=force
                ):
                    pass
        assert contents(path) == before

    expired = Credentials.signed_by(root, own.identity, now - 100 * 86_400.0, 90 * 86_400.0)
    await refused(expired, CertificateExpired, "Swarm certificates have expired")
    key_of_another = attrs.evolve(own, key_pem=expired.key_pem)
    await refused(key_of_another, ForeignCertificate, "is not the key of")
    stranger = attrs.evolve(own.identity, node_id="stranger")
    node_of_another = Credentials.signed_by(root, stranger, now, year_s)
    await refused(node_of_another, ForeignCertificate, "that of node stranger")
    foreign = attrs.evolve(own.identity, swarm_id="foreign")
    swarm_of_another = Credentials.signed_by(root, foreign, now, year_s)
    await refused(swarm_of_another, ForeignCertificate, "of swarm foreign")
    other_root = attrs.evolve(own, root_pem=RootCA.create(now).cert_pem)
    await refused(other_root, ForeignCertificate, "do not vouch for its own")

    keep(path, own)
    async with Cluster.open(path, network=TlsNetwork(), executor=executor()) as founder:
        await founder.wait_ready(timeout=WAIT_S)


def keep(path: Path, kept: Credentials) -> None:
    """Put these in the place of what the stopped node at ``path`` proves itself by."""
    place = path / "certificates"
    (place / "swarm-node.key").write_bytes(kept.key_pem)
    (place / "swarm-node.crt").write_bytes(kept.chain_pem)
    (place / "swarm-root-ca.crt").write_bytes(kept.root_pem)


def contents(path: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in path.rglob("*") if one.is_file()}


async def test_workers_too_refuse_a_removed_node() -> None:
    async with AsyncExitStack() as stack:
        founder = await stack.enter_async_context(founded())
        token = await founder.join_token("worker")
        worker = await stack.enter_async_context(joined(founder, token, "worker"))
        other = await stack.enter_async_context(joined(founder, token, "other"))
        node = worker._member.node.endpoint
        assert not node.is_revoked(other.node_id)  # type: ignore[attr-defined]
        await (await founder.nodes.get(other.node_id)).remove(force=True)
        await until(lambda: node.is_revoked(other.node_id))  # type: ignore[attr-defined]


class Strict(CallableExecutor):
    """On a node in FIPS mode."""

    def describe(self) -> NodeDescription:
        return attrs.evolve(super().describe(), fips=True)


async def test_a_swarm_in_fips_mode_takes_no_other_nodes() -> None:
    async with founded(executor=Strict({"sleeper": sleeper}, own_thread=False)) as founder:
        token = await founder.join_token("worker")
        assert token.startswith("SWMTKN-2-1-")
        assert (await founder.swarm()).fips
        with pytest.raises(FipsRequired, match="node is not FIPS-enabled"):
            async with joined(founder, token, "lax"):
                pass
        assert len(await founder.nodes.list()) == 1


async def test_a_hot_backup_has_the_certificate(tmp_path: Path) -> None:
    async with founded(state_dir=tmp_path / "founder") as founder:
        await founder.backup(tmp_path / "backup")
        disk, _ = open_disk(tmp_path / "backup")
        assert disk.certificates.load() == credentials(founder)
        await disk.aclose()


def test_without_await_and_without_certificates() -> None:
    """Nodes of one process have none, so there is nothing to wait for."""
    with blocking.Cluster.init(network=MemoryNetwork(), executor=executor()) as cluster:
        token, old = cluster.join_token("worker"), cluster.swarm().root_ca.cert
        rotation = cluster.rotate_ca()
        assert rotation.wait(timeout=WAIT_S).is_done
        assert [progress.is_done for progress in rotation.steps()] == [True]
        assert cluster.swarm().root_ca.cert == rotation.cert != old
        assert cluster.join_token("worker") != token
