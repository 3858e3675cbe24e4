"""What a task of a service is: how one is made, when it is out of date, when its slot is alive.

A *slot* is one of the places that a service wants filled: a number from 1 on for a replicated
service, a node for a global one. Over time a slot holds many tasks, one after the other; the store
keeps the last few. These rules are shared by all reconcilers, and each is a pure function of what
the store holds, so that a new leader decides as the old one would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from pyswarm.env import Rng
from pyswarm.ids import new_id
from pyswarm.model.objects import Endpoint, Node, Service, Task
from pyswarm.model.replace import replace
from pyswarm.model.specs import (
    EndpointSpec,
    Global,
    GlobalJob,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    TaskSpec,
)
from pyswarm.model.states import (
    Availability,
    NodeState,
    RestartCondition,
    TaskOrigin,
    TaskState,
    UpdateState,
)
from pyswarm.orchestrator.fit import meets
from pyswarm.store import Reader, Transaction

DEFAULT_POLICY = RestartPolicy()
DEFAULT_ENDPOINT_SPEC = EndpointSpec()
_BARE_ENDPOINT = Endpoint()


def missing_file(view: Reader, spec: TaskSpec) -> str:
    """The first secret or config that tasks of this spec need and that is gone, in words; or ""."""
    if (container := spec.container) is None:
        return ""
    for secret in container.secrets:
        if view.get("secret", secret.secret_id) is None:
            return f"secret not found: {secret.secret_name}"
    for config in container.configs:
        if view.get("config", config.config_id) is None:
            return f"config not found: {config.config_name}"
    return ""


def is_replicated(service: Service) -> bool:
    """Whether the service keeps a number of tasks running."""
    return isinstance(service.spec.mode, Replicated)


def is_global(service: Service) -> bool:
    """Whether the service keeps a task running on every node that fits."""
    return isinstance(service.spec.mode, Global)


def is_job(service: Service) -> bool:
    """Whether the service's tasks are meant to end."""
    return isinstance(service.spec.mode, (ReplicatedJob, GlobalJob))


def is_pinned(service: Service) -> bool:
    """Whether the service's slots are nodes."""
    return isinstance(service.spec.mode, (Global, GlobalJob))


def tasks_of_slot(reader: Reader, service: Service, slot: int, node_id: str) -> list[Task]:
    """All tasks of one slot. A job's slot 0 is a slot like any other, wherever its tasks are."""
    if slot or is_pinned(service):
        return reader.tasks_of_slot(service.id, slot, node_id)
    return [task for task in reader.tasks_of_service(service.id) if task.slot == 0]


def has_ended(task: Task) -> bool:
    """Whether the task was observed past RUNNING: it will not run again."""
    return task.state > TaskState.RUNNING


def is_wanted(task: Task) -> bool:
    """Whether the task should be running, or become ready to."""
    return task.desired_state <= TaskState.RUNNING


def may_hold_node(task: Task) -> bool:
    """Whether something of the task may still be on its node."""
    return bool(task.node_id) and TaskState.ASSIGNED <= task.state <= TaskState.RUNNING


def is_invalid_node(node: Node | None) -> bool:
    """Whether tasks must leave this node: it is gone, down or drained. Pause changes nothing."""
    return (
        node is None or node.state is NodeState.DOWN or node.spec.availability is Availability.DRAIN
    )


def slot_key(task: Task) -> tuple[int, str]:
    """(slot, "") of a numbered slot, (0, node id) of a global service's."""
    return (task.slot, "" if task.slot else task.node_id)


def recency(task: Task) -> float:
    """When the task was last heard of, in cluster time."""
    return task.applied_at or task.status_at


def endpoint_spec(service: Service) -> EndpointSpec:
    """What the service publishes."""
    return service.spec.endpoint or DEFAULT_ENDPOINT_SPEC


def free_task_id(reader: Reader, rng: Rng) -> str:
    """A fresh id; one that is taken is drawn again."""
    while reader.get("task", task_id := new_id(rng)) is not None:
        pass
    return task_id


def new_task(
    tx: Transaction,
    service: Service,
    rng: Rng,
    *,
    slot: int = 0,
    node_id: str = "",
    desired: TaskState = TaskState.RUNNING,
    origin: TaskOrigin = TaskOrigin.CREATED,
    start_after: float = 0.0,
    replaces: str = "",
) -> Task:
    """A NEW task of the service's current spec, which it shares; not yet written."""
    spec = service.spec.task
    log_driver = spec.log_driver
    if log_driver is None and tx.has_swarm:
        log_driver = tx.swarm.spec.default_log_driver
    return Task(
        id=free_task_id(tx, rng),
        service_id=service.id,
        spec=spec,
        spec_version=service.spec_version,
        slot=slot,
        node_id=node_id,
        desired_state=desired,
        message="created",
        status_at=tx.now,
        start_after=start_after,
        replaces=replaces,
        origin=origin,
        service_name=service.spec.name,
        service_labels=service.spec.labels,
        endpoint=_wanted_endpoint(service),
        log_driver=log_driver,
        job_iteration=service.job_status.iteration if service.job_status else None,
    )


def _wanted_endpoint(service: Service) -> Endpoint:
    """The endpoint a new task starts with; the allocator fills in what was allocated."""
    wanted = endpoint_spec(service)
    known = service.endpoint
    if known is not None and known.spec == wanted:
        return known
    return _BARE_ENDPOINT if wanted is DEFAULT_ENDPOINT_SPEC else Endpoint(spec=wanted)


def restarts_so_far(task: Task, slot_tasks: Iterable[Task]) -> list[Task]:
    """The restarts of this slot that count against ``max_attempts``, newest first.

    They are the unbroken run of RESTARTED tasks of the task's own spec version at the end of the
    slot's history: a task made by an update, or by scaling, begins a new count.
    """
    same = sorted(
        (other for other in slot_tasks if other.spec_version == task.spec_version),
        key=lambda other: other.created_at,
    )
    run: list[Task] = []
    for other in reversed(same):
        if other.origin is not TaskOrigin.RESTARTED:
            break
        run.append(other)
    return run


def should_restart(task: Task, slot_tasks: Iterable[Task]) -> bool:
    """Whether the restart policy gives this task a successor.

    ``slot_tasks`` are all tasks of its slot that the store still has, the task itself included.
    A job's finished task needs none, whatever the policy.
    """
    policy = task.spec.restart or DEFAULT_POLICY
    if policy.condition is RestartCondition.NONE:
        return False
    finished = task.state is TaskState.COMPLETE
    if finished and (
        policy.condition is RestartCondition.ON_FAILURE or task.job_iteration is not None
    ):
        return False
    if policy.max_attempts == 0:
        return True
    restarts = restarts_so_far(task, slot_tasks)
    if policy.window:
        until = recency(task)
        since = until - policy.window
        restarts = [other for other in restarts if since < other.created_at <= until]
    return len(restarts) < policy.max_attempts


def updatable(slot_tasks: Sequence[Task], service: Service) -> list[Task]:
    """The tasks that keep this slot alive; empty when the slot is dead.

    Those that should run; failing these the newest, if it ended and the policy wants no other (a
    finished task is still replaced when the spec changes). Newest by birth, where Swarm looks at
    the last report: a slot must not die because an older task was slow to stop. In a rollback an
    ended task of the spec that is being left keeps nothing alive, so its slot starts afresh.
    """
    live = [task for task in slot_tasks if task.desired_state <= TaskState.RUNNING]
    if live or not slot_tasks:
        return live
    newest = slot_tasks[0]
    for task in slot_tasks:
        if task.created_at >= newest.created_at:
            newest = task
    if newest.desired_state is TaskState.REMOVE:
        return []
    status = service.update_status
    if (
        status is not None
        and status.state is UpdateState.ROLLBACK_STARTED
        and newest.spec_version != service.spec_version
    ):
        return []
    return [] if should_restart(newest, slot_tasks) else [newest]


def predecessor(slot_tasks: Iterable[Task], reader: Reader) -> str:
    """The task that must have stopped before a new one of the slot starts; "" when none must.

    Of those that may still run, the one that got furthest: it is the one that takes long to stop.
    A task on a node that is down or gone is not waited for.
    """
    best: Task | None = None
    for task in slot_tasks:
        if not may_hold_node(task) or not _is_heard(reader, task):
            continue
        if best is None or task.state >= best.state:
            best = task
    return best.id if best is not None else ""


def has_stopped(task: Task | None, reader: Reader) -> bool:
    """Whether nobody needs to wait for this task any more."""
    return task is None or not may_hold_node(task) or not _is_heard(reader, task)


def _is_heard(reader: Reader, task: Task) -> bool:
    node = reader.node(task.node_id)
    return node is not None and node.state is not NodeState.DOWN


class Outdated:
    """Tells which tasks differ from what a service wants now.

    Not a difference: the service's labels, replicas or update settings; a placement that the task's
    node still meets; the registry's credentials once the image is there. Comparing specs is done
    once for each different one, since a service's tasks share theirs.
    """

    __slots__ = ("_endpoint", "_known", "service")

    SAME, CREDENTIALS, PLACEMENT, DIFFERENT = range(4)

    def __init__(self, service: Service) -> None:
        self.service = service
        self._endpoint = endpoint_spec(service)
        self._known: list[tuple[TaskSpec, int]] = [(service.spec.task, self.SAME)]

    def __call__(self, task: Task, reader: Reader) -> bool:
        """Whether the task should be replaced by one of the current spec."""
        service = self.service
        if task.spec_version and task.spec_version == service.spec_version:
            return False
        difference = self._difference(task.spec)
        if difference == self.PLACEMENT:
            node = reader.node(task.node_id) if task.node_id else None
            # Swarm leaves a task that still fits alone, whatever else changed around it.
            return node is None or not meets(node, service.spec.task.placement.constraints)
        if difference == self.CREDENTIALS and task.state < TaskState.READY:
            return True  # its image may not be pulled yet
        if difference == self.DIFFERENT:
            return True
        return task.endpoint is not None and task.endpoint.spec != self._endpoint

    def _difference(self, spec: TaskSpec) -> int:
        for known, difference in self._known:
            if known is spec:
                return difference
        difference = self._compare(spec, self.service.spec.task)
        self._known.append((spec, difference))
        return difference

    def _compare(self, old: TaskSpec, new: TaskSpec) -> int:
        if old.given != new.given:  # how a spec was said, not what it says
            old = attrs.evolve(old, given=new.given)
        if old == new:
            return self.SAME
        if attrs.evolve(old, placement=new.placement) == new:
            return self.PLACEMENT
        if (
            old.container is not None
            and new.container is not None
            and attrs.evolve(
                old,
                container=attrs.evolve(old.container, registry_auth=new.container.registry_auth),
            )
            == new
        ):
            return self.CREDENTIALS
        return self.DIFFERENT


def with_desired(task: Task, desired: TaskState) -> Task:
    """The task with a desired state that is further on."""
    assert desired >= task.desired_state, "a desired state never goes back"
    return replace(task, desired_state=desired)
