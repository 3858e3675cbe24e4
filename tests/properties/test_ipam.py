"""The allocators against models that do the same in the plainest way."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network
from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.ipam import (
    AddressesExhausted,
    AddressInUse,
    AddressPool,
    Holder,
    Journal,
    PoolExhausted,
    PoolOverlap,
    PortAllocator,
    PortInUse,
    Subnet,
)
from pyswarm.ipam.ranges import Ranges
from pyswarm.ipam.serial import Serial

spans = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))


@given(st.lists(st.tuples(st.booleans(), spans), max_size=30), spans)
@settings(max_examples=200)
def test_ranges_are_a_set(
    changes: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    ranges, model = Ranges(), set()
    for adding, span in changes:
        if adding:
            ranges.add(*span)
            model |= set(range(*span))
        else:
            ranges.remove(*span)
            model -= set(range(*span))
        listed = list(ranges)
        assert [n for low, high in listed for n in range(low, high)] == sorted(model)
        assert all(a[1] < b[0] for a, b in pairwise(listed)), "merged"
    inside = sorted(model & set(range(*asked)))
    assert ranges.lowest(*asked) == (inside[0] if inside else None)
    assert ranges.highest(*asked) == (inside[-1] if inside else None)
    assert ranges.count() == len(model)
    assert all((n in ranges) == (n in model) for n in range(60))


class PlainSerial:
    """Serial allocation by walking."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high, self.cursor = low, high, low
        self.taken: list[int] = []

    def take_next(self) -> int | None:
        order = [*range(self.cursor, self.high), *range(self.low, self.cursor)]
        found = next((n for n in order if n not in self.taken), None)
        if found is not None:
            self.taken.append(found)
            self.cursor = found + 1 if found + 1 < self.high else self.low
        return found


@given(
    low=st.integers(1000, 1030),
    width=st.integers(1, 1100),
    busy=st.integers(0, 1100),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_serial_is_a_walk(low: int, width: int, busy: int, data: st.DataObject) -> None:
    journal = Journal()
    serial, model = Serial(low, low + width, journal), PlainSerial(low, low + width)
    for _ in range(min(busy, width)):
        assert serial.take_next() == model.take_next()
    for _ in range(data.draw(st.integers(0, 25))):
        match data.draw(st.sampled_from(["next", "named", "back", "undone"])):
            case "next":
                assert serial.take_next() == model.take_next()
            case "named":
                number = data.draw(st.integers(low - 30, low + width + 30))
                assert serial.take(number) == (number not in model.taken)
                if number not in model.taken:
                    model.taken.append(number)
            case "back" if model.taken:
                number = data.draw(st.sampled_from(model.taken))
                assert serial.give_back(number)
                assert not serial.give_back(number)
                model.taken.remove(number)
            case "undone":
                mark = journal.checkpoint()
                for number in islice(model.taken, 5):
                    serial.give_back(number)
                serial.take_next()
                serial.take_next()
                serial.cursor = low
                journal.rollback(mark)
                journal.commit()
        assert (serial.cursor, len(serial)) == (model.cursor, len(model.taken))
    for number in model.taken:
        assert number in serial
        assert serial.give_back(number)
    assert not serial._taken
    assert list(serial._open) == [(low // 1024, -(-(low + width) // 1024))]


SUBNETS = [f"10.0.{third}.{fourth}/{prefix}" for third, fourth, prefix in [
    (0, 0, 23), (0, 0, 26), (0, 64, 27), (0, 96, 29), (0, 104, 29), (1, 0, 24), (1, 16, 28),
    (2, 0, 24), (2, 128, 25), (0, 0, 16), (9, 0, 24), (1, 192, 26), (1, 255, 32),
]]  # fmt: skip


class PlainPool:
    """Pools by trying every block."""

    def __init__(self, pools: list[str], size: int) -> None:
        self.blocks: list[IPv4Network] = []
        for pool in pools:
            self.blocks += IPv4Network(pool).subnets(new_prefix=size)
        self.leased: list[IPv4Network] = []

    def free(self, subnet: IPv4Network) -> bool:
        return not any(subnet.overlaps(other) for other in self.leased)

    def lowest(self) -> str | None:
        return next((str(block) for block in self.blocks if self.free(block)), None)

    def highest(self) -> str | None:
        return next((str(block) for block in reversed(self.blocks) if self.free(block)), None)


@given(
    pools=st.lists(
        st.sampled_from(["10.0.0.0/24", "10.0.1.0/25", "10.0.1.64/26", "10.0.1.0/24"]),
        min_size=1,
        max_size=3,
    ),
    size=st.integers(26, 29),
    data=st.data(),
)
@settings(max_examples=120, deadline=None)
def test_pools_try_every_block(pools: list[str], size: int, data: st.DataObject) -> None:
    journal = Journal()
    pool, model = AddressPool(pools, size, journal=journal), PlainPool(pools, size)
    fresh = pool.free_count()
    assert fresh == len({str(block) for block in model.blocks})
    for _ in range(data.draw(st.integers(1, 40))):
        what = data.draw(st.sampled_from(["next", "next", "last", "given", "back", "undone"]))
        if what == "back" and model.leased:
            gone = data.draw(st.sampled_from(model.leased))
            pool.release(str(gone))
            model.leased.remove(gone)
        elif what == "undone":
            mark = journal.checkpoint()
            for gone in model.leased[:3]:
                pool.release(str(gone))
            if pool.free_count():
                pool.allocate()
            journal.rollback(mark)
            journal.commit()
        elif what == "given":
            asked = data.draw(st.sampled_from(SUBNETS))
            try:
                model_free = model.free(IPv4Network(asked))
                assert pool.allocate(asked) == asked
                assert model_free
                model.leased.append(IPv4Network(asked))
            except PoolOverlap:
                assert not model_free
        elif what in ("next", "last"):
            expected = model.lowest() if what == "next" else model.highest()
            try:
                given_subnet = pool.allocate() if what == "next" else pool.allocate_last()
            except PoolExhausted:
                given_subnet = None
            assert given_subnet == expected
            if given_subnet:
                model.leased.append(IPv4Network(given_subnet))
        assert sorted(map(ip_network, pool), key=str) == sorted(model.leased, key=str)
    for subnet in model.leased:
        pool.release(str(subnet))
    assert (len(pool), pool.free_count()) == (0, fresh)
    assert not pool._spaces[32]._partial


@given(
    prefix=st.sampled_from([26, 28, 30, 31, 32]),
    lives=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 63)), max_size=80),
)
@settings(max_examples=100, deadline=None)
def test_no_two_holders_of_an_address_and_all_come_back(
    prefix: int, lives: list[tuple[int, int]]
) -> None:
    subnet = Subnet(f"10.9.8.0/{prefix}")
    network = IPv4Network(subnet.cidr)
    hosts = [str(host) for host in network.hosts() if str(host) != subnet.gateway]
    held: list[str] = []
    for action, number in lives:
        if action == 0 and held:
            subnet.release(held.pop(number % len(held)))
        elif action == 1:
            address = str(network[number % network.num_addresses])
            try:
                held.append(subnet.allocate(address))
            except AddressInUse:
                assert address in held or address not in hosts
        else:
            try:
                held.append(subnet.allocate())
            except AddressesExhausted:
                assert sorted(held) == sorted(hosts)
        assert len(set(held)) == len(held) == subnet.used
        assert set(held) <= set(hosts)
    for address in held:
        subnet.release(address)
    assert subnet.used == 0
    assert sorted(subnet.allocate() for _ in hosts) == sorted(hosts), "everything is there again"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["dynamic", "named", "back"]),
            st.sampled_from(["tcp", "udp"]),
            st.integers(30000, 30006) | st.integers(32765, 32769),
            st.sampled_from("abc"),
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_ports_have_one_holder(lives: list[tuple[str, str, int, str]]) -> None:
    ports = PortAllocator()
    held: dict[tuple[str, int], Holder] = {}
    for action, protocol, port, name in lives:
        holder = Holder(name, name * 25)
        key = (protocol, port)
        if action == "dynamic":
            given_port = ports.allocate(protocol, holder=holder)
            assert 30000 <= given_port <= 32767
            assert (protocol, given_port) not in held
            held[protocol, given_port] = holder
        elif action == "named":
            try:
                ports.allocate(protocol, port, holder=holder)
                assert key not in held
                held[key] = holder
            except PortInUse as refused:
                assert f"'{held[key].name}'" in str(refused)
        elif key in held:
            ports.release(protocol, port)
            del held[key]
        assert {(lease.protocol, lease.port): lease.holder for lease in ports} == held
    for protocol, port in held:
        ports.release(protocol, port)
    assert len(ports) == 0


@given(st.lists(st.integers(0, 9), max_size=60), st.sampled_from([24, 27, 28]))
@settings(max_examples=100, deadline=None)
def test_a_rebuilt_subnet_decides_the_same(lives: list[int], prefix: int) -> None:
    """Restored in the order of creation, as long as the youngest holder is among them."""
    cidr = f"10.9.8.0/{prefix}"
    live = Subnet(cidr)
    held: list[str] = []
    for number in lives:
        if number < 4 and len(held) > 1:
            live.release(held.pop(number % (len(held) - 1)))
        elif live.used < live.usable:
            held.append(live.allocate())
    rebuilt = Subnet(cidr)
    rebuilt.restore(held)
    assert rebuilt.next_from == live.next_from
    remaining = live.usable - live.used
    assert [rebuilt.allocate() for _ in range(remaining)] == [
        live.allocate() for _ in range(remaining)
    ]
