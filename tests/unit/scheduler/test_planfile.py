"""Plan files: what is read, and what is refused with its place in the file."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model.resources import NANO, GenericResource
from pyswarm.model.states import Availability, NodeState, PublishMode, Role
from pyswarm.scheduler import parse_plan, plan_to_dict


def test_everything_a_node_can_say() -> None:
    data = {
        "name": "a",
        "id": "id-a",
        "labels": {"rack": 1, "ssd": True},
        "engine_labels": {"x": "y"},
        "cpus": "2.5",
        "memory": "1.5GiB",
        "availability": "drain",
        "state": "down",
        "role": "manager",
        "os": "plan9",
        "arch": "arm64",
        "addr": "10.0.0.1",
        "plugins": ["Volume/rexray", "log/gelf"],
        "generic": {"gpu": ["red", "blue"], "fpga": 3},
    }
    (node,) = parse_plan({"nodes": [data]}).nodes
    assert (node.id, node.hostname, node.addr) == ("id-a", "a", "10.0.0.1")
    assert dict(node.spec.labels) == {"rack": "1", "ssd": "true"}
    assert (node.role, node.state) == (Role.MANAGER, NodeState.DOWN)
    assert node.spec.availability is Availability.DRAIN
    assert node.description is not None
    resources = node.description.resources
    assert (resources.nano_cpus, resources.memory_bytes) == (NANO * 5 // 2, 3 << 29)
    assert resources.generic == (
        GenericResource("fpga", 3),
        GenericResource("gpu", names=("red", "blue")),
    )
    assert [(p.type, p.name) for p in node.description.plugins] == [
        ("Volume", "rexray"),
        ("Log", "gelf"),
    ]


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        (512, 512),
        ("512", 512),
        ("512M", 512 << 20),
        ("10g", 10 << 30),
        ("1GiB", 1 << 30),
        ("1kb", 1024),
        ("0.5 T", 1 << 39),
        (2.0, 2),
        ("7b", 7),
    ],
)
def test_sizes(memory: Any, size: int) -> None:
    (node,) = parse_plan({"nodes": [{"name": "a", "memory": memory}]}).nodes
    assert node.description is not None
    assert node.description.resources.memory_bytes == size


def test_ports() -> None:
    ports = ["8500:80/tcp@host", "80/udp@host", "443", "8080:80"]
    (service,) = parse_plan({"services": [{"name": "a", "ports": ports}]}).services
    assert service.endpoint is not None
    shown = [(p.published_port, p.target_port, str(p.protocol)) for p in service.endpoint.ports]
    assert shown == [(8500, 80, "tcp"), (0, 80, "udp"), (0, 443, "tcp"), (8080, 80, "tcp")]
    modes = [port.publish_mode for port in service.endpoint.ports]
    assert modes == [PublishMode.HOST] * 2 + [PublishMode.INGRESS] * 2


NODES = [{"name": "a", "cpus": 4, "generic": {"gpu": 1}}]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "f: [] is not an object"),
        ({"node": []}, "f: unknown field 'node'"),
        ({"nodes": {}}, "f: nodes: {} is not a list"),
        ({"nodes": [{}]}, "f: nodes[0]: 'name' is missing"),
        ({"nodes": [{"name": ""}]}, "f: nodes[0].name: '' is not a name"),
        ({"nodes": [{"name": "a", "cpu": 1}]}, "f: nodes[0]: unknown field 'cpu'"),
        ({"nodes": NODES * 2}, "f: nodes[1]: node 'a' is there twice"),
        (
            {"nodes": [{"name": "a", "id": "x"}, {"name": "b", "id": "x"}]},
            "f: nodes[1]: node 'b' is there twice",
        ),
        ({"nodes": [{"name": "a", "cpus": float("nan")}]}, "f: nodes[0].cpus: nan is not a"),
        ({"nodes": [{"name": "a", "cpus": -1}]}, "f: nodes[0].cpus: -1 is not a number"),
        ({"nodes": [{"name": "a", "cpus": True}]}, "f: nodes[0].cpus: True is not a number"),
        ({"nodes": [{"name": "a", "cpus": "many"}]}, "f: nodes[0].cpus: 'many' is not a number"),
        ({"nodes": [{"name": "a", "memory": "12Q"}]}, "f: nodes[0].memory: '12Q' is not a size"),
        ({"nodes": [{"name": "a", "memory": 2.5}]}, "f: nodes[0].memory: 2.5 is not a whole"),
        ({"nodes": [{"name": "a", "memory": "-1g"}]}, "f: nodes[0].memory: '-1g' is not a"),
        ({"nodes": [{"name": "a", "memory": "9999999p"}]}, "f: nodes[0].memory: '9999999p' is"),
        ({"nodes": [{"name": "a", "memory": float("inf")}]}, "f: nodes[0].memory: inf is not"),
        ({"nodes": [{"name": "a", "memory": []}]}, "f: nodes[0].memory: [] is not a size"),
        (
            {"nodes": [{"name": "a", "availability": "off"}]},
            "f: nodes[0].availability: 'off' is not one of active, pause, drain",
        ),
        ({"nodes": [{"name": "a", "labels": {"x": 1.5}}]}, "f: nodes[0].labels.x: 1.5 is not"),
        ({"nodes": [{"name": "a", "plugins": ["x"]}]}, "f: nodes[0].plugins[0]: 'x' is not a"),
        (
            {"nodes": [{"name": "a", "generic": {"gpu": -1}}]},
            "f: nodes[0].generic.gpu: -1 is not a whole number",
        ),
        (
            {"nodes": [{"name": "a", "generic": {"gpu": ["x", "x"]}}]},
            "f: nodes[0].generic.gpu: ['x', 'x'] is not a number or a list of different names",
        ),
        (
            {"services": [{"name": "s", "generic": {"gpu": ["x"]}}]},
            "f: services[0].generic.gpu: ['x'] is not a whole number",
        ),
        (
            {"services": [{"name": "s", "generic": {"gpu": 0}}]},
            "f: services[0].generic.gpu: 0 is not a number from 1 on",
        ),
        ({"services": [{"name": "s"}] * 2}, "f: services[1]: service 's' is there twice"),
        (
            {"services": [{"name": "s", "constraints": ["node.role=x"]}]},
            "f: services[0].constraints[0]: constraint expected one operator from ==, !=",
        ),
        (
            {"services": [{"name": "s", "preferences": ["node.labels.x"]}]},
            "f: services[0].preferences[0]: 'node.labels.x' is not spread=",
        ),
        (
            {"services": [{"name": "s", "ports": ["80", "99999:80@host"]}]},
            "f: services[0].ports[1]: '99999:80@host' is not a port",
        ),
        (
            {"services": [{"name": "s", "mode": "global", "replicas": 2}]},
            "f: services[0].replicas: a global service has no replicas",
        ),
        ({"services": [{"name": "s", "replicas": -1}]}, "f: services[0].replicas: -1 is not"),
        (
            {"nodes": NODES, "existing": [{"service": "s", "node": "b"}]},
            "f: existing[0].node: there is no node 'b'",
        ),
        (
            {"nodes": NODES, "existing": [{"service": "s", "node": "a", "generic": {"gpu": 2}}]},
            "f: existing[0]: node 'a' has not so much 'gpu'",
        ),
        ({"nodes": [{"name": "a", "cpus": 10**400}]}, "f: nodes[0].cpus: 1000"),
        ({"nodes": [{"name": "a", "cpus": 10**5000}]}, "f: nodes[0].cpus: a very large number is"),
        ({"nodes": [{"name": "a", "cpus": "nan"}]}, "f: nodes[0].cpus: 'nan' is not a number"),
        ({"nodes": [{"name": "a", "memory": 10**400}]}, "f: nodes[0].memory: 1000"),
        ({"nodes": [{"name": "a", "memory": "NaN"}]}, "f: nodes[0].memory: 'NaN' is not a size"),
        ({"nodes": [{"name": [[]]}]}, "f: nodes[0].name: a list of 1 is not a name"),
        (
            {"services": [{"name": "s", "reserve_memory": "1.5"}]},
            "f: services[0].reserve_memory: '1.5' is not a whole number of bytes",
        ),
        ({"services": [{"name": "s", "reserve_cpu": -0.5}]}, "f: services[0].reserve_cpu: -0.5"),
        (
            {"services": [{"name": "s", "generic": {"gpu": -1}}]},
            "f: services[0].generic.gpu: -1 is not a whole number",
        ),
        ({"services": [{"name": "s", "generic": {"": 1}}]}, "f: services[0].generic: key ''"),
        ({"strategy": "chaos"}, "f: strategy: 'chaos' is not one of spread, binpack"),
    ],
)
def test_what_is_refused(document: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_plan(document, "f")
    assert str(caught.value).startswith(message)
    assert caught.value.details["file"] == "f"


def test_existing_tasks_count_and_replicas_is_the_whole() -> None:
    """The guide: a node that joins gets nothing until something is to be placed."""
    nodes = [{"name": name} for name in "abcd"]
    existing = [{"service": "web", "node": name, "count": 3} for name in "abc"]
    document: dict[str, Any] = {"nodes": nodes, "existing": existing}
    document["services"] = [{"name": "web", "replicas": 9}]
    assert parse_plan(document).run().counts("web") == {"a": 3, "b": 3, "c": 3, "d": 0}
    document["services"] = [{"name": "web", "replicas": 12}]
    answer = plan_to_dict(parse_plan(document).run())
    assert answer == {"counts": {"web": {"a": 3, "b": 3, "c": 3, "d": 3}}, "pending": []}


def test_binpack_fills_one_node_after_another() -> None:
    nodes = [{"name": name, "cpus": 4} for name in "ab"]
    services = [{"name": "web", "replicas": 6, "reserve_cpu": 1}]
    document = {"nodes": nodes, "services": services, "strategy": "binpack"}
    assert parse_plan(document).run().counts("web") == {"a": 4, "b": 2}


def test_a_named_generic_resource_is_given_out_by_name() -> None:
    document = {
        "nodes": [{"name": "a", "generic": {"gpu": ["g0", "g1", "g2"]}}],
        "existing": [{"service": "old", "node": "a", "generic": {"gpu": 1}}],
        "services": [{"name": "web", "replicas": 3, "generic": {"gpu": 1}}],
    }
    made = parse_plan(document).run()
    given = [a.task.assigned_generic for a in made.assignments]
    assert given == [(GenericResource("gpu", names=(n,)),) for n in ("g1", "g2")]
    assert [p.reason for p in made.pending] == [
        "no suitable node (insufficient resources on 1 node)"
    ]


@pytest.mark.parametrize(
    ("node", "service", "reason"),
    [
        ({"plugins": ["Volume/a"]}, {"volume_drivers": ["b"]}, "missing plugin on 1 node"),
        ({"plugins": ["Volume/b:latest"]}, {"volume_drivers": ["b"]}, ""),
        ({}, {"volume_drivers": ["b"]}, ""),
        ({"plugins": ["Network/x"]}, {"network_drivers": ["weave"]}, "missing plugin on 1 node"),
        ({"plugins": ["Network/weave"]}, {"network_drivers": ["weave"]}, ""),
        ({"plugins": ["Volume/a"]}, {"network_drivers": ["overlay"]}, ""),
        ({"plugins": ["Volume/a"]}, {"log_driver": "gelf"}, ""),
        ({"plugins": ["Log/syslog"]}, {"log_driver": "gelf"}, "missing plugin on 1 node"),
        ({"plugins": ["Log/syslog"]}, {"log_driver": "none"}, ""),
        ({"arch": "aarch64"}, {"platforms": ["linux/arm64"]}, ""),
        ({}, {"platforms": ["/amd64"]}, ""),
        ({}, {"platforms": ["windows/", "linux/arm64"]}, "unsupported platform on 1 node"),
        ({"state": "disconnected"}, {}, "1 node not available for new tasks"),
    ],
)
def test_filters(node: dict[str, Any], service: dict[str, Any], reason: str) -> None:
    document = {"nodes": [{"name": "a", **node}], "services": [{"name": "s", **service}]}
    made = parse_plan(document).run()
    assert [p.reason for p in made.pending] == ([f"no suitable node ({reason})"] if reason else [])
