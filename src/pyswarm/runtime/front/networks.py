"""Networks: a name, a subnet out of the pools, and who uses them."""

from __future__ import annotations

from typing import Any

from pyswarm.errors import InvalidArgument
from pyswarm.model import IPAMConfig, IPAMOptions, Network, NetworkSpec
from pyswarm.model.requests import CreateNetwork, RemoveNetwork
from pyswarm.runtime.front.handles import Collection, Handle


class NetworkHandle(Handle[Network]):
    """One network. Networks cannot be changed, only removed."""

    kind = "network"

    @property
    def subnets(self) -> tuple[str, ...]:
        """The subnets it was given, as CIDR."""
        return tuple(config.subnet for config in self.value.ipam)

    async def remove(self) -> None:
        """Remove it; refused (``FailedPrecondition``) while a service or task uses it."""
        await self._member.request(RemoveNetwork(self.id))


class Networks(Collection[NetworkHandle]):
    """``cluster.networks``."""

    handle = NetworkHandle

    async def create(
        self,
        spec: NetworkSpec | str,
        *,
        subnet: str = "",
        gateway: str = "",
        ip_range: str = "",
        **fields: Any,
    ) -> NetworkHandle:
        """Create a network from a spec, or from a name and fields of ``NetworkSpec``.

        Without a ``subnet`` it gets the next free one of the pools. Raises ``InvalidArgument`` (bad
        name or CIDR, subnet in use), ``AlreadyExists``, ``PoolExhausted``.
        """
        if isinstance(spec, str):
            if subnet or gateway or ip_range:
                config = IPAMConfig(subnet=subnet, gateway=gateway, range=ip_range)
                fields["ipam"] = IPAMOptions(configs=(config,))
            spec = network_spec(spec, fields)
        elif fields or subnet or gateway or ip_range:
            raise InvalidArgument("give a spec, or a name and fields, not both")
        return self._wrap(await self._member.request(CreateNetwork(spec)))


def network_spec(name: str, fields: dict[str, Any]) -> NetworkSpec:
    """A spec from keyword arguments; an unknown one is refused by name."""
    try:
        return NetworkSpec(name=name, **fields)
    except TypeError as problem:
        raise InvalidArgument(f"network {name}: {problem}") from None
