"""What can be refused when numbers are leased. The sentences are Docker's where Docker has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)


class InvalidPool(InvalidArgument):
    """A default address pool or its subnet size cannot be used."""


class PoolExhausted(ResourceExhausted):
    """No pool has a free subnet left; ``details`` name the pools and the subnet size."""

    def __init__(self, pools: Sequence[str], subnet_size: int) -> None:
        super().__init__(
            "all predefined address pools have been fully subnetted "
            f"({', '.join(pools)} in subnets of /{subnet_size})",
            hint="remove a network that is not used, or give the new one a subnet of its own",
            details={"pools": list(pools), "subnet_size": subnet_size},
        )


class PoolOverlap(FailedPrecondition):
    """The subnet asked for overlaps one that is leased; ``details`` name both."""

    def __init__(self, subnet: str, other: str) -> None:
        super().__init__(
            "invalid pool request: Pool overlaps with other one on this address space",
            hint=f"{subnet} overlaps {other}, which is in use: choose another subnet",
            details={"subnet": subnet, "overlaps": other},
        )


class AddressesExhausted(ResourceExhausted):
    """Every address of the subnet (or of its range) is leased."""

    def __init__(self, subnet: str) -> None:
        super().__init__(
            "no available addresses on this pool",
            hint=f"all addresses of {subnet} are in use: create a network with a larger subnet",
            details={"subnet": subnet},
        )


class AddressInUse(AlreadyExists):
    """The address asked for is leased or reserved (network, broadcast, gateway)."""

    def __init__(self, address: str, subnet: str) -> None:
        super().__init__("Address already in use", details={"address": address, "subnet": subnet})


class AddressOutOfRange(InvalidArgument):
    """The address asked for does not lie in the subnet."""

    def __init__(self, address: str, subnet: str) -> None:
        super().__init__(
            "requested address is out of range", details={"address": address, "subnet": subnet}
        )


class NotLeased(NotFound):
    """What was to be given back is not leased: it came back before, or was never given."""


PublishMode = Literal["ingress", "host"]
_AS = {"ingress": "as an ingress port", "host": "as a host-published port"}


class PortInUse(InvalidArgument):
    """The published port belongs to another service, which is named."""

    def __init__(
        self, port: int, protocol: str, name: str, id: str, mode: PublishMode = "ingress"
    ) -> None:
        super().__init__(
            f"port '{port}' is already in use by service '{name}' ({id}) {_AS[mode]}",
            hint="publish another port, or none to have one chosen",
            details={"port": port, "protocol": protocol, "service": name, "service_id": id},
        )


class PortsExhausted(ResourceExhausted):
    """Every port of the dynamic range is published."""

    def __init__(self, protocol: str, low: int, high: int) -> None:
        super().__init__(
            f"no {protocol} port between {low} and {high} is free",
            hint="remove a published port, or publish one outside this range by its number",
            details={"protocol": protocol, "low": low, "high": high},
        )


class VxlanIdsExhausted(ResourceExhausted):
    """Every VXLAN id is in use."""

    def __init__(self) -> None:
        super().__init__("no VXLAN id is free", hint="remove a network that is not used")
