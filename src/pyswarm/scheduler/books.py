"""What is where: nodes, the tasks on them, and what waits, kept from changes.

The books say nothing about where a task should go. They keep, for each node, what is left of it;
for each service, how many active tasks it has on which node; the tasks that wait, in groups or for
the node they were made for; recent failures; and two journals of nodes: those on which something
ranks better or fits that did not before (*freed*), and those that themselves changed or hold
something else than before (*altered*): only there can a filter answer otherwise than it did.
"""

from __future__ import annotations

from pyswarm.model.objects import Network, Node, Task
from pyswarm.model.states import TaskState
from pyswarm.scheduler.constraint import fold
from pyswarm.scheduler.failures import Failures, is_failure
from pyswarm.scheduler.group import GroupKey, TaskGroup, group_key
from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import ClassKey, NodeInfo, class_key
from pyswarm.scheduler.shape import NO_NEEDS, Needs, Shape, needs_of
from pyswarm.scheduler.tree import Tree

ASSIGNED, RUNNING, COMPLETE = TaskState.ASSIGNED, TaskState.RUNNING, TaskState.COMPLETE


class Books:
    """The state that decisions are made from."""

    def __init__(self) -> None:
        self.nodes: list[NodeInfo | None] = []
        self.by_id: dict[str, NodeInfo] = {}
        self.named: dict[tuple[str, str], dict[int, None]] = {}
        self.classes: dict[ClassKey, int] = {}
        self.members: dict[int, dict[int, None]] = {}
        """The indexes of each class's nodes; a class without any is forgotten."""
        self.classes_made = 0
        self.layout = 0
        """Grows when a node comes, goes or changes its class."""
        self.tasks: dict[str, Task] = {}
        """Every task from ASSIGNED to RUNNING, as last seen."""
        self.orphans: dict[str, dict[str, Task]] = {}
        """Those of them whose node is not known."""
        self.services: dict[str, dict[int, int]] = {}
        self.trees: dict[str, list[Tree]] = {}
        self.plain = Shape(NO_NEEDS)
        """The shape of tasks that need nothing: most of them."""
        self.shapes: dict[Needs, Shape] = {}
        self.drivers: dict[str, str] = {}
        self.waiting: dict[str, TaskGroup] = {}
        self.groups: dict[GroupKey, TaskGroup] = {}
        self.due: dict[GroupKey, TaskGroup] = {}
        self.fresh: list[TaskGroup] = []
        """Groups that became due, or older, since they were put in order last."""
        self.bound: dict[str, Task] = {}
        """Tasks that wait to be confirmed on the node they were made for."""
        self.bound_by_node: dict[str, dict[str, None]] = {}
        self.bound_due: dict[str, None] = {}
        self.ending: dict[str, Task] = {}
        """Tasks that wait for a node but are to be shut down."""
        self.failures = Failures()
        self.freed = Journal()
        self.altered = Journal()
        self.relieved: dict[str, list[int]] = {}
        """Services with the nodes that have fewer of their tasks than at the last decision: what
        those wait for that a limit of replicas keeps from a node."""

    # Nodes

    def upsert_node(self, node: Node) -> None:
        """A node is new or has changed."""
        info = self.by_id.get(node.id)
        class_id = self._enter_class(node, len(self.nodes) if info is None else info.index)
        if info is None:
            info = NodeInfo(len(self.nodes), node, class_id)
            self.nodes.append(info)
            self.by_id[node.id] = info
            self.layout += 1
            self._name(info)
            for task in self.orphans.pop(node.id, {}).values():
                self.count(info, task)
        else:
            if info.class_id != class_id:
                self.layout += 1
                self._leave_class(info)
            self._unname(info)
            info.set_node(node, class_id)
            self._name(info)
        self.touch_freed(info)
        self.touch_altered(info)

    def remove_node(self, node_id: str) -> None:
        """A node is gone; its tasks stay until they go themselves."""
        info = self.by_id.pop(node_id, None)
        if info is None:
            return
        for task in list(info.tasks.values()):
            self._uncount(info, task)
            self.orphans.setdefault(node_id, {})[task.id] = task
        self._unname(info)
        self._leave_class(info)
        self.touch_freed(info)
        self.touch_altered(info)
        self.nodes[info.index] = None
        self.layout += 1

    def _enter_class(self, node: Node, index: int) -> int:
        """The class of a node, which is one of its members from now on."""
        key = class_key(node)
        class_id = self.classes.get(key)
        if class_id is None:
            class_id = self.classes[key] = self.classes_made
            self.classes_made += 1
            self.members[class_id] = {}
        self.members[class_id][index] = None
        return class_id

    def _leave_class(self, info: NodeInfo) -> None:
        """A node is no longer of the class that it was of (``info`` is as it was)."""
        members = self.members[info.class_id]
        del members[info.index]
        if not members:
            del self.members[info.class_id]
            del self.classes[class_key(info.node)]

    def _names(self, info: NodeInfo) -> tuple[tuple[str, str], ...]:
        address = "" if info.address is None else str(info.address)
        return (
            ("node.id", fold(info.node.id)),
            ("node.hostname", fold(info.node.hostname)),
            ("node.ip", address),
        )

    def _name(self, info: NodeInfo) -> None:
        for key in self._names(info):
            self.named.setdefault(key, {})[info.index] = None

    def _unname(self, info: NodeInfo) -> None:
        for key in self._names(info):
            holders = self.named[key]
            del holders[info.index]
            if not holders:
                del self.named[key]

    def touch_freed(self, info: NodeInfo) -> None:
        """This node may rank better than before, or take what it did not."""
        self.freed.append(info.index)
        self.freed.trim(len(self.by_id))

    def touch_altered(self, info: NodeInfo) -> None:
        """This node changed, or holds something else than before."""
        self.altered.append(info.index)
        self.altered.trim(len(self.by_id))
        if self.bound_by_node:
            self.bound_due.update(self.bound_by_node.get(info.id, {}))

    def upsert_network(self, network: Network) -> None:
        """A network is new or has changed: which plugin do its tasks need?"""
        driver = network.driver_state.get("name", "") or network.spec.driver
        if self.drivers.get(network.id) == driver:
            return
        self.drivers[network.id] = driver
        for group in self.groups.values():
            if group.task.networks and self.shape(group.task) is not group.shape:
                self.reshape(group)
        self.bound_due.update((task.id, None) for task in self.bound.values() if task.networks)

    def remove_network(self, network_id: str) -> None:
        """A network is gone."""
        self.drivers.pop(network_id, None)

    # Tasks

    def upsert_task(self, task: Task) -> None:
        """A task is new or has changed."""
        old = self.tasks.get(task.id)
        if old is task:
            return
        state = task.state
        if old is not None:
            if self._same_place(old, task):
                self.tasks[task.id] = task
                info = self.by_id.get(task.node_id)
                held = self.orphans[task.node_id] if info is None else info.tasks
                held[task.id] = task
                if info is not None and (old.desired_state <= COMPLETE) != (
                    task.desired_state <= COMPLETE
                ):
                    self._recount(info, task)
                return
            self.untrack(old)
        if state is TaskState.PENDING:
            self._wait(task)
            return
        self._leave(task.id)
        if ASSIGNED <= state <= RUNNING and task.node_id:
            self.track(task)
        elif is_failure(task):
            self.failures.record(task)

    def remove_task(self, task_id: str) -> None:
        """A task is deleted."""
        old = self.tasks.get(task_id)
        if old is not None:
            self.untrack(old)
        self._leave(task_id)
        node_id = self.failures.forget(task_id)
        self.improve(node_id)

    def improve(self, node_id: str | None) -> None:
        """A node's rank improves because failures on it count no more."""
        info = self.by_id.get(node_id or "")
        if info is not None:
            self.touch_freed(info)

    @staticmethod
    def _same_place(old: Task, new: Task) -> bool:
        """Whether ``new`` holds what ``old`` does."""
        return (
            ASSIGNED <= new.state <= RUNNING
            and old.node_id == new.node_id
            and (
                old.assigned_generic is new.assigned_generic
                or old.assigned_generic == new.assigned_generic
            )
            and (old.endpoint is new.endpoint or old.endpoint == new.endpoint)
            and (old.spec is new.spec or old.spec == new.spec)
        )

    def track(self, task: Task) -> None:
        """Count a task on its node."""
        info = self.by_id.get(task.node_id)
        self.tasks[task.id] = task
        if info is None:
            self.orphans.setdefault(task.node_id, {})[task.id] = task
        else:
            self.count(info, task)

    def untrack(self, task: Task) -> None:
        """Take a task, as it was counted, off its node."""
        del self.tasks[task.id]
        info = self.by_id.get(task.node_id)
        if info is None:
            orphans = self.orphans[task.node_id]
            del orphans[task.id]
            if not orphans:
                del self.orphans[task.node_id]
        else:
            self._uncount(info, task)

    def count(self, info: NodeInfo, task: Task) -> None:
        """A task is on a node from now on."""
        if info.add(task):
            self.touch_altered(info)
        if task.desired_state <= COMPLETE:
            self._count_active(info, task.service_id)

    def _uncount(self, info: NodeInfo, task: Task) -> None:
        if info.remove(task):
            self.touch_altered(info)
        self.touch_freed(info)
        if task.desired_state <= COMPLETE:
            self._uncount_active(info, task.service_id)

    def _recount(self, info: NodeInfo, task: Task) -> None:
        """A task is to end that was to run (or, hardly ever, the reverse); it holds what it did."""
        if task.desired_state <= COMPLETE:
            info.active_tasks += 1
            self._count_active(info, task.service_id)
        else:
            info.active_tasks -= 1
            self.touch_freed(info)
            self._uncount_active(info, task.service_id)

    def _count_active(self, info: NodeInfo, service_id: str) -> None:
        counts = self.services.setdefault(service_id, {})
        counts[info.index] = counts.get(info.index, 0) + 1
        if self.trees:
            for tree in self.trees.get(service_id, ()):
                tree.count(info.index, 1)

    def _uncount_active(self, info: NodeInfo, service_id: str) -> None:
        counts = self.services[service_id]
        counts[info.index] -= 1
        if not counts[info.index]:
            del counts[info.index]
        if not counts:
            del self.services[service_id]
        for tree in self.trees.get(service_id, ()):
            tree.count(info.index, -1)
        self.relieved.setdefault(service_id, []).append(info.index)
        for task_id in self.bound_by_node.get(info.id, ()):
            if self.bound[task_id].service_id == service_id:
                self.bound_due[task_id] = None

    # What waits

    def _wait(self, task: Task) -> None:
        if task.desired_state > COMPLETE:
            self._leave(task.id)
            if task.desired_state is TaskState.SHUTDOWN:
                self.ending[task.id] = task
        elif task.node_id:
            known = self.bound.get(task.id)
            self.bound[task.id] = task
            if known is None or not self._same_wish(known, task):
                self._leave_group(task.id)
                self.bound_by_node.setdefault(task.node_id, {})[task.id] = None
                self.bound_due[task.id] = None
        else:
            self._wait_in_group(task)

    def _wait_in_group(self, task: Task) -> None:
        group = self.waiting.get(task.id)
        if group is not None:
            if self._same_wish(group.tasks[task.id], task):
                group.tasks[task.id] = task
                return
            self._leave_group(task.id)
        key = group_key(task)
        group = self.groups.get(key)
        if group is None:
            counts = self.services.get(task.service_id, {})
            group = TaskGroup(key, task, self.shape(task), counts)
            self.groups[key] = group
        else:
            group.put(task)
        self.waiting[task.id] = group
        self.make_due(group)

    @staticmethod
    def _same_wish(old: Task, new: Task) -> bool:
        """Whether a waiting task still waits for the same."""
        return (
            old.spec_version == new.spec_version
            and (old.spec is new.spec or old.spec == new.spec)
            and (old.endpoint is new.endpoint or old.endpoint == new.endpoint)
            and (old.networks is new.networks or old.networks == new.networks)
        )

    def _leave(self, task_id: str) -> None:
        """A task waits no more."""
        self.ending.pop(task_id, None)
        if task_id in self.waiting:
            self._leave_group(task_id)
        task = self.bound.pop(task_id, None)
        if task is not None:
            self.bound_due.pop(task_id, None)
            ids = self.bound_by_node[task.node_id]
            del ids[task_id]
            if not ids:
                del self.bound_by_node[task.node_id]

    def make_due(self, group: TaskGroup) -> None:
        """Something is to be decided for a group."""
        self.due[group.key] = group
        self.fresh.append(group)

    def _leave_group(self, task_id: str) -> None:
        group = self.waiting.pop(task_id, None)
        if group is not None:
            group.drop(task_id)
            if not group.tasks:
                self.close(group)

    def close(self, group: TaskGroup) -> None:
        """A group has no task that waits."""
        del self.groups[group.key]
        self.due.pop(group.key, None)

    def reshape(self, group: TaskGroup) -> None:
        """What the group's tasks need may have become something else."""
        group.shape = self.shape(group.task)
        group.text = None
        self.make_due(group)

    def shape(self, task: Task) -> Shape:
        """The shape of a task, one object for equal needs."""
        needs = needs_of(task, self.drivers)
        if needs is NO_NEEDS:
            return self.plain
        shape = self.shapes.get(needs)
        if shape is None:
            shape = self.shapes[needs] = Shape(needs)
        return shape
