"""What leasing costs: networks from the pools, addresses from a subnet, ports.

``python benchmarks/ipam.py [--json]`` prints a table (not with ``--json``) and, on the last line,
one JSON object with ``rows`` (what, value, unit, workload). No garbage-collection pauses are cut
out; the collector runs as usual.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from time import perf_counter

from pyswarm.env import Rng
from pyswarm.ipam import AddressPool, Holder, Journal, PortAllocator, Subnet

Rows = list[dict[str, object]]
NETWORKS = 65_536


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def row(rows: Rows, what: str, value: float, unit: str, workload: str) -> None:
    rows.append({"what": what, "value": round(value, 3), "unit": unit, "workload": workload})


def allocate_each(pool: AddressPool, part: list[None]) -> float:
    return timed(lambda: [pool.allocate() for _ in part])


def networks(rows: Rows) -> None:
    pool = AddressPool()
    pool.allocate_last()
    quarter = [None] * (NETWORKS // 4)
    parts = [allocate_each(pool, part) for part in (quarter, quarter, quarter, quarter[1:])]
    load = f"all {NETWORKS} subnets of 10.0.0.0/8 in /24"
    row(rows, "networks: allocate all", sum(parts), "s", load)
    row(rows, "networks: last quarter / first quarter", parts[3] / parts[0], "x", load)
    subnets = list(pool)
    Rng(1).shuffle(subnets)
    row(rows, "networks: release all", timed(lambda: [*map(pool.release, subnets)]), "s",
        f"{NETWORKS} in random order")  # fmt: skip
    row(rows, "networks: take all by name", timed(lambda: [*map(pool.allocate, subnets)]), "s",
        f"{NETWORKS} in random order, each checked for overlaps")  # fmt: skip


def churn(subnet: Subnet, held: list[str], rounds: int) -> float:
    rng = Rng(2)
    victims = [rng.below(len(held)) for _ in range(rounds)]

    def work() -> None:
        for victim in victims:
            subnet.release(held[victim])
            held[victim] = subnet.allocate()

    return timed(work) / rounds * 1e6


def addresses(rows: Rows) -> None:
    for cidr, count in (("10.1.0.0/16", 65_000), ("10.0.0.0/8", 200_000), ("fd00::/64", 100_000)):
        tracemalloc.start()
        subnet = Subnet(cidr)
        for _ in range(count):
            subnet.allocate()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        row(rows, "addresses: memory", size / 1024, "KiB", f"{count} leased of {cidr}")
        subnet = Subnet(cidr)
        start = perf_counter()
        held = [subnet.allocate() for _ in range(count)]
        spent = perf_counter() - start
        row(rows, "addresses: allocate", spent / count * 1e6, "us", f"{count} of {cidr}")
        row(rows, "addresses: churn (release one, allocate one)", churn(subnet, held, 50_000), "us",
            f"50000 at random with {count} leased of {cidr}")  # fmt: skip


def undone(rows: Rows) -> None:
    journal = Journal()
    subnet = Subnet("10.1.0.0/16", journal=journal)

    def work() -> None:
        for _ in range(10):
            mark = journal.checkpoint()
            for _ in range(1000):
                subnet.allocate()
            journal.rollback(mark)
            journal.commit()

    row(rows, "addresses: allocate and roll back", timed(work) / 10_000 * 1e6, "us",
        "10 turns of 1000")  # fmt: skip


def ports(rows: Rows) -> None:
    allocator, web = PortAllocator(), Holder("web", "w" * 25)
    spent = timed(lambda: [allocator.allocate("tcp", holder=web) for _ in range(2768)])
    row(rows, "ports: allocate", spent / 2768 * 1e6, "us", "the whole dynamic range of tcp")


def main() -> None:
    rows: Rows = []
    for part in (networks, addresses, undone, ports):
        part(rows)
    if "--json" not in sys.argv[1:]:
        for each in rows:
            print(f"{each['value']:>10} {each['unit']:<4} {each['what']} ({each['workload']})")
    print(json.dumps({"benchmark": "ipam", "rows": rows}))


if __name__ == "__main__":
    main()
