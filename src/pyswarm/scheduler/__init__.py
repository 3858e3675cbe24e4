"""Where should this task go, and why not elsewhere.

``plan(nodes, services)`` answers without a swarm; :class:`Scheduler` is what a leader runs. Both
take plain objects of :mod:`pyswarm.model`. To see how it works read ``node`` (what is kept of a
node), ``shape`` (what a task needs), ``filters``, ``pools`` and ``tree`` (who comes first), then
``books`` and ``scheduler``.
"""

from __future__ import annotations

from pyswarm.scheduler.constraint import Constraint as Constraint
from pyswarm.scheduler.explain import Candidate as Candidate
from pyswarm.scheduler.explain import Explainer as Explainer
from pyswarm.scheduler.explain import Explanation as Explanation
from pyswarm.scheduler.explain import Rejected as Rejected
from pyswarm.scheduler.explain import explain as explain
from pyswarm.scheduler.filters import FILTERS as FILTERS
from pyswarm.scheduler.filters import Filter as Filter
from pyswarm.scheduler.group import TaskGroup as TaskGroup
from pyswarm.scheduler.node import NodeInfo as NodeInfo
from pyswarm.scheduler.plan import Assignment as Assignment
from pyswarm.scheduler.plan import PendingTask as PendingTask
from pyswarm.scheduler.plan import Plan as Plan
from pyswarm.scheduler.plan import plan as plan
from pyswarm.scheduler.planfile import PlanInput as PlanInput
from pyswarm.scheduler.planfile import parse_plan as parse_plan
from pyswarm.scheduler.planfile import plan_to_dict as plan_to_dict
from pyswarm.scheduler.scheduler import Decision as Decision
from pyswarm.scheduler.scheduler import Scheduler as Scheduler
from pyswarm.scheduler.strategy import STRATEGIES as STRATEGIES
from pyswarm.scheduler.strategy import BinPack as BinPack
from pyswarm.scheduler.strategy import Spread as Spread
from pyswarm.scheduler.strategy import Strategy as Strategy

__all__ = [
    "FILTERS",
    "STRATEGIES",
    "Assignment",
    "BinPack",
    "Candidate",
    "Constraint",
    "Decision",
    "Explainer",
    "Explanation",
    "Filter",
    "NodeInfo",
    "PendingTask",
    "Plan",
    "PlanInput",
    "Rejected",
    "Scheduler",
    "Spread",
    "Strategy",
    "TaskGroup",
    "explain",
    "parse_plan",
    "plan",
    "plan_to_dict",
]
