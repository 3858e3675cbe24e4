"""What must always hold, as objects: used by the simulator, by tests, and by ``cluster.check()``.

Two kinds. :class:`Checker` watches a simulated history event by event and keeps what it must
remember. The functions below look at one store alone: ``check_view`` runs those that hold at every
moment, ``check_settled`` those that hold once everything has converged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_interface
from typing import Any, Protocol

import attrs

from pyswarm.env import Rng
from pyswarm.machine import Effect
from pyswarm.model import Availability, Global, NodeState, Replicated, Service, Task, TaskState
from pyswarm.model.states import PublishMode
from pyswarm.node import Observed, Published
from pyswarm.node.turn import reconcile
from pyswarm.store import Commit, Reader, Store


@attrs.frozen
class Violation:
    """An invariant that does not hold: which one, and what was seen."""

    invariant: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.message}"


class Checker(Protocol):
    """Watches a history. ``host`` has ``name`` and ``machine``."""

    def observe(self, now: float, host: Any, effect: Effect) -> Iterable[Violation]:
        """An effect of a node; what it proves wrong."""
        ...


class OneLeaderPerTerm:
    """Election safety: no two members take office in one term."""

    def __init__(self) -> None:
        self._leaders: dict[int, str] = {}

    def observe(self, now: float, host: Any, effect: Effect) -> Iterable[Violation]:
        if not isinstance(effect, Observed) or effect.event != "leader.elected":
            return ()
        term = effect.fields["term"]
        other = self._leaders.setdefault(term, host.name)
        if other == host.name:
            return ()
        return (Violation("one leader a term", f"{other} and {host.name} in term {term}"),)


class SameCommits:
    """State machine safety: an index holds the same changes on every member, for ever.

    Whole stores are compared too, by digest, at every ``digest_every``-th version.
    """

    def __init__(self, digest_every: int = 16) -> None:
        self._commits: dict[int, Commit] = {}
        self._digests: dict[int, str] = {}
        self._digest_every = digest_every

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, Published) or effect.commit is None:
            return
        commit = effect.commit
        first = self._commits.setdefault(commit.version, commit)
        if first is not commit and not _equal(first, commit):
            yield Violation("equal commits", f"version {commit.version} differs on {host.name}")
        if commit.version % self._digest_every == 0 and _is_at(host, commit.version):
            digest = host.machine.store.digest()
            if self._digests.setdefault(commit.version, digest) != digest:
                yield Violation(
                    "equal digests", f"the store of {host.name} differs at {commit.version}"
                )


def _is_at(host: Any, version: int) -> bool:
    """Effects are seen after their step: the store may have moved on."""
    return bool(host.machine.manager is not None and host.machine.store.version == version)


def _equal(one: Commit, other: Commit) -> bool:
    return one.stamp == other.stamp and [(c.kind, c.id, c.new) for c in one.changes] == [
        (c.kind, c.id, c.new) for c in other.changes
    ]


class ForwardOnly:
    """A task's observed and desired states only grow; cluster time never goes back."""

    def __init__(self) -> None:
        self._stamp = 0.0
        self._version = 0

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, Published) or effect.commit is None:
            return
        commit = effect.commit
        if commit.version <= self._version:
            return
        if commit.stamp < self._stamp:
            yield Violation("time", f"version {commit.version} is stamped before its predecessor")
        self._version, self._stamp = commit.version, commit.stamp
        for change in commit.changes:
            old, new = change.old, change.new
            if change.kind != "task" or old is None or new is None:
                continue
            if new.state < old.state or new.desired_state < old.desired_state:
                yield Violation("states only grow", f"task {new.id}: {old.state} → {new.state}")


# -- one store ------------------------------------------------------------------------------


def check_view(view: Reader) -> list[Violation]:
    """What holds in every settled store."""
    return [
        *_addresses(view),
        *_ports(view),
        *_references(view),
        *_reservations(view),
    ]


def check_settled(view: Reader) -> list[Violation]:
    """What holds beyond that once everything has converged and every node has reported."""
    return [*check_view(view), *_slots(view), *_no_task_on_lost_nodes(view)]


def _alive(task: Task) -> bool:
    return task.state <= TaskState.RUNNING


def _addresses(view: Reader) -> Iterator[Violation]:
    """No address of a network is held twice."""
    holders: dict[tuple[str, str], str] = {}
    for network_id, address, holder in _leases(view):
        plain = str(ip_interface(address).ip)
        other = holders.setdefault((network_id, plain), holder)
        if other != holder:
            yield Violation("addresses", f"{plain} is held by {other} and {holder}")


def _leases(view: Reader) -> Iterator[tuple[str, str, str]]:
    for service in view.services():
        for vip in service.endpoint.virtual_ips if service.endpoint else ():
            if vip.address:
                yield vip.network_id, vip.address, f"service {service.id}"
    for task in view.tasks():
        for attachment in task.networks if _alive(task) else ():
            for address in attachment.addresses:
                yield attachment.network_id, address, f"task {task.id}"
    for node in view.nodes():
        for attachment in node.attachments:
            for address in attachment.addresses:
                yield attachment.network_id, address, f"node {node.id}"


def _ports(view: Reader) -> Iterator[Violation]:
    """No ingress port is published twice."""
    holders: dict[tuple[str, int], str] = {}
    for service in view.services():
        for port in service.endpoint.ports if service.endpoint else ():
            if port.publish_mode is not PublishMode.INGRESS or not port.published_port:
                continue
            key = (str(port.protocol), port.published_port)
            other = holders.setdefault(key, service.id)
            if other != service.id:
                yield Violation("ports", f"{key} is published by {other} and {service.id}")


def _references(view: Reader) -> Iterator[Violation]:
    """Tasks refer to nodes that exist, unless they are orphans or end."""
    for task in view.tasks():
        if task.node_id and _alive(task) and view.node(task.node_id) is None:
            yield Violation("references", f"task {task.id} runs on a node that is gone")


def _reservations(view: Reader) -> Iterator[Violation]:
    """No node has promised more than it has."""
    promised: dict[str, list[int]] = {}
    for task in view.tasks():
        if task.node_id and _alive(task) and task.state >= TaskState.ASSIGNED:
            reserved = task.spec.resources.reservations
            total = promised.setdefault(task.node_id, [0, 0])
            total[0] += reserved.nano_cpus
            total[1] += reserved.memory_bytes
    for node_id, (nano_cpus, memory_bytes) in promised.items():
        node = view.node(node_id)
        has = node.description.resources if node is not None and node.description else None
        if has is None:
            continue
        if nano_cpus > has.nano_cpus > 0 or memory_bytes > has.memory_bytes > 0:
            yield Violation("reservations", f"node {node_id} is over-committed")


def _slots(view: Reader) -> Iterator[Violation]:
    """Each slot of a replicated service has exactly one task that runs, and no more are wanted."""
    for service in view.services():
        if isinstance(service.spec.mode, Replicated):
            yield from _replicas(view, service, service.spec.mode.replicas)
        elif isinstance(service.spec.mode, Global):
            yield from _one_a_node(view, service)


def _wanted(view: Reader, service: Service) -> list[Task]:
    return [
        task
        for task in view.tasks_of_service(service.id)
        if task.desired_state <= TaskState.RUNNING
    ]


def _replicas(view: Reader, service: Service, replicas: int) -> Iterator[Violation]:
    wanted = _wanted(view, service)
    slots = sorted(task.slot for task in wanted)
    if len(slots) != replicas or len(dict.fromkeys(slots)) != replicas:
        yield Violation("slots", f"service {service.spec.name}: slots {slots} for {replicas}")
    for task in wanted:
        unplaceable = task.state is TaskState.PENDING and bool(task.err)
        if task.state is not TaskState.RUNNING and not unplaceable:
            yield Violation("slots", f"task {task.name} is {task.state}: {task.err}")


def _one_a_node(view: Reader, service: Service) -> Iterator[Violation]:
    nodes: dict[str, str] = {}
    for task in _wanted(view, service):
        other = nodes.setdefault(task.node_id, task.id)
        if other != task.id:
            yield Violation("slots", f"{service.spec.name} has two tasks on {task.node_id}")


def _no_task_on_lost_nodes(view: Reader) -> Iterator[Violation]:
    """Nothing is wanted on a node that is down or drained."""
    for node in view.nodes():
        if node.state is NodeState.DOWN or node.spec.availability is Availability.DRAIN:
            for task in view.tasks_of_node(node.id):
                if task.desired_state <= TaskState.RUNNING:
                    yield Violation("lost nodes", f"task {task.name} stays on {node.hostname}")


# -- reconcilers ----------------------------------------------------------------------------


def check_twins(store: Store, now: float, live: Iterable[Any], rng: Rng) -> list[Violation]:
    """Law 15: a reconciler made anew from the store decides what the long-lived one decides.

    To be called when the live ones are quiet: then the new ones have nothing to write either, and
    no deadline that the live ones would miss. (A live one may wake for a deadline that has become
    void, and do nothing.)
    """
    lived = list(live)
    due = [one.wake_at() for one in lived]
    if any(at is not None and at <= now for at in due):
        return []
    tx = store.fork(now)
    twins = [type(one).rebuild(store, now) for one in lived]
    reconcile(tx, now, [(twin, rng.child(type(twin).__name__)) for twin in twins])
    found = [
        Violation(
            "twins", f"a rebuilt reconciler writes {change.kind} {change.id}: {change.because}"
        )
        for change in tx.changes()
    ]
    for twin, at in zip(twins, due, strict=True):
        rebuilt = twin.wake_at()
        if rebuilt is not None and (at is None or rebuilt < at) and not found:
            name = type(twin).__name__
            found.append(Violation("twins", f"{name} wakes at {at}, rebuilt at {rebuilt}"))
    return found
