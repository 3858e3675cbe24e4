"""Whether a node meets a task's constraints, asked by whoever keeps tasks on particular nodes."""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.model.objects import Node
from pyswarm.scheduler.constraint import parse_all


def meets(node: Node, constraints: Sequence[str]) -> bool:
    """Whether ``node`` satisfies every one of these constraints.

    As in Swarm, a list with a malformed constraint asks for nothing; specs are checked before they
    are stored, so there should be none.
    """
    if not constraints:
        return True
    parsed = parse_all(constraints)
    return parsed is None or all(constraint.matches(node) for constraint in parsed)
