"""Where we answer a recorded request of the Engine API otherwise than Docker did, and why.

Each entry names recorded cases (of errors.jsonl; a pattern is matched in full), what is answered
here (status, and the text where it is a refusal), and the reason. docs/docker-cli.md shows it.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """Recorded cases that are answered otherwise on purpose."""

    case: str
    status: int
    text: str
    reason: str


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
        "on worker: GET /networks/ingress",
        404,
        "network ingress not found",
        "a worker of ours knows the networks of its tasks, not their objects",
    ),
)
