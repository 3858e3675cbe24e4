"""Why: for a task that waits what every node lacks, for one that is placed how its node ranked.

Made only when somebody asks, by looking at every node. The sentence is Swarm's; the rejections go
beyond it. A node is listed under the filter that rejects it first (so the lists are as long as the
numbers in the sentence); what it would fail besides is told in :attr:`Rejected.also`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from heapq import nsmallest

import attrs

from pyswarm.model.objects import Task
from pyswarm.model.states import TaskState
from pyswarm.scheduler.filters import FILTERS, Filter
from pyswarm.scheduler.group import TaskGroup
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.scheduler import Scheduler
from pyswarm.scheduler.strategy import paths_of

RANKED = 5  # how many of the best nodes an explanation shows
SHOWN_MAX = 5  # rejected nodes shown in text for each filter; all are in `rejections`


@attrs.frozen
class Rejected:
    """One node that cannot take the task: what is missing, and the later filters it fails too."""

    node: str
    missing: str
    also: tuple[str, ...] = ()


@attrs.frozen
class Candidate:
    """A node that can take the task, with what it is ranked by, in that order.

    ``branches`` are the labels' values of the preferences with the tasks of the service in each,
    ``failures`` counts from five recent ones on. Of equals the node known for longer comes first.
    The task that is explained is not counted. ``place`` is the node's place in the order, from 1.
    """

    node: str
    branches: tuple[tuple[str, int], ...]
    failures: int
    service_tasks: int
    tasks: int
    chosen: bool = False
    place: int = 0

    def __str__(self) -> str:
        spread = "".join(f"{number} tasks in {value!r}, " for value, number in self.branches)
        failed = f"{self.failures} recent failures, " if self.failures else ""
        mark = "*" if self.chosen else " "
        tasks = f"{self.service_tasks} tasks of the service, {self.tasks} in all"
        return f"{mark} {self.place}. {self.node}: {spread}{failed}{tasks}"


@attrs.frozen
class Explanation:
    """Where a task is and why. ``reason`` is empty for a task that is placed."""

    task_id: str
    node: str
    reason: str
    rejections: Mapping[str, tuple[Rejected, ...]]
    ranking: tuple[Candidate, ...]

    def __str__(self) -> str:
        lines = [self.reason or f"placed on {self.node}" if self.node or self.reason else "unknown"]
        lines += [str(candidate) for candidate in self.ranking]
        return "\n".join([*lines, *show_rejections(self.rejections)])


def show_rejections(rejections: Mapping[str, tuple[Rejected, ...]]) -> list[str]:
    """The rejections as lines, a few for each filter."""
    lines = []
    for name, rejected in rejections.items():
        lines += [f"  {name}: {node.missing}" for node in rejected[:SHOWN_MAX]]
        if len(rejected) > SHOWN_MAX:
            lines.append(f"  {name}: and {len(rejected) - SHOWN_MAX} more nodes")
    return lines


def rejections_of(scheduler: Scheduler, group: TaskGroup) -> dict[str, tuple[Rejected, ...]]:
    """Every node that cannot take a task of ``group``, under its first filter, in their order."""
    filters: tuple[Filter, ...] = (*FILTERS, *scheduler.filters)
    found: dict[str, list[Rejected]] = {}
    for info in scheduler.by_id.values():
        failed = [rejecter for rejecter in filters if not rejecter.check(info, group)]
        if failed:
            missing = failed[0].missing(info, group)
            also = tuple(rejecter.name for rejecter in failed[1:])
            found.setdefault(failed[0].name, []).append(Rejected(info.name, missing, also))
    return {f.name: tuple(found[f.name]) for f in filters if f.name in found}


def ranking_of(scheduler: Scheduler, group: TaskGroup, task: Task) -> tuple[Candidate, ...]:
    """The best nodes for ``task`` as if it were to be placed now, best first.

    The node that it is on comes last if it is none of the best by now.
    """
    own = scheduler.by_id.get(task.node_id) if task.id in scheduler.tasks else None
    counts = dict(group.counts)
    counted = own is not None and task.desired_state <= TaskState.COMPLETE
    if own is not None and counted:
        counts[own.index] -= 1
    levels: dict[tuple[str, ...], int] = {}
    for index, count in counts.items():
        info = scheduler.nodes[index]
        for path in paths_of(group, info) if info is not None else ():
            levels[path] = levels.get(path, 0) + count
    penalties = scheduler.failures.penalties.get(group.key[:2], {})

    def candidate(info: NodeInfo) -> Candidate:
        branches = tuple((path[-1], levels.get(path, 0)) for path in paths_of(group, info))
        service_tasks = counts.get(info.index, 0)
        tasks = info.active_tasks - (counted and info is own)
        failures = penalties.get(info.id, 0)
        return Candidate(info.name, branches, failures, service_tasks, tasks, info is own)

    @cache
    def rank(info: NodeInfo) -> tuple[object, ...]:
        it = candidate(info)
        branches = tuple(number for _, number in it.branches)
        if scheduler.spreads:
            return (*branches, it.failures, it.service_tasks, it.tasks, info.index)
        return (*branches, scheduler.strategy.score(info, group), info.index)

    fitting = [
        info
        for info in scheduler.by_id.values()
        if info is own or scheduler.rejected_by(info, group) is None
    ]
    best = list(enumerate(nsmallest(RANKED, fitting, key=rank), 1))
    if own is not None and all(info is not own for _, info in best):
        best.append((sum(rank(info) <= rank(own) for info in fitting), own))
    return tuple(attrs.evolve(candidate(info), place=place) for place, info in best)


def explain(scheduler: Scheduler, task: Task) -> Explanation:
    """Why ``task`` is where it is, or nowhere, by what the scheduler knows now.

    The ranking is today's: nodes may have filled or emptied since the task was placed.
    """
    group = scheduler.group_of(task)
    if task.state is TaskState.PENDING:
        rejections = rejections_of(scheduler, group)
        if task.node_id:  # made for its node: the others do not matter
            info = scheduler.by_id.get(task.node_id)
            name = info.name if info is not None else task.node_id
            rejections = {
                key: mine
                for key, nodes in rejections.items()
                if (mine := tuple(node for node in nodes if node.node == name))
            }
            return Explanation(task.id, "", task.err, rejections, ())
        return Explanation(task.id, "", task.err, rejections, ranking_of(scheduler, group, task))
    info = scheduler.by_id.get(task.node_id)
    name = info.name if info is not None else task.node_id
    return Explanation(task.id, name, "", {}, ranking_of(scheduler, group, task))
