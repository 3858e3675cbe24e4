"""The page about Raft tells the truth: its example runs, its numbers are the code's."""

from __future__ import annotations

import re
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pyswarm.errors import Unavailable
from pyswarm.raft import SNAPSHOT_CHUNK_BYTES_MAX, TICK_SECONDS, RaftConfig
from pyswarm.raft.replica import SLOW_FOLLOWER_ENTRIES
from pyswarm.runtime import RaftNode, run_raft
from pyswarm.runtime.raftnode import SNAPSHOT_ENTRIES
from pyswarm.runtime.storage import MemoryStorage
from pyswarm.runtime.storage.disk import BUCKET_SECONDS
from pyswarm.runtime.storage.wal import SEGMENT_BYTES

PAGE = (Path(__file__).parents[3] / "docs" / "raft.md").read_text()


EMBEDDING, CORE = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_example_of_the_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(CORE, "docs/raft.md", "exec"), {})
    assert capsys.readouterr().out == "[b'x = 2', b'x = 3', b'x = 4']\n"


def test_the_example_of_embedding_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = EMBEDDING.replace(":7001", f":{port}")
    exec(compile(code, "docs/raft.md", "exec"), {})
    assert capsys.readouterr().out == "red\n"
    assert (tmp_path / "state-1" / "raft" / "manifest").exists()


def test_the_machine_in_slices_becomes_what_it_was() -> None:
    page = (Path(__file__).parents[3] / "docs" / "raftnode.md").read_text()
    scope: dict[str, Any] = {}
    exec(
        compile(re.findall(r"```python\n(.*?)```", page, re.S)[1], "docs/raftnode.md", "exec"),
        scope,
    )
    machine, again = scope["Words"](), scope["Words"]()
    for number in range(2500):
        machine.apply(b"%d" % (number % 2200))
    slices = list(machine.snapshot_slices())
    assert len(slices) == len(list(again.restore_slices(iter(slices)))) == 3
    assert again.words == machine.words and again.words["7"] == 2


async def test_the_transport_of_unix_sockets_carries_a_group() -> None:
    page = (Path(__file__).parents[3] / "docs" / "raftnode.md").read_text()
    counter, _, transport = re.findall(r"```python\n(.*?)```", page, re.S)
    scope: dict[str, Any] = {}
    exec(compile(counter.split("async def main")[0] + transport, "docs/raftnode.md", "exec"), scope)
    async with AsyncExitStack() as stack:
        short = stack.enter_context(TemporaryDirectory())  # such an address has 107 bytes at most
        founders = {id: f"{short}/{id}.sock" for id in (1, 2, 3)}
        nodes = []
        for id, address in founders.items():
            link = scope["UnixTransport"](address)
            node = RaftNode(scope["Counter"](), MemoryStorage(), link, id=id, founders=founders)
            nodes.append(await stack.enter_async_context(run_raft(node)))
        total = 0
        for node in nodes:
            while total < 5 or node.machine.value < 5:
                try:
                    total = await node.propose(b"5")
                except Unavailable as error:
                    assert error.outcome == "unknown"
            await node.read()
            assert node.machine.value >= 5


def test_the_numbers_are_the_codes() -> None:
    config = RaftConfig(id=1)
    assert f"| tick | {TICK_SECONDS * 1000:.0f} ms |" in PAGE
    assert f"| `heartbeat_ticks` | {config.heartbeat_ticks} |" in PAGE
    assert f"| `election_timeout_ticks` | {config.election_timeout_ticks} |" in PAGE
    assert f"within the last {config.lease_ticks} ticks" in PAGE
    assert f"{SNAPSHOT_CHUNK_BYTES_MAX // 1024} KiB" in PAGE
    assert f"({SNAPSHOT_ENTRIES:,}) applied entries" in PAGE
    assert f"near {config.max_uncommitted_bytes // 1024**2} MiB" in PAGE
    assert f"segments of\n{SEGMENT_BYTES // 1024**2} MiB" in PAGE
    assert f"{BUCKET_SECONDS[0] * 1e6} µs" in PAGE
    assert f"but for {SLOW_FOLLOWER_ENTRIES} entries" in PAGE
