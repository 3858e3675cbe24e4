"""Which subnet a network gets: pools in order, lowest first, overlaps refused, nothing lost."""

from __future__ import annotations

import pytest

from pyswarm.errors import InvalidArgument, ResourceExhausted
from pyswarm.ipam import (
    AddressPool,
    InvalidPool,
    Journal,
    NotLeased,
    PoolExhausted,
    PoolOverlap,
    check_pools,
)


def take(pool: AddressPool, count: int) -> list[str]:
    return [pool.allocate() for _ in range(count)]


def test_the_guides_two_pools() -> None:
    pool = AddressPool(["10.20.0.0/16", "10.30.0.0/16"], 26)
    assert pool.allocate_last() == "10.30.255.192/26"
    assert take(pool, 2) == ["10.20.0.0/26", "10.20.0.64/26"]


def test_docker_defaults() -> None:
    assert take(AddressPool(), 2) == ["10.0.0.0/24", "10.0.1.0/24"]
    assert AddressPool(()).allocate_last() == "10.255.255.0/24"


def test_pools_are_used_in_the_order_given() -> None:
    pool = AddressPool(["172.30.0.0/27", "10.50.0.0/27"], 28)
    assert take(pool, 4) == ["172.30.0.0/28", "172.30.0.16/28", "10.50.0.0/28", "10.50.0.16/28"]


def test_exhausted_names_the_pools_and_takes_nothing() -> None:
    pool = AddressPool(["10.40.0.0/30", "10.41.0.0/30"], 30)
    take(pool, 2)
    with pytest.raises(PoolExhausted, match="fully subnetted") as refused:
        pool.allocate()
    assert isinstance(refused.value, ResourceExhausted)
    assert "10.40.0.0/30, 10.41.0.0/30" in str(refused.value)
    assert refused.value.details == {"pools": ["10.40.0.0/30", "10.41.0.0/30"], "subnet_size": 30}
    with pytest.raises(PoolExhausted):
        pool.allocate_last()
    pool.release("10.40.0.0/30")
    assert pool.allocate_last() == "10.40.0.0/30"


def test_a_released_subnet_is_the_lowest_again() -> None:
    pool = AddressPool(["10.20.0.0/16"])
    take(pool, 3)
    pool.release("10.20.1.0/24")
    assert take(pool, 2) == ["10.20.1.0/24", "10.20.3.0/24"]


@pytest.mark.parametrize("size", [8, 9, 13, 17, 23, 25, 29, 30, 31, 32])
def test_any_prefix_length(size: int) -> None:
    pool = AddressPool(["10.0.0.0/8"], size)
    blocks = 1 << (size - 8)
    assert pool.free_count() == blocks
    assert pool.allocate() == f"10.0.0.0/{size}"
    if blocks > 1:
        assert pool.allocate_last().endswith(f"/{size}")
    assert pool.free_count() == max(blocks - 2, 0)


def test_a_user_may_take_any_subnet_and_it_is_skipped() -> None:
    pool = AddressPool(["10.20.0.0/16"])
    assert pool.allocate("10.20.1.0/26") == "10.20.1.0/26"
    assert pool.allocate("10.20.1.64/26") == "10.20.1.64/26"
    assert pool.allocate("192.168.7.9/24") == "192.168.7.0/24", "host bits are dropped"
    assert pool.allocate("10.20.2.0/23") == "10.20.2.0/23"
    assert take(pool, 2) == ["10.20.0.0/24", "10.20.4.0/24"]
    pool.release("10.20.1.0/26")
    assert pool.allocate() == "10.20.5.0/24", "half of 10.20.1.0/24 is still a user's"
    pool.release("10.20.1.64/26")
    assert pool.allocate() == "10.20.1.0/24"


@pytest.mark.parametrize(
    "asked", ["10.20.0.0/24", "10.20.0.128/25", "10.0.0.0/8", "10.20.0.255/32", "0.0.0.0/0"]
)
def test_overlaps_are_refused(asked: str) -> None:
    pool = AddressPool(["10.20.0.0/16"])
    pool.allocate()
    with pytest.raises(PoolOverlap) as refused:
        pool.allocate(asked)
    assert str(refused.value) == (
        "invalid pool request: Pool overlaps with other one on this address space"
    )
    assert refused.value.details["overlaps"] == "10.20.0.0/24"
    assert list(pool) == ["10.20.0.0/24"]


def test_one_subnet_over_all_pools() -> None:
    pool = AddressPool(["10.20.0.0/16", "10.30.0.0/16"])
    pool.allocate("10.0.0.0/8")
    with pytest.raises(PoolExhausted):
        pool.allocate()
    pool.release("10.0.0.0/8")
    assert pool.free_count() == 512
    assert pool.allocate() == "10.20.0.0/24"


def test_overlapping_pools_give_a_subnet_once() -> None:
    pool = AddressPool(["10.20.5.0/24", "10.20.4.0/23"], 25)
    assert pool.free_count() == 4
    assert take(pool, 4) == ["10.20.5.0/25", "10.20.5.128/25", "10.20.4.0/25", "10.20.4.128/25"]
    with pytest.raises(PoolExhausted):
        pool.allocate()


def test_ipv6() -> None:
    pool = AddressPool(["fd00:1::/48"], 64)
    assert take(pool, 2) == ["fd00:1::/64", "fd00:1:0:1::/64"]
    assert pool.allocate_last() == "fd00:1:0:ffff::/64"
    assert pool.allocate("fd00:1:0:2::/80") == "fd00:1:0:2::/80"
    assert pool.allocate() == "fd00:1:0:3::/64"
    assert pool.allocate("10.0.0.0/8") == "10.0.0.0/8", "families do not meet"
    with pytest.raises(PoolOverlap):
        pool.allocate("fd00::/16")


def test_release_of_what_is_not_leased() -> None:
    pool = AddressPool(["10.20.0.0/16"])
    pool.allocate()
    for unknown in ("10.20.1.0/24", "10.20.0.0/25", "10.20.0.0/16"):
        assert unknown not in pool
        with pytest.raises(NotLeased):
            pool.release(unknown)
    with pytest.raises(InvalidArgument, match="invalid subnet x"):
        pool.release("x")


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "300.1.1.0/24", "x/8", "10.0.0.0/", ""]
)
def test_what_is_no_subnet(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        AddressPool().allocate(text)
    assert str(refused.value) == f"ipam configuration: invalid subnet {text}"


@pytest.mark.parametrize(
    ("pools", "size", "message"),
    [
        (["10.20.0.0/16"], 30, "subnet size is out of range: 30"),
        (["10.20.0.0/16"], 64, "subnet size is out of range: 64"),
        (
            ["10.20.0.0/16"],
            8,
            'invalid CIDR: "10.20.0.0/16". Subnet size is too small for pool: 8',
        ),
        (
            ["10.20.0.0/25"],
            0,
            'invalid CIDR: "10.20.0.0/25". Subnet size is too small for pool: 24',
        ),
        (
            ["10.1.0.0/16", "10.20.0.0/33"],
            24,
            "invalid base pool 10.20.0.0/33: invalid CIDR address: 10.20.0.0/33",
        ),
    ],
)
def test_pools_that_swarm_init_refuses(pools: list[str], size: int, message: str) -> None:
    with pytest.raises(InvalidPool) as refused:
        check_pools(pools, size)
    assert str(refused.value) == message


def test_pools_that_swarm_init_accepts() -> None:
    check_pools(["10.20.0.0/16", "10.20.5.0/24"], 29)
    check_pools(["10.20.0.0/24"])


def test_a_pool_checks_itself() -> None:
    with pytest.raises(InvalidPool, match="Subnet size is too small for pool: 24"):
        AddressPool(["10.20.0.0/25"])
    with pytest.raises(InvalidPool, match="invalid base pool"):
        AddressPool(["10.20.0.0"])
    with pytest.raises(InvalidPool, match="out of range: 33"):
        AddressPool(["10.20.0.0/16"], 33)


def test_rollback_leaves_nothing_behind() -> None:
    journal = Journal()
    pool = AddressPool(["10.20.0.0/24"], 28, journal=journal)
    kept = [pool.allocate(), pool.allocate(), pool.allocate("10.20.0.40/29")]
    before = (list(pool), pool.free_count())
    mark = journal.checkpoint()
    pool.allocate()
    pool.release(kept[0])
    pool.release(kept[2])
    pool.allocate("10.20.0.32/28")
    pool.allocate_last()
    journal.rollback(mark)
    assert (list(pool), pool.free_count()) == before
    assert pool.allocate() == "10.20.0.48/28"
    journal.commit()
    assert len(journal) == 0


def test_all_networks_of_the_default_pool() -> None:
    pool = AddressPool()
    assert take(pool, 65536)[-1] == "10.255.255.0/24"
    with pytest.raises(PoolExhausted):
        pool.allocate()
    for subnet in list(pool):
        pool.release(subnet)
    assert (len(pool), pool.free_count()) == (0, 65536)
