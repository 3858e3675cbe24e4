"""A manager in a process of its own is killed with -9 while it accepts requests: everything it had
acknowledged is there when its directory is opened again, and nothing secret lies in clear."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyswarm import Cluster

NODE = """
import sys
import trio
from pyswarm import Cluster

async def main(directory: str, first: int) -> None:
    way_in = Cluster.init(state_dir=directory) if first == 0 else Cluster.open(directory)
    async with way_in as cluster:
        await cluster.wait_ready()
        number = first
        while True:
            name = f"secret-{number}"
            await cluster.secrets.create(name, b"hunter2 " + name.encode())
            print(name, flush=True)
            number += 1

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def run_until(directory: Path, first: int, count: int) -> list[str]:
    """Names acknowledged by a node that is killed after ``count`` of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", NODE, str(directory), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    names = [process.stdout.readline().strip() for _ in range(count)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()  # what it said before the signal reached it
    process.wait()
    process.stdout.close()
    return [*names, *rest]


@pytest.mark.skipif(sys.platform != "linux", reason="directories are for Linux")
async def test_everything_acknowledged_survives_kill_9(tmp_path) -> None:
    directory = tmp_path / "node"
    acknowledged: list[str] = []
    for count in (1, 7, 40):
        # One more than was acknowledged may have been written: go on behind it.
        acknowledged += run_until(directory, len(acknowledged) + 10 * bool(acknowledged), count)
    async with Cluster.open(directory) as cluster:
        await cluster.wait_ready()
        found = {secret.name for secret in await cluster.secrets.list()}
    assert all(acknowledged) and len(acknowledged) >= 48
    assert set(acknowledged) <= found
    for path in directory.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
