"""Which of the nodes that can take a task is the best: strategies.

``spread``, the default, is Swarm's: few tasks of the service first, then few tasks. It has
structures of its own (:mod:`~pyswarm.scheduler.pools`) and never looks at all nodes. Any other
strategy is an object with a name and a score. ``binpack`` is such an object::

    class Newest:
        name = "newest"
        by_shape = True

        def score(self, node, group):
            return (-node.index,)

    plan(nodes, services, strategy=Newest())

``by_shape`` promises that a score depends on the node and on what the task needs
(``group.shape``), not on which service it belongs to. Then the nodes are kept in order for each
shape, and only those whose load changed are scored again. Without the promise every node that fits
is scored once for each group of tasks, and again when it got one; so it is under preferences, which
come before the strategy (it ranks the nodes within a branch), and with filters of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Protocol

from pyswarm.model.objects import Task
from pyswarm.scheduler.group import TaskGroup
from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.pools import SLACK
from pyswarm.scheduler.shape import Shape

Score = tuple[float, ...]


class Strategy(Protocol):
    """A way to rank nodes."""

    @property
    def name(self) -> str:
        """One word for people and programs."""
        ...

    @property
    def by_shape(self) -> bool:
        """Whether scores depend on the node and ``group.shape`` alone; not so if it is missing."""
        ...

    def score(self, node: NodeInfo, group: TaskGroup) -> Score:
        """How far ``node`` is from ideal for the next task of ``group``: the lowest wins.

        May depend on the node, the tasks on it and the group alone. Of nodes with equal scores the
        one known for longer is taken.
        """
        ...


class Spread:
    """Even out the tasks of each service, then all tasks."""

    name = "spread"
    by_shape = False

    def score(self, node: NodeInfo, group: TaskGroup) -> Score:
        return (group.count_on(node), node.active_tasks)


class BinPack:
    """Fill nodes one after another: the least share of CPU and memory left over is best.

    Nodes that offer neither count as full, so among them the one with the most tasks is taken.
    """

    name = "binpack"
    by_shape = True

    def score(self, node: NodeInfo, group: TaskGroup) -> Score:
        needs, offer = group.shape.needs, node.offer
        left = 0.0
        if offer.nano_cpus:
            left += (node.nano_cpus - needs.nano_cpus) / offer.nano_cpus
        if offer.memory_bytes:
            left += (node.memory_bytes - needs.memory_bytes) / offer.memory_bytes
        return (left, -node.active_tasks)


STRATEGIES: dict[str, Strategy] = {"spread": Spread(), "binpack": BinPack()}
"""The strategies that ship, by name."""


class ScoredPool:
    """The nodes that admit a shape, in the order of a strategy that goes by shape alone.

    A heap whose entries are true while they are what ``scores`` says. A node that is full leaves;
    whatever changes its load, or the node itself, is in the journal and brings it back.
    """

    __slots__ = ("nodes", "shape", "strategy", "heap", "scores", "position")

    def __init__(self, nodes: Sequence[NodeInfo | None], shape: Shape, strategy: Strategy) -> None:
        self.nodes = nodes
        self.shape = shape
        self.strategy = strategy
        self.heap: list[tuple[Score, int]] = []
        self.scores: dict[int, Score] = {}
        self.position = -1

    def catch_up(self, group: TaskGroup, journal: Journal) -> None:
        """Score again what changed, or all where that is forgotten."""
        if self.position == journal.end:
            return
        changed = journal.since(self.position)
        self.position = journal.end
        if changed is not None:
            for index in changed:
                self._refresh(index, group)
        if changed is None or len(self.heap) > 2 * len(self.scores) + SLACK:
            again = range(len(self.nodes)) if changed is None else list(self.scores)
            self.heap = []
            for index in again:
                self._refresh(index, group)

    def _refresh(self, index: int, group: TaskGroup) -> None:
        info = self.nodes[index]
        if info is None or not self.shape.admits(info) or not self.shape.fits(info):
            self.scores.pop(index, None)
            return
        score = self.scores[index] = self.strategy.score(info, group)
        heappush(self.heap, (score, index))

    def top(self) -> NodeInfo | None:
        """The best node that can take one more task, or None."""
        while self.heap:
            score, index = self.heap[0]
            if self.scores.get(index) == score:
                return self.nodes[index]
            heappop(self.heap)
        return None

    def set_aside(self) -> tuple[Score, int]:
        """Take the best node out for a while."""
        return heappop(self.heap)

    def put_back(self, entries: Iterable[tuple[Score, int]]) -> None:
        """Put in again what was set aside."""
        for entry in entries:
            heappush(self.heap, entry)


class Leaf:
    """The nodes of one branch, best first, with the tasks of each level above them."""

    __slots__ = ("path", "heap")

    def __init__(self, path: tuple[tuple[str, ...], ...]) -> None:
        self.path = path
        self.heap: list[tuple[Score, int]] = []


def paths_of(group: TaskGroup, info: NodeInfo) -> tuple[tuple[str, ...], ...]:
    """The branches that a node is in, outermost first, each named by the values down to it."""
    values = tuple(level.value(info.node) for level in group.levels)
    return tuple(values[: depth + 1] for depth in range(len(values)))


def place_by_score(
    strategy: Strategy,
    group: TaskGroup,
    tasks: Sequence[Task],
    nodes: Sequence[NodeInfo | None],
    accepts: Callable[[NodeInfo], bool],
    assign: Callable[[Task, NodeInfo], None],
) -> int:
    """Place ``tasks`` one by one where the strategy wants them; how many found a place."""
    levels = _count_levels(group, nodes)
    leaves = _leaves(strategy, group, (i for i in nodes if i is not None and accepts(i)))
    for number, task in enumerate(tasks):
        while leaves:
            leaf = min(leaves, key=lambda at: ([levels.get(p, 0) for p in at.path], at.heap[0]))
            info = nodes[leaf.heap[0][1]]
            assert info is not None
            if accepts(info):
                break
            heappop(leaf.heap)
            if not leaf.heap:
                leaves.remove(leaf)
        else:
            return number
        assign(task, info)
        heapreplace(leaf.heap, (strategy.score(info, group), info.index))
        for path in leaf.path:
            levels[path] = levels.get(path, 0) + 1
    return len(tasks)


def _count_levels(group: TaskGroup, nodes: Sequence[NodeInfo | None]) -> dict[tuple[str, ...], int]:
    levels: dict[tuple[str, ...], int] = {}
    for index, count in group.counts.items():
        info = nodes[index]
        for path in paths_of(group, info) if info is not None else ():
            levels[path] = levels.get(path, 0) + count
    return levels


def _leaves(strategy: Strategy, group: TaskGroup, infos: Iterable[NodeInfo]) -> list[Leaf]:
    leaves: dict[tuple[tuple[str, ...], ...], Leaf] = {}
    for info in infos:
        path = paths_of(group, info)
        leaf = leaves.setdefault(path, Leaf(path))
        leaf.heap.append((strategy.score(info, group), info.index))
    for leaf in leaves.values():
        heapify(leaf.heap)
    return list(leaves.values())
