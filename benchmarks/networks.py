"""What creating a network costs a leader, from the first to the last of many.

One manager's machine with a log in memory: requests of 100 callers at a time become turns that are
decided, encoded, committed and settled. A create must cost the same however many networks and
published ports there are, so the rows compare the CPU time at the beginning and at the end. Garbage
collection runs as usual; its full passes are counted.

    python benchmarks/networks.py [--networks 20000] [--services 5000] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from time import process_time
from typing import Any

from lone_leader import LoneLeader

from pyswarm.model import EndpointSpec, NetworkSpec, PortConfig, ServiceSpec, replace, service_spec
from pyswarm.model.requests import CreateNetwork, CreateService, RemoveNetwork

BATCH = 100
SHARE = 10
"""The first and the last tenth are compared."""

Rows = list[dict[str, object]]


def timed(
    leader: LoneLeader, make: Callable[[int], Any], count: int
) -> tuple[list[Any], float, float]:
    """Create ``count``: what was written, µs each in the first tenth and in the last."""
    written: list[Any] = []
    spent: list[float] = []
    for first in range(0, count, BATCH):
        bodies = [make(number) for number in range(first, min(first + BATCH, count))]
        start = process_time()
        written += leader.ask(bodies)
        spent.append((process_time() - start) / len(bodies))
    part = max(len(spent) // SHARE, 1)
    return written, _median(spent[:part]) * 1e6, _median(spent[-part:]) * 1e6


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def compare(rows: Rows, what: str, first: float, last: float, workload: str) -> None:
    """Three rows: the beginning, the end, their ratio."""
    for label, value, unit in (
        ("at the beginning", first, "us"),
        ("at the end", last, "us"),
        ("end / beginning", last / first, "x"),
    ):
        row = {"what": f"{what}, {label}", "value": round(value, 2), "unit": unit}
        rows.append({**row, "workload": workload})


def publishing(number: int) -> ServiceSpec:
    """A service without tasks that publishes a port by number."""
    spec = service_spec(f"service-{number}", image="web", replicas=0)
    endpoint = EndpointSpec(ports=(PortConfig(80, 1024 + number),))
    return replace(spec, endpoint=endpoint)


def measure(networks: int, services: int) -> Rows:
    rows: Rows = []
    leader = LoneLeader()
    full = gc.get_stats()[2]["collections"]
    made, first, last = timed(
        leader, lambda number: CreateNetwork(NetworkSpec(name=f"net-{number}")), networks
    )
    load = f"{networks} overlay networks, {BATCH} to a turn, one after the other"
    compare(rows, "network create", first, last, load)
    _, first, last = timed(leader, lambda number: CreateService(publishing(number)), services)
    load = f"{services} services with a port of their own, {networks} networks there"
    compare(rows, "service create with a port", first, last, load)
    _, first, last = timed(leader, lambda number: RemoveNetwork(made[number].id), networks)
    compare(rows, "network remove", first, last, f"{networks} networks, {BATCH} to a turn")
    again, first, last = timed(
        leader, lambda number: CreateNetwork(NetworkSpec(name=f"net-{number}")), networks
    )
    subnets = [network.ipam[0].subnet for network in made]
    leaked = sum(a.ipam[0].subnet != b for a, b in zip(again, subnets, strict=True))
    assert not leaked, "a subnet did not come back"
    compare(rows, "network create again", first, last, "the same subnets, given a second time")
    full = gc.get_stats()[2]["collections"] - full
    rows.append(
        {"what": "full collections", "value": full, "unit": "", "workload": "the whole run"}
    )
    return rows


def main() -> None:
    """Run it and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=20_000)
    parser.add_argument("--services", type=int, default=5_000)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    options = parser.parse_args()
    rows = measure(options.networks, options.services)
    if not options.json:
        for row in rows:
            print(f"{row['value']:>10} {row['unit']:<3} {row['what']} ({row['workload']})")
    print(json.dumps({"benchmark": "networks", "rows": rows}))


if __name__ == "__main__":
    main()
