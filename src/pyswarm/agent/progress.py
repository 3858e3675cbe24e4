"""Through which states a task goes on its node, and what the executor does in each.

The rule is Swarm's, one step at a time (spec of tasks, section 3)::

    desired >= SHUTDOWN: a task that has not ended is shut down -> SHUTDOWN "shutdown"
    observed > desired:  nothing
    PREPARING: prepare -> READY "prepared"      STARTING: start -> RUNNING "started"
    RUNNING:   wait    -> COMPLETE "finished"
    observed >= desired: nothing (here a task desired READY pauses)
    NEW, PENDING, ASSIGNED -> ACCEPTED "accepted"; ACCEPTED -> PREPARING "preparing";
    READY -> STARTING "starting"

A step either moves at once (``operation`` None) or when the executor is done. Where it fails, the
task is REJECTED before STARTING and FAILED from there on; ``message`` keeps the last good step and
``err`` tells why.
"""

from __future__ import annotations

import attrs

from pyswarm.agent.executor import Exited, Started
from pyswarm.agent.vocabulary import Operation
from pyswarm.errors import SwarmError
from pyswarm.model.objects import UNHEALTHY, TaskStatus
from pyswarm.model.replace import replace
from pyswarm.model.states import TaskState

NODE_RESTARTED = "node restarted"


@attrs.frozen
class Step:
    """One step: what the executor has to do for it, and where it leads."""

    operation: Operation | None
    to: TaskState
    message: str


_ACCEPT = Step(None, TaskState.ACCEPTED, "accepted")

STEPS: dict[TaskState, Step] = {
    TaskState.NEW: _ACCEPT,
    TaskState.PENDING: _ACCEPT,
    TaskState.ASSIGNED: _ACCEPT,
    TaskState.ACCEPTED: Step(None, TaskState.PREPARING, "preparing"),
    TaskState.PREPARING: Step(Operation.PREPARE, TaskState.READY, "prepared"),
    TaskState.READY: Step(None, TaskState.STARTING, "starting"),
    TaskState.STARTING: Step(Operation.START, TaskState.RUNNING, "started"),
    TaskState.RUNNING: Step(Operation.WAIT, TaskState.COMPLETE, "finished"),
}
"""What follows each state that is not an end."""

SHUT_DOWN = Step(Operation.SHUTDOWN, TaskState.SHUTDOWN, "shutdown")


def next_step(state: TaskState, desired: TaskState) -> Step | None:
    """The step a task in ``state`` takes towards ``desired``, or None where it stays."""
    if desired >= TaskState.SHUTDOWN:
        return SHUT_DOWN if state < TaskState.COMPLETE else None
    step = STEPS.get(state)
    if step is None or state > desired or (step.operation is None and state == desired):
        return None
    return step


def moved(status: TaskStatus, step: Step) -> TaskStatus:
    """The status after ``step`` went well."""
    assert step.to > status.state
    return replace(status, state=step.to, message=step.message, err="")


def exit_error(how: Exited) -> str:
    """Swarm's sentence for a task that ended badly."""
    return f"task: non-zero exit ({how.code})" + (f": {how.reason}" if how.reason else "")


def advanced(status: TaskStatus, step: Step, result: Started | Exited | None) -> TaskStatus:
    """The status after the executor did what ``step`` asks for, with what it told."""
    if isinstance(result, Started):
        return attrs.evolve(
            moved(status, step),
            container_id=result.container_id,
            pid=result.pid,
            ports=result.ports,
        )
    if isinstance(result, Exited) and result.code != 0:
        err, message = exit_error(result), status.message
        if message == UNHEALTHY:
            message = STEPS[TaskState.STARTING].message  # the last good step
        return attrs.evolve(
            status, state=TaskState.FAILED, message=message, err=err, exit_code=result.code
        )
    return moved(status, step)


def unhealthy(status: TaskStatus) -> TaskStatus:
    """The status of a running task that is to be ended for its health: it takes no traffic."""
    return replace(status, message=UNHEALTHY)


def stopped(status: TaskStatus, step: Step, result: Started | Exited | None) -> TaskStatus:
    """The status of a task that was asked to stop and did; the executor may tell how."""
    status = moved(status, step)
    return attrs.evolve(status, exit_code=result.code) if isinstance(result, Exited) else status


def broken(status: TaskStatus, err: str, exit_code: int = 0) -> TaskStatus:
    """The status of a task for which a step failed for good; with what a shell would have said."""
    state = TaskState.REJECTED if status.state < TaskState.STARTING else TaskState.FAILED
    return replace(status, state=state, err=err, exit_code=exit_code or status.exit_code)


def sentence(error: SwarmError) -> str:
    """An error as the ``err`` of a task."""
    return str(error) or type(error).__name__
