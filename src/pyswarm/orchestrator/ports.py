"""Published ports: the conflict check of a request, and the ports a service is given.

An ingress port belongs to one service of the swarm. One that is asked for by number is checked
where the request is decided (:func:`check_ports`); one that is not is chosen from 30000-32767, and
kept as long as the service publishes the same target. Host ports are the scheduler's matter.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import attrs

from pyswarm.errors import SwarmError
from pyswarm.ipam import Holder, PortAllocator, PortInUse
from pyswarm.ipam.ports import DYNAMIC_LOW, PROTOCOLS
from pyswarm.model.objects import Service
from pyswarm.model.specs import PortConfig, ServiceSpec
from pyswarm.model.states import PublishMode
from pyswarm.orchestrator.recent import Age, Recent
from pyswarm.store import Reader

PortKey = tuple[str, int]
"""Protocol and published port."""


Use = tuple[str, int, bool]
"""Protocol, published port, and whether it is an ingress port."""

Who = tuple[float, str]
"""A service: when it was created, and its id."""


class Published:
    """Which services publish a port, or ask to, the first created first: an index by port."""

    __slots__ = ("_by",)

    def __init__(self) -> None:
        self._by: dict[Use, list[Who]] = {}

    def move(self, who: Who, before: Sequence[Use], after: Sequence[Use]) -> None:
        """The service published ``before`` and publishes ``after`` from now on."""
        for use in before:
            if use not in after:
                holders = self._by[use]
                del holders[bisect_left(holders, who)]
                if not holders:
                    del self._by[use]
        for use in after:
            if use not in before:
                insort(self._by.setdefault(use, []), who)

    def other(self, use: Use, service_id: str) -> str:
        """The first service that publishes this and is not ``service_id``; "" for none."""
        for _, holder in self._by.get(use, ())[:2]:
            if holder != service_id:
                return holder
        return ""


def published_ports(service: Service) -> tuple[Use, ...]:
    """The ports a service asks for by number, or was given; each once."""
    asked = service.spec.endpoint.ports if service.spec.endpoint else ()
    given = service.endpoint.ports if service.endpoint else ()
    if not asked and not given:
        return ()
    uses = ((*_key(port), is_ingress(port)) for port in (*asked, *given) if port.published_port)
    return tuple(dict.fromkeys(uses))


def check_ports(reader: Reader, published: Published, spec: ServiceSpec, service_id: str) -> None:
    """Refuse published ports that belong to another service than ``service_id`` ("": a new one).

    Ports that several services publish in host mode do not conflict: the scheduler parts them.

    Raises:
        PortInUse: with Docker's sentence, which names the service.
    """
    for port in spec.endpoint.ports if spec.endpoint else ():
        if not port.published_port:
            continue
        key = _key(port)
        if holder := published.other((*key, True), service_id):
            raise PortInUse(key[1], key[0], _name(reader, holder), holder)
        if is_ingress(port) and (holder := published.other((*key, False), service_id)):
            raise PortInUse(key[1], key[0], _name(reader, holder), holder, "host")


def _name(reader: Reader, service_id: str) -> str:
    service = reader.service(service_id)
    assert service is not None, "the index of ports is behind"
    return service.spec.name


def is_ingress(port: PortConfig) -> bool:
    """Whether the port is open on every node."""
    return port.publish_mode is PublishMode.INGRESS


def _key(port: PortConfig) -> PortKey:
    return str(port.protocol), port.published_port


def _same_target(port: PortConfig) -> tuple[str, str, int, str]:
    """What a chosen port is kept for."""
    return port.name, str(port.protocol), port.target_port, str(port.publish_mode)


class Ports:
    """The ingress ports of the swarm's services; a cache of what their endpoints say."""

    __slots__ = ("_held", "_leases", "_recent")

    def __init__(self) -> None:
        self._leases = PortAllocator()
        self._held: dict[str, tuple[PortKey, ...]] = {}  # by service
        self._recent: dict[str, Recent[int]] = {name: Recent() for name in PROTOCOLS}

    def restore(self, service: Service, age: Age) -> None:
        """What the service's endpoint says it has."""
        endpoint = service.endpoint
        if endpoint is None:
            return
        holder = Holder(service.spec.name, service.id)
        keys = tuple(_key(port) for port in endpoint.ports if is_ingress(port))
        for protocol, number in keys:
            self._leases.allocate(protocol, number, holder=holder)
        self._held[service.id] = keys
        self._note(service.id, age, endpoint.spec.ports, endpoint.ports)

    def give(self, service: Service, age: Age) -> tuple[PortConfig, ...]:
        """The service's ports with their published numbers, in the order of its spec.

        Raises:
            PortInUse, PortsExhausted, InvalidArgument (no such port): nothing has changed then.
        """
        wanted = service.spec.endpoint.ports if service.spec.endpoint else ()
        if not wanted and service.id not in self._held:
            return ()
        before = service.endpoint.ports if service.endpoint else ()
        held = dict.fromkeys(self._held.get(service.id, ()))
        holder = Holder(service.spec.name, service.id)
        taken: list[PortKey] = []  # new leases
        keep: dict[PortKey, None] = {}
        numbers = [port.published_port for port in wanted]
        self._search_from_last()
        try:
            for at, port in sorted(enumerate(wanted), key=lambda pair: not pair[1].published_port):
                if not is_ingress(port):
                    continue
                key = _key(port) if port.published_port else _kept(port, before, held, keep)
                if key not in held:
                    protocol, number = key
                    key = protocol, self._leases.allocate(protocol, number, holder=holder)
                    taken.append(key)
                keep[key] = None
                numbers[at] = key[1]
        except SwarmError:
            for key in taken:
                self._leases.release(*key)
            raise
        for key in held:
            if key not in keep:
                self._leases.release(*key)
        self._held[service.id] = tuple(keep)
        given = tuple(
            port if port.published_port == number else attrs.evolve(port, published_port=number)
            for port, number in zip(wanted, numbers, strict=True)
        )
        self._note(service.id, age, wanted, given)
        return given

    def release(self, service_id: str) -> bool:
        """The service is gone; True if it had ports."""
        held = self._held.pop(service_id, ())
        for key in held:
            self._leases.release(*key)
        for recent in self._recent.values():
            recent.drop(service_id)
        return bool(held)

    def _note(
        self, service_id: str, age: Age, wanted: Sequence[PortConfig], given: Sequence[PortConfig]
    ) -> None:
        """Remember the last port that was chosen for the service, for each protocol."""
        chosen: dict[str, int] = {}
        for asked, port in zip(wanted, given, strict=True):
            if is_ingress(asked) and not asked.published_port:
                chosen[str(asked.protocol)] = port.published_port
        for protocol, recent in self._recent.items():
            if protocol in chosen:
                recent.set(service_id, age, chosen[protocol])
            else:
                recent.drop(service_id)

    def _search_from_last(self) -> None:
        for protocol, recent in self._recent.items():
            self._leases.search_after(protocol, recent.last() or DYNAMIC_LOW - 1)


def _kept(
    port: PortConfig,
    before: Sequence[PortConfig],
    held: dict[PortKey, None],
    keep: dict[PortKey, None],
) -> PortKey:
    """The port that was chosen for this target before; number 0 if there is none to keep."""
    for old in before:
        key = _key(old)
        if _same_target(old) == _same_target(port) and key in held and key not in keep:
            return key
    return str(port.protocol), 0
