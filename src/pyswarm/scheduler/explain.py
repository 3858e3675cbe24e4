"""Why: for a task that waits what every node lacks, for one that is placed how its node ranked.

Made only when somebody asks, by looking at every node. The sentence is Swarm's; the rejections go
beyond it. A node is listed under the filter that rejects it first (so the lists are as long as the
numbers in the sentence); what it would fail besides is told in :attr:`Rejected.also`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property

import attrs

from pyswarm.model.objects import Task
from pyswarm.model.states import TaskState
from pyswarm.scheduler.filters import FILTERS, Filter
from pyswarm.scheduler.group import GroupKey, TaskGroup
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


def rejection_of(
    scheduler: Scheduler, group: TaskGroup, info: NodeInfo
) -> tuple[str, Rejected] | None:
    """The filter that keeps tasks of ``group`` off a node, with what is missing there."""
    filters: tuple[Filter, ...] = (*FILTERS, *scheduler.filters)
    failed = [rejecter for rejecter in filters if not rejecter.check(info, group)]
    if not failed:
        return None
    also = tuple(rejecter.name for rejecter in failed[1:])
    return failed[0].name, Rejected(info.name, failed[0].missing(info, group), also)


def rejections_of(scheduler: Scheduler, group: TaskGroup) -> dict[str, tuple[Rejected, ...]]:
    """Every node that cannot take a task of ``group``, under its first filter, in their order."""
    found: dict[str, list[Rejected]] = {}
    for info in scheduler.by_id.values():
        rejected = rejection_of(scheduler, group, info)
        if rejected is not None:
            found.setdefault(rejected[0], []).append(rejected[1])
    filters = (*FILTERS, *scheduler.filters)
    return {f.name: tuple(found[f.name]) for f in filters if f.name in found}


class GroupView:
    """What the tasks of a group have in common: who rejects them, who could take one more."""

    def __init__(self, scheduler: Scheduler, group: TaskGroup) -> None:
        self.scheduler = scheduler
        self.group = group
        self.penalties = scheduler.failures.penalties.get(group.key[:2], {})

    @cached_property
    def rejections(self) -> dict[str, tuple[Rejected, ...]]:
        """Every node that cannot take such a task."""
        return rejections_of(self.scheduler, self.group)

    @cached_property
    def fitting(self) -> list[NodeInfo]:
        """Every node that can."""
        infos = self.scheduler.by_id.values()
        return [info for info in infos if self.scheduler.rejected_by(info, self.group) is None]

    @cached_property
    def order(self) -> list[tuple[tuple[float, ...], int]]:
        """They, best first, all tasks being counted."""
        everything = self.levels(None)
        return sorted((self.rank(info, None, everything), info.index) for info in self.fitting)

    def levels(self, own: NodeInfo | None) -> dict[tuple[str, ...], int]:
        """Tasks of the service in each branch, without one on ``own``."""
        found: dict[tuple[str, ...], int] = {}
        if not self.group.levels:
            return found
        for index, count in self.group.counts.items():
            info = self.scheduler.nodes[index]
            for path in paths_of(self.group, info) if info is not None else ():
                found[path] = found.get(path, 0) + count - (info is own)
        return found

    def candidate(
        self, info: NodeInfo, own: NodeInfo | None, levels: Mapping[tuple[str, ...], int]
    ) -> Candidate:
        """A node with its numbers, without one task on ``own``."""
        paths = paths_of(self.group, info) if self.group.levels else ()
        return Candidate(
            info.name,
            tuple((path[-1], levels.get(path, 0)) for path in paths),
            self.penalties.get(info.id, 0),
            self.group.count_on(info) - (info is own),
            info.active_tasks - (info is own),
        )

    def rank(
        self, info: NodeInfo, own: NodeInfo | None, levels: Mapping[tuple[str, ...], int]
    ) -> tuple[float, ...]:
        """What nodes are compared by; of equals the one known for longer comes first."""
        group, mine = self.group, info is own
        paths = paths_of(group, info) if group.levels else ()
        branches = (levels.get(path, 0) for path in paths)
        if not self.scheduler.spreads:
            return (*branches, *self.scheduler.strategy.score(info, group))
        failures = self.penalties.get(info.id, 0)
        return (*branches, failures, group.count_on(info) - mine, info.active_tasks - mine)

    def ranking(self, own: NodeInfo | None, counted: bool) -> tuple[Candidate, ...]:
        """The best nodes for a task on ``own`` as if it were to be placed now, best first.

        Its own node comes last if it is none of the best by now.
        """
        without = own if counted else None
        levels, order = self.levels(without), self.order
        if without is not None and self.group.levels:  # a branch without the task changes them all
            order = sorted((self.rank(i, without, levels), i.index) for i in self.fitting)
        best, place = [index for _, index in order[: RANKED + 1]], 0
        if own is not None:  # it alone has a better rank than in the order, or is not in it
            place = bisect_left(order, (self.rank(own, without, levels), own.index))
            best = [index for index in best if index != own.index]
            best.insert(place, own.index)
        rows = []
        for number, index in enumerate(best, 1):
            info = self.scheduler.nodes[index]
            if info is None or (number > RANKED and info is not own):
                continue
            shown = self.candidate(info, without, levels)
            at = place + 1 if info is own else number
            rows.append(attrs.evolve(shown, chosen=info is own, place=at))
        return tuple(rows)


class Explainer:
    """Explains tasks, and remembers between them what those of a service have in common."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._views: dict[GroupKey, GroupView] = {}

    def explain(self, task: Task) -> Explanation:
        """Why ``task`` is where it is, or nowhere, by what the scheduler knows now.

        The ranking is today's: nodes may have filled or emptied since the task was placed.
        """
        scheduler = self._scheduler
        group = scheduler.group_of(task)
        view = self._views.setdefault(group.key, GroupView(scheduler, group))
        info = scheduler.by_id.get(task.node_id)
        name = info.name if info is not None else task.node_id
        if task.state is TaskState.PENDING:
            if not task.node_id:
                ranking = view.ranking(None, False)
                return Explanation(task.id, "", task.err, view.rejections, ranking)
            # Made for its node: the others do not matter.
            rejected = rejection_of(scheduler, group, info) if info is not None else None
            rejections = {rejected[0]: (rejected[1],)} if rejected is not None else {}
            return Explanation(task.id, "", task.err, rejections, ())
        own = info if task.id in scheduler.tasks else None
        counted = own is not None and task.desired_state <= TaskState.COMPLETE
        return Explanation(task.id, name, "", {}, view.ranking(own, counted))


def explain(scheduler: Scheduler, task: Task) -> Explanation:
    """One explanation; for several of one service :class:`Explainer` does less work."""
    return Explainer(scheduler).explain(task)
