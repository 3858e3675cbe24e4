"""One network as its inspection shows it on this node: who is on it here, its peers, its services.

Docker's engine knows these from the data plane of the networks that its own containers are on. Here
they are derived from the store, for networks that a task or the load balancer of this node is on;
of others, managers show what ``/networks`` lists. A worker has been told of its own networks and
tasks only: it shows who is on a network here, and not its peers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from pyswarm.api.asks import Live
from pyswarm.api.convert import show_network
from pyswarm.api.convert.parts import host_of
from pyswarm.api.local import container_id
from pyswarm.api.messages import ApiVersion
from pyswarm.model import Network, Node, Service, Task, TaskState
from pyswarm.store import Reader

PEER_DIGITS = 12
LB_INDEX = 256
"""The first mark that Docker's load balancer gives a service on a node."""


def show_network_here(
    network: Network, reader: Reader, live: Live, version: ApiVersion, verbose: bool
) -> dict[str, Any]:
    """The network in Engine JSON, with what this node sees of it."""
    node = reader.node(live.node_id)
    if node is None or not is_on(network, node):
        return show_network(network, version)
    shown = show_to_worker(network, node, reader.tasks_of_node(node.id), version)
    shown["Peers"] = [
        {"Name": _digest(one.id)[:PEER_DIGITS], "IP": host_of(one.addr)}
        for one in reader.nodes()
        if is_on(network, one)
    ]
    if verbose:
        shown["Services"] = _services(network, reader)
    return shown


def show_to_worker(
    network: Network, node: Node, tasks: Iterable[Task], version: ApiVersion
) -> dict[str, Any]:
    """The network in Engine JSON, with what any node on it knows: its own ``tasks`` there."""
    shown = show_network(network, version)
    shown["Containers"] = _containers(network, node, tasks)
    shown["Labels"] = dict(network.spec.labels)
    return shown


def show_listed_here(network: Network, version: ApiVersion) -> dict[str, Any]:
    """The network in a list of those that this node is on: a list says of none who is on it."""
    labels = dict(network.spec.labels)
    return {**show_network(network, version), "Containers": {}, "Labels": labels}


def is_on(network: Network, node: Node | None) -> bool:
    """Whether the node has an address on the network: for its tasks, or for published ports."""
    return node is not None and bool(_address(node.attachments, network.id))


def _address(attachments: Any, network_id: str) -> str:
    """The address (CIDR) that is attached to the network; "" for none."""
    for one in attachments:
        if one.network_id == network_id and one.addresses:
            return str(one.addresses[0])
    return ""


def _digest(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def _endpoint(name: str, owner: str, network_id: str, address: str) -> dict[str, Any]:
    octets = address.partition("/")[0].split(".")
    is_v4 = len(octets) == 4
    mac = ":".join(["02", "42", *(f"{int(one):02x}" for one in octets)]) if is_v4 else ""
    return {
        "Name": name,
        "EndpointID": _digest(owner, network_id),
        "MacAddress": mac,
        "IPv4Address": address if is_v4 else "",
        "IPv6Address": "" if is_v4 else address,
    }


def _running_on(network: Network, tasks: Iterable[Task]) -> list[tuple[Task, str]]:
    found = []
    for task in tasks:
        address = _address(task.networks, network.id)
        if task.state is TaskState.RUNNING and address:
            found.append((task, address))
    return found


def _containers(network: Network, node: Node, tasks: Iterable[Task]) -> dict[str, Any]:
    """This node's tasks on the network, and its load balancer."""
    shown = {
        container_id(task.id, task.container_id): _endpoint(task.name, task.id, network.id, address)
        for task, address in _running_on(network, tasks)
    }
    if network.spec.ingress:
        name, owner = "ingress-endpoint", "ingress-sbox"
    else:
        name, owner = f"{network.spec.name}-endpoint", f"lb-{network.spec.name}"
    address = _address(node.attachments, network.id)
    shown[owner] = _endpoint(name, node.id, network.id, address)
    return dict(sorted(shown.items()))


def _services(network: Network, reader: Reader) -> dict[str, Any]:
    """The services with tasks on the network, by name."""
    shown: dict[str, Any] = {}
    tasks = _running_on(network, reader.tasks_using_network(network.id))
    for service in reader.services():
        own = [(task, address) for task, address in tasks if task.service_id == service.id]
        if own:
            shown[service.spec.name] = _service(service, own, network, reader, len(shown))
    return dict(sorted(shown.items()))


def _service(
    service: Service,
    tasks: list[tuple[Task, str]],
    network: Network,
    reader: Reader,
    number: int,
) -> dict[str, Any]:
    endpoint = service.endpoint
    vips = endpoint.virtual_ips if endpoint is not None else ()
    vip = next((one.address for one in vips if one.network_id == network.id), "<nil>")
    ports = endpoint.ports if endpoint is not None and network.spec.ingress else ()
    return {
        "VIP": vip.partition("/")[0],
        "Ports": [f"Target: {one.target_port}, Publish: {one.published_port}" for one in ports],
        "LocalLBIndex": LB_INDEX + number,
        "Tasks": [
            {
                "Name": task.name,
                "EndpointID": _digest(task.id, network.id),
                "EndpointIP": address.partition("/")[0],
                "Info": {"Host IP": _node_host(reader, task.node_id)},
            }
            for task, address in tasks
        ],
    }


def _node_host(reader: Reader, node_id: str) -> str:
    node = reader.node(node_id)
    return host_of(node.addr) if node is not None else ""
