"""What a change would do, without doing it: a turn that is decided and dropped.

The change is made on a fork of the settled store, the reconcilers (rebuilt from it) run until none
writes any more, and what they wrote is the answer: the immediate consequences, one turn's worth.
What takes time (tasks that stop, restart delays, the slots of a rolling update beyond the first)
comes after. Nothing is proposed; the member that is asked answers alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model import (
    Availability,
    Node,
    NodeState,
    Replicated,
    ServiceSpec,
    Task,
    TaskState,
    replace,
)
from pyswarm.model.requests import CreateService, RemoveService, UpdateNode, UpdateService
from pyswarm.node import control
from pyswarm.node.context import Context
from pyswarm.node.lookup import find
from pyswarm.node.nodes import set_node_state
from pyswarm.node.turn import reconcile
from pyswarm.orchestrator.order import RECONCILERS, rebuild
from pyswarm.orchestrator.place import Placer
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.constraint import Constraint
from pyswarm.scheduler.plan import PendingTask, Plan
from pyswarm.scheduler.policy import MakeScheduler
from pyswarm.store import Change, Store, Transaction


@attrs.frozen(init=False)
class Drain:
    """These nodes are drained: ``Drain("node-2", "node-3")``, or all that satisfy constraints:
    ``Drain(where="node.labels.rack==3")``."""

    nodes: tuple[str, ...]
    where: tuple[str, ...]

    def __init__(self, *nodes: str, where: str | Sequence[str] = ()) -> None:
        self.__attrs_init__(nodes, (where,) if isinstance(where, str) else tuple(where))


@attrs.frozen(init=False)
class Lose:
    """These nodes go down: ``Lose("node-2")``, or a rack: ``Lose(where="node.labels.rack==3")``."""

    nodes: tuple[str, ...]
    where: tuple[str, ...]

    def __init__(self, *nodes: str, where: str | Sequence[str] = ()) -> None:
        self.__attrs_init__(nodes, (where,) if isinstance(where, str) else tuple(where))


@attrs.frozen
class AddService:
    """A service is created."""

    spec: ServiceSpec


@attrs.frozen
class ChangeService:
    """A service gets another spec (its name says which)."""

    spec: ServiceSpec


@attrs.frozen
class Remove:
    """A service is removed."""

    service: str


@attrs.frozen
class Scale:
    """A replicated service gets another number of replicas."""

    service: str
    replicas: int


Hypothesis = Drain | Lose | AddService | ChangeService | Remove | Scale


@attrs.frozen
class WhatIf:
    """The answer. ``changes`` are all that would be written, each with its reason."""

    changes: tuple[Change, ...]
    placement: Plan
    """Where the tasks that are made or moved would go."""

    @property
    def unmet(self) -> tuple[PendingTask, ...]:
        """The tasks that would find no node, each with reason and rejections."""
        return self.placement.pending

    @property
    def stopped(self) -> tuple[Task, ...]:
        """The tasks that would be shut down, as they are now."""
        return tuple(
            change.old
            for change in self.changes
            if change.kind == "task"
            and change.old is not None
            and change.old.desired_state <= TaskState.RUNNING
            and (change.new is None or change.new.desired_state > TaskState.RUNNING)
        )

    def __str__(self) -> str:
        lines = [f"{len(self.stopped)} tasks stop, {len(self.placement.assignments)} start"]
        for row in self.placement.assignments:
            lines.append(f"  {row.service}.{row.slot or row.node}: {row.node}")
        for service, count, reason in self.placement.pending_counts():
            lines.append(f"  {service}: {count} tasks wait: {reason}")
        return "\n".join(lines)


def what_if(
    store: Store,
    changes: Hypothesis | Sequence[Hypothesis],
    now: float,
    rng: Rng,
    make_scheduler: MakeScheduler = Scheduler,
) -> WhatIf:
    """Decide ``changes`` (in order, as one) on a fork of ``store`` at cluster time ``now``.

    Raises what the same requests would raise: ``NotFound``, ``InvalidArgument`` …
    """
    tx = store.fork(max(now, store.stamp))
    reconcilers = [
        (rebuild(cls, store, tx.now, make_scheduler), rng.child(cls.__name__))
        for cls in RECONCILERS
    ]
    listed = [changes] if isinstance(changes, str) or not isinstance(changes, Sequence) else changes
    context = Context.beside((one for one, _ in reconcilers), rng)
    for change in listed:
        _suppose(tx, change, context)
    reconcile(tx, tx.now, reconcilers)
    return WhatIf(tx.changes(), _placement(tx, reconcilers))


def _suppose(tx: Transaction, change: Hypothesis, context: Context) -> None:
    match change:
        case Drain():
            for node in _meant(tx, change):
                spec = replace(node.spec, availability=Availability.DRAIN)
                control.run(tx, UpdateNode(node.id, node.version, spec), context)
        case Lose():
            for node in _meant(tx, change):
                set_node_state(tx, node, NodeState.DOWN, "what if")
        case AddService(spec):
            control.run(tx, CreateService(spec), context)
        case ChangeService(spec):
            service = find(tx, "service", spec.name)
            control.run(tx, UpdateService(service.id, service.version, spec), context)
        case Scale(reference, replicas):
            service = find(tx, "service", reference)
            if not isinstance(service.spec.mode, Replicated):
                raise InvalidArgument("scale can only be used with replicated mode")
            spec = replace(service.spec, mode=Replicated(replicas))
            control.run(tx, UpdateService(service.id, service.version, spec), context)
        case Remove(reference):
            control.run(tx, RemoveService(find(tx, "service", reference).id), context)
        case _:
            raise InvalidArgument(
                f"not a change that can be supposed: {change!r}",
                hint="Drain, Lose, AddService, ChangeService, Scale, Remove, or a list of them",
            )


def _meant(tx: Transaction, change: Drain | Lose) -> list[Node]:
    """The nodes that are named, and those that satisfy all of ``where``."""
    meant: dict[str, Node] = {}
    for reference in change.nodes:
        node = find(tx, "node", reference)
        meant[node.id] = node
    constraints = [Constraint.parse(text) for text in change.where]
    for node in tx.nodes() if constraints else ():
        if all(one.matches(node) for one in constraints):
            meant[node.id] = node
    if not meant:
        raise NotFound("no node is meant", hint=f"where: {', '.join(change.where) or 'nothing'}")
    return list(meant.values())


def _placement(tx: Transaction, reconcilers: Iterable[tuple[object, Rng]]) -> Plan:
    """What the placer decided, and what it left waiting, in this turn alone."""
    placer = next(one for one, _ in reconcilers if isinstance(one, Placer))
    tasks, names = [], {}
    for change in tx.changes():
        if change.kind != "task" or change.new is None:
            continue
        old: Task | None = change.old
        new: Task = change.new
        moved = old is None or old.node_id != new.node_id or old.err != new.err
        if moved and new.state in (TaskState.ASSIGNED, TaskState.PENDING):
            tasks.append(new)
    for service in tx.services():
        names[service.id] = service.spec.name
    return Plan(placer.scheduler, tasks, names)
