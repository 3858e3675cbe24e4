"""``docker exec`` with the tasks of a node, and docker-py's ``exec_run``."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from e2e.docker_cli import HAS_CLI, NEEDS_CLI, Cli, opened

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.skipif(not HAS_CLI, reason=NEEDS_CLI)

NOT_FOUND = (
    "OCI runtime exec failed: exec failed: unable to start container process: "
    'exec: "nosuch": executable file not found in $PATH: unknown'
)


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    with opened() as found:
        found("n2", "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2")
        found("n2", "secret create pw -", stdin="hunter2\n")
        found(
            "n2",
            "service create -d --name web --secret pw --env A=1 --restart-condition none "
            "busybox sleep 100000",
        )
        yield found


@pytest.fixture(scope="module")
def web(cli: Cli) -> str:
    """Its one container."""
    return cli.until("n2", "ps -q --no-trunc", bool)


def test_running_commands(cli: Cli, web: str) -> None:
    look = 'cat "${PYSWARM_SECRET_PW:-/run/secrets/pw}"; echo $A; echo bad >&2; exit 3'
    done = cli.try_("n2", f"container exec {web} sh -c '{look}'")
    assert (done.returncode, done.stdout, done.stderr) == (3, "hunter2\n1\n", "bad\n")
    assert cli("n2", f"exec -i -w /tmp -e B=2 {web} sh -c 'pwd; echo $B; cat'", "in\n") == (
        "/tmp\n2\nin"
    )
    done = cli.try_("n2", f"exec {web} nosuch")
    assert (done.returncode, done.stdout.strip()) == (127, NOT_FOUND)
    go = cli.folder / "detached"
    assert cli("n2", f"exec -d {web} touch {go}") == ""
    cli.until("n2", f"exec {web} ls {go}", bool)
    done = cli.try_("n2", "exec nosuch true")
    assert done.stderr == "Error response from daemon: No such container: nosuch\n"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # docker-py leaves its socket to Python
def test_running_commands_with_docker_py(cli: Cli, web: str) -> None:
    client = docker.DockerClient(base_url=cli.environment("n2")["DOCKER_HOST"])
    try:
        found = client.containers.get(web)
        assert found.exec_run(["sh", "-c", "exit 3"]).exit_code == 3
        go = cli.folder / "go"  # docker-py drops what comes together with the head
        script = f"until [ -e {go} ]; do sleep 0.05; done; echo out; echo err >&2"
        stream = found.exec_run(["sh", "-c", script], stream=True, demux=True).output
        go.touch()
        assert sorted(stream, key=str) == [(None, b"err\n"), (b"out\n", None)]
    finally:
        client.close()
        found = stream = None
        gc.collect()


def test_a_task_that_has_ended(cli: Cli, web: str) -> None:
    cli("n2", f"kill {web}")
    cli.until("n2", f"inspect {web} --format '{{{{.State.Running}}}}'", "false".__eq__)
    done = cli.try_("n2", f"exec {web} true")
    assert done.returncode == 1
    assert done.stderr == f"Error response from daemon: container {web} is not running\n"
