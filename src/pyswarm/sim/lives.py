"""The whole life of services, at random: updates that fail, rotations, drains, secrets.

A workload for :class:`~pyswarm.sim.simulation.Simulation` (``workload="life"``), with the rules
that only such a history puts to the test in :mod:`pyswarm.sim.lifecheckers`. Some specs cannot run
(their programs end at once with an error); when the faults end these are mended, as somebody would,
so that every service can come to stand as its spec says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.model import (
    Availability,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    FailureAction,
    Global,
    Replicated,
    RestartPolicy,
    Sealed,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    UpdateOrder,
    UpdateState,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    CreateService,
    RemoveConfig,
    RemoveSecret,
    UpdateNode,
    UpdateService,
)
from pyswarm.sim.workload import REPLICAS_MAX, SERVICES_MAX, Workload
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

PAYLOADS_MAX = 5
"""Secrets, and as many configs."""

BAD_SHARE = 0.3
"""How many updates give a service a program that fails."""

_PAUSED = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)


class LifeWorkload(Workload):
    """Random lives of services, ``every_s`` seconds between two requests on average."""

    def __init__(self, world: World, rng: Rng, *, every_s: float = 0.6) -> None:
        super().__init__(world, rng, every_s=every_s)

    def _kinds(self) -> tuple[Callable[[Store], Any], ...]:
        return (
            self._create,
            self._scale,
            self._update,
            self._update,
            self._update,
            self._settings,
            self._rotate,
            self._rotate,
            self._roll_back,
            self._force,
            self._remove,
            self._availability,
            self._create_payload,
            self._create_payload,
            self._remove_payload,
        )

    def mend(self, host: Host, store: Store) -> bool:
        """Put right what cannot converge: one request for each node and service that needs it.
        Whether there was any."""
        bodies: list[Any] = [
            UpdateNode(node.id, node.version, _active(node.spec))
            for node in store.nodes()
            if node.spec.availability is not Availability.ACTIVE
        ]
        for service in store.services():
            status = service.update_status
            paused = status is not None and status.state in _PAUSED
            if _is_bad(service) or paused:
                spec = _with_command(service.spec, ("run", "mended"))
                task = attrs.evolve(spec.task, force_update=spec.task.force_update + 1)
                body = UpdateService(
                    service.id, service.version, attrs.evolve(spec, task=task, update=None)
                )
                bodies.append(body)
        for body in bodies:
            self._world.request(host, body, self._answered)
        return bool(bodies)

    # -- requests

    def _create(self, store: Store) -> Any:
        if store.count("service") >= SERVICES_MAX:
            return None
        self._names += 1
        rng = self._rng
        container = ContainerSpec(
            image="simulated",
            command=("run", "1"),
            secrets=tuple(
                SecretReference(one.id, one.spec.name, "secret")
                for one in list(store.secrets())[:1]
                if rng.chance(0.7)
            ),
            configs=tuple(
                ConfigReference(one.id, one.spec.name, "config")
                for one in list(store.configs())[:1]
                if rng.chance(0.7)
            ),
        )
        return CreateService(
            ServiceSpec(
                name=f"service-{self._names}",
                task=TaskSpec(
                    container=container, restart=RestartPolicy(delay=rng.choice((0.0, 0.5, 2.0)))
                ),
                mode=Replicated(rng.below(REPLICAS_MAX)) if rng.chance(0.8) else Global(),
                update=random_update(rng),
                rollback=random_update(rng),
            )
        )

    def _update(self, store: Store) -> Any:
        service = self._service(store)
        if service is None:
            return None
        number = str(self._rng.below(1000))
        command = ("exit", "1") if self._rng.chance(BAD_SHARE) else ("run", number)
        return self._changed(service, _with_command(service.spec, command))

    def _settings(self, store: Store) -> Any:
        service = self._service(store)
        if service is None:
            return None
        spec = attrs.evolve(service.spec, update=random_update(self._rng))
        return self._changed(service, spec)

    def _force(self, store: Store) -> Any:
        service = self._service(store)
        if service is None:
            return None
        task = service.spec.task
        task = attrs.evolve(task, force_update=task.force_update + 1)
        return self._changed(service, attrs.evolve(service.spec, task=task))

    def _rotate(self, store: Store) -> Any:
        """Another secret and config in the place of those it has, or none."""
        service = self._service(store)
        secrets, configs = list(store.secrets()), list(store.configs())
        if service is None or service.spec.task.container is None or not secrets or not configs:
            return None
        secret, config = self._rng.choice(secrets), self._rng.choice(configs)
        container = attrs.evolve(
            service.spec.task.container,
            secrets=(SecretReference(secret.id, secret.spec.name, "secret"),)
            if self._rng.chance(0.8)
            else (),
            configs=(ConfigReference(config.id, config.spec.name, "config"),),
        )
        task = attrs.evolve(service.spec.task, container=container)
        return self._changed(service, attrs.evolve(service.spec, task=task))

    def _create_payload(self, store: Store) -> Any:
        self._names += 1
        kind = self._rng.choice(("secret", "config"))
        if store.count(kind) >= PAYLOADS_MAX:
            return None
        sealed = Sealed(1, b"", b"payload", 7, bytes([self._names & 0xFF]))
        if kind == "secret":
            return CreateSecret(SecretSpec(f"secret-{self._names}"), sealed)
        return CreateConfig(ConfigSpec(f"config-{self._names}"), sealed)

    def _remove_payload(self, store: Store) -> Any:
        """Refused while somebody uses it."""
        kind = self._rng.choice(("secret", "config"))
        found = list(store.all(kind))
        if not found:
            return None
        remove = RemoveSecret if kind == "secret" else RemoveConfig
        return remove(self._rng.choice(found).id)

    @staticmethod
    def _changed(service: Service, spec: ServiceSpec) -> UpdateService:
        return UpdateService(service.id, service.version, spec)


def random_update(rng: Rng) -> UpdateConfig | None:
    """Settings of an update, short enough for a history of a minute."""
    if rng.chance(0.2):
        return None
    return UpdateConfig(
        parallelism=rng.below(4),
        delay=rng.choice((0.0, 0.0, 0.5)),
        failure_action=rng.choice(tuple(FailureAction)),
        monitor=rng.choice((0.5, 2.0)),
        max_failure_ratio=rng.choice((0.0, 0.0, 0.3, 1.0)),
        order=rng.choice(tuple(UpdateOrder)),
    )


def _active(spec: Any) -> Any:
    return attrs.evolve(spec, availability=Availability.ACTIVE)


def _is_bad(service: Service) -> bool:
    container = service.spec.task.container
    return container is not None and container.command[:1] == ("exit",)


def _with_command(spec: ServiceSpec, command: tuple[str, ...]) -> ServiceSpec:
    container = spec.task.container
    assert container is not None
    task = attrs.evolve(spec.task, container=attrs.evolve(container, command=command))
    return attrs.evolve(spec, task=task)
