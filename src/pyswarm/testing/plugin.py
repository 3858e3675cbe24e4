"""Fixtures that pytest finds wherever pyswarm is installed.

``local_swarm`` makes swarms for tests that run under trio; ``blocking_swarm`` makes them for plain
tests. Both take the arguments of :class:`~pyswarm.testing.LocalSwarm`; what they made is stopped
when the test ends, whatever happened in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyswarm.blocking import Block
    from pyswarm.testing.local import LocalSwarm


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
