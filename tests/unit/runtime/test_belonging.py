"""One executor, one node."""

from __future__ import annotations

import pytest

from pyswarm import CallableExecutor, Cluster, InvalidArgument, MemoryNetwork


async def test_an_executor_belongs_to_one_node() -> None:
    executor, network = CallableExecutor({}), MemoryNetwork()
    other = Cluster.init(executor=executor)
    async with Cluster.init(executor=executor, network=network) as cluster:
        token = await cluster.join_token("worker")
        with pytest.raises(InvalidArgument, match="runs the tasks of another node"):
            Cluster.join(cluster.addr, token, executor=executor, network=network)
        with pytest.raises(InvalidArgument, match="runs the tasks of another node"):
            async with other:
                pass
        assert not executor.is_closed
    with pytest.raises(InvalidArgument, match="was closed with the node that it ran for"):
        Cluster.init(executor=executor)
