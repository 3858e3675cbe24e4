"""Who is a member, at random: joins, leaves, promotions, removals, and nodes that flap.

A workload for :class:`~pyswarm.sim.simulation.Simulation` (``workload="members"``). Two services
keep tasks on the move; all else that people do is about nodes. Some joiners die before they have
begun (their node is in the store and never seen), some hosts leave while they lead, several are
promoted and demoted in one breath. When the faults end, somebody clears up what never came, as the
documentation says: demote it, and remove it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, SwarmError
from pyswarm.model import (
    Availability,
    ContainerSpec,
    Global,
    Node,
    NodeState,
    Replicated,
    Role,
    ServiceSpec,
    TaskSpec,
)
from pyswarm.model.requests import CreateService, JoinNode, LeaveNode, RemoveNode, UpdateNode
from pyswarm.node import Halted
from pyswarm.node.calls import Leave
from pyswarm.sim.workload import MANAGERS_MAX, MANAGERS_MIN, Workload
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

HOSTS_MAX = 12
"""Hosts of one history, those that have left among them."""

MEMBERS_MIN = 4
"""Nobody leaves a swarm that would be smaller."""

FLAPS_S = (0.5, 4.0, 25.0)
"""How long a node that flaps is away: unnoticed, a missed heartbeat or two, long enough to lose its
tasks."""

LOOK_S = 0.25
"""Between two looks of a host that leaves at whether its seat is given up."""

ASK_AGAIN_S = 2.0
"""Between two tries to leave."""


class MemberWorkload(Workload):
    """Members come and go, ``every_s`` seconds between two requests on average."""

    def __init__(self, world: World, rng: Rng, *, every_s: float = 1.0) -> None:
        super().__init__(world, rng, every_s=every_s)
        self._waiting: dict[str, None] = {}
        """Names of hosts that ask to join and were not let in yet."""
        self._leaving: dict[str, None] = {}
        self._ghosts = 0
        world.observers.append(self._observe)

    def _observe(self, now: float, host: Host, effect: Any) -> None:
        """A node that left forgets the swarm, as the runtime has it do."""
        if isinstance(effect, Halted) and effect.reason == "left":
            host.disk.wipe()

    def _kinds(self) -> tuple[Callable[[Store], Any], ...]:
        return (
            self._create,
            self._availability,
            self._role,
            self._role,
            self._several_roles,
            self._label,
            self._join,
            self._join,
            self._ghost,
            self._leave,
            self._leave,
            self._flap,
            self._flap,
            self._remove_node,
            self._remove_lost,
        )

    # -- requests

    def _create(self, store: Store) -> Any:
        if store.count("service") >= 2:
            return None
        mode = Replicated(6) if not store.count("service") else Global()
        self._names += 1
        container = ContainerSpec(image="simulated", command=("run",))
        return CreateService(
            ServiceSpec(name=f"service-{self._names}", task=TaskSpec(container), mode=mode)
        )

    def _label(self, store: Store) -> Any:
        node = self._rng.choice(list(store.nodes()))
        labels = {"zone": self._rng.choice(("a", "b"))}
        return UpdateNode(node.id, node.version, attrs.evolve(node.spec, labels=labels))

    def _several_roles(self, store: Store) -> Any:
        """Two promotions and two demotions that share a turn."""
        managers = sum(node.wants_seat for node in store.nodes())
        hosts = list(self._world.managers())
        for node in self._some(list(store.nodes()), 4):
            is_manager = node.wants_seat
            if managers <= MANAGERS_MIN if is_manager else managers >= MANAGERS_MAX:
                continue
            managers += -1 if is_manager else 1
            spec = attrs.evolve(node.spec, desired_role=Role.WORKER if is_manager else Role.MANAGER)
            body = UpdateNode(node.id, node.version, spec)
            self.asked += 1
            self._world.request(self._rng.choice(hosts), body, self._answered)
        return None

    def _some(self, nodes: list[Node], most: int) -> list[Node]:
        self._rng.shuffle(nodes)
        return nodes[:most]

    def _join(self, store: Store) -> Any:
        """A new host; its node's id is known when it is let in."""
        if len(self._world.hosts) < HOSTS_MAX:
            name = f"late-{len(self._world.hosts)}"
            host = self._world.add_host(name)
            managers = sum(one.wants_seat for one in store.nodes())
            wants_seat = managers < MANAGERS_MAX and self._rng.chance(0.5)
            self._let_join(host, Role.MANAGER if wants_seat else Role.WORKER)
        return None

    def _let_join(self, host: Host, role: Role) -> None:
        self._waiting[host.name] = None
        self._ask_to_join(host, role)

    def _ghost(self, store: Store) -> Any:
        """A joiner that dies before it has heard the answer."""
        if self._ghosts >= 2:
            return None
        self._ghosts += 1
        root = store.swarm.root_ca
        token = self._rng.choice((root.manager_token, root.worker_token))
        return JoinNode(token, addr=f"ghost-{self._ghosts}:2377")

    def _leave(self, store: Store) -> Any:
        """A host gives its membership up, as ``cluster.leave(force=True)`` does."""
        members = [
            host
            for host in self._world.up()
            if host.name not in self._leaving and store.node(host.node_id) is not None
        ]
        if len(members) <= MEMBERS_MIN:
            return None
        host = self._rng.choice(members)
        if host.machine is not None and host.machine.manager is not None:
            managers = [one for one in store.nodes() if one.wants_seat]
            if len(managers) <= MANAGERS_MIN:
                return None
        self._leaving[host.name] = None
        self._go(host)
        return None

    def _go(self, host: Host) -> None:
        """First the seat, then the goodbye; a host that is down goes on when it is back."""
        if host.disk.record is None:
            return
        machine = host.machine
        if machine is None:
            self._world.at(ASK_AGAIN_S, lambda: self._go(host))
        elif machine.manager is None:
            self._world.call(host, Leave(), lambda value, error: None)
            self._world.at(ASK_AGAIN_S, lambda: self._go(host))
        else:
            self._world.request(
                host, LeaveNode(host.node_id, True), lambda value, error: self._stay(host, error)
            )
            self._wait_for_seat(host, host.life, self._world.now + ASK_AGAIN_S)

    def _stay(self, host: Host, error: SwarmError | None) -> None:
        if isinstance(error, FailedPrecondition):
            self._leaving.pop(host.name, None)  # it is the last manager

    def _wait_for_seat(self, host: Host, life: int, until: float) -> None:
        machine = host.machine
        is_done = host.life != life or machine is None or machine.manager is None
        if host.name not in self._leaving:
            return
        if is_done or self._world.now >= until:
            self._go(host)
        else:
            self._world.at(LOOK_S, lambda: self._wait_for_seat(host, life, until))

    def _flap(self, store: Store) -> Any:
        """A node goes away and comes back, perhaps before anybody noticed."""
        hosts = list(self._world.up())
        if len(hosts) > MEMBERS_MIN:
            host = self._rng.choice(hosts)
            self._world.crash(host)

            def start() -> None:
                if not host.is_up and host.disk.record is not None:
                    self._world.start(host)

            self._world.at(self._rng.choice(FLAPS_S) * self._rng.random(), start)
        return None

    def _remove_lost(self, store: Store) -> Any:
        """``node rm`` without force, of whatever there is but who still asks to join: refused for
        nodes that live. A manager that left is demoted before."""
        joining = [host for host in map(self._world.hosts.get, self._waiting) if host is not None]
        asking = {host.addr for host in joining if host.identity is None}
        workers = [one for one in store.nodes() if not one.wants_seat and one.addr not in asking]
        lost = [one for one in workers if one.state is NodeState.DOWN]
        chosen = self._rng.choice(lost or workers) if workers else None
        if chosen is None or len(workers) < 2:
            return None
        if chosen.left_seat:
            spec = attrs.evolve(chosen.spec, desired_role=Role.WORKER)
            return UpdateNode(chosen.id, chosen.version, spec)
        self.removed[chosen.id] = None
        return RemoveNode(chosen.id)

    # -- the end

    def mend(self, host: Host, store: Store) -> bool:
        """Clear up as people would: managers enough, everyone takes tasks, and whoever never came,
        has left or cannot find anybody is demoted and removed. Whether there was anything."""
        if any(self._world.hosts[name].identity is None for name in self._waiting):
            return True  # it still asks to be let in
        bodies = [*self._promotions(store), *self._activations(store), *self._farewells(store)]
        for body in bodies:
            self._world.request(host, body, self._answered)
        hosts = self._world.hosts.values()
        return bool(bodies) or any(self._still_leaves(one, store) for one in hosts)

    def _still_leaves(self, host: Host, store: Store) -> bool:
        is_leaving = host.name in self._leaving and host.disk.record is not None and host.is_up
        return is_leaving and not self._is_lost(host, store)

    def _living(self, store: Store) -> list[Node]:
        """The nodes that are here to stay."""
        here = {
            host.node_id
            for host in self._world.up()
            if not self._is_lost(host, store) and host.name not in self._leaving
        }
        return [node for node in store.nodes() if node.id in here]

    def _is_lost(self, host: Host, store: Store) -> bool:
        """Whether all managers that a node knows have left while it was away."""
        assert host.machine is not None
        known = {one.addr for one in host.machine.managers}
        node = store.node(host.node_id)
        seat = host.machine.manager
        seated = node.manager if node is not None else None
        has_seat = seat and seated and seat.replica.id == seated.member_id
        return not has_seat and not any(
            node.manager is not None and node.addr in known and node.id != host.node_id
            for node in store.nodes()
        )

    def _promotions(self, store: Store) -> Iterator[Any]:
        living = self._living(store)
        managers = [one for one in living if one.spec.desired_role is Role.MANAGER]
        others = [one for one in living if one.spec.desired_role is Role.WORKER]
        for node in others[: max(0, MANAGERS_MIN - len(managers))]:
            spec = attrs.evolve(node.spec, desired_role=Role.MANAGER)
            yield UpdateNode(node.id, node.version, spec)

    def _activations(self, store: Store) -> Iterator[Any]:
        for node in self._living(store):
            if node.spec.availability is not Availability.ACTIVE:
                spec = attrs.evolve(node.spec, availability=Availability.ACTIVE)
                yield UpdateNode(node.id, node.version, spec)

    def _farewells(self, store: Store) -> Iterator[Any]:
        staying = {node.id for node in self._living(store)}
        staying |= {one.node_id for one in self._world.up() if self._still_leaves(one, store)}
        for node in store.nodes():
            if node.id in staying:
                continue
            if node.spec.desired_role is Role.MANAGER:
                spec = attrs.evolve(node.spec, desired_role=Role.WORKER)
                yield UpdateNode(node.id, node.version, spec)
            else:
                self.removed[node.id] = None
                yield RemoveNode(node.id, True)
