"""A scheduler that is obviously right: for each task look at every node, take the best.

It keeps nothing. What a node has left and how many tasks of a service it has are counted from the
list of all tasks whenever they are asked for. The real one must decide exactly the same.
"""

from __future__ import annotations

import ipaddress

from pyswarm.model.objects import Node, Task
from pyswarm.model.replace import replace
from pyswarm.model.resources import GenericResource
from pyswarm.model.states import Availability, NodeState, PublishMode, TaskState

ORDER = ("ready", "resources", "plugins", "constraints", "platform", "ports", "replicas")
SENTENCES = {
    "ready": "{} not available for new tasks",
    "resources": "insufficient resources on {}",
    "plugins": "missing plugin on {}",
    "constraints": "scheduling constraints not satisfied on {}",
    "platform": "unsupported platform on {}",
    "ports": "host-mode port already in use on {}",
    "replicas": "max replicas per node limit exceed",
}


class Reference:
    """All nodes and tasks, in order of creation."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tasks: dict[str, Task] = {}

    def on(self, node: Node) -> list[Task]:
        return [
            task
            for task in self.tasks.values()
            if task.node_id == node.id and TaskState.ASSIGNED <= task.state <= TaskState.RUNNING
        ]

    def active(self, node: Node, service: str | None = None) -> int:
        return sum(
            task.desired_state <= TaskState.COMPLETE and service in (None, task.service_id)
            for task in self.on(node)
        )

    def rejected_by(self, node: Node, task: Task) -> str | None:
        for name in ORDER:
            if not getattr(self, f"is_{name}")(node, task):
                return name
        return None

    def is_ready(self, node: Node, task: Task) -> bool:
        active = node.spec.availability is Availability.ACTIVE
        return active and node.state is NodeState.READY

    def free_generic(self, node: Node, kind: str) -> int | list[str]:
        assert node.description is not None
        offer = {g.kind: g for g in node.description.resources.generic}.get(kind)
        if offer is None:
            return 0
        held = [g for t in self.on(node) for g in t.assigned_generic if g.kind == kind]
        if offer.names:
            taken = [name for g in held for name in g.names]
            return [name for name in offer.names if name not in taken]
        return offer.count - sum(g.count or len(g.names) for g in held)

    def is_resources(self, node: Node, task: Task) -> bool:
        assert node.description is not None
        want, have = task.spec.resources.reservations, node.description.resources
        used = [t.spec.resources.reservations for t in self.on(node)]
        if want.nano_cpus and want.nano_cpus > have.nano_cpus - sum(r.nano_cpus for r in used):
            return False
        left = have.memory_bytes - sum(r.memory_bytes for r in used)
        if want.memory_bytes and want.memory_bytes > left:
            return False
        for need in want.generic:
            free = self.free_generic(node, need.kind)
            if need.count > (free if isinstance(free, int) else len(free)):
                return False
        return True

    def is_plugins(self, node: Node, task: Task) -> bool:
        driver = task.spec.log_driver
        if driver is None or node.description is None:
            return True
        logs = [p.name for p in node.description.plugins if p.type == "Log"]
        return not logs or driver.name in logs

    def is_constraints(self, node: Node, task: Task) -> bool:
        return all(self.holds(node, text) for text in task.spec.placement.constraints)

    def holds(self, node: Node, text: str) -> bool:
        equal = "==" in text
        key, value = text.split("==" if equal else "!=")
        assert node.description is not None
        if key.startswith("node.labels."):
            actual = node.spec.labels.get(key.removeprefix("node.labels."), "")
        elif key == "node.ip":
            inside = ipaddress.ip_address(node.addr) in ipaddress.ip_network(value)
            return inside == equal
        else:
            places = {
                "node.id": node.id,
                "node.hostname": node.description.hostname,
                "node.role": str(node.role),
            }
            actual = places[key]
        return (actual.lower() == value.lower()) == equal

    def is_platform(self, node: Node, task: Task) -> bool:
        assert node.description is not None
        wanted = task.spec.placement.platforms
        return not wanted or any(p.os == node.description.platform.os for p in wanted)

    def ports(self, task: Task) -> list[tuple[object, int]]:
        ports = task.endpoint.ports if task.endpoint else ()
        return [(p.protocol, p.published_port) for p in ports if p.publish_mode is PublishMode.HOST]

    def is_ports(self, node: Node, task: Task) -> bool:
        used = [port for t in self.on(node) for port in self.ports(t)]
        return not any(port in used for port in self.ports(task))

    def is_replicas(self, node: Node, task: Task) -> bool:
        limit = task.spec.placement.max_replicas
        return not limit or self.active(node, task.service_id) < limit

    def failures(self, node: Node, task: Task, now: float) -> int:
        number = sum(
            t.state in (TaskState.FAILED, TaskState.REJECTED)
            and t.node_id == node.id
            and t.slot != 0
            and (t.service_id, t.spec_version) == (task.service_id, task.spec_version)
            and t.status_at > now - 300
            for t in self.tasks.values()
        )
        return number if number >= 5 else 0

    def rank(self, node: Node, task: Task, now: float) -> tuple[int, ...]:
        """Branches by their tasks, outermost first; failures; tasks; the order of the nodes."""
        key: list[int] = []
        same: list[Node] = list(self.nodes.values())
        for preference in task.spec.placement.preferences:
            label = preference.spread.removeprefix("node.labels.")
            mine = node.spec.labels.get(label, "")
            same = [n for n in same if n.spec.labels.get(label, "") == mine]
            key.append(sum(self.active(n, task.service_id) for n in same))
        key.append(self.failures(node, task, now))
        key += [self.active(node, task.service_id), self.active(node)]
        return (*key, list(self.nodes).index(node.id))

    def claim(self, node: Node, task: Task) -> tuple[GenericResource, ...]:
        claimed = []
        for need in task.spec.resources.reservations.generic:
            free = self.free_generic(node, need.kind)
            if isinstance(free, int):
                claimed.append(GenericResource(need.kind, need.count))
            else:
                claimed.append(GenericResource(need.kind, names=tuple(free[: need.count])))
        return tuple(claimed)

    def waiting(self) -> list[Task]:
        return [
            task
            for task in self.tasks.values()
            if task.state is TaskState.PENDING and task.desired_state <= TaskState.COMPLETE
        ]

    def schedule(self, now: float) -> None:
        """Confirm, then place group by group (oldest first), then say why not."""
        bound = [task for task in self.waiting() if task.node_id]
        for task in sorted(bound, key=lambda t: (t.created_at, t.id)):
            node = self.nodes.get(task.node_id)
            if node is not None and self.rejected_by(node, task) is None:
                self.assign(task, node, now)
        groups: dict[tuple[str, int], list[Task]] = {}
        for task in self.waiting():
            if not task.node_id:
                groups.setdefault((task.service_id, task.spec_version), []).append(task)
        for key in sorted(groups, key=lambda k: (min(t.created_at for t in groups[k]), k)):
            for task in sorted(groups[key], key=lambda t: (t.slot, t.created_at, t.id)):
                fit = [n for n in self.nodes.values() if self.rejected_by(n, task) is None]
                if fit:
                    self.assign(task, min(fit, key=lambda n: self.rank(n, task, now)), now)
        for task in self.waiting():
            node = self.nodes.get(task.node_id)
            if task.node_id and node is None:
                continue
            text = self.reason([node] if node else list(self.nodes.values()), task)
            if not task.node_id:
                text = f"no suitable node ({text})" if text else "no suitable node"
            if text != task.err:
                self.tasks[task.id] = replace(task, err=text, status_at=now)

    def assign(self, task: Task, node: Node, now: float) -> None:
        confirmed = "scheduler confirmed task can run on preassigned node"
        self.tasks[task.id] = replace(
            task,
            node_id=node.id,
            state=TaskState.ASSIGNED,
            message=confirmed if task.node_id else "scheduler assigned task to node",
            err="",
            status_at=now,
            assigned_generic=self.claim(node, task),
        )

    def reason(self, nodes: list[Node], task: Task) -> str:
        found = [self.rejected_by(node, task) for node in nodes]
        numbers = [(name, found.count(name)) for name in ORDER if name in found]
        numbers.sort(key=lambda pair: -pair[1])
        return "; ".join(
            SENTENCES[name].format("1 node" if n == 1 else f"{n} nodes") for name, n in numbers
        )
