"""What the scheduler knows of one node: the node, the tasks on it, and what is left.

All of it is derived from the node and its tasks, so a :class:`NodeInfo` kept up to date for a year
equals one made from the store a moment ago (but for ``index``, of which only the order counts).
*Active* tasks are those that are meant to run (desired state up to COMPLETE): they count for
spreading. *All* tasks from ASSIGNED to RUNNING hold their reservations, generic resources and host
ports, also while they are being shut down; these come back when the task has ended or is deleted.

A node's *class* is everything constraints and preferences can tell apart except id, host name and
address. Two nodes of one class have the same answer to such questions, so it is asked once a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyswarm.model.objects import Node, Task
from pyswarm.model.resources import NANO, GenericResource, Resources
from pyswarm.model.states import Availability, NodeState, PublishMode, TaskState
from pyswarm.scheduler.constraint import IPAddress, parse_ip

Port = tuple[str, int]
"""A host port: protocol and number."""

ClassKey = tuple[object, ...]
Free = int | tuple[str, ...]
"""What is left of a generic resource: a number, or the values not yet given out, in order."""


def host_ports(task: Task) -> tuple[Port, ...]:
    """The fixed ports of its host that ``task`` occupies."""
    if task.endpoint is None:
        return ()
    return tuple(
        (port.protocol.value, port.published_port)
        for port in task.endpoint.ports
        if port.publish_mode is PublishMode.HOST and port.published_port
    )


def class_key(node: Node) -> ClassKey:
    """Everything about a node that is not its own alone."""
    description = node.description
    if description is None:
        return (node.role, tuple(sorted(node.spec.labels.items())))
    return (
        node.role,
        tuple(sorted(node.spec.labels.items())),
        tuple(sorted(description.engine_labels.items())),
        description.platform,
        description.plugins,
        bool(description.engine_version),
    )


def offered(resources: Resources) -> dict[str, Free]:
    """A node's generic resources by kind."""
    free: dict[str, Free] = {}
    for resource in resources.generic:
        have = free.get(resource.kind)
        if resource.names:
            names = have if isinstance(have, tuple) else ()
            free[resource.kind] = names + resource.names
        elif not isinstance(have, tuple):
            free[resource.kind] = (have or 0) + resource.count
    return free


def left_of(resources: Resources, tasks: Iterable[Task]) -> dict[str, Free]:
    """What ``tasks`` leave of the generic resources that a node offers."""
    free = offered(resources)
    for task in tasks:
        for held in task.assigned_generic:
            have = free.get(held.kind)
            if isinstance(have, tuple):
                free[held.kind] = tuple(name for name in have if name not in held.names)
            elif have is not None:
                free[held.kind] = have - (held.count or len(held.names))
    return free


class NodeInfo:
    """One node with its tasks. Strategies and filters may read all of it and change nothing."""

    __slots__ = (
        "index",
        "node",
        "ready",
        "class_id",
        "address",
        "active_tasks",
        "nano_cpus",
        "memory_bytes",
        "generic",
        "ports",
        "tasks",
    )

    def __init__(self, index: int, node: Node, class_id: int) -> None:
        self.index = index
        """Place in the order in which nodes became known: decides between equals."""
        self.tasks: dict[str, Task] = {}
        self.active_tasks = 0
        self.ports: dict[Port, int] | None = None
        self.set_node(node, class_id)

    def set_node(self, node: Node, class_id: int) -> None:
        """Take the node's new state in, and count again what its tasks leave."""
        self.node = node
        self.class_id = class_id
        self.ready = node.state is NodeState.READY and node.spec.availability is Availability.ACTIVE
        self.address: IPAddress | None = parse_ip(node.addr) if node.addr else None
        offer = self.offer
        self.nano_cpus: int = offer.nano_cpus
        self.memory_bytes: int = offer.memory_bytes
        for task in self.tasks.values():
            reserved = task.spec.resources.reservations
            self.nano_cpus -= reserved.nano_cpus
            self.memory_bytes -= reserved.memory_bytes
        self.generic: dict[str, Free] | None = None
        if offer.generic:
            self.generic = left_of(offer, self.tasks.values())

    @property
    def id(self) -> str:
        return self.node.id

    @property
    def name(self) -> str:
        """The host name; the id where the node has not said it."""
        return self.node.hostname or self.node.id

    @property
    def offer(self) -> Resources:
        """All the node has: nothing until it described itself."""
        return self.node.description.resources if self.node.description else Resources()

    def free(self, kind: str) -> Free:
        """What is left of a generic resource: a number or values."""
        return self.generic.get(kind, 0) if self.generic else 0

    def has(self, needs: Sequence[GenericResource]) -> bool:
        """Whether enough of each generic resource is left."""
        for need in needs:
            free = self.free(need.kind)
            if need.count > (free if isinstance(free, int) else len(free)):
                return False
        return True

    def claim(self, needs: Sequence[GenericResource]) -> tuple[GenericResource, ...]:
        """Which ones a task with these needs gets: a number, or the first free values."""
        claimed = []
        for need in needs:
            free = self.free(need.kind)
            if isinstance(free, int):
                claimed.append(GenericResource(need.kind, need.count))
            else:
                claimed.append(GenericResource(need.kind, names=free[: need.count]))
        return tuple(claimed)

    def add(self, task: Task) -> bool:
        """Count a task that is on this node now. True if it holds something besides a place."""
        self.tasks[task.id] = task
        if task.desired_state <= TaskState.COMPLETE:
            self.active_tasks += 1
        return self._hold(task, 1)

    def remove(self, task: Task) -> bool:
        """Give back all that ``task`` (as it was added or last updated) held. True as for add."""
        del self.tasks[task.id]
        if task.desired_state <= TaskState.COMPLETE:
            self.active_tasks -= 1
        return self._hold(task, -1)

    def _hold(self, task: Task, sign: int) -> bool:
        reserved = task.spec.resources.reservations
        holds = bool(reserved.nano_cpus or reserved.memory_bytes)
        if holds:
            self.nano_cpus -= sign * reserved.nano_cpus
            self.memory_bytes -= sign * reserved.memory_bytes
        if task.assigned_generic:
            self.generic = left_of(self.offer, self.tasks.values())
            holds = True
        if task.endpoint is not None:
            for port in host_ports(task):
                ports = self.ports = self.ports or {}
                ports[port] = ports.get(port, 0) + sign
                if not ports[port]:
                    del ports[port]
                holds = True
        return holds

    def __repr__(self) -> str:
        cpus = self.nano_cpus / NANO
        return f"<NodeInfo {self.name}: {self.active_tasks} tasks, {cpus:g} CPUs free>"
