"""``/networks``: the swarm's and the node-local ones, inspection, create, remove, prune."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.api.hosting import NEVER_JOINED, WORKER, HostState, HostStatus, NoManager
from pyswarm.api.local import OnNetworks
from pyswarm.errors import Unavailable
from pyswarm.model import Network, NetworkAttachment, Service, TaskState, replace
from unit.api import golden_objects as made
from unit.api.door import SELF, Door
from unit.api.test_tasks import task_of


@pytest.fixture
def door() -> Door:
    door = Door()
    door.desk.node(SELF, manager=1)
    door.post("/networks/create", {"Name": "my-network", "Driver": "overlay", "IPAM": {}})
    return door


def names(door: Door, **filters: list[str]) -> list[str]:
    query = f"?filters={json.dumps(filters)}" if filters else ""
    return sorted(one["Name"] for one in door.get(f"/networks{query}"))


LOCAL = ["bridge", "docker_gwbridge", "host", "none"]


def test_all_networks_are_listed(door: Door) -> None:
    assert names(door) == sorted([*LOCAL, "ingress", "my-network"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"scope": ["swarm"]}, ["ingress", "my-network"]),
        ({"driver": ["overlay"], "name": ["my"]}, ["my-network"]),
        ({"name": ["^my-network$"]}, ["my-network"]),
        ({"name": ["^my$"]}, []),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"dangling": ["true"]}, ["ingress", "my-network"]),
        ({"label": ["x"]}, []),
    ],
)
def test_filters(door: Door, filters: Any, expected: list[str]) -> None:
    assert names(door, **filters) == expected


def test_local_networks_look_as_recorded(door: Door) -> None:
    recorded = {one["Name"]: one for one in made.recorded("networks_leader")}
    for shown in door.get("/networks"):
        if shown["Name"] not in ("host", "none"):
            continue
        wanted = dict(recorded[shown["Name"]], Id=shown["Id"], Created=shown["Created"])
        assert json.dumps(shown) == json.dumps(wanted)
        assert len(shown["Id"]) == 64


def test_newer_clients_are_told_of_ipv4(door: Door) -> None:
    answer = door.request("GET", "/v1.48/networks/my-network")
    assert json.loads(answer.body)["EnableIPv4"] is True
    assert "EnableIPv4" not in door.get("/networks/my-network")


def test_a_network_that_is_not_used_here_shows_nobody(door: Door) -> None:
    shown = door.get("/networks/my-network?verbose=true")
    recorded = made.recorded("network_my-network_verbose")
    assert list(shown) == list(recorded)
    assert shown["Containers"] is None and shown["Labels"] is None


def test_who_is_on_a_network_is_shown_as_recorded(door: Door) -> None:
    recorded = made.recorded("network_my-network_with_tasks")
    network = door.get("/networks/my-network")["Id"]
    spec = {"Name": "full3", "TaskTemplate": {"ContainerSpec": {"Image": "x"}}}
    id = door.post("/services/create", spec)["ID"]
    service = door.desk.store.service(id)
    assert isinstance(service, Service)
    on = {"state": TaskState.RUNNING, "slot": 1, "node_id": SELF, "container_id": "c" * 64}
    attached = (NetworkAttachment(network, ("10.0.1.4/24",)),)
    task = door.desk.put(task_of(service, "t1", networks=attached, **on))
    node = door.desk.store.node(SELF)
    assert node is not None
    lb = (NetworkAttachment(network, ("10.0.1.5/24",)),)
    door.desk.put(replace(node, attachments=lb, addr="10.99.0.18:2377"))
    shown = door.get("/networks/my-network?verbose=true")
    assert list(shown) == list(recorded)
    assert shown["Peers"][0]["IP"] == recorded["Peers"][0]["IP"]
    assert list(shown["Containers"]) == ["c" * 64, "lb-my-network"]
    lb_shown, lb_wanted = (one["Containers"]["lb-my-network"] for one in (shown, recorded))
    assert dict(lb_shown, EndpointID="") == dict(lb_wanted, EndpointID="")
    assert len(lb_shown["EndpointID"]) == len(lb_wanted["EndpointID"])
    assert shown["Containers"]["c" * 64]["Name"] == task.name
    assert list(shown["Services"]) == ["full3"]
    assert list(shown["Services"]["full3"]) == list(recorded["Services"]["full3"])
    assert "Services" not in door.get("/networks/my-network")


def test_options_of_the_driver_are_shown_beside_what_it_chose(door: Door) -> None:
    body = {"Name": "safe", "Driver": "overlay", "Options": {"encrypted": ""}, "Labels": {"a": "b"}}
    door.post("/networks/create", body)
    shown = door.get("/networks/safe")
    assert list(shown["Options"]) == [
        "com.docker.network.driver.overlay.vxlanid_list",
        "encrypted",
    ]
    assert shown["Labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "version", "status", "text"),
    [
        ({"Driver": "overlay"}, "1.41", 500, "invalid name: "),
        ({"Driver": "overlay"}, "1.44", 400, "invalid name: name is empty"),
        (
            {"Name": "none", "Driver": "overlay"},
            "1.41",
            403,
            "operation is not permitted on predefined none network ",
        ),
        (
            {"Name": "a", "Driver": "overlay", "Scope": "local"},
            "1.41",
            403,
            "cannot downgrade network scope for overlay networks",
        ),
        (
            {"Name": "host", "Driver": "overlay"},
            "1.41",
            409,
            "network with name host already exists",
        ),
        (
            {"Name": "a", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "x"}]}},
            "1.44",
            400,
            "invalid JSON: netip.ParsePrefix(\"x\"): no '/'",
        ),
        (
            {"Name": "a", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "300.1.1.0/24"}]}},
            "1.41",
            500,
            "Invalid subnet 300.1.1.0/24 : invalid CIDR address: 300.1.1.0/24",
        ),
        (
            {"Name": "a"},
            "1.41",
            501,
            "local networks (bridge): this node has no networks of its own, only the swarm's",
        ),
    ],
)
def test_what_cannot_be_created(
    door: Door, body: Any, version: str, status: int, text: str
) -> None:
    assert door.told("POST", "/networks/create", body, version) == (status, text)


@pytest.mark.parametrize(
    ("refusal", "state", "version", "status", "start"),
    [
        (WORKER, HostState.ACTIVE, "1.41", 403, "Cannot create a multi-host network from a worker"),
        (NEVER_JOINED, HostState.INACTIVE, "1.41", 500, NEVER_JOINED),
        (WORKER, HostState.ACTIVE, "1.44", 403, NEVER_JOINED),
    ],
)
def test_no_manager_to_create_one(
    refusal: str, state: HostState, version: str, status: int, start: str
) -> None:
    door = Door(refusal=NoManager(refusal))
    door.status = HostStatus(state=state)
    body = {"Name": "a", "Driver": "overlay"}
    told = door.told("POST", "/networks/create", body, version)
    assert told[0] == status and told[1].startswith(start)


def test_local_networks_are_there_outside_a_swarm() -> None:
    door = Door(refusal=NoManager(NEVER_JOINED))
    door.status = HostStatus()
    assert names(door) == ["bridge", "host", "none"]
    assert door.post("/networks/prune") == {"NetworksDeleted": None}


def test_networks_are_shown_while_nobody_leads(door: Door) -> None:
    ingress, _ = put_on(door, "ingress", "my-network")
    door.post("/networks/create", {"Name": "elsewhere", "Driver": "overlay"})
    lost = Door(door.desk, refusal=Unavailable("no leader", details={"managers": 3}))
    assert names(lost) == [*LOCAL[:3], "ingress", "my-network", "none"], "those it is on"
    for name in ("ingress", "my-network"):
        assert lost.get(f"/networks/{name}") == door.get(f"/networks/{name}")
    assert lost.told("DELETE", f"/networks/{ingress.id}")[0] == 500
    assert lost.told("DELETE", "/networks/elsewhere")[0] == 404


def put_on(door: Door, *names: str) -> list[Network]:
    """Let this node be on these networks."""
    networks = [door.desk.store.by_name("network", name) for name in names]
    attached = [
        NetworkAttachment(one.id, (f"10.0.{number}.5/24",)) for number, one in enumerate(networks)
    ]
    node = door.desk.store.node(SELF)
    door.desk.put(replace(node, attachments=tuple(attached), addr="10.99.0.11:2377"))
    return networks


def test_a_worker_shows_the_networks_that_it_is_on(door: Door) -> None:
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "x"}}}
    service = door.desk.store.service(door.post("/services/create", spec)["ID"])
    ingress, private = put_on(door, "ingress", "my-network")
    attached = (NetworkAttachment(private.id, ("10.0.1.4/24",)),)
    running = {"state": TaskState.RUNNING, "node_id": SELF, "container_id": "c" * 64}
    door.desk.put(task_of(service, "t1", networks=attached, **running))
    worker = Door(door.desk, refusal=NoManager(WORKER))
    assert names(worker, scope=["swarm"]) == []
    worker.on = OnNetworks(door.desk.store.node(SELF), (ingress, private))
    assert names(worker) == sorted([*LOCAL, "ingress", "my-network"])
    [recorded] = [one for one in made.recorded("networks_worker") if one["Ingress"]]
    [listed] = [one for one in worker.get("/networks") if one["Ingress"]]
    assert list(listed) == [field for field in recorded if field != "Peers"]
    assert [listed[field] for field in ("Containers", "Labels")] == [{}, {}]
    for reference in ("ingress", "my-network", private.id[:8]):
        shown = door.get(f"/networks/{reference}")
        del shown["Peers"]  # of whom it is told nothing
        assert worker.get(f"/networks/{reference}") == shown
    assert "c" * 64 in worker.get("/networks/my-network")["Containers"]
    [container] = worker.get("/containers/json")
    assert list(container["NetworkSettings"]["Networks"]) == ["my-network"]
    assert worker.told("GET", "/networks/nosuch") == (404, "network nosuch not found")
    assert worker.told("DELETE", "/networks/my-network") == (503, WORKER)


def test_remove_and_prune(door: Door) -> None:
    assert door.told("DELETE", "/networks/host") == (
        403,
        "host is a pre-defined network and cannot be removed",
    )
    for name, labels in (("a", {}), ("b", {"keep": "1"}), ("c", {})):
        body = {"Name": name, "Driver": "overlay", "Labels": labels}
        door.post("/networks/create", body)
    template = {"ContainerSpec": {"Image": "x"}, "Networks": [{"Target": "c"}]}
    door.post("/services/create", {"Name": "web", "TaskTemplate": template})
    assert door.request("DELETE", "/v1.41/networks/my-network").status == 204
    gone = door.post('/networks/prune?filters={"label!":["keep"]}')
    assert gone == {"NetworksDeleted": ["a"]}
    assert names(door, scope=["swarm"]) == ["b", "c", "ingress"]


@pytest.mark.parametrize(
    ("until", "gone"),
    [("1h", None), ("0s", ["my-network"]), ("99999999999", ["my-network"]), ("1", None)],
)
def test_prune_spares_what_is_younger(door: Door, until: str, gone: Any) -> None:
    query = f'/networks/prune?filters={{"until":["{until}"]}}'
    assert door.post(query) == {"NetworksDeleted": gone}
    told = door.told("POST", query.replace(until, "soon"), version="1.44")
    assert told == (400, "invalid filter 'until=[soon]'")


def test_containers_are_tasks_and_stay_where_they_are(door: Door) -> None:
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "x"}}}
    service = door.desk.store.service(door.post("/services/create", spec)["ID"])
    assert service is not None
    door.desk.put(task_of(service, "t1", node_id=SELF, container_id="c" * 64))
    told = {
        verb: door.told("POST", f"/networks/my-network/{verb}", {"Container": "c" * 64})[0]
        for verb in ("connect", "disconnect")
    }
    assert told == {"connect": 501, "disconnect": 403}
    assert door.told("POST", "/networks/nosuch/connect", {"Container": "cafe"})[0] == 404
