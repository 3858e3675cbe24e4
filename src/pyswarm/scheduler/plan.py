"""Where would these services run: placement without a swarm.

:func:`plan` makes the tasks that the orchestrator would make, lets the scheduler place them, and
returns a :class:`Plan`. Nothing is written anywhere. ``replicas`` is the number of tasks a service
should have in all; tasks in ``existing`` that belong to it count. Global services get a task on
each node that is up, active and meets their constraints, as the orchestrator would decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model.objects import Endpoint, Network, NetworkAttachment, Node, Service, Task
from pyswarm.model.specs import Global, GlobalJob, Replicated, ReplicatedJob, ServiceSpec
from pyswarm.model.states import Availability, NodeState, TaskState
from pyswarm.scheduler.constraint import Constraint
from pyswarm.scheduler.explain import Rejected, rejections_of, show_rejections
from pyswarm.scheduler.filters import Filter
from pyswarm.scheduler.group import TaskGroup
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.scheduler import Scheduler
from pyswarm.scheduler.strategy import STRATEGIES, Strategy

ROWS_MAX = 100  # rows a plan shows in a terminal, the rest being counted


@attrs.frozen
class Assignment:
    """A task that gets a place: ``node`` is the node's name. ``slot`` 0: a global service's."""

    service: str
    slot: int
    node: str
    task: Task = attrs.field(repr=False)


class Why:
    """The rejections of one group, found out when first asked for and then shared."""

    __slots__ = ("_scheduler", "_group", "_found")

    def __init__(self, scheduler: Scheduler, group: TaskGroup) -> None:
        self._scheduler = scheduler
        self._group = group
        self._found: dict[str, tuple[Rejected, ...]] | None = None

    def all(self) -> dict[str, tuple[Rejected, ...]]:
        """Every node that cannot take such a task, by filter."""
        if self._found is None:
            self._found = rejections_of(self._scheduler, self._group)
        return self._found


class PendingTask:
    """A task that finds no place. ``reason`` is the sentence that Swarm gives."""

    __slots__ = ("service", "slot", "reason", "task", "_why")

    def __init__(self, service: str, task: Task, why: Why) -> None:
        self.service = service
        self.slot = task.slot
        self.reason = task.err
        self.task = task
        self._why = why

    @property
    def rejections(self) -> dict[str, tuple[Rejected, ...]]:
        """For each filter the nodes it rejects, and what each is missing."""
        found = self._why.all()
        if not self.task.node_id:
            return found
        name = self._why._scheduler.by_id[self.task.node_id].name
        mine = {key: tuple(n for n in nodes if n.node == name) for key, nodes in found.items()}
        return {key: nodes for key, nodes in mine.items() if nodes}

    def __repr__(self) -> str:
        return f"<PendingTask {self.service}.{self.slot or self.task.node_id}: {self.reason}>"


class Plan:
    """Who goes where, and who nowhere and why."""

    def __init__(
        self, scheduler: Scheduler, tasks: Iterable[Task], services: Mapping[str, str]
    ) -> None:
        """``tasks`` as the scheduler left them; ``services`` are names by id."""
        self.scheduler = scheduler
        """What made the plan, as it is afterwards."""
        self._services = dict(services)
        self._names = node_names(info.node for info in scheduler.by_id.values())
        assignments, pending = [], []
        whys: dict[object, Why] = {}
        for task in tasks:
            service = self._services.get(task.service_id) or task.service_name or task.service_id
            if task.state is not TaskState.PENDING:
                name = self._names.get(task.node_id, task.node_id)
                assignments.append(Assignment(service, task.slot, name, task))
                continue
            group = scheduler.group_of(task)
            why = whys.setdefault(group.key, Why(scheduler, group))
            pending.append(PendingTask(service, task, why))
        self.assignments: tuple[Assignment, ...] = tuple(assignments)
        self.pending: tuple[PendingTask, ...] = tuple(pending)

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that were planned for."""
        return tuple(self._services.values())

    @property
    def service_names(self) -> Mapping[str, str]:
        """The same by the services' ids."""
        return self._services

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all nodes."""
        return tuple(self._names.values())

    def counts(self, service_name: str) -> dict[str, int]:
        """How many tasks of a service each node has, 0 included; those that existed count."""
        for service_id, name in self._services.items():
            if name == service_name:
                counts = self.scheduler.services.get(service_id, {})
                infos = self.scheduler.by_id.values()
                return {self._names[info.id]: counts.get(info.index, 0) for info in infos}
        known = ", ".join(sorted(self._services.values()))
        raise NotFound(f"service {service_name} is not in the plan", hint=f"it has: {known}")

    def by_label(self, service_name: str, label: str) -> dict[str, int]:
        """How many tasks of a service the nodes have together, by the value of a node label.

        Nodes without it count under the empty value; values without tasks are there with 0.
        """
        found: dict[str, int] = {}
        counts = self.counts(service_name)
        for info in self.scheduler.by_id.values():
            value = info.node.spec.labels.get(label, "")
            found[value] = found.get(value, 0) + counts[self.name_of(info)]
        return found

    def name_of(self, info: NodeInfo) -> str:
        """The name under which a node stands in the plan."""
        return self._names[info.id]

    def sample(self, service_name: str) -> Task | None:
        """One of the tasks of a service, a waiting one if there is any."""
        for listed in (self.pending, self.assignments):
            for one in listed:
                if one.service == service_name:
                    return one.task
        ids = [id for id, name in self._services.items() if name == service_name]
        tasks = (task for task in self.scheduler.tasks.values() if task.service_id in ids)
        return next(tasks, None)

    def explain(self, service_name: str) -> str:
        """Why tasks of a service stay pending, in words; empty if none does."""
        lines: list[str] = []
        for pending in self.pending:
            if pending.service == service_name and pending.reason not in lines:
                lines += [pending.reason, *show_rejections(pending.rejections)]
        return "\n".join(lines)

    def __str__(self) -> str:
        rows = [("SERVICE", "NODE", "TASKS")]
        for service in self._services.values():
            rows += [(service, n, str(c)) for n, c in self.counts(service).items() if c]
        rows += [
            (service, "(pending)", f"{count}  {reason}")
            for service, count, reason in self.pending_counts()
        ]
        more = len(rows) - 1 - ROWS_MAX
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [
            f"{service:<{widths[0]}}  {name:<{widths[1]}}  {text}"
            for service, name, text in rows[: ROWS_MAX + 1]
        ]
        return "\n".join([*lines, f"… and {more} more rows"] if more > 0 else lines)

    def pending_counts(self) -> list[tuple[str, int, str]]:
        """Service, number of tasks and reason of everything that stays pending."""
        numbers: dict[tuple[str, str], int] = {}
        for task in self.pending:
            key = (task.service, task.reason)
            numbers[key] = numbers.get(key, 0) + 1
        return [(service, number, reason) for (service, reason), number in numbers.items()]

    def __repr__(self) -> str:
        return f"<Plan: {len(self.assignments)} assigned, {len(self.pending)} pending>"


def node_names(nodes: Iterable[Node]) -> dict[str, str]:
    """A name for each node by id: its host name, or the id where that is not unique."""
    listed = list(nodes)
    holders: dict[str, int] = {}
    for node in listed:
        holders[node.hostname] = holders.get(node.hostname, 0) + 1
    return {
        node.id: node.hostname if node.hostname and holders[node.hostname] == 1 else node.id
        for node in listed
    }


def plan(
    nodes: Iterable[Node],
    services: Iterable[Service | ServiceSpec],
    *,
    existing: Iterable[Task] = (),
    networks: Iterable[Network] = (),
    now: float = 0.0,
    strategy: Strategy = STRATEGIES["spread"],
    filters: Sequence[Filter] = (),
) -> Plan:
    """Say where the tasks of ``services`` would go on ``nodes`` where ``existing`` tasks run.

    Services are placed in the order given, global ones first. A spec stands for a service whose id
    is its name. Raises :class:`InvalidArgument` for malformed constraints, and for nodes or
    services that are there twice.
    """
    scheduler = Scheduler(strategy=strategy, filters=filters)
    for network in networks:
        scheduler.upsert_network(network)
    for node in nodes:
        if node.id in scheduler.by_id:
            raise InvalidArgument(f"node {node.id} is there twice", details={"node": node.id})
        scheduler.upsert_node(node)
    by_service: dict[str, list[Task]] = {}
    tasks: dict[str, Task] = {}
    for task in existing:
        scheduler.upsert_task(task)
        by_service.setdefault(task.service_id, []).append(task)
        if task.state is TaskState.PENDING:
            tasks[task.id] = task
    names: dict[str, str] = {}
    for order, service in enumerate(_as_services(services)):
        if service.id in names or service.spec.name in names.values():
            raise InvalidArgument(f"service {service.spec.name} is there twice")
        for text in service.spec.task.placement.constraints:
            Constraint.parse(text)
        names[service.id] = service.spec.name
        for task in _wanted(scheduler, service, by_service.get(service.id, []), float(order)):
            tasks[task.id] = task
            scheduler.upsert_task(task)
    while decisions := scheduler.schedule(now):
        for decision in decisions:
            tasks[decision.new.id] = decision.new
    return Plan(scheduler, tasks.values(), names)


def _as_services(services: Iterable[Service | ServiceSpec]) -> Iterator[Service]:
    for service in services:
        if isinstance(service, Service):
            yield service
        else:
            yield Service(service.name, service, spec_version=1)


def _wanted(
    scheduler: Scheduler, service: Service, existing: Sequence[Task], order: float
) -> Iterator[Task]:
    """The tasks that a service lacks."""
    alive = [
        task
        for task in existing
        if task.desired_state <= TaskState.COMPLETE and task.state <= TaskState.RUNNING
    ]
    mode = service.spec.mode
    if isinstance(mode, Global | GlobalJob):
        taken = dict.fromkeys(task.node_id for task in alive)
        for info in scheduler.by_id.values():
            if info.id not in taken and _wants_global(info.node, service):
                yield _task(service, 0, info.id, order)
        return
    slots = dict.fromkeys(task.slot for task in alive)
    missing = _replicas(mode) - len(alive)
    slot = 0
    while missing > 0:
        slot += 1
        if slot not in slots:
            missing -= 1
            yield _task(service, slot, "", order)


def _replicas(mode: Replicated | ReplicatedJob) -> int:
    """How many tasks run at once."""
    if isinstance(mode, Replicated):
        return mode.replicas
    total = mode.total_completions
    return mode.max_concurrent if total is None else min(mode.max_concurrent or total, total)


def _wants_global(node: Node, service: Service) -> bool:
    constraints = service.spec.task.placement.constraints
    return (
        node.state is not NodeState.DOWN
        and node.spec.availability is Availability.ACTIVE
        and all(Constraint.parse(text).matches(node) for text in constraints)
    )


def _task(service: Service, slot: int, node_id: str, order: float) -> Task:
    spec = service.spec
    is_job = isinstance(spec.mode, ReplicatedJob | GlobalJob)
    endpoint = spec.endpoint
    return Task(
        id=f"{service.id}.{slot or node_id}.plan",
        service_id=service.id,
        spec=spec.task,
        created_at=order,
        spec_version=service.spec_version or 1,
        slot=slot,
        node_id=node_id,
        desired_state=TaskState.COMPLETE if is_job else TaskState.RUNNING,
        state=TaskState.PENDING,
        service_name=spec.name,
        networks=tuple(NetworkAttachment(network.target) for network in spec.task.networks),
        endpoint=Endpoint(endpoint, endpoint.ports) if endpoint and endpoint.ports else None,
    )
