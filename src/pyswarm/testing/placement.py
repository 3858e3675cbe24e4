"""Placement under test: builders for nodes and services, fleets, and assertions that explain.

Under pytest nothing needs importing: the fixture ``placement`` is this module; ``assert_placed``,
``assert_pending`` and ``assert_spread`` are fixtures too. All of it works as well without pytest.

A *fleet* is nodes, services and what runs already; ``fleet.plan`` says where the rest would go.
What happens to a fleet makes another one: ``lose`` and ``drain`` stop what ran there, so that its
next plan is where the successors go; ``settled`` is the fleet once that came true::

    def test_web_survives_a_rack(placement, assert_placed):
        first = placement.nodes(2, "a", labels={"rack": 1})
        second = placement.nodes(2, "b", labels={"rack": 2})
        fleet = placement.fleet([*first, *second], [placement.service("web", replicas=4)])
        assert_placed(fleet.settled().lose(rack=1), "web", 4, on={"rack": 2})

Builders take the keys of a plan file (:mod:`pyswarm.scheduler.planfile`); a wrong one is an
:class:`~pyswarm.errors.InvalidArgument` that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model import (
    Availability,
    Network,
    Node,
    NodeState,
    Replicated,
    ServiceSpec,
    Task,
    TaskState,
    replace,
)
from pyswarm.scheduler import STRATEGIES, Filter, NodeInfo, Plan, Strategy, parse_plan, plan
from pyswarm.scheduler.explain import SHOWN_MAX, rejections_of
from pyswarm.scheduler.planfile import networks_of

Where = str | Iterable[str] | Mapping[str, Any]
"""Nodes: a name, names, or labels with the value (or any of some values) each must have."""


def node(name: str, **keys: Any) -> Node:
    """A node by the keys of a plan file: ``node("a", cpus=4, memory="8g", labels={"rack": 1})``."""
    (made,) = parse_plan({"nodes": [{"name": name, **keys}]}, f"node {name!r}").nodes
    return made


def nodes(count: int, name: str = "node", **keys: Any) -> tuple[Node, ...]:
    """``count`` nodes alike: ``node-1``, ``node-2`` …"""
    return tuple(node(f"{name}-{number}", **keys) for number in range(1, count + 1))


def service(name: str, **keys: Any) -> ServiceSpec:
    """A service by the keys of a plan file: ``service("web", replicas=6, reserve_cpu=0.5)``."""
    document = {"services": [{"name": name, **keys}]}
    (made,) = parse_plan(document, f"service {name!r}").services
    return made


class Fleet:
    """Nodes, services, and the tasks that run already."""

    def __init__(
        self,
        nodes: Iterable[Node],
        services: Iterable[ServiceSpec] = (),
        *,
        existing: Iterable[Task] = (),
        networks: Iterable[Network] = (),
        strategy: Strategy = STRATEGIES["spread"],
        filters: Sequence[Filter] = (),
    ) -> None:
        self.nodes = tuple(nodes)
        self.services = tuple(services)
        self.existing = tuple(existing)
        self.networks = tuple(networks)
        self.strategy = strategy
        self.filters = tuple(filters)

    @cached_property
    def plan(self) -> Plan:
        """Where what is missing would go."""
        return plan(
            self.nodes,
            self.services,
            existing=self.existing,
            networks=self.networks or networks_of(self.services),
            strategy=self.strategy,
            filters=self.filters,
        )

    def _with(self, **changes: Any) -> Fleet:
        fields = ("nodes", "services", "existing", "networks", "strategy", "filters")
        return Fleet(**{key: changes.get(key, getattr(self, key)) for key in fields})

    def settled(self) -> Fleet:
        """The fleet once its plan came true: what was placed runs, what waits is asked for anew."""
        placed = [
            replace(assignment.task, state=TaskState.RUNNING)
            for assignment in self.plan.assignments
            if assignment.task.state is TaskState.ASSIGNED
        ]
        kept = [task for task in self.existing if task.state is not TaskState.PENDING]
        return self._with(existing=[*kept, *placed])

    def lose(self, *names: str, **labels: Any) -> Fleet:
        """Nodes go down, by name or all that have these labels; their tasks are gone."""
        return self._leave(names, labels, lambda one: replace(one, state=NodeState.DOWN))

    def drain(self, *names: str, **labels: Any) -> Fleet:
        """Nodes are drained; their tasks stop and go elsewhere."""
        return self._leave(names, labels, _available(Availability.DRAIN))

    def pause(self, *names: str, **labels: Any) -> Fleet:
        """Nodes keep what they have and get nothing new."""
        return self._change(names, labels, _available(Availability.PAUSE))

    def restore(self, *names: str, **labels: Any) -> Fleet:
        """Nodes are up and active again; nothing moves to them by itself."""

        def up(one: Node) -> Node:
            return replace(_available(Availability.ACTIVE)(one), state=NodeState.READY)

        return self._change(names, labels, up)

    def add(self, *more: Node) -> Fleet:
        """Nodes join."""
        return self._with(nodes=[*self.nodes, *more])

    def deploy(self, *specs: ServiceSpec) -> Fleet:
        """Services are created, or get another spec where one of the name exists."""
        by_name = {spec.name: spec for spec in (*self.services, *specs)}
        return self._with(services=by_name.values())

    def scale(self, name: str, replicas: int) -> Fleet:
        """A service gets more replicas. (Which tasks fewer would stop is not the scheduler's.)"""
        for spec in self.services:
            if spec.name == name:
                return self.deploy(attrs.evolve(spec, mode=Replicated(replicas)))
        raise NotFound(f"service {name} is not in the fleet")

    def capacity(self, name: str, *, limit: int = 10_000) -> int:
        """How many replicas a service could have, ``limit`` at most, with all else in place."""
        fleet = self.settled().scale(name, limit)
        return sum(fleet.plan.counts(name).values())

    def chosen(self, names: Sequence[str], labels: Mapping[str, Any]) -> list[str]:
        """The names of nodes: those named, and those with all of these labels."""
        by_name = {one.hostname: one for one in self.nodes}
        for name in names:
            if name not in by_name:
                raise NotFound(f"node {name} is not in the fleet")
        found = [one for one in self.nodes if labels and _matches(one, labels)]
        if labels and not found:
            raise NotFound(f"no node of the fleet has {_show(labels)}")
        return [*names, *(one.hostname for one in found if one.hostname not in names)]

    def _change(
        self, names: Sequence[str], labels: Mapping[str, Any], change: Callable[[Node], Node]
    ) -> Fleet:
        if not names and not labels:
            raise InvalidArgument("which nodes?", hint='name them, or say a label: rack="1"')
        chosen = self.chosen(names, labels)
        changed = [change(one) if one.hostname in chosen else one for one in self.nodes]
        return self._with(nodes=changed)

    def _leave(
        self, names: Sequence[str], labels: Mapping[str, Any], change: Callable[[Node], Node]
    ) -> Fleet:
        fleet = self._change(names, labels, change)
        chosen = self.chosen(names, labels)
        left = [one.id for one in self.nodes if one.hostname in chosen]
        return fleet._with(existing=[task for task in self.existing if task.node_id not in left])

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.nodes)} nodes, {len(self.services)} services>"


fleet = Fleet


def document(data: Any, where: str = "document") -> Fleet:
    """A fleet from a parsed plan file, what exists and its strategy included."""
    read = parse_plan(data, where)
    strategy = STRATEGIES[read.strategy]
    return Fleet(read.nodes, read.services, existing=read.existing, strategy=strategy)


def _available(availability: Availability) -> Callable[[Node], Node]:
    return lambda one: replace(one, spec=replace(one.spec, availability=availability))


def _matches(one: Node, labels: Mapping[str, Any]) -> bool:
    for key, wanted in labels.items():
        values = [wanted] if isinstance(wanted, str | int) else list(wanted)
        if one.spec.labels.get(key, "") not in [_text(value) for value in values]:
            return False
    return True


def _text(value: Any) -> str:
    """A label's value as plan files read it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show(where: Where) -> str:
    if isinstance(where, str):
        return where
    if isinstance(where, Mapping):
        return ", ".join(f"{key}={value}" for key, value in where.items())
    return ", ".join(where)


# -- assertions


def assert_placed(
    made: Plan | Fleet | Any, service: str, tasks: int | None = None, *, on: Where | None = None
) -> None:
    """Tasks of ``service`` are placed: ``tasks`` of them, or all that are wanted (none waits).

    ``on`` says where: a node's name, names, or labels (``{"rack": 3}``, ``{"rack": [1, 2]}``). With
    it every task must be there, or, if ``tasks`` is given, exactly so many.
    """
    __tracebackhide__ = True
    answer = plan_of(made)
    counts = answer.counts(service)
    total = sum(counts.values())
    waiting = sum(pending.service == service for pending in answer.pending)
    if on is None:
        if total != tasks if tasks is not None else (waiting or not total):
            wanted = "all" if tasks is None else str(tasks)
            _fail(answer, service, f"expected {wanted} placed, {total} are and {waiting} wait")
        return
    there = _names(answer, on)
    number = sum(counts[name] for name in there)
    where = _show(on)
    if tasks is not None and number != tasks:
        _fail(answer, service, f"expected {tasks} on {where}, found {number} of {total}", there)
    if tasks is None and (number != total or waiting or not total):
        text = f"expected all on {where}, found {number} of {total}, and {waiting} wait"
        _fail(answer, service, text, there)


def assert_pending(
    made: Plan | Fleet | Any, service: str, tasks: int | None = None, *, because: str = ""
) -> None:
    """Tasks of ``service`` wait: ``tasks`` of them (or some), ``because`` being in each reason."""
    __tracebackhide__ = True
    answer = plan_of(made)
    answer.counts(service)
    reasons = [pending.reason for pending in answer.pending if pending.service == service]
    if len(reasons) != tasks if tasks is not None else not reasons:
        wanted = "some" if tasks is None else str(tasks)
        _fail(answer, service, f"expected {wanted} to wait, {len(reasons)} do")
    if any(because not in reason for reason in reasons):
        _fail(answer, service, f"expected them to wait because of {because!r}")


def assert_spread(
    made: Plan | Fleet | Any, service: str, over: str = "", *, within: int = 1
) -> None:
    """Tasks of ``service`` are even over the values of a label, or over nodes if none is given.

    Looked at are the values (or nodes) that could have tasks at all: whose nodes are up and active
    and meet the service's constraints, platforms and plugins. The fullest may have ``within`` tasks
    more than the emptiest.
    """
    __tracebackhide__ = True
    answer = plan_of(made)
    counts = answer.by_label(service, over) if over else answer.counts(service)
    task = answer.sample(service)
    if task is None:
        _fail(answer, service, "expected tasks, found none")
        return
    admits = answer.scheduler.group_of(task).shape.admits
    able = [info for info in answer.scheduler.by_id.values() if admits(info)]
    looked_at = dict.fromkeys(
        info.node.spec.labels.get(over, "") if over else answer.name_of(info) for info in able
    )
    numbers = [counts[key] for key in looked_at]
    if not numbers or max(numbers) - min(numbers) > within:
        shown = ", ".join(f"{key or '(none)'}: {counts[key]}" for key in looked_at)
        unit = over or "nodes"
        _fail(answer, service, f"expected to be even over {unit} (within {within}), found {shown}")


def plan_of(made: Plan | Fleet | Any) -> Plan:
    """The plan of what assertions take: a plan, a fleet, a plan file, a swarm's what-if."""
    if isinstance(made, Plan):
        return made
    if isinstance(made, Fleet):
        return made.plan
    found = getattr(made, "placement", None)
    if not isinstance(found, Plan):
        raise InvalidArgument(f"neither a plan nor a fleet: {type(made).__name__}")
    return found


def _names(answer: Plan, on: Where) -> list[str]:
    """The names of the nodes that ``on`` says, each of which must exist."""
    if isinstance(on, Mapping):
        infos = answer.scheduler.by_id.values()
        found = [answer.name_of(info) for info in infos if _matches(info.node, on)]
        if not found:
            raise NotFound(f"no node of the plan has {_show(on)}")
        return found
    names = [on] if isinstance(on, str) else list(on)
    for name in names:
        if name not in answer.nodes:
            raise NotFound(f"node {name} is not in the plan")
    return names


def _fail(answer: Plan, service: str, what: str, there: Sequence[str] = ()) -> None:
    """Say what was expected, why it is not so, and show the plan."""
    __tracebackhide__ = True
    lines = [f"{service}: {what}"]
    if why := answer.explain(service):
        lines += ["", why]
    if there:
        lines += ["", *_why_not(answer, service, there)]
    raise AssertionError("\n".join([*lines, "", str(answer)]))


def _why_not(answer: Plan, service: str, there: Sequence[str]) -> list[str]:
    """What each of these nodes says to one more task of the service."""
    task = answer.sample(service)
    if task is None:
        return []
    rejected = {
        node.node: f"{name}: {node.missing}"
        for name, nodes in rejections_of(answer.scheduler, answer.scheduler.group_of(task)).items()
        for node in nodes
    }
    infos: dict[str, NodeInfo] = {answer.name_of(i): i for i in answer.scheduler.by_id.values()}
    lines = ["one more task there:"]
    for name in there[:SHOWN_MAX]:
        says = rejected.get(infos[name].name)
        tasks = infos[name].active_tasks
        lines.append(f"  {says}" if says else f"  {name} could take one; it has {tasks} tasks")
    more = len(there) - SHOWN_MAX
    return [*lines, f"  and {more} more nodes"] if more > 0 else lines
