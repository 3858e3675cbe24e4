"""Where should this task go, and why not elsewhere.

``plan(nodes, services)`` answers without a swarm; :class:`Scheduler` is what a leader runs. Both
take plain objects of :mod:`pyswarm.model`.
"""

from __future__ import annotations

from pyswarm.scheduler.constraint import Constraint as Constraint
from pyswarm.scheduler.filters import FILTERS as FILTERS
from pyswarm.scheduler.filters import Filter as Filter
from pyswarm.scheduler.group import TaskGroup as TaskGroup
from pyswarm.scheduler.node import NodeInfo as NodeInfo
from pyswarm.scheduler.scheduler import Decision as Decision
from pyswarm.scheduler.scheduler import Scheduler as Scheduler
from pyswarm.scheduler.strategy import STRATEGIES as STRATEGIES
from pyswarm.scheduler.strategy import BinPack as BinPack
from pyswarm.scheduler.strategy import Spread as Spread
from pyswarm.scheduler.strategy import Strategy as Strategy

__all__ = [
    "BinPack",
    "Constraint",
    "Decision",
    "FILTERS",
    "Filter",
    "NodeInfo",
    "STRATEGIES",
    "Scheduler",
    "Spread",
    "Strategy",
    "TaskGroup",
]
