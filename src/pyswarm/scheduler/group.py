"""Tasks that are placed together: those of one service made from one version of its spec.

Filters and strategies see the group as "the task": all its tasks are alike to them.
"""

from __future__ import annotations

from pyswarm.model.objects import Task
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.shape import Level, Shape, levels_of

GroupKey = tuple[str, int, str]
"""Service, version of its spec, and the task's own id where it has no version."""


def group_key(task: Task) -> GroupKey:
    """Tasks with equal keys are placed together; one without a spec version is alone."""
    return (task.service_id, task.spec_version, "" if task.spec_version else task.id)


class TaskGroup:
    """Pending tasks of one service and spec version."""

    __slots__ = (
        "key",
        "shape",
        "max_replicas",
        "levels",
        "counts",
        "tasks",
        "sorted",
        "text",
        "age",
        "oldest",
    )

    def __init__(self, key: GroupKey, task: Task, shape: Shape, counts: dict[int, int]) -> None:
        placement = task.spec.placement
        self.key = key
        self.shape = shape
        self.max_replicas: int = placement.max_replicas
        self.levels: tuple[Level, ...] = ()
        if placement.preferences:
            self.levels = levels_of(placement.preferences)
        self.counts = counts
        """Active tasks of the service by index of node."""
        self.tasks: dict[str, Task] = {task.id: task}
        self.sorted = True
        self.age = task.created_at
        """When the oldest of the tasks was created: older groups go first."""
        self.oldest = 1  # tasks of that age
        self.text: str | None = None
        """The reason last given for what stays pending; None if it was placed or never tried."""

    @property
    def service_id(self) -> str:
        return self.key[0]

    @property
    def task(self) -> Task:
        """One of the tasks, for all."""
        return next(iter(self.tasks.values()))

    def count_on(self, node: NodeInfo) -> int:
        """Active tasks of the service on ``node``."""
        return self.counts.get(node.index, 0)

    def put(self, task: Task) -> None:
        """Take one more task in."""
        self.sorted = False
        self.tasks[task.id] = task
        if task.created_at <= self.age:
            self.oldest = self.oldest + 1 if task.created_at == self.age else 1
            self.age = task.created_at

    def drop(self, task_id: str) -> None:
        """Let a task go."""
        task = self.tasks.pop(task_id)
        if task.created_at == self.age:
            self.oldest -= 1
            if not self.oldest and self.tasks:
                ages = [task.created_at for task in self.tasks.values()]
                self.age = min(ages)
                self.oldest = ages.count(self.age)

    def in_order(self) -> dict[str, Task]:
        """The tasks by slot: which of them are placed when not all can be."""
        if not self.sorted:
            ordered = sorted(self.tasks.values(), key=lambda t: (t.slot, t.created_at, t.id))
            self.tasks = {task.id: task for task in ordered}
            self.sorted = True
        return self.tasks

    def __repr__(self) -> str:
        return f"<TaskGroup {self.key}: {len(self.tasks)} tasks>"
