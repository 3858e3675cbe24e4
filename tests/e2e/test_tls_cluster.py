"""Nodes over TLS, in one process: join with pinned root, spread, read logs, promote, remove."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import Cluster
from pyswarm.ca import FingerprintMismatch, RootCA
from pyswarm.ca.token import JoinToken
from pyswarm.errors import AlreadyExists, InvalidArgument, Unavailable
from pyswarm.runtime import MemoryNetwork, TlsNetwork
from pyswarm.runtime.front import Converged
from swarms import WAIT_S, executor, until

FOUNDER = "127.0.0.2:0"


@asynccontextmanager
async def founded(**options: Any) -> AsyncIterator[Cluster]:
    options.setdefault("listen_addr", FOUNDER)
    async with Cluster.init(
        name="founder", network=TlsNetwork(), executor=executor(), **options
    ) as cluster:
        yield cluster


def joined(founder: Cluster, token: str, name: str, **options: Any) -> Any:
    options.setdefault("listen_addr", "127.0.0.3:0")
    return Cluster.join(
        [founder.addr], token, name=name, network=TlsNetwork(), executor=executor(), **options
    )


def votes(cluster: Cluster) -> bool:
    manager = cluster._member.node.machine.manager
    return manager is not None and manager.replica.id in manager.replica.configuration.voters


async def test_a_worker_joins_and_runs_tasks() -> None:
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker") as worker:
            assert not worker.is_manager
            assert worker.addr.startswith("127.0.0.3:")
            web = await founder.services.create("web", image="sleeper", replicas=4)
            assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
            places = {task.node_id for task in await web.running()}
            assert places == {founder.node_id, worker.node_id}
            with trio.fail_after(WAIT_S):
                lines = [line.text async for line in web.logs()]
            assert len(lines) == 4


async def test_three_managers_and_a_follower_asked() -> None:
    async with AsyncExitStack() as stack:
        founder = await stack.enter_async_context(founded())
        token = await founder.join_token("manager")
        second = await stack.enter_async_context(joined(founder, token, "second"))
        await stack.enter_async_context(joined(founder, token, "third"))
        assert second.is_manager
        web = await second.services.create("web", image="sleeper", replicas=3)
        assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)


async def test_in_loops_of_their_own() -> None:
    async with founded(own_thread=True) as founder:
        token = await founder.join_token("manager")
        async with joined(founder, token, "second", own_thread=True) as second:
            web = await second.services.create("web", image="sleeper", replicas=2)
            assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
            with trio.fail_after(WAIT_S):
                assert len([line async for line in web.logs()]) == 2


async def test_a_wrong_token_lets_nobody_in() -> None:
    async with founded() as founder:
        good = JoinToken.parse(await founder.join_token("worker"))
        wrong = str(good.rotated())
        with pytest.raises(InvalidArgument, match="valid join token is necessary"):
            async with joined(founder, wrong, "stranger"):
                pass
        other = str(JoinToken.generate(RootCA.create(0.0)))
        with pytest.raises(FingerprintMismatch):
            async with joined(founder, other, "stranger"):
                pass
        assert len(await founder.nodes.list()) == 1


async def test_a_promoted_worker_gets_a_managers_certificate() -> None:
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker") as worker:
            node = await founder.nodes.get(worker.node_id)
            await node.promote()
            await until(lambda: votes(worker))
            web = await worker.services.create("web", image="sleeper", replicas=2)
            assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
            await (await founder.nodes.get(worker.node_id)).demote()
            await until(lambda: not worker.is_manager)


async def test_a_removed_node_is_refused_and_stops() -> None:
    async with founded() as founder:
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker") as worker:
            await (await founder.nodes.get(worker.node_id)).remove(force=True)
            with trio.fail_after(WAIT_S):
                assert await worker.wait_stopped() == "removed"


async def test_a_node_starts_again_with_its_certificate(tmp_path: Path) -> None:
    async with founded(state_dir=tmp_path / "a") as founder:
        addr, id = founder.addr, founder.node_id
        token = await founder.join_token("worker")
        async with joined(founder, token, "worker", state_dir=tmp_path / "b") as worker:
            worker_addr = worker.addr
    async with Cluster.open(tmp_path / "a", network=TlsNetwork(), executor=executor()) as founder:
        assert (founder.addr, founder.node_id) == (addr, id)
        async with Cluster.open(
            tmp_path / "b", network=TlsNetwork(), executor=executor()
        ) as worker:
            assert worker.addr == worker_addr
            await worker.wait_ready(timeout=WAIT_S)


async def test_addresses_are_checked_at_once() -> None:
    with pytest.raises(InvalidArgument, match="listen address must be an IP address"):
        Cluster.init(network=TlsNetwork(), listen_addr="no-such-interface")
    with pytest.raises(InvalidArgument, match="could not parse listen address"):
        Cluster.init(network=TlsNetwork(), listen_addr="127.0.0.1:x")
    with pytest.raises(InvalidArgument, match="advertise address must be a non-zero IP"):
        Cluster.init(network=TlsNetwork(), advertise_addr="0.0.0.0")
    with pytest.raises(InvalidArgument, match="needs a network with sockets"):
        Cluster.init(listen_addr="127.0.0.1", network=MemoryNetwork())


async def test_who_says_where_to_listen_means_this_network() -> None:
    async with Cluster.init(listen_addr=FOUNDER, executor=executor()) as founder:
        token = await founder.join_token("worker")
        async with Cluster.join(
            founder.addr, token, listen_addr="127.0.0.3:0", executor=executor()
        ):
            assert len(await founder.nodes.list()) == 2


async def test_an_address_in_use_is_said_so() -> None:
    async with founded() as founder:
        with pytest.raises(AlreadyExists, match="address already in use"):
            async with founded(listen_addr=founder.addr):
                pass


async def test_nobody_there() -> None:
    with pytest.raises(Unavailable), trio.fail_after(WAIT_S * 2):
        from pyswarm.runtime.tls import joining

        joining_s, joining.JOIN_TIMEOUT_S = joining.JOIN_TIMEOUT_S, 0.5
        try:
            token = str(JoinToken.generate(RootCA.create(0.0)))
            async with Cluster.join(["127.0.0.9:9"], token, network=TlsNetwork()):
                pass
        finally:
            joining.JOIN_TIMEOUT_S = joining_s
