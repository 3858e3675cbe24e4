"""What a node says of itself may change while it runs: memory is added, a plugin comes.

The executor is asked now and then; if it says something new, the node tells the leader by opening
its session again, which costs its tasks nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from pyswarm.agent import DescriptionChanged
from pyswarm.errors import SwarmError
from pyswarm.model import NodeDescription
from pyswarm.node import FromExecutor
from pyswarm.runtime.node import RunningNode

DESCRIBE_EVERY_S = 20.0
"""Swarm's."""


async def keep_described(node: RunningNode, describe: Callable[[], NodeDescription]) -> None:
    """Ask ``describe`` again and again, until cancelled; what is said of the certificate stays. An
    answer that fails changes nothing."""
    while True:
        await trio.sleep(DESCRIBE_EVERY_S)
        known = node.machine.agent.description
        try:
            found = attrs.evolve(describe(), tls=known.tls)
        except (SwarmError, OSError):
            continue
        if found != known and node.halted is None:
            node.driver.post(FromExecutor(DescriptionChanged(found)))
