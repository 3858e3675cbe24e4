"""What a node says of itself and its swarm, at once and without asking anyone."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.model import Role
from pyswarm.raft import Role as RaftRole
from pyswarm.runtime.front.logstatus import LogStatus, log_status
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.node import RunningNode


@attrs.frozen
class ManagerState:
    """One manager, as this node sees it."""

    node_id: str
    hostname: str
    addr: str
    is_leader: bool
    reachability: str
    """``reachable``, ``unreachable`` or ``unknown``; only the leader knows of the others."""


@attrs.frozen(kw_only=True)
class Status:
    """One node's view of itself and its swarm. On a worker, what it cannot know is empty."""

    node_id: str
    hostname: str
    swarm_id: str
    addr: str
    role: Role
    is_leader: bool
    leader_id: str
    """The node that leads, "" while there is none or it is not known."""
    has_session: bool
    """Whether this node's agent has a session with the leader."""
    reason: str
    """Why it has none."""
    term: int
    """Raft's term; grows with each election."""
    version: int
    """The last entry installed in this member's store."""
    commit_index: int
    managers: tuple[ManagerState, ...]
    nodes: Mapping[str, int]
    """Number of nodes by state (ready, down, unknown, disconnected)."""
    services: int
    tasks: Mapping[str, int]
    """Number of tasks by observed state."""
    lag_s: float
    """How late the loop has woken this node of late, in seconds."""
    log: LogStatus | None
    """This manager's replica of the managers' log; None on a worker."""
    counters: Mapping[str, float]
    """What the default observer has counted; empty with one of your own."""


async def status(member: Member) -> Status:
    """This node as it is now; never waits for a leader."""

    async def look() -> Status:
        return _status(member.node)

    return await member.loop.run(look)


def _status(node: RunningNode) -> Status:
    machine = node.machine
    manager, agent = machine.manager, machine.agent
    counts: dict[str, dict[str, int]] = {"node": {}, "task": {}}
    services = version = term = commit_index = 0
    managers: tuple[ManagerState, ...] = ()
    leader_id = agent.manager.node_id if agent.session_id and agent.manager else ""
    if manager is not None:
        store = manager.store
        version, services = store.version, store.count("service")
        for kind, found in counts.items():
            for thing in store.all(kind):
                found[str(thing.state)] = found.get(str(thing.state), 0) + 1
        raft = manager.replica.status()
        term, commit_index = raft.term, raft.commit_index
        leader_id = manager.leader.node_id if manager.leader is not None else ""
        managers = managers_of(node)
    return Status(
        node_id=machine.node_id,
        hostname=machine.config.description.hostname,
        swarm_id=machine.identity.swarm_id,
        addr=machine.config.addr,
        role=machine.identity.role,
        is_leader=machine.is_leader,
        leader_id=leader_id,
        has_session=bool(agent.session_id),
        reason="" if agent.session_id else agent.reason,
        term=term,
        version=version,
        commit_index=commit_index,
        managers=managers,
        nodes=counts["node"],
        services=services,
        tasks=counts["task"],
        lag_s=node.lag_s,
        log=log_status(node),
        counters=dict(getattr(node.observer, "values", {})),
    )


def managers_of(node: RunningNode) -> tuple[ManagerState, ...]:
    """The managers of the swarm, as this one sees them."""
    manager = node.machine.manager
    assert manager is not None
    store = manager.store
    leader_id = manager.leader.node_id if manager.leader is not None else ""
    raft = manager.replica.status()
    seen = {follower.id: follower.reachability.name.lower() for follower in raft.followers}
    if manager.replica.role is RaftRole.LEADER:
        seen[manager.replica.id] = "reachable"
    found = []
    for one in store.nodes():
        if one.manager is not None:
            state = seen.get(one.manager.member_id, "unknown")
            is_leader = one.id == leader_id
            found.append(ManagerState(one.id, one.hostname, one.manager.addr, is_leader, state))
    return tuple(found)
