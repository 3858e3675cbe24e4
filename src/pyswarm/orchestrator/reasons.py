"""Why a reconciler wrote something: the codes, and what their arguments mean.

Every change carries a :class:`~pyswarm.machine.Because`. Programs look at the code; people read the
sentence that :func:`sentence` makes of code and arguments.
"""

from __future__ import annotations

from pyswarm.machine import Because

CODES: dict[str, str] = {
    # replicated, global and job services
    "replica-missing": "slot {0} of the service has no task",
    "scale-down": "the service has more than its {0} replicas",
    "slot-dead": "nothing runs in slot {0} any more",
    "node-joined": "node {0} should run a task of this global service",
    "node-unfit": "node {0} is down, drained, gone or does not meet the constraints",
    "spec-outdated": "the task on node {0} was left behind by the service's update",
    "job-slot-free": "iteration {0} of the job has work left",
    "job-iteration-old": "iteration {0} of the job has begun",
    # updates
    "update-started": "{0} slots differ from the service's spec",
    "update-slot": "the update takes slot {0}",
    "update-old-task": "task {0} takes over",
    "update-progress": "task {0} failed under the update",
    "update-paused": "task {0} failed or ended early",
    "update-rolled-back": "task {0} failed or ended early",
    "update-completed": "all slots are done and the last monitor period is over",
    # restarts
    "task-ended": "the task ended: {0}",
    "node-lost": "node {0} is down, drained or gone",
    "restart": "task {0} gets a successor",
    "start": "the restart delay is over and the task before it has stopped",
    # reaping
    "service-removed": "the service is gone",
    "reaped": "the task was to be removed and has stopped",
    "history": "the slot keeps {0} tasks",
    "orphaned": "node {0} has been down too long",
    "node-removed": "node {0} was removed",
    # allocation
    "network-allocated": "the network has its subnet",
    "endpoint-allocated": "the service has its addresses and ports",
    "addressed": "the task has its addresses",
    "balancer-address": "the node's tasks use these networks",
    # placement
    "placed": "the scheduler chose the node",
    "confirmed": "the task can run on the node it was made for",
    "unplaced": "no node can take the task, for the reason given",
    "never-placed": "the task was to be shut down before it had a node",
    "unfit": "node {0} no longer fits the task",
    # certificates
    "certificate-due": "the swarm's root is being replaced",
    "certificate-issued": "the node has its certificate",
    "root-rotated": "every node has a certificate of the next root",
}
"""Code → what it says, ``{0}`` being the first argument."""


def because(code: str, *args: str | int | float) -> Because:
    """The reason with this code, which must be in the table."""
    assert code in CODES, f"unknown reason {code}"
    return Because(code, args)


def sentence(reason: Because) -> str:
    """What a reason says, in words; an unknown code speaks for itself."""
    text = CODES.get(reason.code)
    return str(reason) if text is None else text.format(*reason.args)
