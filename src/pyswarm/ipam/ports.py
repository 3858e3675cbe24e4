"""Which port is a service published on?

An ingress port is open on every node, so the swarm leases it: one space a protocol (tcp 80 and
udp 80 are different ports), 1-65535 by number, and 30000-32767 serially when none is given. A
port that is taken is refused with its holder's name. Ports published in host mode are the
scheduler's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from pyswarm.errors import InvalidArgument

from .errors import NotLeased, PortInUse, PortsExhausted
from .journal import Journal
from .serial import Serial

PROTOCOLS = ("tcp", "udp", "sctp")
PORT_MAX = 65535
DYNAMIC_LOW = 30000
DYNAMIC_HIGH = 32767
"""The dynamic range, both ends included: below Linux' ephemeral ports, which begin at 32768."""


@attrs.frozen
class Holder:
    """The service a port belongs to, as it is named in a refusal."""

    name: str
    id: str


@attrs.frozen
class PortLease:
    """One port in use. ``dynamic``: it was chosen by the swarm, not asked for."""

    protocol: str
    port: int
    holder: Holder
    dynamic: bool = False


class PortAllocator:
    """Leases the ingress ports of a swarm."""

    __slots__ = ("_leases", "_serials", "journal")

    def __init__(self, *, journal: Journal | None = None) -> None:
        self.journal = journal if journal is not None else Journal()
        self._serials = {
            protocol: Serial(DYNAMIC_LOW, DYNAMIC_HIGH + 1, self.journal) for protocol in PROTOCOLS
        }
        self._leases: dict[tuple[str, int], PortLease] = {}

    def allocate(self, protocol: str, port: int = 0, *, holder: Holder) -> int:
        """``port`` for this holder, or with 0 the next free one of the dynamic range.

        Raises:
            PortInUse: the port is leased; the sentence names its holder.
            PortsExhausted: the dynamic range is full.
            InvalidArgument: no such protocol, or a port outside 1-65535.
        """
        serial = self._serial(protocol)
        if port == 0:
            found = serial.take_next()
            if found is None:
                raise PortsExhausted(protocol, DYNAMIC_LOW, DYNAMIC_HIGH)
            self._add(PortLease(protocol, found, holder, dynamic=True))
            return found
        if not 0 < port <= PORT_MAX:
            raise InvalidArgument(f"port {port} is not between 1 and {PORT_MAX}")
        if not serial.take(port):
            other = self._leases[protocol, port].holder
            raise PortInUse(port, protocol, other.name, other.id)
        self._add(PortLease(protocol, port, holder))
        return port

    def release(self, protocol: str, port: int) -> None:
        """Give a port back; a dynamic one is chosen again when the search comes round to it.

        Raises:
            NotLeased: it is not leased.
        """
        if not self._serial(protocol).give_back(port):
            raise NotLeased(f"port {port}/{protocol} is not leased")
        lease = self._leases.pop((protocol, port))
        self.journal.note(self._leases.__setitem__, (protocol, port), lease)

    def restore(self, leases: Iterable[PortLease]) -> None:
        """Lease these again, in the order their holders were created.

        The search for a dynamic port goes on after the last dynamic one of its protocol.

        Raises:
            PortInUse: two holders have one port.
        """
        for lease in leases:
            self.allocate(lease.protocol, lease.port, holder=lease.holder)
            if lease.dynamic:
                self._leases[lease.protocol, lease.port] = lease
                self.search_after(lease.protocol, lease.port)

    def search_after(self, protocol: str, port: int) -> None:
        """Let the next search for a dynamic port start after this one."""
        self._serial(protocol).cursor = port + 1

    def holder_of(self, protocol: str, port: int) -> Holder | None:
        """Who has this port."""
        lease = self._leases.get((protocol, port))
        return lease.holder if lease is not None else None

    def __contains__(self, key: tuple[str, int]) -> bool:
        """Whether ``(protocol, port)`` is leased."""
        return key in self._leases

    def __iter__(self) -> Iterator[PortLease]:
        """The leases, by protocol and port."""
        return iter(sorted(self._leases.values(), key=lambda lease: (lease.protocol, lease.port)))

    def __len__(self) -> int:
        return len(self._leases)

    def __repr__(self) -> str:
        return f"<PortAllocator: {len(self)} leased>"

    def _serial(self, protocol: str) -> Serial:
        serial = self._serials.get(protocol)
        if serial is None:
            raise InvalidArgument(f"invalid protocol {protocol!r}: {', '.join(PROTOCOLS)}")
        return serial

    def _add(self, lease: PortLease) -> None:
        key = (lease.protocol, lease.port)
        self._leases[key] = lease
        self.journal.note(self._leases.pop, key)
