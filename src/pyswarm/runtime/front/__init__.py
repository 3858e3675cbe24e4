"""What :class:`pyswarm.Cluster` does, verb by verb.

Read in this order: ``founding``, ``recovery``, ``entering`` (how a node begins), ``member`` (ask,
look, wait), ``handles``, the nouns (``services`` with ``changes`` and ``convergence``, ``tasks``
with ``logs``), ``swarm`` (with ``locking`` and ``backup``), ``authority``, ``events``, ``loops``.
"""

# ruff: noqa: I001
# fmt: off
from __future__ import annotations

from typing import TYPE_CHECKING

from pyswarm.agent import Executor
from pyswarm.node.whatif import (
    AddService, ChangeService, Drain, Hypothesis, Lose, Remove, Scale, WhatIf
)
from pyswarm.raft import RaftConfig
from pyswarm.runtime.asyncio_host import run_in_asyncio
from pyswarm.runtime.front.backup import Backup, backup
from pyswarm.runtime.front.convergence import Blocked, Converged, Failed, Outcome, Progress
from pyswarm.runtime.front.entering import Wait, at_once, entered, until_joined, until_ready
from pyswarm.runtime.front.events import After, Event, Position, events
from pyswarm.runtime.front.founding import (
    OPTIONS, Prepare, Settings, StateDir, checked_token, found, join, new_swarm, remotes, reopen,
    reopen_or_found, settings
)
from pyswarm.runtime.front.leaving import leave
from pyswarm.runtime.front.locking import rotate_unlock_key, unlock_key
from pyswarm.runtime.front.logs import TaskLine
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.networks import NetworkHandle, Networks
from pyswarm.runtime.front.nodes import NodeHandle, Nodes
from pyswarm.runtime.front.payloads import ConfigHandle, Configs, SecretHandle, Secrets
from pyswarm.runtime.front.recovery import resuming
from pyswarm.runtime.front.services import ServiceHandle, Services
from pyswarm.runtime.front.streams import Stream
from pyswarm.runtime.front.status import ManagerState, Status, status
from pyswarm.runtime.front.swarm import (
    check, explain, join_token, own_node, plan, rotate_join_token, swarm_object, update, wait_ready
)
from pyswarm.runtime.front.tasks import TaskHandle, Tasks
from pyswarm.runtime.network import Network
from pyswarm.runtime.observe import Observer

if TYPE_CHECKING:
    from pyswarm.sim.checkers import Violation as Violation

__all__ = [
    "AddService", "After", "Backup", "Blocked", "ChangeService", "ConfigHandle", "Configs",
    "Converged", "Drain", "Event", "Executor", "Failed", "Hypothesis", "Lose", "ManagerState",
    "Member", "Network", "NetworkHandle", "Networks", "NodeHandle", "Nodes", "OPTIONS", "Observer",
    "Outcome", "Position", "Prepare", "Progress", "RaftConfig", "Remove", "Scale", "SecretHandle",
    "Secrets", "ServiceHandle", "Services", "Settings", "StateDir", "Status", "Stream",
    "TaskHandle", "TaskLine", "Tasks", "Wait", "WhatIf", "at_once", "backup", "check",
    "checked_token", "entered", "events", "explain", "found", "join", "join_token", "leave",
    "new_swarm", "own_node", "plan", "remotes", "reopen", "reopen_or_found", "resuming",
    "rotate_join_token", "rotate_unlock_key", "run_in_asyncio", "settings", "status",
    "swarm_object", "unlock_key", "until_joined", "until_ready", "update", "wait_ready",
]
