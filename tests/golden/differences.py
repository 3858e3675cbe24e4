"""Where we answer a recorded request of the Engine API otherwise than Docker did, and why.

Each entry names recorded cases (of errors.jsonl; a pattern is matched in full), what is answered
here (status, and the text where it is a refusal), and the reason. docs/docker-cli.md shows the
reasons.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """Recorded cases that are answered otherwise on purpose."""

    case: str
    status: int
    text: str
    reason: str
    body: str = ""
    """Part of what was sent, where other requests have the same name."""


CONFIG_SIZE = (
    "rpc error: code = InvalidArgument desc = "
    "config data must be larger than 0 and less than 512000 bytes"
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "configs create: (no data|empty data|size 1023999|size 1024000|driver bogus)",
        400,
        CONFIG_SIZE,
        "configs are limited like secrets: each is copied into the log and to every node using it",
    ),
    Difference(
        "network create: config only swarm",
        501,
        "config-only networks: this node has no networks of its own",
        "there is no data plane of node-local networks that it could configure",
    ),
    Difference(
        "container on non attachable",
        501,
        "POST /containers/create: this node runs tasks of services and nothing else; it makes no "
        "containers, images or plugins",
        "containers are made by services alone",
    ),
    Difference(
        "inactive POST /swarm/init",
        500,
        "subnet size is out of range: 31",
        "in subnets of this size no network could ever give an address to a task",
        body='"SubnetSize": 31',
    ),
)


NOT_REPLAYED = {
    "GET /distribution/busybox/json ": (
        "whether Docker Hub can be asked, and what for a reason it gives, is the network's affair"
    ),
}
"""Recorded cases that are not made again."""


class ShapeDifference(NamedTuple):
    """Parts of recorded objects that are shown otherwise on purpose."""

    recording: str
    part: str
    reason: str


SHAPES: tuple[ShapeDifference, ...] = (
    ShapeDifference(
        "*",
        "times",
        "cluster time is exact to the microsecond, not the nanosecond",
    ),
    ShapeDifference(
        "service_rjob_done",
        "Spec.UpdateConfig.Monitor with insertDefaults: 30 s, not 5 s",
        "an update that does not say is monitored for 30 s here, so that is what is shown",
    ),
    ShapeDifference(
        "pool_*_networks",
        "networks without a subnet",
        "a network that no pool can serve is refused here instead of never being addressed",
    ),
    ShapeDifference(
        "info_leader, swarm, swarm_autolock, swarm_init_all_options",
        "DefaultAddrPool",
        "the default pool is shown as any other; Docker shows it once another manager has led",
    ),
    ShapeDifference(
        "networks_worker",
        "Peers",
        "a worker is told of the networks that it is on, not of its peers there",
    ),
    ShapeDifference(
        "network_ingress_verbose",
        "the service without a name under Services, and EndpointID",
        "load balancers of nodes are no endpoints of a data plane here; ids are derived",
    ),
)
"""Of golden/api/*.json; each of them is left out by name where tests compare."""
