"""The readable form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    CSINode,
    NodeDescription,
    Sealed,
    Secret,
    SecretSpec,
    ServiceSpec,
    Swarm,
    Task,
    TLSInfo,
    from_dict,
    service_spec,
    to_dict,
)

SPEC = service_spec(
    "web", image="nginx", mode="replicated-job", replicas=2, ports=["80:80/udp"], restart_delay=2
)


def test_words_and_no_defaults() -> None:
    assert to_dict(SPEC) == {
        "format": 1,
        "name": "web",
        "task": {"container": {"image": "nginx"}, "restart": {"delay": 2.0}},
        "mode": {"type": "ReplicatedJob", "max_concurrent": 2, "total_completions": 2},
        "endpoint": {"ports": [{"target_port": 80, "published_port": 80, "protocol": "udp"}]},
    }


def test_through_json_and_back() -> None:
    secret = Secret("x", SecretSpec("s"), Sealed(1, b"\x00\xff", b"c", 3, b"d"))
    swarm = Swarm("c", network_keys=(b"\x01", b"\x02"), unlock_key=b"k")
    for value in (SPEC, secret, swarm):
        assert from_dict(type(value), json.loads(json.dumps(to_dict(value)))) == value


TASK = {"id": "t", "service_id": "s", "spec": {}}


def test_a_swarms_own_format_is_another() -> None:
    data = to_dict(Swarm("c", format=7))
    assert data == {"format": 1, "id": "c", "swarm_format": 7}
    assert from_dict(Swarm, data).format == 7


def _service(**task: Any) -> dict[str, Any]:
    return {"name": "web", "task": task}


@pytest.mark.parametrize(
    ("cls", "data", "text"),
    [
        (ServiceSpec, {}, "$.name: is missing"),
        (ServiceSpec, 5, "$ must be a mapping"),
        (ServiceSpec, {"format": 2, **_service()}, "unknown format 2 of a ServiceSpec"),
        (ServiceSpec, _service(colour=1), "$.task.colour: TaskSpec has no such field"),
        (ServiceSpec, _service(container={"image": 3}), "$.task.container.image: must be a string"),
        (
            ServiceSpec,
            _service(container={"image": "x", "env": ["A=b", 4]}),
            "$.task.container.env[1]: must be a string, not 4",
        ),
        (ServiceSpec, _service(networks=5), "$.task.networks: must be a mapping or a list"),
        (ServiceSpec, {**_service(), "mode": {"type": "Pod"}}, "$.mode: type must be one of"),
        (ServiceSpec, {**_service(), "mode": "global"}, "$.mode: type must be one of"),
        (
            ServiceSpec,
            {**_service(), "mode": {"type": "Replicated", "replicas": -1}},
            "$.mode: Number of replicas must be non-negative",
        ),
        (
            ServiceSpec,
            {**_service(), "update": {"order": "sideways"}},
            "$.update.order: unrecognized update order sideways",
        ),
        (
            Secret,
            {"id": "x", "spec": {"name": "s"}, "payload": {"key_id": 1, "nonce": "!!"}},
            "$.payload.nonce: must be base64",
        ),
        (
            Task,
            {"id": "t", "service_id": "s", "spec": {}, "slot": "1"},
            "$.slot: must be an integer",
        ),
        (
            Task,
            {"id": "t", "service_id": "s", "spec": {}, "state": "odd"},
            "$.state: must be one of",
        ),
    ],
)
def test_the_path_of_what_is_wrong(cls: type, data: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_dict(cls, data)
    assert caught.value.message.startswith(text)


def test_what_a_node_says_of_itself() -> None:
    """All of it (spec: objects, 4): its trust, its mode, its storage plugins too."""
    said = NodeDescription(
        hostname="box",
        tls=TLSInfo(b"root", b"subject", b"key"),
        fips=True,
        csi=(CSINode("csi.example", "n-1", max_volumes=7, topology={"zone": "z1"}),),
    )
    form = to_dict(said)
    assert form["csi"] == [
        {"plugin": "csi.example", "node_id": "n-1", "max_volumes": 7, "topology": {"zone": "z1"}}
    ]
    assert from_dict(NodeDescription, json.loads(json.dumps(form))) == said
    with pytest.raises(InvalidArgument, match="max_volumes"):
        CSINode("csi.example", max_volumes="seven")  # type: ignore[arg-type]
