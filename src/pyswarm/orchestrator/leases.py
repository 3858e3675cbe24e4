"""What the swarm's networks and services have taken: subnets, VXLAN ids, published ports.

A request that creates a network or publishes a port must know at once what is free, so the leader
keeps :class:`Leases` all through its office instead of reading every network for each new one. They
are a cache (law 15) with one way in: the log of writes of the turn that is open. Before they answer
they catch up with it; what a refused request wrote is taken back with it (``Transaction.follow``),
by the journal that pool and ids share. Choosing a subnet leases nothing: the network that is
written then does.

When another turn begins, the one before is in the store or was dropped: the version on which the
new turn is based tells which, and its leases stand or are taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.ipam import DEFAULT_POOLS, DEFAULT_SUBNET_SIZE, AddressPool, Journal, Subnet, VxlanIds
from pyswarm.model.objects import Network, Swarm
from pyswarm.model.specs import IPAMConfig, ServiceSpec
from pyswarm.orchestrator.networks import VXLAN_OPTION, is_managed
from pyswarm.orchestrator.ports import Published, check_ports, published_ports
from pyswarm.orchestrator.recent import Recent
from pyswarm.store import Change, Reader, Transaction


class Leases:
    """The subnets, VXLAN ids and published ports in use, as an open turn has them."""

    __slots__ = (
        "_base",
        "_ids",
        "_ingress",
        "_journal",
        "_marks",
        "_pool",
        "_position",
        "_published",
        "_recent",
        "_shared",
        "_tx",
    )

    def __init__(self) -> None:
        self._journal = Journal()
        self._pool: AddressPool | None = None  # none before there is a swarm
        self._ids = VxlanIds(journal=self._journal)
        self._shared: dict[int, int] = {}  # VXLAN id -> networks that have it beside the first
        self._recent: Recent[int] = Recent()  # by network: the last id that was chosen for it
        self._published = Published()
        self._ingress: dict[str, None] = {}  # the ids of ingress networks: one, or none
        self._tx: Transaction | None = None
        self._base = 0  # where in the turn's log these leases began
        self._position = 0  # how much of the turn's log is in here
        self._marks: list[tuple[int, int]] = []  # (place in the log, journal's mark before it)

    @classmethod
    def rebuild(cls, view: Reader) -> Leases:
        """What the objects of ``view`` have; an open transaction is followed from where it is."""
        self = cls()
        for kind in ("swarm", "network", "service"):
            for obj in view.all(kind):
                self._saw(kind, None, obj)
        if isinstance(view, Transaction):
            self._begin(view, view.mark())
        return self

    # -- questions

    def allocate(self, tx: Transaction, network: Network) -> Network:
        """``network`` with its subnets, gateways and VXLAN ids, all of them free in ``tx``.

        Called inside the request that creates the network, so what cannot be served is refused
        at once. Subnets that the spec names are taken as they are; without one the network gets
        the lowest free subnet of the swarm's pools, and ``ingress`` the last.

        Raises:
            PoolExhausted: the pools have no free subnet; it names them.
            PoolOverlap: a subnet asked for overlaps another network's.
            InvalidArgument: a subnet, gateway, range or VXLAN id cannot be.
        """
        if not is_managed(network) or network.ipam:
            return network
        self.follow(tx)
        assert self._pool is not None, "no swarm object yet"
        wanted = network.spec.ipam.configs or (IPAMConfig(),)
        state = dict(network.driver_state)
        mark = self._journal.checkpoint()
        try:
            configs = tuple(_served(self._pool, one, network.spec.ingress) for one in wanted)
            if network.spec.driver == "overlay":
                state[VXLAN_OPTION] = self._vxlan_ids(network, len(configs))
        finally:
            self._journal.rollback(mark)
        return attrs.evolve(network, ipam=configs, driver_state=state)

    def check_ports(self, tx: Transaction, spec: ServiceSpec, service_id: str) -> None:
        """Refuse published ports of other services; see :func:`.ports.check_ports`."""
        self.follow(tx)
        check_ports(tx, self._published, spec, service_id)

    def ingress(self, tx: Transaction) -> str:
        """The id of the ingress network; empty when there is none."""
        self.follow(tx)
        return next(iter(self._ingress), "")

    # -- the log of the open turn

    def follow(self, tx: Transaction) -> None:
        """Take in what ``tx`` has written so far; the turn before stands or is taken back."""
        if tx is not self._tx:
            self._end(tx)
            self._begin(tx, 0)
        self._catch_up(tx)

    def undo(self, tx: Transaction, mark: int) -> None:
        """``tx`` was rolled back to ``mark``: so are the leases."""
        if tx is not self._tx or mark >= self._position:
            return
        assert mark >= self._base, "rolled back to before these leases were made"
        while self._marks and self._marks[-1][0] >= mark:
            self._journal.rollback(self._marks.pop()[1])
        self._position = mark

    def _begin(self, tx: Transaction, position: int) -> None:
        self._tx, self._base, self._position = tx, position, position
        self._marks.clear()
        self._journal.commit()
        self._journal.checkpoint()
        tx.follow(self)

    def _end(self, next_: Transaction) -> None:
        last = self._tx
        if last is None:
            return
        if next_.based_on >= last.version and not last.is_fork:
            self._catch_up(last)
        else:
            self.undo(last, self._base)

    def _catch_up(self, tx: Transaction) -> None:
        if self._position == tx.mark():
            return
        for place, change in enumerate(tx.changes_since(self._position), self._position):
            if change[0] in ("network", "service", "swarm"):
                self._take_in(place, change)
        self._position = tx.mark()

    def _take_in(self, place: int, change: Change) -> None:
        mark = len(self._journal)
        self._saw(change.kind, change.old, change.new)
        if len(self._journal) > mark:
            self._marks.append((place, mark))

    # -- what changed

    def _saw(self, kind: str, old: Any, new: Any) -> None:
        if kind == "service":
            self._saw_service(old, new)
        elif kind == "network":
            if old is not None and new is not None and old.ipam == new.ipam:
                return
            if old is not None:
                self._release(old)
            if new is not None:
                self._lease(new)
        elif new is not None:
            self._saw_swarm(new)

    def _saw_swarm(self, swarm: Swarm) -> None:
        pools = tuple(swarm.default_addr_pools) or DEFAULT_POOLS
        size = swarm.subnet_size or DEFAULT_SUBNET_SIZE
        before = self._pool
        if before is not None and (before.pools, before.subnet_size) == (pools, size):
            return
        self._pool = AddressPool(pools, size, journal=self._journal)
        for subnet in before or ():
            self._pool.allocate(subnet)
        self._journal.note(setattr, self, "_pool", before)

    def _saw_service(self, old: Any, new: Any) -> None:
        before = published_ports(old) if old is not None else ()
        after = published_ports(new) if new is not None else ()
        if before == after:
            return
        some = new if new is not None else old
        who = (some.created_at, some.id)
        self._published.move(who, before, after)
        self._journal.note(self._published.move, who, after, before)

    def _lease(self, network: Network) -> None:
        if network.spec.ingress:
            self._ingress[network.id] = None
            self._journal.note(self._ingress.pop, network.id)
        for config in network.ipam:
            if config.subnet:
                assert self._pool is not None, "a network before its swarm"
                self._pool.allocate(config.subnet)
        ids = _listed(network.driver_state)
        for vxlan_id in ids:
            if vxlan_id in self._ids:  # several networks may have been given one id by name
                self._share(vxlan_id, 1)
                self._journal.note(self._share, vxlan_id, -1)
            else:
                self._ids.allocate(vxlan_id)
        if ids and VXLAN_OPTION not in network.spec.driver_options:
            age = (network.created_at, 0, "", ids[-1], network.id)
            self._recent.set(network.id, age, ids[-1])
            self._journal.note(self._recent.drop, network.id)

    def _release(self, network: Network) -> None:
        if network.spec.ingress:
            self._ingress.pop(network.id)
            self._journal.note(self._ingress.__setitem__, network.id, None)
        for config in network.ipam:
            if config.subnet:
                assert self._pool is not None
                self._pool.release(config.subnet)
        ids = _listed(network.driver_state)
        for vxlan_id in ids:
            if vxlan_id in self._shared:
                self._share(vxlan_id, -1)
                self._journal.note(self._share, vxlan_id, 1)
            else:
                self._ids.release(vxlan_id)
        if ids and VXLAN_OPTION not in network.spec.driver_options:
            age = (network.created_at, 0, "", ids[-1], network.id)
            self._recent.drop(network.id)
            self._journal.note(self._recent.set, network.id, age, ids[-1])

    def _share(self, vxlan_id: int, by: int) -> None:
        count = self._shared.pop(vxlan_id, 0) + by
        if count:
            self._shared[vxlan_id] = count

    def _vxlan_ids(self, network: Network, count: int) -> str:
        given = _listed(network.spec.driver_options)
        chosen = [self._ids.allocate(vxlan_id) for vxlan_id in given[:count]]
        last = self._recent.last()
        self._ids.search_after(last if last is not None else 0)
        chosen += [self._ids.allocate() for _ in range(count - len(chosen))]
        return ",".join(map(str, chosen))


def _served(pool: AddressPool, config: IPAMConfig, ingress: bool) -> IPAMConfig:
    if config.subnet:
        cidr = pool.allocate(config.subnet)
    else:
        cidr = pool.allocate_last() if ingress else pool.allocate()
    subnet = Subnet(cidr, config.gateway or None, config.range or None)
    return attrs.evolve(config, subnet=cidr, gateway=subnet.gateway)


def _listed(options: Mapping[str, str]) -> list[int]:
    text = options.get(VXLAN_OPTION, "")
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InvalidArgument(
            f"{VXLAN_OPTION} must be numbers separated by commas, not {text!r}"
        ) from None
