"""The docker CLI's streams and stacks against one daemon: progress, logs, events, Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.docker_cli import HAS_CLI, NEEDS_CLI, PATIENCE_S, Cli, opened

pytestmark = pytest.mark.skipif(not HAS_CLI, reason=NEEDS_CLI)

QUICK = "--update-monitor 200ms --update-delay 0s --stop-grace-period 1s"

WORDPRESS = """
version: '3.1'
services:
   db:
     image: mysql:latest
     volumes:
       - db_data:/var/lib/mysql
     environment:
       MYSQL_ROOT_PASSWORD_FILE: /run/secrets/db_root_password
       MYSQL_DATABASE: wordpress
       MYSQL_USER: wordpress
       MYSQL_PASSWORD_FILE: /run/secrets/db_password
     secrets:
       - db_root_password
       - db_password
   wordpress:
     depends_on:
       - db
     image: wordpress:latest
     ports:
       - "8000:80"
     environment:
       WORDPRESS_DB_HOST: db:3306
       WORDPRESS_DB_USER: wordpress
       WORDPRESS_DB_PASSWORD_FILE: /run/secrets/db_password
     secrets:
       - db_password
secrets:
   db_password:
     file: db_password.txt
   db_root_password:
     file: db_root_password.txt
volumes:
    db_data:
"""
"""The user's guide's example; its images only sleep here."""


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    with opened() as found:
        found("n2", "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2")
        yield found


def connections(path: Path) -> int:
    """Of a daemon's socket: those that were accepted and are still open."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(1 for line in lines if line.endswith(str(path))) - 1


def test_create_and_update_show_their_progress_and_end(cli: Cli) -> None:
    shown = cli("n2", f"service create --name web --replicas 2 {QUICK} busybox sleep 100000")
    assert "overall progress: 2 out of 2 tasks" in shown
    assert shown.endswith("converged")
    shown = cli("n2", "service update --env-add A=1 web")
    assert "overall progress: 2 out of 2 tasks" in shown
    assert shown.endswith("verify: Service web converged")
    assert cli("n2", "service rollback web").endswith("verify: Service web converged")
    assert cli("n2", "service scale web=3").endswith("verify: Service web converged")
    job = cli("n2", "service create --name job --mode replicated-job --replicas 2 busybox true")
    assert job.endswith("job complete")
    cli("n2", "service rm web job")


def test_interrupted_streams_leave_nothing_behind(cli: Cli) -> None:
    path = cli.daemons.socket("n2")
    line = "service create -d --name talk busybox sh -c 'while echo hello; do sleep 0.1; done'"
    cli("n2", line)
    cli.until("n2", "service logs --tail 1 --raw talk", lambda text: "hello" in text)
    streams = [
        cli.start("n2", "service", "logs", "-f", "--raw", "talk"),
        cli.start("n2", "events", "--since", "1h"),
        cli.start("n2", "service", "update", "--image", "nosuch", "--no-resolve-image", "talk"),
    ]
    for stream in streams[:2]:
        assert stream.stdout is not None
        assert stream.stdout.readline()
    for stream in streams:
        stream.send_signal(signal.SIGINT)
    for stream in streams:
        stream.communicate(timeout=PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while connections(path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cli("n2", "service rm talk")


def test_events_of_a_while_ago(cli: Cli) -> None:
    cli("n2", "network create -d overlay watched")
    cli("n2", "network rm watched")
    line = "events --since 1h --until 0s --filter network=watched --format '{{.Action}}'"
    shown = cli.until("n2", line, lambda text: "remove" in text).split()
    assert (shown[0], shown[-1]) == ("create", "remove")


def test_a_stack(cli: Cli) -> None:
    (cli.folder / "wordpress.yml").write_text(WORDPRESS)
    for name in ("db_password", "db_root_password"):
        (cli.folder / f"{name}.txt").write_text("secret")
    shown = cli("n2", "stack deploy --resolve-image never -c wordpress.yml wp")
    assert "Creating service wp_db" in shown
    assert "Creating secret wp_db_root_password" in shown
    replicas = "stack services wp --format '{{.Name}} {{.Replicas}} {{.Ports}}'"
    wanted = ["wp_db 1/1", "wp_wordpress 1/1 *:8000->80/tcp"]
    cli.until("n2", replicas, lambda text: [one.strip() for one in text.splitlines()] == wanted)
    assert "wp_db.1" in cli("n2", "stack ps wp")
    assert cli("n2", "stack ls --format '{{.Name}} {{.Services}}'") == "wp 2"
    assert cli("n2", "volume ls -q") == "wp_db_data"
    again = cli("n2", "stack deploy --resolve-image never -c wordpress.yml wp")
    assert "Updating service wp_db" in again
    gone = cli("n2", "stack rm wp")
    assert "Removing service wp_wordpress" in gone
    assert "Removing network wp_default" in gone
    assert cli("n2", "stack ls --format '{{.Name}}'") == ""


def test_tasks_are_containers(cli: Cli) -> None:
    trap = "trap 'echo hung up' HUP; echo begun; while :; do sleep 0.05; done"
    cli("n2", f'service create -d --name boxed --restart-condition none busybox sh -c "{trap}"')
    id = cli.until("n2", "ps -q --filter name=boxed.1", bool)
    cli.until("n2", f"logs {id}", lambda text: text == "begun")
    # Once: a signal is not sent before the task's own program has begun, nor is one lost. That the
    # shell has set its trap by then is what "begun" tells.
    assert cli("n2", f"kill -s HUP {id}") == id
    cli.until("n2", f"logs {id}", lambda text: "hung up" in text)
    waiting = cli.start("n2", "wait", id)
    assert cli("n2", f"stop -t 10 {id}") == id
    assert waiting.communicate(timeout=PATIENCE_S)[0].strip() == "143"
    state = f"inspect {id} --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}'"
    cli.until("n2", state, lambda text: text == "exited 143")
    assert "Exited (143)" in cli("n2", "ps -a --filter name=boxed --format '{{.Status}}'")
    cli("n2", f"rm {id}")
    assert cli("n2", "ps -aq --filter name=boxed") == ""
    cli("n2", "service rm boxed")
    assert cli("n2", "volume create kept") == "kept"
    cli("n2", "volume rm kept")
    assert "Local Volumes" in cli("n2", "system df")
    assert "mysql" in cli("n2", "images --format '{{.Repository}}'")
