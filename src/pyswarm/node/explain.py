"""Why a task is where it is, or nowhere: asked of the settled store, when somebody wants to know.

The scheduler that answers is made for the question, from the store alone; so any manager answers,
the leader or not, and all that place by the same strategy and filters give the same answer at the
same version.
"""

from __future__ import annotations

from pyswarm.model import Service, Task, TaskState
from pyswarm.orchestrator.place import Placer
from pyswarm.orchestrator.task import is_wanted
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.explain import Explainer, Explanation
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Reader

EXPLAINED_MAX = 100
"""Tasks of a service that are explained one by one; the others are like them."""


def explain_task(
    view: Reader, task: Task, make_scheduler: MakeScheduler = Scheduler
) -> Explanation:
    """For a task that waits: Swarm's sentence, and what each node lacks. For one that has a node:
    how the nodes rank for it today."""
    return Explainer(Placer.rebuild(view, 0.0, make_scheduler).scheduler).explain(task)


def explain_service(
    view: Reader, service: Service, make_scheduler: MakeScheduler = Scheduler
) -> tuple[Explanation, ...]:
    """An explanation of each task the service wants; those that wait come first."""
    explainer = Explainer(Placer.rebuild(view, 0.0, make_scheduler).scheduler)
    tasks = [task for task in view.tasks_of_service(service.id) if is_wanted(task)]
    tasks.sort(key=lambda task: (task.state is not TaskState.PENDING, task.slot, task.node_id))
    return tuple(explainer.explain(task) for task in tasks[:EXPLAINED_MAX])
