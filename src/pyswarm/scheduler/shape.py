"""What a task needs of a node, apart from which service it belongs to: its shape.

Tasks of thousands of services share few shapes (most reserve nothing and ask for nothing), so what
can be remembered is remembered by shape: which node classes fit, the order of the nodes that fit,
and, for shapes that fit nowhere, why. Two tasks have one shape when every filter but the one for
replicas per node answers the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.model.objects import Node, Task
from pyswarm.model.resources import GenericResource, Platform
from pyswarm.model.specs import Preference
from pyswarm.model.states import MountType
from pyswarm.scheduler.constraint import (
    NODE_KEYS,
    Constraint,
    fold,
    parse_all,
    parse_ip,
)
from pyswarm.scheduler.node import NodeInfo, Port, host_ports

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BUILT_IN_NETWORKS = ("overlay", "bridge", "host", "null")
"""Network drivers that pyswarm's own nodes have without listing any plugin."""

# Where a class of nodes stands with a shape: the first of the class-wide filters that rejects it.
FITS, NO_PLUGIN, NO_CONSTRAINT, NO_PLATFORM = range(4)


@attrs.frozen
class PluginNeed:
    """A plugin by type and name. ``lenient``: a node that lists none of the type passes."""

    type: str
    name: str
    lenient: bool = False


@attrs.frozen
class Needs:
    """A shape as a value: equal needs, one shape."""

    constraints: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    plugins: tuple[PluginNeed, ...] = ()
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: tuple[GenericResource, ...] = ()
    ports: tuple[Port, ...] = ()


NO_NEEDS = Needs()


def needs_of(task: Task, drivers: Mapping[str, str]) -> Needs:
    """What ``task`` needs; ``drivers`` tells the driver of a network by its id."""
    spec = task.spec
    placement, reserved = spec.placement, spec.resources.reservations
    container = spec.container
    plain = (
        not placement.constraints
        and not placement.platforms
        and not reserved.nano_cpus
        and not reserved.memory_bytes
        and not reserved.generic
        and task.endpoint is None
        and not task.networks
        and spec.log_driver is None
        and (container is None or not container.mounts)
    )
    if plain:
        return NO_NEEDS
    needs = Needs(
        placement.constraints,
        placement.platforms,
        _plugins_of(task, drivers),
        reserved.nano_cpus,
        reserved.memory_bytes,
        # Docker takes what asks for less than nothing; it must not add to what a node has.
        tuple(need for need in reserved.generic if need.count > 0 or need.names),
        host_ports(task),
    )
    return NO_NEEDS if needs == NO_NEEDS else needs


def _plugins_of(task: Task, drivers: Mapping[str, str]) -> tuple[PluginNeed, ...]:
    needs: dict[PluginNeed, None] = {}
    spec = task.spec
    if spec.container is not None:
        for mount in spec.container.mounts:
            driver = mount.volume.driver if mount.volume else ""
            if mount.type is MountType.VOLUME and driver not in ("", "local"):
                needs[PluginNeed("Volume", driver)] = None
    for attachment in task.networks:
        driver = drivers.get(attachment.network_id, "")
        if driver:
            needs[PluginNeed("Network", driver, driver in BUILT_IN_NETWORKS)] = None
    if spec.log_driver is not None and spec.log_driver.name not in ("", "none"):
        needs[PluginNeed("Log", spec.log_driver.name, True)] = None
    return tuple(needs)


def has_plugin(node: Node, need: PluginNeed) -> bool:
    """Whether ``node`` lists the plugin; ``NAME:latest`` is ``NAME``."""
    description = node.description
    if description is None or not (description.plugins or description.engine_version):
        return True  # it described no engine that could miss one
    names = [plugin.name for plugin in description.plugins if plugin.type == need.type]
    if not names and need.lenient:
        return True
    return need.name in names or f"{need.name}:latest" in names


def platform_matches(wanted: Platform, node: Node) -> bool:
    """Whether a node is of the wanted platform; what the wish leaves empty matches any."""
    if node.description is None:
        return False
    has = node.description.platform
    wanted_arch = ARCHITECTURES.get(wanted.architecture, wanted.architecture)
    arch = ARCHITECTURES.get(has.architecture, has.architecture)
    return wanted_arch in ("", arch) and wanted.os in ("", has.os)


class Shape:
    """The needs of some tasks with what was found out about them."""

    __slots__ = (
        "needs",
        "constraints",
        "node_constraints",
        "discrete",
        "dynamic",
        "classes",
    )

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        constraints = parse_all(needs.constraints) or ()
        self.constraints = tuple(c for c in constraints if c.folded_key not in NODE_KEYS)
        """The constraints that a whole class of nodes answers alike."""
        self.node_constraints = tuple(c for c in constraints if c.folded_key in NODE_KEYS)
        """Those that single nodes answer: by id, host name or address."""
        # "task should only hold Discrete type": named ones can be offered, never asked for.
        self.discrete = not any(need.names for need in needs.generic)
        self.dynamic = bool(needs.nano_cpus or needs.memory_bytes or needs.generic or needs.ports)
        """Whether placing a task may make a node unfit for this shape."""
        self.classes: dict[int, int] = {}

    def class_fit(self, info: NodeInfo) -> int:
        """How the node's class stands with this shape: FITS or what rejects it first."""
        found = self.classes.get(info.class_id)
        if found is None:
            found = self.classes[info.class_id] = self._judge(info.node)
        return found

    def _judge(self, node: Node) -> int:
        if not all(has_plugin(node, need) for need in self.needs.plugins):
            return NO_PLUGIN
        if not all(constraint.matches(node) for constraint in self.constraints):
            return NO_CONSTRAINT
        wanted = self.needs.platforms
        if wanted and not any(platform_matches(platform, node) for platform in wanted):
            return NO_PLATFORM
        return FITS

    def named(self, info: NodeInfo) -> bool:
        """Whether the constraints on id, host name and address hold."""
        for constraint in self.node_constraints:
            if constraint.folded_key == "node.ip":
                if not constraint.matches_address(info.address):
                    return False
            elif not constraint.matches(info.node):
                return False
        return True

    def admits(self, info: NodeInfo) -> bool:
        """Whether the node passes everything that placing tasks does not change."""
        if not info.ready or self.class_fit(info) != FITS:
            return False
        return not self.node_constraints or self.named(info)

    def has_room(self, info: NodeInfo) -> bool:
        """Whether the node has the reserved resources left."""
        needs = self.needs
        if needs.nano_cpus > info.nano_cpus and needs.nano_cpus:
            return False
        if needs.memory_bytes > info.memory_bytes and needs.memory_bytes:
            return False
        return not needs.generic or (self.discrete and info.has(needs.generic))

    def ports_free(self, info: NodeInfo) -> bool:
        """Whether none of the host ports is taken."""
        taken = info.ports
        return not taken or not any(port in taken for port in self.needs.ports)

    def fits(self, info: NodeInfo) -> bool:
        """Whether a node that is admitted can take one more such task."""
        return self.has_room(info) and self.ports_free(info)

    def __repr__(self) -> str:
        return f"<Shape {self.needs}>"


@attrs.frozen
class Level:
    """One level of spreading: over the values of a label of the node or of its engine."""

    engine: bool
    key: str

    def value(self, node: Node) -> str:
        """The node's branch at this level; nodes without the label share the empty value's."""
        if not self.engine:
            return node.spec.labels.get(self.key, "")
        return node.description.engine_labels.get(self.key, "") if node.description else ""


def level_of(preference: Preference) -> Level | None:
    """What a preference spreads over; None for what Swarm does not know and ignores."""
    text = preference.spread
    for prefix, engine in (("node.labels.", False), ("engine.labels.", True)):
        if len(text) > len(prefix) and fold(text[: len(prefix)]) == prefix:
            return Level(engine, text[len(prefix) :])
    return None


def levels_of(preferences: tuple[Preference, ...]) -> tuple[Level, ...]:
    """The levels of a service's preferences, outermost first."""
    levels = (level_of(preference) for preference in preferences)
    return tuple(level for level in levels if level is not None)


def direct_key(constraint: Constraint) -> tuple[str, str] | None:
    """The index entry under which every node that can match is found, if there is one."""
    if not constraint.equal:
        return None
    if constraint.folded_key == "node.ip":
        address = parse_ip(constraint.value)
        return ("node.ip", str(address)) if address is not None else None
    if constraint.folded_key in NODE_KEYS:
        return (constraint.folded_key, constraint.folded_value)
    return None
