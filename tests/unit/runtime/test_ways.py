"""What somebody is told who takes a way into a swarm for the swarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyswarm import CallableExecutor, Cluster, Daemon, InvalidArgument

HOW = r"`async with Cluster\.…\(…\) as cluster:`"


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda way: way.services, AttributeError, f"services: no Cluster yet, .* {HOW}"),
        (lambda way: way.__await__(), TypeError, f"not awaited, but entered: {HOW}"),
        (lambda way: way.__enter__(), TypeError, f"{HOW}; pyswarm.blocking.Cluster is for `with`"),
    ],
)
def test_a_way_in_is_no_cluster(
    wrong: Callable[[Any], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        wrong(Cluster.init())


def test_what_it_shows() -> None:
    assert repr(Daemon.connect("x")) == (
        "<a Daemon to be entered: async with Daemon.…(…) as daemon:>"
    )


async def test_it_is_entered_once() -> None:
    way = Cluster.init(executor=CallableExecutor({}))
    async with way as cluster:
        assert cluster.is_leader
    with pytest.raises(RuntimeError, match="a block is entered once: make another Cluster"):
        async with way:
            pass


async def test_what_else_is_taken_for_something() -> None:
    async with Cluster.init(executor=CallableExecutor({})) as cluster:
        assert repr(cluster.events()) == "<Stream new: read it by `async for`>"
        with pytest.raises(InvalidArgument, match="supposed: 'drain'") as caught:
            await cluster.plan("drain")
        assert caught.value.hint.startswith("Drain, Lose")
