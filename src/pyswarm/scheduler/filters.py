"""The filters, as Swarm has them: in this order, each with its sentence.

A node is rejected by the first filter that it fails and counted there alone. The scheduler does not
run these objects for every node: pools and shapes answer the same questions faster. They are the
vocabulary of explanations, and the pattern for filters of your own, which *are* asked for every
node that is about to be chosen: pass objects with these four members as ``filters=`` to
:class:`~pyswarm.scheduler.scheduler.Scheduler` or :func:`~pyswarm.scheduler.plan.plan`.
"""

from __future__ import annotations

from typing import Protocol

from pyswarm.model.resources import NANO
from pyswarm.model.states import Availability, NodeState
from pyswarm.scheduler.group import TaskGroup
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.shape import has_plugin, platform_matches


class Filter(Protocol):
    """Whether a node may take a task at all.

    ``check`` must depend only on its arguments, and its answer may change from no to yes only
    through a change of a node or of the tasks on nodes: a pending task is tried again then.
    """

    @property
    def name(self) -> str:
        """One word for people and programs."""
        ...

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        """Whether ``node`` may take one more task of ``group``."""
        ...

    def explain(self, nodes: int) -> str:
        """The rejection of ``nodes`` nodes as part of Swarm's sentence."""
        ...

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        """What ``node``, which is rejected, lacks."""
        ...


def _counted(sentence: str, nodes: int) -> str:
    return sentence.format("1 node" if nodes == 1 else f"{nodes} nodes")


class ReadyFilter:
    """The node is there and takes tasks."""

    name = "ready"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return node.ready

    def explain(self, nodes: int) -> str:
        return _counted("{} not available for new tasks", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        reasons = []
        if node.node.state is not NodeState.READY:
            reasons.append(f"is {node.node.state}")
        if node.node.spec.availability is not Availability.ACTIVE:
            reasons.append(f"has availability {node.node.spec.availability}")
        return f"{node.name} {' and '.join(reasons)}"


def show_bytes(size: int) -> str:
    """A number of bytes for people: ``512 MiB``."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.4g} {unit}"


def show_cpus(nano_cpus: int) -> str:
    """Nano-CPUs as CPUs, with at least one decimal."""
    cpus = nano_cpus / NANO
    return f"{cpus:.1f}" if round(cpus, 1) == cpus else f"{cpus:g}"


class ResourceFilter:
    """What the task reserves is left on the node."""

    name = "resources"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return group.shape.has_room(node)

    def explain(self, nodes: int) -> str:
        return _counted("insufficient resources on {}", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        needs, lacks = group.shape.needs, []
        if needs.nano_cpus > max(node.nano_cpus, 0):
            free, total = show_cpus(node.nano_cpus), show_cpus(node.offer.nano_cpus)
            wanted = show_cpus(needs.nano_cpus)
            lacks.append(f"needs {wanted} CPUs, {node.name} has {free} free of {total}")
        if needs.memory_bytes > max(node.memory_bytes, 0):
            free, total = show_bytes(node.memory_bytes), show_bytes(node.offer.memory_bytes)
            wanted = show_bytes(needs.memory_bytes)
            lacks.append(f"needs {wanted} of memory, {node.name} has {free} free of {total}")
        for need in needs.generic:
            if need.names:
                lacks.append(f"{need.kind}: task should only hold Discrete type")
            elif not node.has((need,)):
                have = node.free(need.kind)
                count = have if isinstance(have, int) else len(have)
                lacks.append(f"needs {need.count} {need.kind}, {node.name} has {count} free")
        return "; ".join(lacks)


class PluginFilter:
    """The node has the volume, network and log drivers."""

    name = "plugins"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return all(has_plugin(node.node, need) for need in group.shape.needs.plugins)

    def explain(self, nodes: int) -> str:
        return _counted("missing plugin on {}", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        wanted = [n for n in group.shape.needs.plugins if not has_plugin(node.node, n)]
        lacks = ", ".join(f"{need.type.lower()} plugin {need.name}" for need in wanted)
        return f"{node.name} lacks {lacks}"


class ConstraintFilter:
    """Every constraint holds."""

    name = "constraints"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        shape = group.shape
        return shape.named(node) and all(c.matches(node.node) for c in shape.constraints)

    def explain(self, nodes: int) -> str:
        return _counted("scheduling constraints not satisfied on {}", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        failed = []
        for constraint in (*group.shape.node_constraints, *group.shape.constraints):
            if not constraint.matches(node.node):
                actual = constraint.actual(node.node)
                has = "no such property" if actual is None else f"{actual!r}"
                failed.append(f"needs {constraint}, {node.name} has {has}")
        return "; ".join(failed)


class PlatformFilter:
    """The node is of one of the wanted platforms."""

    name = "platform"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        wanted = group.shape.needs.platforms
        return not wanted or any(platform_matches(p, node.node) for p in wanted)

    def explain(self, nodes: int) -> str:
        return _counted("unsupported platform on {}", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        wanted = " or ".join(
            f"{p.os or '*'}/{p.architecture or '*'}" for p in group.shape.needs.platforms
        )
        has = node.node.description.platform if node.node.description else None
        shown = f"{has.os}/{has.architecture}" if has else "of unknown platform"
        return f"needs {wanted}, {node.name} is {shown}"


class HostPortFilter:
    """The host ports are free on the node."""

    name = "ports"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return group.shape.ports_free(node)

    def explain(self, nodes: int) -> str:
        return _counted("host-mode port already in use on {}", nodes)

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        taken = [p for p in group.shape.needs.ports if node.ports and p in node.ports]
        shown = ", ".join(f"{number}/{protocol}" for protocol, number in taken)
        return f"needs port {shown}, in use on {node.name}"


class MaxReplicasFilter:
    """The node has fewer tasks of the service than it may have."""

    name = "max replicas"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return not group.max_replicas or group.count_on(node) < group.max_replicas

    def explain(self, nodes: int) -> str:
        return "max replicas per node limit exceed"  # Swarm's words: no number, and "exceed"

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        number = group.count_on(node)
        return f"{node.name} has {number} of at most {group.max_replicas} tasks of the service"


FILTERS: tuple[Filter, ...] = (
    ReadyFilter(),
    ResourceFilter(),
    PluginFilter(),
    ConstraintFilter(),
    PlatformFilter(),
    HostPortFilter(),
    MaxReplicasFilter(),
)
"""Swarm's filters, in its order."""
