"""Nodes in the order in which a shape, or a service, prefers them, kept up lazily.

A pool is a binary heap of integers, each a node's rank over its index:

    failures << 72 | tasks of the service << 48 | active tasks << 24 | index

so that comparing two integers is the whole ranking: fewer recent failures (counted from five on),
then fewer tasks of the service, then fewer tasks, then the node known for longer.

*Upwards nothing is done.* Placing a task makes a node's rank grow; the entry in this pool and in
every other becomes too small, is noticed when it reaches the top, and is replaced by the true one.
*Downwards an entry is added*: when a task leaves a node (or the node changes) its index is in the
journal, and each pool pushes the new rank when it is used next. The old entry is then a harmless
double. *Nodes that do not fit are dropped* when they reach the top: whatever could make one fit
again (something given back, the node changed) puts it into the journal, and so back. Thus a pool
that is empty stays empty, at no cost, until something that could help has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace

from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.shape import FITS, Shape

INDEX_BITS = 24  # 16 million nodes over the life of a leader
INDEX_MASK = (1 << INDEX_BITS) - 1
SERVICE_SHIFT = 48
FAILURES_SHIFT = 72
SLACK = 64  # doubles allowed in a small pool before it is swept

Nodes = list[NodeInfo | None]


class Pool:
    """The nodes that admit a shape, least loaded first."""

    __slots__ = ("nodes", "shape", "heap", "dead", "position", "members", "dynamic")

    def __init__(self, nodes: Nodes, shape: Shape) -> None:
        self.nodes = nodes
        self.shape = shape
        self.heap: list[int] = []
        self.dead: dict[int, None] = {}
        self.position = 0
        self.members = 0
        self.dynamic = shape.dynamic
        """Whether a node may stop to fit by tasks being placed on it."""

    def fill(self, candidates: Iterable[NodeInfo | None], position: int) -> None:
        """Start anew with those of ``candidates`` that the shape admits."""
        shape, classes = self.shape, self.shape.classes
        plain = not shape.node_constraints
        admitted = [
            info
            for info in candidates
            if info is not None
            and info.ready
            and classes.get(info.class_id, FITS) == FITS
            and ((plain and info.class_id in classes) or shape.admits(info))
        ]
        self.fill_with(admitted)
        self.position = position

    def fill_with(self, admitted: list[NodeInfo]) -> None:
        """Start anew with these nodes."""
        self.heap = [self.rank(info) for info in admitted]
        heapify(self.heap)
        self.dead = {}
        self.members = len(self.heap)

    def rank(self, info: NodeInfo) -> int:
        """The node's place in this order: the smallest is best."""
        return info.active_tasks << INDEX_BITS | info.index

    def fits(self, info: NodeInfo) -> bool:
        """Whether an admitted node can take one more."""
        return not self.shape.dynamic or self.shape.fits(info)

    def catch_up(self, journal: Journal) -> bool:
        """Read what changed; False if that is forgotten and the pool must be filled anew."""
        if self.position == journal.end:
            return True
        changed = journal.since(self.position)
        if changed is None:
            return False
        self.position = journal.end
        for index in changed:
            self.refresh(index)
        if len(self.heap) > 2 * self.members + SLACK:
            self.sweep()
        return True

    def refresh(self, index: int) -> None:
        """Take a node in again whose rank or fitness may have improved, or let it go."""
        info = self.nodes[index]
        if info is None or not self.shape.admits(info):
            self.dead[index] = None
        else:
            self.dead.pop(index, None)
            heappush(self.heap, self.rank(info))

    def live(self) -> list[NodeInfo]:
        """The nodes still in the heap, each once."""
        indexes = dict.fromkeys(entry & INDEX_MASK for entry in self.heap)
        found = (self.nodes[index] for index in indexes if index not in self.dead)
        return [info for info in found if info is not None]

    def sweep(self) -> None:
        """Drop doubles and nodes that left."""
        self.fill_with(self.live())

    def top(self) -> NodeInfo | None:
        """The best node that can take one more task, or None."""
        heap, nodes, dead, dynamic = self.heap, self.nodes, self.dead, self.dynamic
        while heap:
            entry = heap[0]
            index = entry & INDEX_MASK
            info = nodes[index]
            if info is None or index in dead:
                heappop(heap)
                continue
            rank = self.rank(info)
            if rank > entry:
                heapreplace(heap, rank)
            elif not dynamic or self.fits(info):
                return info
            else:
                heappop(heap)
        return None


class ServicePool(Pool):
    """The nodes that admit a shape, in the order of one service (and version of its spec)."""

    __slots__ = ("counts", "penalties", "max_replicas")

    def __init__(
        self,
        nodes: Nodes,
        shape: Shape,
        counts: dict[int, int],
        penalties: Mapping[str, int],
        max_replicas: int,
    ) -> None:
        super().__init__(nodes, shape)
        self.counts = counts
        self.penalties = penalties
        self.max_replicas = max_replicas
        self.dynamic = shape.dynamic or max_replicas > 0

    def rank(self, info: NodeInfo) -> int:
        index = info.index
        rank = self.counts.get(index, 0) << SERVICE_SHIFT | info.active_tasks << INDEX_BITS | index
        if self.penalties:
            rank |= self.penalties.get(info.id, 0) << FAILURES_SHIFT
        return rank

    def fits(self, info: NodeInfo) -> bool:
        if self.max_replicas and self.counts.get(info.index, 0) >= self.max_replicas:
            return False
        return not self.shape.dynamic or self.shape.fits(info)
