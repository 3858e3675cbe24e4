"""What was done between the recorded calls, by the number of the call that came next.

``node word``: ``kill`` (SIGKILL), ``stop``, ``start``, ``pause`` (SIGSTOP, for a line that is cut)
and ``resume``, ``wipe`` (its disk), ``save`` and ``restore`` (a backup), ``key`` (remember its
unlock key), ``leads`` (it is the leader from now on), ``joins node role``, ``moves image:tag`` (in
its registry), or a command line of docker, which is tried until it succeeds.

Where the calls after it depend on which of equal nodes ran a task, that is seen to as well.
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

OLD_NODE_1, NEW_NODE_1 = "h7x8vzgl1229e6lmu406qc7km", "bjk0suf9cru8ib0uvny83gi4o"
OLD_NODE_3 = "wcvdjqf0dq9yfxzfcucqjntmc"
"""Recorded nodes of hosts that left and joined again; the player knows ours."""

SECRETS = ("a" * 64, "ql", "qmax", "qt")
"""What other recordings left in the swarm for a while."""


def _availability(**numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(
        f"n1 docker node update --availability {word} node-{number}"
        for word, chosen in numbers.items()
        for number in chosen
    )


BEFORE: Mapping[int, tuple[str, ...]] = {
    153: (f"n4 docker swarm join --token {WORKER} 10.99.0.11:2377", "n4 docker swarm leave"),
    174: _availability(pause=(3, 4)),
    175: _availability(active=(3, 4), pause=(1, 2, 5)),
    176: _availability(active=(1, 2, 5), pause=(3, 4)),
    177: _availability(active=(3, 4)),
    188: _availability(pause=(4,)),
    189: _availability(active=(4,)),
    285: _availability(pause=(1,)),
    288: _availability(active=(1,)),
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
    967: ("n6 docker kill $(docker ps -q --filter name=killed)",),
    974: ("n7 key", "n7 stop"),
    989: _availability(active=(1, 2)),
    1044: ("n1 docker node update --label-rm region node-5",),
    1087: ("n6 docker swarm leave --force",),
    1119: ("n5 kill",),
    1129: ("n5 start",),
    1141: ("n5 kill",),
    1148: ("n8 moves busybox:latest",),
    1173: ("n5 start",),
    1184: ("n5 pause",),
    1185: ("n5 resume",),
    1283: ("n1 kill", "n2 leads"),
    1293: ("n1 start",),
    1296: ("n1 kill", "n3 kill"),
    1340: ("n1 start", "n2 leads"),
    1346: ("n1 kill",),
    1363: tuple(f"n2 docker secret create {name} files/site.conf" for name in SECRETS),
    1364: (f"n2 docker secret rm {' '.join(SECRETS)}",),
    1375: ("n2 docker node promote node-3", "n3 docker node ls"),
    1381: (f"n2 docker node demote {OLD_NODE_3}", f"n2 docker node rm {OLD_NODE_3}"),
    1390: (
        "n1 docker swarm leave --force",
        f"n2 docker node demote {NEW_NODE_1}",
        f"n2 docker node rm {OLD_NODE_1} {NEW_NODE_1}",
    ),
    1398: (
        *(f"n6 {INIT} 10.99.0.16", "n7 joins n6 worker", "n7 docker swarm leave"),
        *("n8 joins n6 worker", "n8 docker swarm leave", "n8 joins n6 manager"),
    ),
    1419: ("n6 docker swarm leave --force", "n7 docker swarm leave --force"),
}

PREFIXES: Mapping[int, str] = {1277: "4qjx", 1280: "4qj"}
"""Calls that name an object by the beginning of its recorded id."""

STDIN = frozenset({780, 990})
"""Calls that were given the node's unlock key."""

PATIENCE_S: Mapping[str, float] = {
    **dict.fromkeys(("node-down", "node-back", "node-removed", "partition", "leave"), 25.0),
    **dict.fromkeys(("manager-force-leave", "manager-force-leave2"), 25.0),
    **dict.fromkeys(("leader-down", "leader-back", "quorum", "quorum-back"), 45.0),
    **dict.fromkeys(("quorum-lost", "force-new-cluster"), 45.0),
}
"""Topics whose calls wait for heartbeats that do not come: three periods, six with a new leader."""
