"""Chapters of the administrator's guide (``docs/guide.md``) by the docker CLI, on two daemons: what
an update, a label or a reader that goes away does on the other node."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from e2e.docker_cli import HAS_CLI, NEEDS_CLI, PATIENCE_S, Cli, opened

pytestmark = pytest.mark.skipif(not HAS_CLI, reason=NEEDS_CLI)

FILES = "'cd $PYSWARM_{}S_DIR; for f in *; do echo $f $(cat $f); done; echo end; sleep 100000'"
RUNNING = "--format '{{.Node}}' -f desired-state=running"
WORKER = "--constraint node.role==worker"


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    with opened() as found:
        found("n2", "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2")
        join(found, found("n2", "swarm join-token -q worker"))
        yield found


def join(cli: Cli, token: str, *, refused: bool = False) -> None:
    """The worker joins, if the token still opens the door."""
    addr = cli("n2", "info --format '{{(index .Swarm.RemoteManagers 0).Addr}}'")
    own = "--listen-addr 127.0.0.3:0 --advertise-addr 127.0.0.3"
    done = cli.try_("n3", f"swarm join {own} --token {token} {addr}")
    assert (done.returncode != 0) is refused, done.stderr
    if refused:
        assert "A valid join token is necessary" in done.stderr


def tells(cli: Cli, service: str, *wanted: str) -> None:
    """The newest task of the service has these files, and no others."""
    task = f"$(docker service ps -q --no-trunc -f desired-state=running {service} | head -1)"
    expected = [*wanted, "end"]
    cli.until("n2", f"service logs --raw {task}", lambda text: text.splitlines() == expected)


def test_configs_are_replaced(cli: Cli) -> None:
    cli("n2", "config create site.conf -", "one")
    reader = f"busybox sh -c {FILES.format('CONFIG')}"
    given = "source=site.conf,target=/site.conf,mode=0440"
    cli("n2", f"service create -d --name web {WORKER} --config {given} {reader}")
    tells(cli, "web", "site.conf one")
    used = cli.try_("n2", "config rm site.conf").stderr
    assert "config 'site.conf' is in use by the following service: web" in used
    cli("n2", "config create site-v2.conf -", "two")
    added = given.replace("site.conf", "site-v2.conf", 1)
    cli.firmly("n2", f"service update -d --config-rm site.conf --config-add {added} web")
    tells(cli, "web", "site.conf two")
    cli("n2", "config rm site.conf")
    cli("n2", "service rm web")
    cli("n2", "config rm site-v2.conf")


def test_secrets_are_rotated(cli: Cli) -> None:
    cli("n2", "secret create pw -", "old")
    cli("n2", "secret create pw_v2 -", "new")
    reader = f"busybox sh -c {FILES.format('SECRET')}"
    cli("n2", f"service create -d --name db {WORKER} --secret source=pw,target=pw {reader}")
    tells(cli, "db", "pw old")
    cli.firmly("n2", "service update -d --secret-rm pw db")
    both = "--secret-add source=pw,target=old_pw --secret-add source=pw_v2,target=pw"
    cli.firmly("n2", f"service update -d {both} db")
    tells(cli, "db", "old_pw old", "pw new")
    cli.firmly("n2", "service update -d --secret-rm pw db")
    tells(cli, "db", "pw new")
    cli("n2", "secret rm pw")
    cli("n2", "service rm db")
    cli("n2", "secret rm pw_v2")


def test_labels_say_where_a_service_runs(cli: Cli) -> None:
    line = "service create -d --name east --replicas 2 --constraint node.labels.region==east"
    cli("n2", f"{line} busybox sleep 100000")
    waits = "scheduling constraints not satisfied on 2 nodes"
    cli.until("n2", "service ps --no-trunc east", lambda text: text.count(waits) == 2)
    cli.firmly("n2", "node update --label-add region=east node-3")
    cli.until("n2", f"service ps east {RUNNING}", lambda text: text.split() == ["node-3"] * 2)
    line = "service create -d --name all --mode global --constraint node.labels.type!=devel"
    cli("n2", f"{line} busybox sleep 100000")
    both = ["node-2", "node-3"]
    cli.until("n2", f"service ps all {RUNNING}", lambda text: sorted(text.split()) == both)
    cli.firmly("n2", "node update --label-add type=devel node-3")
    cli.until("n2", f"service ps all {RUNNING}", lambda text: text.split() == ["node-2"])
    cli("n2", "service rm east all")


def test_a_reader_of_logs_goes_away(cli: Cli) -> None:
    cli("n2", f"service create -d --name talk {WORKER} busybox sh -c 'echo hi; sleep 100000'")
    cli.until("n2", "service logs --raw talk", lambda text: text == "hi")
    reader = cli.start("n2", "service", "logs", "-f", "--raw", "talk")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "hi\n"
    reader.send_signal(signal.SIGINT)
    reader.communicate(timeout=PATIENCE_S)
    id = cli.until("n3", "ps -q --filter name=talk.1", bool)
    assert cli("n3", f"logs {id}") == "hi"
    cli("n2", "service rm talk")


def test_a_token_that_was_rotated_opens_no_door(cli: Cli) -> None:
    old = cli("n2", "swarm join-token -q worker")
    new = cli("n2", "swarm join-token -q --rotate worker")
    cli("n3", "swarm leave")
    join(cli, old, refused=True)
    join(cli, new)
    rows, gone = "node ls --format '{{.Hostname}} {{.Status}}'", ["node-3 Down", "node-3 Ready"]
    cli.until("n2", rows, lambda text: sorted(text.splitlines())[1:] == gone)
