"""Nodes whose addresses change: workers come along, managers are told what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pyswarm import Cluster
from pyswarm.runtime import TlsNetwork
from pyswarm.runtime.front.places import ManagerMoved
from pyswarm.runtime.tls import addresses
from swarms import WAIT_S, executor, until


def opened(directory: Path, **options: Any) -> Any:
    return Cluster.open(directory, network=TlsNetwork(), executor=executor(), **options)


async def test_a_worker_comes_back_at_another_address(tmp_path: Path) -> None:
    """Its tasks and logs are found there, and where networks' traffic reaches it is known."""
    async with Cluster.init(listen_addr="127.0.0.2:0", executor=executor()) as founder:
        token = await founder.join_token("worker")
        join = Cluster.join(
            [founder.addr],
            token,
            state_dir=tmp_path,
            listen_addr="127.0.0.3:0",
            data_path_addr="127.0.0.13",
            executor=executor(),
        )
        async with join as worker:
            first, node_id = worker.addr, worker.node_id
            node = await founder.nodes.get(node_id)
            assert node.value.addr == first
            assert node.value.description.data_path_addr == "127.0.0.13"
        async with opened(tmp_path, listen_addr="127.0.0.4:0") as worker:
            assert worker.node_id == node_id

            async def has_moved() -> bool:
                node = await founder.nodes.get(node_id)
                return bool(node.value.addr == worker.addr != first and str(node.state) == "ready")

            await until(has_moved)
            web = await founder.services.create(
                "web", image="sleeper", constraints=[f"node.id=={node_id}"]
            )
            await web.wait_converged(timeout=WAIT_S)
            [line] = [line.text async for line in web.logs()]
            assert line.startswith("hello from web.1.")


async def test_a_manager_at_another_address_is_told_what_to_do(tmp_path: Path) -> None:
    async with Cluster.init(
        state_dir=tmp_path, listen_addr="127.0.0.2:0", executor=executor()
    ) as founder:
        known = founder.addr
        await founder.configs.create("kept", b"x")
    with pytest.raises(ManagerMoved, match=f"the swarm knows this manager at {known}") as raised:
        async with opened(tmp_path, listen_addr="127.0.0.4:0"):
            pass
    assert f"let it advertise {known} again" in raised.value.hint
    host, _, port = known.rpartition(":")
    async with opened(tmp_path, listen_addr=f"0.0.0.0:{port}", advertise_addr=host) as founder:
        await founder.wait_ready(timeout=WAIT_S)
        assert founder.addr == known
    async with opened(tmp_path, listen_addr="127.0.0.4:0", force_new_cluster=True) as founder:
        await founder.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await founder.configs.list()] == ["kept"]
        assert (await founder.status()).managers[0].addr == founder.addr


async def test_a_host_that_lost_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker goes along; a manager stays where its log says, and says what to do."""
    async with Cluster.init(
        state_dir=tmp_path / "m",
        listen_addr="0.0.0.0:0",
        advertise_addr="127.0.0.2",
        executor=executor(),
    ) as founder:
        token, known = await founder.join_token("worker"), founder.addr
        port = int(known.rpartition(":")[2])
        join = Cluster.join(
            [known], token, state_dir=tmp_path / "w", listen_addr="127.0.0.3:0", executor=executor()
        )
        async with join as worker:
            old = worker.addr
        with monkeypatch.context() as patched:
            patched.setattr(addresses, "_is_own", lambda host: host == "127.0.0.9")
            patched.setattr(addresses, "system_addresses", lambda version: [("eth0", "127.0.0.9")])
            for listen in ("0.0.0.0:" + old.rpartition(":")[2], None):
                async with opened(tmp_path / "w", listen_addr=listen) as worker:
                    assert worker.addr == "127.0.0.9:" + old.rpartition(":")[2]
                    await worker.wait_ready(timeout=WAIT_S)
    monkeypatch.setattr(addresses, "DEFAULT_LISTEN", f"0.0.0.0:{port}")
    monkeypatch.setattr(addresses, "_is_own", lambda host: False)
    for listen in (None, f"0.0.0.0:{port}"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            async with opened(tmp_path / "m", listen_addr=listen) as founder:
                assert founder.addr == known
        assert "address.foreign" in caplog.text
