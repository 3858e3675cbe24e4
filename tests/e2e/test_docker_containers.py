"""``docker attach``, ``top``, ``stats`` and ``wait`` with the tasks of a node, and docker-py's."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from e2e.docker_cli import HAS_CLI, NEEDS_CLI, PATIENCE_S, Cli, opened

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.skipif(not HAS_CLI, reason=NEEDS_CLI)

PROGRAM = "echo first; until [ -e go ]; do echo out; echo err >&2; sleep 0.2; done; exit 3"


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    with opened() as found:
        found("n2", "swarm init --listen-addr 127.0.0.2:0 --advertise-addr 127.0.0.2")
        go = found.folder / "go"
        found(
            "n2",
            f"service create -d --name web --restart-condition none busybox "
            f"sh -c '{PROGRAM.replace('go', str(go), 1)}'",
        )
        yield found


@pytest.fixture(scope="module")
def web(cli: Cli) -> str:
    """Its one container."""
    return cli.until("n2", "ps -q --no-trunc", bool)


def test_top_and_stats(cli: Cli, web: str) -> None:
    head, *rows = cli("n2", f"top {web}").splitlines()
    assert head.split()[:3] == ["UID", "PID", "PPID"]
    assert any("until [ -e" in row for row in rows)
    assert "until [ -e" in cli("n2", f"top {web} -o pid,args")
    refused = cli.try_("n2", f"top {web} -o args").stderr
    assert refused == "Error response from daemon: Couldn't find PID field in ps output\n"
    form = "--format '{{.ID}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}'"
    for line in ("stats --no-stream", f"stats --no-stream {web}"):
        id, percent, used, _, _, pids = cli("n2", f"{line} {form}").split()
        assert web.startswith(id) and percent.endswith("%") and int(pids) >= 1
        assert not used.startswith("0B")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # docker-py leaves its socket to Python
def test_attaching_with_docker_py(cli: Cli, web: str) -> None:
    client = docker.DockerClient(base_url=cli.environment("n2")["DOCKER_HOST"])
    try:
        found = client.containers.get(web)
        stream = found.attach(stream=True, demux=True)
        wanted = {(b"out\n", None), (None, b"err\n")}
        while wanted:  # docker-py drops what comes together with the head
            wanted.discard(next(stream))
        stream.close()
        assert found.top()["Titles"][1] == "PID"
        assert found.stats(stream=False)["id"] == web
    finally:
        client.close()
        found = stream = None
        gc.collect()


def test_attaching_and_waiting(cli: Cli, web: str) -> None:
    """One client goes away; others hear all, and how it ends."""
    gone = cli.start("n2", "attach", web)
    assert gone.stdout is not None and gone.stdout.readline() == "out\n"
    gone.kill()
    gone.communicate(timeout=PATIENCE_S)
    attached, waiting = cli.start("n2", "attach", web), cli.start("n2", "wait", web)
    assert attached.stdout is not None and attached.stdout.readline() == "out\n"
    (cli.folder / "go").touch()
    out, err = attached.communicate(timeout=PATIENCE_S)
    assert (attached.returncode, set(err.split())) == (3, {"err"})
    assert "first" not in out
    assert waiting.communicate(timeout=PATIENCE_S)[0] == "3\n"
    stopped = "You cannot attach to a stopped container, start it first\n"
    assert cli.try_("n2", f"attach {web}").stderr == stopped
