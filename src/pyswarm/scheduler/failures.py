"""Nodes on which the tasks of a service keep failing are avoided for a while.

A failure is a task of a slot that ended FAILED or REJECTED; it counts for five minutes, for its
service and the version of the spec it was made from, so an update starts with a clean slate. From
five failures on a node the node is *penalised*: it ranks behind every node with fewer. Tasks that
were made for their node (global services) are not counted.

All of this is read off the tasks themselves (state and time of status), so nothing needs keeping:
a task that is deleted takes its failure with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from pyswarm.model.objects import Task
from pyswarm.model.states import TaskState

FAILURES_PENALISED = 5  # SwarmKit's maxFailures
FAILURE_SECONDS = 300.0  # SwarmKit's monitorFailures

Version = tuple[str, int]
"""A service and a version of its spec."""


def is_failure(task: Task) -> bool:
    """Whether ``task`` counts as a failure of its node.

    Slot 0 is that of a global service's tasks, but also the first of a job's. A global job's are
    counted along, to no effect: they are never ranked.
    """
    return (
        task.state in (TaskState.FAILED, TaskState.REJECTED)
        and (task.slot != 0 or task.job_iteration is not None)
        and task.node_id != ""
    )


class Failures:
    """Recent failures by service version and node."""

    __slots__ = ("by_version", "by_task", "deadlines", "penalties")

    def __init__(self) -> None:
        self.by_version: dict[Version, dict[str, dict[str, float]]] = {}
        self.by_task: dict[str, tuple[Version, str]] = {}
        self.deadlines: list[tuple[float, str]] = []
        self.penalties: dict[Version, dict[str, int]] = {}

    def record(self, task: Task) -> None:
        """Count a failed task, once, from the time of its status."""
        if task.id in self.by_task:
            return
        version = (task.service_id, task.spec_version)
        self.by_task[task.id] = (version, task.node_id)
        nodes = self.by_version.setdefault(version, {})
        nodes.setdefault(task.node_id, {})[task.id] = task.status_at
        heappush(self.deadlines, (task.status_at + FAILURE_SECONDS, task.id))
        self._weigh(version, task.node_id)

    def forget(self, task_id: str) -> str | None:
        """Drop a task's failure; the node whose rank improves by it, if any."""
        found = self.by_task.pop(task_id, None)
        if found is None:
            return None
        version, node_id = found
        nodes = self.by_version[version]
        before = self.penalties.get(version, {}).get(node_id, 0)
        del nodes[node_id][task_id]
        self._weigh(version, node_id)
        if not nodes[node_id]:
            del nodes[node_id]
        if not nodes:
            del self.by_version[version]
        return node_id if before else None

    def expire(self, now: float) -> Iterator[str]:
        """Drop what is older than five minutes; the nodes whose rank improves by it."""
        while self.deadlines and self.deadlines[0][0] <= now:
            node_id = self.forget(heappop(self.deadlines)[1])
            if node_id is not None:
                yield node_id

    def _weigh(self, version: Version, node_id: str) -> None:
        number = len(self.by_version[version][node_id])
        penalised = self.penalties.get(version)
        if number >= FAILURES_PENALISED:
            self.penalties.setdefault(version, {})[node_id] = number
        elif penalised is not None:
            penalised.pop(node_id, None)
            if not penalised:
                del self.penalties[version]
