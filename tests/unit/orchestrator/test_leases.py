"""The leases that requests ask: what they cost, what a rollback leaves, and their rebuilt twin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import SwarmError
from pyswarm.ipam import PoolExhausted, PortInUse
from pyswarm.model import Network, NetworkSpec, Service, Swarm, replace, service_spec
from pyswarm.model.specs import EndpointSpec, IPAMConfig, IPAMOptions, PortConfig
from pyswarm.model.states import PublishMode
from pyswarm.orchestrator.leases import Leases
from pyswarm.orchestrator.networks import VXLAN_OPTION
from pyswarm.store import Store, Transaction

from .harness import WHY

POOLS = ("10.0.0.0/24",)
SIZE = 28
"""Sixteen subnets: few enough to run out of."""


def founded() -> Store:
    store = Store()
    tx = store.begin(1, 1000.0)
    tx.create(Swarm(id="swarm", default_addr_pools=POOLS, subnet_size=SIZE), WHY)
    store.install(tx)
    return store


def begin(store: Store) -> Transaction:
    return store.begin(store.version + 1, 1000.0 + store.version)


def add(tx: Transaction, leases: Leases, name: str, **fields: Any) -> Network:
    network = Network(id=f"net-{name}", spec=NetworkSpec(name=name, **fields))
    return tx.create(leases.allocate(tx, network), WHY)


def publishing(name: str, port: int, mode: PublishMode = PublishMode.INGRESS) -> Service:
    endpoint = EndpointSpec(ports=(PortConfig(80, port, publish_mode=mode),))
    spec = replace(service_spec(name, image="web"), endpoint=endpoint)
    return Service(id=f"service-{name}", spec=spec)


def state(leases: Leases) -> Any:
    """All that answers depend on."""
    pool = leases._pool
    assert pool is not None
    return (
        list(pool),
        pool.free_count(),
        sorted(leases._ids._serial._taken.items()),
        sorted(leases._shared.items()),
        leases._recent.last(),
        sorted(leases._published._by.items()),
        sorted(leases._ingress),
    )


def test_a_refused_request_leaves_nothing() -> None:
    store = founded()
    leases = Leases.rebuild(store)
    tx = begin(store)
    add(tx, leases, "stays")
    leases.follow(tx)
    before = state(leases)
    savepoint = tx.savepoint()
    add(tx, leases, "goes")
    tx.create(publishing("goes", 8080), WHY)
    with pytest.raises(PortInUse, match="'8080' is already in use by service 'goes'"):
        leases.check_ports(tx, publishing("other", 8080).spec, "")
    tx.delete("network", "net-stays", WHY)
    assert add(tx, leases, "instead").ipam[0].subnet == "10.0.0.0/28"
    tx.rollback(savepoint)
    leases.follow(tx)
    assert state(leases) == before
    leases.check_ports(tx, publishing("other", 8080).spec, "")


def test_choosing_leases_nothing_until_it_is_written() -> None:
    store = founded()
    leases = Leases.rebuild(store)
    tx = begin(store)
    before = state(leases)
    network = Network(id="n", spec=NetworkSpec(name="n"))
    first, second = leases.allocate(tx, network), leases.allocate(tx, network)
    assert first == second
    assert state(leases) == before


def test_a_refused_choice_gives_back_what_it_had_taken() -> None:
    store = founded()
    leases = Leases.rebuild(store)
    before = state(leases)
    wanted = (IPAMConfig(), IPAMConfig(subnet="10.0.0.0/24"))
    with pytest.raises(SwarmError, match="overlaps"):
        add(begin(store), leases, "bad", ipam=IPAMOptions(configs=wanted))
    assert state(leases) == before


def test_a_dropped_turn_leaves_nothing_and_a_settled_one_stands() -> None:
    store = founded()
    leases = Leases.rebuild(store)
    dropped = begin(store)
    add(dropped, leases, "lost")
    settled = begin(store)
    assert add(settled, leases, "kept").ipam[0].subnet == "10.0.0.0/28"
    store.install(settled)
    tx = begin(store)
    assert add(tx, leases, "next").ipam[0].subnet == "10.0.0.16/28"
    leases.follow(tx)
    assert state(leases) == state(Leases.rebuild(tx))


def test_the_last_subnet_is_given_and_the_next_refused_by_name() -> None:
    store = founded()
    leases = Leases.rebuild(store)
    tx = begin(store)
    for number in range(16):
        add(tx, leases, str(number))
    with pytest.raises(PoolExhausted, match=r"10\.0\.0\.0/24"):
        add(tx, leases, "too many")
    tx.delete("network", "net-7", WHY)
    assert add(tx, leases, "again").ipam[0].subnet == "10.0.0.112/28"


class Counting(Transaction):
    """Counts the objects that a request looks at."""

    looked = 0

    def get(self, kind: str, id: str) -> Any:
        self.looked += 1
        return super().get(kind, id)

    def all(self, kind: str) -> Iterator[Any]:
        for obj in super().all(kind):
            self.looked += 1
            yield obj

    def select(self, kind: str, index: str, key: Any) -> list[Any]:
        found = super().select(kind, index, key)
        self.looked += len(found)
        return found


@pytest.mark.parametrize("others", [1, 200])
def test_a_create_looks_at_no_other_network_or_service(others: int) -> None:
    """The same count of objects read, whatever the size of the swarm."""
    store = Store()
    tx = store.begin(1, 1000.0)
    tx.create(Swarm(id="swarm"), WHY)
    leases = Leases.rebuild(tx)
    for number in range(others):
        add(tx, leases, str(number))
        tx.create(publishing(str(number), 1024 + number), WHY)
        tx.create(publishing(f"host-{number}", 80, PublishMode.HOST), WHY)
    store.install(tx)
    counting = Counting(store._tables, based_on=1, version=2, now=1001.0)
    leases.follow(counting)
    counting.looked = 0
    network = Network(id="new", spec=NetworkSpec(name="new"))
    assert leases.allocate(counting, network).ipam[0].subnet == f"10.0.{others}.0/24"
    leases.check_ports(counting, publishing("new", 90).spec, "")
    assert leases.ingress(counting) == ""
    assert counting.looked == 0
    with pytest.raises(PortInUse):
        leases.check_ports(counting, publishing("new", 80).spec, "")
    assert counting.looked == 1, "the holder, to name it"


NAMES = st.sampled_from("abcdefgh")
STEPS = st.one_of(
    st.tuples(st.just("add"), NAMES, st.sampled_from(["", "10.0.0.64/26", "10.9.0.0/24"])),
    st.tuples(st.just("add-id"), NAMES, st.sampled_from(["4096", "5000,5001"])),
    st.tuples(st.just("ingress"), NAMES, st.just("")),
    st.tuples(st.just("remove"), NAMES, st.just("")),
    st.tuples(st.just("publish"), NAMES, st.sampled_from(["80", "81", "host 80"])),
    st.tuples(st.just("unpublish"), NAMES, st.just("")),
    st.tuples(st.sampled_from(["refuse", "settle", "drop"]), st.just(""), st.just("")),
)


def put(tx: Transaction, leases: Leases, what: str, name: str, more: str) -> None:
    """One random request, refused or not."""
    if what in ("add", "add-id", "ingress"):
        fields: dict[str, Any] = {}
        if what == "add" and more:
            fields["ipam"] = IPAMOptions(configs=(IPAMConfig(subnet=more),))
        if what == "add-id":
            fields["driver_options"] = {VXLAN_OPTION: more}
        add(tx, leases, name, ingress=what == "ingress", **fields)
    elif what == "publish":
        mode = PublishMode.HOST if more.startswith("host") else PublishMode.INGRESS
        service = publishing(name, int(more.split()[-1]), mode)
        known = tx.service(service.id)
        leases.check_ports(tx, service.spec, service.id)
        if known is None:
            tx.create(service, WHY)
        else:
            tx.update(replace(known, spec=service.spec), WHY)
    else:
        kind, id = "service", f"service-{name}"
        if what == "remove":
            kind, id = "network", f"net-{name}"
        tx.delete(kind, id, WHY)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_long_lived_leases_equal_rebuilt_ones(steps: list[tuple[str, str, str]]) -> None:
    store = founded()
    leases = Leases.rebuild(store)
    tx = begin(store)
    savepoint = tx.savepoint()
    for what, name, more in steps:
        if what == "settle":
            store.install(tx)
        if what in ("settle", "drop"):
            tx = begin(store)
            savepoint = tx.savepoint()
        elif what == "refuse":
            tx.rollback(savepoint)
        else:
            savepoint = tx.savepoint()
            try:
                put(tx, leases, what, name, more)
            except SwarmError:
                tx.rollback(savepoint)
        leases.follow(tx)
        assert state(leases) == state(Leases.rebuild(tx))
