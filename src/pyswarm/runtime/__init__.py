"""Everything that awaits: the driver, clocks, disks, networks, executors, and a running node.

``node`` joins a pure :class:`~pyswarm.node.NodeMachine` with the world, ``drive`` runs it.
``raftnode`` replicates a state machine of your own, without a swarm.
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
from .raftnode import RaftNode as RaftNode
from .raftnode import run_raft as run_raft
from .rafttransport import MemoryTransport as MemoryTransport
from .rafttransport import TcpTransport as TcpTransport
from .statemachine import SlicedStateMachine as SlicedStateMachine
from .statemachine import StateMachine as StateMachine
from .tls import TlsNetwork as TlsNetwork

__all__ = [
    "Counters",
    "Disk",
    "Driver",
    "MemoryNetwork",
    "MemoryTransport",
    "Network",
    "Observer",
    "RaftNode",
    "Remembered",
    "RunningNode",
    "SlicedStateMachine",
    "StateMachine",
    "SystemClock",
    "TcpTransport",
    "TlsNetwork",
    "open_disk",
    "run_node",
    "run_raft",
]
