"""What people do to a simulated swarm: random requests, made the way people make them.

Each is put to a random manager; whatever the answer is, the next one follows. What was confirmed is
remembered, so that a checker can ask for it at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.model import (
    Availability,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    EndpointSpec,
    Global,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    Replicated,
    Resources,
    RestartPolicy,
    Role,
    RootCAState,
    Sealed,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    RemoveConfig,
    RemoveNetwork,
    RemoveNode,
    RemoveSecret,
    RemoveService,
    UpdateNode,
    UpdateService,
)
from pyswarm.model.resources import ResourceRequirements
from pyswarm.node.config import TICK_S
from pyswarm.node.seats import holder
from pyswarm.sim.checkers import Violation
from pyswarm.sim.faults import Faults
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

SERVICES_MAX = 6
REPLICAS_MAX = 8
NETWORKS_MAX = 3
PAYLOADS_MAX = 3
MANAGERS_MIN = 2
MANAGERS_MAX = 5
HOSTS_JOINING_MAX = 2
"""New hosts in one history."""
NODES_REMOVED_MAX = 1
JOIN_AGAIN_S = 3.0
"""After how long a host that was not let in asks again."""


@attrs.frozen(kw_only=True)
class Setting:
    """The world that a workload happens in: by default nothing special."""

    tick_s: float = TICK_S
    """Of the managers' log. Where ticks are longer everything takes its time: faults, requests, and
    the patience with a swarm that must converge."""
    lasts_s: float | None = None
    """How long a history suffers, whatever is asked for."""
    spec: SwarmSpec = SwarmSpec()
    root: RootCAState | None = None
    faults: Faults | None = None
    """Those of every history; None: drawn from its seed."""


class Workload:
    """Random requests, ``every_s`` seconds apart on average, until ``stop``."""

    @classmethod
    def setting(cls, rng: Rng) -> Setting:
        """The world of one history."""
        return Setting()

    def __init__(self, world: World, rng: Rng, *, every_s: float = 1.5) -> None:
        self._world = world
        self._rng = rng
        self._every_s = every_s
        self._names = 0
        self._stopped = False
        self.asked = 0
        self.confirmed: list[tuple[str, str, int]] = []
        """(kind, id, version) of what was answered with success."""
        self.refused: dict[str, int] = {}
        """How often each error code was the answer."""
        self.removed: dict[str, None] = {}
        """Ids of the nodes that were asked to be removed: they may be gone, or not."""
        self._joined = 0

    def start(self) -> None:
        """Begin."""
        self._again()

    def stop(self) -> None:
        """No more requests."""
        self._stopped = True

    def mend(self, host: Host, store: Store) -> bool:
        """Put right what cannot converge; whether there was any. Here nothing is beyond repair."""
        return False

    def wrong(self) -> list[Violation]:
        """What must not be, by rules that only this workload puts to the test."""
        return []

    def unsettled(self, store: Store) -> list[str]:
        """What has not come to stand yet, beside services and nodes."""
        return []

    def _again(self) -> None:
        self._world.at(2 * self._every_s * self._rng.random(), self._act)

    def _act(self) -> None:
        if self._stopped:
            return
        hosts = list(self._world.managers())
        if hosts:
            host = self._rng.choice(hosts)
            body = self._body(host)
            if body is not None:
                self.asked += 1
                self._world.request(host, body, self._answered)
        self._again()

    def _answered(self, value: Any, error: SwarmError | None) -> None:
        if error is not None:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
        elif value is not None:
            self.confirmed.append((type(value).__name__.lower(), value.id, value.version))

    def _body(self, host: Host) -> Any:
        assert host.machine is not None and host.machine.manager is not None
        store = host.machine.manager.store
        return self._rng.choice(self._kinds())(store) if store.has_swarm else None

    def _kinds(self) -> tuple[Callable[[Store], Any], ...]:
        """What makes a request, or nothing; as often as each stands here."""
        return (
            self._create,
            self._create,
            self._create,
            self._create,
            self._scale,
            self._scale,
            self._scale,
            self._update,
            self._update,
            self._roll_back,
            self._remove,
            self._availability,
            self._create_network,
            self._remove_network,
            self._create_payload,
            self._remove_payload,
            self._role,
            self._remove_node,
            self._join,
        )

    def _service(self, store: Store) -> Service | None:
        services = list(store.services())
        return self._rng.choice(services) if services else None

    def _create(self, store: Store) -> Any:
        if store.count("service") >= SERVICES_MAX:
            return None
        self._names += 1
        rng = self._rng
        replicated = rng.chance(0.8)
        mode = Replicated(rng.below(REPLICAS_MAX)) if replicated else Global()
        networks = [one for one in store.networks() if one.spec.driver == "overlay"]
        wanted = [one for one in networks if not one.spec.ingress and rng.chance(0.4)]
        ports = (PortConfig(80),) if rng.chance(0.3) else ()
        reserved = Resources(nano_cpus=rng.choice((0, 0, 500_000_000)))
        return CreateService(
            ServiceSpec(
                name=f"service-{self._names}",
                task=TaskSpec(
                    container=ContainerSpec(
                        image="simulated",
                        command=("run", "1"),
                        secrets=tuple(
                            SecretReference(one.id, one.spec.name, one.spec.name)
                            for one in store.secrets()
                            if rng.chance(0.4)
                        ),
                        configs=tuple(
                            ConfigReference(one.id, one.spec.name, one.spec.name)
                            for one in store.configs()
                            if rng.chance(0.4)
                        ),
                    ),
                    restart=RestartPolicy(delay=rng.choice((0.0, 0.5, 2.0))),
                    networks=tuple(NetworkAttachmentConfig(one.id) for one in wanted),
                    resources=ResourceRequirements(reservations=reserved),
                ),
                mode=mode,
                update=UpdateConfig(parallelism=rng.below(3), monitor=1.0),
                endpoint=EndpointSpec(ports=ports) if ports else None,
            )
        )

    def _scale(self, store: Store) -> Any:
        service = self._service(store)
        if service is None or not isinstance(service.spec.mode, Replicated):
            return None
        mode = Replicated(self._rng.below(REPLICAS_MAX))
        return UpdateService(service.id, service.version, attrs.evolve(service.spec, mode=mode))

    def _update(self, store: Store) -> Any:
        service = self._service(store)
        if service is None or service.spec.task.container is None:
            return None
        command = ("run", str(self._rng.below(1000)))
        container = attrs.evolve(service.spec.task.container, command=command)
        task = attrs.evolve(service.spec.task, container=container)
        return UpdateService(service.id, service.version, attrs.evolve(service.spec, task=task))

    def _roll_back(self, store: Store) -> Any:
        service = self._service(store)
        if service is None:
            return None
        return UpdateService(service.id, service.version, None, True)

    def _remove(self, store: Store) -> Any:
        service = self._service(store)
        return RemoveService(service.id) if service is not None else None

    def _availability(self, store: Store) -> Any:
        node = self._rng.choice(list(store.nodes()))
        wanted = self._rng.choice(
            (Availability.ACTIVE, Availability.ACTIVE, Availability.PAUSE, Availability.DRAIN)
        )
        return UpdateNode(node.id, node.version, attrs.evolve(node.spec, availability=wanted))

    def _create_network(self, store: Store) -> Any:
        if store.count("network") >= NETWORKS_MAX + 3:
            return None
        self._names += 1
        return CreateNetwork(NetworkSpec(name=f"network-{self._names}"))

    def _remove_network(self, store: Store) -> Any:
        mine = [one for one in store.networks() if one.spec.name.startswith("network-")]
        return RemoveNetwork(self._rng.choice(mine).id) if mine else None

    def _create_payload(self, store: Store) -> Any:
        self._names += 1
        sealed = Sealed(1, b"", b"simulated", 9, b"")
        if self._rng.chance(0.5):
            if store.count("secret") < PAYLOADS_MAX:
                return CreateSecret(SecretSpec(name=f"secret-{self._names}"), sealed)
        elif store.count("config") < PAYLOADS_MAX:
            return CreateConfig(ConfigSpec(name=f"config-{self._names}"), sealed)
        return None

    def _remove_payload(self, store: Store) -> Any:
        secrets, configs = list(store.secrets()), list(store.configs())
        if self._rng.chance(0.5):
            return RemoveSecret(self._rng.choice(secrets).id) if secrets else None
        return RemoveConfig(self._rng.choice(configs).id) if configs else None

    def _role(self, store: Store) -> Any:
        """Promote or demote somebody, the leader among them. Who was promoted does not count for
        those that stay before it votes: it may be down, and never come to it."""
        nodes = list(store.nodes())
        node = self._rng.choice(nodes)
        if node.spec.desired_role is Role.MANAGER:
            voters = self._staying_voters(store)
            role, allowed = Role.WORKER, len(voters - {node.id}) >= MANAGERS_MIN
        else:
            role, allowed = Role.MANAGER, sum(one.wants_seat for one in nodes) < MANAGERS_MAX
        spec = attrs.evolve(node.spec, desired_role=role)
        return UpdateNode(node.id, node.version, spec) if allowed else None

    def _staying_voters(self, store: Store) -> frozenset[str]:
        """Ids of the nodes that vote and are to go on with it; none while nobody leads."""
        leader = self._world.leader()
        if leader is None or leader.machine is None or leader.machine.manager is None:
            return frozenset()
        members = leader.machine.manager.replica.configuration.members
        voting = [store.node(holder(one).node_id) for one in members if one.voter]
        return frozenset([one.id for one in voting if one is not None and one.wants_seat])

    def _remove_node(self, store: Store) -> Any:
        nodes = [one for one in store.nodes() if not one.wants_seat]
        if len(nodes) < 2 or len(self.removed) >= NODES_REMOVED_MAX or self._rng.chance(0.5):
            return None
        node = self._rng.choice(nodes)
        self.removed[node.id] = None
        return RemoveNode(node.id, force=True)

    def _join(self, store: Store) -> Any:
        """A new host asks to be let in, until it is; it is no request of this node's."""
        if self._joined < HOSTS_JOINING_MAX:
            self._joined += 1
            host = self._world.add_host(f"late-{self._joined}")
            managers = sum(one.wants_seat for one in store.nodes())
            wants_seat = managers < MANAGERS_MAX and self._rng.chance(0.5)
            self._ask_to_join(host, Role.MANAGER if wants_seat else Role.WORKER)
        return None

    def _ask_to_join(self, host: Host, role: Role) -> None:
        if host.identity is not None:
            return
        managers = list(self._world.managers())
        if managers:
            self._world.join(host, role, self._rng.choice(managers))
        self._world.at(JOIN_AGAIN_S * self._world.pace, lambda: self._ask_to_join(host, role))
