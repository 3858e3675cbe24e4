"""Which address a task gets: the gateway first, then serially, freed ones late."""

from __future__ import annotations

import sys

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.ipam import (
    AddressesExhausted,
    AddressInUse,
    AddressOutOfRange,
    Journal,
    NotLeased,
    Subnet,
    check_ipam_config,
)


def take(subnet: Subnet, count: int) -> list[str]:
    return [subnet.allocate() for _ in range(count)]


def test_gateway_first_then_serially() -> None:
    subnet = Subnet("10.0.1.0/24")
    assert subnet.gateway == "10.0.1.1"
    assert take(subnet, 3) == ["10.0.1.2", "10.0.1.3", "10.0.1.4"]
    assert subnet.with_prefix("10.0.1.2") == "10.0.1.2/24"


def test_a_freed_address_is_used_again_late() -> None:
    subnet = Subnet("10.0.1.0/29")
    assert take(subnet, 3) == ["10.0.1.2", "10.0.1.3", "10.0.1.4"]
    subnet.release("10.0.1.2/29")
    subnet.release("10.0.1.4")
    assert take(subnet, 4) == ["10.0.1.5", "10.0.1.6", "10.0.1.2", "10.0.1.4"]
    with pytest.raises(AddressesExhausted) as refused:
        subnet.allocate()
    assert str(refused.value) == "no available addresses on this pool"
    assert subnet.used == subnet.usable == 5


def test_a_given_gateway_is_skipped() -> None:
    subnet = Subnet("10.0.1.0/29", gateway="10.0.1.2")
    assert take(subnet, 5) == ["10.0.1.1", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6"]


def test_a_range_limits_what_is_handed_out() -> None:
    subnet = Subnet("10.77.0.0/24", gateway="10.77.0.7", range="10.77.0.128/30")
    assert take(subnet, 4) == [f"10.77.0.{n}" for n in range(128, 132)]
    with pytest.raises(AddressesExhausted):
        subnet.allocate()
    assert subnet.allocate("10.77.0.9") == "10.77.0.9"
    subnet.release("10.77.0.9")
    with pytest.raises(AddressesExhausted):
        subnet.allocate()


def test_a_range_at_the_end_keeps_the_broadcast_address() -> None:
    subnet = Subnet("10.77.0.0/24", range="10.77.0.252/30")
    assert take(subnet, 2) == ["10.77.0.253", "10.77.0.254"]
    with pytest.raises(AddressesExhausted):
        subnet.allocate()


@pytest.mark.parametrize(
    ("range", "gateway"),
    [("128/25", "128"), ("64/26", "64"), ("0/25", "1"), ("252/30", "252"), ("255/32", "1")],
)
def test_the_gateway_begins_the_range(range: str, gateway: str) -> None:
    subnet = Subnet("10.77.0.0/24", range=f"10.77.0.{range}")
    assert subnet.gateway == f"10.77.0.{gateway}"


@pytest.mark.parametrize(
    ("cidr", "gateway", "rest"),
    [
        ("10.0.0.0/30", "10.0.0.1", ["10.0.0.2"]),
        ("10.0.0.0/31", "10.0.0.0", ["10.0.0.1"]),
        ("10.0.0.9/32", "10.0.0.9", []),
        ("fd00::/126", "fd00::1", ["fd00::2", "fd00::3"]),
        ("fd00::/127", "fd00::", ["fd00::1"]),
        ("fd00::5/128", "fd00::5", []),
    ],
)
def test_small_subnets(cidr: str, gateway: str, rest: list[str]) -> None:
    subnet = Subnet(cidr)
    assert subnet.gateway == gateway
    assert take(subnet, len(rest)) == rest
    with pytest.raises(AddressesExhausted):
        subnet.allocate()


def test_an_address_by_name() -> None:
    subnet = Subnet("10.0.1.0/24")
    assert subnet.allocate("10.0.1.3") == "10.0.1.3"
    for taken in ("10.0.1.3", "10.0.1.1", "10.0.1.0", "10.0.1.255"):
        assert taken in subnet
        with pytest.raises(AddressInUse) as refused:
            subnet.allocate(taken)
        assert str(refused.value) == "Address already in use"
    for foreign in ("10.0.2.1", "9.255.255.255", "fd00::1", "nonsense"):
        with pytest.raises(AddressOutOfRange) as refused_too:
            subnet.allocate(foreign)
        assert str(refused_too.value) == "requested address is out of range"
    assert take(subnet, 2) == ["10.0.1.2", "10.0.1.4"], "a name does not move the search"


@pytest.mark.parametrize("address", ["10.0.1.9", "10.0.1.1", "10.0.1.0", "10.0.1.255"])
def test_release_of_what_is_not_leased(address: str) -> None:
    subnet = Subnet("10.0.1.0/24")
    with pytest.raises(NotLeased):
        subnet.release(address)


@pytest.mark.parametrize("gateway", ["10.0.1.0", "10.0.1.255"])
def test_the_gateway_is_a_host(gateway: str) -> None:
    with pytest.raises(AddressInUse):
        Subnet("10.0.1.0/24", gateway=gateway)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (("10.0.0.0",), "invalid subnet 10.0.0.0"),
        (("10.0.0.0/33",), "invalid subnet 10.0.0.0/33"),
        (("10.0.0.0/24", None, "10.0.0.0"), "invalid range 10.0.0.0"),
        (
            ("10.0.0.0/24", None, "10.0.1.0/25"),
            "subnet 10.0.0.0/24 does not contain range 10.0.1.0/25",
        ),
        (
            ("10.0.0.0/24", None, "10.0.0.0/16"),
            "subnet 10.0.0.0/24 does not contain range 10.0.0.0/16",
        ),
        (("10.0.0.0/24", "10.0.0"), "invalid gateway 10.0.0"),
        (("10.0.0.0/24", "10.0.1.1"), "subnet 10.0.0.0/24 does not contain gateway 10.0.1.1"),
        (("10.0.0.0/24", "fd00::1"), "subnet 10.0.0.0/24 does not contain gateway fd00::1"),
    ],
)
def test_what_no_network_can_have(config: tuple[str, ...], message: str) -> None:
    for refuse in (check_ipam_config, Subnet):
        with pytest.raises(InvalidArgument) as refused:
            refuse(*config)
        assert str(refused.value) == f"ipam configuration: {message}"


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "fd00::/64", "::/0"])
def test_a_large_subnet_costs_what_is_used(cidr: str) -> None:
    subnet = Subnet(cidr)
    take(subnet, 3000)
    serial = subnet._serial
    held = sum(map(sys.getsizeof, serial._taken.values())) + sys.getsizeof(serial._taken)
    assert held < 3000
    assert len(serial._taken) <= 4
    assert subnet.used == 3000


def test_restore_goes_on_after_the_youngest() -> None:
    subnet = Subnet("10.0.1.0/24")
    subnet.restore(["10.0.1.9/24", "10.0.1.20", "10.0.1.4"])
    assert subnet.next_from == "10.0.1.5"
    assert take(subnet, 5) == [f"10.0.1.{n}" for n in (5, 6, 7, 8, 10)]
    with pytest.raises(AddressInUse):
        subnet.restore(["10.0.1.9"])
    full = Subnet("10.0.1.0/30")
    full.restore(["10.0.1.2"])
    with pytest.raises(AddressesExhausted):
        full.allocate()


def test_rollback_restores_the_cursor_too() -> None:
    journal = Journal()
    subnet = Subnet("10.0.1.0/24", journal=journal)
    take(subnet, 3)
    outer = journal.checkpoint()
    subnet.release("10.0.1.3")
    inner = journal.checkpoint()
    take(subnet, 2)
    subnet.allocate("10.0.1.77")
    subnet.search_after("10.0.1.77")
    journal.rollback(inner)
    assert subnet.next_from == "10.0.1.5"
    assert "10.0.1.3" not in subnet
    journal.rollback(outer)
    assert "10.0.1.3" in subnet
    assert subnet.used == 3
    journal.commit()
    take(subnet, 1)
    assert len(journal) == 0, "outside of a checkpoint nothing is noted"
