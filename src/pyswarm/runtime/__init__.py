"""Everything that awaits: the driver, clocks, disks, networks, executors, and a running node.

``node`` joins a pure :class:`~pyswarm.node.NodeMachine` with the world, ``drive`` runs it.
"""

from __future__ import annotations

from .clock import SystemClock as SystemClock
from .disk import Disk as Disk
from .disk import Remembered as Remembered
from .disk import open_disk as open_disk
from .drive import Driver as Driver
from .network import MemoryNetwork as MemoryNetwork
from .network import Network as Network
from .node import RunningNode as RunningNode
from .node import run_node as run_node
from .observe import Counters as Counters
from .observe import Observer as Observer

__all__ = [
    "Counters",
    "Disk",
    "Driver",
    "MemoryNetwork",
    "Network",
    "Observer",
    "Remembered",
    "RunningNode",
    "SystemClock",
    "open_disk",
    "run_node",
]
