"""Three daemons become a swarm, lose their leader, are locked and lose their quorum, by the CLI."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.docker_cli import HAS_CLI, NEEDS_CLI, Cli, opened

pytestmark = pytest.mark.skipif(not HAS_CLI, reason=NEEDS_CLI)

HOSTS = {"n2": "127.0.0.2", "n3": "127.0.0.3", "n4": "127.0.0.4"}
NODES = "node ls --format '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}'"

REFUSED = "Error response from daemon: "
NO_LEADER = (
    f"{REFUSED}rpc error: code = Unknown desc = The swarm does not have a leader. It's possible "
    "that too few managers are online. Make sure more than half of the managers are online."
)


def join(cli: Cli, node: str, role: str) -> str:
    token = cli("n2", f"swarm join-token -q {role}")
    host = HOSTS[node]
    peers = cli("n2", "info --format '{{range .Swarm.RemoteManagers}}{{.Addr}} {{end}}'").split()
    return cli(
        node,
        f"swarm join --token {token} --listen-addr {host}:0 --advertise-addr {host} {peers[0]}",
    )


def ready(count: int, *words: str) -> Callable[[str], bool]:
    """The node list says so many are ready, and all of these."""

    def is_so(text: str) -> bool:
        return text.count(" Ready ") == count and all(word in text for word in words)

    return is_so


def promote(cli: Cli, node: str, name: str) -> None:
    """Make it a manager, and wait until it is one and says so itself."""
    cli.firmly("n2", f"node promote {name}")
    cli.until("n2", NODES, ready(3, f"{name} Ready Active Reachable"))
    cli.until(node, "node ls -q", lambda text: len(text.split()) == 3)


def test_a_swarm_by_the_cli_alone() -> None:
    with opened() as cli:
        cli("n2", "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2")
        assert "joined a swarm as a manager" in join(cli, "n3", "manager")
        assert "joined a swarm as a worker" in join(cli, "n4", "worker")
        promote(cli, "n4", "node-4")
        cli.firmly("n2", "node demote node-4")
        cli.until("n4", "info --format '{{.Swarm.ControlAvailable}}'", lambda t: t == "false")
        cli("n2", "service create -d --name web --replicas 3 busybox sleep 100000")
        cli.until("n2", "service ls --format '{{.Replicas}}'", lambda text: text == "3/3")
        cli.firmly("n2", "node update --availability drain node-4")
        cli.until("n2", "node ps node-4 -f desired-state=running -q", lambda text: text == "")
        cli.firmly("n2", "node update --availability active node-4")
        promote(cli, "n4", "node-4")

        leader = cli.until("n3", NODES, lambda text: "Leader" in text)
        first = next(line.split()[0] for line in leader.splitlines() if "Leader" in line)
        killed = f"n{first[-1]}"
        left = [node for node in HOSTS if node != killed]
        cli.daemons.kill(killed)
        cli.firmly(left[0], "service scale -d web=4")
        cli.until(left[0], "service ls --format '{{.Replicas}}'", lambda text: "/4" in text)
        cli.until(killed, NODES, ready(3))

        cli.firmly(left[0], "node demote " + first)
        cli.until(killed, "info --format '{{.Swarm.ControlAvailable}}'", lambda t: t == "false")
        cli(killed, "swarm leave")
        cli(left[0], f"node rm --force {first}")
        assert len(cli(left[0], "node ls -q").split()) == 2


def test_locking_and_beginning_anew() -> None:
    with opened() as cli:
        init = "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2"
        cli("n2", f"{init} --autolock")
        cli("n2", "service create -d --name web --constraint node.labels.x==1 busybox sleep 1000")
        before = cli("n2", "swarm unlock-key -q")
        cli.daemons.kill("n2")
        assert "Swarm is encrypted" in cli.try_("n2", "node ls").stderr
        wrong = cli.try_("n2", "swarm unlock", "SWMKEY-1-" + "A" * 43 + "\n")
        assert "invalid key provided" in wrong.stderr
        cli("n2", "swarm unlock", f"{before}\n")
        cli.until("n2", "service ls -q", bool)
        after = cli("n2", "swarm unlock-key --rotate -q")
        assert after != before
        cli.daemons.kill("n2")
        assert cli.try_("n2", "swarm unlock", f"{before}\n").returncode == 1
        cli("n2", "swarm unlock", f"{after}\n")
        cli.until("n2", "service ls -q", bool)
        cli.firmly("n2", "swarm update --autolock=false")

        join(cli, "n3", "manager")
        join(cli, "n4", "manager")
        cli.until("n2", NODES, ready(3))
        cli("n2", "service create -d --name on --constraint node.hostname==node-2 busybox sleep 9d")
        running = cli.until("n2", "ps -q --no-trunc", bool)
        for killed in ("n3", "n4"):
            cli.daemons.kill(killed)
        cli.refused("n2", "node ls", NO_LEADER)
        for line in ("service ls", "service create busybox", "swarm join-token worker", "stack ls"):
            assert cli.try_("n2", line).stderr.startswith(NO_LEADER), line
        assert f"  Error: {NO_LEADER[len(REFUSED) :]}" in cli("n2", "info")
        assert cli("n2", "ps -q --no-trunc") == running

        cli("n2", f"{init} --force-new-cluster")
        names = cli.until("n2", "service ls --format '{{.Name}}'", bool)
        assert sorted(names.split()) == ["on", "web"]
        managers = cli.until("n2", "node ls -f role=manager --format '{{.Hostname}}'", bool)
        assert managers == "node-2"
        cli.firmly("n2", "service update -d --label-add a=b on")
