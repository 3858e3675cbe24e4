"""What the managers of a swarm place by: a strategy and filters of one's own.

Both are code, so they are no settings of the swarm: whoever runs a manager hands them to it. The
leader of the moment decides with its own, so every manager is to be given the same. They are asked
in the middle of a turn: they wait for nothing, draw no chance, and one that raises costs its
manager the leadership.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from pyswarm.errors import InvalidArgument
from pyswarm.scheduler.filters import Filter
from pyswarm.scheduler.scheduler import Scheduler
from pyswarm.scheduler.strategy import STRATEGIES, Strategy

MakeScheduler = Callable[[], Scheduler]
"""A new scheduler that knows nothing yet: for an office, a question, a what-if."""


def scheduler_maker(
    strategy: Strategy | str | None = None, filters: Iterable[Filter] | None = None
) -> MakeScheduler:
    """What makes schedulers with a strategy (an object, or a name in ``STRATEGIES``) and filters.

    Raises ``InvalidArgument`` for what is neither.
    """
    listed = tuple(filters or ())
    for one in listed:
        _check(one, "filter", ("check", "explain", "missing"))
    return partial(Scheduler, strategy=_chosen(strategy), filters=listed)


def _chosen(strategy: Strategy | str | None) -> Strategy:
    if strategy is None:
        return STRATEGIES["spread"]
    if not isinstance(strategy, str):
        _check(strategy, "strategy", ("score",))
        return strategy
    if strategy not in STRATEGIES:
        raise InvalidArgument(f"strategy: {strategy!r} is not one of {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy]


def _check(one: object, what: str, methods: tuple[str, ...]) -> None:
    """Said at once, not in the first turn that asks it."""
    is_class = isinstance(one, type)
    lacks = [name for name in methods if not callable(getattr(one, name, None))]
    if not isinstance(getattr(one, "name", None), str):
        lacks.append("name")
    if lacks or is_class:
        why = "a class, not an object" if is_class else f"it lacks {', '.join(lacks)}"
        raise InvalidArgument(
            f"not a {what}: {one!r} ({why})", hint=f"see pyswarm.scheduler.{what.capitalize()}"
        )
