"""Which address does a task get?

The gateway has the lowest host address (of the range, where one is given), or the one that is said;
from there addresses are handed out serially (see ``serial``). The network's own address and IPv4's
broadcast address are reserved, except where a subnet is too small to have them (/31, /32, /127,
/128; RFC 3021, RFC 6164). A range limits what is handed out by turn; an address asked for by name
may lie outside it.

The cursor is not stored anywhere: whoever rebuilds a subnet gives the addresses in use in the order
in which their holders were created, and the search goes on after the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from .cidr import IPV4_BITS, check_ipam_config, format_address, parse_address, parse_cidr
from .errors import AddressesExhausted, AddressInUse, AddressOutOfRange, NotLeased
from .journal import Journal
from .serial import Serial


class Subnet:
    """Leases the addresses of one subnet. Addresses are text, without or with the prefix.

    Only the addresses in use take memory, whatever the size of the subnet.

    Raises:
        InvalidArgument: subnet, gateway or range is no such thing, or not inside the subnet.
        AddressInUse: the gateway given is the network's or the broadcast address.
    """

    __slots__ = ("_base", "_bits", "_fixed", "_prefix", "_serial", "_size", "cidr", "gateway")

    def __init__(
        self,
        cidr: str,
        gateway: str | None = None,
        range: str | None = None,
        *,
        journal: Journal | None = None,
    ) -> None:
        check_ipam_config(cidr, gateway, range)
        self._bits, self._base, self._prefix = parse_cidr(cidr)
        self._size = 1 << (self._bits - self._prefix)
        self.cidr = f"{format_address(self._bits, self._base)}/{self._prefix}"
        low, high = self._window(range)
        self._serial = Serial(low, high, journal)
        self._fixed = self._reserved()
        if gateway:
            offset = self._offset(gateway)
        else:
            least = 1 if self._size > 2 else 0
            begin = (one for one in (low, low + 1) if one < high and one not in self._fixed)
            offset = next(begin, least)
        if offset in self._fixed:
            raise AddressInUse(gateway or "", self.cidr)
        self._fixed = (*self._fixed, offset)
        for reserved in self._fixed:
            self._serial.take(reserved)
        self.gateway = format_address(self._bits, self._base + offset)

    def allocate(self, address: str | None = None) -> str:
        """The next free address, or the one asked for.

        Raises:
            AddressesExhausted: no address is free.
            AddressInUse: the one asked for is leased or reserved.
            AddressOutOfRange: it is not in this subnet.
        """
        if address is None:
            found = self._serial.take_next()
            if found is None:
                raise AddressesExhausted(self.cidr)
            return format_address(self._bits, self._base + found)
        offset = self._offset(address)
        if not self._serial.take(offset):
            raise AddressInUse(address, self.cidr)
        return format_address(self._bits, self._base + offset)

    def release(self, address: str) -> None:
        """Give an address back; it is handed out again when the search comes round to it.

        Raises:
            NotLeased: it is not leased, or is the gateway (which goes with the subnet).
        """
        offset = self._offset(address)
        if offset in self._fixed or not self._serial.give_back(offset):
            raise NotLeased(f"address {address} of {self.cidr} is not leased")

    def restore(self, addresses: Iterable[str]) -> None:
        """Lease these again, in the order their holders were created, and search after the last.

        For a new leader that reads them from its store. Addresses that had been asked for by
        name and should not move the search are restored with :meth:`allocate`.

        Raises:
            AddressInUse, AddressOutOfRange: two holders have one address, or a foreign one.
        """
        for address in addresses:
            self.allocate(address)
            self.search_after(address)

    def search_after(self, address: str) -> None:
        """Let the next search start after this address."""
        self._serial.cursor = self._offset(address) + 1

    @property
    def next_from(self) -> str:
        """The address at which the next search starts."""
        return format_address(self._bits, self._base + self._serial.cursor)

    @property
    def used(self) -> int:
        """How many addresses are leased, without the gateway and the reserved ones."""
        return len(self._serial) - len(self._fixed)

    @property
    def usable(self) -> int:
        """How many addresses could be leased in all, by name or by turn."""
        return self._size - len(self._fixed)

    def with_prefix(self, address: str) -> str:
        """The form kept in objects: ``10.0.1.2/24``."""
        return f"{address}/{self._prefix}"

    def __contains__(self, address: str) -> bool:
        """Whether the address is leased or reserved."""
        return self._offset(address) in self._serial

    def __repr__(self) -> str:
        return f"<Subnet {self.cidr} gateway {self.gateway}: {self.used} of {self.usable} leased>"

    def _window(self, range: str | None) -> tuple[int, int]:
        if not range:
            return 0, self._size
        _, first, prefix = parse_cidr(range)
        return first - self._base, first - self._base + (1 << (self._bits - prefix))

    def _reserved(self) -> tuple[int, ...]:
        if self._size <= 2:
            return ()
        return (0, self._size - 1) if self._bits == IPV4_BITS else (0,)

    def _offset(self, address: str) -> int:
        try:
            bits, number = parse_address(address.partition("/")[0])
        except ValueError:
            raise AddressOutOfRange(address, self.cidr) from None
        offset = number - self._base
        if bits != self._bits or not 0 <= offset < self._size:
            raise AddressOutOfRange(address, self.cidr)
        return offset
