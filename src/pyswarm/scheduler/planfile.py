"""Plans as plain data: nodes, services and tasks as a JSON or YAML file says them.

:func:`parse_plan` takes the parsed document and refuses what it does not understand with an
:class:`~pyswarm.errors.InvalidArgument` that names the place (``plan.json: services[0].ports[1]``):
unknown fields, wrong units, names that occur twice. Reading text is the caller's; this module
imports no YAML. All keys but names are optional::

    {"nodes": [{"name", "id", "labels", "engine_labels", "cpus", "memory", "availability", "state",
                "role", "os", "arch", "addr", "plugins": ["Volume/NAME"], "generic": {"gpu": 2}}],
     "existing": [{"service", "node", "count", reservations, "generic", "ports"}],
     "services": [{"name", "replicas", "mode", "constraints", "preferences": ["spread=LABEL"],
                   "reserve_cpu", "reserve_memory", "generic", "max_replicas_per_node",
                   "ports": ["8500:80/tcp@host"], "platforms": ["linux/amd64"], "log_driver",
                   "volume_drivers": [NAME], "network_drivers": [NAME]}],
     "strategy": "spread"}

CPUs are numbers; memory is a number of bytes or a text such as ``512M``, ``10g``, ``1GiB`` (units
are powers of 1024, as in Docker). A node offers what it says and nothing else: without ``cpus`` no
task that reserves CPUs fits on it. A generic resource of a node is a number or a list of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.objects import Endpoint, Network, Node, NodeDescription, Plugin, Task
from pyswarm.model.resources import (
    NANO,
    GenericResource,
    Platform,
    ResourceRequirements,
    Resources,
)
from pyswarm.model.specs import (
    ContainerSpec,
    EndpointSpec,
    Global,
    GlobalJob,
    LogDriver,
    Mount,
    NetworkAttachmentConfig,
    NetworkSpec,
    NodeSpec,
    Placement,
    PortConfig,
    Preference,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    VolumeOptions,
)
from pyswarm.model.states import (
    Availability,
    NodeState,
    Protocol,
    PublishMode,
    Role,
    TaskState,
)
from pyswarm.scheduler.constraint import Constraint
from pyswarm.scheduler.node import Free, offered
from pyswarm.scheduler.plan import Plan, plan
from pyswarm.scheduler.shape import level_of
from pyswarm.scheduler.strategy import STRATEGIES

COUNT_MAX = 1_000_000  # tasks of one line: far above any swarm, half a gigabyte of tasks
CPUS_MAX = 1 << 32  # CPUs of a node: keeps nano-CPUs within 64 bits
BYTES_MAX = (1 << 63) - 1
PORT_MAX = 65535
SHOWN_MAX = 80  # characters of a wrong value in an error
SHOWN_ITEMS = 10

TOP_KEYS = ("nodes", "existing", "services", "strategy")
NODE_KEYS = (
    "name", "id", "labels", "engine_labels", "cpus", "memory", "availability", "state", "role",
    "os", "arch", "addr", "plugins", "generic",
)  # fmt: skip
TASK_KEYS = ("reserve_cpu", "reserve_memory", "generic", "ports")
EXISTING_KEYS = ("service", "node", "count", *TASK_KEYS)
SERVICE_KEYS = (
    "name", "replicas", "mode", "constraints", "preferences", "max_replicas_per_node",
    "platforms", "log_driver", "volume_drivers", "network_drivers", *TASK_KEYS,
)  # fmt: skip
MODES = ("replicated", "global", "replicated-job", "global-job")
DRIVER_NETWORK = "driver/"  # begins the id of the network that stands for a driver
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
SIZE_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
PORT_PATTERN = re.compile(r"(?:([0-9]+):)?([0-9]+)(?:/([a-z]+))?(?:@([a-z]+))?")


def _shown(value: Any) -> str:
    """A wrong value in an error: short, whatever it is (YAML can nest a list in itself)."""
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes):
        inner = value.values() if isinstance(value, Mapping) else value
        if len(value) > SHOWN_ITEMS or any(isinstance(i, Mapping | list | tuple) for i in inner):
            kind = "an object" if isinstance(value, Mapping) else "a list"
            return f"{kind} of {len(value)}"
    try:
        shown = repr(value[:SHOWN_MAX] if isinstance(value, str | bytes) else value)
    except ValueError:  # Python refuses to write out integers of more than 4300 digits
        return "a very large number"
    return shown if len(shown) < SHOWN_MAX else shown[: SHOWN_MAX - 3] + "…"


class Place:
    """Where in a document we are, and the checks of what should be there."""

    __slots__ = ("where", "path", "value")

    def __init__(self, where: str, path: str, value: Any) -> None:
        self.where = where
        self.path = path
        self.value = value

    def refuse(self, problem: str, hint: str = "") -> InvalidArgument:
        """The error for what is here."""
        at = f"{self.path}: " if self.path else ""
        message = f"{self.where}: {at}{problem}"
        return InvalidArgument(message, hint=hint, details={"file": self.where, "at": self.path})

    def wrong(self, expected: str) -> InvalidArgument:
        """The error for a value of the wrong kind."""
        return self.refuse(f"{_shown(self.value)} is not {expected}")

    def fields(self, known: Sequence[str]) -> dict[str, Place]:
        """The fields of the object here; none but the ``known`` ones."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("an object")
        for key in self.value:
            if key not in known:
                hint = f"known fields: {', '.join(known)}"
                raise self.refuse(f"unknown field {key!r}", hint)
        prefix = f"{self.path}." if self.path else ""
        # A null is the same as leaving the field out: YAML writes one for "key:".
        return {
            key: Place(self.where, f"{prefix}{key}", value)
            for key, value in self.value.items()
            if value is not None
        }

    def items(self) -> list[Place]:
        """The elements of the list here."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str | bytes):
            raise self.wrong("a list")
        path = self.path
        return [Place(self.where, f"{path}[{i}]", item) for i, item in enumerate(self.value)]

    def pairs(self) -> list[tuple[str, Place]]:
        """Keys and values of the mapping here."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("an object")
        for key in self.value:
            if not isinstance(key, str) or not key:
                raise self.refuse(f"key {key!r} is not a text")
        path = self.path
        return [(k, Place(self.where, f"{path}.{k}", v)) for k, v in self.value.items()]

    def text(self, *, empty: bool = True) -> str:
        """The text here."""
        if not isinstance(self.value, str) or (not empty and not self.value):
            raise self.wrong("a text" if empty else "a name")
        return self.value

    def word(self, words: Sequence[str]) -> str:
        """One of some words."""
        if self.value not in words:
            raise self.wrong(f"one of {', '.join(words)}")
        return str(self.value)

    def number(self, limit: int = COUNT_MAX) -> int:
        """A whole number from 0 on."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            raise self.wrong(f"a whole number from 0 to {limit}")
        return value

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text(empty=False) for item in self.items())

    def labels(self) -> dict[str, str]:
        """Labels: texts by key; numbers and truth values are taken as YAML writes them."""
        found = {}
        for key, place in self.pairs():
            value = place.value
            if isinstance(value, bool):
                value = str(value).lower()
            elif isinstance(value, int):
                value = str(value)
            if not isinstance(value, str):
                raise place.wrong("a text")
            found[key] = value
        return found

    def cpus(self) -> int:
        """CPUs as nano-CPUs."""
        value = self.value
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self.wrong("a number of CPUs") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong("a number of CPUs")
        if not 0 <= value <= CPUS_MAX:  # as no infinity is, and nothing that is not a number
            raise self.wrong(f"a number of CPUs from 0 to {CPUS_MAX}")
        return round(value * NANO)

    def size(self) -> int:
        """A number of bytes."""
        value = self.value
        found = SIZE_PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is not None:
            size = float(found[1]) * UNITS[found[2].lower()]
            value = int(found[1]) * UNITS[found[2].lower()] if found[1].isdecimal() else size
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong("a size (bytes, or a number with k, m, g, t: 512M, 1GiB)")
        if not 0 <= value <= BYTES_MAX or value != int(value):
            raise self.wrong("a whole number of bytes from 0 on")
        return int(value)


@attrs.frozen
class PlanInput:
    """What a plan file says, ready to be planned."""

    nodes: tuple[Node, ...]
    services: tuple[ServiceSpec, ...]
    existing: tuple[Task, ...] = ()
    networks: tuple[Network, ...] = ()
    strategy: str = "spread"

    def run(self, *, now: float = 0.0) -> Plan:
        """Place the services."""
        return plan(
            self.nodes,
            self.services,
            existing=self.existing,
            networks=self.networks,
            now=now,
            strategy=STRATEGIES[self.strategy],
        )


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain data: ``counts`` by service and node, ``pending`` with reasons."""
    return {
        "counts": {service: plan.counts(service) for service in plan.services},
        "pending": [
            {"service": service, "count": count, "reason": reason}
            for service, count, reason in plan.pending_counts()
        ],
    }


def networks_of(services: Iterable[ServiceSpec]) -> tuple[Network, ...]:
    """The networks that stand for the ``network_drivers`` of services read from a plan file."""
    found: dict[str, Network] = {}
    for spec in services:
        for config in spec.task.networks:
            if config.target.startswith(DRIVER_NETWORK):
                driver = config.target.removeprefix(DRIVER_NETWORK)
                found[config.target] = Network(config.target, NetworkSpec(driver, driver=driver))
    return tuple(found.values())


def parse_plan(data: Any, where: str = "plan") -> PlanInput:
    """Read a parsed document; ``where`` is its name in errors."""
    top = Place(where, "", data).fields(TOP_KEYS)
    nodes: dict[str, Node] = {}
    by_name: dict[str, Node] = {}
    for place in top["nodes"].items() if "nodes" in top else ():
        node = _node(place)
        if node.id in nodes or node.hostname in by_name:
            raise place.refuse(f"node {node.hostname!r} is there twice")
        nodes[node.id] = by_name[node.hostname] = node
    existing: list[Task] = []
    left = {
        node.id: offered(node.description.resources) for node in nodes.values() if node.description
    }
    for place in top["existing"].items() if "existing" in top else ():
        existing += _existing(place, {**nodes, **by_name}, left, len(existing))
    services: dict[str, ServiceSpec] = {}
    for place in top["services"].items() if "services" in top else ():
        spec = _service(place)
        if spec.name in services:
            raise place.refuse(f"service {spec.name!r} is there twice")
        services[spec.name] = spec
    strategy = top["strategy"].word(tuple(STRATEGIES)) if "strategy" in top else "spread"
    return PlanInput(
        tuple(nodes.values()),
        tuple(services.values()),
        tuple(existing),
        networks_of(services.values()),
        strategy,
    )


def _name(place: Place, fields: Mapping[str, Place], key: str) -> str:
    if key not in fields:
        raise place.refuse(f"{key!r} is missing")
    return fields[key].text(empty=False)


def _node(place: Place) -> Node:
    fields = place.fields(NODE_KEYS)
    name = _name(place, fields, "name")

    def word(key: str, words: Sequence[str], default: str) -> str:
        return fields[key].word(words) if key in fields else default

    def text(key: str, default: str) -> str:
        return fields[key].text() if key in fields else default

    availability = word("availability", ("active", "pause", "drain"), "active")
    state = word("state", ("unknown", "down", "ready", "disconnected"), "ready")
    role = Role[word("role", ("worker", "manager"), "worker").upper()]
    return Node(
        id=fields["id"].text(empty=False) if "id" in fields else name,
        spec=NodeSpec(
            labels=fields["labels"].labels() if "labels" in fields else {},
            desired_role=role,
            availability=Availability[availability.upper()],
        ),
        role=role,
        state=NodeState[state.upper()],
        addr=text("addr", ""),
        description=NodeDescription(
            hostname=name,
            platform=Platform(text("os", "linux"), text("arch", "x86_64")),
            resources=Resources(
                fields["cpus"].cpus() if "cpus" in fields else 0,
                fields["memory"].size() if "memory" in fields else 0,
                _offer(fields["generic"]) if "generic" in fields else (),
            ),
            engine_labels=fields["engine_labels"].labels() if "engine_labels" in fields else {},
            plugins=_plugins(fields["plugins"]) if "plugins" in fields else (),
        ),
    )


def _plugins(place: Place) -> tuple[Plugin, ...]:
    plugins = []
    for item in place.items():
        kind, slash, name = item.text().partition("/")
        words = {"volume": "Volume", "network": "Network", "log": "Log"}
        if not slash or not name or kind.lower() not in words:
            raise item.wrong("a plugin: Volume/NAME, Network/NAME or Log/NAME")
        plugins.append(Plugin(words[kind.lower()], name))
    return tuple(plugins)


def _offer(place: Place) -> tuple[GenericResource, ...]:
    """What a node offers: numbers, or lists of names."""
    found = []
    for kind, amount in place.pairs():
        if isinstance(amount.value, int):
            found.append(GenericResource(kind, amount.number()))
            continue
        names = amount.texts()
        if not names or len(dict.fromkeys(names)) != len(names):
            raise amount.wrong("a number or a list of different names")
        found.append(GenericResource(kind, names=names))
    return tuple(sorted(found, key=lambda resource: resource.kind))


def _wish(place: Place) -> tuple[GenericResource, ...]:
    """What a task reserves: numbers alone."""
    found = []
    for kind, amount in place.pairs():
        if not amount.number():
            raise amount.wrong("a number from 1 on")
        found.append(GenericResource(kind, amount.number()))
    return tuple(sorted(found, key=lambda resource: resource.kind))


def _resources(fields: Mapping[str, Place]) -> ResourceRequirements:
    return ResourceRequirements(
        reservations=Resources(
            fields["reserve_cpu"].cpus() if "reserve_cpu" in fields else 0,
            fields["reserve_memory"].size() if "reserve_memory" in fields else 0,
            _wish(fields["generic"]) if "generic" in fields else (),
        )
    )


def _ports(place: Place) -> tuple[PortConfig, ...]:
    return tuple(_port(item) for item in place.items())


def _port(place: Place) -> PortConfig:
    expected = "a port: [PUBLISHED:]TARGET[/tcp|udp|sctp][@host|ingress]"
    found = PORT_PATTERN.fullmatch(place.text())
    if found is None:
        raise place.wrong(expected)
    published, target = int(found[1] or 0), int(found[2])
    protocol, mode = found[3] or "tcp", found[4] or "ingress"
    right = 1 <= target <= PORT_MAX and published <= PORT_MAX
    if not right or protocol not in ("tcp", "udp", "sctp") or mode not in ("host", "ingress"):
        raise place.wrong(expected)
    return PortConfig(target, published, Protocol(protocol), PublishMode(mode))


def _existing(
    place: Place, nodes: Mapping[str, Node], left: dict[str, dict[str, Free]], number: int
) -> list[Task]:
    """The running tasks of one line."""
    fields = place.fields(EXISTING_KEYS)
    service = _name(place, fields, "service")
    node = nodes.get(_name(place, fields, "node"))
    if node is None:
        raise fields["node"].refuse(f"there is no node {fields['node'].value!r}")
    count = fields["count"].number() if "count" in fields else 1
    spec = TaskSpec(resources=_resources(fields))
    ports = _ports(fields["ports"]) if "ports" in fields else ()
    endpoint = Endpoint(EndpointSpec(ports=ports), ports) if ports else None
    wish = spec.resources.reservations.generic
    return [
        Task(
            id=f"{service}.{number + at + 1}.existing",
            service_id=service,
            service_name=service,
            spec=spec,
            spec_version=1,
            slot=number + at + 1,
            node_id=node.id,
            state=TaskState.RUNNING,
            assigned_generic=_held(place, node, wish, left[node.id]),
            endpoint=endpoint,
        )
        for at in range(count)
    ]


def _held(
    place: Place, node: Node, wish: Sequence[GenericResource], free: dict[str, Free]
) -> tuple[GenericResource, ...]:
    """What an existing task has of its node's generic resources."""
    held = []
    for need in wish:
        have = free.get(need.kind, 0)
        if need.count > (have if isinstance(have, int) else len(have)):
            raise place.refuse(f"node {node.hostname!r} has not so much {need.kind!r}")
        if isinstance(have, int):
            held.append(need)
            free[need.kind] = have - need.count
        else:
            held.append(GenericResource(need.kind, names=have[: need.count]))
            free[need.kind] = have[need.count :]
    return tuple(held)


def _service(place: Place) -> ServiceSpec:
    fields = place.fields(SERVICE_KEYS)
    name = _name(place, fields, "name")
    drivers = fields["volume_drivers"].texts() if "volume_drivers" in fields else ()
    mounts = tuple(Mount(f"/{d}", volume=VolumeOptions(driver=d)) for d in drivers)
    attached = fields["network_drivers"].texts() if "network_drivers" in fields else ()
    maximum = fields.get("max_replicas_per_node")
    placement = Placement(
        constraints=_constraints(fields),
        preferences=_preferences(fields),
        max_replicas=maximum.number() if maximum else 0,
        platforms=_platforms(fields),
    )
    log_driver = LogDriver(fields["log_driver"].text()) if "log_driver" in fields else None
    ports = _ports(fields["ports"]) if "ports" in fields else ()
    return ServiceSpec(
        name,
        TaskSpec(
            container=ContainerSpec(image=name, mounts=mounts),
            resources=_resources(fields),
            placement=placement,
            log_driver=log_driver,
            networks=tuple(NetworkAttachmentConfig(f"{DRIVER_NETWORK}{d}") for d in attached),
        ),
        mode=_mode(fields),
        endpoint=EndpointSpec(ports=ports) if ports else None,
    )


def _mode(fields: Mapping[str, Place]) -> ServiceMode:
    mode = fields["mode"].word(MODES) if "mode" in fields else "replicated"
    if mode.startswith("global") and "replicas" in fields:
        raise fields["replicas"].refuse(f"a {mode} service has no replicas")
    replicas = fields["replicas"].number() if "replicas" in fields else 1
    if mode == "replicated":
        return Replicated(replicas)
    if mode == "replicated-job":
        return ReplicatedJob(replicas, replicas)
    return Global() if mode == "global" else GlobalJob()


def _constraints(fields: Mapping[str, Place]) -> tuple[str, ...]:
    if "constraints" not in fields:
        return ()
    for item in fields["constraints"].items():
        try:
            Constraint.parse(item.text())
        except InvalidArgument as error:
            raise item.refuse(str(error), error.hint) from None
    return fields["constraints"].texts()


def _preferences(fields: Mapping[str, Place]) -> tuple[Preference, ...]:
    found = []
    for item in fields["preferences"].items() if "preferences" in fields else ():
        kind, equals, label = item.text().partition("=")
        preference = Preference(label.strip())
        if kind.strip() != "spread" or not equals or level_of(preference) is None:
            raise item.wrong("spread=node.labels.KEY or spread=engine.labels.KEY")
        found.append(preference)
    return tuple(found)


def _platforms(fields: Mapping[str, Place]) -> tuple[Platform, ...]:
    found = []
    for item in fields["platforms"].items() if "platforms" in fields else ():
        os, slash, arch = item.text().partition("/")
        if not slash:
            raise item.wrong("a platform: OS/ARCH, each of which may be empty")
        found.append(Platform(os, arch))
    return tuple(found)
