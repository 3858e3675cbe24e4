"""Subnets recorded from a real swarm (tests/golden/pools.jsonl), with our meant differences.

There ``ingress`` takes the first block, with us the last one of the last pool: so our n-th network
has the block of their (n-1)-th. There a released block is given late, with us it is the lowest
again; so the recordings are followed up to the first removal.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from pyswarm.ipam import AddressPool, PoolExhausted, Subnet

GOLDEN = Path(__file__).parents[2] / "golden" / "pools.jsonl"
RECORDS = {
    record["title"]: record["data"] for record in map(json.loads, GOLDEN.read_text().splitlines())
}


def options(words: list[str], name: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == name]


def recorded_order(steps: list[dict[str, Any]]) -> list[str]:
    """The blocks in the order they were given by the pools: ingress, net1, net2, …"""
    order: list[str] = []
    for step in steps:
        if " rm " in step["cmd"] or "--subnet" in step["cmd"]:
            break
        for network in ("ingress", shlex.split(step["cmd"])[-1]):
            for subnet, _ in step["subnets_after"].get(network, ()):
                if subnet not in order:
                    order.append(subnet)
    return order


@pytest.mark.parametrize("title", ["two_pools_26", "one_pool_16", "two_pools_exhaust", "default"])
def test_networks_count_as_recorded(title: str) -> None:
    words = shlex.split(RECORDS[title]["init"])
    size = options(words, "--default-addr-pool-mask-length") or ["24"]
    pool = AddressPool(options(words, "--default-addr-pool"), int(size[0]))
    ingress = pool.allocate_last()
    theirs = recorded_order(RECORDS[title]["steps"])
    assert len(theirs) >= 4
    if title == "two_pools_exhaust":  # four blocks in all
        assert ingress == theirs.pop()
    assert [pool.allocate() for _ in theirs] == theirs
    if title == "two_pools_exhaust":
        with pytest.raises(PoolExhausted):
            pool.allocate()


def test_gateways_as_recorded() -> None:
    seen = 0
    for data in RECORDS.values():
        for step in data["steps"]:
            for network, subnets in step["subnets_after"].items():
                for subnet, gateway in subnets:
                    given = "10.77.0.7" if network == "gw" else None
                    assert Subnet(subnet, gateway=given).gateway == gateway
                    seen += 1
    assert seen > 100
