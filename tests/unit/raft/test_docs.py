"""The page about Raft tells the truth: its example runs, its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyswarm.raft import SNAPSHOT_CHUNK_BYTES_MAX, TICK_SECONDS, RaftConfig
from pyswarm.raft.replica import SLOW_FOLLOWER_ENTRIES

PAGE = (Path(__file__).parents[3] / "docs" / "raft.md").read_text()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "docs/raft.md", "exec"), {})
    assert capsys.readouterr().out == "[b'x = 2', b'x = 3', b'x = 4']\n"


def test_the_numbers_are_the_codes() -> None:
    config = RaftConfig(id=1)
    assert f"| tick | {TICK_SECONDS * 1000:.0f} ms |" in PAGE
    assert f"| `heartbeat_ticks` | {config.heartbeat_ticks} |" in PAGE
    assert f"| `election_timeout_ticks` | {config.election_timeout_ticks} |" in PAGE
    assert f"within the last {config.lease_ticks} ticks" in PAGE
    assert f"{SNAPSHOT_CHUNK_BYTES_MAX // 1024} KiB" in PAGE
    assert f"but for {SLOW_FOLLOWER_ENTRIES} entries" in PAGE
