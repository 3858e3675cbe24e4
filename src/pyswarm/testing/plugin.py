"""Fixtures that pytest finds wherever pyswarm is installed.

``local_swarm`` makes swarms for tests that run under trio; ``blocking_swarm`` makes them for plain
tests. Both take the arguments of :class:`~pyswarm.testing.LocalSwarm`; what they made is stopped
when the test ends, whatever happened in it.

``placement`` is :mod:`pyswarm.testing.placement`: nodes, services and fleets to be planned without
any swarm; ``assert_placed``, ``assert_pending`` and ``assert_spread`` are its assertions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from pyswarm.blocking import Block
    from pyswarm.testing.local import LocalSwarm


@pytest.fixture
def placement() -> ModuleType:
    """``placement.nodes(3, cpus=4)``, ``placement.service("web")``, ``placement.fleet(…)``."""
    from pyswarm.testing import placement

    return placement


@pytest.fixture
def assert_placed(placement: ModuleType) -> Callable[..., None]:
    """``assert_placed(plan, "web", on={"rack": 3})``: fails with the explanation."""
    return cast("Callable[..., None]", placement.assert_placed)


@pytest.fixture
def assert_pending(placement: ModuleType) -> Callable[..., None]:
    """``assert_pending(plan, "web", 2, because="insufficient resources")``."""
    return cast("Callable[..., None]", placement.assert_pending)


@pytest.fixture
def assert_spread(placement: ModuleType) -> Callable[..., None]:
    """``assert_spread(plan, "web", over="rack")``: even within one task."""
    return cast("Callable[..., None]", placement.assert_spread)


@pytest.fixture
def local_swarm() -> Callable[..., LocalSwarm]:
    """``async with local_swarm(managers=3, workers=2) as swarm: ...``"""
    from pyswarm.testing.local import LocalSwarm

    return LocalSwarm


@pytest.fixture
def blocking_swarm() -> Iterator[Callable[..., Block]]:
    """``swarm = blocking_swarm(managers=1, workers=2)``: the same names, blocking calls."""
    from pyswarm.blocking import Block
    from pyswarm.testing.local import LocalSwarm

    with ExitStack() as stack:

        def make(*args: Any, **options: Any) -> Block:
            return stack.enter_context(Block(LocalSwarm(*args, **options)))

        yield make
