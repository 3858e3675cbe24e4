"""What a node tells its host."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from pyswarm import CallableExecutor, Cluster


class Broken:
    """An observer whose author made mistakes; empty, as a collection of metrics may be."""

    def __len__(self) -> int:
        return 0

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        raise KeyError(name)

    def count(self, name: str, value: float = 1.0) -> None:
        raise TypeError

    def observe(self, name: str, value: float) -> None:
        raise ZeroDivisionError(name)


async def test_an_observer_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pyswarm.node")
    executor = CallableExecutor({})
    async with Cluster.init(executor=executor, observer=Broken(), name="here") as cluster:
        await cluster.secrets.create("password", b"1234")
    first, *more = (one for one in caplog.records if one.event == "observer.failed")  # type: ignore[attr-defined]
    assert first.levelname == "ERROR"
    assert first.exc_info is not None
    assert first.node == "here"  # type: ignore[attr-defined]
    assert more
    assert {(one.levelname, one.exc_info) for one in more} == {("DEBUG", None)}
