"""Subnets, addresses, ports (spec: networking.md sections 1-3 and 7; recorded: pools.jsonl)."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.ipam import PoolExhausted, PoolOverlap, PortInUse
from pyswarm.model.objects import Endpoint, Service
from pyswarm.model.specs import (
    EndpointSpec,
    Global,
    IPAMConfig,
    IPAMOptions,
    NetworkAttachmentConfig,
    PortConfig,
    ServiceSpec,
    UpdateConfig,
)
from pyswarm.model.states import EndpointMode, Protocol, PublishMode, TaskState
from pyswarm.orchestrator.leases import Leases
from pyswarm.orchestrator.networks import VXLAN_OPTION

from .harness import WHY, World, a_spec


def on(*names: str) -> tuple[NetworkAttachmentConfig, ...]:
    return tuple(NetworkAttachmentConfig(f"net-{name}") for name in names)


def addresses(world: World, service_id: str) -> list[str]:
    return [a for t in world.tasks(service_id) for n in t.networks for a in n.addresses]


def vips(world: World, service_id: str) -> dict[str, str]:
    endpoint = world.service(service_id).endpoint
    return {vip.network_id: vip.address for vip in endpoint.virtual_ips} if endpoint else {}


def published(world: World, service_id: str) -> list[int]:
    endpoint = world.service(service_id).endpoint
    return [port.published_port for port in endpoint.ports] if endpoint else []


def test_user_networks_count_from_the_first_pool_and_ingress_takes_the_last() -> None:
    world = World(pools=("10.20.0.0/16", "10.30.0.0/16"), subnet_size=26)
    ingress = world.store.network("ingress")
    assert ingress is not None and ingress.ipam[0].subnet == "10.30.255.192/26"
    assert ingress.driver_state[VXLAN_OPTION] == "4096"
    one, two = world.network("net1"), world.network("net2")
    assert (one.ipam[0].subnet, one.ipam[0].gateway) == ("10.20.0.0/26", "10.20.0.1")
    assert two.ipam[0].subnet == "10.20.0.64/26"
    assert (one.driver_state[VXLAN_OPTION], two.driver_state[VXLAN_OPTION]) == ("4097", "4098")


def test_what_no_pool_can_serve_is_refused() -> None:
    world = World(pools=("10.20.0.0/28",), subnet_size=29)
    world.network("a")
    with pytest.raises(PoolExhausted, match=r"10\.20\.0\.0/28"):
        world.network("b")
    given = IPAMOptions(configs=(IPAMConfig(subnet="10.20.0.0/30"),))
    with pytest.raises(PoolOverlap):
        world.network("c", ipam=given)
    outside = IPAMOptions(configs=(IPAMConfig(subnet="192.168.7.0/24", gateway="192.168.7.9"),))
    assert world.network("d", ipam=outside).ipam[0].gateway == "192.168.7.9"
    bridge = world.network("e", driver="bridge")
    assert bridge.ipam == () and not bridge.driver_state


def test_order_in_a_fresh_subnet() -> None:
    """Gateway .1, the service's address .2, its tasks .3 and on, then the nodes'."""
    world = World(2)
    world.network("a")
    service_id = world.create(a_spec(replicas=3, networks=on("a")))
    assert vips(world, service_id) == {"net-a": "10.0.0.2/24"}
    assert addresses(world, service_id) == ["10.0.0.3/24", "10.0.0.4/24", "10.0.0.5/24"]
    balancers = [a.addresses for n in world.store.nodes() for a in n.attachments[1:]]
    assert balancers == [("10.0.0.6/24",), ("10.0.0.7/24",)]
    other = world.create(a_spec("other", replicas=1, networks=on("a")))
    assert vips(world, other) == {"net-a": "10.0.0.8/24"}


def test_every_node_has_an_address_on_ingress() -> None:
    world = World(2)
    world.node("n3")
    attached = [node.attachments for node in world.store.nodes()]
    assert [[a.network_id for a in some] for some in attached] == [["ingress"]] * 3
    assert len({some[0].addresses for some in attached}) == 3


def test_ended_tasks_give_their_addresses_back_and_balancers_go() -> None:
    world = World(1, subnet_size=29)
    world.network("a")
    service_id = world.create(a_spec(replicas=2, networks=on("a")))
    world.run(2)
    for _ in range(20):  # 6 usable: gateway, service, two tasks, balancer, one to spare
        task = world.live(service_id)[0]
        world.report(task, TaskState.FAILED)
        world.run(7)
        assert len(world.live(service_id)) == 2
    world.remove(service_id)
    world.run(5)
    assert [a.network_id for a in world.store.node("n1").attachments] == ["ingress"]  # type: ignore[union-attr]


def test_exhausted_network_serves_who_waits_when_something_is_freed() -> None:
    world = World(1, subnet_size=29)
    world.network("a")
    first = world.create(a_spec("first", replicas=3, networks=on("a")))
    second = world.create(a_spec("second", replicas=1, networks=on("a")))
    world.run(2)
    assert world.service(second).endpoint is None
    assert [task.state for task in world.tasks(second)] == [TaskState.NEW]
    world.remove(first)
    world.run(5)
    assert len(world.live(second)) == 1


def test_of_those_who_wait_for_an_address_services_come_first() -> None:
    """Whoever leads: the harness lets a new leader decide each turn as well."""
    world = World(3)
    network = world.network("small", ipam=IPAMOptions(configs=(IPAMConfig("192.168.0.0/29"),)))
    attached = (NetworkAttachmentConfig(network.id),)
    first = world.create(a_spec("first", replicas=3, networks=attached))
    second = world.create(a_spec("second", replicas=1, networks=attached))
    assert world.service(second).endpoint is None
    spec = world.service(first).spec
    task = attrs.evolve(spec.task, networks=())
    world.update(first, attrs.evolve(spec, task=task))
    freed = world.service(second).endpoint
    assert freed is not None and [vip.address for vip in freed.virtual_ips] == ["192.168.0.2/29"]


def test_a_task_that_waits_gets_the_same_address_from_a_new_leader() -> None:
    """What is to be removed is deleted by one reconciler, after addresses are given."""
    world = World(3)
    small = world.network("small", ipam=IPAMOptions(configs=(IPAMConfig("192.168.0.0/29"),)))
    other = world.network("other")
    attached = tuple(NetworkAttachmentConfig(network.id) for network in (other, small))
    service_id = world.create(a_spec(replicas=3, networks=attached))
    world.change(service_id, image="app:2", replicas=1)
    (waits,) = [task for task in world.tasks(service_id) if task.state is TaskState.NEW]
    world.run(10)
    served = world.store.task(waits.id)
    assert served is not None and served.state is TaskState.RUNNING
    assert [one.addresses for one in served.networks] == [("10.0.0.6/24",), ("192.168.0.6/29",)]


def test_dnsrr_has_no_virtual_address_and_comes_back_with_a_new_one() -> None:
    world = World()
    world.network("a")
    service_id = world.create(a_spec(replicas=1, networks=on("a")))
    before = vips(world, service_id)
    world.change(service_id, endpoint=EndpointSpec(mode=EndpointMode.DNSRR))
    assert vips(world, service_id) == {}
    world.run(40)
    world.change(service_id, endpoint=EndpointSpec(mode=EndpointMode.VIP))
    assert vips(world, service_id).keys() == before.keys()


def test_ingress_comes_first() -> None:
    world = World()
    world.network("a")
    service_id = world.create(a_spec(replicas=1, networks=on("a"), ports=[PortConfig(80)]))
    assert list(vips(world, service_id)) == ["ingress", "net-a"]
    task = world.tasks(service_id)[0]
    assert [a.network_id for a in task.networks] == ["ingress", "net-a"]
    assert task.endpoint == world.service(service_id).endpoint


def test_an_endpoint_is_there_once_something_was_allocated() -> None:
    world = World()
    service_id = world.create(a_spec(replicas=1))
    world.change(service_id, endpoint=EndpointSpec())
    assert world.service(service_id).endpoint is None
    world.change(service_id, endpoint=EndpointSpec(ports=(PortConfig(80),)))
    world.change(service_id, endpoint=EndpointSpec())
    assert world.service(service_id).endpoint == Endpoint()
    world.run(5)
    assert len(world.live(service_id)) == 1


def test_a_service_on_a_nodes_own_network_has_no_address_there() -> None:
    world = World()
    world.network("host", driver="host")
    service_id = world.create(a_spec(replicas=1, networks=on("host")))
    assert vips(world, service_id) == {"net-host": ""}
    world.rebuild()
    world.run(2)
    assert len(world.live(service_id)) == 1
    world.remove(service_id)


def test_dynamic_ports_are_serial_and_kept() -> None:
    """Recorded (auto-ports): a freed 30001 is not given again after 30002."""
    world = World()
    ids = [world.create(a_spec(f"s{n}", replicas=0, ports=[PortConfig(80)])) for n in range(3)]
    assert [published(world, id) for id in ids] == [[30000], [30001], [30002]]
    world.remove(ids[1])
    again = world.create(a_spec("again", replicas=0, ports=[PortConfig(80)]))
    assert published(world, again) == [30003]
    udp = world.create(a_spec("udp", replicas=0, ports=[PortConfig(80, protocol=Protocol.UDP)]))
    assert published(world, udp) == [30000]
    world.change(ids[0], endpoint=EndpointSpec(ports=(PortConfig(81), PortConfig(80))))
    assert published(world, ids[0]) == [30004, 30000]
    fixed = world.create(a_spec("fixed", replicas=0, ports=[PortConfig(1, 30005), PortConfig(2)]))
    assert published(world, fixed) == [30005, 30006]


def test_host_ports_are_left_alone() -> None:
    world = World()
    host = PortConfig(80, publish_mode=PublishMode.HOST)
    service_id = world.create(a_spec(mode=Global(), ports=[host]))
    world.run(2)
    assert published(world, service_id) == [0] and vips(world, service_id) == {}
    assert len(world.live(service_id)) == 3


def check(world: World, spec: ServiceSpec, service_id: str) -> None:
    Leases.rebuild(world.store).check_ports(world.store.fork(world.now), spec, service_id)


@pytest.mark.parametrize(
    ("mine", "theirs", "text"),
    [
        ("ingress", "ingress", "as an ingress port"),
        ("ingress", "host", "as a host-published port"),
        ("host", "ingress", "as an ingress port"),
        ("host", "host", ""),
    ],
)
def test_port_conflicts(mine: str, theirs: str, text: str) -> None:
    world = World()
    world.create(
        a_spec("other", replicas=0, ports=[PortConfig(80, 8080, publish_mode=PublishMode(theirs))])
    )
    spec = a_spec("mine", ports=[PortConfig(80, 8080, publish_mode=PublishMode(mine))])
    if not text:
        check(world, spec, "")
        return
    with pytest.raises(PortInUse) as caught:
        check(world, spec, "")
    expected = f"port '8080' is already in use by service 'other' (service-other) {text}"
    assert str(caught.value) == expected
    check(world, spec, "service-other")
    check(world, a_spec("mine", ports=[PortConfig(80, 8080, Protocol.UDP)]), "")


def test_chosen_port_conflicts_too() -> None:
    world = World()
    world.create(a_spec("other", replicas=0, ports=[PortConfig(80)]))
    with pytest.raises(PortInUse):
        check(world, a_spec("mine", ports=[PortConfig(80, 30000)]), "")


def test_a_port_that_cannot_be_had_keeps_no_other() -> None:
    """Docker takes a service with a port that there is none of; its tasks stay new."""
    world = World(1)
    impossible = (PortConfig(80, 8080), PortConfig(81, 70_000))
    first = world.create(a_spec("first", ports=impossible))
    world.run(5)
    assert [task.state for task in world.tasks(first)] == [TaskState.NEW]
    world.remove(first)
    assert world.tasks() == []
    second = world.create(a_spec("second", ports=[PortConfig(80, 8080)]))
    world.run(5)
    world.change(second, endpoint=EndpointSpec(ports=impossible))
    world.run(5)
    world.change(second, endpoint=EndpointSpec(ports=(PortConfig(80, 9090),)))
    third = world.create(a_spec("third", ports=[PortConfig(80, 8080)]))
    world.run(5)
    assert len(world.live(second)) == len(world.live(third)) == 1


def test_who_waited_for_a_port_that_is_not_wanted_any_more_waits_no_more() -> None:
    world = World(2)
    slow = UpdateConfig(parallelism=1, delay=1000.0)
    spec = a_spec(replicas=2, ports=[PortConfig(80, 70_000)], update=slow)
    service_id = world.create(spec)
    world.run(2)
    assert [task.state for task in world.tasks(service_id)] == [TaskState.NEW] * 2
    world.change(service_id, endpoint=None)
    world.run(5)
    assert len(world.live(service_id)) == 2  # the second one's turn is far away


def test_missing_ingress_keeps_tasks_new_until_it_is_there() -> None:
    world = World(ingress=False)
    service_id = world.create(a_spec(replicas=1, ports=[PortConfig(80)]))
    world.run(1)
    assert world.tasks(service_id)[0].state is TaskState.NEW
    world.network("ingress", ingress=True)
    world.run(1)
    assert len(world.live(service_id)) == 1


def test_network_removed_takes_the_balancers_along() -> None:
    world = World(2)
    world.network("a")
    service_id = world.create(a_spec(replicas=2, networks=on("a")))
    world.run(2)
    world.remove(service_id)
    world.turn(lambda tx: tx.delete("network", "net-a", WHY))
    assert {a.network_id for n in world.store.nodes() for a in n.attachments} == {"ingress"}


def test_given_addresses_and_ipv6() -> None:
    world = World()
    ipam = IPAMOptions(configs=(IPAMConfig(subnet="fd00:1::/64"), IPAMConfig(subnet="10.9.0.0/24")))
    world.network("a", ipv6=True, ipam=ipam)
    wanted = NetworkAttachmentConfig("net-a", aliases=("db",), addresses=("10.9.0.77",))
    service_id = world.create(a_spec(replicas=1, networks=(wanted,)))
    attachment = world.tasks(service_id)[0].networks[0]
    assert attachment.addresses == ("10.9.0.77/24", "fd00:1::2/64")
    assert attachment.aliases == ("db",)


def test_service_is_shared_not_copied() -> None:
    world = World()
    service: Service = world.service(world.create(a_spec(replicas=3)))
    assert all(task.spec is service.spec.task for task in world.tasks(service.id))
