"""Why a shape fits nowhere, kept up to date node by node.

Made for the shapes of tasks that stay pending, and only for them: for each node the filter that
rejects it first, and for each filter the number of nodes. When a node changes, its verdict alone is
judged again. Nodes that nothing but the limit of replicas rejects count as passing here, since that
is a matter of the service and not of the shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.scheduler.filters import FILTERS, Filter
from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.shape import NO_CONSTRAINT, NO_PLATFORM, NO_PLUGIN, Shape

READY, RESOURCES, PLUGINS, CONSTRAINTS, PLATFORM, PORTS, REPLICAS = range(len(FILTERS))
PASSES = len(FILTERS)


def judge(info: NodeInfo, shape: Shape) -> int:
    """The first filter of :data:`FILTERS` that rejects the node, but for replicas; or PASSES."""
    if not info.ready:
        return READY
    if not shape.has_room(info):
        return RESOURCES
    fit = shape.class_fit(info)
    if fit == NO_PLUGIN:
        return PLUGINS
    if fit == NO_CONSTRAINT or not shape.named(info):
        return CONSTRAINTS
    if fit == NO_PLATFORM:
        return PLATFORM
    return PASSES if shape.ports_free(info) else PORTS


class Verdicts:
    """The verdicts of all nodes on one shape."""

    __slots__ = ("shape", "by_node", "counts", "position", "won")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.by_node: dict[int, int] = {}
        self.counts = [0] * (PASSES + 1)
        self.position = -1
        self.won = False
        """Whether a node passes that did not; whoever acts upon it takes it back."""

    def catch_up(self, nodes: Sequence[NodeInfo | None], altered: Journal) -> bool:
        """Judge again the nodes that changed. True if there were any."""
        if self.position == altered.end:
            return False
        changed = altered.since(self.position)
        self.position = altered.end
        for index in range(len(nodes)) if changed is None else changed:
            self._judge(index, nodes[index])
        return True

    def can_take(self, index: int) -> bool:
        """Whether only the limit of replicas can keep a task off this node."""
        return self.by_node.get(index) == PASSES

    def _judge(self, index: int, info: NodeInfo | None) -> None:
        before = self.by_node.pop(index, None)
        if before is not None:
            self.counts[before] -= 1
        if info is not None:
            verdict = self.by_node[index] = judge(info, self.shape)
            self.counts[verdict] += 1
            if verdict == PASSES and before != PASSES:
                self.won = True

    @property
    def passing(self) -> int:
        """How many nodes only the limit of replicas can reject."""
        return self.counts[PASSES]


def sentence(counts: Sequence[tuple[Filter, int]]) -> str:
    """Swarm's explanation: most rejections first, filters in their order where equal."""
    ordered = sorted((c for c in counts if c[1]), key=lambda count: -count[1])
    return "; ".join(rejecter.explain(number) for rejecter, number in ordered)
