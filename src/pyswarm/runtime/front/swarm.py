"""The swarm as a whole: readiness, tokens, settings, what-if, explanations, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from pyswarm.ca import JoinToken
from pyswarm.env import Rng, system_entropy
from pyswarm.errors import DeadlineExceeded, InvalidArgument, SwarmError, Unavailable
from pyswarm.model import Node, NodeState, Role, Service, Swarm, SwarmSpec, Task
from pyswarm.model.requests import UpdateSwarm
from pyswarm.node.explain import explain_service, explain_task
from pyswarm.node.lookup import find
from pyswarm.node.whatif import Hypothesis, WhatIf, what_if
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.front.events import blanked
from pyswarm.runtime.front.handles import Handle
from pyswarm.runtime.front.locking import change_swarm, with_fresh_key, wrapped_here
from pyswarm.runtime.front.member import Member, limited
from pyswarm.runtime.front.nodes import NodeHandle
from pyswarm.runtime.node import RunningNode
from pyswarm.scheduler.explain import Explanation
from pyswarm.store import Reader, Store

PAUSE_S = 0.01
"""Between two looks at what no commit tells: a session, a vote."""


def own_node(member: Member) -> NodeHandle:
    """This node as last seen here: by a manager in its store, by a worker in its session."""
    machine = member.node.machine
    known = machine.agent.node
    if machine.manager is not None:
        known = machine.store.node(machine.node_id) or known
    return NodeHandle(member, known or Node(machine.node_id, addr=member.addr))


async def swarm_object(member: Member) -> Swarm:
    """The swarm's object, without what must not be seen."""
    found: Swarm = blanked(await member.read(lambda store: store.swarm))
    return found


# -- readiness


async def wait_ready(member: Member, timeout: float | None) -> None:
    """Until this node has a session, and a manager a leader that says the node is ready."""

    def late() -> SwarmError:
        reason = member.node.machine.agent.reason or "there is no leader"
        return DeadlineExceeded(f"the node is not ready within {timeout:g} s: {reason}")

    async def wait() -> None:
        while not _is_ready(member.node):
            member.check_alive()
            await trio.sleep(PAUSE_S)
        while member.is_manager and not await hears_a_leader():
            member.check_alive()
            await trio.sleep(PAUSE_S)

    async def hears_a_leader() -> bool:
        try:
            await member.node.barrier()
        except (
            Unavailable,
            DeadlineExceeded,
        ):  # also where too few managers are known to be up: it may change
            return False
        return True

    await member.loop.run(limited, wait, timeout, late)


def _is_ready(node: RunningNode) -> bool:
    machine = node.machine
    if not machine.agent.session_id:
        return False
    if machine.manager is None:
        return True
    own = machine.store.node(machine.node_id)
    return own is not None and own.state is NodeState.READY


async def wait_joined(member: Member, role: Role, timeout: float) -> None:
    """Until the node that joined has a session and, as a manager, a vote."""

    async def wait() -> None:
        while not (_is_ready(member.node) and (role is Role.WORKER or _votes(member.node))):
            member.check_alive()
            await trio.sleep(PAUSE_S)

    def late() -> SwarmError:
        return DeadlineExceeded(f"the node did not become a {role} within {timeout:g} s")

    await member.loop.run(limited, wait, timeout, late)


def _votes(node: RunningNode) -> bool:
    manager = node.machine.manager
    if manager is None:
        return False
    replica = manager.replica
    return replica.id in replica.configuration.voters


# -- tokens and settings


def _role(role: Role | str) -> Role:
    if isinstance(role, Role):
        return role
    for known in Role:
        if role == str(known):
            return known
    raise InvalidArgument(f"unknown role {role}", hint="worker or manager")


async def join_token(member: Member, role: Role | str) -> str:
    """The token that lets a node in as ``role``."""
    wanted = _role(role)

    def look(store: Reader) -> str:
        root = store.swarm.root_ca
        return root.manager_token if wanted is Role.MANAGER else root.worker_token

    return await member.read(look)


async def rotate_join_token(member: Member, role: Role | str) -> str:
    """A new token for ``role``; the old one lets nobody in any more."""
    wanted = _role(role)
    token = JoinToken.parse(await join_token(member, wanted)).rotated()
    text = str(token)

    def make(swarm: Swarm) -> UpdateSwarm:
        if wanted is Role.MANAGER:
            return UpdateSwarm(swarm.version, swarm.spec, rotate_manager_token=text)
        return UpdateSwarm(swarm.version, swarm.spec, rotate_worker_token=text)

    await change_swarm(member, make)
    return text


RAFT_SETTINGS = ("snapshot_interval", "keep_old_snapshots", "log_entries_for_slow_followers")
SETTINGS = (
    *("labels", "task_history_retention_limit", "heartbeat_period", "default_log_driver"),
    *("node_cert_expiry", "autolock"),
    *RAFT_SETTINGS,
)
"""What ``update`` takes: fields of ``SwarmSpec``, of its ``raft`` and of its ``ca``."""


async def update(member: Member, settings: Mapping[str, Any]) -> Swarm:
    """Change settings of the swarm; the object as it is then (without its keys)."""
    for name in settings:
        if name not in SETTINGS:
            raise InvalidArgument(
                f"the swarm has no setting '{name}'", hint=f"it has {', '.join(SETTINGS)}"
            )
    _changed(SwarmSpec(), settings)
    written = await change_swarm(
        member,
        lambda swarm: with_fresh_key(
            UpdateSwarm(swarm.version, _changed(swarm.spec, settings)), swarm
        ),
    )
    if "autolock" in settings:
        await wrapped_here(member, written)
    shown: Swarm = blanked(written)
    return shown


def _changed(spec: SwarmSpec, settings: Mapping[str, Any]) -> SwarmSpec:
    fields = dict(settings)
    raft = {name: fields.pop(name) for name in RAFT_SETTINGS if name in fields}
    if raft:
        fields["raft"] = attrs.evolve(spec.raft, **raft)
    if "node_cert_expiry" in fields:
        expiry = fields.pop("node_cert_expiry")
        fields["ca"] = attrs.evolve(spec.ca, node_cert_expiry=expiry)
    return attrs.evolve(spec, **fields)


# -- questions


async def plan(member: Member, changes: Hypothesis | Sequence[Hypothesis]) -> WhatIf:
    """What ``changes`` would do, decided on a fork and dropped."""
    rng = Rng(int.from_bytes(system_entropy(8), "big"))

    def ask(store: Store) -> WhatIf:
        return what_if(store, changes, SystemClock().realtime(), rng, member.make_scheduler)

    return await member.read(ask)


async def explain(member: Member, what: Handle[Any] | Task | Service | str) -> Any:
    """Why a task is where it is; of a service, why each of its tasks is."""
    id = what if isinstance(what, str) else what.id

    def ask(store: Store) -> Explanation | tuple[Explanation, ...]:
        if (task := store.task(id)) is not None:
            return explain_task(store, task, member.make_scheduler)
        return explain_service(store, find(store, "service", id), member.make_scheduler)

    return await member.read(ask)


async def check(member: Member) -> list[Any]:
    """The invariants of the whole state that do not hold; none, if all is well."""
    from pyswarm.sim.checkers import check_view

    return await member.read(lambda store: list(check_view(store)))
