"""What was done between the recorded calls, by the number of the call that came next.

``node word``: ``kill`` (SIGKILL), ``stop``, ``wipe`` (its disk), ``save`` and ``restore``
(a backup), ``key`` (remember its unlock key), or a command line of docker.
"""

from __future__ import annotations

from collections.abc import Mapping

ALIVE = (
    "docker service create -d --no-resolve-image --name alive --replicas 1 "
    "--stop-signal SIGKILL --constraint node.labels.nowhere==1 busybox:latest sleep 100000"
)
INIT = "docker swarm init --advertise-addr"

WORKER = "SWMTKN-1-0g8jmfu2lhus98globeb8j1mvf8mg7uax29ivrf7p1h7b90pkl-59l69uvo0fnz6smiyuqb68kb0"
"""The recorded worker's token; the player knows ours."""

BEFORE: Mapping[int, tuple[str, ...]] = {
    153: (f"n4 docker swarm join --token {WORKER} 10.99.0.11:2377", "n4 docker swarm leave"),
    601: (
        *(
            f"n1 docker node update --label-add region={r} node-{n}"
            for n, r in ((1, "east"), (2, "east"), (4, "east"))
        ),
    ),
    747: (f"n7 {INIT} 10.99.0.17 --autolock", "n7 key", f"n7 {ALIVE}"),
    771: ("n7 save", "n7 wipe"),
    778: ("n7 restore",),
    802: ("n7 docker swarm leave --force",),
    946: ("n7 stop",),
    974: ("n7 key", "n7 stop"),
    989: tuple(f"n1 docker node update --availability active node-{n}" for n in (1, 2)),
    1044: ("n1 docker node update --label-rm region node-5",),
    1087: ("n6 docker swarm leave --force",),
    1119: ("n5 kill",),
    1129: ("n5 start",),
    1141: ("n5 kill",),
    1173: ("n5 start",),
    1184: ("n5 kill",),
    1185: ("n5 start",),
    1283: ("n1 kill",),
    1293: ("n1 start",),
    1296: ("n1 kill", "n3 kill"),
    1340: ("n3 start",),
    1346: ("n3 kill",),
}

STDIN = frozenset({780, 990})
"""Calls that were given the node's unlock key."""

PATIENCE_S: Mapping[str, float] = dict.fromkeys(
    ("node-down", "node-back", "node-removed", "leave", "leader-down", "leader-back"), 25.0
)
"""Topics whose calls wait for heartbeats that do not come."""
