"""Whether a node meets a task's constraints, asked by whoever keeps tasks on particular nodes."""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.model.objects import Node
from pyswarm.scheduler.constraint import parse_all


def may_fit_otherwise(old: Node | None, new: Node | None) -> bool:
    """Whether this change of a node can change what should run there; most are addresses."""
    if old is None or new is None:
        return True
    return (
        old.state is not new.state
        or old.role is not new.role
        or old.addr != new.addr
        or (old.spec is not new.spec and old.spec != new.spec)
        or (old.description is not new.description and old.description != new.description)
    )


def meets(node: Node, constraints: Sequence[str]) -> bool:
    """Whether ``node`` satisfies every one of these constraints.

    As in Swarm, a list with a malformed constraint asks for nothing; specs are checked before they
    are stored, so there should be none.
    """
    if not constraints:
        return True
    parsed = parse_all(constraints)
    return parsed is None or all(constraint.matches(node) for constraint in parsed)
