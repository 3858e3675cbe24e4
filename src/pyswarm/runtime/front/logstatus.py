"""What a manager says of the managers' log: its own place in it, its followers', its disk's."""

from __future__ import annotations

import attrs

from pyswarm.node.seats import holder
from pyswarm.raft import Status as RaftStatus
from pyswarm.runtime.node import RunningNode
from pyswarm.runtime.raftmetrics import Histogram, histogram_of


@attrs.frozen
class Follower:
    """Another manager, as the leader sees it."""

    node_id: str
    addr: str
    is_voter: bool
    state: str
    """``probe``, ``replicate`` or ``snapshot``: how it is being brought up to date."""
    lag: int
    """Entries that it lacks."""
    reachability: str
    heard_ago_s: float | None
    """Seconds since it last answered; None: not in this term."""


@attrs.frozen(kw_only=True)
class LogStatus:
    """One manager's replica of the log. Indexes count entries."""

    member_id: int
    epoch: int
    """Drawn anew when the swarm is restored, or begun anew by force."""
    role: str
    """``leader``, ``follower``, ``candidate`` …"""
    term: int
    elections: int
    """How often this member has stood for election since it started."""
    voters: int
    learners: int
    first_index: int
    """The first entry in memory; what came before is in the snapshot."""
    last_index: int
    stable_index: int
    """The last entry on this member's disk."""
    commit_index: int
    applied_index: int
    snapshot_index: int
    """The last entry that the latest snapshot stands for."""
    snapshots: int
    """Snapshots that this member has taken since it started."""
    followers: tuple[Follower, ...]
    """Empty unless this member leads."""
    disk: Histogram | None
    """How long each group of writes and its sync took, since the start; None in memory."""
    disk_error: str
    """Why this member cannot write now, so neither leads nor votes; "" if it can."""


def log_status(node: RunningNode) -> LogStatus | None:
    """None on a worker."""
    manager = node.machine.manager
    if manager is None:
        return None
    raft = manager.replica.status()
    return LogStatus(
        member_id=raft.id,
        epoch=raft.epoch,
        role=raft.role.name.lower(),
        term=raft.term,
        elections=raft.elections,
        voters=len(raft.configuration.voters),
        learners=len(raft.configuration.learners),
        first_index=raft.first_index,
        last_index=raft.last_index,
        stable_index=raft.stable_index,
        commit_index=raft.commit_index,
        applied_index=raft.applied_index,
        snapshot_index=raft.snapshot_index,
        snapshots=manager.snapshots.count,
        followers=_followers(raft, node.machine.config.tick_s),
        disk=histogram_of(times) if (times := node.sync_times) is not None else None,
        disk_error=manager.disk_error,
    )


def _followers(raft: RaftStatus, tick_s: float) -> tuple[Follower, ...]:
    found = []
    for one in raft.followers:
        member = raft.configuration.get(one.id)
        if member is None:
            continue
        place, ago = holder(member), one.heard_ticks_ago
        found.append(
            Follower(
                place.node_id,
                place.addr,
                one.voter,
                one.state.name.lower(),
                one.lag,
                one.reachability.name.lower(),
                None if ago is None else ago * tick_s,
            )
        )
    return tuple(found)
