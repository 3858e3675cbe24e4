"""Ports and VXLAN ids, as recorded from a real swarm."""

from __future__ import annotations

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.ipam import (
    Holder,
    Journal,
    NotLeased,
    PortAllocator,
    PortInUse,
    PortLease,
    PortsExhausted,
    VxlanIds,
    VxlanIdsExhausted,
)

WEB = Holder("web", "rqo7s5u6y8kzpssszecrc3jc3")
DB = Holder("db", "x4nx141d0ci9pssszecrc3jc3")


def test_the_recorded_order() -> None:
    ports = PortAllocator()
    given = [ports.allocate("tcp", holder=WEB) for _ in range(3)]
    assert given == [30000, 30001, 30002]
    assert ports.allocate("udp", holder=WEB) == 30000
    assert ports.allocate("tcp", 30005, holder=DB) == 30005
    ports.release("tcp", 30001)
    assert [ports.allocate("tcp", holder=DB) for _ in range(3)] == [30003, 30004, 30006]


def test_a_conflict_names_the_holder() -> None:
    ports = PortAllocator()
    ports.allocate("tcp", 8080, holder=WEB)
    with pytest.raises(PortInUse) as refused:
        ports.allocate("tcp", 8080, holder=DB)
    assert str(refused.value) == (
        "port '8080' is already in use by service 'web' (rqo7s5u6y8kzpssszecrc3jc3) "
        "as an ingress port"
    )
    assert isinstance(refused.value, InvalidArgument)
    assert ports.allocate("udp", 8080, holder=DB) == 8080
    assert ports.holder_of("tcp", 8080) == WEB
    assert ports.holder_of("sctp", 8080) is None
    assert str(PortInUse(80, "tcp", "web", "id", "host")) == (
        "port '80' is already in use by service 'web' (id) as a host-published port"
    )


def test_the_range_ends_and_wraps() -> None:
    ports = PortAllocator()
    assert [ports.allocate("sctp", holder=WEB) for _ in range(2768)][-1] == 32767
    with pytest.raises(PortsExhausted, match="no sctp port between 30000 and 32767"):
        ports.allocate("sctp", holder=WEB)
    ports.release("sctp", 31234)
    assert ports.allocate("sctp", holder=WEB) == 31234


def test_what_is_refused() -> None:
    ports = PortAllocator()
    with pytest.raises(InvalidArgument, match="invalid protocol 'icmp'"):
        ports.allocate("icmp", 1, holder=WEB)
    for port in (-1, 65536):
        with pytest.raises(InvalidArgument, match="between 1 and 65535"):
            ports.allocate("tcp", port, holder=WEB)
    with pytest.raises(NotLeased):
        ports.release("tcp", 80)
    assert len(ports) == 0


def test_restore_goes_on_after_the_youngest_dynamic_port() -> None:
    ports = PortAllocator()
    leases = [
        PortLease("tcp", 30007, WEB, dynamic=True),
        PortLease("tcp", 30002, DB, dynamic=True),
        PortLease("tcp", 30009, DB),
    ]
    ports.restore(leases)
    assert ports.allocate("tcp", holder=DB) == 30003
    ports.release("tcp", 30003)
    assert list(ports) == sorted(leases, key=lambda lease: lease.port)
    with pytest.raises(PortInUse):
        ports.restore(leases[:1])


def test_ports_roll_back() -> None:
    journal = Journal()
    ports = PortAllocator(journal=journal)
    ports.allocate("tcp", 80, holder=WEB)
    before = list(ports)
    mark = journal.checkpoint()
    ports.release("tcp", 80)
    ports.allocate("tcp", 80, holder=DB)
    ports.allocate("tcp", holder=DB)
    ports.restore([PortLease("udp", 30020, DB, dynamic=True)])
    journal.rollback(mark)
    journal.commit()
    assert list(ports) == before
    assert ports.allocate("tcp", holder=DB) == ports.allocate("udp", holder=DB) == 30000


def test_vxlan_ids() -> None:
    ids = VxlanIds()
    assert [ids.allocate() for _ in range(2)] == [4096, 4097]
    assert ids.allocate(7) == 7
    assert ids.allocate(4098) == 4098
    assert ids.allocate() == 4099
    for taken in (4096, 7):
        with pytest.raises(InvalidArgument, match="already in use"):
            ids.allocate(taken)
    for foreign in (0, 1 << 24):
        with pytest.raises(InvalidArgument, match="between 1 and"):
            ids.allocate(foreign)
    ids.release(4096)
    with pytest.raises(NotLeased):
        ids.release(4096)
    assert ids.allocate() == 4100
    assert len(ids) == 5


def test_vxlan_ids_wrap_and_end() -> None:
    ids = VxlanIds()
    ids.restore([5000, (1 << 24) - 1])
    assert ids.allocate() == 4096
    for chunk in range(4096 // 1024, (1 << 24) // 1024):  # all ids at once
        ids._serial._taken[chunk] = (1 << 1024) - 1
    ids._serial._open.remove(0, 1 << 24)
    with pytest.raises(VxlanIdsExhausted):
        ids.allocate()
    ids.release(9999)
    assert ids.allocate() == 9999
