"""Networks of the swarm: the subnet and VXLAN ids of a new one, and who has which address.

Only networks that span nodes are the managers' business; ``bridge``, ``host`` and the like live on
each node by themselves. A :class:`Book` is the cache of one network's leases: virtual addresses of
services, addresses of tasks, and an address for each node's load balancer. What is leased is what
the objects in the store say, and so is the place where the search goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.ipam import (
    AddressesExhausted,
    AddressInUse,
    AddressPool,
    Subnet,
    VxlanIds,
)
from pyswarm.model.objects import Network
from pyswarm.model.specs import IPAMConfig
from pyswarm.orchestrator.recent import Age, Recent
from pyswarm.store import Reader

LOCAL_DRIVERS = ("bridge", "host", "macvlan", "ipvlan", "null", "none")
"""Drivers whose networks each node makes for itself; the managers give no addresses there."""

VXLAN_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
"""Driver option, and key of the driver state: an overlay's VXLAN ids, one for each subnet."""


def is_managed(network: Network) -> bool:
    """Whether the managers give this network's addresses."""
    return network.spec.driver not in LOCAL_DRIVERS and not network.spec.config_from


def ingress_network(reader: Reader) -> Network | None:
    """The network of the routing mesh, if there is one."""
    for network in reader.networks():
        if network.spec.ingress:
            return network
    return None


def allocate_network(reader: Reader, network: Network) -> Network:
    """``network`` with its subnets, gateways and VXLAN ids, all of them free in ``reader``.

    Called inside the request that creates the network, so what cannot be served is refused at
    once. Subnets that the spec names are taken as they are; without one the network gets the
    lowest free subnet of the swarm's pools, and ``ingress`` the last.

    Raises:
        PoolExhausted: the pools have no free subnet; it names them.
        PoolOverlap: a subnet asked for overlaps another network's.
        InvalidArgument: a subnet, gateway, range or VXLAN id cannot be.
    """
    if not is_managed(network) or network.ipam:
        return network
    pool, ids = _leased(reader)
    wanted = network.spec.ipam.configs or (IPAMConfig(),)
    configs = tuple(_served(pool, config, network.spec.ingress) for config in wanted)
    state = dict(network.driver_state)
    if network.spec.driver == "overlay":
        state[VXLAN_OPTION] = _vxlan_ids(ids, network, len(configs))
    return attrs.evolve(network, ipam=configs, driver_state=state)


def _leased(reader: Reader) -> tuple[AddressPool, VxlanIds]:
    """The pools and VXLAN ids of the swarm without what its networks have."""
    swarm = reader.swarm
    pool = AddressPool(swarm.default_addr_pools, swarm.subnet_size or 24)
    ids = VxlanIds()
    for network in reader.networks():
        for config in network.ipam:
            if config.subnet:
                pool.allocate(config.subnet)
        fixed = VXLAN_OPTION in network.spec.driver_options
        for vxlan_id in _listed(network.driver_state):
            if vxlan_id in ids:
                continue  # several networks may have been given one id by name
            ids.allocate(vxlan_id)
            if not fixed:
                ids.search_after(vxlan_id)
    return pool, ids


def _served(pool: AddressPool, config: IPAMConfig, ingress: bool) -> IPAMConfig:
    if config.subnet:
        cidr = pool.allocate(config.subnet)
    else:
        cidr = pool.allocate_last() if ingress else pool.allocate()
    subnet = Subnet(cidr, config.gateway or None, config.range or None)
    return attrs.evolve(config, subnet=cidr, gateway=subnet.gateway)


def _vxlan_ids(ids: VxlanIds, network: Network, count: int) -> str:
    given = _listed(network.spec.driver_options)
    chosen = [ids.allocate(vxlan_id) for vxlan_id in given[:count]]
    chosen += [ids.allocate() for _ in range(count - len(chosen))]
    return ",".join(map(str, chosen))


def _listed(options: Mapping[str, str]) -> list[int]:
    text = options.get(VXLAN_OPTION, "")
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InvalidArgument(
            f"{VXLAN_OPTION} must be numbers separated by commas, not {text!r}"
        ) from None


class Book:
    """The leases of one network. A holder is a name, made from the kind and id of an object."""

    __slots__ = ("_families", "_held", "_recent", "id")

    def __init__(self, network: Network) -> None:
        self.id = network.id
        self._families: dict[bool, list[Subnet]] = {}  # IPv6 or not, IPv4 first
        for config in sorted(network.ipam, key=lambda config: ":" in config.subnet):
            subnet = Subnet(config.subnet, config.gateway or None, config.range or None)
            self._families.setdefault(":" in config.subnet, []).append(subnet)
        self._held: dict[str, tuple[str, ...]] = {}
        self._recent: Recent[tuple[str, ...]] = Recent()

    def restore(self, holder: str, age: Age, addresses: Sequence[str], *, leased: bool) -> None:
        """What an object in the store says it has; an ended task has no lease any more."""
        if not addresses:
            return
        self._recent.set(holder, age, tuple(addresses))
        if leased and holder not in self._held:
            for address in addresses:
                self._subnet_of(address).allocate(address)
            self._held[holder] = tuple(addresses)

    def holds(self, holder: str) -> bool:
        """Whether the holder has addresses here."""
        return holder in self._held

    def give(
        self, holder: str, age: Age, wanted: Sequence[str] = (), *, first_only: bool = False
    ) -> tuple[str, ...]:
        """Addresses for a holder, one of each family of the network, with the prefix.

        ``wanted`` asks for some by name; ``first_only`` gives one address only.

        Raises:
            AddressesExhausted, AddressInUse, AddressOutOfRange: none is given then.
        """
        assert holder not in self._held, f"{holder} has an address of {self.id} already"
        found: list[str] = []
        try:
            for family, subnets in self._families.items():
                names = [text for text in wanted if (":" in text) is family]
                found.append(self._one(subnets, names))
                if first_only:
                    break
        except (AddressesExhausted, AddressInUse, InvalidArgument):
            for address in found:
                self._subnet_of(address).release(address)
            raise
        self._held[holder] = tuple(found)
        self._recent.set(holder, age, self._held[holder])
        return self._held[holder]

    def release(self, holder: str) -> bool:
        """The addresses are free; the object that had them is still there. True if it had any."""
        addresses = self._held.pop(holder, ())
        for address in addresses:
            self._subnet_of(address).release(address)
        return bool(addresses)

    def forget(self, holder: str) -> bool:
        """The holder is gone, or has nothing here any more. True if it had addresses."""
        self._recent.drop(holder)
        return self.release(holder)

    def _one(self, subnets: list[Subnet], names: Sequence[str]) -> str:
        if names:
            subnet = self._subnet_of(names[0])
            return subnet.with_prefix(subnet.allocate(names[0]))
        _search_from(subnets, self._recent.last() or ())
        for subnet in subnets[:-1]:
            try:
                return subnet.with_prefix(subnet.allocate())
            except AddressesExhausted:
                continue
        return subnets[-1].with_prefix(subnets[-1].allocate())

    def _subnet_of(self, address: str) -> Subnet:
        every = [subnet for subnets in self._families.values() for subnet in subnets]
        for subnet in every:
            if _lies_in(subnet, address):
                return subnet
        return every[0]  # which refuses it by name


def _search_from(subnets: Sequence[Subnet], last: Sequence[str]) -> None:
    """Let the search in each subnet start after the last address given there."""
    family = ":" in subnets[0].cidr
    last = [address for address in last if (":" in address) is family]
    if last and len(subnets) == 1:
        subnets[0].search_after(last[0])
        return
    for subnet in subnets:
        subnet.search_after(subnet.cidr.partition("/")[0])
        for address in last:
            if _lies_in(subnet, address):
                subnet.search_after(address)


def _lies_in(subnet: Subnet, address: str) -> bool:
    try:
        _ = address in subnet
    except InvalidArgument:
        return False
    return True
