"""Subnets, addresses, ports and VXLAN ids that are leased and always come back.

Read in this order: ``ranges`` and ``serial`` (the two number structures underneath), ``pool``
(which subnet does a network get), ``subnet`` (which address does a task get), ``ports``, ``vxlan``,
``journal`` (how a refused change leaves nothing behind). Everything here is a plain, mutable,
synchronous class without clock, chance or I/O.
"""

from .cidr import check_ipam_config as check_ipam_config
from .errors import AddressesExhausted as AddressesExhausted
from .errors import AddressInUse as AddressInUse
from .errors import AddressOutOfRange as AddressOutOfRange
from .errors import InvalidPool as InvalidPool
from .errors import NotLeased as NotLeased
from .errors import PoolExhausted as PoolExhausted
from .errors import PoolOverlap as PoolOverlap
from .errors import PortInUse as PortInUse
from .errors import PortsExhausted as PortsExhausted
from .errors import VxlanIdsExhausted as VxlanIdsExhausted
from .journal import Journal as Journal
from .pool import DEFAULT_POOLS as DEFAULT_POOLS
from .pool import DEFAULT_SUBNET_SIZE as DEFAULT_SUBNET_SIZE
from .pool import AddressPool as AddressPool
from .pool import check_pools as check_pools
from .ports import Holder as Holder
from .ports import PortAllocator as PortAllocator
from .ports import PortLease as PortLease
from .subnet import Subnet as Subnet
from .vxlan import VxlanIds as VxlanIds

__all__ = [
    "AddressInUse",
    "AddressOutOfRange",
    "AddressPool",
    "AddressesExhausted",
    "DEFAULT_POOLS",
    "DEFAULT_SUBNET_SIZE",
    "Holder",
    "InvalidPool",
    "Journal",
    "NotLeased",
    "PoolExhausted",
    "PoolOverlap",
    "PortAllocator",
    "PortInUse",
    "PortLease",
    "PortsExhausted",
    "Subnet",
    "VxlanIds",
    "VxlanIdsExhausted",
    "check_ipam_config",
    "check_pools",
]
