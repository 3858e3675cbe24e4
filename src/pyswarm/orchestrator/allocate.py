"""The allocator: services get virtual addresses and ports, tasks and load balancers addresses.

A service is given its endpoint first: in ``vip`` mode a virtual address on each network it uses
(ingress first, if a port is published there), and its published ports. Then its NEW tasks are given
an address on each network and become PENDING, which is what the scheduler waits for. A node gets an
address for its load balancer on ingress, and on each network that a task on it uses. Networks get
their subnets inside the request that creates them (:class:`~.leases.Leases`).

Everything is released when its holder ends or goes: a task's addresses when it is observed past
RUNNING. What could not be had is tried again when something is released where it was missing.

The books kept here are a cache of what the objects say; where a search goes on is derived from the
most recently created holder (``recent``), so a new leader gives the same addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.model.objects import (
    Endpoint,
    Network,
    NetworkAttachment,
    Node,
    Service,
    Task,
    VirtualIP,
)
from pyswarm.model.replace import replace
from pyswarm.model.specs import NetworkAttachmentConfig
from pyswarm.model.states import EndpointMode, TaskState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.leases import Leases
from pyswarm.orchestrator.networks import Book as Book
from pyswarm.orchestrator.networks import is_managed
from pyswarm.orchestrator.ports import Ports, is_ingress
from pyswarm.orchestrator.reasons import because
from pyswarm.orchestrator.recent import Age
from pyswarm.orchestrator.task import endpoint_spec
from pyswarm.store import Change, Reader, Transaction

PENDING_MESSAGE = "pending task scheduling"

Missing = tuple[str, str]
"""What somebody waits for: a network or service by id, or a free port, subnet, or ingress."""

_PORTS: Missing = ("ports", "")
_POOLS: Missing = ("pools", "")
_INGRESS: Missing = ("network", "")


class Allocator:
    """Gives addresses and ports, and takes them back."""

    __slots__ = (
        "_books",
        "_dirty",
        "_ingress",
        "_nodes_on",
        "_ports",
        "_stuck",
        "_tasks",
        "_users",
        "leases",
    )

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}  # by network
        self._ingress: str = ""  # the ingress network's id
        self._ports = Ports()
        self._users: dict[str, dict[str, int]] = {}  # node -> network -> tasks that use it there
        self._nodes_on: dict[str, dict[str, None]] = {}  # network -> nodes where tasks use it
        self.leases = Leases()
        """What requests ask: the subnets and published ports that are taken."""
        # What to look at, by kind, in the order in which the kinds are served.
        self._dirty: dict[str, dict[str, None]] = {
            kind: {} for kind in ("network", "service", "node", "task")
        }
        self._tasks: Backlog[Age] = Backlog()  # the dirty tasks in the order they are served
        self._stuck: dict[Missing, dict[tuple[str, str], None]] = {}

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Allocator:
        """Taking office: first what everybody has, then what is missing."""
        self = cls()
        self.leases = Leases.rebuild(view)
        for network in view.networks():
            self._saw_network(None, network)
        for service in view.services():
            self._restore_service(service)
            self._dirty["service"][service.id] = None
        for node in view.nodes():
            self._restore_node(node)
            self._dirty["node"][node.id] = None
        for task in view.tasks():
            self._restore_task(task)
            self._count(task, 1)
            if task.state is TaskState.NEW:
                self._dirty["task"][task.id] = None
        return self

    def wake_at(self) -> float | None:
        """Due at once while work is left over for lack of room."""
        return 0.0 if self._tasks or any(self._dirty.values()) else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Take back what changed hands, then serve networks, services, nodes and tasks."""
        self.leases.follow(tx)
        for change in changed:
            if change.kind == "task":
                self._saw_task(change.old, change.new)
            elif change.kind == "service":
                self._saw_service(change)
            elif change.kind == "node":
                self._saw_node(change)
            elif change.kind == "network":
                self._saw_network(change.old, change.new)
        self._serve_networks(tx)
        self._serve_all(tx, "service", self._serve_service)
        self._serve_all(tx, "node", self._serve_node)
        self._serve_tasks(tx)

    # -- what changed

    def _saw_network(self, old: Network | None, new: Network | None) -> None:
        if new is None:
            assert old is not None
            self._books.pop(old.id, None)
            if self._ingress == old.id:
                self._ingress = ""
                self._dirty["node"].update(dict.fromkeys(self._users))
            self._dirty["node"].update(self._nodes_on.get(old.id, ()))
            self._wake(_POOLS)
        elif is_managed(new):
            if new.id not in self._books and new.ipam:
                self._books[new.id] = Book(new)
                if new.spec.ingress:
                    self._ingress = new.id
                    self._dirty["node"].update(dict.fromkeys(self._users))
                    self._wake(_INGRESS)
                self._wake(("network", new.id))
            elif not new.ipam:
                self._dirty["network"][new.id] = None
        elif old is None:
            self._wake(("network", new.id))

    def _saw_service(self, change: Change) -> None:
        if change.new is not None:
            self._dirty["service"][change.id] = None
            return
        self._dirty["service"].pop(change.id, None)
        self._stuck.pop(("service", change.id), None)
        if self._ports.release(change.id):
            self._wake(_PORTS)
        for vip in _vips(change.old):
            self._forget(vip.network_id, f"service {change.id}")

    def _saw_node(self, change: Change) -> None:
        if change.new is not None:
            self._users.setdefault(change.id, {})
            self._dirty["node"][change.id] = None
            return
        self._dirty["node"].pop(change.id, None)
        if not self._users.get(change.id):
            self._users.pop(change.id, None)
        for attachment in change.old.attachments:
            self._forget(attachment.network_id, f"node {change.id}")

    def _saw_task(self, old: Task | None, new: Task | None) -> None:
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)
            if new.state is TaskState.NEW:
                self._dirty["task"][new.id] = None
        if old is None or not old.networks:
            return
        for attachment in old.networks:
            if new is None:
                self._forget(attachment.network_id, f"task {old.id}")
            elif new.state > TaskState.RUNNING:
                book = self._books.get(attachment.network_id)
                if book is not None and book.release(f"task {old.id}"):
                    self._wake(("network", attachment.network_id))

    def _forget(self, network_id: str, holder: str) -> None:
        book = self._books.get(network_id)
        if book is not None and book.forget(holder):
            self._wake(("network", network_id))

    def _count(self, task: Task, by: int) -> None:
        """Keep the number of tasks that use a network on a node."""
        if not task.node_id or not task.networks or task.state > TaskState.RUNNING:
            return
        users = self._users.setdefault(task.node_id, {})
        for attachment in task.networks:
            before = users.get(attachment.network_id, 0)
            users[attachment.network_id] = before + by
            if before == 0 or before + by == 0:
                self._dirty["node"][task.node_id] = None
            if before == 0:
                self._nodes_on.setdefault(attachment.network_id, {})[task.node_id] = None
            if before + by == 0:
                del users[attachment.network_id]
                self._leave(attachment.network_id, task.node_id)

    def _leave(self, network_id: str, node_id: str) -> None:
        nodes = self._nodes_on[network_id]
        del nodes[node_id]
        if not nodes:
            del self._nodes_on[network_id]

    def _wake(self, missing: Missing) -> None:
        for kind, id in self._stuck.pop(missing, ()):
            self._dirty[kind][id] = None

    def _wait(self, missing: Missing, kind: str, id: str) -> None:
        self._stuck.setdefault(missing, {})[kind, id] = None

    # -- what everybody has

    def _restore_service(self, service: Service) -> None:
        self._ports.restore(service, _age(service))
        for vip in _vips(service):
            book = self._books.get(vip.network_id)
            if book is not None:
                holder = f"service {service.id}"
                book.restore(holder, _age(service), (vip.address,), leased=True)

    def _restore_node(self, node: Node) -> None:
        self._users.setdefault(node.id, {})
        for attachment in node.attachments:
            book = self._books.get(attachment.network_id)
            if book is not None:
                book.restore(f"node {node.id}", _age(node), attachment.addresses, leased=True)

    def _restore_task(self, task: Task) -> None:
        for attachment in task.networks:
            book = self._books.get(attachment.network_id)
            if book is not None:
                leased = task.state <= TaskState.RUNNING
                book.restore(f"task {task.id}", _age(task), attachment.addresses, leased=leased)

    # -- what is missing

    def _serve_networks(self, tx: Transaction) -> None:
        """Networks that were created without their subnet; requests allocate it themselves."""
        for network_id in sorted(self._dirty["network"]):
            if tx.room <= 0:
                return
            del self._dirty["network"][network_id]
            network = tx.network(network_id)
            if network is None or network.ipam:
                continue
            try:
                served = self.leases.allocate(tx, network)
            except SwarmError:
                self._wait(_POOLS, "network", network_id)
                continue
            self._saw_network(network, tx.update(served, because("network-allocated")))

    def _serve_all(
        self, tx: Transaction, kind: str, serve: Callable[[Transaction, Any], None]
    ) -> None:
        while tx.room > 0 and self._dirty[kind]:  # serving one may free what another needs
            for one in sorted(self._take(kind, tx), key=_age):
                if tx.room <= 0:
                    self._dirty[kind][one.id] = None
                else:
                    serve(tx, one)

    def _serve_service(self, tx: Transaction, service: Service) -> None:
        """Bring the service's endpoint in line with its spec, if everything can be had."""
        wanted = self._vip_networks(tx, service)
        if wanted is None:
            return
        before = _vips(service)
        spec = endpoint_spec(service)
        known = service.endpoint
        same = known is not None and known.spec == spec
        if known is None and not wanted and not spec.ports:
            same = True  # nothing is to be allocated, and never was
        if same and [vip.network_id for vip in before] == wanted:
            self._wake(("service", service.id))  # it may have asked for more meanwhile
            return
        holder = f"service {service.id}"
        vips: list[VirtualIP] = []
        given: list[Book] = []
        kept = {vip.network_id: vip for vip in before}
        try:
            for network_id in wanted:
                if network_id in kept:
                    vips.append(kept[network_id])
                    continue
                missing: Missing = ("network", network_id)
                book = self._books.get(network_id)
                if book is None:  # a node's own network
                    vips.append(VirtualIP(network_id, ""))
                    continue
                (address, *_) = book.give(holder, _age(service), first_only=True)
                given.append(book)
                vips.append(VirtualIP(network_id, address))
            missing = _PORTS
            ports = self._ports.give(service, _age(service))
        except SwarmError:
            for book in given:
                book.forget(holder)
            self._wait(missing, "service", service.id)
            return
        for network_id in kept:
            if network_id not in wanted:
                self._forget(network_id, holder)
        if known is not None and any(map(is_ingress, known.ports)):
            self._wake(_PORTS)
        endpoint = Endpoint(spec=spec, ports=ports, virtual_ips=tuple(vips))
        tx.update(replace(service, endpoint=endpoint), because("endpoint-allocated"))
        self._wake(("service", service.id))

    def _vip_networks(self, tx: Transaction, service: Service) -> list[str] | None:
        """The networks on which the service has a virtual address, and those of a node's own,
        where it has none; None while one is missing."""
        spec = endpoint_spec(service)
        if spec.mode is not EndpointMode.VIP:
            return []
        wanted: list[str] = []
        if any(map(is_ingress, spec.ports)):
            if not self._ingress:
                self._wait(_INGRESS, "service", service.id)
                return None
            wanted.append(self._ingress)
        for config in service.spec.task.networks:
            network = tx.network(config.target)
            if network is None or (is_managed(network) and network.id not in self._books):
                self._wait(("network", config.target), "service", service.id)
                return None
            if network.id not in wanted:
                wanted.append(network.id)
        return wanted

    def _serve_node(self, tx: Transaction, node: Node) -> None:
        """Bring the addresses of the node's load balancers in line with its tasks."""
        wanted = dict.fromkeys([self._ingress] if self._ingress else [])
        used = sorted(id for id in self._users.get(node.id, {}) if id in self._books)
        wanted.update(dict.fromkeys(used))
        have = {attachment.network_id: attachment for attachment in node.attachments}
        if have.keys() == wanted.keys():
            return
        holder = f"node {node.id}"
        for network_id in have:
            if network_id not in wanted:
                self._forget(network_id, holder)
        attachments = [have[id] for id in have if id in wanted]
        for network_id in wanted:
            if network_id in have:
                continue
            try:
                addresses = self._books[network_id].give(holder, _age(node))
            except SwarmError:
                self._wait(("network", network_id), "node", node.id)
                continue
            attachments.append(NetworkAttachment(network_id, addresses))
        tx.update(replace(node, attachments=tuple(attachments)), because("balancer-address"))

    def _serve_tasks(self, tx: Transaction) -> None:
        self._tasks.update(_age(task) for task in self._take("task", tx))
        while tx.room > 0 and (age := self._tasks.pop()) is not None:
            task = tx.task(age[-1])
            if task is None or task.state is not TaskState.NEW:
                continue
            if task.desired_state < TaskState.SHUTDOWN:
                self._serve_task(tx, task)

    def _take(self, kind: str, tx: Transaction) -> list[Any]:
        """The objects of a kind to be looked at now, as far as they are still there."""
        found = [obj for id in self._dirty[kind] if (obj := tx.get(kind, id)) is not None]
        self._dirty[kind] = {}
        return found

    def _serve_task(self, tx: Transaction, task: Task) -> None:
        """Address the task and hand it to the scheduler, if everything can be had."""
        endpoint = task.endpoint
        service = tx.service(task.service_id) if task.service_id else None
        if service is None and task.service_id:
            return  # the reaper's
        if service is not None:
            if not self._is_served(tx, service):
                self._wait(("service", service.id), "task", task.id)
                return
            if service.endpoint is not None and task.spec_version == service.spec_version:
                endpoint = service.endpoint
        attachments = self._attach(tx, task, endpoint)
        if attachments is None:
            return
        addressed = replace(
            task,
            state=TaskState.PENDING,
            message=PENDING_MESSAGE,
            status_at=tx.now,
            networks=attachments,
            endpoint=endpoint,
        )
        tx.update(addressed, because("addressed"))

    def _is_served(self, tx: Transaction, service: Service) -> bool:
        """Whether the service has everything that its spec asks for."""
        if service.endpoint is None:
            return not endpoint_spec(service).ports and self._vip_networks(tx, service) == []
        if service.endpoint.spec != endpoint_spec(service):
            return False
        return [vip.network_id for vip in service.endpoint.virtual_ips] == (
            self._vip_networks(tx, service)
        )

    def _attach(
        self, tx: Transaction, task: Task, endpoint: Endpoint | None
    ) -> tuple[NetworkAttachment, ...] | None:
        """Addresses on all the task's networks, or None while some cannot be had."""
        configs = task.spec.networks
        spec = endpoint.spec if endpoint is not None else None
        if spec is not None and spec.mode is EndpointMode.VIP and any(map(is_ingress, spec.ports)):
            configs = (NetworkAttachmentConfig(self._ingress), *configs)
        if not configs:
            return ()
        holder = f"task {task.id}"
        age = _age(task)
        attachments: list[NetworkAttachment] = []
        given: dict[str, Book] = {}
        for config in configs:
            network = tx.network(config.target)
            book = self._books.get(config.target)
            addresses: tuple[str, ...] = ()
            try:
                if network is None or (book is None and is_managed(network)):
                    raise SwarmError(f"network {config.target} is missing")
                if book is not None and config.target not in given:
                    addresses = book.give(holder, age, config.addresses)
                    given[config.target] = book
            except SwarmError:
                for taken in given.values():
                    taken.forget(holder)
                self._wait(("network", config.target), "task", task.id)
                return None
            attachments.append(NetworkAttachment(config.target, addresses, config.aliases))
        return tuple(attachments)


def _vips(service: Service) -> tuple[VirtualIP, ...]:
    return service.endpoint.virtual_ips if service.endpoint is not None else ()


def _age(holder: Service | Node | Task) -> Age:
    """When the holder was created, and its place among those of the same moment."""
    if isinstance(holder, Task):
        # Not its node: most tasks get one later, and their place must not move.
        return (holder.created_at, 2, holder.service_id, holder.slot, holder.id)
    kind = 0 if isinstance(holder, Service) else 1
    return (holder.created_at, kind, holder.id, 0, "")


__all__ = ["Allocator", "Book"]
