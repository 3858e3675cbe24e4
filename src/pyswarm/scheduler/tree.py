"""Spreading over the values of labels: a tree of branches whose leaves are pools.

The first preference splits the nodes into branches, the next splits each of these, and so on; the
nodes of a leaf are ranked as always. Each branch knows how many tasks of the service run below it,
on *all* its nodes, also those that take no more. A task goes to the branch with the fewest, there
again to the branch with the fewest, down to the best node of the leaf. A branch in which no node
can take a task is passed over, so its share goes to the others. Nodes without the label form the
branch of the empty value.

Placing one task after another in this way levels the branches: whatever there was before, no branch
gets a task while one that could take it has fewer. (Where a group is large enough to level all
branches this is what SwarmKit's division of the group gives; where it is not, SwarmKit fills
branches in the arbitrary order of a map, and this does better.)

Between branches with equally many tasks the next level decides, then the rank of their best nodes:
the order is that of the tuples (tasks of branch, tasks of branch below, …, rank of node). As in the
pools, keys that grew are corrected when they reach the top of a heap, and smaller ones are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush, heapreplace

from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.pools import INDEX_MASK, SLACK, Nodes, ServicePool
from pyswarm.scheduler.shape import Level, Shape

Key = tuple[int, ...]


class Branch:
    """A value of a label, with the branches or the pool of nodes below."""

    __slots__ = ("tasks", "order", "children", "heap", "pool")

    def __init__(self, order: int, pool: ServicePool | None) -> None:
        self.tasks = 0
        self.order = order  # decides nothing (ranks are distinct); keeps heaps from comparing more
        self.children: dict[str, Branch] = {}
        self.heap: list[tuple[Key, int, Branch]] = []
        self.pool = pool

    def best(self) -> Key | None:
        """The key of the best node that can take a task, without this branch's own tasks."""
        if self.pool is not None:
            info = self.pool.top()
            return None if info is None else (self.pool.heap[0],)
        heap = self.heap
        while heap:
            key, order, child = heap[0]
            below = child.best()
            if below is None:
                heappop(heap)  # comes back with the first of its nodes that fits again
                continue
            now = (child.tasks, *below)
            if now == key:
                return now
            heapreplace(heap, (now, order, child))
        return None

    def offer(self, child: Branch) -> None:
        """Put a child (back) into the order with its present key."""
        below = child.best()
        if below is None:
            return
        heappush(self.heap, ((child.tasks, *below), child.order, child))
        if len(self.heap) > 2 * len(self.children) + SLACK:
            self.sort()

    def sort(self) -> None:
        """Order the children anew, each once."""
        self.heap = []
        for child in self.children.values():
            below = child.best()
            if below is not None:
                self.heap.append(((child.tasks, *below), child.order, child))
        heapify(self.heap)


class Tree:
    """The nodes that admit a shape, in the order of one service with preferences."""

    __slots__ = (
        "nodes",
        "shape",
        "levels",
        "root",
        "paths",
        "counts",
        "penalties",
        "max_replicas",
        "position",
        "layout",
        "members",
    )

    def __init__(
        self,
        nodes: Nodes,
        shape: Shape,
        levels: tuple[Level, ...],
        counts: dict[int, int],
        penalties: Mapping[str, int],
        max_replicas: int,
    ) -> None:
        self.nodes = nodes
        self.shape = shape
        self.levels = levels
        self.counts = counts
        self.penalties = penalties
        self.max_replicas = max_replicas
        self.position = 0
        self.layout = -1
        self.members = 0
        self.root = Branch(0, None)
        self.paths: dict[int, list[Branch]] = {}

    def fill(self, admitted: list[NodeInfo], position: int, layout: int) -> None:
        """Start anew. ``layout`` tells when nodes or their labels changed last."""
        self.root = Branch(0, None)
        self.paths = {}
        self.position, self.layout = position, layout
        self.members = len(admitted)
        below: dict[int, list[NodeInfo]] = {}
        for info in admitted:
            leaf = self.path(info)[-1]
            below.setdefault(leaf.order, []).append(info)
        for index, count in self.counts.items():
            found = self.nodes[index]
            if found is not None and count:
                for branch in self.path(found):
                    branch.tasks += count
        self._fill_branch(self.root, below)

    def _fill_branch(self, branch: Branch, below: dict[int, list[NodeInfo]]) -> None:
        if branch.pool is not None:
            branch.pool.fill_with(below.get(branch.order, []))
            return
        for child in branch.children.values():
            self._fill_branch(child, below)
        branch.sort()

    def path(self, info: NodeInfo) -> list[Branch]:
        """The branches from below the root to the leaf that ``info`` is in."""
        found = self.paths.get(info.index)
        if found is None:
            found, branch = [], self.root
            for depth, level in enumerate(self.levels, 1):
                value = level.value(info.node)
                child = branch.children.get(value)
                if child is None:
                    child = self._grow(branch, value, depth == len(self.levels))
                found.append(child)
                branch = child
            self.paths[info.index] = found
        return found

    def _grow(self, branch: Branch, value: str, leaf: bool) -> Branch:
        pool = None
        if leaf:
            pool = ServicePool(
                self.nodes, self.shape, self.counts, self.penalties, self.max_replicas
            )
        order = (branch.order << 20) + len(branch.children) + 1
        child = branch.children[value] = Branch(order, pool)
        return child

    def count(self, index: int, delta: int) -> None:
        """A task of the service came to a node or left it."""
        info = self.nodes[index]
        if info is not None:
            for branch in self.path(info):
                branch.tasks += delta

    def catch_up(self, journal: Journal, layout: int) -> bool:
        """Read what changed; False if the tree must be filled anew."""
        if self.layout != layout:
            return False
        changed = journal.since(self.position)
        if changed is None:
            return False
        self.position = journal.end
        for index in changed:
            self.refresh(index)
        return True

    def refresh(self, index: int) -> None:
        """Take a node in again that may have improved, and all branches above it."""
        info = self.nodes[index]
        if info is None:
            return  # the layout changed with it
        path = self.path(info)
        pool = path[-1].pool
        assert pool is not None
        pool.refresh(index)
        if len(pool.heap) > 2 * pool.members + SLACK:
            pool.sweep()
        for parent, child in zip(reversed([self.root, *path[:-1]]), reversed(path), strict=True):
            parent.offer(child)

    def top(self) -> NodeInfo | None:
        """The best node that can take one more task, or None."""
        key = self.root.best()
        if key is None:
            return None
        return self.nodes[key[-1] & INDEX_MASK]
