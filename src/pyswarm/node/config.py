"""What a node is told when it is made.

Everything drawn from the outside (key material, root certificate, tokens, ids) is drawn by the
runtime and stands here or in a request; the node draws only reproducible chance.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.agent import SavedTask
from pyswarm.model import Identity, NodeDescription, Swarm
from pyswarm.model.session import ManagerAddress
from pyswarm.model.states import Availability
from pyswarm.raft import Entry, HardState, RaftConfig, Snapshot
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.policy import MakeScheduler

TICK_S = 0.05
"""Seconds between two Raft ticks; see :class:`~pyswarm.raft.RaftConfig` for what is counted."""

FORWARD_TIMEOUT_S = 5.0
"""How long a follower waits for the leader's answer to a forwarded request."""

FORWARDED_MAX = 10_000
"""Requests a follower has passed on and waits for; the leader takes no more in its queue either."""


@attrs.frozen
class RecoveredLog:
    """What the disk of a manager held. ``member_id`` 0: this node never was a manager."""

    member_id: int
    hard_state: HardState = HardState()
    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] = ()


@attrs.frozen(kw_only=True)
class NodeConfig:
    """One node's own facts.

    ``bootstrap`` is the Swarm object of a new swarm: given to its first node only. ``managers`` are
    the last known ones; ``saved_tasks`` what the agent had saved.
    """

    identity: Identity
    addr: str
    description: NodeDescription
    seed: int
    incarnation: int = 0
    bootstrap: Swarm | None = attrs.field(default=None, repr=False)
    availability: Availability = Availability.ACTIVE
    managers: tuple[ManagerAddress, ...] = ()
    log: RecoveredLog | None = None
    saved_tasks: Mapping[str, SavedTask] = attrs.field(factory=dict, repr=False)
    tick_s: float = TICK_S
    raft: RaftConfig | None = None
    """Timings to use; its id is replaced by the member's own."""
    make_scheduler: MakeScheduler = Scheduler
    """What this node places with while it leads, and answers with when it is asked why."""
