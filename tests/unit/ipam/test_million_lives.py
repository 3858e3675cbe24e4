"""A million tasks get an address and a port and give them back: nothing is left of them."""

from __future__ import annotations

from pyswarm.env import Rng
from pyswarm.ipam import Holder, PortAllocator, Subnet

LIVES = 1_000_000
PORTS_EVERY = 10
"""Every so many lives publish a port."""
HOLDER = Holder("web", "w" * 25)


def test_nothing_is_leaked_over_a_million_lives() -> None:
    subnet, ports, rng = Subnet("10.9.8.0/26"), PortAllocator(), Rng("lives")
    held: list[tuple[str, int]] = []
    for life in range(LIVES):
        if len(held) == subnet.usable or (len(held) > 40 and life % 1000 < 500):
            address, port = held.pop(int(rng.random() * len(held)))
            subnet.release(address)
            if port:
                ports.release("tcp", port)
        port = ports.allocate("tcp", holder=HOLDER) if life % PORTS_EVERY == 0 else 0
        held.append((subnet.allocate(), port))
        assert subnet.used == len(held)
    assert len({address for address, _ in held}) == len(held)
    for address, port in held:
        subnet.release(address)
        if port:
            ports.release("tcp", port)
    assert (subnet.used, len(ports)) == (0, 0)
    fresh = Subnet("10.9.8.0/26")
    assert subnet._serial._taken == fresh._serial._taken
    assert list(subnet._serial._open) == list(fresh._serial._open)
    assert len({subnet.allocate() for _ in range(subnet.usable)}) == subnet.usable
