"""Networks of the swarm: which are the managers' business, and who has which address.

Only networks that span nodes are the managers' business; ``bridge``, ``host`` and the like live on
each node by themselves. A :class:`Book` is the cache of one network's leases: virtual addresses of
services, addresses of tasks, and an address for each node's load balancer. What is leased is what
the objects in the store say, and so is the place where the search goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.errors import InvalidArgument
from pyswarm.ipam import AddressesExhausted, AddressInUse, Subnet
from pyswarm.model.objects import Network
from pyswarm.orchestrator.recent import Age, Recent

LOCAL_DRIVERS = ("bridge", "host", "macvlan", "ipvlan", "null", "none")
"""Drivers whose networks each node makes for itself; the managers give no addresses there."""

VXLAN_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
"""Driver option, and key of the driver state: an overlay's VXLAN ids, one for each subnet."""


def is_managed(network: Network) -> bool:
    """Whether the managers give this network's addresses."""
    return network.spec.driver not in LOCAL_DRIVERS and not network.spec.config_from


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
