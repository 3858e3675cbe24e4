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
    ContainerSpec,
    EndpointSpec,
    Global,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    Replicated,
    Resources,
    RestartPolicy,
    Service,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.requests import (
    CreateNetwork,
    CreateService,
    RemoveNetwork,
    RemoveService,
    UpdateNode,
    UpdateService,
)
from pyswarm.model.resources import ResourceRequirements
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

SERVICES_MAX = 6
REPLICAS_MAX = 8
NETWORKS_MAX = 3


class Workload:
    """Random requests, ``every_s`` seconds apart on average, until ``stop``."""

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

    def start(self) -> None:
        """Begin."""
        self._again()

    def stop(self) -> None:
        """No more requests."""
        self._stopped = True

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
        if not store.has_swarm:
            return None
        make: Callable[[Store], Any] = self._rng.choice(
            (
                self._create,
                self._create,
                self._scale,
                self._scale,
                self._update,
                self._roll_back,
                self._remove,
                self._availability,
                self._create_network,
                self._remove_network,
            )
        )
        return make(store)

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
                    container=ContainerSpec(image="simulated", command=("run", "1")),
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
