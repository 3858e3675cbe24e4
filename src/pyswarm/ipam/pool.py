"""Which subnet does a network get?

A swarm has pools, cut into blocks of one size. A network that asks for no subnet gets the lowest
free block of the first pool that has one, pools in the order given; a block that came back is free
at once. A user may ask for any subnet, of any length, inside the pools or outside, as long as it
overlaps nothing leased. The swarm's own ``ingress`` takes the *last* block of the last pool, so
that a user's networks count from the start of the first.

Theory. Number the blocks of the whole address space: block = address >> (bits - size). The free
blocks are :class:`Ranges` of those numbers, for all pools of a family together, so pools may
overlap and still no block is given twice. A lease of a block or more takes a range out; a smaller
one takes its block out as long as anything lies in it (``_partial`` counts). Leases are disjoint,
so to see whether a new one overlaps it is enough to look at its neighbours by address.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from pyswarm.errors import InvalidArgument

from .cidr import IPV4_BITS, IPV6_BITS, format_cidr, parse_cidr
from .errors import InvalidPool, NotLeased, PoolExhausted, PoolOverlap
from .journal import Journal
from .ranges import Ranges

DEFAULT_POOLS = ("10.0.0.0/8",)
DEFAULT_SUBNET_SIZE = 24
SUBNET_SIZE_MAX = 29
"""The longest prefix ``swarm init`` accepts: Docker's limit, six usable addresses a network."""


def check_pools(pools: Iterable[str], subnet_size: int = 0) -> None:
    """What ``swarm init`` accepts as default address pools; size 0 stands for 24.

    Raises:
        InvalidPool: with Docker's sentence.
    """
    subnet_size = subnet_size or DEFAULT_SUBNET_SIZE
    if not 0 < subnet_size <= SUBNET_SIZE_MAX:
        raise InvalidPool(f"subnet size is out of range: {subnet_size}")
    for pool in pools:
        _parse_pool(pool, subnet_size)


def _parse_pool(text: str, subnet_size: int) -> tuple[int, int, int]:
    try:
        bits, first, prefix = parse_cidr(text)
    except ValueError:
        raise InvalidPool(f"invalid base pool {text}: invalid CIDR address: {text}") from None
    if prefix > subnet_size:
        raise InvalidPool(
            f'invalid CIDR: "{text}". Subnet size is too small for pool: {subnet_size}'
        )
    if subnet_size > bits:
        raise InvalidPool(f"subnet size is out of range: {subnet_size}")
    return bits, first, prefix


class Space:
    """The leases of one address family, and the free blocks of the pools in it."""

    __slots__ = ("_free", "_leases", "_partial", "_pools", "_starts", "bits", "size")

    def __init__(self, bits: int, size: int) -> None:
        self.bits = bits
        self.size = min(size, bits)
        self._pools = Ranges()  # the blocks that belong to any pool
        self._free = Ranges()  # of these, the ones no lease touches
        self._partial: dict[int, int] = {}  # block -> leases smaller than it inside
        self._leases: dict[int, int] = {}  # first address -> prefix length
        self._starts: list[int] = []  # the first addresses, sorted

    def blocks(self, first: int, prefix: int) -> tuple[int, int]:
        """The range of blocks that this subnet touches."""
        block = first >> (self.bits - self.size)
        return block, block + (1 << max(self.size - prefix, 0))

    def add_pool(self, first: int, prefix: int) -> tuple[int, int]:
        """These blocks may be given; returns their range."""
        span = self.blocks(first, prefix)
        self._pools.add(*span)
        self._free.add(*span)
        return span

    def lowest(self, span: tuple[int, int]) -> int | None:
        """First address of the lowest free block in ``span``."""
        block = self._free.lowest(*span)
        return None if block is None else block << (self.bits - self.size)

    def highest(self, span: tuple[int, int]) -> int | None:
        """First address of the highest free block in ``span``."""
        block = self._free.highest(*span)
        return None if block is None else block << (self.bits - self.size)

    def overlapping(self, first: int, prefix: int) -> tuple[int, int] | None:
        """A lease (first address, prefix) that overlaps this subnet."""
        end = first + (1 << (self.bits - prefix))
        at = bisect_left(self._starts, first)
        if at < len(self._starts) and self._starts[at] < end:
            return self._starts[at], self._leases[self._starts[at]]
        if at and self._end(self._starts[at - 1]) > first:
            return self._starts[at - 1], self._leases[self._starts[at - 1]]
        return None

    def _end(self, first: int) -> int:
        return first + (1 << (self.bits - self._leases[first]))

    def take(self, first: int, prefix: int) -> None:
        """Lease this subnet, which overlaps no lease."""
        self._starts.insert(bisect_left(self._starts, first), first)
        self._leases[first] = prefix
        low, high = self.blocks(first, prefix)
        if prefix > self.size:
            self._partial[low] = self._partial.get(low, 0) + 1
        self._free.remove(low, high)

    def give_back(self, first: int, prefix: int) -> None:
        """End this lease; its blocks are free where they belong to a pool."""
        del self._starts[bisect_left(self._starts, first)]
        del self._leases[first]
        low, high = self.blocks(first, prefix)
        if prefix > self.size:
            self._partial[low] -= 1
            if self._partial[low]:
                return
            del self._partial[low]
        for pool_low, pool_high in self._pools:
            self._free.add(max(low, pool_low), min(high, pool_high))

    def holds(self, first: int, prefix: int) -> bool:
        """Whether exactly this subnet is leased."""
        return self._leases.get(first) == prefix

    def leases(self) -> Iterator[tuple[int, int]]:
        """(first address, prefix) of the leases by address."""
        return ((first, self._leases[first]) for first in self._starts)

    def free_blocks(self) -> int:
        """How many blocks the pools still have."""
        return self._free.count()

    def __len__(self) -> int:
        return len(self._starts)


class AddressPool:
    """Leases subnets from pools. Subnets go in and out as CIDR text.

    ``pools`` are used in the order given (none: Docker's 10.0.0.0/8); they may overlap, and a
    subnet is still given once. ``subnet_size`` is the prefix length of every subnet chosen here:
    any length from the pools' own to that of a single address (``swarm init`` accepts less, see
    :func:`check_pools`). A ``journal`` makes changes undoable together with others'.

    Raises:
        InvalidPool: a pool is no CIDR text, or smaller than one subnet.
    """

    __slots__ = ("_spaces", "_spans", "journal", "pools", "subnet_size")

    def __init__(
        self,
        pools: Iterable[str] = DEFAULT_POOLS,
        subnet_size: int = DEFAULT_SUBNET_SIZE,
        *,
        journal: Journal | None = None,
    ) -> None:
        assert not isinstance(pools, str), "pools are a sequence of CIDR texts"
        self.pools = tuple(pools) or DEFAULT_POOLS
        self.subnet_size = subnet_size
        self.journal = journal if journal is not None else Journal()
        self._spaces = {bits: Space(bits, subnet_size) for bits in (IPV4_BITS, IPV6_BITS)}
        self._spans: list[tuple[Space, tuple[int, int]]] = []
        for text in self.pools:
            bits, first, prefix = _parse_pool(text, subnet_size)
            space = self._spaces[bits]
            self._spans.append((space, space.add_pool(first, prefix)))

    def allocate(self, subnet: str | None = None) -> str:
        """The lowest free subnet, or the one asked for (which may lie outside the pools).

        Raises:
            PoolExhausted: no pool has a free subnet.
            PoolOverlap: the one asked for overlaps a lease.
            InvalidArgument: it is no CIDR text.
        """
        if subnet is not None:
            return self._take_given(subnet)
        for space, span in self._spans:
            first = space.lowest(span)
            if first is not None:
                return self._take(space, first, self.subnet_size)
        raise PoolExhausted(self.pools, self.subnet_size)

    def allocate_last(self) -> str:
        """The highest free subnet of the last pool that has one: for ``ingress``.

        Raises:
            PoolExhausted: no pool has a free subnet.
        """
        for space, span in reversed(self._spans):
            first = space.highest(span)
            if first is not None:
                return self._take(space, first, self.subnet_size)
        raise PoolExhausted(self.pools, self.subnet_size)

    def release(self, subnet: str) -> None:
        """Give a subnet back; it may be given again at once.

        Raises:
            NotLeased: it is not leased.
        """
        bits, first, prefix = self._parse(subnet)
        space = self._spaces[bits]
        if not space.holds(first, prefix):
            raise NotLeased(f"subnet {subnet} is not leased")
        space.give_back(first, prefix)
        self.journal.note(space.take, first, prefix)

    def free_count(self) -> int:
        """How many subnets :meth:`allocate` can still give."""
        return sum(space.free_blocks() for space in self._spaces.values())

    def __contains__(self, subnet: str) -> bool:
        bits, first, prefix = self._parse(subnet)
        return self._spaces[bits].holds(first, prefix)

    def __iter__(self) -> Iterator[str]:
        """The leased subnets by address, IPv4 first."""
        for space in self._spaces.values():
            for first, prefix in space.leases():
                yield format_cidr(space.bits, first, prefix)

    def __len__(self) -> int:
        """How many subnets are leased."""
        return sum(len(space) for space in self._spaces.values())

    def __repr__(self) -> str:
        return f"<AddressPool {' '.join(self.pools)} /{self.subnet_size}: {len(self)} leased>"

    @staticmethod
    def _parse(subnet: str) -> tuple[int, int, int]:
        try:
            return parse_cidr(subnet)
        except ValueError:
            raise InvalidArgument(f"ipam configuration: invalid subnet {subnet}") from None

    def _take_given(self, subnet: str) -> str:
        bits, first, prefix = self._parse(subnet)
        space = self._spaces[bits]
        other = space.overlapping(first, prefix)
        if other is not None:
            raise PoolOverlap(format_cidr(bits, first, prefix), format_cidr(bits, *other))
        return self._take(space, first, prefix)

    def _take(self, space: Space, first: int, prefix: int) -> str:
        space.take(first, prefix)
        self.journal.note(space.give_back, first, prefix)
        return format_cidr(space.bits, first, prefix)
